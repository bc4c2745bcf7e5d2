//! One cell of the evaluation: a server, its traffic, and the accuracy of the estimates.

use std::time::Duration;
use streamgauge_core::meter::queue::{EstimateSource, QueueEstimator, ServedRequest, WaitEstimate};
use streamgauge_sim::model::{Emission, EmissionKind, EngineSpec, Job, SimEngine};
use streamgauge_sim::rng::SplitMix64;
use strum::VariantArray;

/// Number of requests before the evaluation starts, for the estimator to learn from.
pub const WARM_UP: usize = 200;
/// Number of requests that are evaluated.
pub const JUDGED: usize = 800;

/// A request. Requests arrive independently of the server (open loop).
#[derive(Debug, Clone, Copy)]
pub struct EvalRequest {
    /// Arrival, in seconds.
    pub at: f64,
    pub bytes: u64,
    pub prompt: u32,
    pub output: u32,
}

/// True times of a request, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrueTimes {
    pub start: f64,
    pub first: f64,
    pub finish: f64,
}

/// Behaviour of a server that the estimator does not model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum EngineBehaviour {
    Plain,
    /// Prefix cache hits that the server does not report.
    Cache,
    /// Chunked prefill, which slows decoding.
    Chunked,
    All,
}

impl EngineBehaviour {
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Cache => "hidden cache hits",
            Self::Chunked => "chunked prefill",
            Self::All => "both",
        }
    }
}

/// A server and its traffic.
#[derive(Debug, Clone, Copy)]
pub struct EvalCell {
    pub slots: usize,
    /// Arrival rate divided by the capacity of the server.
    pub utilisation: f64,
    pub is_bursty: bool,
    pub behaviour: EngineBehaviour,
    /// The server reports token counts.
    pub reports_usage: bool,
    pub seed: u64,
}

impl EvalCell {
    /// The simulated engine of this cell.
    pub fn engine(&self) -> EngineSpec {
        let has = |one| self.behaviour == one || self.behaviour == EngineBehaviour::All;
        let mut spec = EngineSpec {
            slots: self.slots,
            jitter: 0.15,
            seed: self.seed,
            ..EngineSpec::new("sim")
        };
        if has(EngineBehaviour::Cache) {
            (spec.cache_hits, spec.cached_share) = (0.5, 0.8);
        }
        if has(EngineBehaviour::Chunked) {
            spec.decode_per_prefilling = Duration::from_millis(8);
        }
        spec
    }

    /// The traffic of this cell. `capacity`: requests per second that the server can serve.
    pub fn traffic(&self, capacity: f64) -> Vec<EvalRequest> {
        let rate = capacity * self.utilisation;
        let mut rng = SplitMix64::new(self.seed ^ 0x5EED);
        let mut at = 0.0;
        let mut burst = 0;
        (0..WARM_UP + JUDGED)
            .map(|_| {
                at += if !self.is_bursty {
                    rng.exponential() / rate
                } else if burst > 0 {
                    burst -= 1;
                    rng.exponential() * 0.004
                } else {
                    // A burst has four requests on average.
                    burst = (rng.exponential() / (4.0_f64 / 3.0).ln()) as u32;
                    4.0 * rng.exponential() / rate
                };
                request(&mut rng, at)
            })
            .collect()
    }
}

/// A request with lognormal sizes of prompt and response, at about four bytes a token.
fn request(rng: &mut SplitMix64, at: f64) -> EvalRequest {
    let mut lognormal = |median: f64, sigma: f64, most: f64| {
        ((median * (sigma * rng.normal()).exp()).min(most) as u32).max(1)
    };
    let prompt = lognormal(400.0, 1.0, 8000.0);
    let output = lognormal(60.0, 0.7, 600.0);
    let bytes = 200 + (f64::from(prompt) * (3.6 + 0.8 * rng.unit())) as u64;
    EvalRequest { at, bytes, prompt, output }
}

/// Requests per second that a server can serve, measured with all requests at once.
pub fn capacity(serve: impl Fn(&[EvalRequest]) -> Vec<TrueTimes>, seed: u64) -> f64 {
    let mut rng = SplitMix64::new(seed);
    let all: Vec<EvalRequest> = (0..600).map(|_| request(&mut rng, 0.0)).collect();
    let truth = serve(&all);
    // Up to the last start, because slots are empty after it.
    let starts: Vec<f64> = truth.iter().map(|one| one.start).collect();
    starts.len() as f64 / starts.iter().copied().fold(0.0, f64::max)
}

/// Runs the requests on the simulated engine, on virtual time.
pub fn simulate(spec: &EngineSpec, requests: &[EvalRequest]) -> Vec<TrueTimes> {
    let mut engine = SimEngine::new(spec.clone());
    let mut truth = vec![TrueTimes::default(); requests.len()];
    let mut note = |emission: Emission| {
        let one = &mut truth[emission.job.0 as usize];
        let at = emission.at.as_secs_f64();
        match emission.kind {
            EmissionKind::Started { .. } => one.start = at,
            EmissionKind::Token { index: 0, .. } => one.first = at,
            EmissionKind::Token { .. } => {}
            EmissionKind::Finished => one.finish = at,
        }
    };
    for request in requests {
        let at = Duration::from_secs_f64(request.at);
        engine.advance(at, &mut note);
        let job = Job {
            prompt_tokens: request.prompt,
            reasoning_tokens: 0,
            output_tokens: request.output,
            choices: 1,
        };
        engine.submit(at, job).expect("no limit");
    }
    while let Some(at) = engine.next_event() {
        engine.advance(at, &mut note);
    }
    truth
}

/// Waits of the evaluated requests, in seconds.
#[derive(Debug, Clone, Default)]
pub struct EvalWaits {
    pub truth: Vec<f64>,
    /// 0 for a request without an estimate.
    pub estimate: Vec<f64>,
    pub missing: usize,
    /// Number of requests for which the estimator only has a lower bound. They are not among the others.
    pub withdrawn: usize,
    /// Number of slots that the estimator has found at the end.
    pub slots: Option<usize>,
}

/// Runs the estimator on these requests, as a proxy observes them: each instant is late by up to half a millisecond.
pub fn watch(
    requests: &[EvalRequest],
    truth: &[TrueTimes],
    reports_usage: bool,
    seed: u64,
) -> EvalWaits {
    #[derive(Clone, Copy)]
    enum ObservedEvent {
        Arrival,
        First,
        Left,
    }
    let mut rng = SplitMix64::new(seed ^ 0xF00D);
    let mut seen: Vec<(f64, usize, ObservedEvent)> = Vec::with_capacity(3 * requests.len());
    for (i, (request, truth)) in requests.iter().zip(truth).enumerate() {
        let mut late = |at: f64| at + 0.001 + 0.0005 * rng.unit();
        let first = late(truth.first);
        seen.push((request.at + 0.0005 * rng.unit(), i, ObservedEvent::Arrival));
        seen.push((first, i, ObservedEvent::First));
        seen.push((late_after(&mut rng, truth.finish).max(first), i, ObservedEvent::Left));
    }
    seen.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    let mut estimator = QueueEstimator::default();
    let mut entries = vec![None; requests.len()];
    let mut waits = vec![None; requests.len()];
    for (at, i, what) in seen {
        let at = Duration::from_secs_f64(at);
        match what {
            ObservedEvent::Arrival => {
                entries[i] = Some(estimator.arrive(at, requests[i].bytes, true))
            }
            ObservedEvent::First => {
                estimator.first_output(entries[i].as_mut().expect("it arrived"), at);
            }
            ObservedEvent::Left => {
                let tokens = reports_usage.then_some(u64::from(requests[i].prompt));
                let entry = entries[i].take().expect("it arrived");
                waits[i] = estimator.finish(
                    entry,
                    at,
                    Some(ServedRequest { prompt_tokens: tokens, is_warm: true }),
                );
            }
        }
    }
    let all = || truth.iter().zip(requests).zip(&waits).skip(WARM_UP);
    let is_withdrawn = |wait: &Option<WaitEstimate>| {
        wait.is_some_and(|one| one.source == EstimateSource::LowerBound)
    };
    let judged = || all().filter(|(_, wait)| !is_withdrawn(wait));
    EvalWaits {
        truth: judged().map(|((truth, request), _)| truth.start - request.at).collect(),
        estimate: judged().map(|(_, wait)| wait.map_or(0.0, |wait| wait.seconds)).collect(),
        missing: judged().filter(|(_, wait)| wait.is_none()).count(),
        withdrawn: all().filter(|(_, wait)| is_withdrawn(wait)).count(),
        slots: estimator.slot_model().map(|slots| slots.count),
    }
}

fn late_after(rng: &mut SplitMix64, at: f64) -> f64 {
    at + 0.001 + 0.0005 * rng.unit()
}

/// Evaluates a cell on the simulated engine.
pub fn run(cell: &EvalCell) -> EvalWaits {
    let spec = cell.engine();
    let requests = cell.traffic(capacity(|all| simulate(&spec, all), cell.seed));
    watch(&requests, &simulate(&spec, &requests), cell.reports_usage, cell.seed)
}

/// Evaluates a cell behind a front end. A request reaches the engine `way_in` seconds after it was sent. Its output is
/// `way_out` seconds late, plus or minus a quarter. The wait is that in the engine.
pub fn run_behind(cell: &EvalCell, way_in: f64, way_out: f64) -> EvalWaits {
    let spec = cell.engine();
    let requests = cell.traffic(capacity(|all| simulate(&spec, all), cell.seed));
    let late = |request: &EvalRequest| EvalRequest { at: request.at + way_in, ..*request };
    let mut truth = simulate(&spec, &requests.iter().map(late).collect::<Vec<_>>());
    let mut rng = SplitMix64::new(cell.seed ^ 0xBAC);
    for one in &mut truth {
        let way_out = way_out * (0.75 + 0.5 * rng.unit());
        one.start -= way_in;
        one.first += way_out;
        one.finish += way_out;
    }
    watch(&requests, &truth, cell.reports_usage, cell.seed)
}

/// Mean and 95th percentile, in seconds.
pub fn summary(waits: &[f64]) -> (f64, f64) {
    let mut sorted = waits.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
    let at = (sorted.len() as f64 * 0.95).ceil() as usize;
    (mean, sorted.get(at.max(1) - 1).copied().unwrap_or(0.0))
}

/// Whether the estimates are accurate enough: the mean within 10 % or 5 ms, the 95th percentile within 15 % or 10 ms, and
/// an estimate for each request.
pub fn is_within(waits: &EvalWaits) -> bool {
    let ((mean, p95), (estimate, estimate_p95)) = (summary(&waits.truth), summary(&waits.estimate));
    (estimate - mean).abs() <= (mean * 0.1).max(0.005)
        && (estimate_p95 - p95).abs() <= (p95 * 0.15).max(0.01)
        && waits.missing == 0
}
