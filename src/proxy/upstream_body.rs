//! The body of an upstream's answer, with the connection that it comes on.

use super::connection::Connection;
use super::pool::Upstream;
use super::quiet_waker::QuietWaker;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Reads a body by driving its connection; gives the connection back when the body is over. Dropped
/// before that, it closes the connection, which tells the server to stop.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    body: Incoming,
    connection: Option<Connection>,
    upstream: Arc<Upstream>,
    has_length: bool,
    waker: QuietWaker,
    /// The frame handed over last was all that the latest read brought.
    is_drained: bool,
}

/// What the framing of a chunk adds to it: its length in hexadecimal digits and two line ends.
const CHUNK_FRAME: u64 = 20;

impl UpstreamBody {
    pub(super) fn new(body: Incoming, connection: Connection, upstream: Arc<Upstream>) -> Self {
        let has_length = body.size_hint().exact().is_some();
        Self {
            body,
            connection: Some(connection),
            upstream,
            has_length,
            waker: QuietWaker::default(),
            is_drained: false,
        }
    }

    /// The body is over: keeps the connection if it can take another request. It cannot while the
    /// request is still being sent.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(mut connection) = self.connection.take() {
            connection.drive(cx);
            if connection.is_ready() {
                self.upstream.give_back(connection, !self.has_length);
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
        let this = &mut *self;
        if std::mem::take(&mut this.is_drained) {
            // Nothing more is here. To look at the socket now would take a new buffer, since the
            // frame still holds the old one: first let it be written. The wake is needed: hyper does
            // poll again after most flushes, but not after all.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Self { body, connection, waker, .. } = this;
        let frame = ready!(waker.poll(cx, |cx| {
            let polled = Pin::new(&mut *body).poll_frame(cx);
            if polled.is_ready() {
                return polled;
            }
            let Some(connection) = connection else { return Poll::Pending };
            connection.drive(cx);
            Pin::new(&mut *body).poll_frame(cx)
        }));
        let over = match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(connection)) = (frame.data_ref(), &this.connection) {
                    let read = connection.stamps().last_read_bytes();
                    this.is_drained = read <= data.len() as u64 + CHUNK_FRAME;
                }
                frame.is_trailers() || this.body.is_end_stream()
            }
            Some(Err(_)) => {
                this.connection = None;
                false
            }
            None => true,
        };
        if over {
            this.release(cx);
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
