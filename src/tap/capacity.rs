//! A request that occupies a share of the estimated capacity of its model.

use super::lock;
use super::models::ModelEstimators;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::SloVerdict;
use streamgauge_core::meter::capacity::CapacityEntry;

/// The share of the capacity that a request in flight occupies.
#[derive(Debug)]
pub(super) struct OccupiedCapacity {
    estimators: Arc<ModelEstimators>,
    entry: CapacityEntry,
}

impl OccupiedCapacity {
    /// Adds a request that was completely sent to the upstream.
    pub fn join(estimators: Arc<ModelEstimators>, at: Duration) -> Self {
        let entry = lock(&estimators.capacity).arrive(at);
        Self { estimators, entry }
    }

    /// The request ended with these verdicts.
    pub fn release(self, at: Duration, verdicts: &[(Arc<str>, SloVerdict)]) {
        lock(&self.estimators.capacity).finish(self.entry, at, verdicts);
    }
}
