//! Detector of one upstream. It combines the trackers of the server, of its models, and of its process.

use super::model::ModelTracker;
use super::requests_in_flight::{InFlightHints, RequestsInFlight};
use super::restart::{ProcessTimes, RestartDetector};
use super::server::ServerTracker;
use super::types::{
    BootTimes, ColdReason, ColdStart, ColdStartConfig, ColdVerdict, FailureSign, FirstOutput,
    ProbeResult, ReportedTimes, RequestId,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Number of models that are tracked. A new one replaces the least recently used one. Each takes about 3 KiB, and 32
/// bytes for each of its requests in flight.
pub(super) const MAX_MODELS: usize = 64;
/// Longest part of a model's name that is kept, in bytes.
pub(super) const MAX_NAME: usize = 128;

/// Detects the cold starts of one upstream.
///
/// The caller reports events in approximately the order in which they happened.
#[derive(Debug)]
pub struct ColdStartDetector {
    pub(super) config: ColdStartConfig,
    server: ServerTracker,
    /// `None` if the server's metrics page is not read.
    restarts: Option<RestartDetector>,
    pub(super) models: BTreeMap<String, ModelTracker>,
    pub(super) in_flight: RequestsInFlight,
    /// Responses report at their end how long the prompt took. What one model shows holds for the next.
    reports_prefill: bool,
    /// When a request last had its first output.
    last_output: Option<Duration>,
    /// When the last request ended; before that, the start of Streamgauge.
    last_request_ended: Duration,
    last_id: u64,
}

impl ColdStartDetector {
    /// Creates a detector. Its first [probe](Self::probe_due) is due at once.
    pub fn new(config: ColdStartConfig, now: Duration) -> Self {
        Self {
            config,
            server: ServerTracker::new(config, now),
            restarts: config.has_metrics_page.then(|| RestartDetector::new(config.idle)),
            models: BTreeMap::new(),
            in_flight: RequestsInFlight::default(),
            reports_prefill: false,
            last_output: None,
            last_request_ended: now,
            last_id: 0,
        }
    }

    /// An inference request arrived at `at` (`t_req`).
    pub fn on_request(&mut self, at: Duration) -> RequestId {
        let is_idle = self.in_flight.is_empty();
        let idle = is_idle.then(|| at.saturating_sub(self.last_request_ended));
        self.server.on_request(at, is_idle);
        if let Some(restarts) = &mut self.restarts
            && idle >= Some(self.config.idle)
        {
            restarts.on_idle_end();
        }
        self.last_id += 1;
        self.in_flight.add(self.last_id, at);
        RequestId { id: self.last_id, arrived: at, idle }
    }

    /// A request failed at `at`: it got no connection, or its connection broke. A probe has to show why.
    pub fn on_failure(&mut self, request: RequestId, at: Duration, sign: FailureSign) {
        let in_use = request.idle.is_none_or(|idle| idle < self.config.idle);
        match sign {
            // The suspected time does not begin at `t_req`: the server may have worked on the request for long.
            FailureSign::Broken => self.server.on_failure(sign, at, at, true),
            _ => self.server.on_failure(sign, request.arrived, at, in_use),
        }
    }

    /// The server responded that it loads its model.
    pub fn on_model_loading(&mut self, request: RequestId, at: Duration, model: &str) {
        if !self.server.on_loading(request.arrived, at) {
            track(&mut self.models, model, at);
            if let Some(model) = self.models.get_mut(key(model)) {
                model.on_loading(request.arrived, at);
            }
        }
    }

    /// The server responded with 503, without a reason.
    pub fn on_unavailable(&mut self, at: Duration) {
        self.server.on_unavailable(at);
    }

    /// The first output of a stream, or the first body byte of any other response, arrived.
    pub fn on_first_output(&mut self, request: RequestId, output: &FirstOutput<'_>) -> ColdVerdict {
        let FirstOutput { at, model: name, .. } = *output;
        let hints = self.in_flight_hints();
        self.in_flight.set_output(request.id);
        let was_held = self.was_held(request, output);
        let server_ended = self.server.on_first_output(request.arrived, at, hints, was_held);
        let last = self.server.last_cold_start();
        let suspect = self.suspect(request, name);
        track(&mut self.models, name, at);
        let (in_flight, models) = (&self.in_flight, &mut self.models);
        // Always found, because it is tracked now.
        let Some(model) = models.get_mut(key(name)) else { return ColdVerdict::default() };
        let model_ended = model.on_first_output(request, at);
        (self.last_output, model.last_output) = (Some(at), Some(at));
        let delayed_by_server = last.and_then(|last| last.delayed(request.arrived, at));
        let mut reason = delayed_by_server.or(model.delayed(request.arrived, at));
        // A model that loads while the server becomes ready is part of the same cold start.
        let mut ended = server_ended.or(model_ended);
        let mut needs_end = output.reports_load;
        // It arrived before the last load of its model ended, but another model was used since: the model may have been
        // loaded again.
        let is_swapped = suspect == Some(ColdReason::Swapped) && ended.is_none();
        let may_be_second = is_swapped && delayed_by_server.is_none() && !needs_end;
        if reason.is_none() || needs_end || may_be_second {
            let (deferred, loaded) =
                model.judge_first_output(request, output, suspect, in_flight, self.reports_prefill);
            needs_end |= deferred && reason.is_none();
            reason = loaded.as_ref().map(|one| one.reason).or(reason);
            ended = ended.or(loaded);
        }
        let named = |ended| ColdStart { model: Some(name.to_owned()), ..ended };
        let ended = self.classify(ended.map(named));
        ColdVerdict { needs_end, reason, ended }
    }

    /// Whether this request is the first with output since the port opened again, and the server held it until it was
    /// ready.
    fn was_held(&self, request: RequestId, output: &FirstOutput<'_>) -> bool {
        let Some((opened, sent)) = self.server.opened_unproven().zip(output.sent) else {
            return false;
        };
        let from = opened.max(sent);
        let service = output.expected.map_or(Duration::ZERO, |expected| expected.ttft);
        let added = self.in_flight.added_by_others(request.id, from, service);
        let seconds = output.at.saturating_sub(from).saturating_sub(added).as_secs_f64();
        self.models.get(key(output.model)).is_some_and(|model| model.was_held(seconds, output))
    }

    /// Why the model may have been unloaded before this request, which now has its first output. `None` if it was in use.
    fn suspect(&self, request: RequestId, model: &str) -> Option<ColdReason> {
        if request.idle >= Some(self.config.idle) {
            return Some(ColdReason::Idle);
        }
        let model = self.models.get(key(model)).and_then(|model| model.last_output);
        match (self.last_output, model) {
            (None, _) => Some(ColdReason::Idle),
            (Some(last), Some(at)) if last == at => None,
            _ => Some(ColdReason::Swapped),
        }
    }

    /// A response with output ended, and reported these times.
    ///
    /// `reason` is the reason so far. A request that [needs its end](ColdVerdict::needs_end) is decided now.
    pub fn on_response_end(
        &mut self,
        request: RequestId,
        output: &FirstOutput<'_>,
        reported: ReportedTimes,
        reason: Option<ColdReason>,
    ) -> ColdVerdict {
        let FirstOutput { at, model: name, .. } = *output;
        self.reports_prefill |= reported.prefill.is_some();
        let last = self.server.last_cold_start();
        let Some(model) = self.models.get_mut(key(name)) else {
            // The model was removed to make room for others.
            return ColdVerdict { reason, ..ColdVerdict::default() };
        };
        let delayed_by_server = last.and_then(|last| last.delayed(request.arrived, at));
        let (reason, ended) = model.judge_end(request, reported, reason, delayed_by_server);
        let named = |ended| ColdStart { model: Some(name.to_owned()), ..ended };
        ColdVerdict { needs_end: false, reason, ended: self.classify(ended.map(named)) }
    }

    /// A request ended. `model` is the one of its first output, or empty.
    pub fn on_request_end(
        &mut self,
        request: RequestId,
        model: &str,
        at: Duration,
    ) -> Option<ColdStart> {
        self.in_flight.remove(request.id, at);
        self.last_request_ended = self.last_request_ended.max(at);
        if let Some(model) = self.models.get_mut(key(model)) {
            model.on_request_end(request);
        }
        let ended = if self.in_flight.has_waiting() { None } else { self.server.on_none_waiting() };
        self.classify(ended)
    }

    /// A probe that was sent at `sent` has ended with this result.
    pub fn on_probe_result(
        &mut self,
        sent: Duration,
        at: Duration,
        result: ProbeResult,
    ) -> Option<ColdStart> {
        let was_loading = self.server.is_suspected_loading();
        let in_flight = self.in_flight_hints();
        let ended = self.server.on_probe_result(sent, at, result, in_flight);
        if was_loading && !self.server.is_up() {
            // The server as a whole loads, not one of its models.
            self.models.values_mut().for_each(ModelTracker::clear_loading);
        }
        self.classify(ended)
    }

    /// The server's metrics page was requested at `requested` and has arrived. `times` is `None` if it did not arrive, or
    /// has no start time.
    pub fn on_process_times(
        &mut self,
        requested: Duration,
        at: Duration,
        times: Option<ProcessTimes>,
    ) -> Option<ColdStart> {
        let is_unready =
            !self.server.is_ready() || self.models.values().any(ModelTracker::is_loading);
        let restarts = self.restarts.as_mut()?;
        if let Some(until) = self.server.last_unready_end() {
            restarts.on_unready_end(until);
        }
        restarts.on_process_times(requested, at, times, is_unready)
    }

    /// When the next metrics page is due; `None` while none is needed.
    pub fn metrics_page_due(&self) -> Option<Duration> {
        let restarts = self.restarts.as_ref().filter(|_| self.is_up() == Some(true))?;
        restarts.due(if self.in_flight.is_empty() {
            self.last_request_ended
        } else {
            Duration::MAX
        })
    }

    /// Whether pages from several processes arrived in turn. Their start times are not usable, and no page is due again.
    pub fn has_several_processes(&self) -> bool {
        self.restarts.as_ref().is_some_and(RestartDetector::has_several_processes)
    }

    /// Returns a cold start that has ended, once its reason is certain.
    fn classify(&mut self, ended: Option<ColdStart>) -> Option<ColdStart> {
        match &mut self.restarts {
            Some(restarts) => restarts.classify(ended?, self.server.was_in_use()),
            None => ended,
        }
    }

    /// Ends cold starts that have been over for long enough without a sign to the contrary. Called regularly.
    pub fn tick(&mut self, now: Duration) -> Option<ColdStart> {
        let mut ended = self.server.tick(now, self.in_flight.has_waiting());
        // A request in flight may wait for its model.
        if self.in_flight.is_empty() && ended.is_none() {
            ended = self.models.values_mut().find_map(|model| model.tick(now));
        }
        self.classify(ended)
    }

    /// When the next probe is due; `None` while none is needed.
    pub fn probe_due(&self) -> Option<Duration> {
        self.server.probe_due(self.in_flight.is_empty())
    }

    /// Whether the server accepts connections, or reports on its health path that it is ready. `None` until a probe or an
    /// output has shown it.
    pub fn is_up(&self) -> Option<bool> {
        (!self.server.is_starting()).then(|| self.server.is_up())
    }

    /// Start of an outage: the server has been away for longer than a cold start can take. Returned once.
    pub fn outage(&mut self, now: Duration) -> Option<Duration> {
        self.server.outage(now)
    }

    /// Whether a slow request could not be judged, and would not be now: nothing shows whether its model was loaded for it.
    pub fn is_judgement_suspended(&self) -> bool {
        self.models.values().any(ModelTracker::is_judgement_suspended)
    }

    /// Stages of the server's boot since the start of Streamgauge.
    pub fn boot_times(&self) -> BootTimes {
        self.server.boot_times()
    }

    /// Signs of the server's state from the requests in flight. Empty if the server is up.
    fn in_flight_hints(&self) -> InFlightHints {
        if self.server.is_up() {
            return InFlightHints::default();
        }
        let last_unready = self.server.last_unready();
        let arrivals = || self.in_flight.waiting();
        InFlightHints {
            has_waiting: arrivals().any(|arrived| arrived <= last_unready),
            first_accepted: arrivals().filter(|arrived| *arrived > last_unready).min(),
        }
    }
}

/// Tracks a model, which is used now. A new one replaces the least recently used one if there are too many.
fn track(models: &mut BTreeMap<String, ModelTracker>, name: &str, now: Duration) {
    let name = key(name);
    // Known models first, without a copy of the name.
    if let Some(model) = models.get_mut(name) {
        model.last_used = now;
        return;
    }
    if models.len() >= MAX_MODELS {
        let oldest = models.iter().min_by_key(|(_, model)| model.last_used);
        if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
            models.remove(&oldest);
        }
    }
    let mut model = ModelTracker::default();
    model.last_used = now;
    models.insert(name.to_owned(), model);
}

/// The part of a model's name that is kept.
fn key(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name)
}
