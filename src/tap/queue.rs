//! Estimated queues of an upstream: one estimator for each model.

use super::lock;
use super::per_model::{ModelState, PerModel};
use std::time::Duration;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::queue::{
    ExpectedTtft, QueueEntry, QueueEstimator, ServedRequest, WaitEstimate,
};

/// Queue estimators of one upstream, by requested model.
#[derive(Debug)]
pub(super) struct UpstreamQueues(PerModel<QueueEstimator>);

impl Default for UpstreamQueues {
    fn default() -> Self {
        Self(PerModel::new(QueueEstimator::is_unused))
    }
}

impl UpstreamQueues {
    /// Adds a request that was completely sent to the upstream. `model` is empty if it names none.
    pub fn join(
        &self,
        model: &str,
        at: Duration,
        bytes: u64,
        is_streamed: bool,
    ) -> QueueMembership {
        let estimator = self.0.get_or_create(model);
        let ticket = lock(&estimator).arrive(at, bytes, is_streamed);
        QueueMembership { estimator, ticket }
    }

    /// TTFT of a request with this model and size that does not wait in the queue.
    pub fn expected_ttft(&self, model: &str, bytes: u64) -> Option<ExpectedTtft> {
        lock(&*self.0.find(model)?).expected_ttft(bytes)
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
        self.0.all().iter().for_each(|(model, estimator)| read(model, &lock(estimator)));
    }
}

/// A request in a queue, or being served.
#[derive(Debug)]
pub(super) struct QueueMembership {
    estimator: ModelState<QueueEstimator>,
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
