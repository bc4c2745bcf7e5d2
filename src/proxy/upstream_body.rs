//! The body of an upstream's answer, with the connection that it comes on.

use super::exchange::Exchange;
use super::pool::Upstream;
use super::stream_body::{StreamBody, StreamError};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::response;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A body that broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Reads a body from its connection; gives the connection back when the body is over. Dropped before
/// that, it closes the connection, which tells the server to stop.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    Stream(StreamBody),
    Driven(DrivenBody),
}

impl UpstreamBody {
    /// The body behind this head. `sent` tells whether all of the request was sent.
    pub(super) fn new(
        head: &response::Parts,
        body: Incoming,
        exchange: Exchange,
        upstream: Arc<Upstream>,
        sent: bool,
    ) -> Self {
        let has_length = body.size_hint().exact().is_some();
        if has_length || !sent || exchange.pass().is_open() {
            exchange.pass().open();
            return Self::Driven(DrivenBody {
                body,
                exchange: Some(exchange),
                upstream,
                has_length,
            });
        }
        drop(body);
        let (io, buffer) = exchange.into_parts().unzip();
        Self::Stream(StreamBody::new(head, io, buffer.unwrap_or_default(), upstream))
    }

    /// Keeps the connection if the body is over and the connection can take another request.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        if let Self::Driven(driven) = self {
            driven.release(cx);
        }
    }
}

/// A body that hyper reads: one of a declared length, or one that comes while the request is still
/// being sent on the same connection.
#[derive(Debug)]
pub(crate) struct DrivenBody {
    body: Incoming,
    exchange: Option<Exchange>,
    upstream: Arc<Upstream>,
    has_length: bool,
}

impl DrivenBody {
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(mut exchange) = self.exchange.take() {
            // A connection cannot be kept while the request is still being sent.
            exchange.drive(cx);
            if let Some(io) = exchange.into_idle() {
                self.upstream.give_back(io, !self.has_length);
            }
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, exchange, .. } = self;
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
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Stream(stream) => stream.poll_frame(cx).map_err(BodyError::Stream),
            Self::Driven(driven) => driven.poll_frame(cx).map_err(BodyError::Hyper),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(_) => false,
            Self::Driven(driven) => driven.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(_) => SizeHint::default(),
            Self::Driven(driven) => driven.body.size_hint(),
        }
    }
}
