//! How many requests the server works on at a time, found by what that would explain.

use super::line::{ResistantLine, quantile};
use super::releases::Releases;
use super::{ObservedRequest, PerSpan};
use std::collections::VecDeque;

/// What a request holds of the server until it lets go of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotSpan {
    /// Until its first output: prompts are worked through one after the other, what follows side by side.
    Prefill,
    /// A slot, until the end of its answer.
    Response,
}

/// A number of slots that explains what is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotModel {
    /// Until when a slot is held.
    pub held: SlotSpan,
    /// How many there are.
    pub count: usize,
    /// For how many seconds a request holds one, on average.
    pub holding: f64,
    /// Seconds from an arrival to the release that was waited for which are no waiting: a request that finds the
    /// server idle spends them too, on its way in and out. 0 unless that is sure.
    pub overlap: f64,
}

/// Requests that must differ between two explanations before one is preferred.
const FEWEST: usize = 5;
/// Share of the error without slots that slots may leave.
const CLEARLY: f64 = 0.8;
/// Standard errors by which the mean error must be less.
const SURELY: f64 = 3.0;
/// Share of the error that another number of slots must leave to be taken instead.
const BETTER: f64 = 0.95;
/// Numbers of slots that are tried below and above the most requests that were seen in service.
const BELOW: usize = 4;
const ABOVE: usize = 8;
/// Prompts at a time.
const MOST_PREFILLS: usize = 4;
/// Releases that a fit looks through for each request; where they are not enough the request says nothing.
pub(super) const REACH: usize = 64;

impl SlotModel {
    /// When this request's turn came. `None` if slots can't tell: it had output before, it is too long ago, or
    /// `reach` is not enough.
    pub(super) fn begin(
        &self,
        request: &ObservedRequest,
        releases: &PerSpan<Releases>,
        reach: usize,
    ) -> Option<f64> {
        if *request.ahead.of(self.held) < self.count {
            return Some(request.arrived);
        }
        // It was its turn when so many of the earlier ones were left.
        let left = request.still?.of(self.held) + 1;
        let back = self.count.checked_sub(left)?;
        let mut released = releases.of(self.held).back_from(request.until(), request, reach);
        Some((released.nth(back)? - self.overlap).max(request.arrived))
    }
}

/// The slots that explain these requests best, if they do so surely better than no wait at all. `known` is
/// what was found before: it stays until something is better.
pub(super) fn select(
    known: Option<SlotModel>,
    window: &VecDeque<ObservedRequest>,
    releases: &PerSpan<Releases>,
) -> Option<SlotModel> {
    let most = most_in_service(window).unwrap_or(1);
    let evidence = SlotFitData::of(window, releases, known, most);
    let Some(without) = evidence.errors(SlotSpan::Response, usize::MAX) else { return known };
    let answers =
        (most.saturating_sub(BELOW).max(1)..=most + ABOVE).map(|n| (SlotSpan::Response, n));
    let prefills = (1..=MOST_PREFILLS).map(|n| (SlotSpan::Prefill, n));
    let best = answers
        .chain(prefills)
        .filter_map(|(held, count)| Some((held, count, evidence.errors(held, count)?)))
        .min_by(|(_, _, a), (_, _, b)| a.total.total_cmp(&b.total));
    let held_on = known.and_then(|known| {
        let errors = evidence.errors(known.held, known.count)?;
        (!errors.is_worse_than(&without)).then_some((known.held, known.count, errors))
    });
    let sure = best.filter(|(_, _, errors)| errors.is_surely_better_than(&without));
    let (held, count, errors) = match (held_on, sure) {
        (Some(known), Some(best)) if best.2.total < known.2.total * BETTER => best,
        (Some(known), _) => known,
        (None, best) => best?,
    };
    let overlap = evidence.overlap(&errors);
    Some(SlotModel { held, count, holding: errors.holding, overlap })
}

/// The requests looked back on, with what each may have waited for.
struct SlotFitData {
    /// In the order of their sizes.
    requests: Vec<FitRequest>,
    /// The last releases before their first outputs, as far back as an explanation needs, of one request after
    /// the other.
    waited_for: PerSpan<Vec<f64>>,
}

struct FitRequest {
    size: f64,
    arrived: f64,
    first: f64,
    left: f64,
    ahead: PerSpan<usize>,
    still: PerSpan<usize>,
    /// Where its releases are.
    from: PerSpan<usize>,
}

/// How far the first outputs are from where an explanation has them.
struct FitErrors {
    /// By request.
    each: Vec<FitError>,
    total: f64,
    /// Mean seconds that a slot is held.
    holding: f64,
}

/// How far one first output is from there.
#[derive(Clone, Copy)]
struct FitError {
    /// Seconds after it, or before it if negative.
    late: f64,
    /// The request waited, by the explanation.
    waited: bool,
}

/// Requests that were in service at once, but for a few that came in another order than was seen.
fn most_in_service(window: &VecDeque<ObservedRequest>) -> Option<usize> {
    let in_service = |one: &ObservedRequest| Some((one.still?.answer + 1) as f64);
    let mut in_service: Vec<f64> = window.iter().filter_map(in_service).collect();
    quantile(&mut in_service, 0.98).map(|most| most as usize)
}

impl SlotFitData {
    fn of(
        window: &VecDeque<ObservedRequest>,
        releases: &PerSpan<Releases>,
        known: Option<SlotModel>,
        most: usize,
    ) -> Self {
        let known = known.map_or(0, |known| known.count);
        let candidates = PerSpan { prefill: MOST_PREFILLS, answer: known.max(most + ABOVE) };
        let by_tokens = are_counted(window.iter().map(|one| one.tokens));
        let mut all: Vec<(f64, &ObservedRequest)> =
            window.iter().filter_map(|one| Some((one.size(by_tokens)?, one))).collect();
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut evidence = Self { requests: Vec::new(), waited_for: PerSpan::default() };
        for (size, one) in all {
            let (Some(first), Some(still)) = (one.first, one.still) else { continue };
            let waited_for = &mut evidence.waited_for;
            let from =
                PerSpan { prefill: waited_for.prefill.len(), answer: waited_for.answer.len() };
            let mut has_all = |held: SlotSpan| {
                let most = *candidates.of(held).min(one.ahead.of(held));
                let needed = most.saturating_sub(*still.of(held));
                if needed > REACH {
                    return false;
                }
                let back = releases.of(held).back_from(first, one, REACH).take(needed);
                waited_for.of_mut(held).extend(back);
                waited_for.of(held).len() - from.of(held) == needed
            };
            if has_all(SlotSpan::Prefill) && has_all(SlotSpan::Response) {
                let ObservedRequest { arrived, left, ahead, .. } = *one;
                let request = FitRequest { size, arrived, first, left, ahead, still, from };
                evidence.requests.push(request);
            }
        }
        evidence
    }

    /// `None` if slots of this number can't be: most requests had output before their turn.
    fn errors(&self, held: SlotSpan, count: usize) -> Option<FitErrors> {
        let waited_for = self.waited_for.of(held);
        let begin = |request: &FitRequest| {
            if *request.ahead.of(held) < count {
                return Some((request.arrived, false));
            }
            let back = count.checked_sub(request.still.of(held) + 1)?;
            waited_for.get(request.from.of(held) + back).map(|at| (*at, true))
        };
        let begins: Vec<Option<(f64, bool)>> = self.requests.iter().map(begin).collect();
        let mut points = Vec::with_capacity(begins.len());
        let mut held_for = 0.0;
        for (request, begin) in self.requests.iter().zip(&begins) {
            if let Some((at, _)) = begin {
                points.push((request.size, request.first - at));
                let until = if held == SlotSpan::Response { request.left } else { request.first };
                held_for += until - at;
            }
        }
        if points.len() * 2 < begins.len() {
            return None;
        }
        let line = ResistantLine::through(&points, &mut Vec::with_capacity(points.len()))?;
        let error = |(request, begin): (&FitRequest, &Option<(f64, bool)>)| {
            let expected = line.at(request.size);
            match begin {
                Some((at, waited)) => {
                    FitError { late: request.first - at - expected, waited: *waited }
                }
                // It had output before it could begin: worse than a begin at that very moment.
                None => FitError { late: -2.0 * expected, waited: true },
            }
        };
        let each: Vec<FitError> = self.requests.iter().zip(&begins).map(error).collect();
        let total = each.iter().map(|error| error.late.abs()).sum();
        Some(FitErrors { each, total, holding: held_for / points.len().max(1) as f64 })
    }

    /// How much sooner first outputs come after a release than after an arrival at an idle server, if that is
    /// sure by the median test (A. M. Mood, Introduction to the Theory of Statistics, 1950).
    fn overlap(&self, errors: &FitErrors) -> f64 {
        let late = |is_in: fn(&FitRequest, &FitError) -> bool| -> Vec<f64> {
            let both = self.requests.iter().zip(&errors.each);
            both.filter(|(request, error)| is_in(request, error))
                .map(|(_, error)| error.late)
                .collect()
        };
        let mut alone = late(|request, _| request.ahead.answer == 0);
        let mut waited = late(|_, error| error.waited);
        let Some(middle) = quantile(&mut [&alone[..], &waited].concat(), 0.5) else { return 0.0 };
        let later = |some: &[f64]| {
            some.iter().filter(|late| **late > middle).count() as f64 / some.len() as f64
        };
        let error = 0.5 * (1.0 / alone.len() as f64 + 1.0 / waited.len() as f64).sqrt();
        if later(&alone) - later(&waited) > SURELY * error
            && let Some(alone) = quantile(&mut alone, 0.5)
            && let Some(waited) = quantile(&mut waited, 0.5)
        {
            (alone - waited).max(0.0)
        } else {
            0.0
        }
    }
}

impl FitErrors {
    /// The differences of the errors of those that waited: their number, mean, standard error, and the sums.
    fn against(&self, without: &Self) -> (usize, f64, f64, f64, f64) {
        let pairs = || {
            let both = self.each.iter().zip(&without.each).filter(|(error, _)| error.waited);
            both.map(|(with, without)| (with.late.abs(), without.late.abs()))
        };
        let n = pairs().count();
        let (with, without) =
            pairs().fold((0.0, 0.0), |(a, b), (with, without)| (a + with, b + without));
        let mean = (without - with) / n.max(1) as f64;
        let squares: f64 = pairs().map(|(with, without)| (without - with - mean).powi(2)).sum();
        let deviation = (squares / n.saturating_sub(1).max(1) as f64).sqrt();
        (n, mean, deviation / (n.max(1) as f64).sqrt(), with, without)
    }

    fn is_surely_better_than(&self, other: &Self) -> bool {
        let (n, mean, error, with, without) = self.against(other);
        n >= FEWEST && with < CLEARLY * without && mean > SURELY * error
    }

    fn is_worse_than(&self, other: &Self) -> bool {
        let (n, mean, ..) = self.against(other);
        n >= FEWEST && mean < 0.0
    }
}

/// Whether nearly all of them have their tokens counted.
pub(super) fn are_counted(tokens: impl Iterator<Item = Option<u64>>) -> bool {
    let (mut counted, mut all) = (0, 0);
    for tokens in tokens {
        all += 1;
        counted += usize::from(tokens.is_some());
    }
    counted * 10 >= all * 9
}
