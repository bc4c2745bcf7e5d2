//! The body of a stream, read from the socket by us.
//!
//! A stream is open for seconds to hours and brings a few hundred bytes at a time. Here each time costs
//! one read, into a buffer that all sockets of the thread use in turn; through a client connection of
//! hyper's it would cost its state machine, a channel and 16 KiB of buffers beside.

use crate::proxy::handover::UpstreamConnection;
use crate::proxy::{forward::headers, upstream::UpstreamPool};
use crate::socket::TimestampedIo;
use bytes::BytesMut;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use streamgauge_core::wire::chunked::{ChunkError, ChunkStep, ChunkedDecoder};

/// Most bytes of one read.
const MAX_READ: usize = 64 * 1024;
/// Most trailer fields.
const MAX_TRAILERS: usize = 128;

/// Bytes where there are seldom any; `None` if there are none.
pub(crate) type RareBuffer = Option<Box<BytesMut>>;

/// These, if there are any.
pub(crate) fn spare(bytes: BytesMut) -> RareBuffer {
    (!bytes.is_empty()).then(|| Box::new(bytes))
}

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

/// What a read of the body has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadProgress {
    /// There may be more to come.
    Open,
    /// The body is over; these are its trailers.
    Over(HeaderMap),
}

/// A body without a declared length.
#[derive(Debug)]
pub(crate) struct StreamReader {
    /// `None` once the body is over, or broke.
    io: Option<TimestampedIo>,
    /// What was read together with the head, until it is shown.
    first: RareBuffer,
    /// `None` for a body that ends with its connection.
    chunked: Option<ChunkedDecoder>,
    /// The server keeps the connection.
    reusable: bool,
    upstream: Arc<UpstreamPool>,
}

impl StreamReader {
    /// The body behind this head, which hyper has accepted and found to be of no declared length.
    /// `first` is what was read of it together with the head; without `io`, the connection has broken.
    pub fn new(
        head: &response::Parts,
        io: Option<TimestampedIo>,
        first: BytesMut,
        upstream: Arc<UpstreamPool>,
    ) -> Self {
        let chunked = is_chunked(&head.headers).then(ChunkedDecoder::default);
        let reusable = !headers::closes(&head.headers);
        let first = spare(first);
        Self { io, first, chunked, reusable, upstream }
    }

    /// Reads once what is there, and shows the data in it to `sink`, piece by piece. Not to be called
    /// again once the body is over or an error was given: then the connection is closed or given back.
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
                        Ok(ReadProgress::Over(HeaderMap::new()))
                    }
                });
            }
        }
        Poll::Ready(match left? {
            None => Ok(ReadProgress::Open),
            Some(left) => self.finish(left).map(ReadProgress::Over),
        })
    }

    /// The body is over, and so many bytes were read behind it: keeps the connection if it can take
    /// another request. Gives the trailers.
    fn finish(&mut self, left: usize) -> Result<HeaderMap, StreamError> {
        let lines = self.chunked.as_ref().map_or(&b""[..], ChunkedDecoder::trailers);
        let trailers = trailers(lines)?;
        if let Some(io) = self.io.take()
            && self.reusable
            && left == 0
        {
            self.upstream.give_back(UpstreamConnection::Socket(io), true);
        }
        Ok(trailers)
    }
}

/// Shows the data in these bytes of a body. Once the body is over, gives how many bytes lie behind it.
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

/// Whether the last transfer coding is chunked, as hyper sees it. (It refuses codings in an answer of
/// HTTP/1.0.)
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn trailers(lines: &[u8]) -> Result<HeaderMap, StreamError> {
    if lines.is_empty() {
        return Ok(HeaderMap::new());
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
    Ok(trailers)
}
