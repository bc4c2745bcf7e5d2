//! What the two bodies of a request share.

use super::queue::{Place, has_queue};
use super::{Tap, lock};
use crate::dialect::Unparsed;
use crate::dialect::request::{RequestFacts, RequestPeek};
use crate::dialect::route::Operation;
use crate::meter::queue::Served;
use crate::metrics::{ArrivalSeries, Phase};
use crate::socket::{self, Stamps};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Why a request's body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// Its framing is wrong.
    Framing,
    /// The client left before it had sent all of it.
    Left,
}

/// The request's side of a measurement: its body is read by the upstream's connection while the
/// response is on its way.
#[derive(Debug)]
pub(crate) struct RequestSide {
    tap: Arc<Tap>,
    arrivals: Arc<ArrivalSeries>,
    operation: Operation,
    /// The model that the path names.
    model: Option<String>,
    /// `None` once the request has ended. The lock is taken a few times per request, not per token.
    phase: Mutex<Option<Phase>>,
    /// `None` where the body says nothing that is wanted.
    peek: Mutex<Option<RequestPeek>>,
    bytes: AtomicU64,
    fault: OnceLock<RequestFault>,
    /// All of the body was handed to the upstream's connection.
    read: AtomicBool,
    /// When all of the request was written to the upstream's socket.
    sent: OnceLock<Duration>,
    queue: Mutex<Queueing>,
}

/// Where a request is, as the estimate of its wait goes.
#[derive(Debug)]
enum Queueing {
    /// Not wholly sent.
    Before,
    In(Place),
    /// Over, or past its queue, whatever is still written.
    Left,
}

impl RequestSide {
    pub fn new(tap: Arc<Tap>, operation: Operation, model: Option<String>) -> Self {
        let peek = operation.is_inference().then(RequestPeek::default);
        let arrivals = Arc::clone(tap.arrivals());
        arrivals.arrived(operation);
        let side = Self {
            tap,
            arrivals,
            operation,
            model,
            phase: Mutex::new(Some(Phase::Sending)),
            peek: Mutex::new(peek),
            bytes: AtomicU64::new(0),
            fault: OnceLock::new(),
            read: AtomicBool::new(false),
            sent: OnceLock::new(),
            queue: Mutex::new(Queueing::Before),
        };
        side.count(Phase::Sending, 1);
        if operation.is_inference() {
            side.tap.activity.enter();
        }
        side
    }

    fn count(&self, phase: Phase, difference: i64) {
        if let Some(gauge) = self.arrivals.in_flight(self.operation, phase) {
            gauge.add(difference);
        }
    }

    /// The request is now in this phase; phases never go back.
    pub fn enter(&self, phase: Phase) {
        let mut current = lock(&self.phase);
        if let Some(before) = *current
            && (before as u8) < phase as u8
        {
            *current = Some(phase);
            self.count(before, -1);
            self.count(phase, 1);
        }
    }

    /// The request has ended, at `now`.
    pub fn leave(&self, now: Duration) {
        if let Some(phase) = lock(&self.phase).take() {
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
        if let Some(peek) = lock(&self.peek).as_mut() {
            peek.push(bytes);
        }
    }

    /// All of the body was handed to the upstream's connection.
    pub fn read(&self) {
        self.read.store(true, Relaxed);
    }

    /// All that the upstream's connection was handed is written to its socket, with these stamps.
    pub fn flushed(&self, upstream: &Stamps) {
        if self.read.load(Relaxed)
            && let Some(at) = upstream.last_write()
        {
            // The first flush after the end is the one that tells.
            if self.sent.set(at).is_ok()
                && has_queue(self.operation)
                && catch_unwind(AssertUnwindSafe(|| self.join_queue(at))).is_err()
            {
                // A fault of the estimate costs the estimate.
                self.tap.series.unparsed(Unparsed::Panic);
            }
        }
    }

    fn join_queue(&self, at: Duration) {
        let mut queue = lock(&self.queue);
        // An answer may be over before the request is.
        if matches!(*queue, Queueing::Before) {
            *queue = Queueing::In(self.with_model(|model| {
                self.tap.faults.strike(model.unwrap_or_default().as_bytes());
                self.tap.queues.arrive(model, at, self.bytes())
            }));
        }
    }

    /// The first output of a stream arrived.
    pub fn first_output(&self, at: Duration) {
        self.enter(Phase::Streaming);
        let mut queue = lock(&self.queue);
        match &mut *queue {
            Queueing::In(place) => place.first_output(at),
            // Its turn came before it was wholly sent: how long it waited can't be told.
            Queueing::Before => *queue = Queueing::Left,
            Queueing::Left => {}
        }
    }

    /// The response is over; `served` is what it says of the request, if it began as a success. Gives the
    /// seconds that the request is estimated to have waited in the server.
    pub fn leave_queue(&self, at: Duration, served: Option<Served>) -> Option<f64> {
        match std::mem::replace(&mut *lock(&self.queue), Queueing::Left) {
            Queueing::In(place) => place.leave(at, served),
            Queueing::Before | Queueing::Left => None,
        }
    }

    /// When all of the request was written to the upstream's socket.
    pub fn sent(&self) -> Option<Duration> {
        self.sent.get().copied()
    }

    /// The body could not be read to its end.
    pub fn broke(&self, fault: RequestFault) {
        // The first fault is the one that ended it.
        let _ = self.fault.set(fault);
    }

    pub fn fault(&self) -> Option<RequestFault> {
        self.fault.get().copied()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Tells `use_it` the model asked for, as far as it is known.
    pub fn with_model<R>(&self, use_it: impl FnOnce(Option<&str>) -> R) -> R {
        let peek = lock(&self.peek);
        let said = peek.as_ref().and_then(|peek| peek.facts().model.as_deref());
        use_it(said.or(self.model.as_deref()))
    }

    /// What the body has said so far.
    pub fn facts(&self) -> RequestFacts {
        let peeked = lock(&self.peek).as_ref().map(|peek| peek.facts().clone());
        let mut facts = peeked.unwrap_or_default();
        if facts.model.is_none() {
            facts.model.clone_from(&self.model);
        }
        facts
    }

    /// The handles for requests that arrived when this one did.
    pub fn arrivals(&self) -> &ArrivalSeries {
        &self.arrivals
    }
}

impl Drop for RequestSide {
    fn drop(&mut self) {
        // If our own record of the end failed, the queue must not go on waiting for it.
        let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Queueing::In(place) = std::mem::replace(queue, Queueing::Left) {
            place.leave(socket::now(), None);
        }
    }
}
