//! Robust statistics of a few hundred numbers: a few outliers do not change the results much.

/// Line `y = base + slope * x`, with a slope of at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ResistantLine {
    pub base: f64,
    pub slope: f64,
    /// Smallest `y` of the points. No value of the line is below it.
    pub min: f64,
}

impl ResistantLine {
    /// Fits Tukey's resistant line (Exploratory Data Analysis, 1977, chapter 10) through points that are sorted by `x`.
    ///
    /// The slope is that between the medians of the outer thirds. The base is the median of `y - slope * x`. Outliers do
    /// not change the line much as long as they are less than a sixth of the points. `None` without points.
    pub fn through(points: &[(f64, f64)], scratch: &mut Vec<f64>) -> Option<Self> {
        let third = points.len().div_ceil(3);
        let (low, high) = (points.get(..third)?, points.get(points.len() - third..)?);
        let mut median_of = |points: &[(f64, f64)], of: &dyn Fn(&(f64, f64)) -> f64| {
            scratch.clear();
            scratch.extend(points.iter().map(of));
            quantile(scratch, 0.5)
        };
        let run = median_of(high, &|point| point.0)? - median_of(low, &|point| point.0)?;
        let rise = median_of(high, &|point| point.1)? - median_of(low, &|point| point.1)?;
        let slope = if run > 0.0 { (rise / run).max(0.0) } else { 0.0 };
        let base = median_of(points, &|(x, y)| y - slope * x)?;
        let min = points.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
        Some(Self { base, slope, min: min.max(0.0) })
    }

    /// Value of the line at `x`.
    pub fn at(&self, x: f64) -> f64 {
        (self.base + self.slope * x).max(self.min)
    }
}

/// Value below which this share of the values lies. Reorders the values.
pub(super) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let at = (last as f64 * share).round() as usize;
    let (_, value, _) = values.select_nth_unstable_by(at.min(last), f64::total_cmp);
    Some(*value)
}

/// Spearman's rank correlation of pairs, times `sqrt(n - 1)`.
///
/// Approximately standard normal if the two values are independent. 0 if one of them is constant.
pub(super) fn rank_correlation(pairs: &[(f64, f64)]) -> f64 {
    let a = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let b = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        let (a, b) = (a - middle, b - middle);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    let scale = (aa * bb).sqrt();
    if scale > 0.0 { ab / scale * (2.0 * middle).sqrt() } else { 0.0 }
}

/// Rank of each value, from 0. Equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values.iter().copied().zip(0..).collect();
    order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|(a, _), (b, _)| a == b) {
        for (_, at) in equal {
            if let Some(rank) = ranks.get_mut(*at) {
                *rank = before as f64 + (equal.len() - 1) as f64 / 2.0;
            }
        }
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_resists_outliers() {
        let mut points: Vec<_> =
            (0..30).map(|i| (f64::from(i), 2.0 + 0.5 * f64::from(i))).collect();
        points[3].1 = 900.0;
        points[28].1 = 900.0;
        let line = ResistantLine::through(&points, &mut Vec::new()).unwrap();
        assert!((line.at(10.0) - 7.0).abs() < 0.2, "{line:?}");
        assert_eq!(line.at(-100.0), 2.0, "not below the smallest sample");
        assert_eq!(ResistantLine::through(&[], &mut Vec::new()), None);
        let level = ResistantLine::through(&[(1.0, 3.0); 5], &mut Vec::new()).unwrap();
        assert_eq!((level.slope, level.at(9.0)), (0.0, 3.0), "no slope if all x are equal");
    }

    #[test]
    fn quantile_is_the_nearest_rank() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn rank_correlation_is_scaled_to_a_standard_normal() {
        let pairs = |of: fn(f64) -> f64| -> Vec<(f64, f64)> {
            (0..101).map(|i| (f64::from(i), of(f64::from(i)))).collect()
        };
        assert!(
            (rank_correlation(&pairs(|x| x.exp())) - 10.0).abs() < 1e-9,
            "the same for any rising function"
        );
        assert!((rank_correlation(&pairs(|x| -x)) + 10.0).abs() < 1e-9);
        assert_eq!(rank_correlation(&pairs(|_| 1.0)), 0.0);
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [1.5, 0.0, 1.5, 3.0]);
        assert_eq!(rank_correlation(&[]), 0.0);
    }
}
