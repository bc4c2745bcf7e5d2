//! The first bytes of a client's connection: which HTTP it speaks.

use crate::proxy::timers::Timers;
use crate::socket::TimestampedIo;
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// What a client that speaks HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long the rest of it may take once its first byte has come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of the first read.
const MAX_READ: usize = 16 * 1024;

/// A connection whose client has not yet said what it speaks.
#[derive(Debug)]
pub(crate) struct ProtocolSniffer {
    io: TimestampedIo,
    read: BytesMut,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SniffedProtocol {
    Http1,
    Http2,
    /// It left, or took too long.
    Nothing,
}

impl ProtocolSniffer {
    pub fn new(io: TimestampedIo) -> Self {
        Self { io, read: BytesMut::new(), deadline: None }
    }

    /// Decides with the first byte that differs from HTTP/2's preface.
    pub fn poll(&mut self, timers: &Timers, cx: &mut Context<'_>) -> Poll<SniffedProtocol> {
        loop {
            let Self { io, read, deadline } = self;
            let received = io.poll_receive(cx, MAX_READ, |bytes| read.extend_from_slice(bytes));
            if received.is_pending()
                && let Some(deadline) = deadline
            {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(SniffedProtocol::Nothing);
            }
            if !matches!(ready!(received), Ok(1..)) {
                return Poll::Ready(SniffedProtocol::Nothing);
            }
            let common = read.len().min(PREFACE.len());
            if read.get(..common) != PREFACE.get(..common) {
                return Poll::Ready(SniffedProtocol::Http1);
            }
            if common == PREFACE.len() {
                return Poll::Ready(SniffedProtocol::Http2);
            }
            deadline.get_or_insert_with(|| Box::pin(timers.sleep(PATIENCE)));
        }
    }

    /// The connection, and what was read from it.
    pub fn into_parts(self) -> (TimestampedIo, Bytes) {
        (self.io, self.read.freeze())
    }
}
