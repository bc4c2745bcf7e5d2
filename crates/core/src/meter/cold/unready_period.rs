//! A time in which the server is not ready.

use super::types::ColdReason;
use std::time::Duration;

/// Time after which an open port counts as a ready server, if no request arrives and there is no health path. Some servers
/// open their port before they load, and report to the next request that they load.
pub(super) const SETTLING: Duration = Duration::from_secs(30);
/// A boot or an outage without a request for this long does not concern the next request.
pub(super) const WITHOUT_REQUESTS: Duration = Duration::from_secs(600);

/// A time in which the server is not ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnreadyPeriod {
    pub began: Duration,
    pub reason: ColdReason,
    /// When the server last responded that it loads.
    pub last_loading: Option<Duration>,
    /// It has lasted too long for a cold start, and was reported as an outage.
    pub is_outage: bool,
    /// There was no request for so long that the next failed one begins another period.
    pub is_abandoned: bool,
    /// It began while other requests were served. An idle server can scale to zero; this one did not.
    pub began_in_use: bool,
}

impl UnreadyPeriod {
    pub fn new(began: Duration, reason: ColdReason) -> Self {
        Self {
            began,
            reason,
            last_loading: None,
            is_outage: false,
            is_abandoned: false,
            began_in_use: false,
        }
    }

    /// Whether the period no longer concerns a request that arrives now, if the last one was at `last_request`.
    pub fn is_without_requests(&self, last_request: Duration, now: Duration) -> bool {
        (self.reason == ColdReason::Boot || self.is_outage)
            && now.saturating_sub(last_request) > WITHOUT_REQUESTS
    }
}

/// End of a loading time that only requests show, when a request that arrived at `arrived` has output at `at`.
///
/// It is `at`, unless the request did not wait and there was no other request for most of the time. Then it is
/// `last_loading`, when the server last responded that it loads. A client that doubles its pauses tries again after half
/// of the time, so after three quarters without a request no client was waiting.
pub(super) fn loading_end(
    began: Duration,
    last_loading: Duration,
    arrived: Duration,
    at: Duration,
) -> Duration {
    let (without_requests, whole) = (at.saturating_sub(last_loading), at.saturating_sub(began));
    let nobody_waited = arrived > last_loading && without_requests > whole.mul_f64(0.75);
    if nobody_waited { last_loading } else { at }
}

/// Whether there was no request for so long that a loading time must have ended unobserved.
pub(super) fn has_ended_unobserved(began: Duration, last_loading: Duration, now: Duration) -> bool {
    let patience = last_loading.saturating_sub(began).saturating_mul(3).max(SETTLING);
    now.saturating_sub(last_loading) > patience
}
