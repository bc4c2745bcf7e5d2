//! A socket whose reads and writes are stamped.

use super::SocketTimestamps;
use super::receive::{SocketRead, receive};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same of either.
macro_rules! either {
    ($socket:expr, $io:ident => $what:expr) => {
        match $socket {
            Socket::Tcp($io) => $what,
            Socket::Unix($io) => $what,
        }
    };
}

impl Socket {
    /// Asks for a reset when it is closed.
    fn reset_on_close(&self) {
        if let Self::Tcp(io) = self {
            // If the option is refused, the peer sees a plain close, which is all that is left.
            let _ = io.set_zero_linger();
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        either!(self, io => io.as_raw_fd())
    }
}

/// A socket, and what is noted of it.
#[derive(Debug)]
pub(super) struct RawIo {
    socket: Socket,
    pub stamps: Arc<SocketTimestamps>,
}

impl RawIo {
    pub fn new(socket: Socket) -> Self {
        Self { socket, stamps: Arc::default() }
    }

    /// Reads once what is there, at most `most` bytes, and shows it to `take`, with its stamp noted.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(&self.socket, io => io.poll_read_ready(cx)))?;
            let mut received = None;
            let read = || {
                let SocketRead { bytes, drained } = receive(&self.socket, most, |bytes, stamp| {
                    if !bytes.is_empty() {
                        self.stamps.note_read(stamp);
                        take(bytes);
                    }
                })?;
                received = Some(bytes);
                // To say that a drained socket would block saves the read that finds out.
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

    /// Whether there may be something to read.
    pub fn is_readable(&self) -> bool {
        either!(&self.socket, io => io.try_io(Interest::READABLE, || Ok(()))).is_ok()
    }

    /// Writes what the socket takes of `bytes`.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match either!(&self.socket, io => io.try_write(bytes)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stamps.note_stall();
                    ready!(either!(&self.socket, io => io.poll_write_ready(cx)))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return self.wrote(Poll::Ready(result)),
            }
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

impl Drop for RawIo {
    fn drop(&mut self) {
        if self.stamps.is_reset() {
            self.socket.reset_on_close();
        }
    }
}

impl AsyncRead for RawIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining();
        self.poll_receive(cx, most, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
    }
}

impl AsyncWrite for RawIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = either!(&mut self.socket, io => Pin::new(io).poll_write(cx, buf));
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = either!(&mut self.socket, io => Pin::new(io).poll_write_vectored(cx, bufs));
        self.wrote(result)
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
