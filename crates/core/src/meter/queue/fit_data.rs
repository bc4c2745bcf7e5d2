//! Requests of a fit, and the errors of candidates for the number of slots over them.

use super::fit_errors::{FitError, FitErrors, MIN_STANDARD_ERRORS, MIN_WAITING};
use super::releases::Releases;
use super::request::{ObservedRequest, PerSpan, SlotSpan, TurnSign, have_token_counts};
use super::slots::{INSTANT_ERROR, MAX_LOOKBACK, MAX_PREFILL_SLOTS, prompt_turn};
use crate::meter::robust_stats::{ResistantLine, quantile};
use std::collections::VecDeque;

/// Number of standard errors above which a server seems to go on after its clients have left, and above which it still
/// seems to. The first is exceeded by chance in one of a thousand fits.
const ABANDONED_STANDARD_ERRORS: [f64; 2] = [3.0, 1.0];

/// Slots that may explain the requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotTrial {
    pub span: SlotSpan,
    /// Number of slots; `usize::MAX` if nobody waits.
    pub count: usize,
    /// Prompts also wait for those of earlier requests.
    pub in_steps: bool,
}

impl SlotTrial {
    pub const NO_WAITING: Self =
        Self { span: SlotSpan::Response, count: usize::MAX, in_steps: false };
}

/// Requests of one fit, with the releases that each may have waited for.
pub(super) struct SlotFitData {
    pub sign: TurnSign,
    /// As in [`SlotModel`](super::SlotModel).
    since: f64,
    /// In ascending order of their sizes.
    requests: Vec<FitRequest>,
    /// For one request after the other, the last releases before its first output, as far back as a candidate needs.
    releases: PerSpan<Vec<f64>>,
}

/// One request of a fit.
pub(super) struct FitRequest {
    size: f64,
    pub sent: f64,
    /// First output, or the end of a response that is not streamed.
    pub output: f64,
    ended: f64,
    earlier_when_sent: PerSpan<usize>,
    earlier_at_output: PerSpan<usize>,
    /// Instant from which no earlier prompt was before this one.
    prompt_turn: f64,
    /// As in [`ObservedRequest`].
    abandoned: u64,
    /// Index of its first entry in the releases.
    releases_at: PerSpan<usize>,
}

/// Largest number of requests in service at once: the 98 % quantile, because a few requests are taken in another order
/// than they were sent.
pub(super) fn most_in_service(window: &VecDeque<ObservedRequest>, sign: TurnSign) -> Option<usize> {
    let in_service = |one: &ObservedRequest| (one.earlier_at_output.response + 1) as f64;
    let requests = window.iter().filter(|one| one.turn_sign() == sign);
    let mut in_service: Vec<f64> = requests.map(in_service).collect();
    quantile(&mut in_service, 0.98).map(|most| most as usize)
}

impl SlotFitData {
    /// Collects the requests with this sign, and releases for candidates of up to `largest`.
    pub fn new(
        window: &VecDeque<ObservedRequest>,
        releases: &PerSpan<Releases>,
        sign: TurnSign,
        largest: usize,
        since: f64,
    ) -> Self {
        let largest = PerSpan { prefill: MAX_PREFILL_SLOTS, response: largest };
        let requests = || window.iter().filter(|one| one.turn_sign() == sign);
        let in_tokens = have_token_counts(requests().map(|one| one.tokens));
        let mut by_size: Vec<(f64, &ObservedRequest)> =
            requests().filter_map(|one| Some((one.size(in_tokens)?, one))).collect();
        by_size.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut data = Self { sign, since, requests: Vec::new(), releases: PerSpan::default() };
        for (size, one) in by_size {
            let output = one.latest_turn();
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
                let back = releases.get(span).earlier_backwards(output, one, MAX_LOOKBACK);
                collected.get_mut(span).extend(back.take(needed));
                collected.get(span).len() - releases_at.get(span) == needed
            };
            if collect(SlotSpan::Prefill) && collect(SlotSpan::Response) {
                let ObservedRequest { sent, ended, earlier_when_sent, abandoned, .. } = *one;
                data.requests.push(FitRequest {
                    prompt_turn: prompt_turn(one, releases),
                    size,
                    sent,
                    output,
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

    /// Instant of the turn of a request, and whether it waited. `None` if it had output before its turn.
    fn slot_turn(&self, request: &FitRequest, slots: SlotTrial) -> Option<(f64, bool)> {
        let SlotTrial { span, count, .. } = slots;
        if *request.earlier_when_sent.get(span) < count {
            return Some((request.sent, false));
        }
        let back = count.checked_sub(request.earlier_at_output.get(span) + 1)?;
        let releases = self.releases.get(span);
        let at = releases.get(request.releases_at.get(span) + back)?;
        Some((at.max(self.since), true))
    }

    /// Whether outputs come together with outputs and ends of other requests, more often than by chance: at the end of a
    /// step. The chance is that of the time just before and after.
    pub fn show_steps(&self, releases: &PerSpan<Releases>) -> bool {
        let PerSpan { prefill, response } = releases;
        let count = |from, to| prefill.count_between(from, to) + response.count_between(from, to);
        let (mut together, mut by_chance) = (0.0, 0.0);
        let [near, far] = [2.0, 12.0].map(|part| part * INSTANT_ERROR);
        for FitRequest { output: at, .. } in &self.requests {
            // The output itself is one of them.
            together += f64::from(count(at - INSTANT_ERROR, at + INSTANT_ERROR) > 1);
            let beside = count(at - far, at - near) + count(at + near, at + far);
            by_chance += beside as f64 * INSTANT_ERROR / (far - near);
        }
        together - by_chance > MIN_STANDARD_ERRORS * f64::sqrt(by_chance + 1.0)
    }

    /// Duration of a step, in seconds, if prompts wait for those before them: the lower quartile of the time from the
    /// first output before to the own one. Short prompts need one step.
    pub fn step_seconds(&self, slots: SlotTrial) -> Option<f64> {
        let time = |request: &FitRequest| {
            let (at, _) = self.slot_turn(request, slots)?;
            let waits = request.prompt_turn > at + INSTANT_ERROR;
            waits.then_some(request.output - request.prompt_turn)
        };
        let mut times: Vec<f64> = self.requests.iter().filter_map(time).collect();
        times.truncate(times.len().div_ceil(2));
        quantile(&mut times, 0.75)
    }

    /// Errors of a candidate. `None` if it is impossible: most requests had output before their turn.
    pub fn errors(&self, slots: SlotTrial) -> Option<FitErrors> {
        let turn = |request: &FitRequest| {
            let (at, waited) = self.slot_turn(request, slots)?;
            let waits_for_prompts = slots.in_steps && request.prompt_turn > at;
            Some(if waits_for_prompts { (request.prompt_turn, true) } else { (at, waited) })
        };
        let turns: Vec<Option<(f64, bool)>> = self.requests.iter().map(turn).collect();
        let mut points = Vec::with_capacity(turns.len());
        let mut total_holding = 0.0;
        for (request, turn) in self.requests.iter().zip(&turns) {
            if let Some((at, _)) = turn {
                points.push((request.size, request.output - at));
                total_holding += match slots.span {
                    SlotSpan::Response => request.ended - at,
                    SlotSpan::Prefill => request.output - at,
                };
            }
        }
        if points.len() * 2 < turns.len() {
            return None;
        }
        let line = ResistantLine::through(&points, &mut Vec::with_capacity(points.len()))?;
        let holding_seconds = total_holding / points.len().max(1) as f64;
        let mut errors = FitErrors::new(self.sign, holding_seconds, turns.len());
        for (request, turn) in self.requests.iter().zip(&turns) {
            let found = *request.earlier_when_sent.get(slots.span);
            let in_order = slots.count as f64 / (found + 1) as f64;
            errors.add(request, *turn, line.at(request.size), in_order);
        }
        Some(errors)
    }

    /// Time on the way into and out of the server, in seconds: the difference of the median errors of lone requests and of
    /// requests that waited.
    ///
    /// A request that waits has its way in behind it, and the end of the response before it already includes the way
    /// out. Its first output therefore comes sooner after its turn than that of a lone request after its sending. 0
    /// unless the difference is certain.
    pub fn path_seconds(&self, errors: &FitErrors) -> f64 {
        let is_lone = |request: &FitRequest| request.earlier_when_sent.response == 0;
        let lone = self.late(errors, |request, _| is_lone(request));
        let waited = self.late(errors, |_, error| error.waited);
        certain_shift(lone, waited, MIN_STANDARD_ERRORS).unwrap_or(0.0)
    }

    /// Whether requests with company take longer than lone ones, although the slots leave them no wait or explain it.
    pub fn is_slower_in_company(&self, errors: &FitErrors) -> bool {
        let is_lone = |request: &FitRequest| request.earlier_when_sent.response == 0;
        let lone = self.late(errors, |request, _| is_lone(request));
        let others = self.late(errors, |request, _| !is_lone(request));
        lone.len() >= MIN_WAITING && certain_shift(others, lone, MIN_STANDARD_ERRORS).is_some()
    }

    /// Whether the server goes on after its client has left: requests behind such a request are later.
    pub fn serves_abandoned(&self, errors: &FitErrors, did_before: bool) -> bool {
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
