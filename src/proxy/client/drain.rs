//! Graceful shutdown of connections: each finishes its current request.

use crate::proxy::handover::ClientConnection;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Open connections of one worker's listener.
///
/// A running connection only loads a flag. hyper-util's `GracefulShutdown` polls a channel with a lock each time.
#[derive(Debug, Default)]
pub(super) struct Drain {
    has_started: AtomicBool,
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
    /// Runs a connection to its end, and shuts it down gracefully when the drain starts.
    pub async fn run(self: Arc<Self>, mut connection: ClientConnection) {
        let mut registration = None;
        let mut is_shutting_down = false;
        poll_fn(move |cx| {
            if registration.is_none() {
                registration = Some(ConnectionRegistration::new(Arc::clone(&self), cx));
            }
            if !is_shutting_down && self.has_started.load(Relaxed) {
                is_shutting_down = true;
                connection.shut_down();
            }
            Pin::new(&mut connection).poll(cx)
        })
        .await;
    }

    /// Shuts all connections down gracefully, and waits until they have ended.
    pub async fn shut_down(&self) {
        self.has_started.store(true, Relaxed);
        // Outside the lock: a waker can run any code.
        let tasks: Vec<Waker> = self.open().tasks.values().cloned().collect();
        tasks.iter().for_each(Waker::wake_by_ref);
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

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
