//! A time in which the server, or a model of it, was not ready.

use super::ColdReason;
use std::time::Duration;

/// How long a port that has opened is not yet taken for a server that is ready, where nothing but the port
/// tells and nobody asks: some servers open it first and load then, and say so to the next who asks.
pub(super) const SETTLING: Duration = Duration::from_secs(30);
/// A boot, or an outage, in which nobody asked for so long is of no concern to the next who asks.
pub(super) const UNASKED: Duration = Duration::from_secs(600);

/// A time in which the server was not ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnreadyPeriod {
    pub began: Duration,
    pub reason: ColdReason,
    /// When it last said that it loads.
    pub loading: Option<Duration>,
    /// It lasts too long to be a cold start, and that was told.
    pub outage: bool,
    /// Nobody had asked for so long that the next refusal begins another.
    pub unasked: bool,
    /// It began while others were served: what waits for nobody to ask did not scale to zero.
    pub in_use: bool,
}

impl UnreadyPeriod {
    pub fn new(began: Duration, reason: ColdReason) -> Self {
        Self { began, reason, loading: None, outage: false, unasked: false, in_use: false }
    }

    /// Whether nobody wants to know of it, if nobody asked since `demand`.
    pub fn is_unasked(&self, demand: Duration, now: Duration) -> bool {
        (self.reason == ColdReason::Boot || self.outage) && now.saturating_sub(demand) > UNASKED
    }
}

/// When an episode ended that only those who ask could tell the end of: when a request that came at `asked`
/// had output (`at`); but if it had not waited, and nobody had asked for most of the time, when the server
/// last said that it is `loading`. A client that doubles its pauses asks again after half of the time, so
/// where three quarters went by unasked nobody waited.
pub(super) fn end_as_asked(
    began: Duration,
    loading: Duration,
    asked: Duration,
    at: Duration,
) -> Duration {
    let (unasked, whole) = (at.saturating_sub(loading), at.saturating_sub(began));
    if asked > loading && unasked > whole.mul_f64(0.75) { loading } else { at }
}

/// Whether nobody has asked for so long that an episode like this has ended unseen.
pub(super) fn is_forgotten(began: Duration, loading: Duration, now: Duration) -> bool {
    let patience = loading.saturating_sub(began).saturating_mul(3).max(SETTLING);
    now.saturating_sub(loading) > patience
}
