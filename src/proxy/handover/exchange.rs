//! One request and its answer on a connection to the upstream, driven by the task of the request.
//!
//! hyper splits a client connection into a handle and a future that does the I/O. That future usually
//! gets a task of its own, and frames cross between two tasks. Here whoever waits for an answer drives
//! it: no hop, and the latest read of the socket is the one that the frame at hand came with.

use super::head_gate::{HeadGate, HeadGateControl};
use crate::socket::{SocketTimestamps, TimestampedIo};
use crate::tap::PeekBody;
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Most header lines that an answer may have.
const MAX_HEADERS: usize = 256;

type HyperClient = http1::Connection<HeadGate, PeekBody>;

/// A connection to the upstream on which there is no exchange.
#[derive(Debug)]
pub(crate) enum UpstreamConnection {
    /// A new one, or one that a stream came on.
    Socket(TimestampedIo),
    /// One on which hyper has carried all so far.
    Http(UpstreamExchange),
}

impl UpstreamConnection {
    /// Whether the server neither closed it nor sent anything since, as far as the socket says.
    pub fn is_alive(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Socket(io) => io.poll_receive(cx, 1, |_| {}).is_pending(),
            Self::Http(exchange) => {
                exchange.drive(cx);
                exchange.is_ready()
            }
        }
    }
}

/// An exchange on a connection to the upstream.
#[derive(Debug)]
pub(crate) struct UpstreamExchange {
    sender: SendRequest<PeekBody>,
    driving: ConnectionDriver,
    stamps: Arc<SocketTimestamps>,
    pass: Arc<HeadGateControl>,
}

/// hyper's future for the connection.
#[derive(Debug)]
struct ConnectionDriver {
    /// `None` once it has ended.
    driver: Option<Box<HyperClient>>,
    /// It stays when it has ended: its socket is wanted.
    keeps_socket: bool,
    ended: bool,
}

impl ConnectionDriver {
    /// Does what I/O can be done now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(running) = &mut self.driver
            && !self.ended
            && Pin::new(&mut **running).poll(cx).is_ready()
        {
            // An error was told to the request or body that it concerns.
            self.ended = true;
            if !self.keeps_socket {
                self.driver = None;
            }
        }
    }
}

/// A request got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    pub error: hyper::Error,
    /// The request, if not one byte of it was written.
    pub unsent: Option<Box<Request<PeekBody>>>,
}

impl UpstreamExchange {
    /// Sends a request and waits for the head of its answer. `may_switch` says that the request asks for
    /// another protocol: a switch to it is hyper's end of the connection, and its socket is kept.
    pub async fn send(
        connection: UpstreamConnection,
        request: Request<PeekBody>,
        may_switch: bool,
    ) -> Result<(Response<Incoming>, Self), SendError> {
        let mut this = match connection {
            UpstreamConnection::Http(exchange) => exchange,
            UpstreamConnection::Socket(io) => match Self::handshake(io).await {
                Ok(exchange) => exchange,
                Err(error) => return Err(SendError { error, unsent: Some(Box::new(request)) }),
            },
        };
        this.driving.keeps_socket = may_switch;
        this.pass.begin(request.body().request_side());
        let answered = this.request(request).await;
        answered.map(|response| (response, this))
    }

    async fn handshake(io: TimestampedIo) -> hyper::Result<Self> {
        let stamps = Arc::clone(io.stamps());
        let gate = HeadGate::new(io);
        let pass = gate.pass();
        let (sender, driver) = http1::Builder::new()
            .preserve_header_case(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .max_headers(MAX_HEADERS)
            .handshake(gate)
            .await?;
        let driver = Some(Box::new(driver));
        let driving = ConnectionDriver { driver, keeps_socket: false, ended: false };
        Ok(Self { sender, driving, stamps, pass })
    }

    async fn request(
        &mut self,
        request: Request<PeekBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let Self { sender, driving, pass, .. } = self;
        if !sender.is_ready() {
            let ready = poll_fn(|cx| {
                driving.drive(cx);
                sender.poll_ready(cx)
            });
            // A dead socket must say so now, whatever is left of the task's budget: later the request is lost.
            if let Err(error) = tokio::task::unconstrained(ready).await {
                return Err(SendError { error, unsent: Some(Box::new(request)) });
            }
        }
        let mut answer = pin!(sender.try_send_request(request));
        poll_fn(|cx| {
            driving.drive(cx);
            let mut polled = answer.as_mut().poll(cx);
            if polled.is_pending() && pass.is_held() {
                // hyper does not see the head end where the gate does: it decides.
                pass.open();
                driving.drive(cx);
                polled = answer.as_mut().poll(cx);
            }
            match polled {
                Poll::Ready(Err(mut failed)) => {
                    let unsent = failed.take_message().map(Box::new);
                    Poll::Ready(Err(SendError { error: failed.into_error(), unsent }))
                }
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    pub fn stamps(&self) -> &Arc<SocketTimestamps> {
        &self.stamps
    }

    /// What lets hyper read the answer's body too, as far as [`drive`](Self::drive) is called.
    pub fn pass(&self) -> &HeadGateControl {
        &self.pass
    }

    /// Does what I/O can be done now.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        self.driving.drive(cx);
    }

    /// Whether another request can be sent now; call [`drive`](Self::drive) before.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// The socket, and what was read from it but not handed to hyper; `None` once it was closed.
    pub fn into_parts(self) -> Option<(TimestampedIo, BytesMut)> {
        let parts = self.driving.driver?.into_parts();
        parts.read_buf.is_empty().then(|| parts.io.into_parts())
    }
}
