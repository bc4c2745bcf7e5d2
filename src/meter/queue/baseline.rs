//! What a request takes to its first output if it does not wait.

use super::line::{Line, quantile, rank_correlation};
use super::releases::Releases;
use super::slots::{Slots, are_counted};
use super::{Both, Observation};
use std::collections::VecDeque;
use std::time::Duration;

/// Requests that make a baseline.
pub(super) const FEWEST: usize = 5;
/// Requests without which the least laden of them are no baseline.
const ENOUGH: usize = 32;
/// The newest of those that were alone, which must agree with the older ones.
const NEWEST: usize = 8;
/// Standard errors by which the time to the first output must grow with the load, if load is to matter.
const LADEN: f64 = 2.0;
/// Share of the samples that are within the band.
const WITHIN: f64 = 0.95;
/// What the band has beside: the samples are few.
const MARGIN: f64 = 0.1;

/// The classes of size, by their most bytes of a request's body, and their names.
pub const SIZES: [(u64, &str); 6] = [
    (1 << 10, "1KiB"),
    (4 << 10, "4KiB"),
    (16 << 10, "16KiB"),
    (64 << 10, "64KiB"),
    (256 << 10, "256KiB"),
    (u64::MAX, "more"),
];

/// One class of size.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stratum {
    /// Median seconds to the first output.
    pub median: f64,
    pub samples: usize,
}

/// What a request takes to its first output if it does not wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// From the request wholly sent to its first output.
    pub ttft: Duration,
    /// Robust standard deviation of the logarithm of a sample over what was expected of it.
    pub log_spread: f64,
    /// Requests that it is learned from.
    pub samples: usize,
    /// The largest of them; beyond, it is extrapolated.
    pub largest_bytes: u64,
}

/// The time to the first output as a function of the prompt's size.
#[derive(Debug, Clone)]
pub struct Baseline {
    by_bytes: Line,
    /// Where the server counts tokens.
    by_tokens: Option<Line>,
    /// A time to the first output within this factor, as a logarithm, is no wait.
    pub(super) band: f64,
    /// As in [`Expected`].
    pub log_spread: f64,
    pub samples: usize,
    pub largest_bytes: u64,
    /// In the order of [`SIZES`].
    pub strata: [Option<Stratum>; SIZES.len()],
    /// When the newest sample left.
    pub newest: Duration,
}

/// A request without its wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    bytes: u64,
    tokens: Option<u64>,
    seconds: f64,
    left: f64,
}

impl Sample {
    fn of(request: &Observation, begin: f64) -> Option<Self> {
        let Observation { bytes, tokens, left, .. } = *request;
        Some(Self { bytes, tokens, seconds: request.first? - begin, left })
    }
}

/// All requests, without the wait that the slots explain.
pub(super) fn beside(
    slots: &Slots,
    window: &VecDeque<Observation>,
    releases: &Both<Releases>,
) -> Vec<Sample> {
    let sample = |request| Sample::of(request, slots.begin(request, releases)?);
    window.iter().filter_map(sample).collect()
}

/// Requests that did not wait, where nothing is known of slots: those that arrived with nothing else in flight,
/// or if they are too few the least laden quarter of all. But if those that found many others took no longer
/// than those that found few, nobody waits, and all of them are.
pub(super) fn unladen(
    alone: &mut VecDeque<Observation>,
    window: &VecDeque<Observation>,
) -> Vec<Sample> {
    forget_what_has_changed(alone);
    let all_of = |request: &Observation| Sample::of(request, request.arrived);
    let before =
        alone.iter().filter(|one| window.front().is_none_or(|front| one.number < front.number));
    let all: Vec<&Observation> = before.chain(window).collect();
    if all.len() >= ENOUGH {
        let samples: Vec<Sample> = all.iter().filter_map(|one| all_of(one)).collect();
        if let Some(baseline) = Baseline::of_samples(&samples) {
            let ratio = |one: &&Observation| {
                Some((one.ahead.answer as f64, (one.first? - one.arrived) / baseline.of(one)))
            };
            let pairs: Vec<(f64, f64)> = all.iter().filter_map(ratio).collect();
            if rank_correlation(&pairs) < LADEN {
                return samples;
            }
        }
    }
    if alone.len() >= FEWEST {
        return alone.iter().filter_map(all_of).collect();
    }
    if window.len() < ENOUGH {
        return Vec::new();
    }
    let mut ahead: Vec<f64> = window.iter().map(|one| one.ahead.answer as f64).collect();
    let quarter = quantile(&mut ahead, 0.25).unwrap_or(0.0);
    let is_unladen = |one: &&Observation| one.ahead.answer as f64 <= quarter;
    window.iter().filter(is_unladen).filter_map(all_of).collect()
}

/// Another model or machine: the newest requests are all slower than nearly all of the older ones, or faster.
fn forget_what_has_changed(alone: &mut VecDeque<Observation>) {
    let Some(older) = alone.len().checked_sub(NEWEST).filter(|older| *older >= NEWEST) else {
        return;
    };
    let all_of = |request: &Observation| Sample::of(request, request.arrived);
    let samples: Vec<Sample> = alone.iter().take(older).filter_map(all_of).collect();
    let Some(before) = Baseline::of_samples(&samples) else { return };
    let ratio = |one: &Observation| Some(((one.first? - one.arrived) / before.of(one)).ln());
    let ratios = || alone.iter().skip(older).filter_map(ratio);
    let far = 2.0 * before.log_spread.max(MARGIN);
    if ratios().all(|ratio| ratio > far) || ratios().all(|ratio| ratio < -far) {
        alone.drain(..older);
    }
}

impl Baseline {
    pub(super) fn of_samples(samples: &[Sample]) -> Option<Self> {
        if samples.len() < FEWEST {
            return None;
        }
        let mut scratch = Vec::with_capacity(samples.len());
        let mut through = |size: &dyn Fn(&Sample) -> Option<u64>| {
            let point = |sample: &Sample| Some((size(sample)? as f64, sample.seconds));
            let mut points: Vec<(f64, f64)> = samples.iter().filter_map(point).collect();
            points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            Line::through(&points, &mut scratch)
        };
        let by_bytes = through(&|sample| Some(sample.bytes))?;
        let is_counted = are_counted(samples.iter().map(|sample| sample.tokens));
        let by_tokens = is_counted.then(|| through(&|sample| sample.tokens)).flatten();
        let mut baseline = Self {
            by_bytes,
            by_tokens,
            band: 0.0,
            log_spread: 0.0,
            samples: samples.len(),
            largest_bytes: samples.iter().map(|sample| sample.bytes).max().unwrap_or(0),
            strata: strata(samples),
            newest: Duration::from_secs_f64(samples.iter().map(|one| one.left).fold(0.0, f64::max)),
        };
        let ratio = |sample: &Sample| {
            (sample.seconds.max(1e-6) / baseline.expect(sample.bytes, sample.tokens)).ln()
        };
        let mut ratios: Vec<f64> = samples.iter().map(ratio).collect();
        let highest = quantile(&mut ratios, WITHIN)?;
        let (low, high) = (quantile(&mut ratios, 0.16)?, quantile(&mut ratios, 0.84)?);
        baseline.band = highest.max(0.0) + MARGIN;
        baseline.log_spread = (high - low) / 2.0;
        Some(baseline)
    }

    pub(super) fn of(&self, request: &Observation) -> f64 {
        self.expect(request.bytes, request.tokens)
    }

    fn expect(&self, bytes: u64, tokens: Option<u64>) -> f64 {
        let counted = self.by_tokens.zip(tokens);
        let (line, size) = counted.map_or((self.by_bytes, bytes), |(line, tokens)| (line, tokens));
        line.at(size as f64).max(1e-6)
    }

    pub(super) fn expected(&self, bytes: u64) -> Option<Expected> {
        let ttft = Duration::try_from_secs_f64(self.by_bytes.at(bytes as f64)).ok()?;
        let Self { log_spread, samples, largest_bytes, .. } = *self;
        Some(Expected { ttft, log_spread, samples, largest_bytes })
    }
}

fn strata(samples: &[Sample]) -> [Option<Stratum>; SIZES.len()] {
    let mut least = 0;
    SIZES.map(|(most, _)| {
        let is_in = |sample: &&Sample| (least..=most).contains(&sample.bytes);
        let mut seconds: Vec<f64> = samples.iter().filter(is_in).map(|one| one.seconds).collect();
        least = most.saturating_add(1);
        let median = quantile(&mut seconds, 0.5)?;
        Some(Stratum { median, samples: seconds.len() })
    })
}
