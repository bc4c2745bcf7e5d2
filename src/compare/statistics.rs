//! Quantiles of two sides under the same weights, with confidence intervals. Nothing is random: the same logs give
//! the same intervals. docs/compare.md has the formulas and their sources.

use serde::Serialize;
use std::collections::BTreeMap;

/// Minimum number of requests of a size class on each side. Smaller classes are excluded.
pub(super) const MIN_PER_CLASS: usize = 5;
/// Minimum number of requests on each side, over all included classes.
pub(super) const MIN_PER_SIDE: usize = 20;
/// Number of time blocks per side. More blocks give narrower intervals; fewer blocks tolerate longer correlation
/// between requests.
const BLOCKS: usize = 10;
/// 97.5 % quantile of Student's t distribution with `BLOCKS - 1` degrees of freedom.
const T: f64 = 2.262_16;
/// 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// The value of one request. Observations are in order of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizedValue {
    pub size_class: i16,
    pub value: f64,
}

/// A value with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ConfidenceInterval {
    pub low: f64,
    pub value: f64,
    pub high: f64,
}

/// The weighted observations of one side, in the included size classes.
#[derive(Debug)]
pub(super) struct WeightedSide {
    items: Vec<WeightedValue>,
    /// Indexes into `items`, sorted by value.
    by_value: Vec<usize>,
    size_classes: Vec<SizeClass>,
}

#[derive(Debug)]
struct WeightedValue {
    size_class: usize,
    weight: f64,
    value: f64,
}

#[derive(Debug, Clone, Copy)]
struct SizeClass {
    share: f64,
    size: usize,
}

/// Gives both sides the same weights, those of Cochran, Mantel and Haenszel: `n_a n_b / (n_a + n_b)` for each size
/// class with enough requests on both sides.
pub(super) fn weight_equally(a: &[SizedValue], b: &[SizedValue]) -> (WeightedSide, WeightedSide) {
    let mut sizes = BTreeMap::<i16, (usize, usize)>::new();
    a.iter().for_each(|seen| sizes.entry(seen.size_class).or_default().0 += 1);
    b.iter().for_each(|seen| sizes.entry(seen.size_class).or_default().1 += 1);
    sizes.retain(|_, (a, b)| (*a).min(*b) >= MIN_PER_CLASS);
    let weight = |(a, b): (usize, usize)| a as f64 * b as f64 / (a + b) as f64;
    let all: f64 = sizes.values().map(|sizes| weight(*sizes)).sum();
    let side = |seen: &[SizedValue], size: fn((usize, usize)) -> usize| {
        let places: BTreeMap<i16, usize> = sizes.keys().copied().zip(0..).collect();
        let size_classes: Vec<SizeClass> = sizes
            .values()
            .map(|&sizes| SizeClass { share: weight(sizes) / all, size: size(sizes) })
            .collect();
        WeightedSide::new(seen, &places, size_classes)
    };
    (side(a, |(a, _)| a), side(b, |(_, b)| b))
}

impl WeightedSide {
    fn new(
        seen: &[SizedValue],
        places: &BTreeMap<i16, usize>,
        size_classes: Vec<SizeClass>,
    ) -> Self {
        let item = |seen: &SizedValue| {
            let &size_class = places.get(&seen.size_class)?;
            let of = size_classes.get(size_class)?;
            Some(WeightedValue { size_class, weight: of.share / of.size as f64, value: seen.value })
        };
        let items: Vec<WeightedValue> = seen.iter().filter_map(item).collect();
        let value = |at: &usize| items.get(*at).map_or(f64::NAN, |item| item.value);
        let mut by_value: Vec<usize> = (0..items.len()).collect();
        by_value.sort_by(|a, b| value(a).total_cmp(&value(b)));
        Self { items, by_value, size_classes }
    }

    /// Number of requests in the included size classes.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Number of included size classes.
    pub fn size_classes(&self) -> usize {
        self.size_classes.len()
    }

    /// Returns the `p`-quantile with its interval (Woodruff 1952): the interval of the share of requests at or below
    /// the quantile, converted to values. `None` if there are too few requests.
    pub fn quantile(&self, p: f64) -> Option<ConfidenceInterval> {
        if self.len() < MIN_PER_SIDE {
            return None;
        }
        let value = self.value_at(p)?;
        let spread = T * self.deviation_of_share(value);
        let inside = |p: f64| (p > 0.0 && p < 1.0).then(|| self.value_at(p))?;
        Some(ConfidenceInterval { low: inside(p - spread)?, value, high: inside(p + spread)? })
    }

    /// Returns the value with the share `p` of the weight below it, by Hazen's rule: half of an observation's weight
    /// counts as below it, with linear interpolation between observations.
    fn value_at(&self, p: f64) -> Option<f64> {
        let mut below = 0.0;
        let mut last: Option<(f64, f64)> = None;
        for item in self.by_value.iter().filter_map(|at| self.items.get(*at)) {
            let share = below + item.weight / 2.0;
            if share >= p {
                return Some(match last {
                    Some((before, value)) => {
                        value + (item.value - value) * (p - before) / (share - before)
                    }
                    None => item.value,
                });
            }
            below += item.weight;
            last = Some((share, item.value));
        }
        last.map(|(_, value)| value)
    }

    /// Returns the standard deviation of the weighted share of requests at or below `value`, by batch means:
    /// requests close in time share the load of the server, so they are not independent.
    fn deviation_of_share(&self, value: f64) -> f64 {
        let mut below = vec![0.0; self.size_classes.len()];
        for item in self.items.iter().filter(|item| item.value <= value) {
            if let Some(count) = below.get_mut(item.size_class) {
                *count += 1.0;
            }
        }
        let parts: Vec<f64> = self
            .items
            .iter()
            .map(|item| {
                let size = self
                    .size_classes
                    .get(item.size_class)
                    .map_or(0.0, |size_class| size_class.size as f64);
                let share = below.get(item.size_class).copied().unwrap_or_default() / size;
                let is_below = f64::from(u8::from(item.value <= value));
                // Corrects the bias of deviations from the class's own mean.
                item.weight * (is_below - share) * (size / (size - 1.0)).sqrt()
            })
            .collect();
        variance_of_sum(&parts).sqrt()
    }
}

/// Variance of a sum of parts that are correlated in time, estimated from [`BLOCKS`] blocks.
fn variance_of_sum(parts: &[f64]) -> f64 {
    let blocks = BLOCKS.min(parts.len());
    let mut sums = vec![0.0; blocks];
    for (at, part) in parts.iter().enumerate() {
        if let Some(sum) = sums.get_mut(at * blocks / parts.len()) {
            *sum += part;
        }
    }
    let count = blocks as f64;
    let mean = sums.iter().sum::<f64>() / count;
    let squares: f64 = sums.iter().map(|sum| (sum - mean).powi(2)).sum();
    squares * count / (count - 1.0)
}

/// ConfidenceInterval of `b - a`, by the MOVER method (Zou and Donner 2008).
pub(super) fn difference(a: ConfidenceInterval, b: ConfidenceInterval) -> ConfidenceInterval {
    let value = b.value - a.value;
    ConfidenceInterval {
        low: value - (b.value - b.low).hypot(a.high - a.value),
        value,
        high: value + (b.high - b.value).hypot(a.value - a.low),
    }
}

/// Interval of `b / a`: [`difference`] on a logarithmic scale. `None` unless all limits are above 0.
pub(super) fn ratio(a: ConfidenceInterval, b: ConfidenceInterval) -> Option<ConfidenceInterval> {
    let ln = |of: ConfidenceInterval| {
        (of.low > 0.0).then(|| ConfidenceInterval {
            low: of.low.ln(),
            value: of.value.ln(),
            high: of.high.ln(),
        })
    };
    let ln = difference(ln(a)?, ln(b)?);
    Some(ConfidenceInterval { low: ln.low.exp(), value: ln.value.exp(), high: ln.high.exp() })
}

/// Share of requests with a property, with its Wilson interval (1927). `holds` is in order of time: if the property
/// comes in bursts, as failures do, the interval is that of fewer, independent requests with the same variance.
pub(super) fn proportion(holds: &[bool]) -> Option<ConfidenceInterval> {
    if holds.len() < MIN_PER_SIDE {
        return None;
    }
    let n = holds.len() as f64;
    let value = holds.iter().filter(|holds| **holds).count() as f64 / n;
    let parts: Vec<f64> = holds.iter().map(|h| (f64::from(u8::from(*h)) - value) / n).collect();
    let independent = value * (1.0 - value) / n;
    let effect = if independent > 0.0 { variance_of_sum(&parts) / independent } else { 1.0 };
    let n = n / effect.max(1.0);
    let middle = (value + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let spread = Z / (1.0 + Z * Z / n) * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(ConfidenceInterval {
        low: (middle - spread).max(0.0),
        value,
        high: (middle + spread).min(1.0),
    })
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
