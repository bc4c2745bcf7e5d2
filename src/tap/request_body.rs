//! Request bodies: read while they are forwarded.

use super::request_progress::{RequestFault, RequestProgress};
use crate::socket::SocketTimestamps;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Most bytes that are read of a body that is not forwarded.
const MAX_PEEK: usize = 256 * 1024;

/// Forwards a request's body, and passes its bytes to the measurement.
#[derive(Debug)]
pub struct PeekBody {
    body: Incoming,
    progress: Arc<RequestProgress>,
    client: Arc<SocketTimestamps>,
    hold: Option<BodyHold>,
}

/// Future that a body waits for before it is read.
struct BodyHold(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for BodyHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyHold").finish_non_exhaustive()
    }
}

impl PeekBody {
    pub(super) fn new(
        body: Incoming,
        progress: Arc<RequestProgress>,
        client: Arc<SocketTimestamps>,
    ) -> Self {
        let this = Self { body, progress, client, hold: None };
        if this.body.is_end_stream() {
            this.complete();
        }
        this
    }

    /// Reads the part of the body that has already arrived, because the model may be in it. For a request that cannot be
    /// forwarded. Does not wait for bytes that the client has yet to send. Reads nothing if the client waits for
    /// `100 Continue` (`is_held`).
    pub async fn peek_without_forwarding(mut self, is_held: bool) {
        let (mut read, mut was_pending) = (0, false);
        poll_fn(|cx| {
            while !is_held && read < MAX_PEEK {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        was_pending = false;
                        if let Some(data) = frame.data_ref() {
                            read += data.len();
                            let _ = catch_unwind(AssertUnwindSafe(|| self.progress.peek(data)));
                        }
                    }
                    Poll::Pending if !was_pending => {
                        // hyper reads a body on demand, in this same task: bytes in its buffer or the socket are
                        // available at the next poll.
                        was_pending = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(None) => {
                        let _ = catch_unwind(AssertUnwindSafe(|| self.progress.on_peeked_end()));
                        break;
                    }
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Reads the body only after `ready`.
    pub fn hold_until(&mut self, ready: impl Future<Output = ()> + Send + 'static) {
        self.hold = Some(BodyHold(Box::pin(ready)));
    }

    /// Reads the body from now on.
    pub fn release(&mut self) {
        self.hold = None;
    }

    /// Progress of the request.
    pub(crate) fn progress(&self) -> Arc<RequestProgress> {
        Arc::clone(&self.progress)
    }

    /// The request was read completely: the client's next bytes are another request.
    fn complete(&self) {
        self.progress.on_body_read();
        self.client.expect_head();
    }
}

/// An error of hyper's decoder is wrong framing; every other error is the end of the connection.
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
        if let Some(BodyHold(ready)) = &mut self.hold {
            ready!(ready.as_mut().poll(cx));
            self.hold = None;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.progress.on_body_requested(frame.is_pending());
        let frame = ready!(frame);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    // A panic of the measurement must not stop the request.
                    let _ = catch_unwind(AssertUnwindSafe(|| self.progress.on_request_data(data)));
                }
                // After trailers, hyper does not ask again.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.complete();
                }
            }
            Some(Err(error)) => self.progress.set_fault(fault_of(error)),
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
