//! What the server's own page of metrics tells of restarts: since when its process runs.
//!
//! A start time is of the server's wall clock, and is held against that clock alone, as the same answer tells it:
//! a process that is no older than the last answer of another one is new. So neither a clock that differs from
//! ours matters, nor one that is set; and of several servers behind one address none is taken for a restart of
//! another.
//!
//! That a process is new does not tell why: a server that scaled to zero and came back has a new one too. What
//! nobody asked of for [as long as such a server waits](super::ColdStartConfig::idle) is not taken for a restart.

use super::{ColdReason, ColdStart};
use std::time::Duration;

/// The pause between two pages, at most.
const PERIOD: Duration = Duration::from_secs(15);
/// How much start times may differ of one process, and be rounded, in seconds: kernels, libraries and `Date`
/// each tell whole seconds somewhere.
const ROUNDING: f64 = 3.0;

/// What a page tells of the process that wrote it, in seconds of its own wall clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessTimes {
    /// When the process started.
    pub started: f64,
    /// When it wrote the page.
    pub now: f64,
}

/// What pages have told.
#[derive(Debug)]
pub(super) struct RestartDetector {
    period: Duration,
    /// When the last page was asked for.
    asked: Option<Duration>,
    /// The latest process, and when the last page that it wrote was asked for.
    known: Option<(f64, Duration)>,
    /// Nobody had asked for so long since, that its server may have scaled to zero.
    was_idle: bool,
    /// When a process was first known to be another one than before.
    renewed: Option<Duration>,
    /// When somebody last met the server, or a model of it, not ready.
    met: Option<Duration>,
    /// A cold start that ended, and may have been a restart: the next page tells.
    held: Option<ColdStart>,
    /// Several processes answer: nothing can be told.
    several: bool,
}

impl RestartDetector {
    /// `idle`: after so long without a request a server may scale to zero.
    pub fn new(idle: Duration) -> Self {
        Self {
            period: PERIOD.min(idle),
            asked: None,
            known: None,
            was_idle: false,
            renewed: None,
            met: None,
            held: None,
            several: false,
        }
    }

    /// When the next page is due of a server that is up, and was used last at `used`: one at our start, then again
    /// and again as long as it is used.
    pub fn due(&self, used: Duration) -> Option<Duration> {
        match self.asked {
            _ if self.several => None,
            Some(asked) if self.held.is_none() => (used >= asked).then(|| asked + self.period),
            _ => Some(Duration::ZERO),
        }
    }

    /// Somebody asks, for the first time after so long that the server may have scaled to zero.
    pub fn was_idle(&mut self) {
        self.was_idle = true;
    }

    /// Until then somebody met the server, or a model of it, not ready.
    pub fn met(&mut self, until: Duration) {
        self.met = self.met.max(Some(until));
    }

    /// A cold start has ended. Gives it back as what it was; keeps it if only the next page shows that. `in_use`:
    /// it began while others were served, so that nothing scaled to zero.
    pub fn ended(&mut self, start: ColdStart, in_use: bool) -> Option<ColdStart> {
        self.met(start.ended);
        let is_doubtful = start.reason == ColdReason::Unreachable && in_use;
        if !is_doubtful || self.known.is_none() || self.several {
            Some(start)
        } else if self.renewed >= start.began {
            Some(ColdStart { reason: ColdReason::Restarted, ..start })
        } else {
            self.held.replace(start)
        }
    }

    /// A page that was asked for at `asked` has come back, or did not; `is_met`: the server, or a model of it, is
    /// not ready now. Gives the cold start of which it tells.
    pub fn paged(
        &mut self,
        asked: Duration,
        at: Duration,
        page: Option<ProcessTimes>,
        is_met: bool,
    ) -> Option<ColdStart> {
        self.asked = Some(asked);
        let before = self.known;
        let is_new = page.is_some_and(|page| self.is_new(asked, at, page));
        if is_new {
            self.renewed = Some(at);
        }
        let was_idle = page.is_some() && std::mem::take(&mut self.was_idle);
        // Of a page that went out before the end nothing follows for what was held then.
        let is_last = is_new || self.several;
        if let Some(held) = self.held.take_if(|held| is_last || asked >= held.ended) {
            let reason = if is_new { ColdReason::Restarted } else { held.reason };
            return Some(ColdStart { reason, ..held });
        }
        let is_met = is_met || self.met >= before.map(|(_, last)| last);
        // Nobody can tell how long it took: between two pages nobody asked in vain.
        let unmet =
            ColdStart { reason: ColdReason::Restarted, model: None, began: None, ended: at };
        (is_new && !is_met && !was_idle).then_some(unmet)
    }

    fn is_new(&mut self, asked: Duration, at: Duration, page: ProcessTimes) -> bool {
        let Some((started, last)) = self.known.replace((page.started, asked)) else { return false };
        if (page.started - started).abs() <= ROUNDING {
            return false;
        }
        let age = page.now - page.started;
        let is_new = age <= at.saturating_sub(last).as_secs_f64() + ROUNDING;
        self.several |= !is_new;
        is_new
    }

    /// Several processes answer, so that nothing can be told.
    pub fn sees_several(&self) -> bool {
        self.several
    }
}
