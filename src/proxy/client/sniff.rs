//! Protocol detection: tells HTTP/1.1 from HTTP/2 by the first bytes of a client's connection.

use crate::socket::TimestampedIo;
use bytes::{Bytes, BytesMut};
use std::task::{Context, Poll, ready};

/// First bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Maximum number of bytes per read.
const MAX_READ: usize = 16 * 1024;

/// A new connection whose protocol is not known yet.
#[derive(Debug)]
pub(crate) struct ProtocolSniffer {
    io: TimestampedIo,
    read: BytesMut,
}

/// Protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SniffedProtocol {
    Http1,
    Http2,
    /// The client has disconnected.
    Closed,
}

impl ProtocolSniffer {
    pub fn new(io: TimestampedIo) -> Self {
        Self { io, read: BytesMut::new() }
    }

    /// Reads until a byte differs from the HTTP/2 preface, or the preface is complete.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SniffedProtocol> {
        loop {
            let Self { io, read } = self;
            let received = io.poll_receive(cx, MAX_READ, |bytes| read.extend_from_slice(bytes));
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
        }
    }

    /// Returns the connection and the bytes that were read from it.
    pub fn into_parts(self) -> (TimestampedIo, Bytes) {
        (self.io, self.read.freeze())
    }
}
