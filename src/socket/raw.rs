//! Socket that timestamps its reads and writes.

use super::SocketTimestamps;
use super::receive::{SocketRead, receive};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
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
}

impl RawSocket {
    pub fn new(socket: Socket) -> Self {
        Self { socket, timestamps: Arc::default() }
    }

    /// Reads once, at most `max` bytes, records the timestamp, and passes the data to `take`.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        max: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(&self.socket, io => io.poll_read_ready(cx)))?;
            let mut received = None;
            let read = || {
                let SocketRead { bytes, drained } = receive(&self.socket, max, |bytes, stamp| {
                    if !bytes.is_empty() {
                        self.timestamps.record_read(stamp);
                        take(bytes);
                    }
                })?;
                received = Some(bytes);
                // Reporting a drained socket as blocked saves the read that would find out.
                if drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            };
            let tried = either!(&self.socket, io => io.try_io(Interest::READABLE, read));
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

    /// Whether there may be data to read.
    pub fn is_readable(&self) -> bool {
        either!(&self.socket, io => io.try_io(Interest::READABLE, || Ok(()))).is_ok()
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
        self: Pin<&mut Self>,
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
