//! The socket's wrapper.

use super::Stamps;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
    /// Wraps a socket; tokens must not wait for Nagle, so `TCP_NODELAY` is set.
    pub fn new(io: TcpStream, on_forwarded: Option<OnForwarded>) -> Self {
        // A socket that was reset in the meantime refuses; its first read will say so.
        let _ = io.set_nodelay(true);
        Self { io, stamps: Arc::default(), on_forwarded }
    }

    /// The socket's stamps.
    pub fn stamps(&self) -> &Arc<Stamps> {
        &self.stamps
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

impl AsyncRead for StampedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.stamps.note_read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StampedIo {
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
        if let Some(on_forwarded) = &self.on_forwarded
            && let Some((delay, frames)) = self.stamps.take_forwarded()
        {
            on_forwarded(delay, frames);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
