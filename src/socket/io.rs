//! The socket's wrapper.
//!
//! With TLS, the stamps are those of the socket below it: what was decrypted arrived with the read that
//! completed its record.

use super::raw::{RawIo, Socket};
use super::{SocketTimestamps, set_socket_options};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Most bytes that one read gives of what was decrypted: a whole record.
const MAX_DECRYPTED: usize = 16 * 1024;

/// Told, when all that was handed to a socket is written: the time since its oldest frame arrived,
/// and the number of frames.
pub type OnForwarded = Arc<dyn Fn(Duration, u64) + Send + Sync>;

/// A connection that stamps its reads and writes.
pub struct TimestampedIo {
    layer: IoLayer,
    stamps: Arc<SocketTimestamps>,
    on_forwarded: Option<OnForwarded>,
}

#[derive(Debug)]
enum IoLayer {
    Plain(RawIo),
    Tls(Box<TlsStream<RawIo>>),
}

impl fmt::Debug for TimestampedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimestampedIo")
            .field("layer", &self.layer)
            .field("stamps", &self.stamps)
            .finish_non_exhaustive()
    }
}

impl TimestampedIo {
    /// Wraps a client's socket, accepted from a listener that was [`prepared`](set_socket_options). `on_forwarded`
    /// is told what forwarding took.
    pub fn accepted(io: TcpStream, on_forwarded: OnForwarded) -> Self {
        Self::new(RawIo::new(Socket::Tcp(io)), Some(on_forwarded))
    }

    /// Wraps a socket that we connected; `stamps` asks the kernel to stamp what it receives.
    pub fn connected(socket: Socket, stamps: bool) -> Self {
        if let Socket::Tcp(io) = &socket {
            set_socket_options(io, stamps);
        }
        Self::new(RawIo::new(socket), None)
    }

    fn new(raw: RawIo, on_forwarded: Option<OnForwarded>) -> Self {
        let stamps = Arc::clone(&raw.stamps);
        Self { layer: IoLayer::Plain(raw), stamps, on_forwarded }
    }

    /// Speaks TLS from here on, with a client.
    ///
    /// # Errors
    /// If the client does not, or not as it should.
    pub async fn accept_tls(self, tls: &TlsAcceptor) -> io::Result<Self> {
        let Self { layer, stamps, on_forwarded } = self;
        let IoLayer::Plain(raw) = layer else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = tls.accept(raw).await?;
        Ok(Self::secured(stream.into(), stamps, on_forwarded))
    }

    /// Speaks TLS from here on, with the server of this name, by one of these protocols.
    ///
    /// # Errors
    /// If the server does not, or is not the one.
    pub async fn connect_tls(
        self,
        tls: &TlsConnector,
        name: ServerName<'static>,
        protocols: Vec<Vec<u8>>,
    ) -> io::Result<Self> {
        let Self { layer, stamps, on_forwarded } = self;
        let IoLayer::Plain(raw) = layer else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = tls.with_alpn(protocols).connect(name, raw).await?;
        Ok(Self::secured(stream.into(), stamps, on_forwarded))
    }

    fn secured(
        stream: TlsStream<RawIo>,
        stamps: Arc<SocketTimestamps>,
        on_forwarded: Option<OnForwarded>,
    ) -> Self {
        // What was read so far is the handshake's.
        stamps.expect_head();
        Self { layer: IoLayer::Tls(Box::new(stream)), stamps, on_forwarded }
    }

    /// The protocol that TLS has agreed on.
    pub fn protocol(&self) -> Option<&[u8]> {
        match &self.layer {
            IoLayer::Plain(_) => None,
            IoLayer::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The socket's stamps.
    pub fn stamps(&self) -> &Arc<SocketTimestamps> {
        &self.stamps
    }

    /// Reads once what is there, at most `most` bytes, and shows it to `take`, with its stamp noted. Gives
    /// the number of bytes; 0 is the end.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => raw.poll_receive(cx, most, take),
            IoLayer::Tls(stream) => poll_decrypted(stream, cx, most, take),
        }
    }

    /// [`poll_receive`](Self::poll_receive) for a socket that seldom has anything, by a task that looks at
    /// it in each of its turns. `watched` says that this task waits for it already, so that it does not
    /// say so again; it begins as `false`.
    pub fn poll_watched(
        &mut self,
        cx: &mut Context<'_>,
        watched: &mut bool,
        most: usize,
        take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if let IoLayer::Plain(raw) = &self.layer {
            let is_ready = raw.is_readable();
            if *watched && !is_ready {
                return Poll::Pending;
            }
        }
        let received = self.poll_receive(cx, most, take);
        // Where the task's budget is spent, nobody waits.
        *watched = received.is_pending() && tokio::task::coop::has_budget_remaining();
        received
    }

    /// Writes what the connection takes of `bytes`; see [`poll_sent`](Self::poll_sent).
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => raw.poll_send(cx, bytes),
            IoLayer::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    /// To be called when [`poll_send`](Self::poll_send) has taken all: ready once the socket has it too,
    /// which without TLS is at once.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let IoLayer::Tls(stream) = &mut self.layer {
            ready!(Pin::new(&mut **stream).poll_flush(cx))?;
        }
        self.forwarded();
        Poll::Ready(Ok(()))
    }

    /// All that was handed over is written.
    fn forwarded(&self) {
        if let Some(on_forwarded) = &self.on_forwarded
            && let Some((delay, frames)) = self.stamps.take_forwarded()
        {
            on_forwarded(delay, frames);
        }
    }
}

fn poll_decrypted(
    stream: &mut TlsStream<RawIo>,
    cx: &mut Context<'_>,
    most: usize,
    mut take: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    thread_local! {
        static DECRYPTED: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_DECRYPTED].into());
    }
    DECRYPTED.with_borrow_mut(|decrypted| {
        let (room, _) = decrypted.split_at_mut(most.min(MAX_DECRYPTED));
        let mut buf = ReadBuf::new(room);
        ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
        let bytes = buf.filled();
        if !bytes.is_empty() {
            take(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    })
}

impl Read for TimestampedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining();
        self.poll_receive(cx, most, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
    }
}

impl Write for TimestampedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => Pin::new(raw).poll_write(cx, buf),
            IoLayer::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => Pin::new(raw).poll_write_vectored(cx, bufs),
            IoLayer::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            IoLayer::Plain(raw) => raw.is_write_vectored(),
            IoLayer::Tls(stream) => stream.is_write_vectored(),
        }
    }

    /// hyper flushes once its own buffers are written out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => Pin::new(raw).poll_shutdown(cx),
            IoLayer::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
