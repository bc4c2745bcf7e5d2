//! Estimated queues of an upstream: one estimator for each model.

use super::lock;
use crate::metrics::OTHER;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::queue::{
    ExpectedTtft, QueueEntry, QueueEstimator, ServedRequest, WaitEstimate,
};

/// Most models with an estimator of their own. Further models share one with requests that name no model.
const MAX_MODELS: usize = 64;

/// Queue estimators of one upstream, by requested model.
#[derive(Debug, Default)]
pub(super) struct UpstreamQueues(Mutex<BTreeMap<Arc<str>, Arc<Mutex<QueueEstimator>>>>);

impl UpstreamQueues {
    /// Adds a request that was completely sent to the upstream. `model` is empty if it names none.
    pub fn join(
        &self,
        model: &str,
        at: Duration,
        bytes: u64,
        is_streamed: bool,
    ) -> QueueMembership {
        let estimator = self.estimator(if model.is_empty() { OTHER } else { model });
        let ticket = lock(&estimator).arrive(at, bytes, is_streamed);
        QueueMembership { estimator, ticket }
    }

    fn estimator(&self, model: &str) -> Arc<Mutex<QueueEstimator>> {
        let mut queues = lock(&self.0);
        if let Some(known) = queues.get(model) {
            return Arc::clone(known);
        }
        if queues.len() >= MAX_MODELS {
            // Models that were requested and never served must not use up the limit.
            queues.retain(|_, estimator| !lock(estimator).is_unused());
        }
        let model = if queues.len() < MAX_MODELS { model } else { OTHER };
        Arc::clone(queues.entry(model.into()).or_default())
    }

    /// TTFT of a request with this model and size that does not wait in the queue.
    pub fn expected_ttft(&self, model: &str, bytes: u64) -> Option<ExpectedTtft> {
        let queues = lock(&self.0);
        let estimator = queues.get(model).or_else(|| queues.get(OTHER)).map(Arc::clone)?;
        drop(queues);
        lock(&estimator).expected_ttft(bytes)
    }

    /// Longest TTFT that a request of this size has without waiting, over all models.
    pub fn longest_ttft(&self, bytes: u64) -> Option<ExpectedTtft> {
        let mut longest: Option<ExpectedTtft> = None;
        self.for_each(|_, estimator| {
            let expected = estimator.expected_ttft(bytes);
            longest = [longest, expected].into_iter().flatten().max_by_key(|one| one.ttft);
        });
        longest
    }

    /// Calls a function with each model and its estimator.
    pub fn for_each(&self, mut read: impl FnMut(&str, &QueueEstimator)) {
        let queues: Vec<_> =
            lock(&self.0).iter().map(|(model, one)| (Arc::clone(model), Arc::clone(one))).collect();
        queues.iter().for_each(|(model, estimator)| read(model, &lock(estimator)));
    }
}

/// A request in a queue, or being served.
#[derive(Debug)]
pub(super) struct QueueMembership {
    estimator: Arc<Mutex<QueueEstimator>>,
    ticket: QueueEntry,
}

impl QueueMembership {
    /// The first output of the stream arrived.
    pub fn on_first_output(&mut self, at: Duration) {
        lock(&self.estimator).first_output(&mut self.ticket, at);
    }

    /// Removes the request. Returns its estimated queue wait.
    pub fn leave(self, at: Duration, served: Option<ServedRequest>) -> Option<WaitEstimate> {
        lock(&self.estimator).finish(self.ticket, at, served)
    }
}

/// Whether requests of this operation wait for a slot that generates tokens.
pub(super) fn has_queue(operation: Operation) -> bool {
    use Operation::{Chat, GenerateContent, Infer, TextCompletion};
    matches!(operation, Chat | TextCompletion | GenerateContent | Infer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_were_never_served_do_not_use_up_the_limit() {
        let queues = UpstreamQueues::default();
        for i in 0..10_000 {
            let position = queues.join(&format!("wrong-{i}"), Duration::ZERO, 1, true);
            assert_eq!(position.leave(Duration::ZERO, None), None);
        }
        assert!(lock(&queues.0).len() <= MAX_MODELS);
        let in_flight: Vec<QueueMembership> = (0..MAX_MODELS + 10)
            .map(|i| queues.join(&format!("m{i}"), Duration::ZERO, 1, true))
            .collect();
        let known: Vec<Arc<str>> = lock(&queues.0).keys().cloned().collect();
        assert_eq!(known.len(), MAX_MODELS + 1, "and one for all others");
        assert!(known.iter().any(|model| &**model == OTHER));
        drop(in_flight);
    }

    #[test]
    fn requests_without_a_model_share_one_estimator() {
        let queues = UpstreamQueues::default();
        let positions = ["", OTHER, "m"].map(|model| queues.join(model, Duration::ZERO, 1, true));
        let mut known = Vec::new();
        queues.for_each(|model, _| known.push(model.to_owned()));
        known.sort();
        assert_eq!(known, ["m", OTHER]);
        drop(positions);
    }
}
