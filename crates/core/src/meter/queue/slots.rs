//! Number of slots of the server, found from the observations that it explains best.
//!
//! For each candidate `c`, the turn `s_j(c)` of every request follows from the releases before it. If `c` is right,
//! `r_j(c) = t_j - s_j(c)` is the time for the prompt, which depends closely on the size of the prompt. The error of a
//! candidate is the sum of the distances of `r_j(c)` from a resistant line through `(size_j, r_j(c))`. A wrong candidate
//! adds a part of the waiting times to `r_j` and so widens their spread.
//!
//! A candidate is accepted only if it is surely better than the explanation that nobody waits.

use super::releases::Releases;
use super::request::{ObservedRequest, PerSpan, SlotSpan, have_token_counts};
use super::robust_stats::{ResistantLine, quantile};
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
/// Number of standard errors by which a difference must be above 0.
const MIN_STANDARD_ERRORS: f64 = 3.0;
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
    ///
    /// `None` if the slots do not explain the request (it had output before its turn), or if the releases before it are
    /// no longer remembered or are more than `max_lookback`.
    pub(super) fn turn(
        &self,
        request: &ObservedRequest,
        releases: &PerSpan<Releases>,
        max_lookback: usize,
    ) -> Option<f64> {
        if *request.earlier_when_sent.get(self.span) < self.count {
            return Some(request.sent);
        }
        // The turn came when the number of earlier requests fell to `count - 1`. Releases are counted backwards from the
        // first output, at which `earlier` of them were left.
        let earlier = *request.earlier_at_output?.get(self.span);
        let back = self.count.checked_sub(earlier + 1)?;
        let releases = releases.get(self.span);
        let mut released = releases.earlier_backwards(request.latest_turn(), request, max_lookback);
        Some((released.nth(back)? - self.path_seconds).max(request.sent))
    }
}

/// Finds the slots that explain these requests best, if they do so surely better than no waiting at all.
///
/// `current` is the result of the previous fit. It stays until another candidate is clearly better, or until no waiting
/// at all explains the requests better.
pub(super) fn select(
    current: Option<SlotModel>,
    window: &VecDeque<ObservedRequest>,
    releases: &PerSpan<Releases>,
) -> Option<SlotModel> {
    let most = most_in_service(window).unwrap_or(1);
    let data = SlotFitData::new(window, releases, current, most);
    let Some(no_waiting) = data.errors(SlotSpan::Response, usize::MAX) else { return current };
    let responses = most.saturating_sub(CANDIDATES_BELOW).max(1)..=most + CANDIDATES_ABOVE;
    let responses = responses.map(|count| (SlotSpan::Response, count));
    let prefills = (1..=MAX_PREFILL_SLOTS).map(|count| (SlotSpan::Prefill, count));
    let best = responses
        .chain(prefills)
        .filter_map(|(span, count)| Some((span, count, data.errors(span, count)?)))
        .min_by(|(_, _, a), (_, _, b)| a.total.total_cmp(&b.total));
    let still_valid = current.and_then(|current| {
        let errors = data.errors(current.span, current.count)?;
        (!errors.is_worse_than(&no_waiting)).then_some((current.span, current.count, errors))
    });
    let accepted = best.filter(|(_, _, errors)| errors.is_surely_better_than(&no_waiting));
    let (span, count, errors) = match (still_valid, accepted) {
        (Some(current), Some(best)) if best.2.total < current.2.total * REPLACE_ERROR_PART => best,
        (Some(current), _) => current,
        (None, best) => best?,
    };
    let path_seconds = data.path_seconds(&errors);
    Some(SlotModel { span, count, holding_seconds: errors.holding_seconds, path_seconds })
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
    /// Index of its first entry in the releases.
    releases_at: PerSpan<usize>,
}

/// Errors of one candidate.
struct FitErrors {
    /// Errors in the order of the requests.
    each: Vec<FitError>,
    /// Sum of the absolute errors, in seconds.
    total: f64,
    /// Mean time for which a slot is held, in seconds.
    holding_seconds: f64,
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
    let in_service = |one: &ObservedRequest| Some((one.earlier_at_output?.response + 1) as f64);
    let mut in_service: Vec<f64> = window.iter().filter_map(in_service).collect();
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
            let (Some(first_output), Some(earlier_at_output)) =
                (one.first_output, one.earlier_at_output)
            else {
                continue;
            };
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
                let ObservedRequest { sent, ended, earlier_when_sent, .. } = *one;
                data.requests.push(FitRequest {
                    size,
                    sent,
                    first_output,
                    ended,
                    earlier_when_sent,
                    earlier_at_output,
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
        let error = |(request, turn): (&FitRequest, &Option<(f64, bool)>)| {
            let expected = line.at(request.size);
            match turn {
                Some((at, waited)) => {
                    FitError { late: request.first_output - at - expected, waited: *waited }
                }
                // Output before the turn contradicts the candidate, so it counts more than output at the turn.
                None => FitError { late: -2.0 * expected, waited: true },
            }
        };
        let each: Vec<FitError> = self.requests.iter().zip(&turns).map(error).collect();
        let total = each.iter().map(|error| error.late.abs()).sum();
        Some(FitErrors { each, total, holding_seconds: total_holding / points.len().max(1) as f64 })
    }

    /// Time on the way into and out of the server, in seconds: the difference of the median errors of lone requests and of
    /// requests that waited.
    ///
    /// A request that waits has its way in behind it, and the end of the response before it already includes the way
    /// out. Its first output therefore comes sooner after its turn than that of a lone request after its sending. 0
    /// unless the median test (A. M. Mood, Introduction to the Theory of Statistics, 1950) finds a difference.
    fn path_seconds(&self, errors: &FitErrors) -> f64 {
        let late = |is_in: fn(&FitRequest, &FitError) -> bool| -> Vec<f64> {
            let both = self.requests.iter().zip(&errors.each);
            both.filter(|(request, error)| is_in(request, error))
                .map(|(_, error)| error.late)
                .collect()
        };
        let mut lone = late(|request, _| request.earlier_when_sent.response == 0);
        let mut waited = late(|_, error| error.waited);
        let Some(median) = quantile(&mut [&lone[..], &waited].concat(), 0.5) else { return 0.0 };
        let part_above = |some: &[f64]| {
            some.iter().filter(|late| **late > median).count() as f64 / some.len() as f64
        };
        let standard_error = 0.5 * (1.0 / lone.len() as f64 + 1.0 / waited.len() as f64).sqrt();
        if part_above(&lone) - part_above(&waited) > MIN_STANDARD_ERRORS * standard_error
            && let Some(lone) = quantile(&mut lone, 0.5)
            && let Some(waited) = quantile(&mut waited, 0.5)
        {
            (lone - waited).max(0.0)
        } else {
            0.0
        }
    }
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

    fn is_worse_than(&self, other: &Self) -> bool {
        let ErrorComparison { requests, mean_gain, .. } = self.compare(other);
        requests >= MIN_WAITING && mean_gain < 0.0
    }
}
