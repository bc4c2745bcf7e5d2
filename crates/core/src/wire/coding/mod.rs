//! Decodes content codings (RFC 9110, section 8.4) on a copy of the body.
//!
//! Data that a server has flushed comes out at once, so an event is read in the same push as its
//! last byte. The limits apply to the decoder only; the body itself is forwarded in any case:
//!
//! - A window has at most 4 MiB. By default br and zstd encoders declare 4 and 2 MiB even for short
//!   streams, so a lower limit would leave most such streams unmeasured. Memory is allocated as the
//!   format allows: br's window grows with the data, zstd's has its declared size at once.
//! - All windows of the process have at most 64 MiB together for responses, and 32 MiB for requests
//!   (`WindowBudget`).
//! - Output goes through one buffer per thread.
//! - Output that is too large for its input is treated as a decompression bomb: over 200 times as
//!   large beyond 64 MiB in a response, over 50 times beyond 4 MiB in a request.
//!
//! Anybody can send a request, so its limits are lower, and it can't use up the windows of responses.

mod brotli;
mod deflate;
mod gzip;
mod inflate;
mod window;
mod zstd;

use brotli::BrotliDecoder;
use deflate::DeflateDecoder;
use gzip::GzipDecoder;
use std::cell::Cell;
use zstd::ZstdDecoder;

pub(super) use inflate::{InflateProgress, Inflater};
pub(super) use window::WINDOWS;
pub use window::windows_in_use;
use window::{REQUEST_WINDOWS, WindowBudget};

/// Largest window of one stream, as a power of two.
const WINDOW_BITS: u8 = 22;
/// Growth of responses. Their server is the operator's.
const RESPONSE_GROWTH: GrowthLimit =
    GrowthLimit { always_accepted: 64 * 1024 * 1024, max_ratio: 200 };
/// Growth of requests. A read of 64 KiB decodes to at most 4 MiB, which takes a few milliseconds.
const REQUEST_GROWTH: GrowthLimit = GrowthLimit { always_accepted: 4 * 1024 * 1024, max_ratio: 50 };
/// Largest part of output that is reported at once, in bytes.
const MAX_OUTPUT: usize = 16 * 1024;

/// Reason why a body cannot be decoded, or no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// A coding is not supported, or there are more than two.
    #[error("the content coding is not supported, or there are more than two")]
    Unknown,
    /// The data is not valid.
    #[error("the body is not valid in its content coding")]
    Malformed,
    /// The window is larger than the limit.
    #[error("the body needs a window of more than 4 MiB")]
    Window,
    /// The window budget of the process is exhausted.
    #[error("the windows of all streams together have reached their limit")]
    Budget,
    /// The ratio of output to input is that of a decompression bomb.
    #[error("the body decompresses to too many times its size")]
    Bomb,
}

/// Receiver of decoded bytes. An error that it returns ends the decoding.
pub(super) type DecodedSink<'a> = dyn FnMut(&[u8]) -> Result<(), CodingError> + 'a;

/// Incremental decoder of one body with one or two content codings.
#[derive(Debug)]
pub struct ContentDecoder {
    /// In decoding order. Replaced by the first error, which frees the windows.
    stages: Result<(DecoderStage, Option<DecoderStage>), CodingError>,
}

impl ContentDecoder {
    /// Returns a decoder for the body of a response with this `Content-Encoding`, or `None` if the
    /// body is not encoded.
    ///
    /// # Errors
    ///
    /// If a coding is unknown, there are more than two, or the window budget is exhausted.
    pub fn new(content_encoding: &[u8]) -> Result<Option<Self>, CodingError> {
        Self::within(&WINDOWS, RESPONSE_GROWTH, content_encoding)
    }

    /// Returns a decoder for the body of a request, like [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and if there are two codings: their growth multiplies.
    pub fn for_request(content_encoding: &[u8]) -> Result<Option<Self>, CodingError> {
        let decoder = Self::within(&REQUEST_WINDOWS, REQUEST_GROWTH, content_encoding)?;
        match &decoder {
            Some(Self { stages: Ok((_, Some(_))) }) => Err(CodingError::Unknown),
            _ => Ok(decoder),
        }
    }

    fn within(
        budget: &'static WindowBudget,
        growth: GrowthLimit,
        content_encoding: &[u8],
    ) -> Result<Option<Self>, CodingError> {
        if content_encoding.is_empty() {
            return Ok(None);
        }
        let names = content_encoding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut names =
            names.rev().filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let Some(last) = names.next() else { return Ok(None) };
        let stages = (
            DecoderStage::new(last, budget, growth)?,
            names.next().map(|name| DecoderStage::new(name, budget, growth)).transpose()?,
        );
        if names.next().is_some() {
            return Err(CodingError::Unknown);
        }
        Ok(Some(Self { stages: Ok(stages) }))
    }

    /// Decodes the next bytes of the body.
    ///
    /// # Errors
    ///
    /// If they cannot be decoded. Every later call returns the same error.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), CodingError> {
        let mut sink = |part: &[u8]| {
            sink(part);
            Ok(())
        };
        let done = match &mut self.stages {
            Ok((outer, Some(inner))) => outer.push(bytes, &mut |part| inner.push(part, &mut sink)),
            Ok((only, None)) => only.push(bytes, &mut sink),
            Err(error) => Err(*error),
        };
        if let Err(error) = done {
            // Frees the windows.
            self.stages = Err(error);
        }
        done
    }

    /// Returns whether a body that begins with this byte is not encoded, whatever its headers say. Only gzip and zstd have
    /// a start of their own.
    pub fn is_contradicted_by(&self, first: u8) -> bool {
        match &self.stages {
            Ok((DecoderStage { coding: Coding::Gzip(_), .. }, _)) => first != 0x1F,
            // A frame, or a frame to skip.
            Ok((DecoderStage { coding: Coding::Zstd(_), .. }, _)) => {
                !matches!(first, 0x28 | 0x50..=0x5F)
            }
            _ => false,
        }
    }

    /// Returns whether the body is complete: each coding has reached its end marker, or no byte has
    /// arrived.
    pub fn is_complete(&self) -> bool {
        match &self.stages {
            Ok((outer, inner)) => {
                outer.is_complete() && inner.as_ref().is_none_or(DecoderStage::is_complete)
            }
            Err(_) => false,
        }
    }
}

#[derive(Debug)]
enum Coding {
    Gzip(GzipDecoder),
    Deflate(DeflateDecoder),
    Brotli(BrotliDecoder),
    Zstd(ZstdDecoder),
}

/// Decoder of one coding, with its limit on the ratio.
#[derive(Debug)]
struct DecoderStage {
    coding: Coding,
    expansion: ExpansionLimit,
}

impl DecoderStage {
    fn new(
        name: &[u8],
        budget: &'static WindowBudget,
        growth: GrowthLimit,
    ) -> Result<Self, CodingError> {
        let is = |coding: &[u8]| name.eq_ignore_ascii_case(coding);
        let coding = if is(b"gzip") || is(b"x-gzip") {
            Coding::Gzip(GzipDecoder::new(budget)?)
        } else if is(b"deflate") {
            Coding::Deflate(DeflateDecoder::new(budget)?)
        } else if is(b"br") {
            Coding::Brotli(BrotliDecoder::new(budget))
        } else if is(b"zstd") {
            Coding::Zstd(ZstdDecoder::new(budget))
        } else {
            return Err(CodingError::Unknown);
        };
        Ok(Self { coding, expansion: ExpansionLimit::new(growth) })
    }

    fn push(&mut self, bytes: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), CodingError> {
        let Self { coding, expansion } = self;
        expansion.add_input(bytes);
        let mut sink = |part: &[u8]| {
            expansion.add_output(part)?;
            sink(part)
        };
        match coding {
            Coding::Gzip(coding) => coding.push(bytes, &mut sink),
            Coding::Deflate(coding) => coding.push(bytes, &mut sink),
            Coding::Brotli(coding) => coding.push(bytes, &mut sink),
            Coding::Zstd(coding) => coding.push(bytes, &mut sink),
        }
    }

    fn is_complete(&self) -> bool {
        match &self.coding {
            Coding::Gzip(coding) => coding.is_complete(),
            Coding::Deflate(coding) => coding.is_complete(),
            Coding::Brotli(coding) => coding.is_complete(),
            Coding::Zstd(coding) => coding.is_complete(),
        }
    }
}

/// Largest accepted growth of a body.
#[derive(Debug, Clone, Copy)]
struct GrowthLimit {
    /// Output, in bytes, up to which any ratio is accepted.
    always_accepted: u64,
    /// Largest accepted ratio of output to input beyond that.
    max_ratio: u64,
}

/// Detects decompression bombs by the amounts of input and output.
#[derive(Debug)]
pub(super) struct ExpansionLimit {
    growth: GrowthLimit,
    input: u64,
    output: u64,
}

impl Default for ExpansionLimit {
    /// The limit of a response.
    fn default() -> Self {
        Self::new(RESPONSE_GROWTH)
    }
}

impl ExpansionLimit {
    fn new(growth: GrowthLimit) -> Self {
        Self { growth, input: 0, output: 0 }
    }

    pub(super) fn add_input(&mut self, bytes: &[u8]) {
        self.input = self.input.saturating_add(bytes.len() as u64);
    }

    pub(super) fn add_output(&mut self, bytes: &[u8]) -> Result<(), CodingError> {
        self.output = self.output.saturating_add(bytes.len() as u64);
        let GrowthLimit { always_accepted, max_ratio } = self.growth;
        if self.output > always_accepted && self.output / max_ratio >= self.input {
            return Err(CodingError::Bomb);
        }
        Ok(())
    }
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `use_it` with the thread's buffer. A nested call gets a temporary one.
fn with_scratch<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.take();
    buffer.resize(MAX_OUTPUT, 0);
    let result = use_it(&mut buffer);
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
