//! The body of a stream, read from the socket by us.
//!
//! A stream is open for seconds to hours and brings a few hundred bytes at a time. Here it costs one
//! read each and a buffer as large as that; through a client connection of hyper's it would cost its
//! state machine, a channel and 16 KiB of buffers beside.

use super::pool::Upstream;
use crate::socket::StampedIo;
use crate::wire::chunked::{ChunkError, Chunked, Step};
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Frame;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Most bytes of one read.
const MAX_READ: usize = 64 * 1024;
/// Room for what a thread's streams read one after another.
const ARENA: usize = 8 * 1024;
/// Most trailer fields.
const MAX_TRAILERS: usize = 128;

/// A stream that broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the connection ended before the body did")]
    Incomplete,
    #[error("the body is not chunked as it says: {0}")]
    Framing(#[from] ChunkError),
    #[error("the body's trailers are no header fields")]
    Trailers,
}

/// A body without a declared length.
#[derive(Debug)]
pub(crate) struct StreamBody {
    /// `None` once the body is over, or broke.
    io: Option<StampedIo>,
    /// It broke, and nobody was told yet.
    broken: bool,
    /// `None` for a body that ends with its connection.
    chunked: Option<Chunked>,
    /// What was read and not yet handed over.
    buffer: BytesMut,
    /// The server keeps the connection.
    reusable: bool,
    upstream: Arc<Upstream>,
}

impl StreamBody {
    /// The body behind this head, which hyper has accepted and found to be of no declared length.
    /// `buffer` is what was read of it together with the head; without `io`, the connection has broken.
    pub(super) fn new(
        head: &response::Parts,
        io: Option<StampedIo>,
        buffer: BytesMut,
        upstream: Arc<Upstream>,
    ) -> Self {
        let chunked = is_chunked(&head.headers).then(Chunked::default);
        let closes = |value: &HeaderValue| {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        };
        let reusable = !head.headers.get_all(CONNECTION).iter().any(closes);
        let broken = io.is_none();
        Self { io, broken, chunked, buffer, reusable, upstream }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let frame = ready!(self.poll_next(cx)).transpose();
        if let Some(Err(_)) = frame {
            self.io = None;
        }
        Poll::Ready(frame)
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, StreamError>> {
        loop {
            if self.io.is_none() {
                let broken = std::mem::take(&mut self.broken);
                return Poll::Ready(if broken { Err(StreamError::Incomplete) } else { Ok(None) });
            }
            if !self.buffer.is_empty() {
                let frame = self.take()?;
                if self.buffer.is_empty() {
                    // An empty buffer must not hold its place in the arena.
                    self.buffer = BytesMut::new();
                }
                if let Some(frame) = frame {
                    return Poll::Ready(Ok(frame));
                }
            }
            if ready!(self.poll_fill(cx))? == 0 {
                self.io = None;
                return Poll::Ready(match self.chunked {
                    Some(_) => Err(StreamError::Incomplete),
                    None => Ok(None),
                });
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { io: Some(io), buffer, .. } = self else { return Poll::Ready(Ok(0)) };
        io.poll_receive(cx, MAX_READ, |bytes| {
            if buffer.is_empty() {
                *buffer = in_arena(bytes);
            } else {
                buffer.extend_from_slice(bytes);
            }
        })
    }

    /// The next frame of what was read, if it holds one; `Some(None)` at the end of the body.
    fn take(&mut self) -> Result<Option<Option<Frame<Bytes>>>, StreamError> {
        let Self { chunked, buffer, .. } = self;
        let Some(chunked) = chunked else {
            return Ok(Some(Some(Frame::data(buffer.split().freeze()))));
        };
        let (framing, step) = chunked.next(buffer)?;
        buffer.advance(framing);
        match step {
            Step::More => Ok(None),
            Step::Data(length) => {
                let data = buffer.split_to(length).freeze();
                Ok(Some(Some(Frame::data(data))))
            }
            Step::End => {
                let trailers = trailers(chunked.trailers())?;
                self.finish();
                Ok(Some(trailers.map(Frame::trailers)))
            }
        }
    }

    /// The body is over: keeps the connection if it can take another request.
    fn finish(&mut self) {
        if let Some(io) = self.io.take()
            && self.reusable
            && self.buffer.is_empty()
        {
            self.upstream.give_back(io, true);
        }
    }
}

/// A copy of these bytes, in memory that all streams of the thread use in turn: a frame is written
/// before the next one is read, so it stays in the processor's cache and takes no allocation.
fn in_arena(bytes: &[u8]) -> BytesMut {
    thread_local! {
        static FREE: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(ARENA));
    }
    FREE.with_borrow_mut(|free| {
        // Takes back what is no longer in use, or makes new room beside it.
        free.reserve(bytes.len());
        free.extend_from_slice(bytes);
        free.split()
    })
}

/// Whether the last transfer coding is chunked, as hyper sees it. (It refuses codings in an answer of
/// HTTP/1.0.)
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn trailers(lines: &[u8]) -> Result<Option<HeaderMap>, StreamError> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    // The parser wants the empty line that ends them.
    let block = [lines, b"\r\n"].concat();
    let parsed = httparse::parse_headers(&block, &mut fields).map_err(|_| StreamError::Trailers)?;
    let httparse::Status::Complete((_, fields)) = parsed else { return Err(StreamError::Trailers) };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(StreamError::Trailers) };
        trailers.append(name, value);
    }
    Ok(Some(trailers))
}
