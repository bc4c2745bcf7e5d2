//! Errors of a candidate for the number of slots, and their comparison with those of another.

use super::estimate::FitQuality;
use super::fit_data::FitRequest;
use super::request::TurnSign;

/// Number of requests that must wait according to a candidate before it is accepted.
pub(super) const MIN_WAITING: usize = 5;
/// Accepted candidates have less than this part of the error of the explanation that nobody waits.
const MAX_ERROR_PART: f64 = 0.8;
/// An accepted candidate stays while it has less than this part of that error.
const MAX_ERROR_PART_TO_STAY: f64 = 0.9;
/// Responses that are not streamed show an order if this many of them would contradict it by chance: without an order, less
/// than one in a hundred servers has no contradiction then.
const MIN_BY_CHANCE: f64 = 5.0;
/// Number of standard errors by which a difference must be above 0.
pub(super) const MIN_STANDARD_ERRORS: f64 = 3.0;

/// Errors of one candidate.
pub(super) struct FitErrors {
    sign: TurnSign,
    /// Errors in the order of the requests.
    pub each: Vec<FitError>,
    /// Sum of the absolute errors, in seconds.
    pub total: f64,
    /// Mean time for which a slot is held, in seconds.
    pub holding_seconds: f64,
    pub waited: WaitedErrors,
}

/// Sums over the requests that waited, according to a candidate. Times are in seconds.
#[derive(Clone, Copy, Default)]
pub(super) struct WaitedErrors {
    pub count: usize,
    /// Number of requests that had output before their turn.
    pub contradicted: usize,
    /// Absolute errors.
    error: f64,
    /// Times to first output.
    ttft: f64,
    /// Expected number of contradicted requests if the server takes requests in any order.
    contradicted_by_chance: f64,
    /// Absolute errors, and times from the turn to the first output, without the contradicted requests.
    pub prompt_error: f64,
    pub prompt: f64,
}

/// Error of one candidate for one request.
#[derive(Clone, Copy)]
pub(super) struct FitError {
    /// Seconds from the expected to the observed first output; negative if it was early.
    pub late: f64,
    /// Whether the request waited, according to the candidate.
    pub waited: bool,
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
    /// Creates errors without any request.
    pub fn new(sign: TurnSign, holding_seconds: f64, capacity: usize) -> Self {
        let each = Vec::with_capacity(capacity);
        Self { sign, each, total: 0.0, holding_seconds, waited: WaitedErrors::default() }
    }

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

    pub fn is_surely_better_than(&self, other: &Self) -> bool {
        let ErrorComparison { requests, own_sum, other_sum, mean_gain, standard_error } =
            self.compare(other);
        let is_shown = match self.sign {
            TurnSign::FirstOutput => own_sum < MAX_ERROR_PART * other_sum,
            // The lengths of responses make most of the error. Their order shows more.
            TurnSign::End => self.waited.contradicted_by_chance >= MIN_BY_CHANCE,
        };
        requests >= MIN_WAITING && is_shown && mean_gain > MIN_STANDARD_ERRORS * standard_error
    }

    /// Whether an accepted candidate still explains the requests. Without requests that wait, nothing speaks against it.
    pub fn is_still_better_than(&self, other: &Self) -> bool {
        let ErrorComparison { requests, own_sum, other_sum, .. } = self.compare(other);
        let max_part = match self.sign {
            TurnSign::FirstOutput => MAX_ERROR_PART_TO_STAY,
            TurnSign::End => 1.0,
        };
        requests < MIN_WAITING || own_sum < max_part * other_sum
    }

    /// Error as a part of the time from the turn to the output, over the requests that waited and had output after their
    /// turn. It is small if this time depends on the prompt.
    pub fn prompt_error_ratio(&self) -> f64 {
        ratio(self.waited.prompt_error, self.waited.prompt)
    }

    /// Adds a request with its turn, and whether it waited. `turn` is `None` if it had output before its turn. `in_order`:
    /// probability that a server without an order lets it end after its turn.
    pub fn add(
        &mut self,
        request: &FitRequest,
        turn: Option<(f64, bool)>,
        expected: f64,
        in_order: f64,
    ) {
        let (late, waited) = match turn {
            Some((at, waited)) => (request.output - at - expected, waited),
            // Output before the turn contradicts the candidate, so it counts more than output at the turn.
            None => (-2.0 * expected, true),
        };
        self.total += late.abs();
        self.each.push(FitError { late, waited });
        if waited {
            let sums = &mut self.waited;
            sums.count += 1;
            sums.contradicted_by_chance += 1.0 - in_order;
            sums.error += late.abs();
            sums.ttft += request.output - request.sent;
            match turn {
                Some((at, _)) => {
                    sums.prompt_error += late.abs();
                    sums.prompt += request.output - at;
                }
                None => sums.contradicted += 1,
            }
        }
    }

    pub fn quality(&self) -> FitQuality {
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
