//! The socket's wrapper.

use super::receive::{Received, receive};
use super::{Stamps, prepare};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

/// Told, when all that was handed to a socket is written: the time since its oldest frame arrived,
/// and the number of frames.
pub type OnForwarded = Arc<dyn Fn(Duration, u64) + Send + Sync>;

/// A TCP socket that stamps its reads and writes.
pub struct StampedIo {
    io: TcpStream,
    stamps: Arc<Stamps>,
    on_forwarded: Option<OnForwarded>,
}

impl fmt::Debug for StampedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StampedIo").field("io", &self.io).field("stamps", &self.stamps).finish()
    }
}

impl StampedIo {
    /// Wraps a client's socket, accepted from a listener that was [`prepared`](prepare). `on_forwarded`
    /// is told what forwarding took.
    pub fn accepted(io: TcpStream, on_forwarded: OnForwarded) -> Self {
        Self::new(io, Some(on_forwarded))
    }

    /// Wraps a socket that we connected; `stamps` asks the kernel to stamp what it receives.
    pub fn connected(io: TcpStream, stamps: bool) -> Self {
        prepare(&io, stamps);
        Self::new(io, None)
    }

    fn new(io: TcpStream, on_forwarded: Option<OnForwarded>) -> Self {
        Self { io, stamps: Arc::default(), on_forwarded }
    }

    /// The socket's stamps.
    pub fn stamps(&self) -> &Arc<Stamps> {
        &self.stamps
    }

    /// Reads once what is there, at most `most` bytes, and shows it to `take`, with its stamp noted. Gives
    /// the number of bytes; 0 is the end.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_read_ready(cx))?;
            let mut received = None;
            let tried = self.io.try_io(Interest::READABLE, || {
                let Received { bytes, drained } = receive(&self.io, most, |bytes, stamp| {
                    if !bytes.is_empty() {
                        self.stamps.note_read(stamp);
                        take(bytes);
                    }
                })?;
                received = Some(bytes);
                // To say that a drained socket would block saves the read that finds out.
                if drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if let Some(bytes) = received {
                return Poll::Ready(Ok(bytes));
            }
            match tried {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => {}
            }
        }
    }

    /// [`poll_receive`](Self::poll_receive) for a socket that seldom has anything, by a task that looks at
    /// it in each of its turns. `watched` says that this task waits for it already, so that it does not
    /// say so again; it begins as `false`.
    pub fn poll_watched(
        &self,
        cx: &mut Context<'_>,
        watched: &mut bool,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let is_ready = self.io.try_io(Interest::READABLE, || Ok(())).is_ok();
        if *watched && !is_ready {
            return Poll::Pending;
        }
        let received = self.poll_receive(cx, most, take);
        // Where the task's budget is spent, nobody waits.
        *watched = received.is_pending() && tokio::task::coop::has_budget_remaining();
        received
    }

    /// Writes what the socket takes of `bytes`.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.io.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stamps.note_stall();
                    ready!(self.io.poll_write_ready(cx))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return self.wrote(Poll::Ready(result)),
            }
        }
    }

    /// All that was handed over is written.
    pub fn forwarded(&self) {
        if let Some(on_forwarded) = &self.on_forwarded
            && let Some((delay, frames)) = self.stamps.take_forwarded()
        {
            on_forwarded(delay, frames);
        }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) if *bytes > 0 => self.stamps.note_write(),
            Poll::Pending => self.stamps.note_stall(),
            Poll::Ready(_) => {}
        }
        result
    }
}

impl Drop for StampedIo {
    fn drop(&mut self) {
        if self.stamps.is_reset() {
            // If the option is refused, the peer sees a plain close, which is all that is left.
            let _ = self.io.set_zero_linger();
        }
    }
}

impl Read for StampedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining();
        self.poll_receive(cx, most, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
    }
}

impl Write for StampedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes once its own buffers are written out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.forwarded();
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
