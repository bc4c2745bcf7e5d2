//! Socket that timestamps its reads and writes.

use super::SocketTimestamps;
use super::receive::{SocketRead, receive};
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected TCP or Unix socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Evaluates the same expression for both kinds of socket.
macro_rules! either {
    ($socket:expr, $io:ident => $what:expr) => {
        match $socket {
            Socket::Tcp($io) => $what,
            Socket::Unix($io) => $what,
        }
    };
}

impl Socket {
    /// Makes the kernel send a reset when the socket is closed.
    fn reset_on_close(&self) {
        if let Self::Tcp(io) = self {
            // Without this option the peer sees an ordinary close. There is no other way to signal the error.
            let _ = io.set_zero_linger();
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        either!(self, io => io.as_raw_fd())
    }
}

/// A socket and its timestamps.
#[derive(Debug)]
pub(super) struct RawSocket {
    socket: Socket,
    pub timestamps: Arc<SocketTimestamps>,
    /// There may be bytes to read although tokio does not report them: [`poll_departed`](Self::poll_departed) has seen
    /// and not read them.
    has_unread: bool,
    /// The next event on the socket wakes the task.
    is_watched: bool,
}

impl RawSocket {
    pub fn new(socket: Socket) -> Self {
        Self { socket, timestamps: Arc::default(), has_unread: false, is_watched: false }
    }

    /// Reads once, at most `max` bytes, records the timestamp, and passes the data to `take`.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.has_unread {
                ready!(either!(&self.socket, io => io.poll_read_ready(cx)))?;
            }
            self.is_watched = false;
            let mut received = None;
            let mut read = || {
                let SocketRead { bytes, drained } = receive(&self.socket, max, |bytes, stamp| {
                    if !bytes.is_empty() {
                        self.timestamps.record_read(bytes.len(), stamp);
                        take(bytes);
                    }
                })?;
                received = Some(bytes);
                // Reporting a drained socket as blocked saves the read that would find out.
                if drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            };
            let tried = if self.has_unread {
                read()
            } else {
                either!(&self.socket, io => io.try_io(Interest::READABLE, read))
            };
            let is_blocked = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
            if self.has_unread {
                self.has_unread = !tried.as_ref().is_err_and(is_blocked);
            }
            if let Some(bytes) = received {
                return Poll::Ready(Ok(bytes));
            }
            match tried {
                Err(error) if is_blocked(&error) || error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => {}
            }
        }
    }

    /// Ready once the peer has closed its sending direction or reset the connection, whatever bytes are unread before.
    ///
    /// Reads nothing. Call it in each turn of the task while nothing is read from the socket. A call costs one load while
    /// nothing happens on the socket.
    #[inline(always)]
    pub fn poll_departed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_quiet() { Poll::Pending } else { self.poll_event(cx) }
    }

    /// Like [`poll_departed`](Self::poll_departed), after something has happened on the socket.
    #[inline(never)]
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_read_closed() {
            match either!(&self.socket, io => io.poll_read_ready(cx)) {
                Poll::Pending => {
                    // If the task's budget is used up, it was not registered.
                    self.is_watched = tokio::task::coop::has_budget_remaining();
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                // Forget the event of these bytes, so that the next event wakes the task.
                Poll::Ready(Ok(())) => self.has_unread = true,
            }
            let forget = || Err::<(), _>(ErrorKind::WouldBlock.into());
            let _ = either!(&self.socket, io => io.try_io(Interest::READABLE, forget));
        }
        Poll::Ready(())
    }

    /// Whether nothing has happened since [`poll_departed`](Self::poll_departed) registered the task.
    #[inline(always)]
    pub fn is_quiet(&self) -> bool {
        let has_event = || either!(&self.socket, io => io.try_io(Interest::READABLE, || Ok(())));
        self.is_watched && has_event().is_err()
    }

    /// Whether the kernel has reported the end of the peer's data. This state is final.
    fn is_read_closed(&self) -> bool {
        let mut noop = Context::from_waker(Waker::noop());
        let ready = either!(&self.socket, io => pin!(io.ready(Interest::READABLE)).poll(&mut noop));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Writes as much of `bytes` as the socket accepts.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match either!(&self.socket, io => io.try_write(bytes)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.timestamps.record_stall();
                    ready!(either!(&self.socket, io => io.poll_write_ready(cx)))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return self.record_write(Poll::Ready(result)),
            }
        }
    }

    fn record_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) if *bytes > 0 => self.timestamps.record_write(),
            Poll::Pending => self.timestamps.record_stall(),
            Poll::Ready(_) => {}
        }
        result
    }
}

impl Drop for RawSocket {
    fn drop(&mut self) {
        if self.timestamps.is_reset_on_close() {
            self.socket.reset_on_close();
        }
    }
}

impl AsyncRead for RawSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        self.poll_receive(cx, room, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
    }
}

impl AsyncWrite for RawSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = either!(&mut self.socket, io => Pin::new(io).poll_write(cx, buf));
        self.record_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = either!(&mut self.socket, io => Pin::new(io).poll_write_vectored(cx, bufs));
        self.record_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.socket, io => io.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.socket, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.socket, io => Pin::new(io).poll_shutdown(cx))
    }
}
