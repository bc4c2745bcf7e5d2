//! The request's body, read as it passes.

use super::request_side::RequestSide;
use crate::metrics::Phase;
use crate::socket::Stamps;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Forwards a request's body and shows it to the measurement.
#[derive(Debug)]
pub struct PeekBody {
    body: Incoming,
    side: Arc<RequestSide>,
    client: Arc<Stamps>,
}

impl PeekBody {
    pub(super) fn new(body: Incoming, side: Arc<RequestSide>, client: Arc<Stamps>) -> Self {
        let this = Self { body, side, client };
        if this.body.is_end_stream() {
            this.complete();
        }
        this
    }

    /// All of the request was read: what the client sends next is another one.
    fn complete(&self) {
        self.side.enter(Phase::Waiting);
        self.client.expect_head();
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
            Some(Err(_)) => self.side.broke(),
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
