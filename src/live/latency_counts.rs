//! Counts of latencies in log-spaced buckets: small enough for one per model, quantity and step.

/// Upper edge of the lowest bucket in seconds.
const LOWEST_S: f64 = 0.0001;
/// Number of buckets per doubling.
const PER_DOUBLING: usize = 8;
/// Number of buckets: up to 839 s. The last one has all longer times.
const BUCKETS: usize = 23 * PER_DOUBLING + 1;

/// Counts of latencies. A bucket is 9 % wide; quantiles are interpolated within it.
#[derive(Debug, Clone, Default)]
pub(super) struct LatencyCounts(
    /// Empty until the first sample.
    Vec<u16>,
);

impl LatencyCounts {
    /// Adds a latency in seconds.
    pub fn add(&mut self, seconds: f64) {
        if self.0.is_empty() {
            self.0 = vec![0; BUCKETS];
        }
        if let Some(count) = self.0.get_mut(bucket(seconds)) {
            *count = count.saturating_add(1);
        }
    }

    /// Quantiles of one set of counts.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        quantile_of(&[self], q)
    }

    /// Counts per row of a heatmap, whose rows are `per_row` buckets each.
    pub fn by_rows(&self, per_row: usize) -> Vec<u32> {
        self.0.chunks(per_row).map(|row| row.iter().map(|count| u32::from(*count)).sum()).collect()
    }
}

/// Index of the bucket of a latency. A latency equal to an edge belongs to the bucket above it.
fn bucket(seconds: f64) -> usize {
    // NaN becomes 0.
    let at = ((seconds / LOWEST_S).log2() * PER_DOUBLING as f64).floor() + 1.0;
    (at.max(0.0) as usize).min(BUCKETS - 1)
}

/// Upper edge of a bucket in seconds.
pub(super) fn upper_edge(bucket: usize) -> f64 {
    LOWEST_S * (bucket as f64 / PER_DOUBLING as f64).exp2()
}

/// Quantile of several sets of counts together, in seconds. `None` without a sample.
pub(super) fn quantile_of(sets: &[&LatencyCounts], q: f64) -> Option<f64> {
    let count = |at: usize| -> u64 {
        sets.iter().filter_map(|set| set.0.get(at)).map(|count| u64::from(*count)).sum()
    };
    let total: u64 = (0..BUCKETS).map(count).sum();
    if total == 0 {
        return None;
    }
    // Rank of the sample between 0 and total - 1, as the middle of its share of the bucket.
    let rank = q * (total - 1) as f64 + 0.5;
    let mut below = 0.0;
    for at in 0..BUCKETS {
        let here = count(at) as f64;
        if below + here >= rank {
            let part = (rank - below) / here;
            return Some(match at {
                // Below the resolution: most are queue waits of 0.
                0 => 0.0,
                _ => upper_edge(at - 1) * (part / PER_DOUBLING as f64).exp2(),
            });
        }
        below += here;
    }
    Some(upper_edge(BUCKETS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_samples_have_no_quantile() {
        assert_eq!(LatencyCounts::default().quantile(0.5), None);
    }

    #[test]
    fn extreme_latencies_stay_in_the_outer_buckets() {
        for (seconds, expected) in [(0.0, 0), (-1.0, 0), (f64::NAN, 0), (1e9, BUCKETS - 1)] {
            assert_eq!(bucket(seconds), expected, "{seconds}");
        }
        assert_eq!(bucket(0.0001), 1, "an edge belongs to the bucket above it");
    }

    proptest! {
        /// The exact quantile is that of the sorted samples at the nearest rank.
        #[test]
        fn a_quantile_is_within_a_bucket_of_the_exact_one(
            mut samples in prop::collection::vec(0.0002..600.0, 1..200),
            q in prop::sample::select(vec![0.5, 0.95, 0.99]),
        ) {
            let mut counts = LatencyCounts::default();
            samples.iter().for_each(|seconds| counts.add(*seconds));
            samples.sort_by(f64::total_cmp);
            let rank = (q * (samples.len() - 1) as f64).round() as usize;
            let quantile = counts.quantile(q).unwrap();
            // The rank lies between two samples where it is not whole.
            let lower = samples[rank.saturating_sub(1)] / 1.1;
            let upper = samples[(rank + 1).min(samples.len() - 1)] * 1.1;
            prop_assert!((lower..=upper).contains(&quantile), "{quantile} {lower} {upper}");
        }
    }
}
