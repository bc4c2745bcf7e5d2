//! What is still usual, where now and then something takes very long.

use std::collections::VecDeque;

/// Most values that are remembered.
const KEPT: usize = 256;
/// Fewest values that anything is said of.
pub(super) const LEAST: usize = 20;
/// The part of the values that is taken for their tail.
const TAIL: f64 = 0.2;
/// So many of those taken for cold are unusual; a server that is scaled to zero at night has one a day.
const UNUSUAL: usize = 16;
/// How seldom the limit is to be passed by chance.
const CHANCE: f64 = 1e-7;

/// How far requests of a warm model were off its baseline: `ln(TTFT / expected)`.
#[derive(Debug, Default)]
pub(super) struct TtftResiduals {
    kept: VecDeque<f32>,
    pushed: usize,
    /// What `pushed` was when those came that were taken for cold.
    cold: VecDeque<usize>,
}

impl TtftResiduals {
    pub fn push(&mut self, residual: f64) {
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(residual as f32);
        self.pushed += 1;
    }

    /// This one was taken for cold, and is not remembered: one load must not hide the next. But what comes again
    /// and again among as many as are remembered is usual: a prompt that finds nothing cached where most do takes as
    /// long.
    pub fn push_cold(&mut self, residual: f64) {
        self.cold.retain(|at| self.pushed.saturating_sub(*at) < KEPT);
        if self.cold.len() >= UNUSUAL {
            self.push(residual);
        } else {
            self.cold.push_back(self.pushed);
        }
    }

    /// What no warm request passes, or one in ten million does; `None` while too few are known.
    ///
    /// It is the larger of two: `ln 3` above the largest that was seen; and where the tail of those that were
    /// seen comes to one in ten million, if it goes on as it does (an exponential tail here is one by a power
    /// law of TTFT; its index is Hill's estimate, 1975, and the limit Weissman's, 1978). For times that
    /// scatter little, as those of one idle server do, both are small.
    pub fn limit(&self) -> Option<f64> {
        let count = self.kept.len();
        if count < LEAST {
            return None;
        }
        let mut sorted: Vec<f64> = self.kept.iter().map(|residual| f64::from(*residual)).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let largest = *sorted.first()?;
        let tail = ((count as f64 * TAIL) as usize).max(5);
        let least = *sorted.get(tail)?;
        let excess = sorted.iter().take(tail).map(|one| one - least).sum::<f64>() / tail as f64;
        let steps = (tail as f64 / count as f64 / CHANCE).ln();
        Some((largest + 3f64.ln()).max(least + excess * steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_scatter_has_a_near_limit_and_much_a_far_one() {
        let mut residuals = TtftResiduals::default();
        assert_eq!(residuals.limit(), None);
        (0..LEAST).for_each(|_| residuals.push(0.0));
        assert_eq!(residuals.limit(), Some(3f64.ln()));
        // Exponential with mean 0.1: all quantiles of it.
        let mut residuals = TtftResiduals::default();
        (1..=KEPT).for_each(|at| residuals.push(-0.1 * (at as f64 / 257.0).ln()));
        let limit = residuals.limit().unwrap();
        let exact = -0.1 * CHANCE.ln();
        assert!((exact * 0.9..exact * 1.15).contains(&limit), "{limit} for {exact}");
        // What was long ago is forgotten.
        (0..KEPT).for_each(|_| residuals.push(0.0));
        assert_eq!(residuals.limit(), Some(3f64.ln()));
    }
}
