//! One request and its response on an HTTP/1.1 connection to the upstream, driven by the request's task.
//!
//! hyper splits a client connection into a handle and a future that does the I/O. That future usually runs in a
//! separate task, and frames cross between the two tasks. Here the task that waits for the response also drives the connection.
//! This saves the hop, and the latest read of the socket is the one that brought the current frame.

use super::head_gate::{HeadGate, HeadGateControl, TooManyInterimResponses};
use crate::socket::{SocketTimestamps, TimestampedIo};
use crate::tap::{PeekBody, RequestProgress};
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

type HyperClient = http1::Connection<HeadGate, PeekBody>;

/// HTTP/1.1 connection to the upstream between two exchanges.
#[derive(Debug)]
pub(crate) enum UpstreamConnection {
    /// A new connection, or one that the relay has used.
    Socket(TimestampedIo),
    /// A connection that hyper has used up to now.
    Hyper(UpstreamExchange),
}

impl UpstreamConnection {
    /// Whether the server has neither closed the connection nor sent anything, as far as the socket shows now.
    pub fn is_alive(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Socket(io) => io.poll_receive(cx, 1, |_| {}).is_pending(),
            Self::Hyper(exchange) => {
                exchange.drive(cx);
                exchange.is_ready()
            }
        }
    }
}

/// A request and its response on a connection to the upstream.
#[derive(Debug)]
pub(crate) struct UpstreamExchange {
    sender: SendRequest<PeekBody>,
    driver: ConnectionDriver,
}

/// hyper's future for the connection, and everything that is updated when it runs.
#[derive(Debug)]
struct ConnectionDriver {
    /// `None` once it has ended, unless its socket is needed.
    hyper: Option<Box<HyperClient>>,
    has_ended: bool,
    /// Keep the socket after hyper has ended: the request can switch protocols.
    keeps_socket: bool,
    gate: Arc<HeadGateControl>,
    timestamps: Arc<SocketTimestamps>,
    /// The current request, until it is completely sent.
    sending: Option<Arc<RequestProgress>>,
}

impl ConnectionDriver {
    /// Does the I/O that is possible now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(hyper) = &mut self.hyper
            && !self.has_ended
            && Pin::new(&mut **hyper).poll(cx).is_ready()
        {
            // The request or body that an error concerns has received it.
            self.has_ended = true;
            if !self.keeps_socket {
                self.hyper = None;
            }
        }
        if let Some(request) = &self.sending {
            request.set_upstream_stalled(self.timestamps.is_stalled());
            if self.gate.take_flushed() {
                request.on_upstream_flush(&self.timestamps);
                if request.sent().is_some() {
                    self.sending = None;
                }
            }
        }
    }
}

impl Drop for ConnectionDriver {
    /// A connection that ends within a request ends with a reset. The orderly end would wait behind the bytes that the
    /// server has not read.
    fn drop(&mut self) {
        if self.sending.is_some() {
            self.timestamps.reset_on_close(true);
        }
    }
}

/// A request that got no response.
#[derive(Debug)]
pub(crate) struct SendError {
    pub error: hyper::Error,
    /// The request, if no byte of it was written.
    pub unsent: Option<Box<Request<PeekBody>>>,
}

impl SendError {
    /// Whether the server sent too many interim responses.
    pub fn has_too_many_interim_responses(error: &hyper::Error) -> bool {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        source
            .and_then(io::Error::get_ref)
            .is_some_and(|cause| cause.is::<TooManyInterimResponses>())
    }
}

impl UpstreamExchange {
    /// Sends a request and waits for the response head.
    ///
    /// `may_switch`: the request has an `Upgrade` header. hyper ends the connection after a 101, so its socket is kept.
    /// `max_interim`: maximum number of interim responses on a new connection.
    pub async fn send(
        connection: UpstreamConnection,
        request: Request<PeekBody>,
        may_switch: bool,
        max_interim: usize,
    ) -> Result<(Response<Incoming>, Self), SendError> {
        let mut exchange = match connection {
            UpstreamConnection::Hyper(exchange) => exchange,
            UpstreamConnection::Socket(io) => match Self::handshake(io, max_interim).await {
                Ok(exchange) => exchange,
                Err(error) => return Err(SendError { error, unsent: Some(Box::new(request)) }),
            },
        };
        exchange.driver.keeps_socket = may_switch;
        exchange.driver.sending = Some(request.body().progress());
        exchange.driver.gate.start_request();
        let response = exchange.send_request(request).await?;
        Ok((response, exchange))
    }

    async fn handshake(io: TimestampedIo, max_interim: usize) -> hyper::Result<Self> {
        let timestamps = Arc::clone(io.timestamps());
        let gate = HeadGate::new(io, max_interim);
        let control = gate.control();
        let (sender, hyper) = http1::Builder::new()
            .preserve_header_case(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(gate)
            .await?;
        let driver = ConnectionDriver {
            hyper: Some(Box::new(hyper)),
            has_ended: false,
            keeps_socket: false,
            gate: control,
            timestamps,
            sending: None,
        };
        Ok(Self { sender, driver })
    }

    async fn send_request(
        &mut self,
        request: Request<PeekBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let Self { sender, driver } = self;
        if !sender.is_ready() {
            let ready = poll_fn(|cx| {
                driver.drive(cx);
                sender.poll_ready(cx)
            });
            // Unconstrained: a dead socket must be found now, even if the task's budget is used up. Later the request
            // would be lost.
            if let Err(error) = tokio::task::unconstrained(ready).await {
                return Err(SendError { error, unsent: Some(Box::new(request)) });
            }
        }
        let mut response = pin!(sender.try_send_request(request));
        poll_fn(|cx| {
            driver.drive(cx);
            let mut polled = response.as_mut().poll(cx);
            if polled.is_pending() && driver.gate.is_held_back() {
                // hyper has not found the end of the head where the gate has. hyper's parser decides.
                driver.gate.open();
                driver.drive(cx);
                polled = response.as_mut().poll(cx);
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

    /// Timestamps of the upstream socket.
    pub fn timestamps(&self) -> &Arc<SocketTimestamps> {
        &self.driver.timestamps
    }

    /// Lets hyper read the response body, whenever [`drive`](Self::drive) is called.
    pub fn read_body_with_hyper(&self) {
        self.driver.gate.open();
    }

    /// Whether hyper reads the response body, or may have read part of it.
    pub fn hyper_reads_body(&self) -> bool {
        self.driver.gate.is_open()
    }

    /// Does the I/O that is possible now.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        self.driver.drive(cx);
    }

    /// Whether another request can be sent now. Call [`drive`](Self::drive) first.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Takes the socket from hyper. Returns it with the bytes of the body that were read together with the head, or
    /// `None` if the socket is closed.
    pub fn take_socket(mut self) -> Option<(TimestampedIo, BytesMut)> {
        let parts = self.driver.hyper.take()?.into_parts();
        parts.read_buf.is_empty().then(|| parts.io.into_parts())
    }
}
