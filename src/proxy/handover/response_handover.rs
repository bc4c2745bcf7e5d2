//! Client side of the hand-over: takes a client's socket from hyper's server once hyper has written the response head.

use super::request_gate::RequestGate;
use crate::proxy::body::{StreamResponse, UpgradedUpstream};
use crate::socket::TimestampedIo;
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use strum::FromRepr;

/// GOAWAY frame with the error ENHANCE_YOUR_CALM (RFC 9113, section 6.8). The last stream is the highest possible one, so
/// that the client repeats no request.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];
/// Maximum number of reads per poll of the task, and of bytes per read, of a client that is cut off.
const MAX_READS: usize = 16;
const MAX_READ: usize = 16 * 1024;

/// A response that leaves hyper after its head.
#[derive(Debug)]
pub(crate) enum DetachedResponse {
    Stream(StreamResponse),
    Tunnel(UpgradedUpstream),
}

/// Current writer of the client's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromRepr)]
#[repr(u8)]
enum HandoverState {
    /// hyper writes to the socket.
    #[default]
    Hyper,
    /// The service has started a hand-over. [`ClientIo`] keeps the response head that hyper writes.
    CollectingHead,
    /// hyper has flushed: the head is complete, and the connection can leave hyper.
    HeadComplete,
}

/// State of one client connection, shared by its service, its socket and the connection itself: of the hand-over, and of
/// the shutdown.
#[derive(Debug, Default)]
pub(crate) struct ResponseHandover {
    state: AtomicU8,
    /// hyper has received a request since it got the connection.
    has_request: AtomicBool,
    /// Responses announce that the connection closes after them.
    announces_close: AtomicBool,
    /// Locked twice per hand-over.
    response: Mutex<Option<DetachedResponse>>,
    /// An interim response waits to be written.
    has_interim: AtomicBool,
    /// Heads of these interim responses.
    interim: Mutex<BytesMut>,
    /// See [`respond_early`](Self::respond_early).
    is_early: AtomicBool,
    /// HTTP/2 only: the client gets GOAWAY, and hyper no longer gets its bytes.
    is_cut_off: AtomicBool,
}

/// Maximum size in bytes of the interim responses that wait to be written.
const MAX_INTERIM: usize = 64 * 1024;

impl ResponseHandover {
    fn state(&self) -> HandoverState {
        HandoverState::from_repr(self.state.load(Relaxed)).unwrap_or_default()
    }

    fn set(&self, state: HandoverState) {
        self.state.store(state as u8, Relaxed);
    }

    /// Queues the head of an interim response. It is written at the next flush, which hyper tries in each turn.
    pub fn queue_interim(&self, head: &[u8]) {
        let mut interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        if interim.len() + head.len() <= MAX_INTERIM {
            interim.extend_from_slice(head);
            self.has_interim.store(true, Relaxed);
        }
    }

    #[inline(always)]
    fn take_interim(&self) -> Option<BytesMut> {
        if !self.has_interim.load(Relaxed) {
            return None;
        }
        self.has_interim.store(false, Relaxed);
        Some(std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// hyper gets the connection, and has received no request on it.
    pub fn expect_request(&self) {
        self.has_request.store(false, Relaxed);
    }

    /// hyper has received a request.
    pub fn on_request(&self) {
        self.has_request.store(true, Relaxed);
    }

    /// Whether hyper has received a request since it got the connection.
    pub fn has_request(&self) -> bool {
        self.has_request.load(Relaxed)
    }

    /// From now on, responses announce that the connection closes after them.
    pub fn announce_close(&self) {
        self.announces_close.store(true, Relaxed);
    }

    /// Whether responses announce that the connection closes after them.
    pub fn announces_close(&self) -> bool {
        self.announces_close.load(Relaxed)
    }

    /// Whether an HTTP/2 connection closes once its current requests have ended.
    pub fn closes_after_request(&self) -> bool {
        self.announces_close() && self.has_request()
    }

    /// Cuts hyper's HTTP/2 off from the client, which gets GOAWAY with ENHANCE_YOUR_CALM. hyper has no function for this.
    pub fn cut_off(&self) {
        self.is_cut_off.store(true, Relaxed);
    }

    /// Starts the hand-over of a response. Returns the body for hyper to use in its place.
    pub fn start(&self, response: DetachedResponse) -> DetachedBody {
        let is_tunnel = matches!(response, DetachedResponse::Tunnel(_));
        *self.response.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        self.set(HandoverState::CollectingHead);
        DetachedBody { is_tunnel }
    }

    /// The response was started before the request was completely received. It is the connection's last, and the client
    /// may still be sending when it is complete.
    pub fn respond_early(&self) {
        self.is_early.store(true, Relaxed);
    }

    /// Whether the last response was an early one.
    pub fn is_early(&self) -> bool {
        self.is_early.load(Relaxed)
    }

    /// Returns the response that leaves hyper, once hyper has written its complete head.
    pub fn finish(&self) -> Option<DetachedResponse> {
        if self.state() != HandoverState::HeadComplete {
            return None;
        }
        self.set(HandoverState::Hyper);
        self.response.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Placeholder for the body of a [`DetachedResponse`]. hyper gets no frame of it: it writes the head, and then loses the
/// connection.
#[derive(Debug)]
pub(crate) struct DetachedBody {
    /// A 101 has no body.
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

/// Client socket as hyper's server sees it.
pub(super) struct ClientIo {
    pub io: TimestampedIo,
    pub gate: RequestGate,
    /// Response head of a hand-over, kept to be sent together with the start of the body.
    pub head: BytesMut,
    /// Interim responses that are not completely written.
    interim: BytesMut,
    handover: Arc<ResponseHandover>,
    /// hyper may leave bytes unread.
    is_http1: bool,
    /// hyper waits for bytes since its last read, and will see the end of the connection itself.
    is_reading: bool,
    /// hyper has written bytes and not flushed yet, so a frame can be incomplete.
    is_unflushed: bool,
    goaway_sent: bool,
}

impl ClientIo {
    pub fn new(io: TimestampedIo, gate: RequestGate, handover: &Arc<ResponseHandover>) -> Self {
        let is_http1 = gate.is_http1();
        Self {
            io,
            gate,
            head: BytesMut::new(),
            interim: BytesMut::new(),
            handover: Arc::clone(handover),
            is_http1,
            is_reading: false,
            is_unflushed: false,
            goaway_sent: false,
        }
    }

    /// Fails if the client has left while hyper does not read.
    ///
    /// Over HTTP/1.1, hyper reads nothing while its buffer holds bytes of the next request, or while the upstream does not
    /// take the body. It writes or flushes in each of its turns, so this is called there.
    fn check_departed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_reading = std::mem::take(&mut self.is_reading);
        if self.is_http1 && !is_reading && self.io.poll_departed(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Takes the interim responses that are queued.
    #[inline(always)]
    fn collect_interim(&mut self) {
        if let Some(queued) = self.handover.take_interim() {
            self.interim.extend_from_slice(&queued);
        }
    }

    /// Writes the interim responses. They come before anything that hyper writes now.
    #[inline(always)]
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.collect_interim();
        if self.interim.is_empty() { Poll::Ready(Ok(())) } else { self.write_interim(cx) }
    }

    #[inline(never)]
    fn write_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(self.io.poll_send(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends GOAWAY, and then discards what the client sends. Closing the socket with unread bytes would send a reset,
    /// after which the client cannot read the GOAWAY.
    fn poll_cut_off(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.goaway_sent {
            self.goaway_sent = true;
            if !self.is_unflushed {
                // One attempt. A client that does not read gets a close.
                let _ = self.io.poll_send(cx, &GOAWAY);
                let _ = self.io.poll_sent(cx);
            }
            let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        }
        for _ in 0..MAX_READS {
            if ready!(self.io.poll_receive(cx, MAX_READ, |_| {}))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.handover.is_cut_off.load(Relaxed) {
            return self.poll_cut_off(cx);
        }
        let Self { io, gate, is_reading, .. } = &mut *self;
        *is_reading = false;
        loop {
            if gate.release(&mut buf) {
                return Poll::Ready(Ok(()));
            }
            if gate.is_closed()? {
                // hyper closes the connection after the response.
                return Poll::Pending;
            }
            let room = buf.remaining();
            let received = io.poll_receive(cx, room, |bytes| gate.receive(bytes, &mut buf));
            *is_reading = received.is_pending();
            let read = ready!(received)?;
            if read == 0 || buf.remaining() < room {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Write for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        if self.handover.state() == HandoverState::Hyper {
            let interim = self.poll_interim(cx)?;
            let written = match interim {
                Poll::Ready(()) => Pin::new(&mut self.io).poll_write(cx, buf),
                Poll::Pending => Poll::Pending,
            };
            if written.is_pending() {
                self.check_departed(cx)?;
            }
            return written;
        }
        self.collect_interim();
        if !self.interim.is_empty() {
            let interim = std::mem::take(&mut self.interim);
            self.head.extend_from_slice(&interim);
        }
        self.head.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    /// Only HTTP/2 uses this, and it has no hand-over. With `writev(false)`, hyper writes HTTP/1.1 from one buffer.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes only after it has written out its own buffers.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_unflushed = false;
        if self.head.is_empty() {
            self.check_departed(cx)?;
            ready!(self.poll_interim(cx))?;
            return Pin::new(&mut self.io).poll_flush(cx);
        }
        self.handover.set(HandoverState::HeadComplete);
        Poll::Ready(Ok(()))
    }

    /// hyper shuts the connection down after a 101; the tunnel still needs it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.handover.state() == HandoverState::Hyper {
            return Pin::new(&mut self.io).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Socket;
    use hyper::header::{CONNECTION, UPGRADE};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response, body::Incoming};
    use std::future::{Future, poll_fn};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

    /// State of the connection when a hand-over can happen.
    struct ServedHead {
        head: String,
        /// Bytes that hyper has read and not used.
        rest: Bytes,
        /// hyper considers the connection finished.
        is_done: bool,
        client: UnixStream,
        io: TimestampedIo,
    }

    /// Lets hyper serve `requests` until the state is [`HandoverState::HeadComplete`].
    async fn serve(requests: &str, status: u16, is_tunnel: bool) -> ServedHead {
        let (mut client, ours) = UnixStream::pair().unwrap();
        client.write_all(requests.as_bytes()).await.unwrap();
        let handover = Arc::<ResponseHandover>::default();
        let io = TimestampedIo::connected(Socket::Unix(ours), false);
        let io = ClientIo::new(io, RequestGate::http2(Bytes::new()), &handover);
        let service = service_fn(|_: Request<Incoming>| {
            handover.set(HandoverState::CollectingHead);
            let mut response = Response::builder().status(status);
            if is_tunnel {
                response = response.header(CONNECTION, "upgrade").header(UPGRADE, "test");
            }
            std::future::ready(response.body(DetachedBody { is_tunnel }))
        });
        let mut connection = http1::Builder::new()
            .writev(false)
            .auto_date_header(false)
            .serve_connection(io, service);
        let is_done = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            match handover.state() {
                HandoverState::HeadComplete => Poll::Ready(polled.is_ready()),
                _ => Poll::Pending,
            }
        })
        .await;
        let parts = connection.into_parts();
        let ClientIo { io, head, .. } = parts.io;
        let head = String::from_utf8(head.to_vec()).unwrap();
        ServedHead { head, rest: parts.read_buf, is_done, client, io }
    }

    #[tokio::test]
    async fn hyper_writes_the_whole_head_and_then_flushes() {
        let served = serve(REQUEST, 200, false).await;
        assert_eq!(served.head, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(!served.is_done, "hyper waits for the body");
        let mut buf = [0; 1];
        assert!(served.client.try_read(&mut buf).is_err(), "no byte reaches the socket");
    }

    #[tokio::test]
    async fn hyper_returns_the_bytes_of_the_next_request() {
        let served = serve(&format!("{REQUEST}{REQUEST}"), 200, false).await;
        assert_eq!(served.rest, REQUEST);
    }

    #[tokio::test]
    async fn hyper_announces_that_it_closes() {
        let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let served = serve(request, 200, false).await;
        assert!(super::super::client_connection::announces_close(served.head.as_bytes()));
    }

    #[tokio::test]
    async fn the_socket_stays_open_after_a_101() {
        let request =
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";
        let mut served = serve(request, 101, true).await;
        assert!(served.head.starts_with("HTTP/1.1 101 "));
        assert!(served.is_done);
        let sent = poll_fn(|cx| served.io.poll_send(cx, b"frame")).await.unwrap();
        let mut received = vec![0; sent];
        served.client.read_exact(&mut received).await.unwrap();
        assert_eq!(received, b"frame");
    }
}
