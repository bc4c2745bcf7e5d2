//! Whether a model was loaded, on a server that accepts connections.
//!
//! | sign | reason |
//! |---|---|
//! | a response reported that the model loads; output came later | `loading` |
//! | the response reported a load time that is longer than that of a loaded model | `reported_load` |
//! | the first request after an idle time took far longer than the baseline | `idle` |

use super::slow_limit::{MIN_SAMPLES, TtftResiduals};
use super::types::{ColdReason, ColdStart, FirstOutput, LastColdStart, RequestId};
use super::unready_period::{has_ended_unobserved, loading_end};
use std::collections::VecDeque;
use std::time::Duration;

/// Number of load times of a loaded model that are remembered.
const MAX_LOADS: usize = 64;
/// Quantile of them that is the floor. Servers report a load time for every request (Ollama: 55 to 122 ms), which includes
/// the scheduler of a busy server.
const FLOOR_QUANTILE: f64 = 0.1;
/// A load time is a cold start if it exceeds the floor by this (seconds), and by this number of floors.
const MIN_ABOVE_FLOOR: f64 = 0.25;
const FLOORS_ABOVE: f64 = 3.0;
/// The same if there is no floor yet, in seconds.
const MIN_LOAD_WITHOUT_FLOOR: f64 = 0.5;
/// A load time that exceeds the wait of the request by more than this was not for this request.
const LOAD_SLACK: Duration = Duration::from_millis(50);

/// A request after an idle time must take this many times as long as expected,
const MIN_RATIO: f64 = 5.0;
/// exceed the expectation by this many standard deviations of `ln(TTFT)`,
const MIN_SPREADS: f64 = 8.0;
/// and by this time.
const MIN_EXCESS: Duration = Duration::from_millis(500);
/// A slow request is warm if the prompt took at least this part of its time, as the server reports it: the prompt then had
/// no cached prefix.
const MIN_PREFILL_PART: f64 = 0.5;

/// Tracks whether one model is loaded.
#[derive(Debug, Default)]
pub(super) struct ModelTracker {
    /// When a request last named the model.
    pub last_used: Duration,
    /// A response reported that the model loads, and there was no output since.
    loading: Option<LoadingPeriod>,
    /// Load times that requests to the loaded model reported, in seconds.
    loads: VecDeque<f64>,
    /// Residuals of requests that found the model loaded and the server idle. Requests after an idle time are compared
    /// with them.
    residuals: TtftResiduals,
    /// Responses report at their end how long the prompt took.
    reports_prefill: bool,
    last_cold_start: Option<LastColdStart>,
    /// Requests in flight that have output.
    running: Vec<RequestWithOutput>,
}

#[derive(Debug, Clone, Copy)]
struct RequestWithOutput {
    id: u64,
    wait: WaitPeriod,
    /// The end of its response decides whether it is cold.
    is_deferred: bool,
}

#[derive(Debug, Clone, Copy)]
struct LoadingPeriod {
    began: Duration,
    /// When a response last reported it.
    last_reported: Duration,
}

/// Time for which a request waited for its first output.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitPeriod {
    pub arrived: Duration,
    pub first_output: Duration,
}

impl ModelTracker {
    /// A response to a request that arrived at `arrived` reported at `at` that the model loads.
    pub fn on_loading(&mut self, arrived: Duration, at: Duration) {
        let new = LoadingPeriod { began: arrived, last_reported: at };
        let loading = self.loading.get_or_insert(new);
        loading.began = loading.began.min(arrived);
        loading.last_reported = loading.last_reported.max(at);
    }

    /// Whether a response reported that the model loads, without output since.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Forgets that the model loads: the server as a whole does.
    pub fn clear_loading(&mut self) {
        self.loading = None;
    }

    /// A request has its first output. Returns the loading time that this ends.
    pub fn on_first_output(&mut self, request: RequestId, at: Duration) -> Option<ColdStart> {
        let arrived = request.arrived;
        self.running.push(RequestWithOutput {
            id: request.id,
            wait: WaitPeriod { arrived, first_output: at },
            is_deferred: false,
        });
        // A request from before the loading time can continue through it.
        let is_over = |one: &mut LoadingPeriod| arrived >= one.began && at >= one.last_reported;
        let LoadingPeriod { began, last_reported } = self.loading.take_if(is_over)?;
        let ended = loading_end(began, last_reported, arrived, at);
        Some(self.end_loading(began, last_reported, ended))
    }

    /// A request ended.
    pub fn on_request_end(&mut self, request: RequestId) {
        self.running.retain(|one| one.id != request.id);
    }

    /// Defers the decision about a request with output to the end of its response.
    pub fn defer(&mut self, request: RequestId) {
        if let Some(one) = self.running.iter_mut().find(|one| one.id == request.id) {
            one.is_deferred = true;
        }
    }

    /// Whether the end of the response decides about this request.
    pub fn is_deferred(&self, request: RequestId) -> bool {
        self.running.iter().any(|one| one.id == request.id && one.is_deferred)
    }

    /// Records that responses report the prefill time.
    pub fn set_reports_prefill(&mut self) {
        self.reports_prefill = true;
    }

    /// Whether the prefill time at the end of the response is needed: this request, or a deferred one that it waited with,
    /// was so slow that its model may have been unloaded.
    pub fn needs_prefill_time(
        &self,
        request: RequestId,
        output: &FirstOutput<'_>,
        cold_idle: Duration,
    ) -> bool {
        let waited_with = |one: &RequestWithOutput| {
            one.id != request.id && one.is_deferred && request.arrived < one.wait.first_output
        };
        let is_slow = || self.slowness(request, output, cold_idle).is_some_and(|one| one.is_cold);
        self.reports_prefill && (is_slow() || self.running.iter().any(waited_with))
    }

    fn end(&mut self, reason: ColdReason, began: Duration, ended: Duration) -> ColdStart {
        self.last_cold_start = Some(LastColdStart { reason, last_unready: ended, ended });
        ColdStart { reason, model: None, began: Some(began), ended }
    }

    /// Ends a loading time that was last reported at `last_reported`.
    fn end_loading(
        &mut self,
        began: Duration,
        last_reported: Duration,
        ended: Duration,
    ) -> ColdStart {
        let reason = ColdReason::Loading;
        let last = LastColdStart { reason, last_unready: last_reported, ended };
        self.last_cold_start = Some(last);
        ColdStart { reason, model: None, began: Some(began), ended }
    }

    /// The reason, if this request waited for the latest cold start.
    pub fn delayed(&self, arrived: Duration, first_output: Duration) -> Option<ColdReason> {
        self.last_cold_start.and_then(|last| last.delayed(arrived, first_output))
    }

    /// Ends a loading time that must have ended unobserved.
    pub fn tick(&mut self, now: Duration) -> Option<ColdStart> {
        let is_over =
            |one: &mut LoadingPeriod| has_ended_unobserved(one.began, one.last_reported, now);
        let LoadingPeriod { began, last_reported } = self.loading.take_if(is_over)?;
        Some(self.end_loading(began, last_reported, last_reported))
    }

    /// A response reported a load time of `load` seconds. `reason` is set if the request is already known to be cold.
    pub fn on_reported_load(
        &mut self,
        wait: WaitPeriod,
        load: f64,
        reason: Option<ColdReason>,
    ) -> (Option<ColdReason>, Option<ColdStart>) {
        let WaitPeriod { arrived, first_output } = wait;
        let Ok(length) = Duration::try_from_secs_f64(load) else { return (reason, None) };
        if reason.is_some() || length > first_output.saturating_sub(arrived) + LOAD_SLACK {
            return (reason, None);
        }
        let is_cold = match self.load_floor() {
            Some(floor) => load > floor + MIN_ABOVE_FLOOR.max(FLOORS_ABOVE * floor),
            None => load > MIN_LOAD_WITHOUT_FLOOR,
        };
        if !is_cold {
            if self.loads.len() >= MAX_LOADS {
                self.loads.pop_front();
            }
            self.loads.push_back(load);
            return (None, None);
        }
        if let Some(reason) = self.delayed(arrived, first_output) {
            return (Some(reason), None);
        }
        // Requests that waited at the end of the load waited for the same load. The first output after it ended it.
        let loaded = arrived + length;
        let (mut began, mut ended) = (arrived, first_output);
        for RequestWithOutput { wait: other, .. } in &self.running {
            if other.arrived < loaded && other.first_output >= loaded {
                began = began.min(other.arrived);
                ended = ended.min(other.first_output);
            }
        }
        let reason = ColdReason::ReportedLoad;
        (Some(reason), Some(self.end(reason, began, ended)))
    }

    /// Load time that the server reports for a loaded model, in seconds.
    fn load_floor(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.loads.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() as f64 * FLOOR_QUANTILE) as usize).copied()
    }

    /// Decides whether a request without another reason was so slow after an idle time that its model must have been
    /// unloaded. `prefill`: time for the prompt as the end of the response reports it, in seconds.
    pub fn detect_slow_start(
        &mut self,
        request: RequestId,
        output: &FirstOutput<'_>,
        cold_idle: Duration,
        prefill: Option<f64>,
    ) -> Option<(ColdReason, ColdStart)> {
        let Slowness { ttft, residual, is_cold } = self.slowness(request, output, cold_idle)?;
        if !is_cold {
            self.residuals.push(residual);
            return None;
        }
        if prefill.is_some_and(|prefill| prefill >= MIN_PREFILL_PART * ttft) {
            // The prompt had no cached prefix. It is not a sample of requests that had one.
            return None;
        }
        if prefill.is_none() {
            self.residuals.push_cold(residual);
        }
        let reason = ColdReason::Idle;
        Some((reason, self.end(reason, request.arrived, output.at)))
    }

    /// Compares a request that found the server idle with its baseline. `None` if the request did not, or if there is no
    /// baseline.
    fn slowness(
        &self,
        request: RequestId,
        output: &FirstOutput<'_>,
        cold_idle: Duration,
    ) -> Option<Slowness> {
        let (idle, expected) = (request.idle?, output.expected?);
        let mut warm = expected.ttft.as_secs_f64();
        // Attention is quadratic in the length of the prompt. The baseline is linear, and ends at the largest request.
        let longer = output.bytes as f64 / expected.largest_bytes.max(1) as f64;
        warm *= longer.max(1.0).powi(2);
        // Like the baseline: the time for which the client sends its request is not the model's.
        let ttft = output.at.checked_sub(output.sent?)?.as_secs_f64();
        if warm <= 0.0 || ttft <= 0.0 {
            return None;
        }
        let residual = (ttft / warm).ln();
        let is_cold = idle >= cold_idle
            && expected.samples >= MIN_SAMPLES
            && ttft - warm >= MIN_EXCESS.as_secs_f64()
            && residual > MIN_RATIO.ln().max(MIN_SPREADS * expected.log_spread)
            && self.residuals.limit().is_some_and(|limit| residual > limit);
        Some(Slowness { ttft, residual, is_cold })
    }
}

/// A request compared with its baseline.
struct Slowness {
    /// From the request completely sent to its first output, in seconds.
    ttft: f64,
    /// `ln(ttft / expected)`.
    residual: f64,
    /// The model seems to have been unloaded.
    is_cold: bool,
}
