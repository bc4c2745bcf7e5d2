//! A request in the estimated queue of its model.

use super::lock;
use super::models::ModelEstimators;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::queue::{QueueEntry, ServedRequest, WaitEstimate};

/// A request in a queue, or being served.
#[derive(Debug)]
pub(super) struct QueueMembership {
    estimators: Arc<ModelEstimators>,
    ticket: QueueEntry,
}

impl QueueMembership {
    /// Adds a request that was completely sent to the upstream.
    pub fn join(
        estimators: Arc<ModelEstimators>,
        at: Duration,
        bytes: u64,
        is_streamed: bool,
    ) -> Self {
        let ticket = lock(&estimators.queue).arrive(at, bytes, is_streamed);
        Self { estimators, ticket }
    }

    /// The first output of the stream arrived.
    pub fn on_first_output(&mut self, at: Duration) {
        lock(&self.estimators.queue).first_output(&mut self.ticket, at);
    }

    /// Removes the request. Returns its estimated queue wait.
    pub fn leave(self, at: Duration, served: Option<ServedRequest>) -> Option<WaitEstimate> {
        lock(&self.estimators.queue).finish(self.ticket, at, served)
    }
}

/// Whether requests of this operation wait for a slot that generates tokens.
pub(super) fn has_queue(operation: Operation) -> bool {
    use Operation::{Chat, GenerateContent, Infer, TextCompletion};
    matches!(operation, Chat | TextCompletion | GenerateContent | Infer)
}
