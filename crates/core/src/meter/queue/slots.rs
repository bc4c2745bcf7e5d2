//! Number of slots of the server, found from the observations that it explains best.
//!
//! For each candidate `c`, the turn `s_j(c)` of every request follows from the releases before it. If `c` is right,
//! `r_j(c) = t_j - s_j(c)` is the time for the prompt, which depends closely on the size of the prompt. The error of a
//! candidate is the sum of the distances of `r_j(c)` from a resistant line through `(size_j, r_j(c))`. A wrong candidate
//! adds a part of the waiting times to `r_j` and so widens their spread.
//!
//! A candidate is accepted only if it is surely better than the explanation that nobody waits.

use super::estimate::FitQuality;
use super::releases::Releases;
use super::request::{ObservedRequest, PerSpan, SlotSpan, have_token_counts};
use crate::meter::robust_stats::{ResistantLine, quantile};
use std::collections::VecDeque;

/// Slots of a server that explain the observations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotModel {
    /// Time for which a request holds a slot.
    pub span: SlotSpan,
    /// Number of slots (`c`).
    pub count: usize,
    /// Mean time for which a request holds a slot (`h`), in seconds.
    pub holding_seconds: f64,
    /// Time on the way into and out of the server (`w`), in seconds. It is subtracted, because it is not waiting. 0 unless
    /// it is certain that there is any.
    pub path_seconds: f64,
}

/// Number of requests that must wait according to a candidate before it is accepted.
const MIN_WAITING: usize = 5;
/// Accepted candidates have less than this part of the error of the explanation that nobody waits.
const MAX_ERROR_PART: f64 = 0.8;
/// An accepted candidate stays while it has less than this part of that error.
const MAX_ERROR_PART_TO_STAY: f64 = 0.9;
/// Largest [`FitQuality::contradicted_ratio`] of slots that explain a server.
///
/// In the evaluation, it is below 2 % for servers with slots (4 % with prompts in chunks). It is 10 to 60 % for the
/// candidates with the least error where servers queue in another way.
const MAX_CONTRADICTED_RATIO: f64 = 0.05;
/// Largest [`FitQuality::error_ratio`] of slots that explain a server.
///
/// In the evaluation, it is below this for servers with slots, but for a few fits where half of the prompts are cached and
/// the server does not report it. It is above it for nine in ten fits of servers that queue in another way.
const MAX_ERROR_RATIO: f64 = 0.14;
/// Largest error of slots for prompts, as a part of the time that prompts take.
///
/// With these slots, a turn is the first output of another request. If outputs follow each other closely for another
/// reason, the time between two of them is short, so the error is small, but it does not depend on the prompts.
const MAX_PROMPT_ERROR_RATIO: f64 = 0.4;
/// Number of standard errors by which a difference must be above 0.
const MIN_STANDARD_ERRORS: f64 = 3.0;
/// Number of standard errors above which a server seems to go on after its clients have left, and above which it still
/// seems to. The first is exceeded by chance in one of a thousand fits.
const ABANDONED_STANDARD_ERRORS: [f64; 2] = [3.0, 1.0];
/// A candidate replaces the current one if it has less than this part of its error.
const REPLACE_ERROR_PART: f64 = 0.95;
/// Candidates below and above the largest number of requests that were observed in service.
const CANDIDATES_BELOW: usize = 4;
const CANDIDATES_ABOVE: usize = 8;
/// Largest candidate for the number of prompts at a time.
const MAX_PREFILL_SLOTS: usize = 4;
/// Number of releases that a fit examines for each request. A request that needs more does not count in the fit.
pub(super) const MAX_LOOKBACK: usize = 64;

impl SlotModel {
    /// Instant of the turn of a request, in seconds: `max(a_j, s_j(c) - w)` if it found no free slot.
    pub(super) fn turn(
        &self,
        request: &ObservedRequest,
        releases: &PerSpan<Releases>,
        max_lookback: usize,
    ) -> Result<f64, NoTurn> {
        if *request.earlier_when_sent.get(self.span) < self.count {
            return Ok(request.sent);
        }
        // The turn came when the number of earlier requests fell to `count - 1`. Releases are counted backwards from the
        // first output, at which `earlier` of them were left.
        let earlier = *request.earlier_at_output.get(self.span);
        let back = self.count.checked_sub(earlier + 1).ok_or(NoTurn::Contradicted)?;
        let releases = releases.get(self.span);
        let mut released = releases.earlier_backwards(request.latest_turn(), request, max_lookback);
        let turn = released.nth(back).ok_or(NoTurn::Forgotten)?;
        Ok((turn - self.path_seconds).max(request.sent))
    }
}

/// Why slots have no turn for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The request had output before its turn.
    Contradicted,
    /// The releases before its turn are no longer remembered, or are more than were examined.
    Forgotten,
}

/// Result of a fit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SlotFit {
    /// The slots that explain the requests. `None` if none do.
    pub slots: Option<SlotModel>,
    /// Quality of the best candidate. `None` if none is surely better than no waiting at all.
    pub quality: Option<FitQuality>,
    /// Whether the server goes on after its client has left. Then it is unknown when these slots become free.
    pub serves_abandoned: bool,
}

/// Finds the slots that explain these requests best, if they do so surely better than no waiting at all.
///
/// `before` is the result of the previous fit. Its slots stay until another candidate is clearly better, or until they no
/// longer explain the requests clearly better than no waiting at all.
pub(super) fn select(
    before: &SlotFit,
    window: &VecDeque<ObservedRequest>,
    releases: &PerSpan<Releases>,
) -> SlotFit {
    let current = before.slots;
    let most = most_in_service(window).unwrap_or(1);
    let data = SlotFitData::new(window, releases, current, most);
    let Some(no_waiting) = data.errors(SlotSpan::Response, usize::MAX) else {
        return *before;
    };
    let responses = most.saturating_sub(CANDIDATES_BELOW).max(1)..=most + CANDIDATES_ABOVE;
    let responses = responses.map(|count| (SlotSpan::Response, count));
    let prefills = (1..=MAX_PREFILL_SLOTS).map(|count| (SlotSpan::Prefill, count));
    let (mut best, mut other): (Option<Candidate>, Option<Candidate>) = (None, None);
    for (span, count) in responses.chain(prefills) {
        let Some(candidate) = Candidate::new(&data, span, count) else { continue };
        let least = if candidate.explains() { &mut best } else { &mut other };
        if least.as_ref().is_none_or(|least| candidate.errors.total < least.errors.total) {
            *least = Some(candidate);
        }
    }
    let still_valid = current.and_then(|current| {
        let current = Candidate::new(&data, current.span, current.count)?;
        (current.explains() && current.errors.is_still_better_than(&no_waiting)).then_some(current)
    });
    let accepted = best.filter(|best| {
        best.errors.is_surely_better_than(&no_waiting)
            && other.as_ref().is_none_or(|other| best.errors.total < other.errors.total)
    });
    let selected = match (still_valid, accepted) {
        (Some(current), Some(best))
            if best.errors.total < current.errors.total * REPLACE_ERROR_PART =>
        {
            Some(best)
        }
        (current, best) => current.or(best),
    };
    let Some(Candidate { span, count, errors, quality }) = selected else {
        let other = other.filter(|other| other.errors.is_surely_better_than(&no_waiting));
        let quality = other.map(|other| other.quality);
        return SlotFit { slots: None, quality, ..*before };
    };
    let serves_abandoned = data.serves_abandoned(&errors, before.serves_abandoned);
    if serves_abandoned {
        return SlotFit { slots: None, quality: Some(quality), serves_abandoned };
    }
    let path_seconds = data.path_seconds(&errors);
    let slots = SlotModel { span, count, holding_seconds: errors.holding_seconds, path_seconds };
    SlotFit { slots: Some(slots), quality: Some(quality), serves_abandoned }
}

/// A number of slots, with its errors.
struct Candidate {
    span: SlotSpan,
    count: usize,
    errors: FitErrors,
    quality: FitQuality,
}

impl Candidate {
    /// `None` if the candidate is impossible.
    fn new(data: &SlotFitData, span: SlotSpan, count: usize) -> Option<Self> {
        let errors = data.errors(span, count)?;
        if span == SlotSpan::Prefill
            && ratio(errors.waited.prompt_error, errors.waited.prompt) > MAX_PROMPT_ERROR_RATIO
        {
            return None;
        }
        let quality = errors.quality();
        Some(Self { span, count, errors, quality })
    }

    /// Whether the slots explain the requests well enough to be used.
    fn explains(&self) -> bool {
        self.quality.contradicted_ratio <= MAX_CONTRADICTED_RATIO
            && self.quality.error_ratio <= MAX_ERROR_RATIO
    }
}

/// Requests of one fit, with the releases that each may have waited for.
struct SlotFitData {
    /// In ascending order of their sizes.
    requests: Vec<FitRequest>,
    /// For one request after the other, the last releases before its first output, as far back as a candidate needs.
    releases: PerSpan<Vec<f64>>,
}

/// One request of a fit.
struct FitRequest {
    size: f64,
    sent: f64,
    first_output: f64,
    ended: f64,
    earlier_when_sent: PerSpan<usize>,
    earlier_at_output: PerSpan<usize>,
    /// As in [`ObservedRequest`].
    abandoned: u64,
    /// Index of its first entry in the releases.
    releases_at: PerSpan<usize>,
}

/// Errors of one candidate.
#[derive(Default)]
struct FitErrors {
    /// Errors in the order of the requests.
    each: Vec<FitError>,
    /// Sum of the absolute errors, in seconds.
    total: f64,
    /// Mean time for which a slot is held, in seconds.
    holding_seconds: f64,
    waited: WaitedErrors,
}

/// Sums over the requests that waited, according to a candidate. Times are in seconds.
#[derive(Clone, Copy, Default)]
struct WaitedErrors {
    count: usize,
    /// Number of requests that had output before their turn.
    contradicted: usize,
    /// Absolute errors.
    error: f64,
    /// Times to first output.
    ttft: f64,
    /// Absolute errors, and times from the turn to the first output, without the contradicted requests.
    prompt_error: f64,
    prompt: f64,
}

/// Error of one candidate for one request.
#[derive(Clone, Copy)]
struct FitError {
    /// Seconds from the expected to the observed first output; negative if it was early.
    late: f64,
    /// Whether the request waited, according to the candidate.
    waited: bool,
}

/// Largest number of requests in service at once: the 98 % quantile, because a few requests are taken in another order
/// than they were sent.
fn most_in_service(window: &VecDeque<ObservedRequest>) -> Option<usize> {
    let in_service = |one: &ObservedRequest| (one.earlier_at_output.response + 1) as f64;
    let mut in_service: Vec<f64> = window.iter().map(in_service).collect();
    quantile(&mut in_service, 0.98).map(|most| most as usize)
}

impl SlotFitData {
    fn new(
        window: &VecDeque<ObservedRequest>,
        releases: &PerSpan<Releases>,
        current: Option<SlotModel>,
        most: usize,
    ) -> Self {
        let current = current.map_or(0, |current| current.count);
        let largest =
            PerSpan { prefill: MAX_PREFILL_SLOTS, response: current.max(most + CANDIDATES_ABOVE) };
        let in_tokens = have_token_counts(window.iter().map(|one| one.tokens));
        let mut by_size: Vec<(f64, &ObservedRequest)> =
            window.iter().filter_map(|one| Some((one.size(in_tokens)?, one))).collect();
        by_size.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut data = Self { requests: Vec::new(), releases: PerSpan::default() };
        for (size, one) in by_size {
            let Some(first_output) = one.first_output else { continue };
            let earlier_at_output = one.earlier_at_output;
            let collected = &mut data.releases;
            let releases_at =
                PerSpan { prefill: collected.prefill.len(), response: collected.response.len() };
            let mut collect = |span: SlotSpan| {
                let most = *largest.get(span).min(one.earlier_when_sent.get(span));
                let needed = most.saturating_sub(*earlier_at_output.get(span));
                if needed > MAX_LOOKBACK {
                    return false;
                }
                let back = releases.get(span).earlier_backwards(first_output, one, MAX_LOOKBACK);
                collected.get_mut(span).extend(back.take(needed));
                collected.get(span).len() - releases_at.get(span) == needed
            };
            if collect(SlotSpan::Prefill) && collect(SlotSpan::Response) {
                let ObservedRequest { sent, ended, earlier_when_sent, abandoned, .. } = *one;
                data.requests.push(FitRequest {
                    size,
                    sent,
                    first_output,
                    ended,
                    earlier_when_sent,
                    earlier_at_output,
                    abandoned,
                    releases_at,
                });
            }
        }
        data
    }

    /// Errors of a candidate. `None` if it is impossible: most requests had output before their turn.
    fn errors(&self, span: SlotSpan, count: usize) -> Option<FitErrors> {
        let releases = self.releases.get(span);
        let turn = |request: &FitRequest| {
            if *request.earlier_when_sent.get(span) < count {
                return Some((request.sent, false));
            }
            let back = count.checked_sub(request.earlier_at_output.get(span) + 1)?;
            releases.get(request.releases_at.get(span) + back).map(|at| (*at, true))
        };
        let turns: Vec<Option<(f64, bool)>> = self.requests.iter().map(turn).collect();
        let mut points = Vec::with_capacity(turns.len());
        let mut total_holding = 0.0;
        for (request, turn) in self.requests.iter().zip(&turns) {
            if let Some((at, _)) = turn {
                points.push((request.size, request.first_output - at));
                let until =
                    if span == SlotSpan::Response { request.ended } else { request.first_output };
                total_holding += until - at;
            }
        }
        if points.len() * 2 < turns.len() {
            return None;
        }
        let line = ResistantLine::through(&points, &mut Vec::with_capacity(points.len()))?;
        let holding_seconds = total_holding / points.len().max(1) as f64;
        let mut errors = FitErrors { holding_seconds, ..FitErrors::default() };
        errors.each.reserve(turns.len());
        for (request, turn) in self.requests.iter().zip(&turns) {
            errors.add(request, *turn, line.at(request.size));
        }
        Some(errors)
    }

    /// Time on the way into and out of the server, in seconds: the difference of the median errors of lone requests and of
    /// requests that waited.
    ///
    /// A request that waits has its way in behind it, and the end of the response before it already includes the way
    /// out. Its first output therefore comes sooner after its turn than that of a lone request after its sending. 0
    /// unless the difference is certain.
    fn path_seconds(&self, errors: &FitErrors) -> f64 {
        let is_lone = |request: &FitRequest| request.earlier_when_sent.response == 0;
        let lone = self.late(errors, |request, _| is_lone(request));
        let waited = self.late(errors, |_, error| error.waited);
        certain_shift(lone, waited, MIN_STANDARD_ERRORS).unwrap_or(0.0)
    }

    /// Whether the server goes on after its client has left: requests behind such a request are later.
    fn serves_abandoned(&self, errors: &FitErrors, did_before: bool) -> bool {
        let behind = self.late(errors, |request, error| error.waited && request.abandoned > 0);
        let others = self.late(errors, |request, error| error.waited && request.abandoned == 0);
        if behind.len().min(others.len()) < MIN_WAITING {
            // Nothing speaks for or against it.
            return did_before;
        }
        let [to_begin, to_stay] = ABANDONED_STANDARD_ERRORS;
        let standard_errors = if did_before { to_stay } else { to_begin };
        certain_shift(behind, others, standard_errors).is_some()
    }

    /// Errors of some requests, in seconds.
    fn late(&self, errors: &FitErrors, is_in: impl Fn(&FitRequest, &FitError) -> bool) -> Vec<f64> {
        let both = self.requests.iter().zip(&errors.each);
        both.filter(|(request, error)| is_in(request, error)).map(|(_, error)| error.late).collect()
    }
}

/// Difference of the medians of two groups, if the median test (A. M. Mood, Introduction to the Theory of Statistics,
/// 1950) finds that the values of the first are larger, by this many standard errors.
fn certain_shift(mut first: Vec<f64>, mut second: Vec<f64>, standard_errors: f64) -> Option<f64> {
    let median = quantile(&mut [&first[..], &second].concat(), 0.5)?;
    let part_above = |some: &[f64]| {
        some.iter().filter(|value| **value > median).count() as f64 / some.len() as f64
    };
    let standard_error = 0.5 * (1.0 / first.len() as f64 + 1.0 / second.len() as f64).sqrt();
    if part_above(&first) - part_above(&second) <= standard_errors * standard_error {
        return None;
    }
    let shift = quantile(&mut first, 0.5)? - quantile(&mut second, 0.5)?;
    (shift > 0.0).then_some(shift)
}

/// Paired comparison of the absolute errors of two candidates, over the requests that wait according to the first.
struct ErrorComparison {
    requests: usize,
    /// Sums of the absolute errors, in seconds.
    own_sum: f64,
    other_sum: f64,
    /// Mean of the other error minus the own error, and the standard error of this mean.
    mean_gain: f64,
    standard_error: f64,
}

impl FitErrors {
    fn compare(&self, other: &Self) -> ErrorComparison {
        let pairs = || {
            let both = self.each.iter().zip(&other.each).filter(|(error, _)| error.waited);
            both.map(|(own, other)| (own.late.abs(), other.late.abs()))
        };
        let n = pairs().count();
        let (own_sum, other_sum) =
            pairs().fold((0.0, 0.0), |(a, b), (own, other)| (a + own, b + other));
        let mean_gain = (other_sum - own_sum) / n.max(1) as f64;
        let squares: f64 = pairs().map(|(own, other)| (other - own - mean_gain).powi(2)).sum();
        let deviation = (squares / n.saturating_sub(1).max(1) as f64).sqrt();
        let standard_error = deviation / (n.max(1) as f64).sqrt();
        ErrorComparison { requests: n, own_sum, other_sum, mean_gain, standard_error }
    }

    fn is_surely_better_than(&self, other: &Self) -> bool {
        let ErrorComparison { requests, own_sum, other_sum, mean_gain, standard_error } =
            self.compare(other);
        requests >= MIN_WAITING
            && own_sum < MAX_ERROR_PART * other_sum
            && mean_gain > MIN_STANDARD_ERRORS * standard_error
    }

    /// Whether an accepted candidate still explains the requests. Without requests that wait, nothing speaks against it.
    fn is_still_better_than(&self, other: &Self) -> bool {
        let ErrorComparison { requests, own_sum, other_sum, .. } = self.compare(other);
        requests < MIN_WAITING || own_sum < MAX_ERROR_PART_TO_STAY * other_sum
    }

    /// Adds a request with its turn, and whether it waited. `turn` is `None` if it had output before its turn.
    fn add(&mut self, request: &FitRequest, turn: Option<(f64, bool)>, expected: f64) {
        let (late, waited) = match turn {
            Some((at, waited)) => (request.first_output - at - expected, waited),
            // Output before the turn contradicts the candidate, so it counts more than output at the turn.
            None => (-2.0 * expected, true),
        };
        self.total += late.abs();
        self.each.push(FitError { late, waited });
        if waited {
            let sums = &mut self.waited;
            sums.count += 1;
            sums.error += late.abs();
            sums.ttft += request.first_output - request.sent;
            match turn {
                Some((at, _)) => {
                    sums.prompt_error += late.abs();
                    sums.prompt += request.first_output - at;
                }
                None => sums.contradicted += 1,
            }
        }
    }

    fn quality(&self) -> FitQuality {
        let WaitedErrors { count, contradicted, error, ttft, .. } = self.waited;
        FitQuality {
            contradicted_ratio: ratio(contradicted as f64, count as f64),
            error_ratio: ratio(error, ttft),
        }
    }
}

/// 0 if there is nothing.
fn ratio(part: f64, all: f64) -> f64 {
    if all > 0.0 { part / all } else { 0.0 }
}
