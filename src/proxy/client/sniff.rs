//! Protocol detection: tells HTTP/1.1 from HTTP/2 by the first bytes of a client's connection.

use crate::proxy::timers::Timers;
use crate::socket::TimestampedIo;
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// First bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Maximum time between the first byte of the preface and its last.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of bytes per read.
const MAX_READ: usize = 16 * 1024;

/// A new connection whose protocol is not known yet.
#[derive(Debug)]
pub(crate) struct ProtocolSniffer {
    io: TimestampedIo,
    read: BytesMut,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SniffedProtocol {
    Http1,
    Http2,
    /// The client has disconnected or timed out.
    Closed,
}

impl ProtocolSniffer {
    pub fn new(io: TimestampedIo) -> Self {
        Self { io, read: BytesMut::new(), deadline: None }
    }

    /// Reads until a byte differs from the HTTP/2 preface, or the preface is complete.
    pub fn poll(&mut self, timers: &Timers, cx: &mut Context<'_>) -> Poll<SniffedProtocol> {
        loop {
            let Self { io, read, deadline } = self;
            let received = io.poll_receive(cx, MAX_READ, |bytes| read.extend_from_slice(bytes));
            if received.is_pending()
                && let Some(deadline) = deadline
            {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(SniffedProtocol::Closed);
            }
            if !matches!(ready!(received), Ok(1..)) {
                return Poll::Ready(SniffedProtocol::Closed);
            }
            let common = read.len().min(PREFACE.len());
            if read.get(..common) != PREFACE.get(..common) {
                return Poll::Ready(SniffedProtocol::Http1);
            }
            if common == PREFACE.len() {
                return Poll::Ready(SniffedProtocol::Http2);
            }
            deadline.get_or_insert_with(|| Box::pin(timers.sleep(PREFACE_TIMEOUT)));
        }
    }

    /// Returns the connection and the bytes that were read from it.
    pub fn into_parts(self) -> (TimestampedIo, Bytes) {
        (self.io, self.read.freeze())
    }
}
