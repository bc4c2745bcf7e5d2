//! A client's connection as one future, which moves between hyper, a [`Relay`] and a [`Tunnel`].

mod client_limits;

use super::client_requests::ClientRequests;
use super::request_gate::{RequestGate, is_target};
use super::response_handover::{ClientIo, DetachedResponse, ResponseHandover};
use crate::proxy::body::{FinishedRelay, Relay, RelayEnd, Tunnel};
use crate::proxy::client::{
    ConnectionSlot, DrainStage, ProtocolSniffer, SniffedProtocol, discard_rest,
};
use crate::proxy::forward::ProxyService;
use crate::proxy::limits::MinuteBudget;
use crate::proxy::timers::TaskTimer;
use crate::proxy::upstream::UpstreamPool;
use crate::socket::{self, SocketTimestamps, TimestampedIo};
use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use streamgauge_core::wire::reject_reason::RejectReason;
use streamgauge_core::wire::request_head::HeadLimits;

/// Maximum size in bytes of the data that waits to be read by a service or to be written to a client before more is
/// read.
const MAX_BUFFER: usize = 128 * 1024;
/// Bytes after a request's headers that hyper can read together with them.
const READ_AHEAD: usize = 8 * 1024;
/// Number of header lines that hyper reads unless told otherwise. It reads more only with two large allocations for each
/// request, even for one with few headers.
const HYPER_MAX_HEADERS: usize = 100;
/// Bytes that HTTP/2 adds to the size of each header line (RFC 9113, section 6.5.2).
const HTTP2_LINE_OVERHEAD: usize = 32;
/// Maximum number of concurrent requests on an HTTP/2 connection.
const MAX_STREAMS: u32 = 1000;
/// Flow-control window of one HTTP/2 request: bytes that a client may send before the upstream takes any.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Flow-control window of all requests on an HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Maximum number of bytes of one HTTP/2 response that wait to be written.
const MAX_UNSENT: usize = 64 * 1024;
/// Interval of HTTP/2 pings to a client, and how long it may take to reply.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

type HyperHttp1 = http1::Connection<ClientIo, ProxyService>;
type HyperHttp2 = http2::Connection<ClientIo, ProxyService, TokioExecutor>;

/// A client's connection. The future ends with the connection.
pub(crate) struct ClientConnection {
    upstream: Arc<UpstreamPool>,
    handover: Arc<ResponseHandover>,
    timestamps: Arc<SocketTimestamps>,
    requests: Arc<ClientRequests>,
    phase: ClientPhase,
    /// Checks the client's time limits. `None` if there are none.
    timer: Option<TaskTimer>,
    /// Accept no further request.
    is_closing: bool,
    /// If it is beyond the limit of connections, the request gets an error.
    slot: ConnectionSlot,
    /// HTTP/2: requests that the client may cancel, and how many it has cancelled so far.
    resets: MinuteBudget,
    known_resets: usize,
    /// The client has cancelled too many. It gets GOAWAY and then some time to read it.
    is_cut_off: bool,
}

/// Current owner of the client's socket. The [module documentation](super) shows the transitions.
///
/// Each phase is boxed and holds only its own state, so an open stream keeps none of hyper's buffers.
enum ClientPhase {
    /// The protocol is not known yet.
    Sniffing(Box<ProtocolSniffer>),
    /// hyper waits for a request, or carries a request and its response.
    Http1(Box<HyperHttp1>),
    /// hyper carries all requests until the connection ends.
    Http2(Box<HyperHttp2>),
    /// The relay sends the response to an HTTP/1.1 request.
    Stream(Box<Relay>),
    /// The connection has switched to another protocol.
    Tunnel(Box<Tunnel>),
    /// The last response is sent, and the client may still be sending.
    Lingering(Pin<Box<dyn Future<Output = ()> + Send>>),
    Closed,
}

impl ClientConnection {
    /// Returns a connection that waits for its first request.
    pub fn new(io: TimestampedIo, upstream: Arc<UpstreamPool>, slot: ConnectionSlot) -> Self {
        let mut connection = Self {
            handover: Arc::default(),
            requests: ClientRequests::new(),
            timestamps: Arc::clone(io.timestamps()),
            phase: ClientPhase::Sniffing(Box::new(ProtocolSniffer::new(io))),
            timer: None,
            is_closing: false,
            slot,
            resets: MinuteBudget::new(socket::now()),
            known_resets: 0,
            is_cut_off: false,
            upstream,
        };
        let timers = connection.upstream.timers();
        connection.timer =
            connection.check_interval().map(|interval| TaskTimer::new(timers, interval));
        connection
    }

    /// Maximum number of requests on the connection.
    fn max_requests(&self) -> Option<usize> {
        if self.slot.is_refused {
            Some(1)
        } else {
            self.upstream.config().limits.connection_requests
        }
    }

    /// Advances to a stage of the shutdown.
    pub fn enter(&mut self, stage: DrainStage) {
        match stage {
            DrainStage::Serving => {}
            DrainStage::LameDuck => self.handover.announce_close(),
            DrainStage::Closing => self.shut_down(),
            DrainStage::Aborting => {
                self.timestamps.reset_on_close(true);
                self.phase = ClientPhase::Closed;
            }
        }
    }

    /// Finishes the current requests and accepts no further one. A stream or tunnel continues until it ends.
    fn shut_down(&mut self) {
        self.is_closing = true;
        match &mut self.phase {
            ClientPhase::Sniffing(_) => self.phase = ClientPhase::Closed,
            // hyper would wait for the rest of a partial request head.
            ClientPhase::Http1(_) | ClientPhase::Http2(_) if !self.handover.has_request() => {
                self.phase = ClientPhase::Closed;
            }
            ClientPhase::Http1(http) => Pin::new(&mut **http).graceful_shutdown(),
            ClientPhase::Http2(http) => Pin::new(&mut **http).graceful_shutdown(),
            ClientPhase::Stream(relay) => relay.close_at_end(),
            ClientPhase::Tunnel(_) | ClientPhase::Lingering(_) | ClientPhase::Closed => {}
        }
    }

    /// `Sniffing` to `Http1`, `Http2` or `Closed`.
    fn start_protocol(&mut self, protocol: SniffedProtocol) {
        if let ClientPhase::Sniffing(sniffer) = self.take_phase() {
            let (io, ahead) = sniffer.into_parts();
            match protocol {
                SniffedProtocol::Http1 => self.phase = self.http1(io, ahead),
                SniffedProtocol::Http2 => self.phase = self.http2(io, ahead),
                SniffedProtocol::Closed => {}
            }
        }
    }

    /// `Http1` to `Stream` or `Tunnel`.
    fn leave_hyper(&mut self, response: DetachedResponse) {
        if let ClientPhase::Http1(http) = self.take_phase() {
            let parts = http.into_parts();
            let ClientIo { io, head, gate, .. } = parts.io;
            let rest = gate.into_rest(&parts.read_buf);
            self.phase = match response {
                DetachedResponse::Stream(stream) => {
                    // hyper can also decide to close, and announces it in the head.
                    let closes = self.is_closing || announces_close(&head);
                    let mut relay = Relay::new(io, head, rest, stream);
                    if closes {
                        relay.close_at_end();
                    }
                    ClientPhase::Stream(Box::new(relay))
                }
                DetachedResponse::Tunnel(upstream) => {
                    ClientPhase::Tunnel(Box::new(Tunnel::new(io, head, rest, upstream)))
                }
            };
        }
    }

    /// `Stream` back to `Http1` for the next request, or to `Lingering` or `Closed`.
    fn end_stream(&mut self, end: RelayEnd, cx: &mut Context<'_>) {
        if let ClientPhase::Stream(relay) = self.take_phase()
            && end == RelayEnd::Complete
        {
            match relay.finish(cx) {
                FinishedRelay::Reusable { io, ahead } => self.phase = self.http1(io, ahead),
                FinishedRelay::ShutDown(io) => self.linger(io, false, cx),
            }
        }
    }

    /// `Http1` to `Lingering` or `Closed`, when hyper has finished.
    fn end_http1(&mut self, result: hyper::Result<()>, cx: &mut Context<'_>) {
        let phase = self.take_phase();
        // After any other error, the client has left or must see that its response is incomplete.
        let is_answered = result.as_ref().map_or_else(hyper::Error::is_parse, |()| true);
        log_end(result);
        if let ClientPhase::Http1(http) = phase
            && is_answered
        {
            let expects_rest = self.handover.is_early();
            self.linger(http.into_parts().io.io, expects_rest, cx);
        }
    }

    /// To `Lingering` if the client may still be sending, or else to `Closed`. Sending is shut down.
    fn linger(&mut self, mut io: TimestampedIo, expects_rest: bool, cx: &mut Context<'_>) {
        let is_sending = match io.poll_receive(cx, 1, |_| {}) {
            Poll::Ready(received) => matches!(received, Ok(1..)),
            Poll::Pending => expects_rest,
        };
        if is_sending {
            let timers = self.upstream.timers().clone();
            self.phase = ClientPhase::Lingering(Box::pin(discard_rest(io, timers)));
        }
    }

    /// Any phase to `Closed`. Returns the phase.
    fn take_phase(&mut self) -> ClientPhase {
        std::mem::replace(&mut self.phase, ClientPhase::Closed)
    }

    fn http1(&self, io: TimestampedIo, ahead: Bytes) -> ClientPhase {
        let limits = &self.upstream.config().limits;
        let head_limits = HeadLimits {
            max_bytes: limits.request_header_bytes,
            max_lines: limits.request_headers,
            is_target,
        };
        let (io, service) = self.io_and_service(io, RequestGate::http1(ahead, head_limits));
        let mut builder = http1::Builder::new();
        if limits.request_headers > HYPER_MAX_HEADERS {
            builder.max_headers(limits.request_headers);
        }
        let http = builder
            .preserve_header_case(true)
            .auto_date_header(false)
            .writev(false)
            // The connection has its own timer, which covers more. This one would be set for each request.
            .header_read_timeout(None)
            .max_buf_size(MAX_BUFFER.max(limits.request_header_bytes + READ_AHEAD))
            .serve_connection(io, service);
        ClientPhase::Http1(Box::new(http))
    }

    fn http2(&self, io: TimestampedIo, ahead: Bytes) -> ClientPhase {
        let (io, service) = self.io_and_service(io, RequestGate::http2(ahead));
        let limits = &self.upstream.config().limits;
        let header_list =
            limits.request_header_bytes + limits.request_headers * HTTP2_LINE_OVERHEAD;
        let http = http2::Builder::new(TokioExecutor::new())
            .timer(self.upstream.timers().clone())
            .auto_date_header(false)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_UNSENT)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(io, service);
        ClientPhase::Http2(Box::new(http))
    }

    fn io_and_service(&self, io: TimestampedIo, gate: RequestGate) -> (ClientIo, ProxyService) {
        self.handover.expect_request();
        let service = ProxyService {
            upstream: Arc::clone(&self.upstream),
            client: Arc::clone(io.timestamps()),
            handover: Arc::clone(&self.handover),
            requests: Arc::clone(&self.requests),
            max_requests: self.max_requests(),
            is_refused: self.slot.is_refused,
        };
        (ClientIo::new(io, gate, &self.handover), service)
    }
}

/// Whether a response head written by hyper contains `Connection: close`. The upstream's own `Connection` header is
/// never part of it.
pub(super) fn announces_close(head: &[u8]) -> bool {
    const CLOSE: &[u8] = b"\r\nconnection: close\r\n";
    head.windows(CLOSE.len()).any(|line| line.eq_ignore_ascii_case(CLOSE))
}

/// hyper has finished.
fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        // The request that it concerns has recorded its end.
        tracing::debug!(%error, "client connection ended early");
    }
}

impl ClientConnection {
    /// Runs the current phase, which is not `Stream` or `Closed`. Ready when the phase has changed.
    #[inline(never)]
    fn poll_phase(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.phase {
            ClientPhase::Sniffing(sniffer) => {
                let protocol = ready!(sniffer.poll(cx));
                self.start_protocol(protocol);
            }
            ClientPhase::Http1(http) => {
                let result = Pin::new(&mut **http).poll(cx);
                // Check this first: after a 101, hyper has finished but the connection has not.
                if let Some(response) = self.handover.finish() {
                    self.leave_hyper(response);
                } else {
                    let result = ready!(result);
                    if result.as_ref().is_err_and(hyper::Error::is_parse) {
                        let series = self.upstream.tap().upstream_series();
                        series.count_rejected(RejectReason::Parser);
                    }
                    self.end_http1(result, cx);
                }
            }
            ClientPhase::Http2(http) => {
                let polled = Pin::new(&mut **http).poll(cx);
                // After the first request: a client that gets GOAWAY before it would reconnect again and again.
                if polled.is_pending() && !self.is_closing && self.handover.closes_after_request() {
                    self.is_closing = true;
                    Pin::new(&mut **http).graceful_shutdown();
                    return Poll::Ready(());
                }
                if polled.is_pending() && self.exceeds_resets() {
                    self.cut_off();
                    return Poll::Ready(());
                }
                log_end(ready!(polled));
                self.phase = ClientPhase::Closed;
            }
            ClientPhase::Tunnel(tunnel) => {
                ready!(tunnel.poll(cx));
                self.phase = ClientPhase::Closed;
            }
            ClientPhase::Lingering(rest) => {
                ready!(rest.as_mut().poll(cx));
                self.phase = ClientPhase::Closed;
            }
            ClientPhase::Stream(_) | ClientPhase::Closed => {}
        }
        Poll::Ready(())
    }
}

impl Future for ClientConnection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let polled = match &mut self.phase {
                // Nearly all turns are those of a stream. It has no time limit of the client.
                ClientPhase::Stream(relay) => match relay.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(end) => {
                        self.end_stream(end, cx);
                        Poll::Ready(())
                    }
                },
                ClientPhase::Closed => return Poll::Ready(()),
                _ => self.poll_phase(cx),
            };
            if polled.is_pending() && !self.check_limits(cx) {
                return Poll::Pending;
            }
        }
    }
}
