//! Failed requests whose cause is not known yet: a probe confirms that the server was away, or clears the suspicion.

use super::types::{ColdReason, FailureSign, ProbeResult};
use super::unready_period::UnreadyPeriod;
use std::time::Duration;

/// Refusals this soon after a broken connection belong to the same restart: a process that dies breaks its connections,
/// and its port may accept others for a moment longer.
const BREAK_BEFORE_REFUSAL: Duration = Duration::from_secs(5);

/// Failed requests whose cause is not known yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct SuspectedFailure {
    /// Start of the first failure.
    pub since: Duration,
    /// Time of the latest failure.
    pub latest: Duration,
    /// A connection broke.
    has_break: bool,
    /// A response reported that the model loads.
    pub has_loading: bool,
    /// A connection was refused.
    has_refusal: bool,
    pub probe: SuspicionProbe,
    /// All failed requests arrived while others were served, or soon after.
    in_use: bool,
}

/// Progress of the probes for a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SuspicionProbe {
    /// No probe has ended since the latest failure.
    Due,
    /// Probes have timed out since then, and are repeated.
    TimedOut,
}

impl SuspectedFailure {
    /// A request that met the server at `since` failed at `at`. `in_use`: other requests were served then, or had been not
    /// long before.
    pub fn new(sign: FailureSign, since: Duration, at: Duration, in_use: bool) -> Self {
        Self {
            since,
            latest: at,
            has_break: sign == FailureSign::Broken,
            has_loading: sign == FailureSign::Loading,
            has_refusal: sign == FailureSign::NotConnected,
            probe: SuspicionProbe::Due,
            in_use,
        }
    }

    /// This suspicion with another failure added.
    pub fn with(self, new: Self) -> Self {
        Self {
            since: self.since.min(new.since),
            latest: self.latest.max(new.latest),
            has_break: self.has_break || new.has_break,
            has_loading: self.has_loading || new.has_loading,
            has_refusal: self.has_refusal || new.has_refusal,
            probe: SuspicionProbe::Due,
            in_use: self.in_use && new.in_use,
        }
    }

    /// This suspicion after a probe that timed out.
    pub fn with_probe_timed_out(self) -> Self {
        Self { probe: SuspicionProbe::TimedOut, ..self }
    }

    /// The unready period that this result of a probe confirms. `last_break`: when a connection last broke.
    pub fn confirmed_by(
        self,
        result: ProbeResult,
        last_break: Option<Duration>,
    ) -> Option<UnreadyPeriod> {
        // A health path that fails under load is not a cold start, unless a request shows more than a busy server.
        let shows_more = self.has_loading || self.has_break || self.has_refusal;
        let is_confirmed = match result {
            ProbeResult::Refused => true,
            ProbeResult::NotReady => shows_more,
            ProbeResult::Ready | ProbeResult::Unclear | ProbeResult::TimedOut => false,
        };
        let had_break_before = last_break.is_some_and(|at| {
            at <= self.since && self.since.saturating_sub(at) <= BREAK_BEFORE_REFUSAL
        });
        let reason = match (self.has_loading, self.has_break || had_break_before) {
            (_, true) => ColdReason::Restarted,
            (true, false) => ColdReason::Loading,
            (false, false) => ColdReason::Unreachable,
        };
        let new = UnreadyPeriod::new(self.since, reason);
        is_confirmed.then_some(UnreadyPeriod { began_in_use: self.in_use, ..new })
    }
}
