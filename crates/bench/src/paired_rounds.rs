//! Comparisons of contestants within the same round, so that slow changes of the machine cancel out.

use std::collections::BTreeMap;

use crate::contestant::Contestant;
use crate::measure::MeasurementSample;
use crate::stats::{MedianEstimate, estimate};

/// Returns the values of one contestant, in the order of rounds.
pub fn values(
    samples: &[MeasurementSample],
    contestant: Contestant,
    value: impl SampleValue,
) -> Vec<f64> {
    by_round(samples, contestant, value).into_values().collect()
}

/// Returns the ratio of two contestants for each round that has both.
pub fn ratios(
    samples: &[MeasurementSample],
    one: Contestant,
    other: Contestant,
    value: impl SampleValue,
) -> BTreeMap<usize, f64> {
    paired(samples, one, other, value).map(|(round, one, other)| (round, one / other)).collect()
}

/// Returns the difference of two contestants for each round that has both.
pub fn differences(
    samples: &[MeasurementSample],
    one: Contestant,
    other: Contestant,
    value: impl SampleValue,
) -> BTreeMap<usize, f64> {
    paired(samples, one, other, value).map(|(round, one, other)| (round, one - other)).collect()
}

/// Estimates the ratio of two contestants.
pub fn ratio(
    samples: &[MeasurementSample],
    one: Contestant,
    other: Contestant,
    value: impl SampleValue,
) -> Option<MedianEstimate> {
    estimate(&Vec::from_iter(ratios(samples, one, other, value).into_values()))
}

/// Estimates the difference of two contestants.
pub fn difference(
    samples: &[MeasurementSample],
    one: Contestant,
    other: Contestant,
    value: impl SampleValue,
) -> Option<MedianEstimate> {
    estimate(&Vec::from_iter(differences(samples, one, other, value).into_values()))
}

/// Reads a value of a sample, if present.
pub trait SampleValue: Fn(&MeasurementSample) -> Option<f64> {}
impl<F: Fn(&MeasurementSample) -> Option<f64>> SampleValue for F {}

fn paired(
    samples: &[MeasurementSample],
    one: Contestant,
    other: Contestant,
    value: impl SampleValue,
) -> impl Iterator<Item = (usize, f64, f64)> {
    let others = by_round(samples, other, &value);
    let ones = by_round(samples, one, value).into_iter();
    ones.filter_map(move |(round, one)| Some((round, one, *others.get(&round)?)))
}

fn by_round(
    samples: &[MeasurementSample],
    contestant: Contestant,
    value: impl SampleValue,
) -> BTreeMap<usize, f64> {
    let of = samples.iter().filter(|sample| sample.contestant == contestant);
    of.filter_map(|sample| Some((sample.round, value(sample)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::sample;
    use crate::rival::RivalProxy;

    const OURS: Contestant = Contestant::Streamgauge;
    const THEIRS: Contestant = Contestant::Rival(RivalProxy::Nginx);

    #[test]
    fn pairs_are_from_the_same_round() {
        // The second round lacks one value, the third the other.
        let samples = [
            sample(OURS, 0, Some(3.0)),
            sample(THEIRS, 0, Some(2.0)),
            sample(THEIRS, 1, None),
            sample(OURS, 1, Some(9.0)),
            sample(THEIRS, 2, Some(7.0)),
            sample(THEIRS, 3, Some(8.0)),
            sample(OURS, 3, Some(4.0)),
        ];
        let cpu = |sample: &MeasurementSample| sample.cpu_us;
        assert_eq!(values(&samples, OURS, cpu), [3.0, 9.0, 4.0]);
        assert_eq!(ratios(&samples, OURS, THEIRS, cpu), BTreeMap::from([(0, 1.5), (3, 0.5)]));
        assert_eq!(ratio(&samples, OURS, THEIRS, cpu).unwrap().median, 1.0);
        assert_eq!(difference(&samples, OURS, THEIRS, cpu).unwrap().low, -4.0);
        assert_eq!(ratio(&samples, OURS, Contestant::Bare, cpu), None);
    }
}
