//! Limits of a proxy, from the configuration. `docs/proxy.md` has the table of all limits.

use std::time::Duration;

/// Limits of one proxy. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Time from the first byte of a request, or from the start of a connection, to the end of the request's headers.
    pub request_header_time: Option<Duration>,
    /// Time between two requests of a connection.
    pub keep_alive_time: Option<Duration>,
    /// Time in which a client must send the next part of a request body.
    pub request_body_time: Option<Duration>,
    /// Size in bytes of the request line and the headers of a request.
    pub request_header_bytes: usize,
    /// Number of header lines of a request.
    pub request_headers: usize,
    /// Number of requests on a client's connection.
    pub connection_requests: Option<usize>,
    /// Time from the end of the request to the response headers.
    pub response_header_time: Option<Duration>,
    /// Time between two reads of a response body.
    pub response_silence: Option<Duration>,
    /// Time from the arrival of a request to the end of its response.
    pub request_time: Option<Duration>,
    /// Number of HTTP/2 streams that a client may reset per minute.
    pub http2_resets_per_minute: Option<usize>,
    /// Number of interim responses (1xx) of the server to one request.
    pub interim_responses: usize,
}

impl ProxyLimits {
    /// Shortest time limit on a client's connection. A check at this interval misses no deadline that starts after the
    /// check before.
    pub fn client_check_interval(&self) -> Option<Duration> {
        [self.request_header_time, self.keep_alive_time, self.request_body_time]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Progress of a request body, to detect clients that send no bytes or only a few.
///
/// A body makes progress if the client sends [`MIN_PROGRESS`](Self::MIN_PROGRESS) bytes within the time limit. The time
/// in which the server takes no bytes does not count.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyProgress {
    bytes: u64,
    since: Duration,
}

impl BodyProgress {
    /// Number of bytes that a client must send within the time limit. With the default limit of 60 s, this is 17 bytes
    /// per second: no real client is as slow, and a client that sends a byte from time to time does not reach it.
    const MIN_PROGRESS: u64 = 1024;

    /// Starts at `now`.
    pub fn new(now: Duration) -> Self {
        Self { bytes: 0, since: now }
    }

    /// Returns when the time without progress began. `bytes`: number of bytes received so far. `last_read`: when the
    /// client's bytes were last read. `is_awaited`: the proxy waits for the client's next bytes.
    pub fn stopped_since(
        &mut self,
        bytes: u64,
        last_read: Duration,
        is_awaited: bool,
        now: Duration,
    ) -> Duration {
        if !is_awaited {
            *self = Self { bytes, since: now };
        } else if bytes.saturating_sub(self.bytes) >= Self::MIN_PROGRESS {
            *self = Self { bytes, since: last_read.max(self.since) };
        }
        self.since
    }
}

/// Number of events that are allowed per minute: a leaky bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct MinuteBudget {
    /// Number of events that have not leaked out.
    level: f64,
    updated_at: Duration,
}

impl MinuteBudget {
    /// Returns an unused budget.
    pub fn new(now: Duration) -> Self {
        Self { level: 0.0, updated_at: now }
    }

    /// Records events. Returns whether there were more than `max` per minute, in a burst or over time.
    pub fn exceeds(&mut self, events: usize, max: usize, now: Duration) -> bool {
        let minutes = now.saturating_sub(self.updated_at).as_secs_f64() / 60.0;
        self.updated_at = now;
        self.level = (self.level - minutes * max as f64).max(0.0) + events as f64;
        self.level > max as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_body_makes_progress_by_its_bytes() {
        let mut body = BodyProgress::new(SECOND);
        // A byte from time to time is no progress; 1 KiB is, from its last read on.
        assert_eq!(body.stopped_since(1, 5 * SECOND, true, 6 * SECOND), SECOND);
        assert_eq!(body.stopped_since(1024, 7 * SECOND, true, 9 * SECOND), 7 * SECOND);
        assert_eq!(body.stopped_since(1100, 10 * SECOND, true, 11 * SECOND), 7 * SECOND);
        // The server takes no bytes.
        assert_eq!(body.stopped_since(1100, 10 * SECOND, false, 90 * SECOND), 90 * SECOND);
        assert_eq!(body.stopped_since(1101, 91 * SECOND, true, 92 * SECOND), 90 * SECOND);
    }

    #[test]
    fn a_budget_allows_a_burst_and_a_rate() {
        let mut budget = MinuteBudget::new(SECOND);
        assert!(!budget.exceeds(60, 60, SECOND), "a burst");
        assert!(budget.exceeds(1, 60, SECOND));
        let mut budget = MinuteBudget::new(SECOND);
        assert!((0..1000).all(|second| !budget.exceeds(1, 60, second * SECOND)), "the rate");
        let mut budget = MinuteBudget::new(SECOND);
        assert!((0..1000).any(|second| budget.exceeds(2, 60, second * SECOND)), "twice the rate");
    }
}
