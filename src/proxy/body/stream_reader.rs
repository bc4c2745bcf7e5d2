//! Reads the body of a stream from the upstream's socket, without hyper.
//!
//! A stream is open for seconds to hours and receives a few hundred bytes at a time. Each chunk costs one read into a
//! buffer that all sockets of the thread share. hyper's client would add its state machine, a channel and 16 KiB of
//! buffers per stream.

use crate::proxy::forward::headers;
use crate::proxy::handover::UpstreamConnection;
use crate::proxy::upstream::UpstreamPool;
use crate::socket::TimestampedIo;
use bytes::BytesMut;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use streamgauge_core::wire::chunked::{ChunkError, ChunkStep, ChunkedDecoder};

/// Maximum number of bytes per read.
const MAX_READ: usize = 64 * 1024;
/// Maximum number of trailers.
const MAX_TRAILERS: usize = 128;

/// A buffer that is usually empty, and then takes only a pointer.
pub(super) type OptionalBuffer = Option<Box<BytesMut>>;

/// Returns `bytes` as an optional buffer.
pub(super) fn non_empty(bytes: BytesMut) -> OptionalBuffer {
    (!bytes.is_empty()).then(|| Box::new(bytes))
}

/// Error in a stream from the upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("connection error: {0}")]
    Io(#[from] io::Error),
    #[error("the connection ended before the body")]
    Incomplete,
    #[error("invalid chunked coding: {0}")]
    Framing(#[from] ChunkError),
    #[error("the trailers are not valid header fields")]
    Trailers,
}

/// Result of one read of the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadProgress {
    /// The body continues.
    Open,
    /// The body has ended, with these trailers.
    End(HeaderMap),
}

/// Reader of a response body without a declared length.
#[derive(Debug)]
pub(crate) struct StreamReader {
    /// `None` after the end of the body or an error.
    io: Option<TimestampedIo>,
    /// Start of the body, read together with the response head.
    first: OptionalBuffer,
    /// `None` for a body that ends with its connection.
    chunked: Option<ChunkedDecoder>,
    /// The server keeps the connection open.
    reusable: bool,
    upstream: Arc<UpstreamPool>,
}

impl StreamReader {
    /// Returns a reader of the body after `head`, in which hyper has found no declared length.
    ///
    /// `first`: bytes of the body that were read together with the head. Without `io` the connection is broken.
    pub fn new(
        head: &response::Parts,
        io: Option<TimestampedIo>,
        first: BytesMut,
        upstream: Arc<UpstreamPool>,
    ) -> Self {
        let chunked = is_chunked(&head.headers).then(ChunkedDecoder::default);
        let reusable = !headers::has_connection_close(&head.headers);
        let first = non_empty(first);
        Self { io, first, chunked, reusable, upstream }
    }

    /// Returns when the upstream's socket was read last. `None` if it is closed.
    pub fn last_read(&self) -> Option<Duration> {
        let arrival = self.io.as_ref()?.timestamps().last_read();
        Some(arrival.at + arrival.read_delay)
    }

    /// Reads once and passes the data to `sink`, one slice per chunk.
    ///
    /// Must not be called again after the end of the body or an error. By then the connection is closed or back in the
    /// pool.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: impl FnMut(&[u8]),
    ) -> Poll<Result<ReadProgress, StreamError>> {
        let read = ready!(self.poll_progress(cx, sink));
        if read.is_err() {
            self.io = None;
        }
        Poll::Ready(read)
    }

    fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        mut sink: impl FnMut(&[u8]),
    ) -> Poll<Result<ReadProgress, StreamError>> {
        let Self { io, first, chunked, .. } = self;
        let Some(open) = io else { return Poll::Ready(Err(StreamError::Incomplete)) };
        let mut left = Ok(None);
        if let Some(first) = first.take() {
            left = decode(chunked, &first, &mut sink);
        } else {
            let mut take = |bytes: &[u8]| left = decode(chunked, bytes, &mut sink);
            if ready!(open.poll_receive(cx, MAX_READ, &mut take))? == 0 {
                return Poll::Ready(match chunked {
                    Some(_) => Err(StreamError::Incomplete),
                    None => {
                        *io = None;
                        Ok(ReadProgress::End(HeaderMap::new()))
                    }
                });
            }
        }
        Poll::Ready(match left? {
            None => Ok(ReadProgress::Open),
            Some(left) => self.finish(left).map(ReadProgress::End),
        })
    }

    /// Handles the end of the body, after which `left` more bytes were read. Puts the connection back into the pool if
    /// it can take another request, and returns the trailers.
    fn finish(&mut self, left: usize) -> Result<HeaderMap, StreamError> {
        let lines = self.chunked.as_ref().map_or(&b""[..], ChunkedDecoder::trailers);
        let trailers = parse_trailers(lines)?;
        if let Some(io) = self.io.take()
            && self.reusable
            && left == 0
        {
            self.upstream.put_back(UpstreamConnection::Socket(io), true);
        }
        Ok(trailers)
    }
}

/// Passes the data in `bytes` to `sink`. Returns the number of bytes after the body, once the body has ended.
fn decode(
    chunked: &mut Option<ChunkedDecoder>,
    mut bytes: &[u8],
    sink: &mut impl FnMut(&[u8]),
) -> Result<Option<usize>, ChunkError> {
    let Some(chunked) = chunked else {
        sink(bytes);
        return Ok(None);
    };
    loop {
        let (framing, step) = chunked.next(bytes)?;
        bytes = bytes.get(framing..).unwrap_or_default();
        match step {
            ChunkStep::More => return Ok(None),
            ChunkStep::Data(length) => {
                let (data, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
                sink(data);
                bytes = rest;
            }
            ChunkStep::End => return Ok(Some(bytes.len())),
        }
    }
}

/// Whether the last transfer coding is chunked, by the same rule as in hyper. (hyper refuses transfer codings in an
/// HTTP/1.0 response.)
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn parse_trailers(lines: &[u8]) -> Result<HeaderMap, StreamError> {
    if lines.is_empty() {
        return Ok(HeaderMap::new());
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    // The parser needs the empty line at the end.
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
    Ok(trailers)
}
