//! A client's connection.
//!
//! Its first bytes say whether it speaks HTTP/1.1 or HTTP/2. hyper carries HTTP/2. Of HTTP/1.1 it reads
//! the requests and writes the heads of our answers; the body of a stream is written by a [`Relay`], and
//! what comes behind a switch of protocols by a [`Tunnel`]. So the connection passes from hyper to a
//! relay, and behind the stream back to hyper. It is one future, which holds the state of the one or the
//! other: a stream that is open has no buffers of hyper's.

use super::client_io::{ClientIo, ResponseHandover, Takeover};
use crate::proxy::body::Tunnel;
use crate::proxy::body::{Relay, RelayEnd};
use crate::proxy::client::Graceful;
use crate::proxy::client::{ProtocolSniffer, SniffedProtocol};
use crate::proxy::forward::ProxyService;
use crate::proxy::upstream::UpstreamPool;
use crate::socket::TimestampedIo;
use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Most header lines that a request may have.
const MAX_HEADERS: usize = 256;
/// Most bytes of a request's head, and of what waits to be written to a client before more is read.
const MAX_BUFFER: usize = 128 * 1024;
/// The same of a request's head in HTTP/2, which counts 32 more for each line.
const MAX_HEADER_LIST: u32 = 128 * 1024;
/// Most requests at once on a connection by HTTP/2.
const MAX_STREAMS: u32 = 1000;
/// What a client may send of one request by HTTP/2 before the upstream has taken any of it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Most bytes of a stream by HTTP/2 that wait to be written.
const MAX_UNSENT: usize = 64 * 1024;
/// How often a client by HTTP/2 is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// hyper's part.
type HyperHttp1 = http1::Connection<ClientIo, ProxyService>;
type HyperHttp2 = http2::Connection<ClientIo, ProxyService, TokioExecutor>;

/// A client's connection, to be driven to its end.
pub(crate) struct ClientConnection {
    upstream: Arc<UpstreamPool>,
    handover: Arc<ResponseHandover>,
    phase: ClientPhase,
    /// No request is taken any more.
    is_closing: bool,
}

enum ClientPhase {
    /// Nothing was said yet.
    Sniffing(Box<ProtocolSniffer>),
    /// A request is awaited, or it and its answer are on their way.
    Http1(Box<HyperHttp1>),
    Http2(Box<HyperHttp2>),
    Stream(Box<Relay>),
    Tunnel(Box<Tunnel>),
    Over,
}

impl ClientConnection {
    /// A connection without a request.
    pub fn new(io: TimestampedIo, upstream: Arc<UpstreamPool>) -> Self {
        let phase = ClientPhase::Sniffing(Box::new(ProtocolSniffer::new(io)));
        Self { upstream, handover: Arc::default(), phase, is_closing: false }
    }

    /// Begins with what the client speaks.
    fn open(&mut self, speaks: SniffedProtocol) {
        if let ClientPhase::Sniffing(opening) =
            std::mem::replace(&mut self.phase, ClientPhase::Over)
        {
            let (io, ahead) = opening.into_parts();
            match speaks {
                SniffedProtocol::Http1 => self.phase = self.http1(io, ahead),
                SniffedProtocol::Http2 => self.phase = self.http2(io, ahead),
                SniffedProtocol::Nothing => {}
            }
        }
    }

    /// Goes on with what hyper has handed over.
    fn take_over(&mut self, handed: Takeover) {
        if let ClientPhase::Http1(http) = std::mem::replace(&mut self.phase, ClientPhase::Over) {
            let parts = http.into_parts();
            let ClientIo { io, head, ahead, .. } = parts.io;
            // A copy: what is left of a large buffer must not hold the whole.
            let mut rest = BytesMut::from(&*parts.read_buf);
            rest.extend_from_slice(&ahead);
            self.phase = match handed {
                Takeover::Stream(stream) => {
                    // hyper also closes for reasons of its own, and says so.
                    let closes = says_close(&head);
                    let mut relay = Relay::new(io, head, rest, stream);
                    if self.is_closing || closes {
                        relay.close_behind();
                    }
                    ClientPhase::Stream(Box::new(relay))
                }
                Takeover::Tunnel(switched) => {
                    ClientPhase::Tunnel(Box::new(Tunnel::new(io, head, rest, switched)))
                }
            };
        }
    }

    /// What comes behind a stream that is whole.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        if let ClientPhase::Stream(relay) = std::mem::replace(&mut self.phase, ClientPhase::Over)
            && let Some((io, ahead)) = relay.into_kept(cx)
        {
            self.phase = self.http1(io, ahead);
        }
    }

    fn http1(&self, io: TimestampedIo, ahead: Bytes) -> ClientPhase {
        let (io, service) = self.serve(io, ahead);
        let http = http1::Builder::new()
            .preserve_header_case(true)
            .auto_date_header(false)
            .writev(false)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(io, service);
        ClientPhase::Http1(Box::new(http))
    }

    fn http2(&self, io: TimestampedIo, ahead: Bytes) -> ClientPhase {
        let (io, service) = self.serve(io, ahead);
        let http = http2::Builder::new(TokioExecutor::new())
            .timer(self.upstream.timers().clone())
            .auto_date_header(false)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_UNSENT)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(io, service);
        ClientPhase::Http2(Box::new(http))
    }

    fn serve(&self, io: TimestampedIo, ahead: Bytes) -> (ClientIo, ProxyService) {
        let proxy = ProxyService {
            upstream: Arc::clone(&self.upstream),
            client: Arc::clone(io.stamps()),
            handover: Arc::clone(&self.handover),
        };
        (ClientIo::new(io, ahead, &self.handover), proxy)
    }
}

/// Whether a head that hyper wrote says that the connection is closed behind the message. An upstream's
/// own `Connection` never stands in it.
fn says_close(head: &[u8]) -> bool {
    const CLOSE: &[u8] = b"\r\nconnection: close\r\n";
    head.windows(CLOSE.len()).any(|line| line.eq_ignore_ascii_case(CLOSE))
}

/// What is left of hyper when it is done with a connection.
fn ended(served: hyper::Result<()>) -> ClientPhase {
    if let Err(error) = served {
        // The request that it concerns has recorded its end.
        tracing::debug!(%error, "a client's connection ended early");
    }
    ClientPhase::Over
}

impl Future for ClientConnection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Self { phase, upstream, .. } = &mut *self;
            match phase {
                ClientPhase::Sniffing(opening) => {
                    let speaks = ready!(opening.poll(upstream.timers(), cx));
                    self.open(speaks);
                }
                ClientPhase::Http1(http) => {
                    let served = Pin::new(&mut **http).poll(cx);
                    // A switch of protocols is hyper's end of the connection, but not ours.
                    if let Some(handed) = self.handover.take() {
                        self.take_over(handed);
                    } else {
                        self.phase = ended(ready!(served));
                    }
                }
                ClientPhase::Http2(http) => {
                    self.phase = ended(ready!(Pin::new(&mut **http).poll(cx)))
                }
                ClientPhase::Stream(relay) => match ready!(relay.poll(cx)) {
                    RelayEnd::Whole => self.go_on(cx),
                    RelayEnd::Broken => self.phase = ClientPhase::Over,
                },
                ClientPhase::Tunnel(tunnel) => {
                    ready!(tunnel.poll(cx));
                    self.phase = ClientPhase::Over;
                }
                ClientPhase::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Graceful for ClientConnection {
    fn shut_down(mut self: Pin<&mut Self>) {
        self.is_closing = true;
        match &mut self.phase {
            ClientPhase::Sniffing(_) => self.phase = ClientPhase::Over,
            ClientPhase::Http1(http) => Pin::new(&mut **http).graceful_shutdown(),
            ClientPhase::Http2(http) => Pin::new(&mut **http).graceful_shutdown(),
            ClientPhase::Stream(relay) => relay.close_behind(),
            // It goes on, as a stream does, until it is cut.
            ClientPhase::Tunnel(_) | ClientPhase::Over => {}
        }
    }
}
