//! Outages of an upstream: times in which no connection can be opened.

use super::lock;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A time in which no connection to the upstream can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first failed connection, on the clock that all instants share.
    pub since: Duration,
    /// Why that connection failed.
    pub cause: Arc<str>,
}

/// Follows new connections to one upstream, and logs the beginning and the end of each outage.
#[derive(Debug)]
pub(crate) struct OutageWatch {
    upstream: Arc<str>,
    current: Mutex<Option<Outage>>,
    /// Whether there is an outage, so that a new connection usually takes no lock.
    is_current: AtomicBool,
}

impl OutageWatch {
    pub fn new(upstream: &Arc<str>) -> Self {
        let (current, is_current) = (Mutex::default(), AtomicBool::new(false));
        Self { upstream: Arc::clone(upstream), current, is_current }
    }

    /// A connection could not be opened. The first failure begins an outage.
    pub fn on_failure(&self, at: Duration, cause: impl Display) {
        let mut current = lock(&self.current);
        if current.is_none() {
            let cause: Arc<str> = cause.to_string().into();
            tracing::warn!(upstream = &*self.upstream, %cause, "cannot connect to the upstream");
            *current = Some(Outage { since: at, cause });
            self.is_current.store(true, Relaxed);
        }
    }

    /// A connection was opened, which ends an outage.
    pub fn on_connection(&self, at: Duration) {
        if !self.is_current.load(Relaxed) {
            return;
        }
        if let Some(Outage { since, .. }) = lock(&self.current).take() {
            self.is_current.store(false, Relaxed);
            let seconds = at.saturating_sub(since).as_secs_f64();
            let upstream = &*self.upstream;
            tracing::info!(upstream, seconds, "the upstream accepts connections again");
        }
    }

    /// The current outage.
    pub fn current(&self) -> Option<Outage> {
        lock(&self.current).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_next_connection() {
        let at = Duration::from_secs;
        let watch = OutageWatch::new(&"gpu".into());
        watch.on_connection(at(1));
        assert_eq!(watch.current(), None);
        watch.on_failure(at(2), "refused");
        watch.on_failure(at(3), "timed out");
        assert_eq!(watch.current(), Some(Outage { since: at(2), cause: "refused".into() }));
        watch.on_connection(at(4));
        assert_eq!(watch.current(), None);
    }
}
