//! The body of an upstream's answer that hyper reads: one of a declared length, one that comes while the
//! request is still being sent on the same connection, one by HTTP/2, and all that go to a client by
//! HTTP/2. Other streams have a shorter way (see [`Relay`](super::relay::Relay)).

use crate::proxy::forward::headers;
use crate::proxy::handover::{UpstreamConnection, UpstreamExchange};
use crate::proxy::upstream::Http2Slot;
use crate::proxy::upstream::UpstreamPool;
use crate::socket::SocketTimestamps;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of an answer, read by hyper; gives the connection back when the body is over. Dropped before
/// that, it closes the connection, or with HTTP/2 resets the stream, which tells the server to stop.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    body: Incoming,
    source: Option<BodySource>,
    upstream: Arc<UpstreamPool>,
    has_length: bool,
}

/// What an answer comes by.
#[derive(Debug)]
pub(crate) enum BodySource {
    Http1(UpstreamExchange),
    Http2(Http2Slot),
}

impl BodySource {
    /// Of the socket.
    pub fn stamps(&self) -> &Arc<SocketTimestamps> {
        match self {
            Self::Http1(exchange) => exchange.stamps(),
            Self::Http2(lease) => lease.stamps(),
        }
    }
}

impl UpstreamBody {
    pub(crate) fn new(body: Incoming, source: BodySource, upstream: Arc<UpstreamPool>) -> Self {
        if let BodySource::Http1(exchange) = &source {
            exchange.pass().open();
        }
        let has_length = body.size_hint().exact().is_some();
        Self { body, source: Some(source), upstream, has_length }
    }

    /// Keeps the connection if the body is over and the connection can take another request.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(BodySource::Http1(mut exchange)) = self.source.take() {
            // A connection cannot be kept while the request is still being sent.
            exchange.drive(cx);
            if exchange.is_ready() {
                self.upstream.give_back(UpstreamConnection::Http(exchange), !self.has_length);
            }
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, source, .. } = &mut *self;
        let mut frame = Pin::new(&mut *body).poll_frame(cx);
        if frame.is_pending()
            && let Some(BodySource::Http1(exchange)) = source
        {
            exchange.drive(cx);
            frame = Pin::new(&mut *body).poll_frame(cx);
        }
        let frame = ready!(frame);
        let over = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => {
                self.source = None;
                false
            }
            None => true,
        };
        if over {
            self.release(cx);
        }
        let end_to_end = |frame: Frame<Bytes>| match frame.into_trailers() {
            Ok(fields) => Frame::trailers(headers::trailers(fields)),
            Err(frame) => frame,
        };
        Poll::Ready(frame.map(|frame| frame.map(end_to_end)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
