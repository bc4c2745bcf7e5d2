//! Whether a model of a server that is there was loaded.

use super::server::{end_as_asked, is_forgotten};
use super::tail::{LEAST, Residuals};
use super::{Ask, ColdStart, Output, Past, Reason};
use std::collections::VecDeque;
use std::time::Duration;

/// Load times of a warm model that are remembered, and which of them is its floor: servers report some load
/// time of every request (Ollama 55 to 122 ms), in which a busy server's scheduler counts too.
const LOADS: usize = 64;
const FLOOR: f64 = 0.1;
/// What a load must be above the floor: this, and so many floors; and what it must be without one.
const ABOVE: f64 = 0.25;
const FLOORS: f64 = 3.0;
const UNKNOWN: f64 = 0.5;
/// A load longer than the request's whole wait (but for this) was not for it.
const SLACK: Duration = Duration::from_millis(50);

/// How much longer than expected a request after idleness must take: so many times, so many standard
/// deviations of what is usual, and by so much.
const TIMES: f64 = 5.0;
const SPREADS: f64 = 8.0;
const EXCESS: Duration = Duration::from_millis(500);

/// What is known of a model.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// When it was asked for last.
    pub used: Duration,
    /// It said that it loads, and had no output since.
    loading: Option<Loading>,
    /// Of requests that met it loaded, in seconds.
    loads: VecDeque<f64>,
    /// Of requests that met it loaded and the server idle: those after idleness are of their kind.
    residuals: Residuals,
    past: Option<Past>,
    /// Requests in flight that have output.
    open: Vec<(Ask, Waited)>,
}

#[derive(Debug, Clone, Copy)]
struct Loading {
    began: Duration,
    last: Duration,
}

/// From when to when a request waited for its first output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    pub asked: Duration,
    pub first: Duration,
}

impl Model {
    /// It said of a request that came at `asked` that it loads.
    pub fn loading(&mut self, asked: Duration, at: Duration) {
        let loading = self.loading.get_or_insert(Loading { began: asked, last: at });
        loading.began = loading.began.min(asked);
        loading.last = loading.last.max(at);
    }

    pub fn forget_loading(&mut self) {
        self.loading = None;
    }

    /// A request has output. Ends a time of loading.
    pub fn output(&mut self, ask: Ask, at: Duration) -> Option<ColdStart> {
        self.open.push((ask, Waited { asked: ask.at, first: at }));
        // What was under way before may still go on.
        let is_over = |loading: &mut Loading| ask.at >= loading.began && at >= loading.last;
        let Loading { began, last } = self.loading.take_if(is_over)?;
        Some(self.end(Reason::Loading, began, end_as_asked(began, last, ask.at, at)))
    }

    /// A request left.
    pub fn left(&mut self, ask: Ask) {
        self.open.retain(|(open, _)| open.id != ask.id);
    }

    /// A cold start of this model has ended.
    fn end(&mut self, reason: Reason, began: Duration, ended: Duration) -> ColdStart {
        self.past = Some(Past { reason, ended });
        ColdStart { reason, model: None, began, ended }
    }

    /// The reason, if the last cold start held up this request.
    pub fn held_up(&self, asked: Duration, first: Duration) -> Option<Reason> {
        self.past.and_then(|past| past.held_up(asked, first))
    }

    pub fn tick(&mut self, now: Duration) -> Option<ColdStart> {
        let forgotten = |loading: &mut Loading| is_forgotten(loading.began, loading.last, now);
        let Loading { began, last } = self.loading.take_if(forgotten)?;
        Some(self.end(Reason::Loading, began, last))
    }

    /// The server told how many seconds it loaded for a request. `cold` is what held it up already.
    pub fn told(
        &mut self,
        waited: Waited,
        load: f64,
        cold: Option<Reason>,
    ) -> (Option<Reason>, Option<ColdStart>) {
        let Waited { asked, first } = waited;
        let Ok(length) = Duration::try_from_secs_f64(load) else { return (cold, None) };
        if cold.is_some() || length > first.saturating_sub(asked) + SLACK {
            return (cold, None);
        }
        let is_cold = match self.floor() {
            Some(floor) => load > floor + ABOVE.max(FLOORS * floor),
            None => load > UNKNOWN,
        };
        if !is_cold {
            if self.loads.len() >= LOADS {
                self.loads.pop_front();
            }
            self.loads.push_back(load);
            return (None, None);
        }
        if let Some(reason) = self.held_up(asked, first) {
            return (Some(reason), None);
        }
        // Who waited at its end waited on the same load; the first output after it ended it.
        let loaded = asked + length;
        let (mut began, mut ended) = (asked, first);
        for (_, other) in &self.open {
            if other.asked < loaded && other.first >= loaded {
                began = began.min(other.asked);
                ended = ended.min(other.first);
            }
        }
        let reason = Reason::ReportedLoad;
        (Some(reason), Some(self.end(reason, began, ended)))
    }

    /// What the server reports as load time of a model that is loaded.
    fn floor(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.loads.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() as f64 * FLOOR) as usize).copied()
    }

    /// Whether a request that nothing held up, as far as anybody said, was so slow after idleness that its
    /// model must have been unloaded.
    pub fn judge(
        &mut self,
        ask: Ask,
        output: &Output<'_>,
        cold_idle: Duration,
    ) -> Option<(Reason, ColdStart)> {
        let (idle, expected) = (ask.idle?, output.expected?);
        let mut warm = expected.ttft.as_secs_f64();
        if warm <= 0.0 {
            return None;
        }
        // Attention is quadratic in the prompt, where the baseline has not been yet.
        let longer = output.bytes as f64 / expected.largest_bytes.max(1) as f64;
        warm *= longer.max(1.0).powi(2);
        let ttft = output.at.saturating_sub(ask.at).as_secs_f64();
        let residual = (ttft / warm).ln();
        let is_cold = idle >= cold_idle
            && expected.samples >= LEAST
            && ttft - warm >= EXCESS.as_secs_f64()
            && residual > TIMES.ln().max(SPREADS * expected.log_spread)
            && self.residuals.limit().is_some_and(|limit| residual > limit);
        if !is_cold {
            if residual.is_finite() {
                self.residuals.push(residual);
            }
            return None;
        }
        Some((Reason::Idle, self.end(Reason::Idle, ask.at, output.at)))
    }
}
