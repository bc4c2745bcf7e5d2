//! Number of slots of the server, found from the observations that it explains best.
//!
//! For each candidate `c`, the turn `s_j(c)` of every request follows from the releases before it. If `c` is right,
//! `r_j(c) = t_j - s_j(c)` is the time for the prompt, which depends closely on the size of the prompt. The error of a
//! candidate is the sum of the distances of `r_j(c)` from a resistant line through `(size_j, r_j(c))`. A wrong candidate
//! adds a part of the waiting times to `r_j` and so widens their spread.
//!
//! A candidate is accepted only if it is surely better than the explanation that nobody waits.
//!
//! | what is special | the turn | what shows the slots |
//! |---|---|---|
//! | the server works in steps | is not before the step in which the prompt before had its first output | contradictions, because more slots have the same errors |
//! | nothing is streamed | is compared with the end instead of the first output | the order of the ends ([`EndRanks`]) |

use super::end_ranks::EndRanks;
use super::estimate::FitQuality;
use super::fit_data::{SlotFitData, SlotTrial, most_in_service};
use super::fit_errors::FitErrors;
use super::releases::Releases;
use super::request::{ObservedRequest, PerSpan, SlotSpan, TurnSign};
use std::collections::VecDeque;

/// Slots of a server that explain the observations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotModel {
    /// Time for which a request holds a slot.
    pub span: SlotSpan,
    /// Number of slots (`c`).
    pub count: usize,
    /// Since when the server has this number of slots, in seconds; 0 if no change was seen.
    pub since: f64,
    /// Duration of a step in which the server processes as many tokens of prompts as it can, in seconds. A prompt then also
    /// waits for the prompts of earlier requests. `None` unless the server seems to work in such steps.
    pub step_seconds: Option<f64>,
    /// Mean time for which a request holds a slot (`h`), in seconds.
    pub holding_seconds: f64,
    /// Time on the way into and out of the server (`w`), in seconds. It is subtracted, because it is not waiting. 0 unless
    /// it is certain that there is any.
    pub path_seconds: f64,
}

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
/// The same where contradictions show the number of slots, and errors hardly do: for responses that are not streamed, and for
/// servers that work in steps.
const MAX_CONTRADICTED_RATIO_IN_ORDER: f64 = 0.01;
/// In steps, fewer slots are right if more slots have at least this part of their error.
const FEWER_ERROR_PART: f64 = 0.8;
/// Largest error of slots for prompts, as a part of the time that prompts take.
///
/// With these slots, a turn is the first output of another request. If outputs follow each other closely for another
/// reason, the time between two of them is short, so the error is small, but it does not depend on the prompts. It is then
/// over two thirds of the time, as that of independent outputs.
const MAX_PROMPT_ERROR_RATIO: f64 = 0.4;
/// The same if a turn is the later one of a free slot and of the first output of another request.
const MAX_PROMPT_ERROR_RATIO_IN_STEPS: f64 = 0.5;
/// Largest error of the difference of two instants that are observed from outside, in seconds.
pub(super) const INSTANT_ERROR: f64 = 0.002;
/// A candidate replaces the current one if it has less than this part of its error.
const REPLACE_ERROR_PART: f64 = 0.95;
/// Candidates below and above the largest number of requests that were observed in service.
const CANDIDATES_BELOW: usize = 4;
const CANDIDATES_ABOVE: usize = 8;
/// Largest candidate for the number of prompts at a time.
pub(super) const MAX_PREFILL_SLOTS: usize = 4;
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
        let prompt_turn = self.prompt_turn(request, releases);
        if *request.earlier_when_sent.get(self.span) < self.count {
            return Ok((prompt_turn - self.path_seconds).max(request.sent));
        }
        // The turn came when the number of earlier requests fell to `count - 1`. Releases are counted backwards from the
        // first output, at which `earlier` of them were left.
        let earlier = *request.earlier_at_output.get(self.span);
        let back = self.count.checked_sub(earlier + 1).ok_or(NoTurn::Contradicted)?;
        let releases = releases.get(self.span);
        let mut released = releases.earlier_backwards(request.latest_turn(), request, max_lookback);
        let turn = released.nth(back).ok_or(NoTurn::Forgotten)?.max(self.since);
        Ok((turn.max(prompt_turn) - self.path_seconds).max(request.sent))
    }

    /// Instant from which no earlier prompt was before that of this request, in seconds.
    fn prompt_turn(&self, request: &ObservedRequest, releases: &PerSpan<Releases>) -> f64 {
        let Some(step) = self.step_seconds else { return request.sent };
        prompt_turn(request, releases) - step
    }
}

/// Last first output of an earlier request before that of this one, but not at the same time. At least `request.sent`.
pub(super) fn prompt_turn(request: &ObservedRequest, releases: &PerSpan<Releases>) -> f64 {
    let until = request.latest_turn() - INSTANT_ERROR;
    let mut earlier = releases.prefill.earlier_backwards(until, request, MAX_LOOKBACK);
    earlier.next().unwrap_or(request.sent)
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

/// Finds the slots that explain the requests with this sign best, if they do so surely better than no waiting at all.
///
/// `before` is the result of the previous fit. Its slots stay until another candidate is clearly better, or until they no
/// longer explain the requests clearly better than no waiting at all.
pub(super) fn select(
    before: &SlotFit,
    window: &VecDeque<ObservedRequest>,
    releases: &PerSpan<Releases>,
    ends: &EndRanks,
    sign: TurnSign,
) -> SlotFit {
    let current = before.slots;
    let most = most_in_service(window, sign).unwrap_or(1);
    let largest = current.map_or(0, |current| current.count).max(most + CANDIDATES_ABOVE);
    let since = current.map_or(0.0, |current| current.since);
    let data = SlotFitData::new(window, releases, sign, largest, since);
    let Some(no_waiting) = data.errors(SlotTrial::NO_WAITING) else {
        return *before;
    };
    let fewest = if sign == TurnSign::End { ends.fewest_slots() } else { 1 };
    let candidates = SlotCandidates { data: &data, releases, fewest };
    let LeastErrors { explaining, other } = candidates.with_least_errors(most);
    let still_valid = current.and_then(|current| candidates.current(&current, &no_waiting));
    // The time from the turn to the end depends on the length of the response. So its order has to show the slots.
    let is_limited = |best: &SlotCandidate| {
        sign == TurnSign::FirstOutput
            || best.quality.error_ratio <= MAX_ERROR_RATIO
            || ends.show_limit(best.slots.count)
    };
    let accepted = explaining.filter(|best| {
        best.errors.is_surely_better_than(&no_waiting)
            && is_limited(best)
            && other.as_ref().is_none_or(|other| best.errors.total < other.errors.total)
    });
    let selected = match (still_valid, accepted) {
        (Some(current), Some(best)) if best.replaces(&current) => Some(best),
        (current, best) => current.or(best),
    };
    let Some(SlotCandidate { slots, errors, quality }) = selected else {
        let other = other.filter(|other| other.errors.is_surely_better_than(&no_waiting));
        let quality = other.map(|other| other.quality);
        return SlotFit { slots: None, quality, ..*before };
    };
    if sign == TurnSign::End && data.is_slower_in_company(&errors) {
        return SlotFit { slots: None, quality: Some(quality), ..*before };
    }
    let serves_abandoned = data.serves_abandoned(&errors, before.serves_abandoned);
    if serves_abandoned {
        return SlotFit { slots: None, quality: Some(quality), serves_abandoned };
    }
    let SlotTrial { span, count, in_steps } = slots;
    let model = SlotModel {
        span,
        count,
        since,
        step_seconds: data.step_seconds(slots).filter(|_| in_steps),
        holding_seconds: errors.holding_seconds,
        path_seconds: data.path_seconds(&errors),
    };
    SlotFit { slots: Some(model), quality: Some(quality), serves_abandoned }
}

/// A number of slots, with its errors.
struct SlotCandidate {
    slots: SlotTrial,
    errors: FitErrors,
    quality: FitQuality,
}

impl SlotCandidate {
    /// Whether these slots are clearly better than the current ones.
    fn replaces(&self, current: &Self) -> bool {
        // In steps, the numbers of slots that are not contradicted have similar errors.
        let are_both_in_steps = self.slots.in_steps && current.slots.in_steps;
        are_both_in_steps || self.errors.total < current.errors.total * REPLACE_ERROR_PART
    }
}

/// The candidates with the least errors.
#[derive(Default)]
struct LeastErrors {
    /// The best candidate that explains the requests.
    explaining: Option<SlotCandidate>,
    /// The best other candidate.
    other: Option<SlotCandidate>,
}

/// The candidates of one fit.
struct SlotCandidates<'a> {
    data: &'a SlotFitData,
    releases: &'a PerSpan<Releases>,
    /// Smallest number of slots.
    fewest: usize,
}

impl SlotCandidates<'_> {
    /// `None` if the candidate is impossible.
    fn get(&self, slots: SlotTrial) -> Option<SlotCandidate> {
        let errors = self.data.errors(slots)?;
        let most = match (slots.in_steps, slots.span) {
            (true, _) => MAX_PROMPT_ERROR_RATIO_IN_STEPS,
            (false, SlotSpan::Prefill) => MAX_PROMPT_ERROR_RATIO,
            (false, SlotSpan::Response) => f64::INFINITY,
        };
        if errors.prompt_error_ratio() > most {
            return None;
        }
        let quality = errors.quality();
        Some(SlotCandidate { slots, errors, quality })
    }

    /// Whether the slots explain the requests well enough to be used.
    fn explain(&self, one: &SlotCandidate) -> bool {
        let FitQuality { contradicted_ratio, error_ratio } = one.quality;
        match self.data.sign {
            TurnSign::FirstOutput => {
                contradicted_ratio <= MAX_CONTRADICTED_RATIO && error_ratio <= MAX_ERROR_RATIO
            }
            TurnSign::End => contradicted_ratio <= MAX_CONTRADICTED_RATIO_IN_ORDER,
        }
    }

    /// The candidates with the least errors. `most`: largest number of requests in service at once.
    fn with_least_errors(&self, most: usize) -> LeastErrors {
        let of = |span| move |count| self.get(SlotTrial { span, count, in_steps: false });
        let mut least = LeastErrors::default();
        let responses =
            most.saturating_sub(CANDIDATES_BELOW).max(self.fewest)..=most + CANDIDATES_ABOVE;
        for one in responses.filter_map(of(SlotSpan::Response)) {
            self.consider(one, &mut least);
        }
        if self.data.sign == TurnSign::FirstOutput {
            if let Some(in_steps) = least.explaining.as_ref().and_then(|best| self.in_steps(best)) {
                least.explaining = Some(in_steps);
            }
            for one in (1..=MAX_PREFILL_SLOTS).filter_map(of(SlotSpan::Prefill)) {
                self.consider(one, &mut least);
            }
        }
        least
    }

    fn consider(&self, one: SlotCandidate, least: &mut LeastErrors) {
        let least = if self.explain(&one) { &mut least.explaining } else { &mut least.other };
        let is_better = |least: &SlotCandidate| match self.data.sign {
            TurnSign::FirstOutput => one.errors.total < least.errors.total,
            // Fewer slots come first. More explain the ends of responses nearly as well, if fewer are not contradicted.
            TurnSign::End => {
                one.errors.waited.contradicted < least.errors.waited.contradicted
                    || one.errors.total < least.errors.total * REPLACE_ERROR_PART
            }
        };
        if least.as_ref().is_none_or(is_better) {
            *least = Some(one);
        }
    }

    /// The slots of a server that works in steps, near these slots. `None` unless its error is surely less than without
    /// steps.
    fn in_steps(&self, slots: &SlotCandidate) -> Option<SlotCandidate> {
        let with = |count: usize| {
            let in_steps = self.get(SlotTrial { count, in_steps: true, ..slots.slots })?;
            Some(in_steps).filter(|one| self.explain(one))
        };
        let mut fewest = with(slots.slots.count)
            .filter(|in_steps| in_steps.errors.is_surely_better_than(&slots.errors))
            .filter(|_| self.data.show_steps(self.releases))?;
        // More slots than the server has explain the requests nearly as well, because prompts wait in any case. Fewer are
        // contradicted.
        for count in (1..fewest.slots.count).rev().take(CANDIDATES_ABOVE) {
            let is_as_good = |fewer: &SlotCandidate| {
                fewer.quality.contradicted_ratio <= MAX_CONTRADICTED_RATIO_IN_ORDER
                    && fewest.errors.total > fewer.errors.total * FEWER_ERROR_PART
            };
            let Some(fewer) = with(count).filter(is_as_good) else { break };
            fewest = fewer;
        }
        Some(fewest)
    }

    /// The current slots, if they still explain the requests.
    fn current(&self, slots: &SlotModel, no_waiting: &FitErrors) -> Option<SlotCandidate> {
        let SlotModel { span, count, step_seconds, .. } = *slots;
        let current = self.get(SlotTrial { span, count, in_steps: step_seconds.is_some() })?;
        let is_valid = count >= self.fewest
            && self.explain(&current)
            && current.errors.is_still_better_than(no_waiting);
        is_valid.then_some(current)
    }
}
