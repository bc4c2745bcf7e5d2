//! Shared HTTP/2 connections to the upstream. Each carries many requests at once and is driven by its own task.

use super::connector::{ConnectCause, ConnectError};
use crate::socket::{SocketTimestamps, TimestampedIo};
use crate::tap::{PeekBody, RequestProgress};
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

/// Flow-control window of one response: bytes that a server may send before the client takes any.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Flow-control window of all responses on a connection. It is so large that clients that do not read never block the
/// others.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Maximum number of bytes of one request that wait to be written.
const MAX_UNSENT: usize = 64 * 1024;
/// Maximum size in bytes of a response's headers.
const MAX_HEADERS: u32 = 128 * 1024;
/// Type of a SETTINGS frame, the first frame that a server sends (RFC 9113, sections 3.4 and 6.5).
const SETTINGS: u8 = 4;

type HyperHttp2Client = http2::Connection<Http2Io, PeekBody, TokioExecutor>;

/// HTTP/2 connections of one worker to an upstream.
#[derive(Debug, Default)]
pub(super) struct Http2Pool {
    connections: Mutex<Vec<Http2Connection>>,
}

/// Handle of a connection.
#[derive(Debug, Clone)]
struct Http2Connection {
    sender: SendRequest<PeekBody>,
    /// `None` once the connection has ended.
    driver: Arc<Mutex<Option<HyperHttp2Client>>>,
    state: Arc<Http2ConnectionState>,
}

/// State shared by a connection's socket and its requests.
#[derive(Debug)]
struct Http2ConnectionState {
    timestamps: Arc<SocketTimestamps>,
    /// Number of requests on the connection.
    open: AtomicUsize,
    idle_since: Mutex<Instant>,
    /// Requests that are not completely written, with the time of the latest write before they started.
    sending: Mutex<Vec<(Option<Duration>, Arc<RequestProgress>)>>,
    preface: Mutex<ServerPreface>,
}

/// First frame of the server.
#[derive(Debug, Default)]
struct ServerPreface {
    /// Why the server does not use HTTP/2, if so. `None` until it has sent something or closed the connection.
    verdict: Option<Result<(), ConnectError>>,
    waiting: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Permission to send one request on a shared connection.
#[derive(Debug)]
pub(crate) struct Http2Slot(Http2Connection);

impl Http2Pool {
    /// Returns a slot on a connection that can take another request now.
    pub fn try_acquire(&self) -> Option<Http2Slot> {
        let mut connections = lock(&self.connections);
        connections.retain(|connection| !connection.is_closed());
        connections.iter().find(|connection| connection.has_room()).map(Http2Connection::acquire)
    }

    /// Starts HTTP/2 on a new connection, and waits for the server's first frame.
    pub async fn connect(&self, io: TimestampedIo) -> Result<Http2Slot, ConnectError> {
        let state = Arc::new(Http2ConnectionState {
            timestamps: Arc::clone(io.timestamps()),
            open: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            sending: Mutex::default(),
            preface: Mutex::default(),
        });
        let io = Http2Io { io, state: Arc::clone(&state) };
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_UNSENT)
            .max_header_list_size(MAX_HEADERS)
            .handshake(io)
            .await
            .map_err(|_| ConnectError::Refused(ConnectCause::Closed))?;
        let driver = Arc::new(Mutex::new(Some(driver)));
        tokio::spawn(drive(Arc::clone(&driver)));
        // The SETTINGS frame limits the number of requests, and shows that this is not an HTTP/1.1 server.
        poll_fn(|cx| state.poll_preface(cx)).await?;
        let connection = Http2Connection { sender, driver, state };
        let slot = connection.acquire();
        lock(&self.connections).push(connection);
        Ok(slot)
    }

    /// Drops connections that the server has closed, and those without a request for `idle_timeout`.
    pub fn close_idle(&self, idle_timeout: Duration) {
        let is_idle = |state: &Http2ConnectionState| {
            state.open.load(Relaxed) == 0 && lock(&state.idle_since).elapsed() >= idle_timeout
        };
        lock(&self.connections)
            .retain(|connection| !connection.is_closed() && !is_idle(&connection.state));
    }
}

/// Runs a connection to its end.
async fn drive(driver: Arc<Mutex<Option<HyperHttp2Client>>>) {
    let ended = poll_fn(|cx| {
        let mut driver = lock(&driver);
        let Some(running) = &mut *driver else { return Poll::Ready(Ok(())) };
        let ended = Pin::new(running).poll(cx);
        if ended.is_ready() {
            // Returns unsent requests to their callers.
            *driver = None;
        }
        ended
    });
    if let Err(error) = ended.await {
        // The requests on the connection have received an error, too.
        tracing::debug!(%error, "HTTP/2 connection to the upstream ended early");
    }
}

impl Http2Connection {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the server accepts another request now.
    fn has_room(&self) -> bool {
        let max = lock(&self.driver).as_ref().map_or(0, HyperHttp2Client::current_max_send_streams);
        self.state.open.load(Relaxed) < max
    }

    fn acquire(&self) -> Http2Slot {
        self.state.open.fetch_add(1, Relaxed);
        Http2Slot(self.clone())
    }
}

impl Http2Slot {
    /// Sends a request and waits for the response head. Dropping the future cancels the request.
    pub async fn send(
        &mut self,
        request: Request<PeekBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<PeekBody>>> {
        let Http2Connection { sender, state, .. } = &mut self.0;
        let progress = request.body().progress();
        lock(&state.sending).push((state.timestamps.last_write(), progress));
        sender.try_send_request(request).await
    }

    /// Timestamps of the connection's socket.
    pub fn timestamps(&self) -> &Arc<SocketTimestamps> {
        &self.0.state.timestamps
    }
}

impl Drop for Http2Slot {
    fn drop(&mut self) {
        let state = &self.0.state;
        if state.open.fetch_sub(1, Relaxed) == 1 {
            *lock(&state.idle_since) = Instant::now();
        }
    }
}

impl Http2ConnectionState {
    /// Ready once the server's first frame was read.
    fn poll_preface(&self, cx: &Context<'_>) -> Poll<Result<(), ConnectError>> {
        let mut preface = lock(&self.preface);
        preface.waiting = Some(cx.waker().clone());
        preface.verdict.map_or(Poll::Pending, Poll::Ready)
    }

    /// Records the first frame. Later calls have no effect.
    fn record_preface(&self, verdict: Result<(), ConnectError>) {
        let waiting = {
            let mut preface = lock(&self.preface);
            preface.verdict.get_or_insert(verdict);
            preface.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Records that everything written so far has reached the socket.
    ///
    /// A request body that waits for the server's flow-control window can be recorded too early, because hyper does not
    /// report that state.
    fn record_flush(&self) {
        let latest = self.timestamps.last_write();
        lock(&self.sending).retain(|(before, progress)| {
            if latest != *before {
                progress.on_upstream_flush(&self.timestamps);
            }
            progress.sent().is_none() && Arc::strong_count(progress) > 1
        });
    }
}

/// Socket of an HTTP/2 connection as hyper sees it: detects the server's first frame, and reports flushes.
#[derive(Debug)]
struct Http2Io {
    io: TimestampedIo,
    state: Arc<Http2ConnectionState>,
}

impl Drop for Http2Io {
    fn drop(&mut self) {
        // With TLS, the server has chosen HTTP/2. It refuses the client's certificate after the handshake.
        let has_chosen = self.io.alpn_protocol().is_some();
        let verdict = if has_chosen { ConnectError::Tls } else { ConnectError::NotHttp2 };
        self.state.record_preface(Err(verdict));
    }
}

impl Read for Http2Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, state } = &mut *self;
        let room = buf.remaining();
        let has_preface = lock(&state.preface).verdict.is_some();
        io.poll_receive(cx, room, |bytes| {
            if !has_preface {
                // Fewer than four bytes do not prove another protocol; hyper's parser decides.
                let is_settings = bytes.get(3).is_none_or(|frame_type| *frame_type == SETTINGS);
                state.record_preface(if is_settings {
                    Ok(())
                } else {
                    Err(ConnectError::NotHttp2)
                });
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

    /// hyper flushes only after it has written out its own buffers.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.state.record_flush();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
