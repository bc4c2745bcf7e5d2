//! Observations, counted by arrival rate and requests in flight.

use crate::meter::SloVerdict;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Number of parts that the observations are divided into, for the interval.
pub(super) const GROUPS: usize = 8;
/// Most cells that are kept.
const MAX_CELLS: usize = 512;
/// Most classes that are counted. The configuration allows as many.
const MAX_CLASSES: usize = 8;
/// Rate contexts for each doubling of the arrival rate.
const CONTEXTS_PER_DOUBLING: f64 = 4.0;

/// A range of arrival rates and one of requests in flight, as one number: each request looks three cells up, and a map
/// compares numbers fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellKey(i16);

impl CellKey {
    pub fn new(context: i8, bucket: u8) -> Self {
        Self(i16::from(context) << 8 | i16::from(bucket))
    }

    /// Context of the arrival rate.
    pub fn context(self) -> i8 {
        (self.0 >> 8) as i8
    }

    /// Bucket of the requests in flight.
    pub fn bucket(self) -> u8 {
        self.0 as u8
    }
}

/// Position of an arrival rate among the contexts.
pub(super) fn context_of(rate: f64) -> f64 {
    (rate.max(f64::MIN_POSITIVE).log2() * CONTEXTS_PER_DOUBLING).clamp(-40.0, 60.0)
}

/// The context of an arrival rate.
pub(super) fn nearest_context(rate: f64) -> i8 {
    context_of(rate).round() as i8
}

/// The arrival rate at a position among the contexts. The inverse of [`context_of`].
pub(super) fn rate_of(context: f64) -> f64 {
    (context / CONTEXTS_PER_DOUBLING).exp2()
}

/// Requests of a class whose verdict is known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct VerdictCounts {
    pub decided: f32,
    pub missed: f32,
}

/// Observations of one cell in one group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StateCounts {
    /// Time in this state, in seconds.
    pub seconds: f64,
    /// Requests that ended in this state.
    pub ended: f32,
}

/// Observations of one cell.
#[derive(Debug, Clone, Default)]
pub(super) struct CellCounts {
    pub states: [StateCounts; GROUPS],
    /// By class: the requests that arrived in this state.
    pub verdicts: Vec<[VerdictCounts; GROUPS]>,
}

impl CellCounts {
    /// Number of decided requests of a class.
    pub fn decided(&self, class: usize) -> f64 {
        let groups = self.verdicts.get(class).into_iter().flatten();
        groups.map(|counts| f64::from(counts.decided)).sum()
    }

    fn seconds(&self) -> f64 {
        self.states.iter().map(|counts| counts.seconds).sum()
    }

    fn fade(&mut self, factor: f64) {
        for counts in &mut self.states {
            counts.seconds *= factor;
            counts.ended *= factor as f32;
        }
        for counts in self.verdicts.iter_mut().flatten() {
            counts.decided *= factor as f32;
            counts.missed *= factor as f32;
        }
    }
}

/// Everything that was observed of one upstream and model.
#[derive(Debug, Clone, Default)]
pub struct CapacityEvidence {
    classes: Vec<Arc<str>>,
    pub(super) cells: BTreeMap<CellKey, CellCounts>,
}

impl CapacityEvidence {
    /// Names of the classes with a decided request.
    pub fn classes(&self) -> &[Arc<str>] {
        &self.classes
    }

    /// Adds time in a state, and the end of a request at the end of this time.
    pub(super) fn add_time(&mut self, key: CellKey, group: usize, seconds: f64, is_end: bool) {
        if let Some(counts) = self.cell(key).states.get_mut(group) {
            counts.seconds += seconds;
            counts.ended += f32::from(u8::from(is_end));
        }
    }

    /// Counts the verdict on a request that arrived in this state.
    pub(super) fn count_verdict(
        &mut self,
        key: CellKey,
        group: usize,
        class: &Arc<str>,
        verdict: SloVerdict,
    ) {
        let missed = match verdict {
            SloVerdict::Met => 0.0,
            SloVerdict::Missed => 1.0,
            SloVerdict::Undecided => return,
        };
        let Some(class) = self.class(class) else { return };
        let verdicts = &mut self.cell(key).verdicts;
        if verdicts.len() <= class {
            verdicts.reserve_exact(class + 1 - verdicts.len());
            verdicts.resize(class + 1, Default::default());
        }
        if let Some(counts) = verdicts.get_mut(class).and_then(|groups| groups.get_mut(group)) {
            counts.decided += 1.0;
            counts.missed += missed;
        }
    }

    /// Removes all classes and verdicts.
    pub(super) fn forget_verdicts(&mut self) {
        self.classes.clear();
        self.cells.values_mut().for_each(|cell| cell.verdicts.clear());
    }

    /// Reduces the weight of all observations.
    pub(super) fn fade(&mut self, factor: f64) {
        self.cells.values_mut().for_each(|cell| cell.fade(factor));
    }

    /// Position of a class in [`classes`](Self::classes), which is extended if there is room.
    fn class(&mut self, name: &Arc<str>) -> Option<usize> {
        let known = self.classes.iter().position(|one| one == name);
        if known.is_none() && self.classes.len() < MAX_CLASSES {
            self.classes.push(Arc::clone(name));
            return Some(self.classes.len() - 1);
        }
        known
    }

    /// A cell. If there are too many, it replaces the one with the least time.
    fn cell(&mut self, key: CellKey) -> &mut CellCounts {
        if self.cells.len() >= MAX_CELLS && !self.cells.contains_key(&key) {
            let least = self.cells.iter().min_by(|a, b| a.1.seconds().total_cmp(&b.1.seconds()));
            if let Some(least) = least.map(|(key, _)| *key) {
                self.cells.remove(&least);
            }
        }
        self.cells.entry(key).or_default()
    }
}
