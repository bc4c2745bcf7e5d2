//! Timers for those that have no clock of their own.
//!
//! A runtime that has timers reads the clock twice in each of its turns and looks through them, whether one is due
//! or not. A worker takes a turn for nearly every token and needs a timer for nearly none: its runtime has
//! none, and what it waits for no longer than so long is timed by another's.

use hyper::rt::{Sleep as HyperSleep, Timer};
use hyper_util::rt::TokioTimer;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::time::{Interval, Sleep, Timeout, interval, sleep, timeout};

/// The timers of a runtime, which must run as long as anyone waits for one of them.
#[derive(Debug, Clone)]
pub struct Timers(Handle);

impl Timers {
    /// The timers of this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self(runtime)
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.there(|| sleep(duration))
    }

    pub(crate) fn timeout<F: Future>(&self, most: Duration, future: F) -> Timeout<F> {
        self.there(|| timeout(most, future))
    }

    pub(crate) fn interval(&self, period: Duration) -> Interval {
        self.there(|| interval(period))
    }

    /// Makes a timer of that runtime, whichever runtime waits for it.
    fn there<T>(&self, make: impl FnOnce() -> T) -> T {
        let _there = self.0.enter();
        make()
    }
}

/// For hyper.
impl Timer for Timers {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn HyperSleep>> {
        self.there(|| TokioTimer::new().sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn HyperSleep>> {
        self.there(|| TokioTimer::new().sleep_until(deadline))
    }
}
