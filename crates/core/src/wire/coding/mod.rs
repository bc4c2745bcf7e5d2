//! Undoes content codings (RFC 9110, section 8.4) on a copy of the body, as it comes.
//!
//! What a server has flushed comes out at once, so an event is seen in the same push as its last byte.
//! All bounds are on what a decoder holds and gives, never on the body, which is forwarded whatever
//! happens here:
//!
//! - A window has at most 4 MiB. The default encoders of br and zstd declare 4 and 2 MiB, however short
//!   the stream: a lower bound would leave most of such streams unmeasured. Memory is taken as the
//!   format lets it: br's window grows with what was sent, zstd's is as large as declared.
//! - All windows of the process have at most 64 MiB ([`WindowBudget`]).
//! - Output goes through one buffer for each thread.
//! - What grows beyond 64 MiB at more than 200 to 1 is a bomb.

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
pub use window::{WindowBudget, windows_in_use};

/// Largest window of one stream, as a power of two.
const WINDOW_BITS: u8 = 22;
/// Output up to here is no bomb, whatever the ratio.
const ALWAYS_GIVEN: u64 = 64 * 1024 * 1024;
/// Output bytes for each byte taken, beyond which it is one.
const MAX_RATIO: u64 = 200;
/// Output bytes that are handed on at once.
const SCRATCH: usize = 16 * 1024;

/// Why a body cannot be decoded, or no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    #[error("the content coding is not known, or there are more than two")]
    Unknown,
    #[error("the body is not coded as it says")]
    Malformed,
    #[error("the body needs a window of more than 4 MiB")]
    Window,
    #[error("the windows of all streams together are at their limit")]
    Budget,
    #[error("the body grows out of proportion")]
    Bomb,
}

/// Where decoded bytes go; what it fails with ends the decoding.
pub(super) type DecodedSink<'a> = dyn FnMut(&[u8]) -> Result<(), CodingError> + 'a;

/// Undoes the codings of one body.
#[derive(Debug)]
pub struct ContentDecoder {
    /// In the order in which they are undone. Given up at the first error.
    stages: Result<(DecoderStage, Option<DecoderStage>), CodingError>,
}

impl ContentDecoder {
    /// A decoder for a body with this `Content-Encoding`. `None` if it has no coding.
    ///
    /// # Errors
    /// If a coding is not known, there are more than two, or the process has no memory left for them.
    pub fn new(content_encoding: &[u8]) -> Result<Option<Self>, CodingError> {
        Self::within(&WINDOWS, content_encoding)
    }

    fn within(
        budget: &'static WindowBudget,
        content_encoding: &[u8],
    ) -> Result<Option<Self>, CodingError> {
        let names = content_encoding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut names =
            names.rev().filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let Some(last) = names.next() else { return Ok(None) };
        let stages = (
            DecoderStage::new(last, budget)?,
            names.next().map(|name| DecoderStage::new(name, budget)).transpose()?,
        );
        if names.next().is_some() {
            return Err(CodingError::Unknown);
        }
        Ok(Some(Self { stages: Ok(stages) }))
    }

    /// Decodes the next bytes of the body.
    ///
    /// # Errors
    /// If they can't be decoded; then no later ones can.
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
            // Gives the windows back.
            self.stages = Err(error);
        }
        done
    }

    /// The body has ended: whether properly, with the end that each coding has. A body without any
    /// bytes has it.
    pub fn end(&self) -> bool {
        match &self.stages {
            Ok((outer, inner)) => {
                outer.is_over() && inner.as_ref().is_none_or(DecoderStage::is_over)
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

/// One coding, and what goes through it.
#[derive(Debug)]
struct DecoderStage {
    coding: Coding,
    growth: ExpansionLimit,
}

impl DecoderStage {
    fn new(name: &[u8], budget: &'static WindowBudget) -> Result<Self, CodingError> {
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
        Ok(Self { coding, growth: ExpansionLimit::default() })
    }

    fn push(&mut self, bytes: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), CodingError> {
        let Self { coding, growth } = self;
        growth.add_input(bytes);
        let mut sink = |part: &[u8]| {
            growth.add_output(part)?;
            sink(part)
        };
        match coding {
            Coding::Gzip(coding) => coding.push(bytes, &mut sink),
            Coding::Deflate(coding) => coding.push(bytes, &mut sink),
            Coding::Brotli(coding) => coding.push(bytes, &mut sink),
            Coding::Zstd(coding) => coding.push(bytes, &mut sink),
        }
    }

    fn is_over(&self) -> bool {
        match &self.coding {
            Coding::Gzip(coding) => coding.is_over(),
            Coding::Deflate(coding) => coding.is_over(),
            Coding::Brotli(coding) => coding.is_over(),
            Coding::Zstd(coding) => coding.is_over(),
        }
    }
}

/// How much was taken and given, which tells a bomb.
#[derive(Debug, Default)]
pub(super) struct ExpansionLimit {
    taken: u64,
    given: u64,
}

impl ExpansionLimit {
    pub(super) fn add_input(&mut self, bytes: &[u8]) {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
    }

    pub(super) fn add_output(&mut self, bytes: &[u8]) -> Result<(), CodingError> {
        self.given = self.given.saturating_add(bytes.len() as u64);
        if self.given > ALWAYS_GIVEN && self.given / MAX_RATIO >= self.taken {
            return Err(CodingError::Bomb);
        }
        Ok(())
    }
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer. Within another loan it is a new one.
fn with_scratch<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.take();
    buffer.resize(SCRATCH, 0);
    let result = use_it(&mut buffer);
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
