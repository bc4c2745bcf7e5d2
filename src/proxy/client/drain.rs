//! Shutdown of client connections, in stages.

use crate::proxy::handover::ClientConnection;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use strum::FromRepr;

/// Stage of the shutdown. It only advances; stages can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, FromRepr)]
#[repr(u8)]
pub enum DrainStage {
    /// No shutdown.
    #[default]
    Serving,
    /// New connections and requests are served. Responses announce that their connection closes, so that clients and load
    /// balancers go elsewhere and lose no request.
    LameDuck,
    /// The listeners are closed. Each connection finishes its current requests and accepts no further one.
    Closing,
    /// All open connections are reset.
    Aborting,
}

/// Durations of the stages of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// How long new connections and requests are still served.
    pub lame_duck: Duration,
    /// How long open requests may then continue.
    pub grace: Duration,
}

/// Open connections of one worker's listener.
///
/// A running connection only loads the stage. hyper-util's `GracefulShutdown` polls a channel with a lock each time.
#[derive(Debug, Default)]
pub(super) struct Drain {
    stage: AtomicU8,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    /// The task of each connection, by its id.
    tasks: HashMap<u64, Waker>,
    last_id: u64,
    /// Task that waits for all connections to end.
    waiting: Option<Waker>,
}

impl Drain {
    /// Runs a connection to its end, through the stages of the shutdown.
    pub fn run(self: Arc<Self>, connection: ClientConnection) -> DrainedConnection {
        let entered = DrainStage::Serving;
        DrainedConnection { connection, drain: self, registration: None, entered }
    }

    /// Advances all connections to `stage`, those that open later included.
    pub fn enter(&self, stage: DrainStage) {
        self.stage.store(stage as u8, Relaxed);
        // Outside the lock: a waker can run any code.
        let tasks: Vec<Waker> = self.open().tasks.values().cloned().collect();
        tasks.iter().for_each(Waker::wake_by_ref);
    }

    /// Waits until all connections have ended.
    pub async fn closed(&self) {
        poll_fn(|cx| {
            let mut open = self.open();
            if open.tasks.is_empty() {
                return Poll::Ready(());
            }
            open.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn stage(&self) -> DrainStage {
        DrainStage::from_repr(self.stage.load(Relaxed)).unwrap_or_default()
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Future of a connection that enters the stages of the shutdown. A future of its own: the state machine of an `async` block
/// costs more per turn.
pub(super) struct DrainedConnection {
    connection: ClientConnection,
    drain: Arc<Drain>,
    registration: Option<ConnectionRegistration>,
    entered: DrainStage,
}

impl Future for DrainedConnection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { connection, drain, registration, entered } = self.get_mut();
        if registration.is_none() {
            *registration = Some(ConnectionRegistration::new(Arc::clone(drain), cx));
            // A new connection announces its end from its first response.
            *entered = drain.stage().min(DrainStage::LameDuck);
            connection.enter(*entered);
        }
        // Before a later stage: a request that has already arrived is open.
        let mut polled = Pin::new(&mut *connection).poll(cx);
        while polled.is_pending() && *entered < drain.stage() {
            *entered = drain.stage();
            connection.enter(*entered);
            polled = Pin::new(&mut *connection).poll(cx);
        }
        polled
    }
}

/// Entry of an open connection, made at its first poll. A task keeps its waker, so the entry stays valid.
struct ConnectionRegistration {
    drain: Arc<Drain>,
    id: u64,
}

impl ConnectionRegistration {
    fn new(drain: Arc<Drain>, cx: &Context<'_>) -> Self {
        let id = {
            let mut open = drain.open();
            open.last_id += 1;
            let id = open.last_id;
            open.tasks.insert(id, cx.waker().clone());
            id
        };
        Self { drain, id }
    }
}

impl Drop for ConnectionRegistration {
    fn drop(&mut self) {
        let waiting = {
            let mut open = self.drain.open();
            open.tasks.remove(&self.id);
            if open.tasks.is_empty() { open.waiting.take() } else { None }
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}
