//! Quantiles over the buckets of a classic histogram, exactly as PromQL's `histogram_quantile` computes them: <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>.

/// Cumulative buckets: upper bounds in ascending order, with the number of observations at or below each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HistogramBuckets(Vec<(f64, f64)>);

impl HistogramBuckets {
    /// Adds a count to the bucket with this upper bound, as `sum by (le)` does.
    pub fn add(&mut self, edge: f64, count: f64) {
        match self.0.binary_search_by(|(known, _)| known.total_cmp(&edge)) {
            Ok(at) => {
                if let Some((_, sum)) = self.0.get_mut(at) {
                    *sum += count;
                }
            }
            Err(at) => self.0.insert(at, (edge, count)),
        }
    }

    /// Returns the `q`-quantile (`q` from 0 to 1), interpolated linearly within its bucket. The lowest bucket starts
    /// at 0, unless its upper bound is 0 or less. A quantile in the `+Inf` bucket is the highest finite bound. `None`
    /// where PromQL returns NaN.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (last, all) = *self.0.last()?;
        if self.0.len() < 2 || last != f64::INFINITY || all <= 0.0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = q * all;
        let mut below = None;
        for &(edge, count) in &self.0 {
            let (start, before) = below.unwrap_or((0.0, 0.0));
            if edge == f64::INFINITY {
                return Some(start);
            }
            if count < rank {
                below = Some((edge, count));
                continue;
            }
            if below.is_none() && edge <= 0.0 {
                return Some(edge);
            }
            let inside = count - before;
            return (inside > 0.0).then(|| start + (edge - start) * (rank - before) / inside);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn of(buckets: &[(f64, f64)]) -> HistogramBuckets {
        let mut all = HistogramBuckets::default();
        // In reverse, because the order must not matter.
        buckets.iter().rev().for_each(|&(edge, count)| all.add(edge, count));
        all
    }

    /// Cases of Prometheus' own tests (promql/promqltest/testdata/histograms.test).
    #[test]
    fn quantiles_equal_those_of_prometheus() {
        let positive = of(&[(0.1, 5.0), (0.2, 7.0), (1.0, 11.0), (INF, 12.0)]);
        let negative = of(&[(-0.2, 1.0), (-0.1, 2.0), (0.3, 2.0), (INF, 3.0)]);
        let second = of(&[(0.0, 0.0), (2.0, 1.0), (4.0, 2.0), (6.0, 3.0), (INF, 3.0)]);
        let third = of(&[(0.0, 0.0), (0.1, 5.0), (0.2, 7.0), (1.0, 11.0), (INF, 11.0)]);
        let table = [
            (&positive, 0.0, 0.0),
            (&positive, 0.2, 0.048),
            (&positive, 0.5, 0.15),
            (&positive, 0.8, 0.72),
            (&positive, 1.0, 1.0),
            (&negative, 0.0, -0.2),
            (&negative, 0.2, -0.2),
            (&negative, 0.5, -0.15),
            (&negative, 0.8, 0.3),
            (&negative, 1.0, 0.3),
            (&second, 1.0 / 6.0, 1.0),
            (&second, 0.5, 3.0),
            (&second, 5.0 / 6.0, 5.0),
            (&third, 0.0, 0.0),
            (&third, 0.25, 0.055),
            (&third, 0.5, 0.125),
            (&third, 0.75, 0.45),
            (&third, 1.0, 1.0),
        ];
        for (buckets, q, expected) in table {
            let found = buckets.quantile(q).unwrap();
            assert!((found - expected).abs() < 1e-12, "{q} of {buckets:?}: {found}");
        }
    }

    #[test]
    fn series_are_summed_by_bound() {
        let series = [
            [(0.1, 1.0), (0.2, 3.0), (INF, 4.0)],
            [(0.1, 2.0), (0.2, 5.0), (INF, 6.0)],
            [(0.1, 3.0), (0.2, 4.0), (INF, 6.0)],
            [(0.1, 4.0), (0.2, 7.0), (INF, 9.0)],
        ];
        let mut all = HistogramBuckets::default();
        series.iter().flatten().for_each(|&(edge, count)| all.add(edge, count));
        assert!((all.quantile(0.3).unwrap() - 0.075).abs() < 1e-12);
        assert!((all.quantile(0.5).unwrap() - 0.127_777_777_777_777_8).abs() < 1e-12);
    }

    #[test]
    fn no_quantile_where_prometheus_returns_nan() {
        let good = [(0.1, 5.0), (INF, 12.0)];
        assert!(of(&good).quantile(0.5).is_some());
        for q in [-0.1, 1.1, f64::NAN] {
            assert_eq!(of(&good).quantile(q), None, "{q}");
        }
        for bad in [&[][..], &[(INF, 3.0)], &[(0.1, 5.0)], &[(0.1, 0.0), (INF, 0.0)]] {
            assert_eq!(of(bad).quantile(0.5), None, "{bad:?}");
        }
        assert_eq!(of(&[(0.1, 0.0), (0.2, 1.0), (INF, 1.0)]).quantile(0.0), None);
    }
}
