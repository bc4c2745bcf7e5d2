//! Robust statistics of a few hundred numbers.

/// `y = base + slope * x`, the slope never negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ResistantLine {
    pub base: f64,
    pub slope: f64,
    /// No sample was below it, and so is no value.
    pub least: f64,
}

impl ResistantLine {
    /// Tukey's resistant line through points that are sorted by `x` (Exploratory Data Analysis, 1977, chapter
    /// 10): the slope between the medians of the outer thirds, the base the median of what is left. A sixth
    /// of the points may lie anywhere.
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
        let least = points.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
        Some(Self { base, slope, least: least.max(0.0) })
    }

    pub fn at(&self, x: f64) -> f64 {
        (self.base + self.slope * x).max(self.least)
    }
}

/// The value below which this share of the values lies; it reorders them.
pub(super) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let at = (last as f64 * share).round() as usize;
    let (_, value, _) = values.select_nth_unstable_by(at.min(last), f64::total_cmp);
    Some(*value)
}

/// Spearman's rank correlation of pairs, times the root of their number less one: near standard normal if
/// the two have nothing to do with each other. 0 where one of them is constant.
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

/// From 0; equal values share the middle of their ranks.
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
        assert_eq!(line.at(-100.0), 2.0, "nothing is faster than the fastest");
        assert_eq!(ResistantLine::through(&[], &mut Vec::new()), None);
        let level = ResistantLine::through(&[(1.0, 3.0); 5], &mut Vec::new()).unwrap();
        assert_eq!((level.slope, level.at(9.0)), (0.0, 3.0), "no slope without a run");
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn correlation_of_ranks() {
        let pairs = |of: fn(f64) -> f64| -> Vec<(f64, f64)> {
            (0..101).map(|i| (f64::from(i), of(f64::from(i)))).collect()
        };
        assert!((rank_correlation(&pairs(|x| x.exp())) - 10.0).abs() < 1e-9, "any rising function");
        assert!((rank_correlation(&pairs(|x| -x)) + 10.0).abs() < 1e-9);
        assert_eq!(rank_correlation(&pairs(|_| 1.0)), 0.0);
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [1.5, 0.0, 1.5, 3.0]);
        assert_eq!(rank_correlation(&[]), 0.0);
    }
}
