//! Whether a model of a server that is there was loaded.

use super::episode::{end_as_asked, is_forgotten};
use super::tail::{LEAST, TtftResiduals};
use super::{ColdReason, ColdStart, FirstOutput, LastColdStart, RequestId};
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
/// The part of its time that a prompt without a cached prefix takes at least, where the server tells that.
const PREFILL_PART: f64 = 0.5;

/// What is known of a model.
#[derive(Debug, Default)]
pub(super) struct ModelTracker {
    /// When it was asked for last.
    pub used: Duration,
    /// It said that it loads, and had no output since.
    loading: Option<LoadingPeriod>,
    /// Of requests that met it loaded, in seconds.
    loads: VecDeque<f64>,
    /// Of requests that met it loaded and the server idle: those after idleness are of their kind.
    residuals: TtftResiduals,
    /// The ends of its responses tell how long the prompt was worked on.
    tells_prefill: bool,
    past: Option<LastColdStart>,
    /// Requests in flight that have output.
    open: Vec<OpenRequest>,
}

#[derive(Debug, Clone, Copy)]
struct OpenRequest {
    id: u64,
    waited: WaitPeriod,
    /// It is judged by what its end tells.
    later: bool,
}

#[derive(Debug, Clone, Copy)]
struct LoadingPeriod {
    began: Duration,
    last: Duration,
}

/// From when to when a request waited for its first output.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitPeriod {
    pub asked: Duration,
    pub first: Duration,
}

impl ModelTracker {
    /// It said of a request that came at `asked` that it loads.
    pub fn loading(&mut self, asked: Duration, at: Duration) {
        let loading = self.loading.get_or_insert(LoadingPeriod { began: asked, last: at });
        loading.began = loading.began.min(asked);
        loading.last = loading.last.max(at);
    }

    /// It said that it loads, and had no output since.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    pub fn forget_loading(&mut self) {
        self.loading = None;
    }

    /// A request has output. Ends a time of loading.
    pub fn output(&mut self, ask: RequestId, at: Duration) -> Option<ColdStart> {
        self.open.push(OpenRequest {
            id: ask.id,
            waited: WaitPeriod { asked: ask.at, first: at },
            later: false,
        });
        // What was under way before may still go on.
        let is_over = |loading: &mut LoadingPeriod| ask.at >= loading.began && at >= loading.last;
        let LoadingPeriod { began, last } = self.loading.take_if(is_over)?;
        Some(self.loaded(began, last, end_as_asked(began, last, ask.at, at)))
    }

    /// A request left.
    pub fn left(&mut self, ask: RequestId) {
        self.open.retain(|open| open.id != ask.id);
    }

    /// The end of this request, which has output, shows whether it was held up.
    pub fn judged_later(&mut self, ask: RequestId) {
        if let Some(open) = self.open.iter_mut().find(|open| open.id == ask.id) {
            open.later = true;
        }
    }

    pub fn is_judged_later(&self, ask: RequestId) -> bool {
        self.open.iter().any(|open| open.id == ask.id && open.later)
    }

    pub fn tells_prefill(&mut self) {
        self.tells_prefill = true;
    }

    /// Whether this request, or one that it waited with, seems to have met its model unloaded, and its end
    /// will tell whether it was only its prompt that took so long.
    pub fn wants_prefill(
        &self,
        ask: RequestId,
        output: &FirstOutput<'_>,
        cold_idle: Duration,
    ) -> bool {
        let waited_with =
            |open: &OpenRequest| open.id != ask.id && open.later && ask.at < open.waited.first;
        let is_slow = || self.slowness(ask, output, cold_idle).is_some_and(|slow| slow.is_cold);
        self.tells_prefill && (is_slow() || self.open.iter().any(waited_with))
    }

    /// A cold start of this model has ended.
    fn end(&mut self, reason: ColdReason, began: Duration, ended: Duration) -> ColdStart {
        self.past = Some(LastColdStart { reason, unready: ended, ended });
        ColdStart { reason, model: None, began: Some(began), ended }
    }

    /// A time of loading has ended, of which the server told last at `last`.
    fn loaded(&mut self, began: Duration, last: Duration, ended: Duration) -> ColdStart {
        let reason = ColdReason::Loading;
        self.past = Some(LastColdStart { reason, unready: last, ended });
        ColdStart { reason, model: None, began: Some(began), ended }
    }

    /// The reason, if the last cold start held up this request.
    pub fn held_up(&self, asked: Duration, first: Duration) -> Option<ColdReason> {
        self.past.and_then(|past| past.held_up(asked, first))
    }

    pub fn tick(&mut self, now: Duration) -> Option<ColdStart> {
        let forgotten =
            |loading: &mut LoadingPeriod| is_forgotten(loading.began, loading.last, now);
        let LoadingPeriod { began, last } = self.loading.take_if(forgotten)?;
        Some(self.loaded(began, last, last))
    }

    /// The server told how many seconds it loaded for a request. `cold` is what held it up already.
    pub fn told(
        &mut self,
        waited: WaitPeriod,
        load: f64,
        cold: Option<ColdReason>,
    ) -> (Option<ColdReason>, Option<ColdStart>) {
        let WaitPeriod { asked, first } = waited;
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
        for OpenRequest { waited: other, .. } in &self.open {
            if other.asked < loaded && other.first >= loaded {
                began = began.min(other.asked);
                ended = ended.min(other.first);
            }
        }
        let reason = ColdReason::ReportedLoad;
        (Some(reason), Some(self.end(reason, began, ended)))
    }

    /// What the server reports as load time of a model that is loaded.
    fn floor(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.loads.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() as f64 * FLOOR) as usize).copied()
    }

    /// Whether a request that nothing held up, as far as anybody said, was so slow after idleness that its
    /// model must have been unloaded. `prefill` is what its end tells of its prompt, in seconds.
    pub fn judge(
        &mut self,
        ask: RequestId,
        output: &FirstOutput<'_>,
        cold_idle: Duration,
        prefill: Option<f64>,
    ) -> Option<(ColdReason, ColdStart)> {
        let Slowness { ttft, residual, is_cold } = self.slowness(ask, output, cold_idle)?;
        if !is_cold {
            self.residuals.push(residual);
            return None;
        }
        if prefill.is_some_and(|prefill| prefill >= PREFILL_PART * ttft) {
            // Longer than any that found its prefix cached; none of those is like it.
            return None;
        }
        if prefill.is_none() {
            self.residuals.push_cold(residual);
        }
        Some((ColdReason::Idle, self.end(ColdReason::Idle, ask.at, output.at)))
    }

    /// How slow a request was that met the server idle; `None` if there is no measure of it.
    fn slowness(
        &self,
        ask: RequestId,
        output: &FirstOutput<'_>,
        cold_idle: Duration,
    ) -> Option<Slowness> {
        let (idle, expected) = (ask.idle?, output.expected?);
        let mut warm = expected.ttft.as_secs_f64();
        // Attention is quadratic in the prompt, where the baseline has not been yet.
        let longer = output.bytes as f64 / expected.largest_bytes.max(1) as f64;
        warm *= longer.max(1.0).powi(2);
        // As the baseline has it: what the client took to send its request is not the model's time.
        let ttft = output.at.checked_sub(output.sent?)?.as_secs_f64();
        if warm <= 0.0 || ttft <= 0.0 {
            return None;
        }
        let residual = (ttft / warm).ln();
        let is_cold = idle >= cold_idle
            && expected.samples >= LEAST
            && ttft - warm >= EXCESS.as_secs_f64()
            && residual > TIMES.ln().max(SPREADS * expected.log_spread)
            && self.residuals.limit().is_some_and(|limit| residual > limit);
        Some(Slowness { ttft, residual, is_cold })
    }
}

/// How slow a request was.
struct Slowness {
    /// From the request wholly sent to its first output, in seconds.
    ttft: f64,
    /// Logarithm of `ttft` over what was expected.
    residual: f64,
    /// Its model seems to have been unloaded.
    is_cold: bool,
}
