//! A client's connection.
//!
//! hyper reads its requests and writes the heads of our answers; the body of a stream is written by a
//! [`Relay`]. So the connection passes from hyper to a relay, and behind the stream back to hyper. It is
//! one future, which holds the state of the one or the other: a stream that is open has no buffers of
//! hyper's.

use super::drain::Graceful;
use super::pool::Upstream;
use super::relay::{Relay, Relayed, Stream};
use super::service::Proxy;
use crate::socket::StampedIo;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::{Builder, Connection};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// Most header lines that a request may have.
const MAX_HEADERS: usize = 256;
/// Most bytes of a request's head, and of what waits to be written to a client before more is read.
const MAX_BUFFER: usize = 128 * 1024;

/// hyper's part.
type Http = Connection<ClientIo, TowerToHyperService<Proxy>>;

/// A client's connection, to be driven to its end.
pub(super) struct Client {
    upstream: Arc<Upstream>,
    handover: Arc<Handover>,
    phase: Phase,
    /// No request is taken any more.
    is_closing: bool,
}

enum Phase {
    /// A request is awaited, or it and its answer are on their way.
    Http(Box<Http>),
    Stream(Box<Relay>),
    Over,
}

impl Client {
    /// A connection without a request.
    pub fn new(io: StampedIo, upstream: Arc<Upstream>) -> Self {
        let handover = Arc::default();
        let phase = Phase::http(io, Bytes::new(), &upstream, &handover);
        Self { upstream, handover, phase, is_closing: false }
    }

    /// The relay for what hyper has handed over.
    fn take_over(&mut self, stream: Stream) {
        if let Phase::Http(http) = std::mem::replace(&mut self.phase, Phase::Over) {
            let parts = http.into_parts();
            let ClientIo { io, head, ahead, .. } = parts.io;
            // A copy: what is left of a large buffer must not hold the whole.
            let mut rest = BytesMut::from(&*parts.read_buf);
            rest.extend_from_slice(&ahead);
            // hyper also closes for reasons of its own, and says so.
            let closes = says_close(&head);
            let mut relay = Relay::new(io, head, rest, stream);
            if self.is_closing || closes {
                relay.close_behind();
            }
            self.phase = Phase::Stream(Box::new(relay));
        }
    }

    /// What comes behind a stream that is whole.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        if let Phase::Stream(relay) = std::mem::replace(&mut self.phase, Phase::Over)
            && let Some((io, ahead)) = relay.into_kept(cx)
        {
            self.phase = Phase::http(io, ahead, &self.upstream, &self.handover);
        }
    }
}

/// Whether a head that hyper wrote says that the connection is closed behind the message. An upstream's
/// own `Connection` never stands in it.
fn says_close(head: &[u8]) -> bool {
    const CLOSE: &[u8] = b"\r\nconnection: close\r\n";
    head.windows(CLOSE.len()).any(|line| line.eq_ignore_ascii_case(CLOSE))
}

impl Phase {
    fn http(
        io: StampedIo,
        ahead: Bytes,
        upstream: &Arc<Upstream>,
        handover: &Arc<Handover>,
    ) -> Self {
        let service = Proxy {
            upstream: Arc::clone(upstream),
            client: Arc::clone(io.stamps()),
            handover: Arc::clone(handover),
        };
        let io = ClientIo { io, ahead, head: Vec::new(), handover: Arc::clone(handover) };
        let http = Builder::new()
            .preserve_header_case(true)
            .auto_date_header(false)
            .writev(false)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(io, TowerToHyperService::new(service));
        Self::Http(Box::new(http))
    }
}

impl Future for Client {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.phase {
                Phase::Http(http) => {
                    let served = Pin::new(&mut **http).poll(cx);
                    if let Poll::Ready(served) = served {
                        if let Err(error) = served {
                            // The request that it concerns has recorded its end.
                            tracing::debug!(%error, "a client's connection ended early");
                        }
                        self.phase = Phase::Over;
                    } else {
                        let Some(stream) = self.handover.take() else { return Poll::Pending };
                        self.take_over(stream);
                    }
                }
                Phase::Stream(relay) => match ready!(relay.poll(cx)) {
                    Relayed::Whole => self.go_on(cx),
                    Relayed::Broken => self.phase = Phase::Over,
                },
                Phase::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Graceful for Client {
    fn shut_down(mut self: Pin<&mut Self>) {
        self.is_closing = true;
        match &mut self.phase {
            Phase::Http(http) => Pin::new(&mut **http).graceful_shutdown(),
            Phase::Stream(relay) => relay.close_behind(),
            Phase::Over => {}
        }
    }
}

/// Where a stream waits until hyper has written the head of its answer.
#[derive(Debug, Default)]
pub(super) struct Handover {
    stream: Mutex<Option<Stream>>,
    /// There is one: what hyper writes from now on is its head, and kept for the relay.
    begun: AtomicBool,
    /// hyper has written all of the head.
    ready: AtomicBool,
}

impl Handover {
    /// The body to give to hyper in the place of this stream.
    pub fn hand_over(&self, stream: Stream) -> HandedOver {
        *self.stream() = Some(stream);
        self.begun.store(true, Relaxed);
        HandedOver
    }

    /// The stream whose head is written.
    fn take(&self) -> Option<Stream> {
        if !self.ready.swap(false, Relaxed) {
            return None;
        }
        self.begun.store(false, Relaxed);
        self.stream().take()
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body of which hyper gets to see nothing: by the time that it is wanted, hyper has written the head,
/// and gives up the connection.
#[derive(Debug)]
pub(crate) struct HandedOver;

impl Body for HandedOver {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// The client's socket, as hyper sees it.
struct ClientIo {
    io: StampedIo,
    /// What was read behind the request before, and hyper has not seen yet.
    ahead: Bytes,
    /// The head that is kept for the relay.
    head: Vec<u8>,
    handover: Arc<Handover>,
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }
}

/// hyper writes from one buffer, so there is no vectored write.
impl Write for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.handover.begun.load(Relaxed) {
            self.head.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    /// hyper flushes once its own buffers are written out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.head.is_empty() {
            self.handover.ready.store(true, Relaxed);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
