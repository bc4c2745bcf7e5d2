//! How long a lone request to a loaded model takes, and how slow it can be.
//!
//! The times are compared with a line through the usual ones: `base + slope * size`. Loads form a mode of their own in the
//! distribution of `ln(time / expected)`. The mode is far above the times of a loaded model, with nothing in between. A
//! second mode alone does not show loads, because prompts without a cached prefix form one too. It consists of loads if its
//! requests are those that may have found the model unloaded, and hardly any others. How often they occur does not matter.

use crate::meter::bounded::push_bounded;
use crate::meter::robust_stats::ResistantLine;
use std::collections::VecDeque;

/// Number of requests that are remembered.
const MAX_VALUES: usize = 256;
/// Smallest number of requests that show what is usual.
pub(super) const MIN_SAMPLES: usize = 20;
/// Largest number of requests between two fits,
const REFIT_EVERY: usize = 16;
/// and largest part of the requests so far: the first lines can include loads.
const REFIT_PART: usize = 8;
/// Part of the values that is the tail.
const TAIL_PART: f64 = 0.2;
/// Probability that a warm request exceeds the limit.
const EXCESS_PROBABILITY: f64 = 1e-7;
/// Ratio of the smallest time of a mode to the largest of the mode below.
const MODE_GAP: f64 = 3.0;
/// Largest ratio of two times in one mode of loads. Longer and shorter loads, as from a disk and from memory, are modes of
/// their own.
const MAX_MODE_RATIO: f64 = 3.0;
/// Values above a mode are loads if they are this many times as frequent among the suspect requests as among the others.
const SUSPECT_RATIO: f64 = 4.0;
/// Smallest part of the shortest document that the time to its first output can be, and of the usual one: the time per
/// token is not exact.
const MIN_BASE_PART: f64 = 0.1;

/// How a response arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ResponseShape {
    /// A stream: its time ends with the first output, and its size is that of the request in bytes.
    #[default]
    Stream,
    /// Anything else: one document, whose first byte arrives when the last token is generated. Its size is the number of
    /// output tokens, or that of the request in bytes if the server counts no tokens (embeddings).
    Document,
}

/// Times of requests that had the server for themselves.
#[derive(Debug)]
pub(super) struct LoneTimes {
    shape: ResponseShape,
    newest: VecDeque<LoneTime>,
    usual: Option<(UsualTime, UsualResiduals)>,
    unfitted: usize,
}

#[derive(Debug, Clone, Copy)]
struct LoneTime {
    size: f32,
    seconds: f32,
    /// The request may have found its model unloaded.
    is_suspect: bool,
}

#[derive(Debug, Clone, Copy)]
struct LoneResidual {
    value: f64,
    time: LoneTime,
}

/// Usual time of a request to a loaded model, by its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct UsualTime {
    shape: ResponseShape,
    line: ResistantLine,
    largest: f64,
}

impl UsualTime {
    /// Usual time to the first output, in seconds. Attention is quadratic in the length of the prompt: beyond the largest
    /// one so far, the time of a stream is taken to grow with the square of its size.
    pub fn seconds(&self, size: f64) -> f64 {
        let Self { line, largest, .. } = self;
        match self.shape {
            ResponseShape::Stream => line.at(size) * (size / largest.max(1.0)).max(1.0).powi(2),
            ResponseShape::Document => line.base.max(MIN_BASE_PART * line.min),
        }
    }

    /// Time from the first output to the first byte, in seconds.
    pub fn after_output(&self, size: f64) -> f64 {
        match self.shape {
            ResponseShape::Stream => 0.0,
            ResponseShape::Document => self.line.slope * size,
        }
    }

    /// Time to the first output of a response of this size that took this long, in seconds.
    pub fn until_output(&self, size: f64, seconds: f64) -> f64 {
        (seconds - self.after_output(size)).max(MIN_BASE_PART * self.seconds(size))
    }

    /// `ln(observed / usual)`.
    pub fn residual(&self, size: f64, seconds: f64) -> f64 {
        (self.until_output(size, seconds) / self.seconds(size)).ln()
    }
}

/// Usual residuals of a loaded model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct UsualResiduals {
    /// Median.
    pub center: f64,
    /// Value that one in ten million warm requests exceeds.
    pub limit: f64,
}

impl LoneTimes {
    pub fn new(shape: ResponseShape) -> Self {
        Self { shape, newest: VecDeque::new(), usual: None, unfitted: 0 }
    }

    /// Adds the time of a request of this size. `is_suspect`: it may have found its model unloaded.
    pub fn push(&mut self, size: f64, seconds: f64, is_suspect: bool) {
        let (size, seconds) = (size as f32, seconds as f32);
        push_bounded(&mut self.newest, LoneTime { size, seconds, is_suspect }, MAX_VALUES);
        self.unfitted += 1;
        let is_enough = self.newest.len() >= MIN_SAMPLES;
        if is_enough && self.unfitted >= REFIT_EVERY.min(self.newest.len() / REFIT_PART) {
            self.unfitted = 0;
            self.fit();
        }
    }

    /// Usual time, and how far a warm request can be from it, at the last fit. `None` until there are 20 requests.
    pub fn usual(&self) -> Option<(UsualTime, UsualResiduals)> {
        self.usual
    }

    /// Whether there are enough requests that found their model loaded, to compare the others with.
    pub fn has_unsuspected(&self) -> bool {
        self.newest.iter().filter(|one| !one.is_suspect).count() >= MIN_SAMPLES
    }

    /// Fits the line to the usual times. The last line shows which times are usual. It can include loads from before they
    /// formed a mode, so the times alone are tried too. The line with the smaller scatter is better.
    fn fit(&mut self) {
        let by_time = self.line_through_usual(|_, seconds| seconds.ln());
        let by_line = self.usual.and_then(|(usual, _)| {
            self.line_through_usual(|size, seconds| usual.residual(size, seconds))
        });
        let both = [by_line, by_time].into_iter().flatten();
        let judged = both.filter_map(|usual| Some((usual, self.residuals(&usual)?)));
        let scatter = |one: &(UsualTime, UsualResiduals)| one.1.limit - one.1.center;
        self.usual = judged.min_by(|a, b| scatter(a).total_cmp(&scatter(b)));
    }

    fn line_through_usual(&self, residual: impl Fn(f64, f64) -> f64) -> Option<UsualTime> {
        let sorted = self.descending(residual);
        let usual = sorted.get(first_usual(&sorted)..)?;
        let point = |one: &LoneResidual| (f64::from(one.time.size), f64::from(one.time.seconds));
        let mut points: Vec<_> = usual.iter().map(point).collect();
        points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let largest = points.last()?.0;
        let line = ResistantLine::through(&points, &mut Vec::new())?;
        Some(UsualTime { shape: self.shape, line, largest })
    }

    fn descending(&self, residual: impl Fn(f64, f64) -> f64) -> Vec<LoneResidual> {
        let residual = |time: &LoneTime| LoneResidual {
            value: residual(time.size.into(), time.seconds.into()),
            time: *time,
        };
        let mut sorted: Vec<LoneResidual> = self.newest.iter().map(residual).collect();
        sorted.sort_unstable_by(|a, b| b.value.total_cmp(&a.value));
        sorted
    }

    /// Residuals of a loaded model. `None` while there are fewer than 20.
    ///
    /// The limit is the larger of two:
    ///
    /// - the largest usual value, plus `ln 3`;
    /// - the quantile of one in ten million, extrapolated from the tail of the usual values. The tail is taken to be
    ///   exponential, which corresponds to a power law of the times. Its index is the estimate of B. M. Hill (1975), and
    ///   the quantile that of I. Weissman (1978).
    ///
    /// Both are small if the times scatter little, as on an idle server.
    fn residuals(&self, usual: &UsualTime) -> Option<UsualResiduals> {
        let sorted = self.descending(|size, seconds| usual.residual(size, seconds));
        let usual =
            sorted.get(first_usual(&sorted)..).filter(|usual| usual.len() >= MIN_SAMPLES)?;
        let at = |rank: usize| usual.get(rank).map(|one| one.value);
        let count = usual.len();
        let tail = ((count as f64 * TAIL_PART) as usize).max(5);
        let threshold = at(tail)?;
        let excess = usual.iter().take(tail).map(|one| one.value - threshold).sum::<f64>();
        let steps = (tail as f64 / count as f64 / EXCESS_PROBABILITY).ln();
        let limit = (at(0)? + MODE_GAP.ln()).max(threshold + excess / tail as f64 * steps);
        Some(UsualResiduals { center: at(count / 2)?, limit })
    }
}

/// Rank of the first usual value in a descending order: the values before it are a mode, or several, of loads.
fn first_usual(descending: &[LoneResidual]) -> usize {
    let suspects_in_all = descending.iter().filter(|one| one.time.is_suspect).count();
    let others_in_all = descending.len() - suspects_in_all;
    // Without enough other requests, the gap alone separates loads.
    let has_others = others_in_all >= MIN_SAMPLES;
    let is_loads = |suspects: usize, others: usize| {
        // Half a request is added, so that none among few is not taken for never.
        let rate = |count: usize, all: usize| (count as f64 + 0.5) / (all as f64 + 1.0);
        let suspect_rate = suspects as f64 / suspects_in_all.max(1) as f64;
        suspects > 0 && (!has_others || suspect_rate >= SUSPECT_RATIO * rate(others, others_in_all))
    };
    // The lowest gap above which all values are loads.
    let (mut suspects, mut others, mut first) = (0, 0, 0);
    let mut mode_top = descending.first().map_or(0.0, |one| one.value);
    for (at, pair) in descending.windows(2).enumerate() {
        let [upper, lower] = pair else { break };
        if upper.time.is_suspect {
            suspects += 1
        } else {
            others += 1
        }
        let gap = upper.value - lower.value;
        if gap < MODE_GAP.ln() {
            continue;
        }
        // Waits for clients that are not seen have any length, down to the usual times. Loads take about the same time.
        let is_compact = mode_top - upper.value <= gap.min(MAX_MODE_RATIO.ln());
        let is_enough = descending.len() - (at + 1) >= MIN_SAMPLES;
        if is_compact && is_enough && is_loads(suspects, others) {
            first = at + 1;
        }
        mode_top = lower.value;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Residuals(LoneTimes);

    impl Default for Residuals {
        fn default() -> Self {
            Self(LoneTimes::new(ResponseShape::Stream))
        }
    }

    impl Residuals {
        fn push(&mut self, residual: f64, is_suspect: bool) {
            self.0.push(1.0, residual.exp(), is_suspect);
        }

        /// Residuals above a line that is 1 s everywhere.
        fn usual(&self) -> Option<UsualResiduals> {
            let line = ResistantLine { base: 1.0, slope: 0.0, min: 0.0 };
            let shape = ResponseShape::Stream;
            self.0.residuals(&UsualTime { shape, line, largest: 1.0 })
        }
    }

    fn limit(residuals: &Residuals) -> Option<f64> {
        // Seconds are kept in single precision.
        residuals.usual().map(|usual| (usual.limit * 1e6).round() / 1e6)
    }

    fn rounded(value: f64) -> Option<f64> {
        Some((value * 1e6).round() / 1e6)
    }

    #[test]
    fn the_limit_grows_with_the_scatter() {
        let mut residuals = Residuals::default();
        assert_eq!(residuals.usual(), None);
        (0..MIN_SAMPLES).for_each(|_| residuals.push(0.0, false));
        assert_eq!(limit(&residuals), rounded(3f64.ln()));
        // All quantiles of an exponential distribution with mean 0.1.
        let mut residuals = Residuals::default();
        (1..=MAX_VALUES).for_each(|at| residuals.push(-0.1 * (at as f64 / 257.0).ln(), false));
        let found = limit(&residuals).unwrap();
        let exact = -0.1 * EXCESS_PROBABILITY.ln();
        assert!((exact * 0.9..exact * 1.15).contains(&found), "{found} for {exact}");
        // Old values are forgotten.
        (0..MAX_VALUES).for_each(|_| residuals.push(0.0, false));
        assert_eq!(limit(&residuals), rounded(3f64.ln()));
    }

    #[test]
    fn a_mode_of_suspect_requests_does_not_raise_the_limit_however_frequent() {
        for loads in [1, 16, 100, 200] {
            let mut residuals = Residuals::default();
            (0..30).for_each(|_| residuals.push(0.0, false));
            (0..loads).for_each(|_| residuals.push(3.0, true));
            assert_eq!(limit(&residuals), rounded(3f64.ln()), "{loads}");
        }
    }

    #[test]
    fn a_mode_that_other_requests_share_is_usual() {
        let mut residuals = Residuals::default();
        for at in 0..100 {
            residuals.push(if at % 5 == 0 { 3.0 } else { 0.0 }, at % 7 == 0);
        }
        assert!(limit(&residuals) >= Some(2.99 + 3f64.ln()));
    }

    #[test]
    fn suspect_requests_without_a_gap_are_usual() {
        let mut residuals = Residuals::default();
        (0..40).for_each(|_| residuals.push(0.0, false));
        (1..=6).for_each(|at| residuals.push(0.5 * f64::from(at), true));
        assert!(limit(&residuals) >= Some(2.99 + 3f64.ln()));
    }

    #[test]
    fn a_mode_that_scatters_more_than_loads_do_is_usual() {
        let mut residuals = Residuals::default();
        (0..40).for_each(|_| residuals.push(0.0, false));
        [1.9, 2.4, 2.9].into_iter().for_each(|residual| residuals.push(residual, true));
        assert_eq!(limit(&residuals), rounded(3f64.ln()), "narrow");
        residuals.push(3.6, true);
        assert!(limit(&residuals) >= Some(3.59 + 3f64.ln()));
        // Two narrow modes: loads from a disk, and from memory.
        let mut residuals = Residuals::default();
        (0..40).for_each(|_| residuals.push(0.0, false));
        [2.0, 2.1, 4.0, 4.1].into_iter().for_each(|residual| residuals.push(residual, true));
        assert_eq!(limit(&residuals), rounded(3f64.ln()), "two modes");
    }

    #[test]
    fn without_other_requests_the_gap_separates_loads() {
        let mut residuals = Residuals::default();
        (0..60).for_each(|at| residuals.push(if at % 2 == 0 { 0.0 } else { 3.0 }, true));
        let usual = residuals.usual().unwrap();
        assert_eq!((usual.center, usual.limit), (0.0, 3f64.ln()));
    }

    #[test]
    fn a_line_does_not_go_through_loads_however_frequent() {
        let mut times = LoneTimes::new(ResponseShape::Stream);
        for at in 0..90 {
            let size = f64::from(at % 10) * 100.0;
            let load = if at % 3 == 0 { 0.0 } else { 8.0 };
            times.push(size, load + 0.1 + size / 1000.0, at % 3 != 0);
        }
        let usual = times.usual().unwrap().0;
        assert!((usual.seconds(500.0) - 0.6).abs() < 0.01, "{usual:?}");
        assert!((usual.seconds(1800.0) - 4.0 * 1.9).abs() < 0.1, "squared beyond the largest");
    }

    #[test]
    fn the_first_output_of_a_document_is_what_the_tokens_leave() {
        let mut times = LoneTimes::new(ResponseShape::Document);
        (0..19).for_each(|at| times.push(f64::from(at), 0.3 + 0.02 * f64::from(at), false));
        assert!(times.usual().is_none());
        times.push(100.0, 2.3, false);
        let usual = times.usual().unwrap().0;
        assert!((usual.seconds(7.0) - 0.3).abs() < 1e-3, "{usual:?}");
        assert!((usual.until_output(50.0, 9.3) - 8.3).abs() < 1e-3);
        assert!((usual.until_output(50.0, 0.1) - 0.03).abs() < 1e-3);
    }
}
