//! Clients, a server, a prober and the detector on virtual time, with the true cold starts.

use super::rng::EvalRng;
use super::server::{
    ColdEvalRequest, ColdEvalServer, ColdEvalServerState, EvalService, PER_TOKEN, ServerPhase,
};
use std::collections::BTreeMap;
use std::time::Duration;
use streamgauge_core::meter::cold::{
    ColdReason, ColdStart, ColdStartConfig, ColdStartDetector, FailureSign, FirstOutput,
    ProbeResult, ProcessTimes, ReportedTimes, RequestId,
};
use streamgauge_core::meter::queue::{QueueEntry, QueueEstimator, ServedRequest};

pub fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

/// Sources that Streamgauge has beside the traffic.
#[derive(Debug, Clone, Copy, Default)]
pub struct EvalSight {
    /// Probes request a health path.
    pub has_health: bool,
    /// The server's metrics page is read, and probes request it.
    pub has_page: bool,
    /// Responses report the load time (Ollama).
    pub reports_load: bool,
    /// Responses report the time for the prompt (llama.cpp).
    pub reports_prefill: bool,
    /// Streams report that the model loads (llama-swap).
    pub says_loading: bool,
}

/// Only requests and responses.
pub const PROXY: EvalSight = EvalSight {
    has_health: false,
    has_page: false,
    reports_load: false,
    reports_prefill: false,
    says_loading: false,
};
/// Also a health path.
pub const HEALTH: EvalSight = EvalSight { has_health: true, ..PROXY };
/// Also the server's metrics page.
pub const PAGE: EvalSight = EvalSight { has_page: true, ..PROXY };

/// A request that had output.
#[derive(Debug, Clone, Copy)]
pub struct EvalOutcome {
    pub arrived: f64,
    pub ttft: f64,
    pub is_cold: bool,
    pub found_cold: bool,
    /// Queue wait that was estimated.
    pub queue: Option<f64>,
}

enum EvalEvent {
    Arrive(ColdEvalRequest),
    SaysLoading(u64),
    FirstOutput(u64),
    End(u64),
    Fail(u64, FailureSign),
    BreakAll,
    BreakOne,
    NewProcess,
}

struct PendingEvalRequest {
    id: RequestId,
    request: ColdEvalRequest,
    arrived: f64,
    service: Option<EvalService>,
    entry: QueueEntry,
    expected: Option<streamgauge_core::meter::queue::ExpectedTtft>,
    reason: Option<ColdReason>,
}

pub struct EvalWorld {
    pub rng: EvalRng,
    pub server: ColdEvalServer,
    pub sight: EvalSight,
    detector: ColdStartDetector,
    state: ColdEvalServerState,
    queues: BTreeMap<&'static str, QueueEstimator>,
    events: BTreeMap<(Duration, u64), EvalEvent>,
    serial: u64,
    open: BTreeMap<u64, PendingEvalRequest>,
    now: Duration,
    process_started: f64,
    probe: Option<(Duration, Duration, ProbeResult)>,
    page: Option<(Duration, Duration, Option<ProcessTimes>)>,
    pub found: Vec<ColdStart>,
    /// Begin and end of each true cold start; the end is 0 until it is known.
    pub truth: Vec<(f64, f64)>,
    pub outcomes: Vec<EvalOutcome>,
    /// The phases of the server are those of a busy one: its health path and its port are not affected.
    pub is_only_busy: bool,
    first_failure: Option<f64>,
}

impl EvalWorld {
    pub fn new(seed: u64, server: ColdEvalServer, sight: EvalSight) -> Self {
        let config = ColdStartConfig {
            idle: secs(60.0),
            outage: secs(3600.0),
            has_health: sight.has_health,
            has_metrics_page: sight.has_page,
        };
        Self {
            rng: EvalRng::new(seed * 7919 + 1),
            server,
            sight,
            detector: ColdStartDetector::new(config, Duration::ZERO),
            state: ColdEvalServerState::default(),
            queues: BTreeMap::new(),
            events: BTreeMap::new(),
            serial: 0,
            open: BTreeMap::new(),
            now: Duration::ZERO,
            process_started: -1000.0,
            probe: None,
            page: None,
            found: Vec::new(),
            truth: Vec::new(),
            outcomes: Vec::new(),
            is_only_busy: false,
            first_failure: None,
        }
    }

    pub fn is_suspended(&self) -> bool {
        self.detector.is_judgement_suspended()
    }

    fn plan(&mut self, at: f64, event: EvalEvent) {
        self.serial += 1;
        self.events.insert((secs(at), self.serial), event);
    }

    pub fn request(&mut self, at: f64, request: ColdEvalRequest) {
        self.plan(at, EvalEvent::Arrive(request));
    }

    /// `count` requests, one after the other, `pause` seconds apart.
    pub fn sequence(
        &mut self,
        from: f64,
        count: usize,
        pause: f64,
        request: ColdEvalRequest,
    ) -> f64 {
        let mut at = from;
        for _ in 0..count {
            let bytes = (request.bytes as f64 * self.rng.between(0.7, 1.3)) as u64;
            let tokens = (request.tokens as f64 * self.rng.between(0.5, 1.5)) as u64;
            self.request(at, ColdEvalRequest { bytes, tokens, ..request });
            at += pause * self.rng.between(0.8, 1.2);
        }
        at
    }

    /// Requests at random times, with `rate` per second. Failed ones are retried.
    pub fn traffic(&mut self, from: f64, to: f64, rate: f64, request: ColdEvalRequest) {
        let mut at = from;
        loop {
            at += self.rng.exponential() / rate;
            if at >= to {
                return;
            }
            let retry_after = Some(self.rng.between(0.2, 1.0));
            let bytes = (request.bytes as f64 * self.rng.between(0.7, 1.3)) as u64;
            self.request(at, ColdEvalRequest { bytes, retry_after, ..request });
        }
    }

    /// All connections break.
    pub fn break_all(&mut self, at: f64) {
        self.plan(at, EvalEvent::BreakAll);
    }

    /// One connection breaks.
    pub fn break_one(&mut self, at: f64) {
        self.plan(at, EvalEvent::BreakOne);
    }

    /// The process of the server is replaced.
    pub fn new_process(&mut self, at: f64) {
        self.plan(at, EvalEvent::NewProcess);
    }

    /// When a request first found the server away.
    pub fn first_failure(&self) -> f64 {
        self.first_failure.unwrap_or(f64::NAN)
    }

    /// Adds a true cold start of the server, from `began` until it was ready, or until the first output if a request was
    /// held.
    pub fn add_truth(&mut self, began: f64, ready: f64) {
        let held = self
            .outcomes
            .iter()
            .filter(|one| one.is_cold && one.arrived < ready && one.arrived >= began);
        let first = held.map(|one| one.arrived + one.ttft).fold(f64::INFINITY, f64::min);
        self.truth.push((began, if first.is_finite() { first } else { ready }));
        self.truth.sort_by(|a, b| a.1.total_cmp(&b.1));
    }

    pub fn run(&mut self, to: f64) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.look_until(at);
            self.now = at;
            let ended = self.detector.tick(at);
            self.found.extend(ended);
            self.happen(at.as_secs_f64(), event);
        }
        self.look_until(secs(to));
        let ended = self.detector.tick(secs(to));
        self.found.extend(ended);
    }

    /// Runs the probes and page requests that are due until `to`.
    fn look_until(&mut self, to: Duration) {
        loop {
            let now = self.now;
            let due =
                |busy: bool, due: Option<Duration>| due.filter(|_| !busy).map(|due| due.max(now));
            let probe_out = due(self.probe.is_some(), self.detector.probe_due());
            let page_out = due(self.page.is_some(), self.detector.metrics_page_due());
            let (probe_back, page_back) = (self.probe.map(|one| one.1), self.page.map(|one| one.1));
            let all = [probe_back, page_back, probe_out, page_out];
            let Some(next) = all.into_iter().flatten().min().filter(|next| *next <= to) else {
                return;
            };
            self.now = next;
            let ended = if probe_back == Some(next) {
                let Some((sent, back, result)) = self.probe.take() else { return };
                self.detector.on_probe_result(sent, back, result)
            } else if page_back == Some(next) {
                let Some((sent, back, times)) = self.page.take() else { return };
                self.detector.on_process_times(sent, back, times)
            } else if probe_out == Some(next) {
                self.probe = Some(self.send_probe(next));
                None
            } else {
                self.page = Some((next, next + secs(0.02), self.read_page(next)));
                None
            };
            self.found.extend(ended);
        }
    }

    fn send_probe(&self, at: Duration) -> (Duration, Duration, ProbeResult) {
        let (result, after) = match self.server.phase(at.as_secs_f64()) {
            ServerPhase::Down => (ProbeResult::Refused, 0.0002),
            ServerPhase::Silent => (ProbeResult::TimedOut, 1.0),
            ServerPhase::Unavailable { .. } | ServerPhase::Holding
                if (self.sight.has_health || self.sight.has_page) && !self.is_only_busy =>
            {
                (ProbeResult::NotReady, 0.001)
            }
            _ => (ProbeResult::Ready, 0.001),
        };
        (at, at + secs(after), result)
    }

    fn read_page(&self, at: Duration) -> Option<ProcessTimes> {
        let at = at.as_secs_f64();
        let now = 1.7e9 + at;
        (self.server.phase(at) == ServerPhase::Ready)
            .then(|| ProcessTimes { started: 1.7e9 + self.process_started, now: now.floor() })
    }

    fn happen(&mut self, at: f64, event: EvalEvent) {
        match event {
            EvalEvent::Arrive(request) => self.arrive(at, request),
            EvalEvent::SaysLoading(id) => {
                if let Some(one) = self.open.get(&id) {
                    self.detector.on_model_loading(one.id, secs(at), one.request.model);
                }
            }
            EvalEvent::FirstOutput(id) => self.first_output(at, id),
            EvalEvent::End(id) => self.end(at, id),
            EvalEvent::Fail(id, sign) => self.fail(at, id, sign),
            EvalEvent::BreakAll => {
                let ids: Vec<u64> = self.open.keys().copied().collect();
                ids.into_iter().for_each(|id| self.fail(at, id, FailureSign::Broken));
            }
            EvalEvent::BreakOne => {
                if let Some(id) = self.open.keys().next().copied() {
                    self.fail(at, id, FailureSign::Broken);
                }
            }
            EvalEvent::NewProcess => self.process_started = at,
        }
    }

    fn arrive(&mut self, at: f64, request: ColdEvalRequest) {
        let id = self.detector.on_request(secs(at));
        let queue = self.queues.entry(request.model).or_default();
        let entry = queue.arrive(secs(at), request.bytes, request.is_stream);
        self.serial += 1;
        let key = self.serial;
        let mut one = PendingEvalRequest {
            id,
            request,
            arrived: at,
            service: None,
            entry,
            expected: None,
            reason: None,
        };
        match self.server.phase(at) {
            ServerPhase::Down => {
                self.plan(at + 0.0003, EvalEvent::Fail(key, FailureSign::NotConnected))
            }
            ServerPhase::Silent => self.plan(at + 5.0, EvalEvent::Fail(key, FailureSign::TimedOut)),
            ServerPhase::Unavailable { .. } => {
                self.plan(at + 0.001, EvalEvent::Fail(key, FailureSign::Loading));
            }
            ServerPhase::Ready | ServerPhase::Holding => {
                let service = self.server.serve(&mut self.state, &mut self.rng, at, &request);
                one.service = Some(service);
                if service.loads {
                    self.truth.push((at, service.first));
                }
                if self.sight.says_loading && service.loads {
                    self.plan(at + 0.01, EvalEvent::SaysLoading(key));
                }
                let first = if request.is_stream { service.first } else { service.end };
                self.plan(first, EvalEvent::FirstOutput(key));
                self.plan(service.end, EvalEvent::End(key));
            }
        }
        self.open.insert(key, one);
    }

    fn output(one: &PendingEvalRequest, at: Duration, sight: EvalSight) -> FirstOutput<'static> {
        FirstOutput {
            at,
            model: one.request.model,
            sent: Some(secs(one.arrived)),
            bytes: one.request.bytes,
            is_stream: one.request.is_stream,
            expected: one.expected,
            reports_load: sight.reports_load,
        }
    }

    fn first_output(&mut self, at: f64, key: u64) {
        let Some(one) = self.open.get_mut(&key) else { return };
        let Some(queue) = self.queues.get_mut(one.request.model) else { return };
        if one.request.is_stream {
            one.expected = queue.expected_ttft(one.request.bytes);
            queue.first_output(&mut one.entry, secs(at));
        }
        let output = Self::output(one, secs(at), self.sight);
        let verdict = self.detector.on_first_output(one.id, &output);
        one.reason = verdict.reason;
        self.found.extend(verdict.ended);
    }

    fn end(&mut self, at: f64, key: u64) {
        let Some(one) = self.open.remove(&key) else { return };
        let Some(service) = one.service else { return };
        let first = if one.request.is_stream { service.first } else { service.end };
        let load = service.waited_until.map_or(0.0, |until| until - one.arrived);
        let reported = ReportedTimes {
            load: self.sight.reports_load.then_some(load + 0.06),
            prefill: self.sight.reports_prefill.then_some(service.prefill),
            decode: self.sight.reports_prefill.then_some(service.end - service.first),
            per_token: one.request.is_stream.then_some(PER_TOKEN),
            output_tokens: Some(one.request.tokens),
        };
        let output = Self::output(&one, secs(first), self.sight);
        let verdict = self.detector.on_response_end(one.id, &output, reported, one.reason);
        self.found.extend(verdict.ended);
        let is_warm = verdict.reason.is_none();
        let served = ServedRequest { prompt_tokens: None, is_warm };
        let queue = self.queues.get_mut(one.request.model);
        let queue = queue.and_then(|queue| queue.finish(one.entry, secs(at), Some(served)));
        self.outcomes.push(EvalOutcome {
            arrived: one.arrived,
            ttft: service.first - one.arrived,
            is_cold: service.waited_until.is_some_and(|until| until > one.arrived),
            found_cold: !is_warm,
            queue: queue.filter(|_| is_warm).map(|wait| wait.seconds),
        });
        let ended = self.detector.on_request_end(one.id, one.request.model, secs(at));
        self.found.extend(ended);
    }

    fn fail(&mut self, at: f64, key: u64, sign: FailureSign) {
        let Some(one) = self.open.remove(&key) else { return };
        if sign != FailureSign::Broken {
            self.first_failure.get_or_insert(one.arrived);
        }
        if sign != FailureSign::Loading {
            self.detector.on_failure(one.id, secs(at), sign);
        } else if self.server.phase(one.arrived)
            == (ServerPhase::Unavailable { says_loading: true })
        {
            self.detector.on_model_loading(one.id, secs(at), one.request.model);
        } else {
            self.detector.on_unavailable(secs(at));
        }
        if let Some(queue) = self.queues.get_mut(one.request.model) {
            queue.finish(one.entry, secs(at), None);
        }
        let ended = self.detector.on_request_end(one.id, "", secs(at));
        self.found.extend(ended);
        if let Some(pause) = one.request.retry_after {
            self.request(at + pause, one.request);
        }
    }
}
