//! Upstream side of the hand-over: limits hyper's client to the response head.

use super::head_end::HeadEndScanner;
use crate::socket::TimestampedIo;
use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use strum::FromRepr;

/// How far hyper may read the response to the current request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromRepr)]
#[repr(u8)]
pub(super) enum GateState {
    /// A request starts. The gate resets its scanner at the next use of the socket.
    #[default]
    NewRequest,
    /// hyper reads up to the end of the response head.
    ReadingHead,
    /// hyper asked for bytes after the head and got `Pending`.
    HeldBack,
    /// hyper reads everything.
    Open,
}

/// State of a [`HeadGate`], shared with the exchange that uses the connection.
///
/// One task drives both, so the atomics are plain loads and stores. They are atomics because hyper owns the gate and
/// the task can move between threads.
#[derive(Debug, Default)]
pub(super) struct HeadGateControl {
    state: AtomicU8,
    /// hyper has flushed all that it wrote of the current request so far.
    flushed: AtomicBool,
}

impl HeadGateControl {
    fn state(&self) -> GateState {
        GateState::from_repr(self.state.load(Relaxed)).unwrap_or_default()
    }

    fn set(&self, state: GateState) {
        self.state.store(state as u8, Relaxed);
    }

    /// A request starts: closes the gate. Call this before hyper gets the request.
    pub fn start_request(&self) {
        self.flushed.store(false, Relaxed);
        self.set(GateState::NewRequest);
    }

    /// Lets hyper read the body. Poll hyper afterwards: the gate wakes nobody.
    pub fn open(&self) {
        self.set(GateState::Open);
    }

    pub fn is_open(&self) -> bool {
        self.state() == GateState::Open
    }

    /// Whether hyper asked for bytes after the head while the gate was closed.
    pub fn is_held_back(&self) -> bool {
        self.state() == GateState::HeldBack
    }

    /// Whether hyper has flushed since the last call, and has written nothing since that flush.
    pub fn take_flushed(&self) -> bool {
        let flushed = self.flushed.load(Relaxed);
        if flushed {
            self.flushed.store(false, Relaxed);
        }
        flushed
    }
}

/// Upstream socket as hyper's client sees it. Withholds everything after a response head until the gate is opened.
#[derive(Debug)]
pub(super) struct HeadGate {
    io: TimestampedIo,
    control: Arc<HeadGateControl>,
    scanner: HeadEndScanner,
    /// Bytes that were read together with the head and that hyper has not received.
    rest: BytesMut,
    /// hyper has written bytes that are not flushed.
    is_unflushed: bool,
    /// The server no longer takes the request.
    is_write_broken: bool,
    /// Maximum number of interim responses to a request.
    max_interim: usize,
}

/// The server sent more interim responses (1xx) to one request than allowed.
#[derive(Debug, thiserror::Error)]
#[error("too many interim responses")]
pub(crate) struct TooManyInterimResponses;

impl HeadGate {
    pub fn new(io: TimestampedIo, max_interim: usize) -> Self {
        let (scanner, rest) = (HeadEndScanner::default(), BytesMut::new());
        Self {
            io,
            control: Arc::default(),
            scanner,
            rest,
            is_unflushed: false,
            is_write_broken: false,
            max_interim,
        }
    }

    /// Control that stays usable after hyper has taken the gate.
    pub fn control(&self) -> Arc<HeadGateControl> {
        Arc::clone(&self.control)
    }

    /// Returns the socket, and the start of the body as far as it was read.
    pub fn into_parts(self) -> (TimestampedIo, BytesMut) {
        (self.io, self.rest)
    }

    /// Returns the current state, after the reset that a new request needs.
    fn update(&mut self) -> GateState {
        let state = self.control.state();
        if state != GateState::NewRequest {
            return state;
        }
        self.scanner = HeadEndScanner::default();
        self.control.set(GateState::ReadingHead);
        GateState::ReadingHead
    }

    /// Holds an error of a write back. A server that answers before it has read the request can then close its connection.
    /// hyper would report the failed write instead of the response, which may be in the socket already. A read shows the
    /// response, or else the end of the connection.
    fn hold_error_back<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if !self.is_write_broken && !matches!(written, Poll::Ready(Err(_))) {
            return written;
        }
        if !std::mem::replace(&mut self.is_write_broken, true) {
            // hyper reads in its next turn.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn start_write(&mut self) {
        self.update();
        self.is_unflushed = true;
        self.control.flushed.store(false, Relaxed);
    }
}

impl Read for HeadGate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let is_open = self.update() == GateState::Open;
        let Self { io, scanner, rest, control, max_interim, .. } = &mut *self;
        if is_open && rest.is_empty() {
            return Pin::new(io).poll_read(cx, buf);
        }
        if !is_open && scanner.is_complete() {
            control.set(GateState::HeldBack);
            return Poll::Pending;
        }
        // At most what hyper has room for: the rest of a long head stays in the socket.
        let room = buf.remaining();
        // Returns how many of the bytes hyper receives.
        let mut pass = |bytes: &[u8]| {
            let length = if is_open { bytes.len() } else { scanner.push(bytes) };
            buf.put_slice(bytes.get(..length).unwrap_or_default());
            length
        };
        if rest.is_empty() {
            let receive = |bytes: &[u8]| {
                let passed = pass(bytes);
                rest.extend_from_slice(bytes.get(passed..).unwrap_or_default());
            };
            ready!(io.poll_receive(cx, room, receive))?;
        } else {
            let passed = pass(rest.get(..room.min(rest.len())).unwrap_or_default());
            rest.advance(passed);
        }
        if scanner.interim_responses() > *max_interim {
            return Poll::Ready(Err(io::Error::other(TooManyInterimResponses)));
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for HeadGate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.start_write();
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.hold_error_back(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.start_write();
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.hold_error_back(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes only after it has written out its own buffers.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_unflushed {
            return Poll::Ready(Ok(()));
        }
        self.control.flushed.store(true, Relaxed);
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        let flushed = self.hold_error_back(cx, flushed);
        self.is_unflushed = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Socket;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Request;
    use hyper::client::conn::http1::{self, Connection};
    use hyper::header::HOST;
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    type GatedClient = Connection<HeadGate, Full<Bytes>>;

    fn request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::post("/").header(HOST, "test").body(Full::new(body.into())).unwrap()
    }

    async fn connect()
    -> (http1::SendRequest<Full<Bytes>>, GatedClient, Arc<HeadGateControl>, UnixStream) {
        let (ours, server) = UnixStream::pair().unwrap();
        let gate = HeadGate::new(TimestampedIo::connected(Socket::Unix(ours), false), 100);
        let control = gate.control();
        let (sender, client) = http1::handshake(gate).await.unwrap();
        control.start_request();
        (sender, client, control, server)
    }

    /// Polls `future` and the connection until the future is ready.
    async fn drive<T>(client: &mut GatedClient, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| {
            let _ = Pin::new(&mut *client).poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    #[tokio::test]
    async fn hyper_returns_the_head_without_the_body() {
        let (mut sender, mut client, control, mut server) = connect().await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "5\r\nhello\r\n";
        server.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let response = drive(&mut client, sender.send_request(request(""))).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(!control.is_open());
        let parts = client.into_parts();
        assert!(parts.read_buf.is_empty(), "hyper keeps nothing");
        assert_eq!(parts.io.into_parts().1, body.as_bytes());
    }

    #[tokio::test]
    async fn an_opened_gate_lets_hyper_read_the_body() {
        let (mut sender, mut client, control, mut server) = connect().await;
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        server.write_all(response.as_bytes()).await.unwrap();
        let response = drive(&mut client, sender.send_request(request(""))).await.unwrap();
        control.open();
        let body = http_body_util::BodyExt::collect(response.into_body());
        assert_eq!(drive(&mut client, body).await.unwrap().to_bytes(), "hello");
    }

    #[tokio::test]
    async fn hyper_flushes_only_when_the_whole_request_is_written() {
        let (mut sender, mut client, control, mut server) = connect().await;
        let body = vec![b'x'; 4 << 20];
        let length = body.len();
        let mut response = std::pin::pin!(sender.send_request(request(body)));
        // More than the socket's buffer takes.
        for _ in 0..10 {
            poll_fn(|cx| {
                let _ = Pin::new(&mut client).poll(cx);
                assert!(response.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
            assert!(!control.take_flushed());
        }
        let reader = tokio::spawn(async move {
            let mut received = vec![0; length];
            server.read_exact(&mut received).await.unwrap();
            server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            server
        });
        drive(&mut client, response).await.unwrap();
        assert!(control.take_flushed());
        assert!(!control.take_flushed(), "reported once");
        drop(reader.await.unwrap());
    }

    /// A server answers before it has read the request, and closes with unread bytes.
    #[tokio::test]
    async fn a_broken_write_does_not_hide_the_response() {
        let (mut sender, mut client, control, mut server) = connect().await;
        let mut response = pin!(sender.send_request(request(vec![b'x'; 4 << 20])));
        poll_fn(|cx| {
            let _ = Pin::new(&mut client).poll(cx);
            assert!(response.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let body = "no".repeat(20_000);
        let length = body.len();
        let head = format!("HTTP/1.1 413 Content Too Large\r\nContent-Length: {length}\r\n\r\n");
        server.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        drop(server);
        let response = drive(&mut client, response).await.unwrap();
        assert_eq!(response.status(), 413);
        control.open();
        let received = http_body_util::BodyExt::collect(response.into_body());
        assert_eq!(drive(&mut client, received).await.unwrap().to_bytes(), body);
    }
}
