//! Requests of a scenario: their sizes, their clients, and the instants at which they are sent.

use streamgauge_sim::rng::SplitMix64;

/// Lognormal sizes, in tokens.
#[derive(Debug, Clone, Copy)]
pub struct TokenSizes {
    pub median: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    pub max: f64,
}

impl TokenSizes {
    fn draw(&self, rng: &mut SplitMix64) -> u32 {
        ((self.median * (self.sigma * rng.normal()).exp()).min(self.max) as u32).max(1)
    }
}

/// A part of the traffic with one arrival rate.
#[derive(Debug, Clone, Copy)]
pub struct TrafficPhase {
    pub requests: usize,
    /// Arrivals per second.
    pub rate: f64,
}

/// How requests arrive.
#[derive(Debug, Clone)]
pub enum ArrivalProcess {
    /// Requests arrive independently of the server. The last phase has no end.
    OpenLoop { phases: Vec<TrafficPhase>, mean_burst: f64 },
    /// Each client waits for its response, and then pauses for an exponential time with this mean, in seconds.
    ClosedLoop { clients: usize, mean_pause: f64 },
}

/// Clients that disconnect before their response is complete.
#[derive(Debug, Clone, Copy)]
pub struct GivingUp {
    /// Share of the requests.
    pub share: f64,
    /// Seconds after which a client disconnects.
    pub after: f64,
    /// Whether `after` is the mean of an exponential distribution. Otherwise it is a fixed timeout.
    pub is_random: bool,
}

/// Settings of the traffic.
#[derive(Debug, Clone)]
pub struct TrafficSpec {
    pub requests: usize,
    pub arrivals: ArrivalProcess,
    pub prompts: TokenSizes,
    pub outputs: TokenSizes,
    /// Share of the requests with a streamed response.
    pub streamed: f64,
    pub giving_up: Option<GivingUp>,
    /// Share of the prompts with a prefix in the cache of the server, which does not report it.
    pub cache_hits: f64,
    /// Number of models that the requests name, with equal shares.
    pub models: usize,
    /// Share of the requests that reach the server on another way than through the proxy.
    pub unseen: f64,
    /// Share of the requests with a high priority.
    pub urgent: f64,
    /// Whether the server counts the tokens of the prompts.
    pub reports_usage: bool,
}

/// Part of a cached prompt that the server does not process again.
const CACHED_PART: f64 = 0.8;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct ScenarioRequest {
    /// Instant at which it is sent, in seconds.
    pub at: f64,
    pub bytes: u64,
    /// Tokens that the server counts.
    pub prompt: u32,
    /// Tokens that the server processes: fewer if a prefix is cached.
    pub uncached: u32,
    pub output: u32,
    pub is_streamed: bool,
    /// Instant at which the client disconnects, in seconds.
    pub gives_up_at: Option<f64>,
    pub model: usize,
    /// Whether it passes through the proxy.
    pub is_seen: bool,
    pub is_urgent: bool,
}

/// Requests in the order in which they are sent.
pub trait RequestSource {
    /// Instant of the next request, in seconds.
    fn next_at(&self) -> Option<f64>;

    /// Sends the next request.
    fn send(&mut self) -> Option<ScenarioRequest>;

    /// A client has its response, or has disconnected.
    fn client_is_done(&mut self, at: f64);
}

/// The requests of one run.
pub struct ScenarioTraffic<'a> {
    spec: &'a TrafficSpec,
    rng: SplitMix64,
    /// Instants of the next requests: one in an open loop, one for each pausing client in a closed loop.
    pending: Vec<f64>,
    sent: usize,
    burst_left: usize,
}

impl<'a> ScenarioTraffic<'a> {
    pub fn new(spec: &'a TrafficSpec, seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed ^ 0x5EED);
        let pending = match spec.arrivals {
            ArrivalProcess::OpenLoop { .. } => vec![0.0],
            ArrivalProcess::ClosedLoop { clients, mean_pause } => {
                (0..clients).map(|_| mean_pause * rng.exponential()).collect()
            }
        };
        Self { spec, rng, pending, sent: 0, burst_left: 0 }
    }

    fn next_in_open_loop(&mut self, at: f64) -> Option<f64> {
        /// Mean time between two requests of a burst, in seconds.
        const WITHIN_BURST: f64 = 0.004;
        let ArrivalProcess::OpenLoop { phases, mean_burst } = &self.spec.arrivals else {
            return None;
        };
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return Some(at + WITHIN_BURST * self.rng.exponential());
        }
        let mut before = 0;
        let phase = phases.iter().find(|phase| {
            before += phase.requests;
            self.sent < before
        });
        let rate = phase.or(phases.last())?.rate;
        // The number of requests in a burst is geometric.
        let more = mean_burst - 1.0;
        if more > 0.0 {
            self.burst_left = (self.rng.exponential() / (mean_burst / more).ln()) as usize;
        }
        Some(at + mean_burst * self.rng.exponential() / rate)
    }
}

impl RequestSource for ScenarioTraffic<'_> {
    fn next_at(&self) -> Option<f64> {
        let next = self.pending.iter().copied().min_by(f64::total_cmp);
        next.filter(|_| self.sent < self.spec.requests)
    }

    fn send(&mut self) -> Option<ScenarioRequest> {
        let at = self.next_at()?;
        let next = self.pending.iter().position(|pending| *pending == at)?;
        self.pending.swap_remove(next);
        self.sent += 1;
        if let Some(next) = self.next_in_open_loop(at) {
            self.pending.push(next);
        }
        let TrafficSpec { prompts, outputs, streamed, giving_up, cache_hits, .. } = *self.spec;
        let rng = &mut self.rng;
        let prompt = prompts.draw(rng);
        let output = outputs.draw(rng);
        let bytes = 200 + (f64::from(prompt) * (3.6 + 0.8 * rng.unit())) as u64;
        let is_cached = rng.unit() < cache_hits;
        let uncached = f64::from(prompt) * if is_cached { 1.0 - CACHED_PART } else { 1.0 };
        let is_streamed = rng.unit() < streamed;
        let patience = giving_up.filter(|giving_up| rng.unit() < giving_up.share);
        let patience =
            patience.map(|one| one.after * if one.is_random { rng.exponential() } else { 1.0 });
        Some(ScenarioRequest {
            at,
            bytes,
            prompt,
            uncached: (uncached as u32).max(1),
            output,
            is_streamed,
            gives_up_at: patience.map(|patience| at + patience),
            model: (rng.unit() * self.spec.models as f64) as usize,
            is_seen: rng.unit() >= self.spec.unseen,
            is_urgent: rng.unit() < self.spec.urgent,
        })
    }

    fn client_is_done(&mut self, at: f64) {
        if let ArrivalProcess::ClosedLoop { mean_pause, .. } = self.spec.arrivals {
            self.pending.push(at + mean_pause * self.rng.exponential());
        }
    }
}

/// The truth about one request. Instants are in seconds.
#[derive(Debug, Clone, Copy)]
pub struct ServedTruth {
    pub request: ScenarioRequest,
    /// The server began to work on it. `None` if its client disconnected before.
    pub start: Option<f64>,
    /// Whether the server could not begin at the first opportunity.
    pub was_queued: bool,
    /// First output, if the client was still connected.
    pub first: Option<f64>,
    /// Last output, if the client was still connected.
    pub finish: Option<f64>,
}

impl ServedTruth {
    pub fn new(request: ScenarioRequest) -> Self {
        Self { request, start: None, was_queued: false, first: None, finish: None }
    }

    /// Seconds in the queue, also if the client had disconnected before the server began. `None` if it never began.
    pub fn wait(&self) -> Option<f64> {
        let wait = self.start? - self.request.at;
        Some(if self.was_queued { wait } else { 0.0 })
    }

    /// The client saw the end of the response, or disconnected.
    pub fn left(&self) -> f64 {
        self.finish.or(self.request.gives_up_at).unwrap_or(f64::INFINITY)
    }

    /// Seconds for which the client was served, if its response was complete.
    pub fn service(&self) -> Option<f64> {
        Some(self.finish? - self.start?)
    }
}
