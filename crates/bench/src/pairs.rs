//! What is drawn from the samples: comparisons of pairs that were measured in the same round.

use std::collections::BTreeMap;

use crate::contestant::Contestant;
use crate::measure::Sample;
use crate::stats::{Estimate, estimate};

/// The values of one contestant, in the order of the rounds.
pub fn values(samples: &[Sample], contestant: Contestant, value: impl Value) -> Vec<f64> {
    by_round(samples, contestant, value).into_values().collect()
}

/// The ratio of one to the other, for each round that has both.
pub fn ratios(
    samples: &[Sample],
    one: Contestant,
    other: Contestant,
    value: impl Value,
) -> BTreeMap<usize, f64> {
    paired(samples, one, other, value).map(|(round, one, other)| (round, one / other)).collect()
}

/// One less the other, for each round that has both.
pub fn differences(
    samples: &[Sample],
    one: Contestant,
    other: Contestant,
    value: impl Value,
) -> BTreeMap<usize, f64> {
    paired(samples, one, other, value).map(|(round, one, other)| (round, one - other)).collect()
}

/// The ratio of one to the other.
pub fn ratio(
    samples: &[Sample],
    one: Contestant,
    other: Contestant,
    value: impl Value,
) -> Option<Estimate> {
    estimate(&Vec::from_iter(ratios(samples, one, other, value).into_values()))
}

/// One less the other.
pub fn difference(
    samples: &[Sample],
    one: Contestant,
    other: Contestant,
    value: impl Value,
) -> Option<Estimate> {
    estimate(&Vec::from_iter(differences(samples, one, other, value).into_values()))
}

/// A value of a sample, if it has it.
pub trait Value: Fn(&Sample) -> Option<f64> {}
impl<F: Fn(&Sample) -> Option<f64>> Value for F {}

fn paired(
    samples: &[Sample],
    one: Contestant,
    other: Contestant,
    value: impl Value,
) -> impl Iterator<Item = (usize, f64, f64)> {
    let others = by_round(samples, other, &value);
    let ones = by_round(samples, one, value).into_iter();
    ones.filter_map(move |(round, one)| Some((round, one, *others.get(&round)?)))
}

fn by_round(samples: &[Sample], contestant: Contestant, value: impl Value) -> BTreeMap<usize, f64> {
    let of = samples.iter().filter(|sample| sample.contestant == contestant);
    of.filter_map(|sample| Some((sample.round, value(sample)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::sample;
    use crate::rival::Rival;

    const OURS: Contestant = Contestant::Streamgauge;
    const THEIRS: Contestant = Contestant::Rival(Rival::Nginx);

    #[test]
    fn pairs_are_of_one_round() {
        // The second round has no value of theirs, the third none of ours.
        let samples = [
            sample(OURS, 0, Some(3.0)),
            sample(THEIRS, 0, Some(2.0)),
            sample(THEIRS, 1, None),
            sample(OURS, 1, Some(9.0)),
            sample(THEIRS, 2, Some(7.0)),
            sample(THEIRS, 3, Some(8.0)),
            sample(OURS, 3, Some(4.0)),
        ];
        let cpu = |sample: &Sample| sample.cpu_us;
        assert_eq!(values(&samples, OURS, cpu), [3.0, 9.0, 4.0]);
        assert_eq!(ratios(&samples, OURS, THEIRS, cpu), BTreeMap::from([(0, 1.5), (3, 0.5)]));
        assert_eq!(ratio(&samples, OURS, THEIRS, cpu).unwrap().median, 1.0);
        assert_eq!(difference(&samples, OURS, THEIRS, cpu).unwrap().low, -4.0);
        assert_eq!(ratio(&samples, OURS, Contestant::Bare, cpu), None);
    }
}
