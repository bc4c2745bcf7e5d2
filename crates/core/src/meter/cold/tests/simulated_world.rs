//! A server, its clients and a prober on virtual time, whose true cold starts are known.

use super::super::*;
use super::evaluation::rng::EvalRng;
use crate::meter::queue::ExpectedTtft;
use std::collections::BTreeMap;
use std::time::Duration;

pub fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// How the server responds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SimulatedState {
    /// It refuses connections.
    Down,
    /// It rejects requests with a 503 that reports loading, as does its health path.
    Loading,
    /// It accepts requests and holds them until it is ready. Its health path reports that it is not ready.
    Holding,
    Ready,
    /// It neither accepts nor refuses connections.
    Unresponsive,
    /// It is ready, and its health path returns 404.
    WrongHealthPath,
}

/// A request of a client. Times are in seconds.
#[derive(Debug, Clone, Copy)]
pub struct ScriptedRequest {
    pub model: &'static str,
    /// Time to first output, from the start in the server.
    pub ttft: f64,
    pub decode: f64,
    pub bytes: u64,
    pub expected: Option<ExpectedTtft>,
    /// The end of the response reports a load time; this is the one of a loaded model.
    pub warm_load: Option<f64>,
    /// Prefill time that the end of the response reports.
    pub prefill: Option<f64>,
    /// Time for which the client sends the request; a part of `ttft`.
    pub upload: f64,
    /// Time for which the model loads for this request.
    pub load: f64,
    /// The stream reports that the model loads (llama-swap).
    pub reports_loading: bool,
    /// Pause after which the client retries a refused request.
    pub retry_after: Option<f64>,
}

pub const WARM_REQUEST: ScriptedRequest = ScriptedRequest {
    model: "m",
    ttft: 0.3,
    decode: 2.0,
    bytes: 1000,
    expected: None,
    warm_load: None,
    prefill: None,
    upload: 0.0,
    load: 0.0,
    reports_loading: false,
    retry_after: None,
};

enum WorldEvent {
    Request(ScriptedRequest),
    Loading(u64),
    FirstOutput(u64),
    End(u64),
    SetState(SimulatedState, bool),
    BreakOne,
    ReplaceProcess,
}

/// The server's wall clock, which differs from ours, and what its metrics page shows of it.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    /// Seconds since 1970 at the start of the test.
    pub offset: f64,
    pub rate: f64,
    /// The page has the start time of the process.
    pub has_start_time: bool,
    /// A second server responds to every other page. It started this much earlier, in seconds.
    pub second_server_age: Option<f64>,
}

impl ServerClock {
    /// A clock that differs from ours, on a page with a start time.
    pub fn new(rng: &mut EvalRng) -> Self {
        let offset = 1.7e9 + rng.between(-1e7, 1e7);
        Self {
            offset,
            rate: rng.between(0.9998, 1.0002),
            has_start_time: true,
            second_server_age: None,
        }
    }

    fn at(self, now: Duration) -> f64 {
        self.offset + self.rate * now.as_secs_f64()
    }
}

struct PendingRequest {
    id: RequestId,
    request: ScriptedRequest,
    at: Duration,
    first: Option<Duration>,
    reason: Option<ColdReason>,
}

impl PendingRequest {
    fn first_output(&self, first: Duration) -> FirstOutput<'static> {
        let ScriptedRequest { model, bytes, expected, warm_load, upload, .. } = self.request;
        let sent = Some(self.at + secs(upload));
        let (is_stream, reports_load) = (true, warm_load.is_some());
        FirstOutput { at: first, sent, model, bytes, is_stream, expected, reports_load }
    }
}

pub struct SimulatedWorld {
    pub detector: ColdStartDetector,
    now: Duration,
    up: SimulatedState,
    events: BTreeMap<(Duration, u64), WorldEvent>,
    serial: u64,
    running: BTreeMap<u64, PendingRequest>,
    /// When each model is loaded.
    loaded: BTreeMap<&'static str, Duration>,
    pub found: Vec<ColdStart>,
    /// Requests that had output: `t_req`, `t_first`, and the reason if they were found cold.
    pub served: Vec<(Duration, Duration, Option<ColdReason>)>,
    /// `t_req` of the refused requests.
    pub refused: Vec<Duration>,
    pub probes: usize,
    probe_in_flight: Option<(Duration, Duration, ProbeResult)>,
    /// `None` if the metrics page is not read.
    pub clock: Option<ServerClock>,
    /// Start of the server's process.
    started: Duration,
    pub pages: usize,
    page_in_flight: Option<(Duration, Duration, Option<ProcessTimes>)>,
}

impl SimulatedWorld {
    pub fn new(up: SimulatedState, has_health: bool) -> Self {
        Self::with_metrics_page(up, has_health, None)
    }

    pub fn with_metrics_page(
        up: SimulatedState,
        has_health: bool,
        clock: Option<ServerClock>,
    ) -> Self {
        let (idle, outage, has_metrics_page) = (secs(60.0), secs(3600.0), clock.is_some());
        let config = ColdStartConfig { idle, outage, has_health, has_metrics_page };
        Self {
            detector: ColdStartDetector::new(config, Duration::ZERO),
            now: Duration::ZERO,
            up,
            events: BTreeMap::new(),
            serial: 0,
            running: BTreeMap::new(),
            loaded: BTreeMap::new(),
            found: Vec::new(),
            served: Vec::new(),
            refused: Vec::new(),
            probes: 0,
            probe_in_flight: None,
            clock,
            started: Duration::ZERO,
            pages: 0,
            page_in_flight: None,
        }
    }

    fn plan(&mut self, at: Duration, event: WorldEvent) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    pub fn request(&mut self, at: f64, request: ScriptedRequest) {
        self.plan(secs(at), WorldEvent::Request(request));
    }

    /// Changes the state of the server. Requests in progress continue, or break.
    pub fn set_state(&mut self, at: f64, up: SimulatedState, breaks: bool) {
        self.plan(secs(at), WorldEvent::SetState(up, breaks));
    }

    /// Breaks one of the requests in flight; the server stays ready.
    pub fn break_one_request(&mut self, at: f64) {
        self.plan(secs(at), WorldEvent::BreakOne);
    }

    /// Replaces the server's process without a time in which it is away.
    pub fn replace_process(&mut self, at: f64) {
        self.plan(secs(at), WorldEvent::ReplaceProcess);
    }

    /// Runs until `to`.
    pub fn run(&mut self, to: f64) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > secs(to) {
                self.plan(at, event);
                break;
            }
            self.probe_until(at);
            self.now = at;
            let ended = self.detector.tick(at);
            self.found.extend(ended);
            self.happen(event);
        }
        self.probe_until(secs(to));
        self.now = secs(to);
        let ended = self.detector.tick(self.now);
        self.found.extend(ended);
    }

    /// Runs the probes and page requests that are due until `to`.
    fn probe_until(&mut self, to: Duration) {
        loop {
            let out = |in_flight: bool, due: Option<Duration>| due.filter(|_| !in_flight);
            let probe_out = out(self.probe_in_flight.is_some(), self.detector.probe_due());
            let page_out = out(self.page_in_flight.is_some(), self.detector.metrics_page_due());
            let probe_back = self.probe_in_flight.map(|probe| probe.1);
            let page_back = self.page_in_flight.map(|page| page.1);
            let [probe_out, page_out] =
                [probe_out, page_out].map(|at| at.map(|at| at.max(self.now)));
            let next = [probe_back, page_back, probe_out, page_out].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= to) else { return };
            self.now = next;
            if probe_back == Some(next) {
                let Some((sent, back, found)) = self.probe_in_flight.take() else { return };
                self.probes += 1;
                let ended = self.detector.on_probe_result(sent, back, found);
                self.found.extend(ended);
            } else if page_back == Some(next) {
                let Some((sent, back, page)) = self.page_in_flight.take() else { return };
                self.pages += 1;
                let ended = self.detector.on_process_times(sent, back, page);
                self.found.extend(ended);
            } else if probe_out == Some(next) {
                self.probe_in_flight = Some(self.probe(next));
            } else {
                self.page_in_flight = Some((next, next + secs(0.02), self.metrics_page(next)));
            }
        }
    }

    /// The metrics page at this instant. `Date` is in whole seconds, and a second old at times.
    fn metrics_page(&self, at: Duration) -> Option<ProcessTimes> {
        let is_there = matches!(
            self.up,
            SimulatedState::Ready | SimulatedState::Holding | SimulatedState::WrongHealthPath
        );
        let clock = self.clock.filter(|clock| clock.has_start_time && is_there)?;
        let (mut started, now) =
            (clock.at(self.started), clock.at(at).floor() - (at.as_millis() % 2) as f64);
        if let Some(earlier) = clock.second_server_age.filter(|_| self.pages % 2 == 1) {
            started -= earlier;
        }
        Some(ProcessTimes { started: (started * 100.0).floor() / 100.0, now })
    }

    /// A probe that is sent at this instant: when it was sent, when it ends, and its result.
    fn probe(&self, at: Duration) -> (Duration, Duration, ProbeResult) {
        let (found, after) = match self.up {
            SimulatedState::Down => (ProbeResult::Refused, 0.0002),
            SimulatedState::Loading | SimulatedState::Holding
                if self.detector.config.has_health =>
            {
                (ProbeResult::NotReady, 0.001)
            }
            SimulatedState::WrongHealthPath if self.detector.config.has_health => {
                (ProbeResult::Unclear, 0.001)
            }
            SimulatedState::Loading
            | SimulatedState::Holding
            | SimulatedState::Ready
            | SimulatedState::WrongHealthPath => (ProbeResult::Ready, 0.0005),
            SimulatedState::Unresponsive => (ProbeResult::TimedOut, 1.0),
        };
        (at, at + secs(after), found)
    }

    fn happen(&mut self, event: WorldEvent) {
        let at = self.now;
        match event {
            WorldEvent::Request(request) => self.arrive(request),
            WorldEvent::Loading(id) => {
                if let Some(one) = self.running.get(&id) {
                    self.detector.on_model_loading(one.id, at, one.request.model);
                    if one.first.is_none() && one.at + secs(one.request.load) > at + secs(0.75) {
                        self.plan(at + secs(0.75), WorldEvent::Loading(id));
                    }
                }
            }
            WorldEvent::FirstOutput(id) => {
                if let Some(one) = self.running.get_mut(&id) {
                    one.first = Some(at);
                    let output = one.first_output(at);
                    let ColdVerdict { reason, ended, .. } =
                        self.detector.on_first_output(one.id, &output);
                    one.reason = reason;
                    let decode = secs(one.request.decode);
                    self.found.extend(ended);
                    self.plan(at + decode, WorldEvent::End(id));
                }
            }
            WorldEvent::End(id) => self.end(id),
            WorldEvent::ReplaceProcess => self.started = at,
            WorldEvent::SetState(up, breaks) => {
                if self.up == SimulatedState::Down {
                    self.started = at;
                }
                self.up = up;
                if breaks {
                    let ids: Vec<u64> = self.running.keys().copied().collect();
                    ids.into_iter().for_each(|id| self.broke(id));
                }
                if up == SimulatedState::Ready {
                    let held = self.running.iter().filter(|(_, one)| one.first.is_none());
                    let held: Vec<_> = held.map(|(id, one)| (*id, one.request.ttft)).collect();
                    for (id, ttft) in held {
                        self.plan(at + secs(ttft), WorldEvent::FirstOutput(id));
                    }
                }
            }
            WorldEvent::BreakOne => {
                if let Some((id, _)) = self.running.first_key_value() {
                    self.broke(*id);
                }
            }
        }
    }

    fn arrive(&mut self, request: ScriptedRequest) {
        let at = self.now;
        let request_id = self.detector.on_request(at);
        let refuse = |world: &mut Self| {
            world.refused.push(at);
            let ended = world.detector.on_request_end(request_id, request.model, at + secs(0.0003));
            world.found.extend(ended);
            if let Some(pause) = request.retry_after {
                world.plan(at + secs(pause), WorldEvent::Request(request));
            }
        };
        match self.up {
            SimulatedState::Down | SimulatedState::Unresponsive => {
                let sign = match self.up {
                    SimulatedState::Down => FailureSign::NotConnected,
                    _ => FailureSign::TimedOut,
                };
                self.detector.on_failure(request_id, at + secs(0.0002), sign);
                refuse(self);
            }
            SimulatedState::Loading => {
                self.detector.on_model_loading(request_id, at + secs(0.001), request.model);
                refuse(self);
            }
            SimulatedState::Holding | SimulatedState::Ready | SimulatedState::WrongHealthPath => {
                let id = request_id.id;
                let one = PendingRequest { id: request_id, request, at, first: None, reason: None };
                self.running.insert(id, one);
                if self.up != SimulatedState::Holding {
                    // Requests that arrive while the model loads wait for the rest of the load.
                    let loaded = self.loaded.entry(request.model).or_default();
                    *loaded = if request.load > 0.0 { at + secs(request.load) } else { *loaded };
                    let first = loaded.max(&mut { at }).to_owned() + secs(request.ttft);
                    self.plan(first, WorldEvent::FirstOutput(id));
                    if request.reports_loading {
                        self.plan(at + secs(0.01), WorldEvent::Loading(id));
                    }
                }
            }
        }
    }

    fn broke(&mut self, id: u64) {
        if let Some(one) = self.running.remove(&id) {
            self.detector.on_failure(one.id, self.now, FailureSign::Broken);
            let ended = self.detector.on_request_end(one.id, one.request.model, self.now);
            self.found.extend(ended);
            if let Some(pause) = one.request.retry_after {
                self.plan(self.now + secs(pause), WorldEvent::Request(one.request));
            }
        }
    }

    fn end(&mut self, id: u64) {
        let Some(mut one) = self.running.remove(&id) else { return };
        let Some(first) = one.first else { return };
        let waited = first.saturating_sub(one.at).as_secs_f64() - one.request.ttft;
        let load = one.request.warm_load.map(|warm| waited.max(0.0) + warm);
        let reported =
            ReportedTimes { load, prefill: one.request.prefill, ..ReportedTimes::default() };
        let verdict =
            self.detector.on_response_end(one.id, &one.first_output(first), reported, one.reason);
        one.reason = verdict.reason;
        self.found.extend(verdict.ended);
        self.served.push((one.at, first, one.reason));
        let ended = self.detector.on_request_end(one.id, one.request.model, self.now);
        self.found.extend(ended);
    }

    /// Asserts that exactly these cold starts were found, apart from restarts that no request met. Lengths may differ by
    /// 5 % or 50 ms.
    pub fn assert_cold_starts(&self, what: &str, truth: &[(ColdReason, Duration, Duration)]) {
        let met = self.found.iter().filter_map(|one| Some((one.reason, one.began?, one.ended)));
        let found: Vec<_> = met.collect();
        assert_eq!(found.len(), truth.len(), "{what}: {found:?}, expected {truth:?}");
        for (found, truth) in found.iter().zip(truth) {
            let length = |one: &(ColdReason, Duration, Duration)| {
                (one.2.saturating_sub(one.1)).as_secs_f64()
            };
            let (found_length, true_length) = (length(found), length(truth));
            let off = (found_length - true_length).abs();
            let is_right = found.0 == truth.0 && off <= f64::max(0.05, 0.05 * true_length);
            assert!(is_right, "{what}: {found:?}, expected {truth:?}");
        }
    }

    /// Number of restarts that no request met.
    pub fn unmet_restarts(&self) -> usize {
        let unmet_restarts = self.found.iter().filter(|one| one.began.is_none());
        unmet_restarts.map(|one| assert_eq!(one.reason, ColdReason::Restarted)).count()
    }

    /// First output at or after this instant.
    pub fn output_after(&self, at: f64) -> Duration {
        self.served.iter().map(|one| one.1).filter(|first| *first >= secs(at)).min().unwrap()
    }

    /// Number of requests that were found cold.
    pub fn cold_requests(&self) -> usize {
        self.served.iter().filter(|one| one.2.is_some()).count()
    }
}
