//! Statistics for paired measurements.

/// Returns the value with the share `q` of `sorted` below it.
pub fn quantile(sorted: &[u64], q: f64) -> Option<u64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * q).round() as usize).copied()
}

/// Returns the median; for an even number of values, the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// A median with a distribution-free interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianEstimate {
    /// Median of the values.
    pub median: f64,
    /// Lower end of the interval, one of the values.
    pub low: f64,
    /// Upper end of the interval, one of the values.
    pub high: f64,
    /// Probability that the interval contains the true median.
    pub confidence: f64,
}

/// Computes the narrowest pair of order statistics with at least 95 % confidence. With fewer than 6 values there is none;
/// the result is then the minimum and maximum with their confidence.
pub fn estimate(values: &[f64]) -> Option<MedianEstimate> {
    let median = median(values)?;
    let sorted = sorted(values);
    let count = sorted.len();
    let mut best = None;
    // The pair excludes `cut` values at each end. A value is below the median with probability 1/2, so the median is
    // outside of the pair with twice the probability of at most `cut` heads in `count` coin tosses.
    let mut heads = 0.5_f64.powi(i32::try_from(count).ok()?);
    let mut outside = 0.0;
    for cut in 0..count.div_ceil(2) {
        outside += 2.0 * heads;
        heads *= (count - cut) as f64 / (cut + 1) as f64;
        let confidence = (1.0 - outside).max(0.0);
        if cut == 0 || confidence >= 0.95 {
            let (low, high) = (sorted[cut], sorted[count - 1 - cut]);
            best = Some(MedianEstimate { median, low, high, confidence });
        }
    }
    best
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1, 2, 3], 0.5), Some(2));
        assert_eq!(quantile(&[1, 2, 3], 1.0), Some(3));
    }

    #[test]
    fn intervals_equal_published_tables() {
        let first = |count: usize| (0..count).map(|value| value as f64).collect::<Vec<_>>();
        // Number of values, excluded values at each end, confidence, from tables of the sign test.
        let table = [(1, 0, 0.0), (5, 0, 0.9375), (6, 0, 0.96875), (9, 1, 0.9609), (20, 5, 0.9586)];
        for (count, cut, confidence) in table {
            let estimated = estimate(&first(count)).unwrap();
            assert_eq!(
                (estimated.low, estimated.high),
                (cut as f64, (count - 1 - cut) as f64),
                "{count}"
            );
            assert!((estimated.confidence - confidence).abs() < 1e-4, "{count}: {estimated:?}");
        }
        assert_eq!(estimate(&[]), None);
    }
}
