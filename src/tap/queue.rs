//! The queues of an upstream: an estimator for each model, and a request's place in one.

use super::lock;
use crate::metrics::OTHER;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::queue::{ExpectedTtft, QueueEntry, QueueEstimator, ServedRequest};

/// Models with an estimator of their own; further ones share one, with requests that name none.
const MODELS: usize = 64;

/// The estimators of one upstream, by the model asked for.
#[derive(Debug, Default)]
pub(super) struct UpstreamQueues(Mutex<BTreeMap<Arc<str>, Arc<Mutex<QueueEstimator>>>>);

impl UpstreamQueues {
    /// A request is wholly sent to the upstream; `model` is empty if it names none.
    pub fn arrive(&self, model: &str, at: Duration, bytes: u64) -> QueuePosition {
        let estimator = self.of(if model.is_empty() { OTHER } else { model });
        let ticket = lock(&estimator).arrive(at, bytes);
        QueuePosition { estimator, ticket }
    }

    fn of(&self, model: &str) -> Arc<Mutex<QueueEstimator>> {
        let mut queues = lock(&self.0);
        if let Some(known) = queues.get(model) {
            return Arc::clone(known);
        }
        if queues.len() >= MODELS {
            // Names that were asked for and never served must not keep others out.
            queues.retain(|_, estimator| !lock(estimator).is_unused());
        }
        let model = if queues.len() < MODELS { model } else { OTHER };
        Arc::clone(queues.entry(model.into()).or_default())
    }

    /// What a request of so many bytes to this model would take that does not wait.
    pub fn expected(&self, model: &str, bytes: u64) -> Option<ExpectedTtft> {
        let queues = lock(&self.0);
        let estimator = queues.get(model).or_else(|| queues.get(OTHER)).map(Arc::clone)?;
        drop(queues);
        lock(&estimator).expected_ttft(bytes)
    }

    /// What is known of each model.
    pub fn each(&self, mut show: impl FnMut(&str, &QueueEstimator)) {
        let queues: Vec<_> =
            lock(&self.0).iter().map(|(model, one)| (Arc::clone(model), Arc::clone(one))).collect();
        queues.iter().for_each(|(model, estimator)| show(model, &lock(estimator)));
    }
}

/// A request that was sent, in its queue or in service.
#[derive(Debug)]
pub(super) struct QueuePosition {
    estimator: Arc<Mutex<QueueEstimator>>,
    ticket: QueueEntry,
}

impl QueuePosition {
    /// The first output of its stream arrived.
    pub fn first_output(&mut self, at: Duration) {
        lock(&self.estimator).first_output(&mut self.ticket, at);
    }

    /// It is over; gives the seconds that it is estimated to have waited.
    pub fn leave(self, at: Duration, served: Option<ServedRequest>) -> Option<f64> {
        lock(&self.estimator).finish(self.ticket, at, served)
    }
}

/// Whether requests of this operation wait for slots in which tokens are generated.
pub(super) fn has_queue(operation: Operation) -> bool {
    use Operation::{Chat, GenerateContent, Infer, TextCompletion};
    matches!(operation, Chat | TextCompletion | GenerateContent | Infer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_were_never_served_keep_nobody_out() {
        let queues = UpstreamQueues::default();
        for i in 0..10_000 {
            let place = queues.arrive(&format!("wrong-{i}"), Duration::ZERO, 1);
            assert_eq!(place.leave(Duration::ZERO, None), None);
        }
        assert!(lock(&queues.0).len() <= MODELS);
        let in_flight: Vec<QueuePosition> =
            (0..MODELS + 10).map(|i| queues.arrive(&format!("m{i}"), Duration::ZERO, 1)).collect();
        let known: Vec<Arc<str>> = lock(&queues.0).keys().cloned().collect();
        assert_eq!(known.len(), MODELS + 1, "and one for all others");
        assert!(known.iter().any(|model| &**model == OTHER));
        drop(in_flight);
    }
    #[test]
    fn requests_that_name_no_model_share_one() {
        let queues = UpstreamQueues::default();
        let places = ["", OTHER, "m"].map(|model| queues.arrive(model, Duration::ZERO, 1));
        let mut known = Vec::new();
        queues.each(|model, _| known.push(model.to_owned()));
        known.sort();
        assert_eq!(known, ["m", OTHER]);
        drop(places);
    }
}
