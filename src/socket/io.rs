//! Connection that timestamps its reads and writes, with or without TLS.
//!
//! With TLS, the timestamps are those of the socket below: decrypted data arrived with the read that completed its
//! record.

use super::raw::{RawSocket, Socket};
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
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Maximum number of decrypted bytes per read: one TLS record.
const MAX_DECRYPTED: usize = 16 * 1024;

/// Callback for the forwarding delay, when everything queued for a socket is written. Arguments: time since the oldest
/// queued frame arrived, and number of frames.
pub type OnForwarded = Arc<dyn Fn(Duration, u64) + Send + Sync>;

/// A connection that timestamps its reads and writes.
pub struct TimestampedIo {
    layer: IoLayer,
    timestamps: Arc<SocketTimestamps>,
    on_forwarded: Option<OnForwarded>,
}

#[derive(Debug)]
enum IoLayer {
    Plain(RawSocket),
    Tls(Box<TlsStream<RawSocket>>),
}

impl fmt::Debug for TimestampedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimestampedIo")
            .field("layer", &self.layer)
            .field("timestamps", &self.timestamps)
            .finish_non_exhaustive()
    }
}

impl TimestampedIo {
    /// Wraps a client's socket, accepted from a listener with [`set_socket_options`]. `on_forwarded` receives the
    /// forwarding delays.
    pub fn accepted(io: TcpStream, on_forwarded: OnForwarded) -> Self {
        Self::new(RawSocket::new(Socket::Tcp(io)), Some(on_forwarded))
    }

    /// Wraps an outgoing socket. `kernel_stamps` enables the kernel's receive timestamps.
    pub fn connected(socket: Socket, kernel_stamps: bool) -> Self {
        if let Socket::Tcp(io) = &socket {
            set_socket_options(io, kernel_stamps);
        }
        Self::new(RawSocket::new(socket), None)
    }

    fn new(raw: RawSocket, on_forwarded: Option<OnForwarded>) -> Self {
        let timestamps = Arc::clone(&raw.timestamps);
        Self { layer: IoLayer::Plain(raw), timestamps, on_forwarded }
    }

    /// Performs the TLS handshake with a client.
    ///
    /// # Errors
    /// If the handshake fails.
    pub async fn accept_tls(self, tls: &TlsAcceptor) -> io::Result<Self> {
        let Self { layer, timestamps, on_forwarded } = self;
        let IoLayer::Plain(raw) = layer else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = tls.accept(raw).await?;
        Ok(Self::with_tls(stream.into(), timestamps, on_forwarded))
    }

    /// Performs the TLS handshake with the server `name`, and offers it `protocols` (ALPN).
    ///
    /// # Errors
    /// If the handshake fails, or the server's certificate is not trusted for `name`.
    pub async fn connect_tls(
        self,
        tls: &TlsConnector,
        name: ServerName<'static>,
        protocols: Vec<Vec<u8>>,
    ) -> io::Result<Self> {
        let Self { layer, timestamps, on_forwarded } = self;
        let IoLayer::Plain(raw) = layer else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = tls.with_alpn(protocols).connect(name, raw).await?;
        Ok(Self::with_tls(stream.into(), timestamps, on_forwarded))
    }

    fn with_tls(
        stream: TlsStream<RawSocket>,
        timestamps: Arc<SocketTimestamps>,
        on_forwarded: Option<OnForwarded>,
    ) -> Self {
        // Bytes read so far belong to the handshake.
        timestamps.expect_head();
        Self { layer: IoLayer::Tls(Box::new(stream)), timestamps, on_forwarded }
    }

    /// Protocol negotiated in the TLS handshake (ALPN).
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        match &self.layer {
            IoLayer::Plain(_) => None,
            IoLayer::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Timestamps of the socket.
    pub fn timestamps(&self) -> &Arc<SocketTimestamps> {
        &self.timestamps
    }

    /// Reads once, at most `max` bytes, records the timestamp, and passes the data to `take`. Returns the number of
    /// bytes; 0 is the end of the connection.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => raw.poll_receive(cx, max, take),
            IoLayer::Tls(stream) => poll_decrypted(stream, cx, max, take),
        }
    }

    /// Ready once the peer has left: it has closed its sending direction, by FIN or TLS `close_notify`, or reset the
    /// connection. Sees it behind unread bytes too, except a `close_notify` behind more than one TLS record of them.
    ///
    /// Call it in each turn of the task while nothing is read. A call costs one load while nothing arrives.
    #[inline(always)]
    pub fn poll_departed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.layer {
            IoLayer::Plain(raw) => raw.poll_departed(cx),
            IoLayer::Tls(stream) => {
                if let TlsStream::Server(stream) = &mut **stream {
                    let (raw, session) = stream.get_mut();
                    if raw.is_quiet() {
                        return Poll::Pending;
                    }
                    if tls_peer_has_closed(raw, session, cx) {
                        return Poll::Ready(());
                    }
                }
                stream.get_mut().0.poll_departed(cx)
            }
        }
    }

    /// Writes as much of `bytes` as the connection accepts. Then call [`poll_sent`](Self::poll_sent).
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            IoLayer::Plain(raw) => raw.poll_send(cx, bytes),
            IoLayer::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    /// Ready once the socket has accepted everything. Call this when [`poll_send`](Self::poll_send) has accepted all
    /// data. Without TLS it is ready at once.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let IoLayer::Tls(stream) = &mut self.layer {
            ready!(Pin::new(&mut **stream).poll_flush(cx))?;
        }
        self.report_forwarded();
        Poll::Ready(Ok(()))
    }

    /// Reports the forwarding delay of the frames that are now written.
    fn report_forwarded(&self) {
        if let Some(on_forwarded) = &self.on_forwarded
            && let Some((delay, frames)) = self.timestamps.take_forwarded()
        {
            on_forwarded(delay, frames);
        }
    }
}

fn poll_decrypted(
    stream: &mut TlsStream<RawSocket>,
    cx: &mut Context<'_>,
    max: usize,
    mut take: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    thread_local! {
        static DECRYPTED: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_DECRYPTED].into());
    }
    DECRYPTED.with_borrow_mut(|decrypted| {
        let (room, _) = decrypted.split_at_mut(max.min(MAX_DECRYPTED));
        let mut buf = ReadBuf::new(room);
        ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
        let bytes = buf.filled();
        if !bytes.is_empty() {
            take(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    })
}

/// Whether the client has sent `close_notify` or closed its connection. Reads and decrypts records, which stay in the
/// session until they are asked for, up to [`MAX_DECRYPTED`] bytes.
fn tls_peer_has_closed(
    raw: &mut RawSocket,
    session: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> bool {
    loop {
        match session.process_new_packets() {
            Ok(state) if state.peer_has_closed() => return true,
            Ok(state) if state.plaintext_bytes_to_read() >= MAX_DECRYPTED => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
        match session.read_tls(&mut RecordReader { raw, cx }) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(0) | Err(_) => return true,
        }
    }
}

/// The socket below TLS as rustls reads it.
struct RecordReader<'a, 'b> {
    raw: &'a mut RawSocket,
    cx: &'a mut Context<'b>,
}

impl io::Read for RecordReader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.raw).poll_read(self.cx, &mut buf) {
            Poll::Ready(read) => read.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for TimestampedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        self.poll_receive(cx, room, |bytes| buf.put_slice(bytes)).map_ok(|_| ())
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

    /// hyper flushes only after it has written out its own buffers.
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
