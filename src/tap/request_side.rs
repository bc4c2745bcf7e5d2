//! What the two bodies of a request share.

use super::queue::{QueuePosition, has_queue};
use super::{Tap, lock};
use crate::metrics::{ArrivalSeries, RequestPhase};
use crate::socket::{self, SocketTimestamps};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::request::RequestBodyReader;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::queue::ServedRequest;

/// Why a request's body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// Its framing is wrong.
    Framing,
    /// The client left before it had sent all of it.
    ClientGone,
}

/// The request's side of a measurement: its body is read by the upstream's connection while the
/// response is on its way.
#[derive(Debug)]
pub(crate) struct RequestSide {
    tap: Arc<Tap>,
    arrivals: Arc<ArrivalSeries>,
    /// The model that the path names.
    model: Option<Arc<str>>,
    bytes: AtomicU64,
    operation: Operation,
    /// The lock is taken a few times per request, not per token.
    progress: Mutex<RequestProgress>,
}

/// How far a request has come.
#[derive(Debug)]
struct RequestProgress {
    /// `None` once the request has ended.
    phase: Option<RequestPhase>,
    peek: RequestBodyReader,
    fault: Option<RequestFault>,
    /// All of the body was handed to the upstream's connection.
    is_read: bool,
    /// When all of the request was written to the upstream's socket.
    sent: Option<Duration>,
    queue: QueueState,
}

/// Where a request is, as the estimate of its wait goes.
#[derive(Debug)]
enum QueueState {
    /// Not wholly sent.
    NotSent,
    In(QueuePosition),
    /// Over, or past its queue, whatever is still written.
    Left,
}

impl RequestSide {
    pub fn new(tap: Arc<Tap>, operation: Operation, model: Option<String>) -> Self {
        let arrivals = Arc::clone(tap.arrivals());
        arrivals.arrived(operation);
        let mut peek = RequestBodyReader::default();
        if operation.is_inference() {
            tap.activity.enter();
        } else {
            // Its body says nothing that is wanted.
            peek.end();
        }
        let progress = RequestProgress {
            phase: Some(RequestPhase::Sending),
            peek,
            fault: None,
            is_read: false,
            sent: None,
            queue: QueueState::NotSent,
        };
        let side = Self {
            tap,
            arrivals,
            model: model.map(Arc::from),
            bytes: AtomicU64::new(0),
            operation,
            progress: Mutex::new(progress),
        };
        side.count(RequestPhase::Sending, 1);
        side
    }

    fn progress(&self) -> MutexGuard<'_, RequestProgress> {
        lock(&self.progress)
    }

    fn count(&self, phase: RequestPhase, difference: i64) {
        if let Some(gauge) = self.arrivals.in_flight(self.operation, phase) {
            gauge.add(difference);
        }
    }

    /// The request is now in this phase; phases never go back.
    pub fn enter(&self, phase: RequestPhase) {
        self.advance(&mut self.progress(), phase);
    }

    fn advance(&self, progress: &mut RequestProgress, phase: RequestPhase) {
        if let Some(before) = progress.phase
            && (before as u8) < phase as u8
        {
            progress.phase = Some(phase);
            self.count(before, -1);
            self.count(phase, 1);
        }
    }

    /// The request has ended, at `now`.
    pub fn leave(&self, now: Duration) {
        if let Some(phase) = self.progress().phase.take() {
            self.count(phase, -1);
            if self.operation.is_inference() {
                self.tap.activity.leave(now);
            }
        }
    }

    /// So many bytes went up.
    pub fn passed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.tap.series.bytes_up.inc_by(bytes as u64);
    }

    /// The next bytes of the body.
    pub fn data(&self, bytes: &[u8]) {
        self.passed(bytes.len());
        self.peek(bytes);
    }

    /// The same, of a body that goes nowhere.
    pub fn peek(&self, bytes: &[u8]) {
        self.progress().peek.push(bytes);
    }

    /// All of the body was handed to the upstream's connection.
    pub fn read(&self) {
        let mut progress = self.progress();
        self.advance(&mut progress, RequestPhase::Waiting);
        progress.is_read = true;
        progress.peek.end();
    }

    /// All that the upstream's connection was handed is written to its socket, with these stamps.
    pub fn on_upstream_flush(&self, upstream: &SocketTimestamps) {
        let mut progress = self.progress();
        // The first flush after the end is the one that tells.
        if progress.is_read
            && progress.sent.is_none()
            && let Some(at) = upstream.last_write()
        {
            progress.sent = Some(at);
            if has_queue(self.operation)
                && catch_unwind(AssertUnwindSafe(|| self.join_queue(&mut progress, at))).is_err()
            {
                // A fault of the estimate costs the estimate.
                self.tap.series.unparsed(UnparsedReason::Panic);
            }
        }
    }

    fn join_queue(&self, progress: &mut RequestProgress, at: Duration) {
        // An answer may be over before the request is.
        if matches!(progress.queue, QueueState::NotSent) {
            let model = self.model_of(progress).map_or("", |model| &**model);
            self.tap.faults.strike(model.as_bytes());
            progress.queue = QueueState::In(self.tap.queues.arrive(model, at, self.bytes()));
        }
    }

    /// The first output of a stream arrived.
    pub fn first_output(&self, at: Duration) {
        let mut progress = self.progress();
        self.advance(&mut progress, RequestPhase::Streaming);
        match &mut progress.queue {
            QueueState::In(place) => place.first_output(at),
            // Its turn came before it was wholly sent: how long it waited can't be told.
            queue @ QueueState::NotSent => *queue = QueueState::Left,
            QueueState::Left => {}
        }
    }

    /// The response is over; `served` is what it says of the request, if it began as a success. Gives the
    /// seconds that the request is estimated to have waited in the server.
    pub fn leave_queue(&self, at: Duration, served: Option<ServedRequest>) -> Option<f64> {
        let queue = std::mem::replace(&mut self.progress().queue, QueueState::Left);
        match queue {
            QueueState::In(place) => place.leave(at, served),
            QueueState::NotSent | QueueState::Left => None,
        }
    }

    /// When all of the request was written to the upstream's socket.
    pub fn sent(&self) -> Option<Duration> {
        self.progress().sent
    }

    /// The body could not be read to its end.
    pub fn broke(&self, fault: RequestFault) {
        // The first fault is the one that ended it.
        self.progress().fault.get_or_insert(fault);
    }

    pub fn fault(&self) -> Option<RequestFault> {
        self.progress().fault
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The model asked for, as far as it is known.
    pub fn model(&self) -> Option<Arc<str>> {
        self.model_of(&self.progress()).cloned()
    }

    fn model_of<'a>(&'a self, progress: &'a RequestProgress) -> Option<&'a Arc<str>> {
        progress.peek.facts().model.as_ref().or(self.model.as_ref())
    }

    /// Whether the body asks for a stream, if it has said so.
    pub fn asks_stream(&self) -> Option<bool> {
        self.progress().peek.facts().stream
    }

    /// The handles for requests that arrived when this one did.
    pub fn arrivals(&self) -> &ArrivalSeries {
        &self.arrivals
    }
}

impl Drop for RequestSide {
    fn drop(&mut self) {
        // If our own record of the end failed, the queue must not go on waiting for it.
        let progress = self.progress.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let QueueState::In(place) = std::mem::replace(&mut progress.queue, QueueState::Left) {
            place.leave(socket::now(), None);
        }
    }
}
