//! A server, its clients and a prober on virtual time, to hold the detector against.

use super::*;
use std::collections::BTreeMap;

pub fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Box and Muller's.
    pub fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What the server does with those who come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SimulatedState {
    /// It refuses connections.
    Down,
    /// It refuses requests, with a 503 that says that it loads; so does its health path.
    Loading,
    /// It takes requests and holds them until it is ready; its health path says that it is not.
    Holding,
    Ready,
    /// It accepts nothing, and refuses nothing.
    Silent,
    /// It is ready, and its health path answers 404.
    Odd,
}

/// A request. Times in seconds.
#[derive(Debug, Clone, Copy)]
pub struct ScriptedRequest {
    pub model: &'static str,
    /// From its start in the server.
    pub ttft: f64,
    pub decode: f64,
    pub bytes: u64,
    pub expected: Option<ExpectedTtft>,
    /// The end tells a load time; that of a warm model is this.
    pub tells: Option<f64>,
    /// The end tells this as the time of its prompt.
    pub prefill: Option<f64>,
    /// What the client takes to send it; a part of `ttft`.
    pub upload: f64,
    /// The model loads for it, for so long.
    pub load: f64,
    /// While the model loads, text says so (llama-swap).
    pub says: bool,
    /// Asked again so long after it was refused.
    pub again: Option<f64>,
}

pub const JOB: ScriptedRequest = ScriptedRequest {
    model: "m",
    ttft: 0.3,
    decode: 2.0,
    bytes: 1000,
    expected: None,
    tells: None,
    prefill: None,
    upload: 0.0,
    load: 0.0,
    says: false,
    again: None,
};

enum WorldEvent {
    Request(ScriptedRequest),
    Says(u64),
    FirstOutput(u64),
    End(u64),
    Become(SimulatedState, bool),
    Broke,
    Renew,
}

/// The server's wall clock, which is none of ours, and what its page of metrics tells by it.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    /// In seconds since 1970, at our start.
    pub ahead: f64,
    pub rate: f64,
    /// The page tells when the process started.
    pub tells: bool,
    /// Two servers take turns, of which one started so much earlier.
    pub other: Option<f64>,
}

impl ServerClock {
    /// One that tells, and differs from ours.
    pub fn new(rng: &mut Rng) -> Self {
        let ahead = 1.7e9 + rng.between(-1e7, 1e7);
        Self { ahead, rate: rng.between(0.9998, 1.0002), tells: true, other: None }
    }

    fn at(self, now: Duration) -> f64 {
        self.ahead + self.rate * now.as_secs_f64()
    }
}

struct PendingRequest {
    ask: RequestId,
    job: ScriptedRequest,
    at: Duration,
    first: Option<Duration>,
    cold: Option<ColdReason>,
}

impl PendingRequest {
    fn output(&self, first: Duration) -> FirstOutput<'static> {
        let ScriptedRequest { model, bytes, expected, tells, upload, .. } = self.job;
        let sent = Some(self.at + secs(upload));
        FirstOutput { at: first, sent, model, bytes, expected, tells_load: tells.is_some() }
    }
}

pub struct SimulatedWorld {
    pub cold: ColdStartDetector,
    now: Duration,
    up: SimulatedState,
    events: BTreeMap<(Duration, u64), WorldEvent>,
    serial: u64,
    running: BTreeMap<u64, PendingRequest>,
    /// Which model is loaded until when.
    loaded: BTreeMap<&'static str, Duration>,
    pub found: Vec<ColdStart>,
    /// The requests that had output: `t_req`, `t_first`, and whether they were called cold.
    pub served: Vec<(Duration, Duration, Option<ColdReason>)>,
    /// `t_req` of those that were refused.
    pub refused: Vec<Duration>,
    pub probes: usize,
    under_way: Option<(Duration, Duration, ProbeResult)>,
    /// `None` where no page is asked for.
    pub clock: Option<ServerClock>,
    /// When the server's process started.
    started: Duration,
    pub pages: usize,
    page_under_way: Option<(Duration, Duration, Option<ProcessTimes>)>,
}

impl SimulatedWorld {
    pub fn new(up: SimulatedState, has_health: bool) -> Self {
        Self::with_pages(up, has_health, None)
    }

    pub fn with_pages(up: SimulatedState, has_health: bool, clock: Option<ServerClock>) -> Self {
        let (idle, outage, has_metrics_page) = (secs(60.0), secs(3600.0), clock.is_some());
        let config = ColdStartConfig { idle, outage, has_health, has_metrics_page };
        Self {
            cold: ColdStartDetector::new(config, Duration::ZERO),
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
            under_way: None,
            clock,
            started: Duration::ZERO,
            pages: 0,
            page_under_way: None,
        }
    }

    fn plan(&mut self, at: Duration, event: WorldEvent) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    pub fn ask(&mut self, at: f64, job: ScriptedRequest) {
        self.plan(secs(at), WorldEvent::Request(job));
    }

    /// From then on the server is like this, and what it was at goes on, or breaks.
    pub fn become_(&mut self, at: f64, up: SimulatedState, breaks: bool) {
        self.plan(secs(at), WorldEvent::Become(up, breaks));
    }

    /// One of the requests in flight breaks, and the server is well.
    pub fn break_one(&mut self, at: f64) {
        self.plan(secs(at), WorldEvent::Broke);
    }

    /// Another process takes the server's place, before anybody can meet that.
    pub fn renew(&mut self, at: f64) {
        self.plan(secs(at), WorldEvent::Renew);
    }

    /// Lets time pass until `to`.
    pub fn run(&mut self, to: f64) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > secs(to) {
                self.plan(at, event);
                break;
            }
            self.probe_until(at);
            self.now = at;
            let ended = self.cold.tick(at);
            self.found.extend(ended);
            self.happen(event);
        }
        self.probe_until(secs(to));
        self.now = secs(to);
        let ended = self.cold.tick(self.now);
        self.found.extend(ended);
    }

    /// Lets probes and pages go out and come back.
    fn probe_until(&mut self, to: Duration) {
        loop {
            let out = |under_way: bool, due: Option<Duration>| due.filter(|_| !under_way);
            let probe_out = out(self.under_way.is_some(), self.cold.probe_due());
            let page_out = out(self.page_under_way.is_some(), self.cold.metrics_page_due());
            let probe_back = self.under_way.map(|probe| probe.1);
            let page_back = self.page_under_way.map(|page| page.1);
            let [probe_out, page_out] =
                [probe_out, page_out].map(|at| at.map(|at| at.max(self.now)));
            let next = [probe_back, page_back, probe_out, page_out].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= to) else { return };
            self.now = next;
            if probe_back == Some(next) {
                let Some((asked, back, found)) = self.under_way.take() else { return };
                self.probes += 1;
                let ended = self.cold.on_probe_result(asked, back, found);
                self.found.extend(ended);
            } else if page_back == Some(next) {
                let Some((asked, back, page)) = self.page_under_way.take() else { return };
                self.pages += 1;
                let ended = self.cold.on_process_times(asked, back, page);
                self.found.extend(ended);
            } else if probe_out == Some(next) {
                self.under_way = Some(self.probe(next));
            } else {
                self.page_under_way = Some((next, next + secs(0.02), self.page(next)));
            }
        }
    }

    /// What a page tells that is written at this instant; `Date` is in whole seconds, and an old one at times.
    fn page(&self, at: Duration) -> Option<ProcessTimes> {
        let is_there = matches!(
            self.up,
            SimulatedState::Ready | SimulatedState::Holding | SimulatedState::Odd
        );
        let clock = self.clock.filter(|clock| clock.tells && is_there)?;
        let (mut started, now) =
            (clock.at(self.started), clock.at(at).floor() - (at.as_millis() % 2) as f64);
        if let Some(earlier) = clock.other.filter(|_| self.pages % 2 == 1) {
            started -= earlier;
        }
        Some(ProcessTimes { started: (started * 100.0).floor() / 100.0, now })
    }

    /// A probe that goes out at this instant: when it comes back, and with what.
    fn probe(&self, at: Duration) -> (Duration, Duration, ProbeResult) {
        let (found, after) = match self.up {
            SimulatedState::Down => (ProbeResult::Refused, 0.0002),
            SimulatedState::Loading | SimulatedState::Holding if self.cold.config.has_health => {
                (ProbeResult::NotReady, 0.001)
            }
            SimulatedState::Odd if self.cold.config.has_health => (ProbeResult::Unclear, 0.001),
            SimulatedState::Loading
            | SimulatedState::Holding
            | SimulatedState::Ready
            | SimulatedState::Odd => (ProbeResult::Ready, 0.0005),
            SimulatedState::Silent => (ProbeResult::TimedOut, 1.0),
        };
        (at, at + secs(after), found)
    }

    fn happen(&mut self, event: WorldEvent) {
        let at = self.now;
        match event {
            WorldEvent::Request(job) => self.arrive(job),
            WorldEvent::Says(id) => {
                if let Some(one) = self.running.get(&id) {
                    self.cold.on_model_loading(one.ask, at, one.job.model);
                    if one.first.is_none() && one.at + secs(one.job.load) > at + secs(0.75) {
                        self.plan(at + secs(0.75), WorldEvent::Says(id));
                    }
                }
            }
            WorldEvent::FirstOutput(id) => {
                if let Some(one) = self.running.get_mut(&id) {
                    one.first = Some(at);
                    let output = one.output(at);
                    let ColdVerdict { reason: cold, ended, .. } =
                        self.cold.on_first_output(one.ask, &output);
                    one.cold = cold;
                    let decode = secs(one.job.decode);
                    self.found.extend(ended);
                    self.plan(at + decode, WorldEvent::End(id));
                }
            }
            WorldEvent::End(id) => self.end(id),
            WorldEvent::Renew => self.started = at,
            WorldEvent::Become(up, breaks) => {
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
                    let held: Vec<_> = held.map(|(id, one)| (*id, one.job.ttft)).collect();
                    for (id, ttft) in held {
                        self.plan(at + secs(ttft), WorldEvent::FirstOutput(id));
                    }
                }
            }
            WorldEvent::Broke => {
                if let Some((id, _)) = self.running.first_key_value() {
                    self.broke(*id);
                }
            }
        }
    }

    fn arrive(&mut self, job: ScriptedRequest) {
        let at = self.now;
        let ask = self.cold.on_request(at);
        let refuse = |world: &mut Self| {
            world.refused.push(at);
            let ended = world.cold.on_request_end(ask, job.model, at + secs(0.0003));
            world.found.extend(ended);
            if let Some(pause) = job.again {
                world.plan(at + secs(pause), WorldEvent::Request(job));
            }
        };
        match self.up {
            SimulatedState::Down | SimulatedState::Silent => {
                self.cold.on_connect_failure(ask, at + secs(0.0002));
                refuse(self);
            }
            SimulatedState::Loading => {
                self.cold.on_model_loading(ask, at + secs(0.001), job.model);
                refuse(self);
            }
            SimulatedState::Holding | SimulatedState::Ready | SimulatedState::Odd => {
                let id = ask.id;
                let one = PendingRequest { ask, job, at, first: None, cold: None };
                self.running.insert(id, one);
                if self.up != SimulatedState::Holding {
                    // Who comes while it loads waits for the rest of it.
                    let loaded = self.loaded.entry(job.model).or_default();
                    *loaded = if job.load > 0.0 { at + secs(job.load) } else { *loaded };
                    let first = loaded.max(&mut { at }).to_owned() + secs(job.ttft);
                    self.plan(first, WorldEvent::FirstOutput(id));
                    if job.says {
                        self.plan(at + secs(0.01), WorldEvent::Says(id));
                    }
                }
            }
        }
    }

    fn broke(&mut self, id: u64) {
        if let Some(one) = self.running.remove(&id) {
            self.cold.on_broken_connection(self.now);
            let ended = self.cold.on_request_end(one.ask, one.job.model, self.now);
            self.found.extend(ended);
            if let Some(pause) = one.job.again {
                self.plan(self.now + secs(pause), WorldEvent::Request(one.job));
            }
        }
    }

    fn end(&mut self, id: u64) {
        let Some(mut one) = self.running.remove(&id) else { return };
        let Some(first) = one.first else { return };
        let waited = first.saturating_sub(one.at).as_secs_f64() - one.job.ttft;
        let load = one.job.tells.map(|warm| waited.max(0.0) + warm);
        let told = ReportedTimes { load, prefill: one.job.prefill };
        let verdict = self.cold.on_response_end(one.ask, &one.output(first), told, one.cold);
        one.cold = verdict.reason;
        self.found.extend(verdict.ended);
        self.served.push((one.at, first, one.cold));
        let ended = self.cold.on_request_end(one.ask, one.job.model, self.now);
        self.found.extend(ended);
    }

    /// Fails unless these cold starts were met and found, and no others, each within 5 % or 50 ms.
    pub fn assert_found(&self, what: &str, truth: &[(ColdReason, Duration, Duration)]) {
        let met = self.found.iter().filter_map(|one| Some((one.reason, one.began?, one.ended)));
        let found: Vec<_> = met.collect();
        assert_eq!(found.len(), truth.len(), "{what}: {found:?}, in truth {truth:?}");
        for (found, truth) in found.iter().zip(truth) {
            let length = |one: &(ColdReason, Duration, Duration)| {
                (one.2.saturating_sub(one.1)).as_secs_f64()
            };
            let (found_length, true_length) = (length(found), length(truth));
            let off = (found_length - true_length).abs();
            let is_right = found.0 == truth.0 && off <= f64::max(0.05, 0.05 * true_length);
            assert!(is_right, "{what}: {found:?}, in truth {truth:?}");
        }
    }

    /// RestartDetector that nobody met.
    pub fn unmet(&self) -> usize {
        let unmet = self.found.iter().filter(|one| one.began.is_none());
        unmet.map(|one| assert_eq!(one.reason, ColdReason::Restarted)).count()
    }

    /// The first output at or after this instant.
    pub fn output_after(&self, at: f64) -> Duration {
        self.served.iter().map(|one| one.1).filter(|first| *first >= secs(at)).min().unwrap()
    }

    /// The requests that were called cold.
    pub fn cold_ones(&self) -> usize {
        self.served.iter().filter(|one| one.2.is_some()).count()
    }
}
