//! Simulated servers and their traffic, the true sustainable rates, and the passive estimates.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::SloVerdict;
use streamgauge_core::meter::capacity::{CapacityEntry, CapacityEstimator, OBJECTIVE};
use streamgauge_sim::model::{Emission, EmissionKind, EngineSpec, Job, SimEngine};
use streamgauge_sim::rng::SplitMix64;
use strum::VariantArray;

/// Length of the observed traffic, in seconds.
const DURATION: f64 = 8.0 * 3600.0;

/// Targets of a class, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct EvalSlo {
    pub name: &'static str,
    pub ttft: f64,
    pub tpot: f64,
    pub latency: f64,
}

impl EvalSlo {
    const NONE: Self = Self { name: "", ttft: f64::MAX, tpot: f64::MAX, latency: f64::MAX };

    fn is_met(&self, times: &ServedTimes) -> bool {
        let tpot = (times.end - times.first) / f64::from(times.output.max(2) - 1);
        times.first - times.arrival <= self.ttft
            && tpot <= self.tpot
            && times.end - times.arrival <= self.latency
    }
}

/// A server with three classes.
#[derive(Debug, Clone)]
pub struct EvalServer {
    pub name: &'static str,
    pub spec: EngineSpec,
    pub slos: [EvalSlo; 3],
}

/// All servers of the evaluation.
pub fn servers() -> Vec<EvalServer> {
    let ttft = |name, ttft| EvalSlo { name, ttft, ..EvalSlo::NONE };
    let tpot = |name, tpot| EvalSlo { name, tpot, ttft: 5.0, ..EvalSlo::NONE };
    let both = |name, ttft, tpot| EvalSlo { name, ttft, tpot, ..EvalSlo::NONE };
    let latency = |name, latency| EvalSlo { name, latency, ..EvalSlo::NONE };
    let server = |name, slots, decode_per_prefilling, slos| EvalServer {
        name,
        spec: EngineSpec {
            slots,
            decode_per_prefilling: Duration::from_millis(decode_per_prefilling),
            jitter: 0.15,
            ..EngineSpec::new("sim")
        },
        slos,
    };
    vec![
        server(
            "1 slot",
            1,
            0,
            [ttft("TTFT 2 s", 2.0), ttft("TTFT 5 s", 5.0), latency("latency 8 s", 8.0)],
        ),
        server(
            "4 slots",
            4,
            0,
            [ttft("TTFT 1 s", 1.0), ttft("TTFT 2 s", 2.0), latency("latency 8 s", 8.0)],
        ),
        server(
            "16 slots",
            16,
            0,
            [
                tpot("TPOT 16 ms", 0.016),
                both("TTFT 1 s, TPOT 17.5 ms", 1.0, 0.0175),
                ttft("TTFT 2 s", 2.0),
            ],
        ),
        server(
            "16 slots, chunked prefill",
            16,
            8,
            [
                tpot("TPOT 20 ms", 0.020),
                both("TTFT 1 s, TPOT 25 ms", 1.0, 0.025),
                ttft("TTFT 2 s", 2.0),
            ],
        ),
        server(
            "64 slots",
            64,
            0,
            [tpot("TPOT 30 ms", 0.030), latency("latency 8 s", 8.0), ttft("TTFT 2 s", 2.0)],
        ),
    ]
}

/// How the arrival rate changes with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum LoadShape {
    /// From 10 % to 30 % of the capacity and back.
    DayFarBelow,
    DayBelow,
    DayNear,
    DayAtSaturation,
    DayAbove,
    /// 50 %, and three minutes of 130 % in each hour.
    Bursts,
    SteadyNear,
    SteadyAbove,
}

impl LoadShape {
    pub fn label(self) -> &'static str {
        match self {
            Self::DayFarBelow => "day, 10 to 30 %",
            Self::DayBelow => "day, 10 to 60 %",
            Self::DayNear => "day, 10 to 80 %",
            Self::DayAtSaturation => "day, 10 to 95 %",
            Self::DayAbove => "day, 10 to 110 %",
            Self::Bursts => "50 %, bursts of 130 %",
            Self::SteadyNear => "90 %",
            Self::SteadyAbove => "120 %",
        }
    }

    /// Arrival rate, divided by the capacity.
    fn at(self, seconds: f64) -> f64 {
        let day = |peak: f64| 0.1 + (peak - 0.1) * (1.0 - (seconds / DURATION * TAU).cos()) / 2.0;
        match self {
            Self::DayFarBelow => day(0.3),
            Self::DayBelow => day(0.6),
            Self::DayNear => day(0.8),
            Self::DayAtSaturation => day(0.95),
            Self::DayAbove => day(1.1),
            Self::Bursts if seconds % 3600.0 < 180.0 => 1.3,
            Self::Bursts => 0.5,
            Self::SteadyNear => 0.9,
            Self::SteadyAbove => 1.2,
        }
    }
}

/// Times of a request that was served, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct ServedTimes {
    arrival: f64,
    first: f64,
    end: f64,
    /// Output tokens.
    output: u32,
}

/// A request with lognormal sizes of prompt and response.
fn job(rng: &mut SplitMix64) -> Job {
    let mut lognormal = |median: f64, sigma: f64, most: f64| {
        ((median * (sigma * rng.normal()).exp()).min(most) as u32).max(1)
    };
    let prompt_tokens = lognormal(400.0, 1.0, 8000.0);
    let output_tokens = lognormal(60.0, 0.7, 600.0);
    Job { prompt_tokens, reasoning_tokens: 0, output_tokens, choices: 1 }
}

/// Arrivals of a Poisson process whose rate changes with time, by thinning (P. A. W. Lewis and G. S. Shedler, Simulation of
/// Nonhomogeneous Poisson Processes by Thinning, 1979).
fn poisson(rate: impl Fn(f64) -> f64, most: f64, seconds: f64, seed: u64) -> Vec<f64> {
    let mut rng = SplitMix64::new(seed ^ 0xA221);
    let mut arrivals = Vec::new();
    let mut at = rng.exponential() / most;
    while at < seconds {
        if rng.unit() * most < rate(at) {
            arrivals.push(at);
        }
        at += rng.exponential() / most;
    }
    arrivals
}

impl EvalServer {
    /// Serves requests that arrive at these instants.
    fn serve(&self, arrivals: &[f64], seed: u64) -> Vec<ServedTimes> {
        let mut rng = SplitMix64::new(seed ^ 0x10B5);
        let mut engine = SimEngine::new(EngineSpec { seed, ..self.spec.clone() });
        let mut served = vec![ServedTimes::default(); arrivals.len()];
        let mut note = |emission: Emission| {
            let one = &mut served[emission.job.0 as usize];
            match emission.kind {
                EmissionKind::Token { index: 0, .. } => one.first = emission.at.as_secs_f64(),
                EmissionKind::Finished => one.end = emission.at.as_secs_f64(),
                EmissionKind::Started { .. } | EmissionKind::Token { .. } => {}
            }
        };
        let mut outputs = Vec::with_capacity(arrivals.len());
        for &at in arrivals {
            let at = Duration::from_secs_f64(at);
            engine.advance(at, &mut note);
            let job = job(&mut rng);
            outputs.push(job.output_tokens);
            engine.submit(at, job).expect("no limit");
        }
        while let Some(at) = engine.next_event() {
            engine.advance(at, &mut note);
        }
        for ((one, &arrival), output) in served.iter_mut().zip(arrivals).zip(outputs) {
            (one.arrival, one.output) = (arrival, output);
        }
        served
    }

    /// Requests per second that the server ends while all its slots are taken.
    pub fn capacity(&self) -> f64 {
        let mut ends: Vec<f64> =
            self.serve(&[0.0; 3000], 7).into_iter().map(|one| one.end).collect();
        ends.sort_by(f64::total_cmp);
        // After that, slots are empty.
        2500.0 / ends[2499]
    }

    /// Share of the requests that miss each class, with open-loop load at a constant rate.
    fn missed_shares(&self, rate: f64, requests: f64) -> Vec<f64> {
        let arrivals = poisson(|_| rate, rate, requests / rate, 99);
        let served = self.serve(&arrivals, 99);
        // The queue is empty at the start.
        let judged = &served[served.len() / 20..];
        let missed = |slo: &EvalSlo| judged.iter().filter(|one| !slo.is_met(one)).count();
        self.slos.iter().map(|slo| missed(slo) as f64 / judged.len() as f64).collect()
    }

    /// The largest rates at which the classes are met, found with open-loop load. The search has steps of 4 %. The result
    /// is between the last two steps, on a line through the logarithms.
    pub fn true_rates(&self) -> Vec<f64> {
        let allowed = 1.0 - OBJECTIVE;
        let capacity = self.capacity();
        let mut below = [(0.0, 0.0); 3];
        let mut found = [None; 3];
        let mut rate = 0.1 * capacity;
        while found.iter().any(Option::is_none) {
            let mut shares = self.missed_shares(rate, 10_000.0);
            // Far from the objective, few requests are enough. Near saturation, the queue takes long to build up.
            let is_near = |share: &f64| (0.3..3.0).contains(&(share / allowed));
            if rate > 0.75 * capacity || shares.iter().any(is_near) {
                shares = self.missed_shares(rate, 60_000.0);
            }
            for ((share, below), found) in shares.into_iter().zip(&mut below).zip(&mut found) {
                let share = share.max(1e-6);
                if share <= allowed {
                    *below = (rate, share);
                } else if found.is_none() {
                    let (low, least) = *below;
                    let position = (allowed / least).ln() / (share / least).ln();
                    *found = Some(low * (rate / low).powf(position));
                }
            }
            rate *= 1.04;
        }
        found.into_iter().flatten().collect()
    }

    /// Runs an estimator on traffic of this shape, as a proxy observes it. Returns it with the instant of the last event.
    pub fn observe(&self, load: LoadShape, seed: u64) -> (CapacityEstimator, Duration) {
        let capacity = self.capacity();
        let rate = |at| load.at(at) * capacity;
        let served = self.serve(&poisson(rate, 1.3 * capacity, DURATION, seed), seed);
        let mut events: Vec<(f64, usize, bool)> = Vec::with_capacity(2 * served.len());
        for (i, one) in served.iter().enumerate() {
            events.push((one.arrival, i, true));
            events.push((one.end, i, false));
        }
        events.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let names = self.slos.each_ref().map(|slo| Arc::from(slo.name));
        let mut estimator = CapacityEstimator::default();
        let mut entries: Vec<Option<CapacityEntry>> = served.iter().map(|_| None).collect();
        let mut last = Duration::ZERO;
        for (at, i, is_arrival) in events {
            last = Duration::from_secs_f64(at);
            if is_arrival {
                entries[i] = Some(estimator.arrive(last));
                continue;
            }
            let verdict = |slo: &EvalSlo| match slo.is_met(&served[i]) {
                true => SloVerdict::Met,
                false => SloVerdict::Missed,
            };
            let verdicts: Vec<(Arc<str>, SloVerdict)> =
                names.iter().cloned().zip(self.slos.iter().map(verdict)).collect();
            estimator.finish(entries[i].take().expect("it arrived"), last, &verdicts);
        }
        let evidence = estimator.evidence_if_due(last).expect("it is due");
        estimator.set_rates(evidence.sustainable_rates());
        (estimator, last)
    }
}
