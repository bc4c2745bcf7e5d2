//! The sustainable request rate of a class, with its interval.

use super::OBJECTIVE;
use super::chain::{ChainState, UnseenStates, missed_share};
use super::evidence::{CapacityEvidence, CellCounts, GROUPS, context_of, rate_of};
use super::isotonic::non_decreasing;
use std::cmp::Reverse;
use std::sync::Arc;

/// Share of the requests that may miss a target.
const ALLOWED: f64 = 1.0 - OBJECTIVE;
/// Fewest decided requests at rates near the sustainable rate: ten of them miss if exactly the allowed share does. With
/// fewer, chance decides.
const MIN_NEAR: f64 = 10.0 / ALLOWED;
/// Fewest requests that found the deepest state. Deeper states with fewer count as this one. The completion rate of the
/// deepest state has a standard error of 10 %.
const MIN_DEEPEST: f64 = 100.0;
/// Requests at all rates that count beside those at similar rates. They fill in states that are rare at those rates.
const PRIOR: f64 = 20.0;
/// Precision of the search, relative.
const PRECISION: f64 = 1e-3;
/// 97.5 % quantile of Student's t distribution with one degree of freedom less than there are groups.
const STUDENT: f64 = 2.365;
/// Error of the model that is visible in no observation, relative. On the simulated servers, estimates that have hardly
/// any spread are wrong by up to about this.
const MODEL_ERROR: f64 = 0.1;
/// Widest interval with a best estimate, relative to it.
const MAX_WIDTH: f64 = 0.6;

/// The largest arrival rate at which a class would still be met, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SustainableRate {
    /// Lower end of the interval of 95 %. `None` if the class is missed at all rates that were observed.
    pub low: Option<f64>,
    /// Best estimate. `None` if the observations do not show it.
    pub rate: Option<f64>,
    /// Upper end of the interval. `None` if the class is met at all rates that were observed.
    pub high: Option<f64>,
}

impl SustainableRate {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { low: None, rate: None, high: None };
}

impl CapacityEvidence {
    /// The sustainable rates of all classes with enough requests.
    pub fn sustainable_rates(&self) -> Vec<(Arc<str>, SustainableRate)> {
        let rate = |class: &Arc<str>| Some((Arc::clone(class), self.sustainable(class)?));
        self.classes().iter().filter_map(rate).collect()
    }

    /// The sustainable rate of a class. `None` as long as there are too few requests for any statement.
    pub fn sustainable(&self, class: &str) -> Option<SustainableRate> {
        let class = self.classes().iter().position(|one| &**one == class)?;
        let depth = self.deepest(class)?;
        let model = ClassModel::new(self, class, depth, None);
        let seen = model.observed_rates()?;
        let at_least = model.sustainable_rate(UnseenStates::AllMissed);
        let Some(rate) = model.sustainable_rate(UnseenStates::LikeLast) else {
            return Some(SustainableRate {
                low: Some(at_least.unwrap_or(seen.highest).min(seen.highest)),
                rate: None,
                high: None,
            });
        };
        if model.decided_near(rate) < MIN_NEAR {
            return Some(if rate < seen.lowest {
                SustainableRate { low: None, rate: None, high: Some(seen.lowest) }
            } else {
                let low = Some(at_least.unwrap_or(rate).min(seen.highest));
                SustainableRate { low, rate: None, high: None }
            });
        }
        let without = |group| ClassModel::new(self, class, depth, Some(group));
        let parts =
            (0..GROUPS).filter_map(|group| without(group).sustainable_rate(UnseenStates::LikeLast));
        let error =
            (STUDENT * jackknife_error(&parts.collect::<Vec<_>>())).hypot(MODEL_ERROR * rate);
        let low = at_least.unwrap_or(rate).min(rate - error).max(0.0);
        let high = model.sustainable_rate(UnseenStates::Never).map(|most| most.max(rate + error));
        let is_known = high.is_some_and(|high| high - low <= MAX_WIDTH * rate);
        Some(SustainableRate { low: Some(low), rate: is_known.then_some(rate), high })
    }

    /// Deepest bucket that enough requests of the class found in flight; 0 is the idle server.
    fn deepest(&self, class: usize) -> Option<usize> {
        let mut buckets: Vec<(usize, f64)> =
            self.cells().map(|(_, bucket, cell)| (bucket, cell.decided(class))).collect();
        buckets.sort_by_key(|(bucket, _)| Reverse(*bucket));
        let mut decided = 0.0;
        let deepest = buckets.iter().find(|(_, count)| {
            decided += count;
            decided >= MIN_DEEPEST
        });
        deepest.map(|(bucket, _)| *bucket)
    }
}

/// Standard error of an estimate, from the estimates without one group each (the delete-a-group jackknife: P. S. Kott,
/// The Delete-a-Group Jackknife, 2001). It holds for observations that depend on each other within a group.
fn jackknife_error(parts: &[f64]) -> f64 {
    let count = parts.len() as f64;
    let mean = parts.iter().sum::<f64>() / count;
    let squares: f64 = parts.iter().map(|one| (one - mean).powi(2)).sum();
    ((count - 1.0) / count * squares).sqrt()
}

/// Lowest and highest arrival rate with enough decided requests.
#[derive(Debug, Clone, Copy)]
struct ObservedRates {
    lowest: f64,
    highest: f64,
}

/// Observations of one state of the server.
#[derive(Debug, Clone, Copy, Default)]
struct StateSums {
    seconds: f64,
    ended: f64,
    decided: f64,
    missed: f64,
}

impl StateSums {
    fn of(cell: &CellCounts, class: usize, without: Option<usize>) -> Self {
        let mut sums = Self::default();
        let verdicts = cell.verdicts.get(class).into_iter().flatten();
        for (group, counts) in cell.states.iter().enumerate() {
            if Some(group) != without {
                sums.seconds += counts.seconds;
                sums.ended += f64::from(counts.ended);
            }
        }
        for (group, counts) in verdicts.enumerate() {
            if Some(group) != without {
                sums.decided += f64::from(counts.decided);
                sums.missed += f64::from(counts.missed);
            }
        }
        sums
    }

    fn add(&mut self, other: &Self, weight: f64) {
        self.seconds += other.seconds * weight;
        self.ended += other.ended * weight;
        self.decided += other.decided * weight;
        self.missed += other.missed * weight;
    }

    /// The same ratios, from at most [`PRIOR`] requests.
    fn as_prior(&self) -> Self {
        let ends = PRIOR / self.ended.max(PRIOR);
        let verdicts = PRIOR / self.decided.max(PRIOR);
        Self {
            seconds: self.seconds * ends,
            ended: self.ended * ends,
            decided: self.decided * verdicts,
            missed: self.missed * verdicts,
        }
    }
}

/// Observations of one class, by context and state.
struct ClassModel {
    /// In ascending order of their positions.
    contexts: Vec<(f64, Vec<StateSums>)>,
    /// Sums over all contexts.
    total: Vec<StateSums>,
}

impl ClassModel {
    /// Adds up the observations of the class, without one group. States deeper than `depth` count as `depth`.
    fn new(
        evidence: &CapacityEvidence,
        class: usize,
        depth: usize,
        without: Option<usize>,
    ) -> Self {
        let none = vec![StateSums::default(); depth + 1];
        let mut model = Self { contexts: Vec::new(), total: none.clone() };
        for (context, bucket, cell) in evidence.cells() {
            let context = f64::from(context);
            if model.contexts.last().is_none_or(|(last, _)| *last < context) {
                model.contexts.push((context, none.clone()));
            }
            let sums = StateSums::of(cell, class, without);
            let bucket = bucket.min(depth);
            let last = model.contexts.last_mut().and_then(|(_, states)| states.get_mut(bucket));
            for state in last.into_iter().chain(model.total.get_mut(bucket)) {
                state.add(&sums, 1.0);
            }
        }
        model
    }

    /// Contexts near an arrival rate, each with its weight: 1 for the same rate, 0 at a distance of one context.
    fn near(&self, rate: f64) -> impl Iterator<Item = (f64, &[StateSums])> {
        let range = self.contexts.first().zip(self.contexts.last());
        let position =
            range.map_or(0.0, |((first, _), (last, _))| context_of(rate).clamp(*first, *last));
        let weighted = self
            .contexts
            .iter()
            .map(move |(context, states)| ((1.0 - (context - position).abs()).max(0.0), &**states));
        weighted.filter(|(weight, _)| *weight > 0.0)
    }

    /// Number of decided requests that arrived at about this rate.
    fn decided_near(&self, rate: f64) -> f64 {
        let position = context_of(rate);
        let near = self.contexts.iter().filter(|(context, _)| (context - position).abs() < 1.0);
        near.flat_map(|(_, states)| states).map(|state| state.decided).sum()
    }

    fn observed_rates(&self) -> Option<ObservedRates> {
        let rates = self.contexts.iter().map(|(context, _)| rate_of(*context));
        let mut rates = rates.filter(|rate| self.decided_near(*rate) >= MIN_NEAR);
        let lowest = rates.next()?;
        Some(ObservedRates { lowest, highest: rates.next_back().unwrap_or(lowest) })
    }

    /// States of the server at an arrival rate.
    fn states_at(&self, rate: f64) -> Vec<ChainState> {
        let mut states: Vec<StateSums> = self.total.iter().map(StateSums::as_prior).collect();
        for (weight, sums) in self.near(rate) {
            states.iter_mut().zip(sums).for_each(|(state, sums)| state.add(sums, weight));
        }
        let completions = non_decreasing(states.iter().map(|state| (state.ended, state.seconds)));
        let missed = non_decreasing(states.iter().map(|state| (state.missed, state.decided)));
        let pairs = completions.into_iter().zip(missed);
        pairs
            .map(|(completion_rate, missed_share)| ChainState { completion_rate, missed_share })
            .collect()
    }

    /// The largest arrival rate at which at most the allowed share misses a target. `None` if no rate is too high for the
    /// states that were observed.
    fn sustainable_rate(&self, unseen: UnseenStates) -> Option<f64> {
        let is_met = |rate| missed_share(&self.states_at(rate), rate, unseen) <= ALLOWED;
        let busy = self.total.iter().skip(1).filter(|state| state.seconds > 0.0);
        let fastest = busy.map(|state| state.ended / state.seconds).fold(0.0, f64::max);
        // At this rate the server is in its deepest state almost all the time.
        let (mut low, mut high) = (0.0, 20.0 * fastest);
        if is_met(high) {
            return None;
        }
        while high - low > PRECISION * high.min(fastest) {
            let middle = (low + high) / 2.0;
            if is_met(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(low)
    }
}
