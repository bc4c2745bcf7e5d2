//! Relay of a stream: reads from the upstream, measures, and writes to the client, in one poll of one task.
//!
//! The buffers for this belong to the thread, so an idle stream holds none.

use super::response_deadline::ResponseDeadline;
use super::stream_reader::{OptionalBuffer, ReadProgress, StreamReader, non_empty};
use crate::proxy::forward::headers;
use crate::socket::TimestampedIo;
use crate::tap::Measurement;
use bytes::{Buf, Bytes, BytesMut};
use hyper::header::HeaderMap;
use hyper::rt::Write;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use streamgauge_core::meter::EndCause;

/// Maximum number of reads per poll of the task; then other tasks run.
const MAX_READS: usize = 16;

/// A streamed response body and how to send it to the client.
#[derive(Debug)]
pub(crate) struct StreamResponse {
    pub body: StreamReader,
    pub measurement: Measurement,
    pub framing: ClientFraming,
    /// Keep the client's connection open for another request.
    pub keep_alive: bool,
    pub deadline: Option<Box<ResponseDeadline>>,
}

/// How the end of the body is signalled to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFraming {
    /// Chunked coding. `trailers`: the client accepts trailers.
    Chunked { trailers: bool },
    /// End of the connection (HTTP/1.0).
    Close,
}

impl ClientFraming {
    /// Appends `data` as the next part of the body.
    fn write_data(self, data: &[u8], out: &mut Vec<u8>) {
        if self == Self::Close {
            out.extend_from_slice(data);
            return;
        }
        let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
        for at in (0..digits).rev() {
            let digit = (data.len() >> (4 * at)) as u8 & 15;
            out.push(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the end of the body.
    fn write_end(self, fields: HeaderMap, out: &mut Vec<u8>) {
        let Self::Chunked { trailers } = self else { return };
        out.extend_from_slice(b"0\r\n");
        if trailers && !fields.is_empty() {
            for (name, value) in &headers::forwardable_trailers(fields) {
                out.extend_from_slice(
                    &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
                );
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Sends a stream to a client's socket.
///
/// Buffers that are usually empty take only a pointer, so that an open stream stays small.
#[derive(Debug)]
pub(crate) struct Relay {
    io: TimestampedIo,
    stream: StreamResponse,
    /// Data that the client's socket did not take. Until it is sent, the relay reads nothing from the upstream.
    unsent: OptionalBuffer,
    /// The response head, until it is sent together with the first data.
    head: OptionalBuffer,
    /// Bytes that the client has sent after its request and that were read with it.
    ahead: OptionalBuffer,
    /// All data is sent, but part of it is still in the TLS layer.
    flush_pending: bool,
    /// Set once the body has ended.
    end: Option<RelayEnd>,
}

/// How a relay has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayEnd {
    /// The whole body is written.
    Complete,
    /// The body broke off, or the client has disconnected.
    Broken,
}

/// A client's socket after a complete stream.
#[derive(Debug)]
pub(crate) enum FinishedRelay {
    /// It takes another request, which may begin with these bytes.
    Reusable { io: TimestampedIo, ahead: Bytes },
    /// Nothing more is sent.
    ShutDown(TimestampedIo),
}

impl Relay {
    /// Returns a relay that sends `head` and then `stream`. `ahead`: bytes that the client has sent after its request.
    pub fn new(io: TimestampedIo, head: BytesMut, ahead: BytesMut, stream: StreamResponse) -> Self {
        let (head, ahead) = (non_empty(head), non_empty(ahead));
        Self { io, stream, unsent: None, head, ahead, flush_pending: false, end: None }
    }

    /// Closes the client's connection at the end of the stream.
    pub fn close_at_end(&mut self) {
        self.stream.keep_alive = false;
    }

    /// Does the I/O that is possible now. Must not be called again after it has returned `Ready`.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        match self.poll_forward(cx) {
            Poll::Ready(Ok(end)) => Poll::Ready(end),
            Poll::Pending if self.io.poll_departed(cx).is_pending() && !self.is_timed_out(cx) => {
                Poll::Pending
            }
            _ => Poll::Ready(RelayEnd::Broken),
        }
    }

    /// Returns the client's socket after a complete stream.
    pub fn finish(mut self, cx: &mut Context<'_>) -> FinishedRelay {
        if self.stream.keep_alive && self.stream.framing != ClientFraming::Close {
            let ahead = self.ahead.map(|ahead| ahead.freeze()).unwrap_or_default();
            return FinishedRelay::Reusable { io: self.io, ahead };
        }
        // The socket is closed next, whatever the result.
        let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        FinishedRelay::ShutDown(self.io)
    }

    /// Forwards what is available. Ready when the body has ended and everything received is written.
    fn poll_forward(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<RelayEnd>> {
        thread_local! {
            static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let mut read = Poll::Ready(());
        for _ in 0..MAX_READS {
            while let Some(unsent) = &mut self.unsent {
                let sent = ready!(self.io.poll_send(cx, unsent))?;
                unsent.advance(sent);
                if unsent.is_empty() {
                    self.unsent = None;
                    self.flush_pending = true;
                }
            }
            if self.flush_pending {
                ready!(self.io.poll_sent(cx))?;
                self.flush_pending = false;
            }
            if let Some(end) = self.end {
                let is_cut = end == RelayEnd::Broken && self.stream.framing == ClientFraming::Close;
                self.io.timestamps().reset_on_close(is_cut);
                return Poll::Ready(Ok(end));
            }
            ready!(read);
            read = OUT.with_borrow_mut(|out| self.read_and_send(cx, out))?;
        }
        // Let other tasks run.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and sends the data. Returns `Pending` if there was nothing to read, even if data is left to send.
    fn read_and_send(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> io::Result<Poll<()>> {
        let StreamResponse { body, measurement, framing, .. } = &mut self.stream;
        out.clear();
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        let read = body.poll_read(cx, |data| {
            measurement.on_response_data(data);
            framing.write_data(data, out);
        });
        let more = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(ReadProgress::Open)) => Poll::Ready(()),
            Poll::Ready(Ok(ReadProgress::End(trailers))) => {
                measurement.on_trailers(&trailers);
                measurement.complete();
                framing.write_end(trailers, out);
                // An HTTP/1.0 client must not take the body for complete before everything is written.
                self.io.timestamps().reset_on_close(*framing == ClientFraming::Close);
                self.end = Some(RelayEnd::Complete);
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "stream from the upstream broke off");
                measurement.finish(EndCause::UpstreamFailed);
                self.end = Some(RelayEnd::Broken);
                Poll::Ready(())
            }
        };
        if !out.is_empty() {
            let sent = match self.io.poll_send(cx, out) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            match out.get(sent..) {
                Some(rest) if !rest.is_empty() => self.unsent = non_empty(rest.into()),
                _ => self.flush_pending = self.io.poll_sent(cx)?.is_pending(),
            }
        }
        Ok(more)
    }

    /// Whether the response has exceeded a time limit, which ends it.
    fn is_timed_out(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { io, stream, unsent, end, .. } = self;
        let StreamResponse { body, measurement, deadline: Some(deadline), .. } = stream else {
            return false;
        };
        // After the end of the body, the response waits for the client only.
        let awaits_server = unsent.is_none() && end.is_none();
        // Bytes that the client took late delay the next read of the server.
        let latest = || body.last_read().max(io.timestamps().last_write());
        let silent_since = || if awaits_server { latest() } else { None };
        let is_exceeded = end.is_none() && deadline.is_exceeded(cx, silent_since);
        if is_exceeded {
            measurement.finish(EndCause::TimedOut);
        }
        is_exceeded
    }
}
