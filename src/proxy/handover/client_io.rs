//! How a client's connection passes from hyper to what carries on without it: a stream, or a tunnel.

use crate::proxy::body::StreamResponse;
use crate::proxy::body::UpgradedUpstream;
use crate::socket::TimestampedIo;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// What goes on without hyper behind the head of an answer.
#[derive(Debug)]
pub(crate) enum Takeover {
    Stream(StreamResponse),
    Tunnel(UpgradedUpstream),
}

/// Where it waits until hyper has written that head.
#[derive(Debug, Default)]
pub(crate) struct ResponseHandover {
    handed: Mutex<Option<Takeover>>,
    /// There is one: what hyper writes from now on is its head, and kept for it.
    begun: AtomicBool,
    /// hyper has written all of the head.
    ready: AtomicBool,
}

impl ResponseHandover {
    /// The body to give to hyper in the place of this.
    pub fn hand_over(&self, handed: Takeover) -> DetachedBody {
        let is_tunnel = matches!(handed, Takeover::Tunnel(_));
        *self.handed() = Some(handed);
        self.begun.store(true, Relaxed);
        DetachedBody { is_tunnel }
    }

    /// What goes on, once its head is written.
    pub fn take(&self) -> Option<Takeover> {
        if !self.ready.swap(false, Relaxed) {
            return None;
        }
        self.begun.store(false, Relaxed);
        self.handed().take()
    }

    fn handed(&self) -> MutexGuard<'_, Option<Takeover>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body of which hyper gets to see nothing: by the time that it is wanted, hyper has written the head,
/// and gives up the connection.
#[derive(Debug)]
pub(crate) struct DetachedBody {
    /// Behind a 101 there is no body.
    is_tunnel: bool,
}

impl Body for DetachedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.is_tunnel
    }
}

/// The client's socket, as hyper sees it.
pub(crate) struct ClientIo {
    pub io: TimestampedIo,
    /// What was read already, and hyper has not seen yet.
    pub ahead: Bytes,
    /// The head that is kept for what comes behind it.
    pub head: BytesMut,
    handover: Arc<ResponseHandover>,
}

impl ClientIo {
    pub fn new(io: TimestampedIo, ahead: Bytes, handover: &Arc<ResponseHandover>) -> Self {
        Self { io, ahead, head: BytesMut::new(), handover: Arc::clone(handover) }
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.handover.begun.load(Relaxed) {
            self.head.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    /// Only for HTTP/2, which hands nothing over: hyper writes HTTP/1.1 from one buffer.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes once its own buffers are written out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.head.is_empty() {
            self.handover.ready.store(true, Relaxed);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.handover.begun.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
