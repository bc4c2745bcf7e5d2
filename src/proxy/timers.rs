//! Timers for runtimes that have none.
//!
//! A tokio runtime with timers reads the clock twice per turn and checks whether a timer is due. A worker has a turn for
//! nearly every token and needs almost no timers. Its runtime therefore has none, and uses those of another runtime for
//! its few timeouts.

use hyper::rt::{Sleep as HyperSleep, Timer};
use hyper_util::rt::TokioTimer;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::{Instant as TokioInstant, Interval, Sleep, Timeout, interval, sleep, timeout};

/// Timers of another runtime, which must run as long as any of them is in use.
#[derive(Debug, Clone)]
pub struct Timers(Handle);

impl Timers {
    /// Returns the timers of `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self(runtime)
    }

    /// Returns the timers of the runtime that runs the caller.
    pub fn current() -> Self {
        Self(Handle::current())
    }

    pub(super) fn sleep(&self, duration: Duration) -> Sleep {
        self.create(|| sleep(duration))
    }

    pub(super) fn timeout<F: Future>(&self, limit: Duration, future: F) -> Timeout<F> {
        self.create(|| timeout(limit, future))
    }

    pub(super) fn interval(&self, period: Duration) -> Interval {
        self.create(|| interval(period))
    }

    /// Creates a timer of that runtime. Any runtime can wait for it.
    fn create<T>(&self, new_timer: impl FnOnce() -> T) -> T {
        let _context = self.0.enter();
        new_timer()
    }
}

/// A timer of a task that is polled often and is rarely due.
///
/// It registers the task once, and then only loads the state of the timer. All calls must come from the same task.
#[derive(Debug)]
pub(super) struct TaskTimer {
    sleep: Pin<Box<Sleep>>,
    is_registered: bool,
}

impl TaskTimer {
    /// Returns a timer that is due after `duration`.
    pub fn new(timers: &Timers, duration: Duration) -> Self {
        Self { sleep: Box::pin(timers.sleep(duration)), is_registered: false }
    }

    /// Starts the timer again.
    pub fn restart(&mut self, duration: Duration) {
        self.sleep.as_mut().reset(TokioInstant::now() + duration);
        self.is_registered = false;
    }

    /// Whether the time is over. Otherwise the timer wakes the task.
    pub fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_registered {
            return self.sleep.is_elapsed();
        }
        self.is_registered = true;
        // Unconstrained: a task without budget would not be registered.
        pin!(unconstrained(self.sleep.as_mut())).poll(cx).is_ready()
    }
}

/// Timers for hyper.
impl Timer for Timers {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn HyperSleep>> {
        self.create(|| TokioTimer::new().sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn HyperSleep>> {
        self.create(|| TokioTimer::new().sleep_until(deadline))
    }
}
