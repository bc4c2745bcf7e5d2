//! Longest usual time of a warm request, if a few requests take very long.
//!
//! A request is suspected of a cold start only if it is slower than this limit. Times of LLM servers scatter widely, so a
//! fixed factor would either miss cold starts or report false ones.

use std::collections::VecDeque;

/// Number of values that are remembered.
const MAX_VALUES: usize = 256;
/// Smallest number of values that give a limit.
pub(super) const MIN_SAMPLES: usize = 20;
/// Part of the values that is the tail.
const TAIL_PART: f64 = 0.2;
/// Number of cold requests, among the remembered number of requests, that is still unusual. A server that is scaled to
/// zero at night has one a day.
const MAX_UNUSUAL: usize = 16;
/// Probability that a warm request exceeds the limit.
const EXCESS_PROBABILITY: f64 = 1e-7;

/// Residuals of requests to a warm model: `ln(TTFT / expected)`.
#[derive(Debug, Default)]
pub(super) struct TtftResiduals {
    values: VecDeque<f32>,
    /// Number of values so far.
    count: usize,
    /// `count` at the time of each request that was taken for cold.
    cold_at: VecDeque<usize>,
}

impl TtftResiduals {
    /// Adds the residual of a warm request.
    pub fn push(&mut self, residual: f64) {
        if self.values.len() >= MAX_VALUES {
            self.values.pop_front();
        }
        self.values.push_back(residual as f32);
        self.count += 1;
    }

    /// Adds the residual of a request that was taken for cold.
    ///
    /// It is not remembered at first, because one load must not hide the next. If there are many of them, they are
    /// usual and are remembered: for example prompts without a cached prefix, where most prompts have one.
    pub fn push_cold(&mut self, residual: f64) {
        self.cold_at.retain(|at| self.count.saturating_sub(*at) < MAX_VALUES);
        if self.cold_at.len() >= MAX_UNUSUAL {
            self.push(residual);
        } else {
            self.cold_at.push_back(self.count);
        }
    }

    /// Residual that one in ten million warm requests exceeds. `None` while there are fewer than 20 values.
    ///
    /// It is the larger of two limits:
    ///
    /// - the largest value so far, plus `ln 3`;
    /// - the quantile of one in ten million, extrapolated from the tail of the values. The tail is taken to be
    ///   exponential, which corresponds to a power law of TTFT. Its index is the estimate of B. M. Hill (1975), and the
    ///   quantile that of I. Weissman (1978).
    ///
    /// Both are small if the times scatter little, as on an idle server.
    pub fn limit(&self) -> Option<f64> {
        let count = self.values.len();
        if count < MIN_SAMPLES {
            return None;
        }
        let mut sorted: Vec<f64> =
            self.values.iter().map(|residual| f64::from(*residual)).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let largest = *sorted.first()?;
        let tail = ((count as f64 * TAIL_PART) as usize).max(5);
        let threshold = *sorted.get(tail)?;
        let excess = sorted.iter().take(tail).map(|one| one - threshold).sum::<f64>() / tail as f64;
        let steps = (tail as f64 / count as f64 / EXCESS_PROBABILITY).ln();
        Some((largest + 3f64.ln()).max(threshold + excess * steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_with_the_scatter() {
        let mut residuals = TtftResiduals::default();
        assert_eq!(residuals.limit(), None);
        (0..MIN_SAMPLES).for_each(|_| residuals.push(0.0));
        assert_eq!(residuals.limit(), Some(3f64.ln()));
        // All quantiles of an exponential distribution with mean 0.1.
        let mut residuals = TtftResiduals::default();
        (1..=MAX_VALUES).for_each(|at| residuals.push(-0.1 * (at as f64 / 257.0).ln()));
        let limit = residuals.limit().unwrap();
        let exact = -0.1 * EXCESS_PROBABILITY.ln();
        assert!((exact * 0.9..exact * 1.15).contains(&limit), "{limit} for {exact}");
        // Old values are forgotten.
        (0..MAX_VALUES).for_each(|_| residuals.push(0.0));
        assert_eq!(residuals.limit(), Some(3f64.ln()));
    }
}
