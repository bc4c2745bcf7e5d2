//! Quantiles of two sides under the same weights, and how sure they are. Pure arithmetic, without chance:
//! the same logs give the same intervals. The formulas and their sources are in docs/compare.md.

use serde::Serialize;
use std::collections::BTreeMap;

/// A stratum counts if each side has as many requests of it.
pub(super) const LEAST_OF_STRATUM: usize = 5;
/// Two sides are compared if each has as many requests in the strata that count.
pub(super) const LEAST: usize = 20;
/// Stretches of time that each side is cut into. Many make an interval narrow, few let requests depend on
/// each other for long.
const BLOCKS: usize = 10;
/// Student's t: 97.5 % of it, with `BLOCKS - 1` degrees of freedom.
const T: f64 = 2.262_16;
/// The same of the normal distribution.
const Z: f64 = 1.959_964;

/// One request's value, in the order of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub stratum: i16,
    pub value: f64,
}

/// A value and the limits of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub value: f64,
    pub high: f64,
}

/// One side of a comparison: its observations in the strata that count, weighted.
#[derive(Debug)]
pub(super) struct Side {
    items: Vec<Item>,
    /// Places in `items`, by value.
    by_value: Vec<usize>,
    strata: Vec<Stratum>,
}

#[derive(Debug)]
struct Item {
    stratum: usize,
    weight: f64,
    value: f64,
}

#[derive(Debug, Clone, Copy)]
struct Stratum {
    share: f64,
    size: usize,
}

/// The two sides under the same weights: those of Cochran, Mantel and Haenszel, `n_a n_b / (n_a + n_b)` of
/// each stratum that has enough on both sides.
pub(super) fn standardise(a: &[Observation], b: &[Observation]) -> (Side, Side) {
    let mut sizes = BTreeMap::<i16, (usize, usize)>::new();
    a.iter().for_each(|seen| sizes.entry(seen.stratum).or_default().0 += 1);
    b.iter().for_each(|seen| sizes.entry(seen.stratum).or_default().1 += 1);
    sizes.retain(|_, (a, b)| (*a).min(*b) >= LEAST_OF_STRATUM);
    let weight = |(a, b): (usize, usize)| a as f64 * b as f64 / (a + b) as f64;
    let all: f64 = sizes.values().map(|sizes| weight(*sizes)).sum();
    let side = |seen: &[Observation], size: fn((usize, usize)) -> usize| {
        let places: BTreeMap<i16, usize> = sizes.keys().copied().zip(0..).collect();
        let strata: Vec<Stratum> = sizes
            .values()
            .map(|&sizes| Stratum { share: weight(sizes) / all, size: size(sizes) })
            .collect();
        Side::new(seen, &places, strata)
    };
    (side(a, |(a, _)| a), side(b, |(_, b)| b))
}

impl Side {
    fn new(seen: &[Observation], places: &BTreeMap<i16, usize>, strata: Vec<Stratum>) -> Self {
        let item = |seen: &Observation| {
            let &stratum = places.get(&seen.stratum)?;
            let of = strata.get(stratum)?;
            Some(Item { stratum, weight: of.share / of.size as f64, value: seen.value })
        };
        let items: Vec<Item> = seen.iter().filter_map(item).collect();
        let value = |at: &usize| items.get(*at).map_or(f64::NAN, |item| item.value);
        let mut by_value: Vec<usize> = (0..items.len()).collect();
        by_value.sort_by(|a, b| value(a).total_cmp(&value(b)));
        Self { items, by_value, strata }
    }

    /// How many requests it has in the strata that count.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// How many strata count.
    pub fn strata(&self) -> usize {
        self.strata.len()
    }

    /// The `p`-quantile and its interval (Woodruff 1952): the limits of the share of requests at or below
    /// the quantile, and the values at which these shares are reached. `None` if there are too few requests
    /// to say where one of them is.
    pub fn quantile(&self, p: f64) -> Option<Interval> {
        if self.len() < LEAST {
            return None;
        }
        let value = self.value_at(p)?;
        let spread = T * self.deviation_of_share(value);
        let inside = |p: f64| (p > 0.0 && p < 1.0).then(|| self.value_at(p))?;
        Some(Interval { low: inside(p - spread)?, value, high: inside(p + spread)? })
    }

    /// The value below which the share `p` of the weight lies: half of an observation's own weight counts
    /// as below it, and between two observations it is linear (Hazen's rule).
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

    /// The standard deviation of the weighted share of requests at or below `value`. Neighbours in time
    /// share the server's load, so it is taken from the sums of whole blocks of them (batch means).
    fn deviation_of_share(&self, value: f64) -> f64 {
        let mut below = vec![0.0; self.strata.len()];
        for item in self.items.iter().filter(|item| item.value <= value) {
            if let Some(count) = below.get_mut(item.stratum) {
                *count += 1.0;
            }
        }
        let parts: Vec<f64> = self
            .items
            .iter()
            .map(|item| {
                let size = self.strata.get(item.stratum).map_or(0.0, |stratum| stratum.size as f64);
                let share = below.get(item.stratum).copied().unwrap_or_default() / size;
                let is_below = f64::from(u8::from(item.value <= value));
                // Around the stratum's own mean the parts are a little too small.
                item.weight * (is_below - share) * (size / (size - 1.0)).sqrt()
            })
            .collect();
        variance_of_sum(&parts).sqrt()
    }
}

/// The variance of a sum whose parts depend on their neighbours, from [`BLOCKS`] blocks of them.
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

/// `b - a` (MOVER, Zou and Donner 2008): each limit from the distances to those of the two sides.
pub(super) fn difference(a: Interval, b: Interval) -> Interval {
    let value = b.value - a.value;
    Interval {
        low: value - (b.value - b.low).hypot(a.high - a.value),
        value,
        high: value + (b.high - b.value).hypot(a.value - a.low),
    }
}

/// `b / a`, the same on a logarithmic scale; `None` unless all limits are above 0.
pub(super) fn ratio(a: Interval, b: Interval) -> Option<Interval> {
    let ln = |of: Interval| {
        (of.low > 0.0).then(|| Interval {
            low: of.low.ln(),
            value: of.value.ln(),
            high: of.high.ln(),
        })
    };
    let ln = difference(ln(a)?, ln(b)?);
    Some(Interval { low: ln.low.exp(), value: ln.value.exp(), high: ln.high.exp() })
}

/// The share of requests of which something holds, in the order of time (Wilson 1927). Where it comes in
/// bursts, as failures do, the requests count as the fewer independent ones that would vary as much.
pub(super) fn proportion(holds: &[bool]) -> Option<Interval> {
    if holds.len() < LEAST {
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
    Some(Interval { low: (middle - spread).max(0.0), value, high: (middle + spread).min(1.0) })
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
