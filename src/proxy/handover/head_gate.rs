//! Lets hyper read the head of an answer, and no byte of its body until it may.
//!
//! hyper parses heads and decides what they mean. The body of a stream is then read from the socket
//! without it (see [`StreamReader`](crate::proxy::body::StreamReader)), so hyper must not have begun to.
//! The gate closes anew with each request on its connection.

use crate::socket::TimestampedIo;
use crate::tap::RequestSide;
use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// The socket of a connection, as hyper sees it.
#[derive(Debug)]
pub(crate) struct HeadGate {
    io: TimestampedIo,
    pass: Arc<HeadGateControl>,
    /// The request that the following is of.
    request: u64,
    side: Option<Arc<RequestSide>>,
    head: HeadEndScanner,
    /// What was read with the head and not yet handed over.
    rest: BytesMut,
    /// Something of this request was written.
    written: bool,
}

/// Whether hyper may read on behind the head.
#[derive(Debug, Default)]
pub(crate) struct HeadGateControl {
    open: AtomicBool,
    held: AtomicBool,
    /// The running number of the request, and its side of the measurement.
    request: AtomicU64,
    side: Mutex<Option<Arc<RequestSide>>>,
}

impl HeadGateControl {
    /// From now on hyper may read all that comes. Whoever opens the gate polls hyper afterwards.
    pub fn open(&self) {
        self.open.store(true, Relaxed);
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// hyper wanted to read behind the head, and the gate was not open.
    pub fn is_held(&self) -> bool {
        self.held.load(Relaxed) && !self.is_open()
    }

    /// A request begins. To be told before hyper gets it.
    pub fn begin(&self, side: Arc<RequestSide>) {
        *self.side.lock().unwrap_or_else(PoisonError::into_inner) = Some(side);
        self.request.fetch_add(1, Relaxed);
        self.held.store(false, Relaxed);
        self.open.store(false, Relaxed);
    }
}

impl HeadGate {
    pub(crate) fn new(io: TimestampedIo) -> Self {
        let (head, rest) = (HeadEndScanner::default(), BytesMut::new());
        Self { io, pass: Arc::default(), request: 0, side: None, head, rest, written: false }
    }

    /// What opens and closes the gate, wherever it is by then.
    pub(crate) fn pass(&self) -> Arc<HeadGateControl> {
        Arc::clone(&self.pass)
    }

    /// The socket, and what of the body was read from it.
    pub(crate) fn into_parts(self) -> (TimestampedIo, BytesMut) {
        (self.io, self.rest)
    }

    /// Looks whether another request has begun.
    fn renew(&mut self) {
        let request = self.pass.request.load(Relaxed);
        if self.request != request {
            self.request = request;
            self.side = self.pass.side.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.head = HeadEndScanner::default();
            self.written = false;
        }
    }
}

impl Read for HeadGate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.renew();
        let Self { io, head, rest, pass, .. } = &mut *self;
        let is_open = pass.is_open();
        if is_open && rest.is_empty() {
            return Pin::new(io).poll_read(cx, buf);
        }
        if !is_open && head.is_over() {
            pass.held.store(true, Relaxed);
            return Poll::Pending;
        }
        if rest.is_empty() {
            // No more than hyper has room for, so that a long head is left in the socket.
            let most = buf.remaining();
            ready!(io.poll_receive(cx, most, |bytes| rest.extend_from_slice(bytes)))?;
        }
        let length = rest.len().min(buf.remaining());
        let front = rest.get(..length).unwrap_or_default();
        let length = if is_open { length } else { head.push(front) };
        buf.put_slice(front.get(..length).unwrap_or_default());
        rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Write for HeadGate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.renew();
        self.written = true;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.renew();
        self.written = true;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes once its own buffers are written out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.written
            && let Some(side) = &self.side
        {
            side.on_upstream_flush(self.io.stamps());
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Finds the end of a response's head: the empty line behind it. Heads of interim answers (1xx) belong
/// to the head, but for 101, behind which the protocol is another one.
#[derive(Debug, Default)]
struct HeadEndScanner {
    /// The front of the first line, as far as it tells the class of the status.
    status_line: [u8; STATUS_LINE],
    /// The status line is complete.
    in_fields: bool,
    /// Bytes of the current line so far.
    line: usize,
    /// The last of them is a CR.
    after_cr: bool,
    over: bool,
}

/// `HTTP/1.1 101`
const STATUS_LINE: usize = 12;

impl HeadEndScanner {
    fn is_over(&self) -> bool {
        self.over
    }

    /// How many of the next bytes belong to the head.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            self.go_on(line);
            self.end_line();
            if self.over {
                return bytes.len() - rest.len();
            }
        }
        self.go_on(rest);
        bytes.len()
    }

    /// More of the current line.
    fn go_on(&mut self, part: &[u8]) {
        if !self.in_fields
            && let Some(free) = self.status_line.get_mut(self.line..)
        {
            free.iter_mut().zip(part).for_each(|(slot, byte)| *slot = *byte);
        }
        self.line += part.len();
        self.after_cr = part.last().map_or(self.after_cr, |last| *last == b'\r');
    }

    fn end_line(&mut self) {
        let is_empty = self.line == usize::from(self.after_cr);
        (self.line, self.after_cr) = (0, false);
        if !self.in_fields {
            // Empty lines before a status line are skipped.
            self.in_fields = !is_empty;
        } else if is_empty {
            let is_interim =
                self.status_line.get(9) == Some(&b'1') && self.status_line.get(9..) != Some(b"101");
            *self = Self { over: !is_interim, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head that is found with `text` in pieces of `size` bytes.
    fn head(text: &str, size: usize) -> Option<&str> {
        let mut head = HeadEndScanner::default();
        let mut length = 0;
        for piece in text.as_bytes().chunks(size) {
            length += head.push(piece);
            if head.is_over() {
                return Some(&text[..length]);
            }
        }
        None
    }

    #[test]
    fn the_head_ends_at_its_empty_line() {
        let ok = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let cases = [
            (ok.to_owned(), ok.to_owned()),
            (format!("{ok}body\r\n\r\n"), ok.to_owned()),
            (format!("\r\n{ok}\r\n"), format!("\r\n{ok}")),
            ("HTTP/1.0 200\n\nbody".into(), "HTTP/1.0 200\n\n".into()),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: x\r\n\r\n".to_owned() + ok + "b",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: x\r\n\r\n".to_owned() + ok,
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n\x01".into(), "HTTP/1.1 101 Switching\r\n\r\n".into()),
        ];
        for (text, expected) in cases {
            for size in 1..text.len() + 1 {
                assert_eq!(head(&text, size), Some(&*expected), "{text:?} by {size}");
            }
        }
        assert_eq!(head("HTTP/1.1 200 OK\r\nA: b\r\n", 3), None);
        assert_eq!(head("HTTP/1.1 200 OK\r\nA: b\r\n\r\r\n", 3), None);
        assert_eq!(head("HTTP/1.1 100 Continue\r\n\r\n", 3), None);
    }
}
