//! HTTP/2 to the upstream: connections that carry many requests at once, each driven by a task of its own.

use super::connector::ConnectError;
use crate::socket::{SocketTimestamps, TimestampedIo};
use crate::tap::{PeekBody, RequestSide};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response};
use hyper_util::rt::TokioExecutor;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// What a server may send of one answer before its client has taken any of it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all answers of a connection: so much that clients which do not read never stop the others.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Most bytes of a request that wait to be written.
const MAX_UNSENT: usize = 64 * 1024;
/// Most bytes of an answer's headers.
const MAX_HEADERS: u32 = 128 * 1024;
/// The frame that a server begins with (RFC 9113, section 3.4 and 6.5).
const SETTINGS: u8 = 4;

type HyperHttp2Client = http2::Connection<Http2Io, PeekBody, TokioExecutor>;

/// The HTTP/2 connections of one worker to an upstream.
#[derive(Debug, Default)]
pub(crate) struct Http2Pool {
    connections: Mutex<Vec<Http2Connection>>,
}

/// A connection.
#[derive(Debug, Clone)]
struct Http2Connection {
    sender: SendRequest<PeekBody>,
    /// `None` once it has ended.
    driver: Arc<Mutex<Option<HyperHttp2Client>>>,
    line: Arc<Http2ConnectionState>,
}

/// What the connection's socket and its requests share.
#[derive(Debug)]
struct Http2ConnectionState {
    stamps: Arc<SocketTimestamps>,
    /// Requests that are on it.
    open: AtomicUsize,
    idle_since: Mutex<Instant>,
    /// Requests that are not yet written in full, with the latest write when they began.
    sending: Mutex<Vec<(Option<Duration>, Arc<RequestSide>)>>,
    greeting: Mutex<ServerPreface>,
}

/// What the server has said first.
#[derive(Debug, Default)]
struct ServerPreface {
    /// It speaks HTTP/2, or something else, or has left.
    is_http2: Option<bool>,
    waiting: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to send one request on a connection.
#[derive(Debug)]
pub(crate) struct Http2Slot(Http2Connection);

impl Http2Pool {
    /// A connection that can take one more request at once.
    pub fn lease(&self) -> Option<Http2Slot> {
        let mut connections = lock(&self.connections);
        connections.retain(|one| !one.is_closed());
        connections.iter().find(|one| one.has_room()).map(Http2Connection::lease)
    }

    /// Begins with HTTP/2 on a new connection, and waits for the server to do so too.
    pub async fn begin(&self, io: TimestampedIo) -> Result<Http2Slot, ConnectError> {
        let line = Arc::new(Http2ConnectionState {
            stamps: Arc::clone(io.stamps()),
            open: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            sending: Mutex::default(),
            greeting: Mutex::default(),
        });
        let io = Http2Io { io, line: Arc::clone(&line) };
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_UNSENT)
            .max_header_list_size(MAX_HEADERS)
            .handshake(io)
            .await
            .map_err(|_| ConnectError::Unreachable)?;
        let driver = Arc::new(Mutex::new(Some(driver)));
        tokio::spawn(drive(Arc::clone(&driver)));
        // The server's settings say how many requests it takes, and that it is no HTTP/1.1 server.
        if !poll_fn(|cx| line.poll_greeted(cx)).await {
            return Err(ConnectError::NotHttp2);
        }
        let shared = Http2Connection { sender, driver, line };
        let lease = shared.lease();
        lock(&self.connections).push(shared);
        Ok(lease)
    }

    /// Closes what is closed by the other side, or was without a request for so long.
    pub fn reap(&self, idle_timeout: Duration) {
        let is_idle = |line: &Http2ConnectionState| {
            line.open.load(Relaxed) == 0 && lock(&line.idle_since).elapsed() >= idle_timeout
        };
        lock(&self.connections).retain(|one| !one.is_closed() && !is_idle(&one.line));
    }
}

/// Runs a connection to its end.
async fn drive(driver: Arc<Mutex<Option<HyperHttp2Client>>>) {
    let ended = poll_fn(|cx| {
        let mut driver = lock(&driver);
        let Some(running) = &mut *driver else { return Poll::Ready(Ok(())) };
        let ended = Pin::new(running).poll(cx);
        if ended.is_ready() {
            // What was not sent is given back to whom it belongs.
            *driver = None;
        }
        ended
    });
    if let Err(error) = ended.await {
        // The requests on it were told.
        tracing::debug!(%error, "a connection to the upstream ended early");
    }
}

impl Http2Connection {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the server takes one more request now.
    fn has_room(&self) -> bool {
        let most =
            lock(&self.driver).as_ref().map_or(0, HyperHttp2Client::current_max_send_streams);
        self.line.open.load(Relaxed) < most
    }

    fn lease(&self) -> Http2Slot {
        self.line.open.fetch_add(1, Relaxed);
        Http2Slot(self.clone())
    }
}

impl Http2Slot {
    /// Sends a request and waits for the head of its answer. Dropped, it takes the request back.
    pub async fn send(
        &mut self,
        request: Request<PeekBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<PeekBody>>> {
        let Http2Connection { sender, line, .. } = &mut self.0;
        let side = request.body().request_side();
        lock(&line.sending).push((line.stamps.last_write(), side));
        sender.try_send_request(request).await
    }

    pub fn stamps(&self) -> &Arc<SocketTimestamps> {
        &self.0.line.stamps
    }
}

impl Drop for Http2Slot {
    fn drop(&mut self) {
        let line = &self.0.line;
        if line.open.fetch_sub(1, Relaxed) == 1 {
            *lock(&line.idle_since) = Instant::now();
        }
    }
}

impl Http2ConnectionState {
    /// Whether the server speaks HTTP/2, once it has said something.
    fn poll_greeted(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut greeting = lock(&self.greeting);
        greeting.waiting = Some(cx.waker().clone());
        greeting.is_http2.map_or(Poll::Pending, Poll::Ready)
    }

    fn greet(&self, is_http2: bool) {
        let waiting = {
            let mut greeting = lock(&self.greeting);
            greeting.is_http2.get_or_insert(is_http2);
            greeting.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// All that there was is written. A request whose body waits for the server's window may be told too
    /// early: hyper does not say.
    fn flushed(&self) {
        let latest = self.stamps.last_write();
        lock(&self.sending).retain(|(before, side)| {
            if latest != *before {
                side.on_upstream_flush(&self.stamps);
            }
            side.sent().is_none() && Arc::strong_count(side) > 1
        });
    }
}

/// The connection's socket, as hyper sees it.
#[derive(Debug)]
struct Http2Io {
    io: TimestampedIo,
    line: Arc<Http2ConnectionState>,
}

impl Drop for Http2Io {
    fn drop(&mut self) {
        self.line.greet(false);
    }
}

impl Read for Http2Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, line } = &mut *self;
        let most = buf.remaining();
        let greeted = lock(&line.greeting).is_http2.is_some();
        io.poll_receive(cx, most, |bytes| {
            if !greeted {
                // A shorter piece is no other protocol's either; hyper will see.
                line.greet(bytes.get(3).is_none_or(|kind| *kind == SETTINGS));
            }
            buf.put_slice(bytes);
        })
        .map_ok(|_| ())
    }
}

impl Write for Http2Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

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
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.line.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
