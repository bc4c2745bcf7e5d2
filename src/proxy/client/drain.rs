//! Ends connections in good order: each finishes the request that it is at.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A connection that can be told to end after its current request.
pub(crate) trait Graceful: Future {
    fn shut_down(self: Pin<&mut Self>);
}

/// The open connections of one worker's listener. A connection that runs looks at a flag, and at
/// nothing else: hyper-util's `GracefulShutdown` looks at a channel with a lock each time.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    begun: AtomicBool,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    /// The task of each connection.
    tasks: HashMap<u64, Waker>,
    next: u64,
    /// Who waits for the last of them to end.
    waiting: Option<Waker>,
}

impl Drain {
    /// Runs a connection to its end, and tells it when the drain begins.
    pub async fn run<C: Graceful>(self: Arc<Self>, connection: C) -> C::Output {
        let mut connection = pin!(connection);
        let mut guest = None;
        let mut told = false;
        poll_fn(move |cx| {
            if guest.is_none() {
                guest = Some(RegisteredConnection::new(Arc::clone(&self), cx));
            }
            if !told && self.begun.load(Relaxed) {
                told = true;
                connection.as_mut().shut_down();
            }
            connection.as_mut().poll(cx)
        })
        .await
    }

    /// Tells every connection to end, and waits until all have.
    pub async fn all(&self) {
        self.begun.store(true, Relaxed);
        // Outside the lock: a waker may run anything.
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

/// An open connection's entry, from its first poll on: a task keeps its waker.
struct RegisteredConnection {
    drain: Arc<Drain>,
    id: u64,
}

impl RegisteredConnection {
    fn new(drain: Arc<Drain>, cx: &Context<'_>) -> Self {
        let id = {
            let mut open = drain.open();
            open.next += 1;
            let id = open.next;
            open.tasks.insert(id, cx.waker().clone());
            id
        };
        Self { drain, id }
    }
}

impl Drop for RegisteredConnection {
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
