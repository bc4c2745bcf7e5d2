//! Progress of a request while it is sent and served.

use super::capacity::OccupiedCapacity;
use super::queue::{QueueMembership, has_queue};
use super::{Tap, lock};
use crate::metrics::RequestPhase;
use crate::socket::{self, SocketTimestamps};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::request::RequestBodyReader;
use streamgauge_core::dialect::route::{Operation, Route};
use streamgauge_core::meter::SloVerdict;
use streamgauge_core::meter::queue::{ServedRequest, WaitEstimate};

/// Why a request's body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// Its framing is invalid.
    Framing,
    /// The client disconnected before it had sent all of it.
    ClientGone,
}

/// Progress of a request: its phase, its body and its place in the estimated queue.
///
/// Shared by the measurement and the request body: the connection to the upstream may still read the body while the
/// response arrives.
#[derive(Debug)]
pub(crate) struct RequestProgress {
    tap: Arc<Tap>,
    /// The model in the path, where the API has it there.
    model: Option<Arc<str>>,
    bytes: AtomicU64,
    /// The upstream's connection has requested the next part of the body, which the client has not sent.
    is_body_missing: AtomicBool,
    /// The upstream's socket accepts no bytes.
    upstream_stalled: AtomicBool,
    route: &'static Route,
    /// The lock is taken a few times per request, not per token.
    state: Mutex<ProgressState>,
}

/// Part of a [`RequestProgress`] that changes.
#[derive(Debug)]
struct ProgressState {
    /// `None` once the request has ended.
    phase: Option<RequestPhase>,
    peek: RequestBodyReader,
    fault: Option<RequestFault>,
    /// The body was passed completely to the upstream's connection.
    is_read: bool,
    /// The body was received completely, whether or not it is forwarded.
    is_received: bool,
    /// When the request was completely written to the upstream's socket.
    sent: Option<Duration>,
    queue: QueueState,
    /// Present while the server works on the request.
    capacity: Option<OccupiedCapacity>,
}

/// State of a request in the estimated queue.
#[derive(Debug)]
enum QueueState {
    /// Not completely sent.
    NotSent,
    /// In the queue, or being served.
    Joined(QueueMembership),
    /// Ended, or its first output arrived before it was completely sent.
    Left,
}

impl RequestProgress {
    /// `peek` reads the body.
    pub fn new(
        tap: Arc<Tap>,
        route: &'static Route,
        model: Option<String>,
        peek: RequestBodyReader,
    ) -> Self {
        tap.arrivals.count_arrival(route.operation);
        if route.operation.is_inference() {
            tap.activity.request_started();
        }
        let state = ProgressState {
            phase: Some(RequestPhase::Sending),
            peek,
            fault: None,
            is_read: false,
            is_received: false,
            sent: None,
            queue: QueueState::NotSent,
            capacity: None,
        };
        let progress = Self {
            tap,
            model: model.map(Arc::from),
            bytes: AtomicU64::new(0),
            is_body_missing: AtomicBool::new(false),
            upstream_stalled: AtomicBool::new(false),
            route,
            state: Mutex::new(state),
        };
        progress.count(RequestPhase::Sending, 1);
        progress
    }

    /// The tap of the upstream.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        lock(&self.state)
    }

    fn count(&self, phase: RequestPhase, difference: i64) {
        if let Some(gauge) = self.tap.arrivals.in_flight(self.route.operation, phase) {
            gauge.add(difference);
        }
    }

    /// Operation of the request's route.
    pub fn operation(&self) -> Operation {
        self.route.operation
    }

    /// Phase of the request. `None` once it has ended.
    pub fn phase(&self) -> Option<RequestPhase> {
        self.state().phase
    }

    /// Moves the request to this phase. It never moves back.
    pub fn enter(&self, phase: RequestPhase) {
        self.advance(&mut self.state(), phase);
    }

    fn advance(&self, state: &mut ProgressState, phase: RequestPhase) {
        if let Some(before) = state.phase
            && (before as u8) < phase as u8
        {
            state.phase = Some(phase);
            self.count(before, -1);
            self.count(phase, 1);
        }
    }

    /// The request ended at `now`.
    pub fn end(&self, now: Duration) {
        if let Some(phase) = self.state().phase.take() {
            self.count(phase, -1);
            if self.route.operation.is_inference() {
                self.tap.activity.request_ended(now);
            }
        }
    }

    /// Counts bytes sent to the upstream.
    pub fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.tap.series.bytes_up.inc_by(bytes as u64);
    }

    /// The next bytes of the body are forwarded.
    pub fn on_request_data(&self, bytes: &[u8]) {
        self.count_bytes(bytes.len());
        self.peek(bytes);
    }

    /// Reads the next bytes of the body, without counting them as forwarded.
    pub fn peek(&self, bytes: &[u8]) {
        let read = self.state().peek.push(bytes);
        self.count_unparsed(read);
    }

    fn count_unparsed(&self, read: Result<(), UnparsedReason>) {
        if let Err(reason) = read {
            self.tap.series.count_unparsed(reason);
        }
    }

    /// The upstream's connection has requested the next part of the body. `is_missing`: the client has not sent it.
    pub fn on_body_requested(&self, is_missing: bool) {
        self.is_body_missing.store(is_missing, Relaxed);
    }

    /// Sets whether the upstream's socket accepts no bytes.
    pub fn set_upstream_stalled(&self, is_stalled: bool) {
        self.upstream_stalled.store(is_stalled, Relaxed);
    }

    /// Whether the request waits for the client's next bytes, and not for the upstream to take earlier ones.
    pub fn awaits_client(&self) -> bool {
        self.is_body_missing.load(Relaxed) && !self.upstream_stalled.load(Relaxed)
    }

    /// Whether the body was passed completely to the upstream's connection.
    pub fn is_read(&self) -> bool {
        self.state().is_read
    }

    /// The body was passed completely to the upstream's connection.
    pub fn on_body_read(&self) {
        let mut state = self.state();
        self.advance(&mut state, RequestPhase::Waiting);
        state.is_read = true;
        state.is_received = true;
        self.count_unparsed(state.peek.end());
    }

    /// The upstream's connection has flushed its buffer to the socket with these timestamps.
    pub fn on_upstream_flush(&self, upstream: &SocketTimestamps) {
        let mut state = self.state();
        // The first flush after the last byte was passed is the end of sending.
        if state.is_read
            && state.sent.is_none()
            && let Some(at) = upstream.last_write()
        {
            state.sent = Some(at);
            if has_queue(self.route.operation)
                && catch_unwind(AssertUnwindSafe(|| self.join_queue(&mut state, at))).is_err()
            {
                // A panic costs this request's estimate only.
                self.tap.series.count_unparsed(UnparsedReason::Panic);
            }
        }
    }

    fn join_queue(&self, state: &mut ProgressState, at: Duration) {
        // The response may have ended before the request was completely sent.
        if matches!(state.queue, QueueState::NotSent) {
            let model = self.requested_model(state).map_or("", |model| &**model);
            // Only for tests.
            self.tap.faults.inject(model.as_bytes());
            let streams = state.peek.facts().stream;
            let streams = streams.unwrap_or_else(|| self.route.streams_by_default());
            let estimators = self.tap.models.get_or_create(model);
            let queue = QueueMembership::join(Arc::clone(&estimators), at, self.bytes(), streams);
            state.queue = QueueState::Joined(queue);
            state.capacity = Some(OccupiedCapacity::join(estimators, at));
        }
    }

    /// The first output of a stream arrived.
    pub fn on_first_output(&self, at: Duration) {
        let mut state = self.state();
        self.advance(&mut state, RequestPhase::Streaming);
        match &mut state.queue {
            QueueState::Joined(position) => position.on_first_output(at),
            // It was served before it was completely sent, so its wait cannot be estimated.
            queue @ QueueState::NotSent => *queue = QueueState::Left,
            QueueState::Left => {}
        }
    }

    /// The response ended. `served` is `None` unless it was successful. Returns the estimated queue wait.
    pub fn leave_queue(&self, at: Duration, served: Option<ServedRequest>) -> Option<WaitEstimate> {
        let queue = std::mem::replace(&mut self.state().queue, QueueState::Left);
        match queue {
            QueueState::Joined(position) => position.leave(at, served),
            QueueState::NotSent | QueueState::Left => None,
        }
    }

    /// The response ended, with these verdicts of its SLO classes.
    pub fn release_capacity(&self, at: Duration, verdicts: &[(Arc<str>, SloVerdict)]) {
        let capacity = self.state().capacity.take();
        if let Some(capacity) = capacity {
            capacity.release(at, verdicts);
        }
    }

    /// When the request was completely written to the upstream's socket.
    pub fn sent(&self) -> Option<Duration> {
        self.state().sent
    }

    /// The body could not be read completely.
    pub fn set_fault(&self, fault: RequestFault) {
        // Later errors are consequences of the first.
        self.state().fault.get_or_insert(fault);
    }

    /// Why the body could not be read completely, if it could not.
    pub fn fault(&self) -> Option<RequestFault> {
        self.state().fault
    }

    /// Bytes sent to the upstream.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The requested model, once it is known.
    pub fn model(&self) -> Option<Arc<str>> {
        self.requested_model(&self.state()).cloned()
    }

    /// Sets the model that a client requests in a message of its session.
    pub fn set_model(&self, model: &Arc<str>) {
        self.state().peek.set_model(model);
    }

    fn requested_model<'a>(&'a self, state: &'a ProgressState) -> Option<&'a Arc<str>> {
        state.peek.facts().model.as_ref().or(self.model.as_ref())
    }

    /// The end of a body that is not forwarded was read.
    pub fn on_peeked_end(&self) {
        let mut state = self.state();
        state.is_received = true;
        self.count_unparsed(state.peek.end());
    }

    /// Whether the body was received completely.
    pub fn is_received(&self) -> bool {
        self.state().is_received
    }

    /// Whether the whole body was read, so that a missing fact is missing in the body.
    pub fn is_body_known(&self) -> bool {
        self.state().peek.is_whole()
    }

    /// Number of choices that the body requests for each prompt; `None` if unknown.
    pub fn requested_choices(&self) -> Option<u64> {
        let state = self.state();
        state.peek.facts().choices.or(state.peek.is_whole().then_some(1))
    }

    /// Whether the response is probably a stream.
    pub fn expects_stream(&self) -> bool {
        self.requests_stream().unwrap_or_else(|| self.route.streams_by_default())
    }

    /// Whether the body requests a stream; `None` while unknown.
    pub fn requests_stream(&self) -> Option<bool> {
        self.state().peek.facts().stream
    }
}

impl Drop for RequestProgress {
    fn drop(&mut self) {
        // If the end could not be recorded, the request must not stay in the estimated queue for ever.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let QueueState::Joined(position) = std::mem::replace(&mut state.queue, QueueState::Left)
        {
            position.leave(socket::now(), None);
        }
        if let Some(capacity) = state.capacity.take() {
            capacity.release(socket::now(), &[]);
        }
    }
}
