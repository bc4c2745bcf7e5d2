//! A stream on its way: read from the upstream, measured, and written to the client, in one turn of one
//! task and through buffers that all streams of the thread use in turn.

use super::stream_reader::{RareBuffer, ReadProgress, StreamReader, spare};
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

/// Most bytes of a next request that are read while a stream is written.
const MAX_AHEAD: usize = 8 * 1024;
/// Most reads of one stream before others have their turn.
const TURNS: usize = 16;

/// The body of an answer that is a stream, and what is known of its client.
#[derive(Debug)]
pub(crate) struct StreamResponse {
    pub body: StreamReader,
    pub measurement: Measurement,
    pub framing: ClientFraming,
    /// The client's connection takes another request behind it.
    pub keeps: bool,
}

/// How the client learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFraming {
    /// In chunks; whether the client takes trailers.
    Chunked { trailers: bool },
    /// By the end of the connection (HTTP/1.0).
    Close,
}

impl ClientFraming {
    /// Frames the next data of the body.
    fn data(self, data: &[u8], out: &mut Vec<u8>) {
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

    /// Frames the end of the body.
    fn end(self, fields: HeaderMap, out: &mut Vec<u8>) {
        let Self::Chunked { trailers } = self else { return };
        out.extend_from_slice(b"0\r\n");
        if trailers && !fields.is_empty() {
            for (name, value) in &headers::trailers(fields) {
                out.extend_from_slice(
                    &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
                );
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Carries a stream to a client's socket. What it seldom has anything in costs a pointer: with a thousand streams,
/// a relay has left the processor's cache when its next token comes.
#[derive(Debug)]
pub(crate) struct Relay {
    io: TimestampedIo,
    stream: StreamResponse,
    /// What the client's socket did not take. Nothing more is read from the upstream meanwhile.
    unsent: RareBuffer,
    /// The head of the answer, until it is sent together with what is there of the body.
    head: RareBuffer,
    /// What the client has sent already behind its request.
    ahead: RareBuffer,
    /// All was sent, and part of it waits above the socket (TLS).
    held: bool,
    /// See [`TimestampedIo::poll_watched`].
    watched: bool,
    /// The body is over, and came whole or not.
    whole: Option<bool>,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayEnd {
    /// All of the body is written.
    Whole,
    /// The body broke off, or the client is gone.
    Broken,
}

impl Relay {
    /// Sends `head`, and `stream` behind it. `ahead` is what the client has sent behind its request.
    pub fn new(io: TimestampedIo, head: BytesMut, ahead: BytesMut, stream: StreamResponse) -> Self {
        let (head, ahead) = (spare(head), spare(ahead));
        Self { io, stream, unsent: None, head, ahead, held: false, watched: false, whole: None }
    }

    /// The connection is to be closed behind the stream.
    pub fn close_behind(&mut self) {
        self.stream.keeps = false;
    }

    /// Does what can be done now; not to be called again once it is ready.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        match self.poll_forward(cx) {
            Poll::Ready(Ok(true)) => Poll::Ready(RelayEnd::Whole),
            Poll::Pending if !self.is_client_gone(cx) => Poll::Pending,
            _ => Poll::Ready(RelayEnd::Broken),
        }
    }

    /// The client's socket, and what was read from it already, if it takes another request behind a
    /// stream that is whole. Else it is closed: in good order, so that what the client has sent and
    /// nobody reads does not make it a reset.
    pub fn into_kept(mut self, cx: &mut Context<'_>) -> Option<(TimestampedIo, Bytes)> {
        if self.stream.keeps && self.stream.framing != ClientFraming::Close {
            return Some((self.io, self.ahead.map(|ahead| ahead.freeze()).unwrap_or_default()));
        }
        // Closing comes next, whatever this says.
        let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        None
    }

    /// Whether the body came whole, once it is written as far as it came.
    fn poll_forward(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        thread_local! {
            static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let mut read = Poll::Ready(());
        for _ in 0..TURNS {
            while let Some(unsent) = &mut self.unsent {
                let sent = ready!(self.io.poll_send(cx, unsent))?;
                unsent.advance(sent);
                if unsent.is_empty() {
                    self.unsent = None;
                    self.held = true;
                }
            }
            if self.held {
                ready!(self.io.poll_sent(cx))?;
                self.held = false;
            }
            if let Some(whole) = self.whole {
                self.io
                    .stamps()
                    .reset_on_close(!whole && self.stream.framing == ClientFraming::Close);
                return Poll::Ready(Ok(whole));
            }
            ready!(read);
            read = OUT.with_borrow_mut(|out| self.poll_turn(cx, out))?;
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and sends what came. Pending if nothing was there; what is left to send is another
    /// matter.
    fn poll_turn(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> io::Result<Poll<()>> {
        let StreamResponse { body, measurement, framing, .. } = &mut self.stream;
        out.clear();
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        let read = body.poll_read(cx, |data| {
            measurement.on_response_data(data);
            framing.data(data, out);
        });
        let more = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(ReadProgress::Open)) => Poll::Ready(()),
            Poll::Ready(Ok(ReadProgress::Over(trailers))) => {
                measurement.on_trailers(&trailers);
                measurement.complete();
                framing.end(trailers, out);
                // Not before all is written is it whole for the client.
                self.io.stamps().reset_on_close(*framing == ClientFraming::Close);
                self.whole = Some(true);
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a stream broke off");
                measurement.finish(EndCause::UpstreamFailed);
                self.whole = Some(false);
                Poll::Ready(())
            }
        };
        if !out.is_empty() {
            let sent = match self.io.poll_send(cx, out) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            match out.get(sent..) {
                Some(rest) if !rest.is_empty() => self.unsent = spare(rest.into()),
                _ => self.held = self.io.poll_sent(cx)?.is_pending(),
            }
        }
        Ok(more)
    }

    /// Looks whether the client has closed its connection. One that sends its next request already has
    /// not.
    fn is_client_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { io, ahead, watched, .. } = self;
        if ahead.is_some() {
            return false;
        }
        let take = |bytes: &[u8]| *ahead = spare(bytes.into());
        matches!(io.poll_watched(cx, watched, MAX_AHEAD, take), Poll::Ready(Ok(0) | Err(_)))
    }
}
