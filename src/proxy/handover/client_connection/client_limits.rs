//! Limits of a client: time for its next request, and cancelled HTTP/2 requests.

use super::{ClientConnection, ClientPhase};
use crate::metrics::LimitKind;
use crate::proxy::forward::request_header_timeout;
use crate::proxy::timers::TaskTimer;
use crate::socket;
use hyper::rt::Write;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

/// Time in which a client beyond the maximum of connections must send its request to get a response.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time in which a client can read the GOAWAY that it gets for too many cancelled requests.
const CUT_OFF_TIME: Duration = Duration::from_secs(1);
/// Time in which a client must close an HTTP/2 connection after GOAWAY, if it has no open request.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(5);

impl ClientConnection {
    /// Time between two checks of the client's time limits. `None` if there are none.
    pub(super) fn check_interval(&self) -> Option<Duration> {
        if self.slot.is_refused {
            return Some(REFUSAL_TIMEOUT);
        }
        self.upstream.config().limits.client_check_interval()
    }

    /// Whether an HTTP/2 client has cancelled too many requests.
    pub(super) fn exceeds_resets(&mut self) -> bool {
        let cancelled = self.requests.cancelled();
        let new = cancelled - self.known_resets;
        if new == 0 || self.is_cut_off {
            return false;
        }
        self.known_resets = cancelled;
        let max = self.upstream.config().limits.http2_resets_per_minute;
        max.is_some_and(|max| self.resets.exceeds(new, max, socket::now()))
    }

    /// Closes an HTTP/2 connection whose client has cancelled too many requests.
    pub(super) fn cut_off(&mut self) {
        self.count_limit(LimitKind::Http2Resets);
        self.is_cut_off = true;
        self.handover.cut_off();
        self.timer = Some(TaskTimer::new(self.upstream.timers(), CUT_OFF_TIME));
    }

    /// Checks the client's time limits, if the timer is due. Returns whether the phase must be polled again.
    pub(super) fn check_limits(&mut self, cx: &mut Context<'_>) -> bool {
        use ClientPhase::{Lingering, Stream, Tunnel};
        if matches!(self.phase, Stream(_) | Tunnel(_) | Lingering(_)) {
            // There is nothing to wait for from the client. The timer stays due until there is.
            return false;
        }
        let Some(timer) = &mut self.timer else { return false };
        if let Some(time) = self.requests.take_next_check() {
            let limits = &self.upstream.config().limits;
            timer.restart(
                limits.client_check_interval().map_or(time, |interval| interval.min(time)),
            );
        }
        if !timer.is_due(cx) {
            return false;
        }
        let interval = self.check_interval().unwrap_or(CUT_OFF_TIME);
        if self.is_cut_off {
            self.phase = ClientPhase::Closed;
            return true;
        }
        let wait = self.client_wait();
        let left = wait.deadline.map(|deadline| deadline.saturating_sub(socket::now()));
        let mut next = left.unwrap_or(interval);
        if next.is_zero() {
            self.end_wait(wait, cx);
            next = GOAWAY_TIMEOUT;
        } else {
            self.requests.request_check();
        }
        if let Some(timer) = &mut self.timer {
            timer.restart(next.min(interval));
        }
        true
    }

    /// Returns the next step that the connection waits for, and its deadline.
    fn client_wait(&self) -> ClientWait {
        let limits = &self.upstream.config().limits;
        let is_http1 = !matches!(self.phase, ClientPhase::Http2(_));
        let none = ClientWait { deadline: None, limit: LimitKind::KeepAliveTime, responds: false };
        let Some(idle_since) = self.requests.idle_since() else { return none };
        if self.timestamps.is_stalled() {
            // The client has not yet received the whole response to its last request.
            return none;
        }
        // In HTTP/2, bytes can also be control frames.
        let began_at = self.timestamps.head_began_at().filter(|_| is_http1);
        let (since, time, limit) = match began_at {
            // Bytes of a pipelined request can arrive during the response before it.
            Some(began_at) => {
                (began_at.max(idle_since), limits.request_header_time, LimitKind::RequestHeaderTime)
            }
            None if self.requests.started() == 0 => {
                (idle_since, limits.request_header_time, LimitKind::RequestHeaderTime)
            }
            None => (idle_since, limits.keep_alive_time, LimitKind::KeepAliveTime),
        };
        let time = if self.slot.is_refused { Some(REFUSAL_TIMEOUT) } else { time };
        let deadline = time.map(|time| since + time);
        ClientWait { deadline, limit, responds: began_at.is_some() }
    }

    /// Closes the connection of a client that did not send a request in time.
    fn end_wait(&mut self, wait: ClientWait, cx: &mut Context<'_>) {
        if !self.is_closing && !self.slot.is_refused {
            self.count_limit(wait.limit);
        }
        if matches!(self.phase, ClientPhase::Http2(_)) && !self.is_closing {
            // Sends GOAWAY. A client that does not close the connection then comes here again.
            self.shut_down();
            return;
        }
        let mut io = match self.take_phase() {
            ClientPhase::Sniffing(sniffer) => sniffer.into_parts().0,
            ClientPhase::Http1(http) => http.into_parts().io.io,
            _ => return,
        };
        if wait.responds {
            // One attempt: the socket's buffer has room for it, unless the client reads nothing.
            let response = request_header_timeout();
            let sent = io.poll_send(cx, &response);
            let flushed = io.poll_sent(cx);
            tracing::debug!(
                ?sent,
                ?flushed,
                "a client did not complete its request headers in time"
            );
        }
        // The socket is closed next, whatever the result.
        let _ = Pin::new(&mut io).poll_shutdown(cx);
    }

    fn count_limit(&self, limit: LimitKind) {
        self.upstream.tap().upstream_series().count_limit(limit);
    }
}

/// Next step that a connection without an open request waits for.
#[derive(Debug, Clone, Copy)]
struct ClientWait {
    /// `None` if there is no limit.
    deadline: Option<Duration>,
    limit: LimitKind,
    /// The client has begun a request, so it gets a response.
    responds: bool,
}
