//! Restarts of the server's process, detected from its start time.
//!
//! The metrics page of a server has `process_start_time_seconds`, by the server's wall clock. The start time is compared
//! with the `Date` of the same response, which is on the same clock. A process is new if it is no older than the previous
//! page is. So it does not matter whether the server's clock differs from ours or is set, and a second server behind the
//! same address is not taken for a restart of the first.
//!
//! A new process alone does not show a restart: a server that was scaled to zero and back has one too. A new process
//! after an [idle time](super::ColdStartConfig::idle) is not counted as a restart.

use super::types::{ColdReason, ColdStart};
use std::time::Duration;

/// Longest pause between two pages.
const MAX_PERIOD: Duration = Duration::from_secs(15);
/// Difference between start times of one process, in seconds, by rounding: kernels, libraries and `Date` each round to
/// whole seconds somewhere.
const ROUNDING: f64 = 3.0;

/// Times of the process that wrote a metrics page, in seconds since 1970 by the clock of the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessTimes {
    /// Start of the process.
    pub started: f64,
    /// Time at which it wrote the page.
    pub now: f64,
}

/// Detects new processes from metrics pages.
#[derive(Debug)]
pub(super) struct RestartDetector {
    period: Duration,
    /// When the last page was requested.
    last_request: Option<Duration>,
    /// Start time of the latest process, and when its last page was requested.
    latest: Option<(f64, Duration)>,
    /// The server was idle since the last page for so long that it may have been scaled to zero.
    was_idle: bool,
    /// When the last new process was detected.
    last_renewal: Option<Duration>,
    /// When a request last found the server, or one of its models, not ready.
    last_unready: Option<Duration>,
    /// A cold start that has ended. The next page shows whether it was a restart.
    unclassified: Option<ColdStart>,
    has_several_processes: bool,
}

impl RestartDetector {
    /// `idle`: after this time without a request, a server may be scaled to zero.
    pub fn new(idle: Duration) -> Self {
        Self {
            period: MAX_PERIOD.min(idle),
            last_request: None,
            latest: None,
            was_idle: false,
            last_renewal: None,
            last_unready: None,
            unclassified: None,
            has_several_processes: false,
        }
    }

    /// When the next page is due, of a server that is up and was last used at `used`: one at the start, then periodically
    /// while the server is used.
    pub fn due(&self, used: Duration) -> Option<Duration> {
        match self.last_request {
            _ if self.has_several_processes => None,
            Some(last) if self.unclassified.is_none() => (used >= last).then(|| last + self.period),
            _ => Some(Duration::ZERO),
        }
    }

    /// A request arrived after an idle time in which the server may have been scaled to zero.
    pub fn on_idle_end(&mut self) {
        self.was_idle = true;
    }

    /// Requests found the server, or one of its models, not ready until `until`.
    pub fn on_unready_end(&mut self, until: Duration) {
        self.last_unready = self.last_unready.max(Some(until));
    }

    /// Returns a cold start that has ended, with its final reason. Keeps it if only the next page can show the reason.
    ///
    /// `in_use`: it began while other requests were served, so the server was not scaled to zero.
    pub fn classify(&mut self, start: ColdStart, in_use: bool) -> Option<ColdStart> {
        self.on_unready_end(start.ended);
        let may_be_restart = start.reason == ColdReason::Unreachable && in_use;
        if !may_be_restart || self.latest.is_none() || self.has_several_processes {
            Some(start)
        } else if self.last_renewal >= start.began {
            Some(ColdStart { reason: ColdReason::Restarted, ..start })
        } else {
            self.unclassified.replace(start)
        }
    }

    /// A page that was requested at `requested` has arrived, or failed. Returns the cold start that it shows.
    ///
    /// `is_unready`: the server, or one of its models, is not ready now.
    pub fn on_process_times(
        &mut self,
        requested: Duration,
        at: Duration,
        times: Option<ProcessTimes>,
        is_unready: bool,
    ) -> Option<ColdStart> {
        self.last_request = Some(requested);
        let previous = self.latest;
        let is_new = times.is_some_and(|times| self.is_new_process(requested, at, times));
        if is_new {
            self.last_renewal = Some(at);
        }
        let was_idle = times.is_some() && std::mem::take(&mut self.was_idle);
        // A page that was requested before the end of the cold start can be from the old process.
        let is_certain = is_new || self.has_several_processes;
        if let Some(start) =
            self.unclassified.take_if(|start| is_certain || requested >= start.ended)
        {
            let reason = if is_new { ColdReason::Restarted } else { start.reason };
            return Some(ColdStart { reason, ..start });
        }
        let was_met = is_unready || self.last_unready >= previous.map(|(_, last)| last);
        // No request failed between the two pages, so the start of the restart is unknown.
        let unmet =
            ColdStart { reason: ColdReason::Restarted, model: None, began: None, ended: at };
        (is_new && !was_met && !was_idle).then_some(unmet)
    }

    fn is_new_process(&mut self, requested: Duration, at: Duration, times: ProcessTimes) -> bool {
        let Some((started, last)) = self.latest.replace((times.started, requested)) else {
            return false;
        };
        if (times.started - started).abs() <= ROUNDING {
            return false;
        }
        let age = times.now - times.started;
        let is_new = age <= at.saturating_sub(last).as_secs_f64() + ROUNDING;
        self.has_several_processes |= !is_new;
        is_new
    }

    /// Whether pages from several processes arrived in turn, so that start times are not usable.
    pub fn has_several_processes(&self) -> bool {
        self.has_several_processes
    }
}
