//! Response body that hyper reads from the upstream.
//!
//! This is the path for bodies with a declared length, for responses that start before the request is completely sent,
//! and for HTTP/2 on either side. Other streams take a shorter path (see [`Relay`](super::Relay)).

use super::response_deadline::ResponseDeadline;
use crate::proxy::forward::headers;
use crate::proxy::handover::{UpstreamConnection, UpstreamExchange};
use crate::proxy::upstream::{Http2Slot, UpstreamPool};
use crate::socket::{self, SocketTimestamps};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use streamgauge_core::meter::EndCause;

/// Body of an upstream response, read by hyper.
///
/// Puts the connection back into the pool at the end of the body. Dropping it earlier closes the connection, or with
/// HTTP/2 resets the stream, so that the server stops generating.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    body: Incoming,
    source: Option<BodySource>,
    upstream: Arc<UpstreamPool>,
    /// The server may close the connection without notice after this body.
    rests: bool,
    deadline: Option<Box<ResponseDeadline>>,
    /// Since when the body waits for the server. Kept only with a deadline.
    silent_since: Option<Duration>,
}

/// Reason why a response body is incomplete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamBodyError {
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    #[error("the response took too long")]
    TimedOut,
}

impl From<&UpstreamBodyError> for EndCause {
    fn from(error: &UpstreamBodyError) -> Self {
        match error {
            UpstreamBodyError::Upstream(_) => Self::UpstreamFailed,
            UpstreamBodyError::TimedOut => Self::TimedOut,
        }
    }
}

/// Connection that a response arrives on.
#[derive(Debug)]
pub(crate) enum BodySource {
    Http1(UpstreamExchange),
    Http2(Http2Slot),
}

impl BodySource {
    /// Timestamps of the upstream socket.
    pub fn timestamps(&self) -> &Arc<SocketTimestamps> {
        match self {
            Self::Http1(exchange) => exchange.timestamps(),
            Self::Http2(slot) => slot.timestamps(),
        }
    }
}

impl UpstreamBody {
    /// Returns the body of a response with this status.
    pub fn new(
        body: Incoming,
        source: BodySource,
        upstream: Arc<UpstreamPool>,
        status: StatusCode,
        deadline: Option<Box<ResponseDeadline>>,
    ) -> Self {
        if let BodySource::Http1(exchange) = &source {
            exchange.read_body_with_hyper();
        }
        let rests = body.size_hint().exact().is_none() || status.is_server_error();
        Self { body, source: Some(source), upstream, rests, deadline, silent_since: None }
    }

    /// Puts the connection back into the pool, if it can take another request. Call this at the end of the body.
    pub fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(BodySource::Http1(mut exchange)) = self.source.take() {
            // Not ready while the request is still being sent.
            exchange.drive(cx);
            if exchange.is_ready() {
                self.upstream.put_back(UpstreamConnection::Hyper(exchange), self.rests);
            }
        }
    }
}

impl UpstreamBody {
    /// Whether the response has exceeded a time limit. `is_silent`: no part of it has arrived.
    fn is_timed_out(&mut self, cx: &mut Context<'_>, is_silent: bool) -> bool {
        let Some(deadline) = &mut self.deadline else { return false };
        if !is_silent {
            self.silent_since = None;
            return false;
        }
        let silent_since = *self.silent_since.get_or_insert_with(socket::now);
        deadline.is_exceeded(cx, || Some(silent_since))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let Self { body, source, .. } = &mut *self;
        let mut frame = Pin::new(&mut *body).poll_frame(cx);
        if frame.is_pending()
            && let Some(BodySource::Http1(exchange)) = source
        {
            exchange.drive(cx);
            frame = Pin::new(&mut *body).poll_frame(cx);
        }
        if self.is_timed_out(cx, frame.is_pending()) {
            // Closes the connection, or with HTTP/2 lets the caller reset the stream.
            self.source = None;
            return Poll::Ready(Some(Err(UpstreamBodyError::TimedOut)));
        }
        let frame = ready!(frame);
        let has_ended = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => {
                self.source = None;
                false
            }
            None => true,
        };
        if has_ended {
            self.release(cx);
        }
        let end_to_end = |frame: Frame<Bytes>| match frame.into_trailers() {
            Ok(fields) => Frame::trailers(headers::forwardable_trailers(fields)),
            Err(frame) => frame,
        };
        Poll::Ready(frame.map(|frame| frame.map(end_to_end).map_err(UpstreamBodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
