//! Time limits of a request until its response headers.

use super::error_response::ErrorResponse;
use crate::metrics::LimitKind;
use crate::proxy::handover::OpenRequest;
use crate::proxy::limits::{BodyProgress, ProxyLimits};
use crate::proxy::timers::TaskTimer;
use crate::proxy::upstream::UpstreamPool;
use crate::socket::{self, SocketTimestamps};
use crate::tap::{Measurement, RequestProgress};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Time limits of one request.
///
/// With HTTP/1.1 and the default limits, it has no timer of its own: the timer of the client's connection requests the
/// checks. HTTP/2 requests run in tasks of their own, and so need their own timer.
pub(super) struct RequestDeadline<'a> {
    upstream: &'a UpstreamPool,
    connection: &'a OpenRequest,
    progress: Arc<RequestProgress>,
    /// Timestamps of the client's socket.
    client: Arc<SocketTimestamps>,
    started_at: Duration,
    body: BodyProgress,
    /// The client may pause its body for as long as it wants.
    may_pause_body: bool,
    timer: Option<TaskTimer>,
}

impl<'a> RequestDeadline<'a> {
    /// `has_own_task`: the task of the client's connection does not run the request. `may_pause_body`: the body is a
    /// sequence of messages without a rate, as in gRPC.
    pub fn new(
        upstream: &'a UpstreamPool,
        limits: &ProxyLimits,
        connection: &'a OpenRequest,
        measurement: &Measurement,
        has_own_task: bool,
        may_pause_body: bool,
    ) -> Option<Self> {
        let progress = measurement.progress()?;
        let started_at = measurement.started_at()?;
        let body_time = limits
            .request_body_time
            .filter(|_| has_own_task && !may_pause_body && !progress.is_read());
        let times = [limits.response_header_time, limits.request_time, body_time];
        let first = times.into_iter().flatten().min();
        let timer = first.map(|time| TaskTimer::new(upstream.timers(), time));
        Some(Self {
            upstream,
            connection,
            progress,
            client: Arc::clone(measurement.client_stamps()),
            started_at,
            body: BodyProgress::new(started_at),
            may_pause_body,
            timer,
        })
    }

    /// Returns the error of a limit that is exceeded. Otherwise wakes the task when the next check is due.
    pub fn poll_exceeded(&mut self, cx: &mut Context<'_>) -> Poll<ErrorResponse> {
        loop {
            let is_due = match &mut self.timer {
                Some(timer) => timer.is_due(cx),
                None => self.connection.connection().take_check(),
            };
            if !is_due {
                return Poll::Pending;
            }
            let next = match self.check(socket::now()) {
                Ok(next) => next,
                Err((limit, error)) => {
                    self.upstream.tap().upstream_series().count_limit(limit);
                    return Poll::Ready(error);
                }
            };
            match (&mut self.timer, next) {
                (Some(timer), Some(next)) => timer.restart(next),
                (None, Some(next)) => {
                    self.connection.connection().set_next_check(next);
                    return Poll::Pending;
                }
                // No limit is left.
                (_, None) => return Poll::Pending,
            }
        }
    }

    /// Returns the time to the next check, or the limit that is exceeded.
    fn check(&mut self, now: Duration) -> Result<Option<Duration>, (LimitKind, ErrorResponse)> {
        let limits: &ProxyLimits = &self.upstream.config().limits;
        let left = |since: Duration, time: Duration| (since + time).saturating_sub(now);
        let (progress, started_at) = (&self.progress, self.started_at);
        let total = limits.request_time.map(|time| left(started_at, time));
        // Before the request is completely sent, the server cannot respond.
        let header =
            limits.response_header_time.map(|time| left(progress.sent().unwrap_or(now), time));
        let body_time =
            limits.request_body_time.filter(|_| !self.may_pause_body && !progress.is_read());
        let body = body_time.map(|time| {
            let arrival = self.client.last_read();
            let last_read = arrival.at + arrival.read_delay;
            let is_awaited = progress.awaits_client();
            left(self.body.stopped_since(progress.bytes(), last_read, is_awaited, now), time)
        });
        let rows = [
            (total, LimitKind::RequestTime, ErrorResponse::ResponseTimeout),
            (header, LimitKind::ResponseHeaderTime, ErrorResponse::ResponseTimeout),
            (body, LimitKind::RequestBodyTime, ErrorResponse::RequestBodyTimeout),
        ];
        match rows.into_iter().find(|(left, ..)| left.is_some_and(|left| left.is_zero())) {
            Some((_, limit, error)) => Err((limit, error)),
            None => Ok(rows.into_iter().filter_map(|(left, ..)| left).min()),
        }
    }
}
