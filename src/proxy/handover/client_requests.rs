//! Count of the requests of a client's connection, shared by the connection, its service and the running requests.

use crate::socket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Requests of one client's connection. All users are on the same thread.
#[derive(Debug)]
pub(crate) struct ClientRequests {
    /// Number of requests whose headers were read.
    started: AtomicUsize,
    /// Number of requests whose response has not ended.
    open: AtomicUsize,
    /// Number of requests that the client has cancelled.
    cancelled: AtomicUsize,
    /// Time at which the latest request ended, or at which the connection was opened, in nanoseconds.
    idle_since: AtomicU64,
    /// Running requests must check their time limits. Only HTTP/1.1 uses it, where the connection's task runs the
    /// request.
    check_due: AtomicBool,
    /// Time until the running request needs the next check, in nanoseconds; 0 if it did not request one.
    next_check: AtomicU64,
}

impl ClientRequests {
    /// Returns the count of a connection that opens now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            idle_since: AtomicU64::new(nanos(socket::now())),
            check_due: AtomicBool::new(false),
            next_check: AtomicU64::new(0),
        })
    }

    /// Counts a request whose headers were read. It is open until the result is dropped.
    pub fn start(self: &Arc<Self>) -> OpenRequest {
        self.started.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenRequest { connection: Arc::clone(self), is_complete: false }
    }

    pub fn started(&self) -> usize {
        self.started.load(Relaxed)
    }

    /// Number of requests that the client has cancelled.
    pub fn cancelled(&self) -> usize {
        self.cancelled.load(Relaxed)
    }

    /// Returns when the latest request ended, or when the connection was opened. `None` while a request is open.
    pub fn idle_since(&self) -> Option<Duration> {
        let is_idle = self.open.load(Relaxed) == 0;
        is_idle.then(|| Duration::from_nanos(self.idle_since.load(Relaxed)))
    }

    /// Makes the running request check its time limits when it is polled next.
    pub fn request_check(&self) {
        self.check_due.store(true, Relaxed);
    }

    /// Whether a check was requested since the last call.
    pub fn take_check(&self) -> bool {
        let is_due = self.check_due.load(Relaxed);
        if is_due {
            self.check_due.store(false, Relaxed);
        }
        is_due
    }

    /// Requests the next check after this time.
    pub fn set_next_check(&self, time: Duration) {
        self.next_check.store(nanos(time), Relaxed);
    }

    /// Takes the time after which the running request has requested the next check.
    pub fn take_next_check(&self) -> Option<Duration> {
        let time = self.next_check.load(Relaxed);
        if time == 0 {
            return None;
        }
        self.next_check.store(0, Relaxed);
        Some(Duration::from_nanos(time))
    }
}

/// A request whose response has not ended.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    connection: Arc<ClientRequests>,
    is_complete: bool,
}

impl OpenRequest {
    pub fn connection(&self) -> &ClientRequests {
        &self.connection
    }

    /// The response has ended. A request that is dropped before that was cancelled by the client.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if !self.is_complete {
            self.connection.cancelled.fetch_add(1, Relaxed);
        }
        if self.connection.open.fetch_sub(1, Relaxed) == 1 {
            self.connection.idle_since.store(nanos(socket::now()), Relaxed);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    // u64 has room for 584 years.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
