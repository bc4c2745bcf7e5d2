//! The body of an upstream's answer that hyper reads: one of a declared length, or one that comes while the
//! request is still being sent on the same connection. Streams have a shorter way (see
//! [`Relay`](super::relay::Relay)).

use super::exchange::{Connection, Exchange};
use super::pool::Upstream;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of an answer, read by hyper; gives the connection back when the body is over. Dropped before
/// that, it closes the connection, which tells the server to stop.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    body: Incoming,
    exchange: Option<Exchange>,
    upstream: Arc<Upstream>,
    has_length: bool,
}

impl UpstreamBody {
    pub(super) fn new(body: Incoming, exchange: Exchange, upstream: Arc<Upstream>) -> Self {
        exchange.pass().open();
        let has_length = body.size_hint().exact().is_some();
        Self { body, exchange: Some(exchange), upstream, has_length }
    }

    /// Keeps the connection if the body is over and the connection can take another request.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(mut exchange) = self.exchange.take() {
            // A connection cannot be kept while the request is still being sent.
            exchange.drive(cx);
            if exchange.is_ready() {
                self.upstream.give_back(Connection::Http(exchange), !self.has_length);
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
        let Self { body, exchange, .. } = &mut *self;
        let mut frame = Pin::new(&mut *body).poll_frame(cx);
        if frame.is_pending()
            && let Some(exchange) = exchange
        {
            exchange.drive(cx);
            frame = Pin::new(&mut *body).poll_frame(cx);
        }
        let frame = ready!(frame);
        let over = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => {
                self.exchange = None;
                false
            }
            None => true,
        };
        if over {
            self.release(cx);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
