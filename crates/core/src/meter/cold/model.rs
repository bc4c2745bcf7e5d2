//! Whether a model was loaded, on a server that accepts connections.
//!
//! | sign | reason |
//! |---|---|
//! | a response reported that the model loads; output came later | `loading` |
//! | the response reported a load time that is longer than that of a loaded model | `reported_load` |
//! | a lone request after an idle time took far longer than usual | `idle` |
//! | a lone request for another model than the last one did | `swapped` |

use super::load_times::WarmLoadTimes;
use super::requests_in_flight::RequestsInFlight;
use super::slow_start::{LoneWait, SlowStartJudge, WaitVerdict};
use super::types::{ColdReason, ColdStart, FirstOutput, LastColdStart, ReportedTimes, RequestId};
use super::unready_period::{has_ended_unobserved, loading_end};
use std::time::Duration;

/// A load time that exceeds the wait of the request by more than this was not for this request.
const LOAD_SLACK: Duration = Duration::from_millis(50);

/// Tracks whether one model is loaded.
#[derive(Debug, Default)]
pub(super) struct ModelTracker {
    /// When a request last named the model.
    pub last_used: Duration,
    /// A response reported that the model loads, and there was no output since.
    loading: Option<LoadingPeriod>,
    /// When the model last had a first output.
    pub last_output: Option<Duration>,
    /// Load times that requests to the loaded model reported.
    loads: WarmLoadTimes,
    slow_starts: SlowStartJudge,
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
    /// Its wait, if it had the server for itself.
    lone: Option<LoneWait>,
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
            lone: None,
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

    /// Decides whether a request without another reason waited for a load, as far as its first output shows. Returns whether
    /// the end of its response has to decide, and the cold start. `suspect`: why the model may have been unloaded.
    /// `reports_prefill`: the server reports at the end how long the prompt took.
    pub fn judge_first_output(
        &mut self,
        request: RequestId,
        output: &FirstOutput<'_>,
        suspect: Option<ColdReason>,
        in_flight: &RequestsInFlight,
        reports_prefill: bool,
    ) -> (bool, Option<ColdStart>) {
        let lone = self.slow_starts.lone_wait(request, output, suspect, in_flight);
        // A request that waited with one that is not decided yet is not decided either.
        let is_deferred =
            lone.as_ref().is_some_and(|wait| SlowStartJudge::needs_end(wait, reports_prefill))
                || output.reports_load
                || self.running.iter().any(|one| {
                    one.id != request.id
                        && one.is_deferred
                        && one.lone.is_some()
                        && request.arrived < one.wait.first_output
                });
        if let Some(one) = self.running.iter_mut().find(|one| one.id == request.id) {
            (one.is_deferred, one.lone) = (is_deferred, lone);
        }
        let verdict = match lone.filter(|_| !is_deferred) {
            Some(wait) => self.slow_starts.judge_stream(wait),
            None => WaitVerdict::Warm,
        };
        (is_deferred, self.loaded(verdict, request.arrived, output.at))
    }

    /// Decides about a request by what the end of its response reports, if its first output left that open. `reason`: why
    /// it is cold, as far as known. `delayed_by_server`: the cold start of the server that it waited for.
    pub fn judge_end(
        &mut self,
        request: RequestId,
        reported: ReportedTimes,
        reason: Option<ColdReason>,
        delayed_by_server: Option<ColdReason>,
    ) -> (Option<ColdReason>, Option<ColdStart>) {
        self.slow_starts.learn(reported);
        let running = self.running.iter_mut().find(|one| one.id == request.id);
        let Some(RequestWithOutput { wait, is_deferred, lone, .. }) =
            running.map(|one| (*one, one.lone = None).0)
        else {
            return (reason, None);
        };
        let delayed =
            || delayed_by_server.or_else(|| self.delayed(wait.arrived, wait.first_output));
        let reason = reason.or_else(|| if is_deferred { delayed() } else { None });
        if let Some(load) = reported.load.filter(|_| is_deferred) {
            return self.on_reported_load(wait, load, reason);
        }
        let Some(lone) = lone.filter(|_| reason.is_none()) else { return (reason, None) };
        let verdict = self.slow_starts.judge_end(lone, reported, !is_deferred);
        let ended = self.loaded(verdict, wait.arrived, wait.first_output);
        (ended.as_ref().map(|one| one.reason), ended)
    }

    /// The cold start of a request that waited for a load.
    fn loaded(
        &mut self,
        verdict: WaitVerdict,
        arrived: Duration,
        first_byte: Duration,
    ) -> Option<ColdStart> {
        let WaitVerdict::Loaded { reason, after_output } = verdict else { return None };
        let after_output = Duration::try_from_secs_f64(after_output).unwrap_or_default();
        let ended = first_byte.saturating_sub(after_output).max(arrived);
        Some(self.end(reason, arrived, ended))
    }

    /// Whether a request that had its first output `seconds` after the port opened again was held until the server was
    /// ready.
    pub fn was_held(&self, seconds: f64, output: &FirstOutput<'_>) -> bool {
        self.slow_starts.was_held(seconds, output)
    }

    /// Whether slow requests cannot be judged now.
    pub fn is_judgement_suspended(&self) -> bool {
        self.slow_starts.is_suspended()
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
    fn on_reported_load(
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
        if !self.loads.is_load(load) {
            self.loads.push(load);
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
}
