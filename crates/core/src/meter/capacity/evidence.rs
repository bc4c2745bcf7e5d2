//! Observations, counted by arrival rate and requests in flight.

use crate::meter::SloVerdict;
use std::sync::Arc;

/// Number of parts that the observations are divided into, for the interval.
pub(super) const GROUPS: usize = 8;
/// Most cells that are kept.
const MAX_CELLS: usize = 512;
/// Context of one request in a thousand seconds, and of 32,000 requests per second. Other rates count as these.
const MIN_CONTEXT: i8 = -40;
const MAX_CONTEXT: i8 = 60;
/// Number of contexts.
const CONTEXTS: usize = 101;
/// Most classes that are counted. The configuration allows as many.
const MAX_CLASSES: usize = 8;
/// Rate contexts for each doubling of the arrival rate.
const CONTEXTS_PER_DOUBLING: f64 = 4.0;

/// A range of arrival rates and one of requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellKey {
    /// Context of the arrival rate.
    pub context: i8,
    /// Bucket of the requests in flight.
    pub bucket: u8,
}

/// Position of an arrival rate among the contexts.
pub(super) fn context_of(rate: f64) -> f64 {
    let context = rate.max(f64::MIN_POSITIVE).log2() * CONTEXTS_PER_DOUBLING;
    context.clamp(MIN_CONTEXT.into(), MAX_CONTEXT.into())
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

/// The cells of one context: a range of buckets that includes all that were observed. Each request looks three cells up, so
/// they are found by their position.
#[derive(Debug, Clone, Default)]
struct ContextCells {
    /// Bucket of the first cell.
    lowest: usize,
    cells: Vec<CellCounts>,
}

impl ContextCells {
    fn get_mut(&mut self, bucket: usize) -> Option<&mut CellCounts> {
        self.cells.get_mut(bucket.checked_sub(self.lowest)?)
    }

    /// Number of cells that a new bucket adds.
    fn missing(&self, bucket: usize) -> usize {
        let end = self.lowest + self.cells.len();
        if self.cells.is_empty() {
            1
        } else {
            self.lowest.saturating_sub(bucket) + (bucket + 1).saturating_sub(end)
        }
    }

    fn extend_to(&mut self, bucket: usize) {
        if self.cells.is_empty() {
            self.lowest = bucket;
        }
        let before = self.lowest.saturating_sub(bucket);
        self.cells.splice(0..0, std::iter::repeat_n(CellCounts::default(), before));
        self.lowest -= before;
        let length = self.cells.len().max(bucket + 1 - self.lowest);
        self.cells.resize(length, CellCounts::default());
    }

    fn seconds(&self) -> f64 {
        self.cells.iter().map(CellCounts::seconds).sum()
    }
}

/// Everything that was observed of one upstream and model.
#[derive(Debug, Clone)]
pub struct CapacityEvidence {
    classes: Vec<Arc<str>>,
    /// By context, from [`MIN_CONTEXT`].
    contexts: Vec<ContextCells>,
    cell_count: usize,
}

impl Default for CapacityEvidence {
    fn default() -> Self {
        let contexts = vec![ContextCells::default(); CONTEXTS];
        Self { classes: Vec::new(), contexts, cell_count: 0 }
    }
}

impl CapacityEvidence {
    /// Names of the classes with a decided request.
    pub fn classes(&self) -> &[Arc<str>] {
        &self.classes
    }

    /// Adds time in a state, and the end of a request at the end of this time.
    pub(super) fn add_time(&mut self, key: CellKey, group: usize, seconds: f64, is_end: bool) {
        if let Some(counts) = self.cell(key).and_then(|cell| cell.states.get_mut(group)) {
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
        let Some(CellCounts { verdicts, .. }) = self.cell(key) else { return };
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
        self.all_cells().for_each(|cell| cell.verdicts.clear());
    }

    /// Reduces the weight of all observations.
    pub(super) fn fade(&mut self, factor: f64) {
        self.all_cells().for_each(|cell| cell.fade(factor));
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

    /// All cells with their contexts and buckets, in the order of the contexts.
    pub(super) fn cells(&self) -> impl Iterator<Item = (i8, usize, &CellCounts)> {
        let contexts = (MIN_CONTEXT..=MAX_CONTEXT).zip(&self.contexts);
        contexts.flat_map(|(context, ContextCells { lowest, cells })| {
            cells.iter().zip(*lowest..).map(move |(cell, bucket)| (context, bucket, cell))
        })
    }

    fn all_cells(&mut self) -> impl Iterator<Item = &mut CellCounts> {
        self.contexts.iter_mut().flat_map(|context| &mut context.cells)
    }

    /// A cell, which is created if necessary. If there are too many, those of the context with the least time are removed.
    #[inline(always)]
    fn cell(&mut self, key: CellKey) -> Option<&mut CellCounts> {
        let index = usize::from(key.context.abs_diff(MIN_CONTEXT));
        let bucket = usize::from(key.bucket);
        let missing = self.contexts.get(index)?.missing(bucket);
        if missing > 0 {
            self.create(index, bucket, missing);
        }
        self.contexts.get_mut(index)?.get_mut(bucket)
    }

    #[cold]
    fn create(&mut self, index: usize, bucket: usize, missing: usize) {
        while self.cell_count + missing > MAX_CELLS {
            let others = self.contexts.iter_mut().enumerate();
            let others = others.filter(|(at, one)| *at != index && !one.cells.is_empty());
            let least = others.min_by(|(_, a), (_, b)| a.seconds().total_cmp(&b.seconds()));
            let Some((_, least)) = least else { break };
            self.cell_count -= std::mem::take(least).cells.len();
        }
        if let Some(context) = self.contexts.get_mut(index) {
            context.extend_to(bucket);
            self.cell_count += missing;
        }
    }
}
