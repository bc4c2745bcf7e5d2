//! What a request takes to its first output if it does not wait.

use super::line::{ResistantLine, quantile, rank_correlation};
use super::releases::Releases;
use super::slots::{REACH, SlotModel, are_counted};
use super::{ObservedRequest, PerSpan, REFIT_EVERY};
use std::collections::VecDeque;
use std::time::Duration;

/// Requests that make a baseline.
pub(super) const FEWEST: usize = 5;
/// Requests without which the least laden of them are no baseline.
const ENOUGH: usize = 32;
/// The newest of those that were alone, which must agree with the older ones.
const NEWEST: usize = 8;
/// Those of them that may be of the other server: those that were too few at the last fit, and those since.
const UNSURE: usize = NEWEST + REFIT_EVERY;
/// Standard errors by which the time to the first output must grow with the load, if load is to matter.
const LADEN: f64 = 3.0;
/// Share of the samples that are within the band: a few of them may have waited, or met a server that was not
/// ready.
const WITHIN: f64 = 0.95;
/// What the band has beside: the samples are few.
const MARGIN: f64 = 0.1;

/// The classes of size, by their most bytes of a request's body, and their names.
pub const SIZE_CLASSES: [(u64, &str); 6] = [
    (1 << 10, "1KiB"),
    (4 << 10, "4KiB"),
    (16 << 10, "16KiB"),
    (64 << 10, "64KiB"),
    (256 << 10, "256KiB"),
    (u64::MAX, "more"),
];

/// One class of size.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SizeClassStats {
    /// Median seconds to the first output.
    pub median: f64,
    pub samples: usize,
}

/// What a request takes to its first output if it does not wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectedTtft {
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
pub struct TtftBaseline {
    by_bytes: ResistantLine,
    /// Where the server counts tokens.
    by_tokens: Option<ResistantLine>,
    /// A time to the first output within this factor, as a logarithm, is no wait.
    pub(super) band: f64,
    /// As in [`ExpectedTtft`].
    pub log_spread: f64,
    pub samples: usize,
    pub largest_bytes: u64,
    /// In the order of [`SIZE_CLASSES`].
    pub strata: [Option<SizeClassStats>; SIZE_CLASSES.len()],
    /// When the newest sample left.
    pub newest: Duration,
}

/// A request without its wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct BaselineSample {
    bytes: u64,
    tokens: Option<u64>,
    seconds: f64,
    left: f64,
}

impl BaselineSample {
    fn of(request: &ObservedRequest, begin: f64) -> Option<Self> {
        let ObservedRequest { bytes, tokens, left, .. } = *request;
        Some(Self { bytes, tokens, seconds: request.first? - begin, left })
    }
}

/// All requests, without the wait that the slots explain.
pub(super) fn beside(
    slots: &SlotModel,
    window: &VecDeque<ObservedRequest>,
    releases: &PerSpan<Releases>,
) -> Option<TtftBaseline> {
    let sample = |request| BaselineSample::of(request, slots.begin(request, releases, REACH)?);
    TtftBaseline::of(&window.iter().filter_map(sample).collect::<Vec<_>>())
}

/// Requests that did not wait, where nothing is known of slots: those that arrived with nothing else in flight,
/// or if they are too few the least laden quarter of all. But if those that found many others took no longer
/// than those that found few, nobody waits and all of them are; only what takes longer than every one of the
/// less laden half did has waited then.
pub(super) fn unladen(
    alone: &mut VecDeque<ObservedRequest>,
    window: &mut VecDeque<ObservedRequest>,
) -> Option<TtftBaseline> {
    if let Some(since) = forget_what_has_changed(alone) {
        window.retain(|one| one.number >= since);
    }
    let is_before =
        |one: &&ObservedRequest| window.front().is_none_or(|front| one.number < front.number);
    let all: Vec<&ObservedRequest> = alone.iter().filter(is_before).chain(&*window).collect();
    if all.len() >= ENOUGH
        && let Some(baseline) = of_all(all.iter().copied())
        && !is_laden(&baseline, &all)
    {
        let half = least_laden(&all, 0.5).filter_map(|one| baseline.ratio(one));
        // The greatest of a few is less than the greatest of many, the more so the wider they are spread.
        let band = half.fold(0.0, f64::max) + MARGIN.max(baseline.log_spread / 2.0);
        return Some(TtftBaseline { band, ..baseline });
    }
    if alone.len() >= FEWEST {
        return of_all(alone.iter());
    }
    let window: Vec<&ObservedRequest> = window.iter().collect();
    of_all(least_laden(&window, 0.25)).filter(|_| window.len() >= ENOUGH)
}

/// This share of the requests: those that found the fewest others.
fn least_laden<'a>(
    requests: &[&'a ObservedRequest],
    share: f64,
) -> impl Iterator<Item = &'a ObservedRequest> {
    let mut ahead: Vec<f64> = requests.iter().map(|one| one.ahead.answer as f64).collect();
    let most = quantile(&mut ahead, share).unwrap_or(0.0);
    requests.iter().copied().filter(move |one| one.ahead.answer as f64 <= most)
}

/// Of requests that began as they came.
fn of_all<'a>(requests: impl Iterator<Item = &'a ObservedRequest>) -> Option<TtftBaseline> {
    let samples = requests.filter_map(|one| BaselineSample::of(one, one.arrived));
    TtftBaseline::of(&samples.collect::<Vec<_>>())
}

/// Whether requests that found more others took longer.
fn is_laden(baseline: &TtftBaseline, requests: &[&ObservedRequest]) -> bool {
    let pair = |one: &&ObservedRequest| Some((one.ahead.answer as f64, baseline.ratio(one)?));
    rank_correlation(&requests.iter().filter_map(pair).collect::<Vec<_>>()) >= LADEN
}

/// Another model or machine: the newest requests are all slower than nearly all of the older ones, or faster.
/// Gives the number of the first that is kept then.
fn forget_what_has_changed(alone: &mut VecDeque<ObservedRequest>) -> Option<u64> {
    if alone.len() < 2 * NEWEST {
        return None;
    }
    // What may be of the other server would widen the spread that it is judged by.
    let older = alone.len().saturating_sub(UNSURE).max(NEWEST);
    let before = of_all(alone.iter().take(older))?;
    let far = 2.0 * before.log_spread.max(MARGIN);
    let newest = |is_far: fn(f64, f64) -> bool| {
        let is_far =
            |one: &&ObservedRequest| before.ratio(one).is_some_and(|ratio| is_far(ratio, far));
        alone.iter().skip(older).rev().take_while(is_far).count()
    };
    let changed = newest(|ratio, far| ratio > far).max(newest(|ratio, far| ratio < -far));
    if changed < NEWEST {
        return None;
    }
    alone.drain(..alone.len() - changed);
    alone.front().map(|first| first.number)
}

impl TtftBaseline {
    fn of(samples: &[BaselineSample]) -> Option<Self> {
        if samples.len() < FEWEST {
            return None;
        }
        let mut scratch = Vec::with_capacity(samples.len());
        let mut through = |size: &dyn Fn(&BaselineSample) -> Option<u64>| {
            let point = |sample: &BaselineSample| Some((size(sample)? as f64, sample.seconds));
            let mut points: Vec<(f64, f64)> = samples.iter().filter_map(point).collect();
            points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            ResistantLine::through(&points, &mut scratch)
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
        let ratio = |sample: &BaselineSample| {
            (sample.seconds.max(1e-6) / baseline.expect(sample.bytes, sample.tokens)).ln()
        };
        let mut ratios: Vec<f64> = samples.iter().map(ratio).collect();
        let highest = quantile(&mut ratios, WITHIN)?;
        let (low, high) = (quantile(&mut ratios, 0.16)?, quantile(&mut ratios, 0.84)?);
        baseline.band = highest.max(0.0) + MARGIN;
        baseline.log_spread = (high - low) / 2.0;
        Some(baseline)
    }

    /// The logarithm of what a request took over what was expected of it.
    fn ratio(&self, request: &ObservedRequest) -> Option<f64> {
        let taken = (request.first? - request.arrived).max(1e-6);
        Some((taken / self.expect(request.bytes, request.tokens)).ln())
    }

    /// Seconds to the first output of a request of this size.
    pub(super) fn expect(&self, bytes: u64, tokens: Option<u64>) -> f64 {
        let counted = self.by_tokens.zip(tokens);
        let (line, size) = counted.map_or((self.by_bytes, bytes), |(line, tokens)| (line, tokens));
        line.at(size as f64).max(1e-6)
    }

    pub(super) fn expected(&self, bytes: u64) -> Option<ExpectedTtft> {
        let ttft = Duration::try_from_secs_f64(self.by_bytes.at(bytes as f64)).ok()?;
        let Self { log_spread, samples, largest_bytes, .. } = *self;
        Some(ExpectedTtft { ttft, log_spread, samples, largest_bytes })
    }
}

fn strata(samples: &[BaselineSample]) -> [Option<SizeClassStats>; SIZE_CLASSES.len()] {
    let mut least = 0;
    SIZE_CLASSES.map(|(most, _)| {
        let is_in = |sample: &&BaselineSample| (least..=most).contains(&sample.bytes);
        let mut seconds: Vec<f64> = samples.iter().filter(is_in).map(|one| one.seconds).collect();
        least = most.saturating_add(1);
        let median = quantile(&mut seconds, 0.5)?;
        Some(SizeClassStats { median, samples: seconds.len() })
    })
}
