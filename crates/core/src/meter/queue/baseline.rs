//! Time to first output of a request that does not wait (`g`), as a function of the size of its prompt.
//!
//! | what is known | requests that form the baseline |
//! |---|---|
//! | the slots | all in the window, minus the wait that the slots explain |
//! | nothing | those sent with nothing else in flight; the least loaded quarter if they are too few |
//! | nothing, and TTFT does not grow with the load | all, because then nobody waits |

use super::releases::Releases;
use super::request::{ObservedRequest, PerSpan, TurnSign, have_token_counts};
use super::slots::{MAX_LOOKBACK, SlotModel};
use crate::meter::robust_stats::{ResistantLine, quantile, rank_correlation};
use std::collections::VecDeque;
use std::time::Duration;

/// Number of finished streams between two fits, at least.
pub(super) const REFIT_EVERY: usize = 16;
/// Smallest number of requests that form a baseline.
pub(super) const MIN_SAMPLES: usize = 5;
/// Smallest number of requests of which the least loaded ones form a baseline.
const MIN_WINDOW: usize = 32;
/// Smallest number of requests that found others in flight and show that these do not make requests wait. It is half of
/// [`MIN_WINDOW`]: then a correlation of [`MIN_LOAD_CORRELATION`] can be seen if most of them are slower.
const MIN_LOADED: usize = 16;
/// Number of the newest lone requests that must agree with the older ones.
const NEWEST: usize = 8;
/// Number of the newest lone requests that may be from a changed server: those that were too few to show it at the last
/// fit, and those since.
const MAYBE_CHANGED: usize = NEWEST + REFIT_EVERY;
/// TTFT grows with the load if the correlation is at least this, in standard errors.
const MIN_LOAD_CORRELATION: f64 = 3.0;
/// Part of the samples within the band. A few samples may have waited, or met a server that was not ready.
const WITHIN_BAND: f64 = 0.95;
/// Largest band of requests of which none waits: prompts of the same size differ by up to this factor, because of caches.
const MAX_BAND_WITHOUT_WAITING: f64 = 10.0;
/// Addition to the band, because the samples are few.
const BAND_MARGIN: f64 = 0.1;

/// Size classes: upper bound of the size of the request body in bytes, and label.
pub const SIZE_CLASSES: [(u64, &str); 6] = [
    (1 << 10, "1KiB"),
    (4 << 10, "4KiB"),
    (16 << 10, "16KiB"),
    (64 << 10, "64KiB"),
    (256 << 10, "256KiB"),
    (u64::MAX, "more"),
];

/// Samples of one size class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SizeClassStats {
    /// Median time to first output, in seconds.
    pub median: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Expected time to first output of a request that does not wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectedTtft {
    /// From the request completely sent to its first output.
    pub ttft: Duration,
    /// Robust standard deviation of `ln(observed / expected)`.
    pub log_spread: f64,
    /// Number of requests that the expectation is derived from.
    pub samples: usize,
    /// Largest body of these requests. For larger requests the expectation is extrapolated.
    pub largest_bytes: u64,
}

/// Time to first output as a function of the prompt's size.
#[derive(Debug, Clone)]
pub struct TtftBaseline {
    by_bytes: ResistantLine,
    /// Present if the server counts prompt tokens.
    by_tokens: Option<ResistantLine>,
    /// A TTFT of up to `e^band` times the expectation is noise, not a wait.
    pub(super) band: f64,
    /// A TTFT below `e^low` times the expectation is rare. At most 0.
    low: f64,
    /// As in [`ExpectedTtft`].
    pub log_spread: f64,
    /// As in [`ExpectedTtft`].
    pub samples: usize,
    /// As in [`ExpectedTtft`].
    pub largest_bytes: u64,
    /// Samples by size, in the order of [`SIZE_CLASSES`]. `None` for a class without samples.
    pub size_classes: [Option<SizeClassStats>; SIZE_CLASSES.len()],
    /// End of the newest sample.
    pub newest: Duration,
}

/// One request of the baseline.
#[derive(Debug, Clone, Copy)]
struct BaselineSample {
    bytes: u64,
    tokens: Option<u64>,
    /// Time from the turn to the first output.
    seconds: f64,
    ended: f64,
}

impl BaselineSample {
    fn new(request: &ObservedRequest, turn: f64) -> Self {
        let ObservedRequest { bytes, tokens, ended, .. } = *request;
        Self { bytes, tokens, seconds: request.latest_turn() - turn, ended }
    }
}

/// Baseline from all requests with this sign, minus the waits that the slots explain.
pub(super) fn without_slot_waits(
    slots: &SlotModel,
    window: &VecDeque<ObservedRequest>,
    releases: &PerSpan<Releases>,
    sign: TurnSign,
) -> Option<TtftBaseline> {
    let sample = |request: &ObservedRequest| {
        Some(BaselineSample::new(request, slots.turn(request, releases, MAX_LOOKBACK).ok()?))
    };
    let requests = window.iter().filter(|one| one.turn_sign() == sign);
    TtftBaseline::fit(&requests.filter_map(sample).collect::<Vec<_>>())
}

/// Baseline from requests that did not wait, if the slots are unknown.
///
/// These are the lone requests, or the least loaded quarter of all if the lone ones are too few. If requests that found
/// many others took no longer than those that found few, then nobody waits and all requests are used. In that case only
/// a TTFT above that of every request in the less loaded half is a wait.
///
/// Removes requests from before a change of the server.
pub(super) fn from_least_loaded(
    lone: &mut VecDeque<ObservedRequest>,
    window: &mut VecDeque<ObservedRequest>,
) -> LeastLoadedFit {
    if let Some(first_kept) = remove_before_change(lone) {
        window.retain(|one| one.number >= first_kept);
    }
    let is_before_window =
        |one: &&ObservedRequest| window.front().is_none_or(|front| one.number < front.number);
    let all: Vec<&ObservedRequest> = lone.iter().filter(is_before_window).chain(&*window).collect();
    if all.len() >= MIN_WINDOW
        && let Some(baseline) = from_unwaiting(all.iter().copied())
    {
        let half = least_loaded(&all, 0.5).filter_map(|one| baseline.log_ratio(one));
        // The largest of a few values is smaller than the largest of many, the more so the wider they are spread.
        let band = half.fold(0.0, f64::max) + BAND_MARGIN.max(baseline.log_spread / 2.0);
        if band <= MAX_BAND_WITHOUT_WAITING.ln() && !grows_with_load(&baseline, &all) {
            let baseline = Some(TtftBaseline { band, ..baseline });
            let nobody_waits = all.iter().filter(|one| !one.is_lone()).count() >= MIN_LOADED;
            return LeastLoadedFit { baseline, nobody_waits };
        }
    }
    let baseline = if lone.len() >= MIN_SAMPLES {
        from_unwaiting(lone.iter())
    } else {
        let window: Vec<&ObservedRequest> = window.iter().collect();
        from_unwaiting(least_loaded(&window, 0.25)).filter(|_| window.len() >= MIN_WINDOW)
    };
    LeastLoadedFit { baseline, nobody_waits: false }
}

/// Result of [`from_least_loaded`].
pub(super) struct LeastLoadedFit {
    /// `None` if there are too few requests.
    pub baseline: Option<TtftBaseline>,
    /// Whether enough requests that found others show that nobody waits: those that found more took no longer, and none took
    /// very much longer than the rest.
    pub nobody_waits: bool,
}

/// This part of the requests: those that found the fewest others.
fn least_loaded<'a>(
    requests: &[&'a ObservedRequest],
    part: f64,
) -> impl Iterator<Item = &'a ObservedRequest> {
    let load = |one: &ObservedRequest| one.earlier_when_sent.response as f64;
    let mut loads: Vec<f64> = requests.iter().map(|one| load(one)).collect();
    let most = quantile(&mut loads, part).unwrap_or(0.0);
    requests.iter().copied().filter(move |one| load(one) <= most)
}

/// Baseline from requests whose turn came when they were sent.
fn from_unwaiting<'a>(requests: impl Iterator<Item = &'a ObservedRequest>) -> Option<TtftBaseline> {
    let streams = requests.filter(|one| one.turn_sign() == TurnSign::FirstOutput);
    TtftBaseline::fit(&streams.map(|one| BaselineSample::new(one, one.sent)).collect::<Vec<_>>())
}

/// Whether requests that found more others took longer.
fn grows_with_load(baseline: &TtftBaseline, requests: &[&ObservedRequest]) -> bool {
    let pair = |one: &&ObservedRequest| {
        Some((one.earlier_when_sent.response as f64, baseline.log_ratio(one)?))
    };
    let pairs: Vec<_> = requests.iter().filter_map(pair).collect();
    rank_correlation(&pairs) >= MIN_LOAD_CORRELATION
}

/// Removes lone requests from before a change of the model or the machine: the newest ones are all slower, or all faster,
/// than nearly all of the older ones. Returns the number of the first request that is kept, if there was a change.
fn remove_before_change(lone: &mut VecDeque<ObservedRequest>) -> Option<u64> {
    if lone.len() < 2 * NEWEST {
        return None;
    }
    // Requests from after the change would widen the spread that they are compared with.
    let older_count = lone.len().saturating_sub(MAYBE_CHANGED).max(NEWEST);
    let older = from_unwaiting(lone.iter().take(older_count))?;
    let far = 2.0 * older.log_spread.max(BAND_MARGIN);
    let count_newest = |is_far: fn(f64, f64) -> bool| {
        let is_far =
            |one: &&ObservedRequest| older.log_ratio(one).is_some_and(|ratio| is_far(ratio, far));
        lone.iter().skip(older_count).rev().take_while(is_far).count()
    };
    let slower = count_newest(|ratio, far| ratio > far);
    let faster = count_newest(|ratio, far| ratio < -far);
    let changed = slower.max(faster);
    if changed < NEWEST {
        return None;
    }
    lone.drain(..lone.len() - changed);
    lone.front().map(|first| first.number)
}

impl TtftBaseline {
    /// Fits the lines through these samples. `None` if they are fewer than five.
    fn fit(samples: &[BaselineSample]) -> Option<Self> {
        if samples.len() < MIN_SAMPLES {
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
        let is_counted = have_token_counts(samples.iter().map(|sample| sample.tokens));
        let by_tokens = is_counted.then(|| through(&|sample| sample.tokens)).flatten();
        let mut baseline = Self {
            by_bytes,
            by_tokens,
            band: 0.0,
            low: 0.0,
            log_spread: 0.0,
            samples: samples.len(),
            largest_bytes: samples.iter().map(|sample| sample.bytes).max().unwrap_or(0),
            size_classes: size_class_stats(samples),
            newest: Duration::from_secs_f64(
                samples.iter().map(|one| one.ended).fold(0.0, f64::max),
            ),
        };
        let ratio = |sample: &BaselineSample| {
            (sample.seconds.max(1e-6) / baseline.expect(sample.bytes, sample.tokens)).ln()
        };
        let mut ratios: Vec<f64> = samples.iter().map(ratio).collect();
        let highest = quantile(&mut ratios, WITHIN_BAND)?;
        let (low, high) = (quantile(&mut ratios, 0.16)?, quantile(&mut ratios, 0.84)?);
        baseline.low = quantile(&mut ratios, 1.0 - WITHIN_BAND)?.min(0.0);
        baseline.band = highest.max(0.0) + BAND_MARGIN;
        baseline.log_spread = (high - low) / 2.0;
        Some(baseline)
    }

    /// Time to first output below which that of a request of this size rarely is, in seconds.
    pub(super) fn shortest(&self, bytes: u64, tokens: Option<u64>) -> f64 {
        self.expect(bytes, tokens) * self.low.exp()
    }

    /// Time by which the first output of a request of this size may be later than expected without a wait, in seconds.
    pub(super) fn variation(&self, bytes: u64, tokens: Option<u64>) -> f64 {
        self.expect(bytes, tokens) * (self.band.exp() - 1.0)
    }

    /// Smallest expected time to first output, in seconds.
    pub(super) fn fastest(&self) -> f64 {
        self.by_bytes.min
    }

    /// `ln(observed / expected)` of the TTFT of a request.
    fn log_ratio(&self, request: &ObservedRequest) -> Option<f64> {
        let ttft = (request.first_output? - request.sent).max(1e-6);
        Some((ttft / self.expect(request.bytes, request.tokens)).ln())
    }

    /// Expected time to first output of a request of this size, in seconds.
    pub(super) fn expect(&self, bytes: u64, tokens: Option<u64>) -> f64 {
        let counted = self.by_tokens.zip(tokens);
        let (line, size) = counted.map_or((self.by_bytes, bytes), |(line, tokens)| (line, tokens));
        line.at(size as f64).max(1e-6)
    }

    /// Expected time to first output of a request whose tokens are not counted yet.
    pub(super) fn expected(&self, bytes: u64) -> Option<ExpectedTtft> {
        let ttft = Duration::try_from_secs_f64(self.by_bytes.at(bytes as f64)).ok()?;
        let Self { log_spread, samples, largest_bytes, .. } = *self;
        Some(ExpectedTtft { ttft, log_spread, samples, largest_bytes })
    }
}

/// Statistics of each size class, in the order of [`SIZE_CLASSES`].
fn size_class_stats(samples: &[BaselineSample]) -> [Option<SizeClassStats>; SIZE_CLASSES.len()] {
    let mut least = 0;
    SIZE_CLASSES.map(|(most, _)| {
        let is_in = |sample: &&BaselineSample| (least..=most).contains(&sample.bytes);
        let mut seconds: Vec<f64> = samples.iter().filter(is_in).map(|one| one.seconds).collect();
        least = most.saturating_add(1);
        let median = quantile(&mut seconds, 0.5)?;
        Some(SizeClassStats { median, samples: seconds.len() })
    })
}
