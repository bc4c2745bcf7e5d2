//! Estimated capacity of an upstream: one estimator for each model.

use super::lock;
use super::per_model::{ModelState, PerModel};
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::SloVerdict;
use streamgauge_core::meter::capacity::{CapacityEntry, CapacityEstimator};

/// Capacity estimators of one upstream, by requested model.
#[derive(Debug)]
pub(super) struct UpstreamCapacity(PerModel<CapacityEstimator>);

impl Default for UpstreamCapacity {
    fn default() -> Self {
        Self(PerModel::new(CapacityEstimator::is_unused))
    }
}

impl UpstreamCapacity {
    /// Adds a request that was completely sent to the upstream. `model` is empty if it names none.
    pub fn join(&self, model: &str, at: Duration) -> OccupiedCapacity {
        let estimator = self.0.get_or_create(model);
        let entry = lock(&estimator).arrive(at);
        OccupiedCapacity { estimator, entry }
    }

    /// Makes new estimates where they are due, and calls a function with each model and its estimator.
    pub fn refresh(&self, now: Duration, mut read: impl FnMut(&str, &CapacityEstimator)) {
        for (model, estimator) in self.0.all() {
            // The estimate takes some time, and must not hold up requests.
            let evidence = lock(&estimator).evidence_if_due(now);
            let rates = evidence.map(|evidence| evidence.sustainable_rates());
            let mut estimator = lock(&estimator);
            if let Some(rates) = rates {
                estimator.set_rates(rates);
            }
            read(&model, &estimator);
        }
    }

    /// The classes have changed.
    pub fn forget_verdicts(&self) {
        self.0.all().iter().for_each(|(_, estimator)| lock(estimator).forget_verdicts());
    }
}

/// The share of the capacity that a request in flight occupies.
#[derive(Debug)]
pub(super) struct OccupiedCapacity {
    estimator: ModelState<CapacityEstimator>,
    entry: CapacityEntry,
}

impl OccupiedCapacity {
    /// The request ended with these verdicts.
    pub fn release(self, at: Duration, verdicts: &[(Arc<str>, SloVerdict)]) {
        lock(&self.estimator).finish(self.entry, at, verdicts);
    }
}
