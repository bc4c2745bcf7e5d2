//! One connection to the upstream, driven by the task of the request that uses it.
//!
//! hyper splits a client connection into a handle and a future that does the I/O. That future usually
//! gets a task of its own, and frames cross between two tasks. Here whoever waits for an answer drives
//! it: no hop, and the latest read of the socket is the one that the frame at hand came with.

use crate::socket::{StampedIo, Stamps};
use crate::tap::PeekBody;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Most header lines that an answer may have.
const MAX_HEADERS: usize = 256;

type Driver = http1::Connection<TokioIo<StampedIo>, PeekBody>;

/// A connection to the upstream.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<PeekBody>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<Driver>>>,
    stamps: Arc<Stamps>,
}

/// A request got no answer.
#[derive(Debug)]
pub(super) struct SendError {
    pub error: hyper::Error,
    /// The request, if not one byte of it was written.
    pub unsent: Option<Box<Request<PeekBody>>>,
}

impl Connection {
    /// Makes a connection of a socket.
    pub async fn new(socket: TcpStream) -> Result<Self, hyper::Error> {
        let io = StampedIo::new(socket, None);
        let stamps = Arc::clone(io.stamps());
        let (sender, driver) = http1::Builder::new()
            .preserve_header_case(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(io))
            .await?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), stamps })
    }

    pub fn stamps(&self) -> &Arc<Stamps> {
        &self.stamps
    }

    /// Does what I/O can be done now.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            // An error was told to the request or body that it concerns.
            self.driver = None;
        }
    }

    /// Whether another request can be sent now; call [`drive`](Self::drive) before.
    pub fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Waits until the first request can be sent.
    pub async fn ready(&mut self) -> Result<(), hyper::Error> {
        poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx)
        })
        .await
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(
        &mut self,
        request: Request<PeekBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            if let Some(driver) = &mut self.driver
                && driver.as_mut().poll(cx).is_ready()
            {
                self.driver = None;
            }
            match answer.as_mut().poll(cx) {
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
}
