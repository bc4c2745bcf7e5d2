//! What is learned about each requested model of an upstream: its queue and its capacity.

use super::lock;
use crate::metrics::OTHER;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::meter::capacity::CapacityEstimator;
use streamgauge_core::meter::queue::{ExpectedTtft, QueueEstimator};

/// Most models with estimators of their own. Further models share those of requests that name no model.
const MAX_MODELS: usize = 64;

/// Estimators of one model, shared by its requests.
#[derive(Debug, Default)]
pub(super) struct ModelEstimators {
    pub queue: Mutex<QueueEstimator>,
    pub capacity: Mutex<CapacityEstimator>,
}

impl ModelEstimators {
    fn is_unused(&self) -> bool {
        lock(&self.queue).is_unused() && lock(&self.capacity).is_unused()
    }
}

/// The models of one upstream.
#[derive(Debug, Default)]
pub(super) struct UpstreamModels(Mutex<BTreeMap<Arc<str>, Arc<ModelEstimators>>>);

impl UpstreamModels {
    /// The estimators of a model, which are created if necessary. `model` is empty for a request that names none.
    pub fn get_or_create(&self, model: &str) -> Arc<ModelEstimators> {
        let model = if model.is_empty() { OTHER } else { model };
        let mut models = lock(&self.0);
        if let Some(known) = models.get(model) {
            return Arc::clone(known);
        }
        if models.len() >= MAX_MODELS {
            // Models that were requested and never served must not use up the limit.
            models.retain(|_, estimators| !estimators.is_unused());
        }
        let model = if models.len() < MAX_MODELS { model } else { OTHER };
        Arc::clone(models.entry(model.into()).or_default())
    }

    /// TTFT of a request with this model and size that does not wait in the queue.
    pub fn expected_ttft(&self, model: &str, bytes: u64) -> Option<ExpectedTtft> {
        lock(&self.find(model)?.queue).expected_ttft(bytes)
    }

    /// Longest TTFT that a request of this size has without waiting, over all models.
    pub fn longest_ttft(&self, bytes: u64) -> Option<ExpectedTtft> {
        let expected = |(_, estimators): &(Arc<str>, Arc<ModelEstimators>)| {
            lock(&estimators.queue).expected_ttft(bytes)
        };
        self.all().iter().filter_map(expected).max_by_key(|one| one.ttft)
    }

    /// Calls a function with each model and the estimator of its queue.
    pub fn for_each_queue(&self, mut read: impl FnMut(&str, &QueueEstimator)) {
        self.all().iter().for_each(|(model, one)| read(model, &lock(&one.queue)));
    }

    /// Estimates the capacity again where that is due, and calls a function with each model and its estimator.
    pub fn refresh_capacity(&self, now: Duration, mut read: impl FnMut(&str, &CapacityEstimator)) {
        for (model, ModelEstimators { capacity, .. }) in
            self.all().iter().map(|(model, one)| (model, &**one))
        {
            // The estimate takes some time, and must not hold up requests.
            let evidence = lock(capacity).evidence_if_due(now);
            let rates = evidence.map(|evidence| evidence.sustainable_rates());
            let mut estimator = lock(capacity);
            if let Some(rates) = rates {
                estimator.set_rates(rates);
            }
            read(model, &estimator);
        }
    }

    /// The SLO classes have changed.
    pub fn forget_verdicts(&self) {
        self.all().iter().for_each(|(_, one)| lock(&one.capacity).forget_verdicts());
    }

    /// The estimators of a model, or else those that further models share.
    fn find(&self, model: &str) -> Option<Arc<ModelEstimators>> {
        let models = lock(&self.0);
        models.get(model).or_else(|| models.get(OTHER)).map(Arc::clone)
    }

    fn all(&self) -> Vec<(Arc<str>, Arc<ModelEstimators>)> {
        let models = lock(&self.0);
        models.iter().map(|(model, one)| (Arc::clone(model), Arc::clone(one))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::capacity::OccupiedCapacity;
    use super::super::queue::QueueMembership;
    use super::*;

    fn join(models: &UpstreamModels, model: &str) -> (QueueMembership, OccupiedCapacity) {
        let estimators = models.get_or_create(model);
        let at = Duration::ZERO;
        let queue = QueueMembership::join(Arc::clone(&estimators), at, 1, true);
        (queue, OccupiedCapacity::join(estimators, at))
    }

    #[test]
    fn models_that_were_never_served_do_not_use_up_the_limit() {
        let models = UpstreamModels::default();
        for i in 0..10_000 {
            let (queue, capacity) = join(&models, &format!("wrong-{i}"));
            assert_eq!(queue.leave(Duration::ZERO, None), None);
            capacity.release(Duration::ZERO, &[]);
        }
        assert!(models.all().len() <= MAX_MODELS);
        let in_flight: Vec<_> =
            (0..MAX_MODELS + 10).map(|i| join(&models, &format!("m{i}"))).collect();
        let known = models.all();
        assert_eq!(known.len(), MAX_MODELS + 1, "and one for all others");
        drop(known);
        let shared = models.find("new").expect("the one for all others");
        // Each request holds it twice; the others are the map and this variable.
        assert_eq!(Arc::strong_count(&shared), 2 * 10 + 2);
        drop(in_flight);
    }

    #[test]
    fn requests_without_a_model_share_one_state() {
        let models = UpstreamModels::default();
        let requests = ["", OTHER, "m"].map(|model| join(&models, model));
        let found: Vec<_> = models.all().iter().map(|(model, _)| model.to_string()).collect();
        assert_eq!(found, ["m", OTHER]);
        let requests_of = |model| (Arc::strong_count(&models.find(model).unwrap()) - 2) / 2;
        assert_eq!([requests_of("m"), requests_of(OTHER)], [1, 2]);
        drop(requests);
    }
}
