//! The request's body, read as it passes.

use super::request_side::{RequestFault, RequestSide};
use crate::socket::SocketTimestamps;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Most bytes that are read of a body that goes nowhere.
const MAX_PEEK: usize = 256 * 1024;

/// Forwards a request's body and shows it to the measurement.
#[derive(Debug)]
pub struct PeekBody {
    body: Incoming,
    side: Arc<RequestSide>,
    client: Arc<SocketTimestamps>,
}

impl PeekBody {
    pub(super) fn new(
        body: Incoming,
        side: Arc<RequestSide>,
        client: Arc<SocketTimestamps>,
    ) -> Self {
        let this = Self { body, side, client };
        if this.body.is_end_stream() {
            this.complete();
        }
        this
    }

    /// Its request goes nowhere. Reads what of it has arrived by now, since its model may be in it: nothing is
    /// waited for that the client has yet to send, nor asked for where it waits for that (`is_held`).
    pub async fn peek_without_forwarding(mut self, is_held: bool) {
        let (mut read, mut was_pending) = (0, false);
        poll_fn(|cx| {
            while !is_held && read < MAX_PEEK {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        was_pending = false;
                        if let Some(data) = frame.data_ref() {
                            read += data.len();
                            let _ = catch_unwind(AssertUnwindSafe(|| self.side.peek(data)));
                        }
                    }
                    Poll::Pending if !was_pending => {
                        // hyper reads a body when it is asked for, in the task that this is: at its next turn
                        // what it holds, or the socket, is there.
                        was_pending = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// The request's side of the measurement.
    pub(crate) fn request_side(&self) -> Arc<RequestSide> {
        Arc::clone(&self.side)
    }

    /// All of the request was read: what the client sends next is another one.
    fn complete(&self) {
        self.side.read();
        self.client.expect_head();
    }
}

/// hyper's decoder says what is wrong with the framing; all else is the end of the connection.
fn fault_of(error: &hyper::Error) -> RequestFault {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => RequestFault::Framing,
        _ => RequestFault::ClientGone,
    }
}

impl Body for PeekBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    // A fault of the peek costs the peek.
                    let _ = catch_unwind(AssertUnwindSafe(|| self.side.data(data)));
                }
                if self.body.is_end_stream() {
                    self.complete();
                }
            }
            Some(Err(error)) => self.side.broke(fault_of(error)),
            None => self.complete(),
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
