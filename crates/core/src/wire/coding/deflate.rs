//! The coding `deflate`: zlib's format, and the bare one that some servers send under this name.

use super::inflate::{InflateProgress, Inflater};
use super::window::WindowBudget;
use super::{CodingError, DecodedSink};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeflateState {
    Start,
    /// The first byte may be one of zlib's header: the second tells.
    First(u8),
    Data,
    /// Behind the end; what follows is not looked at.
    Over,
}

/// A decoder of one stream.
#[derive(Debug)]
pub(super) struct DeflateDecoder {
    state: DeflateState,
    inflater: Inflater,
}

impl DeflateDecoder {
    pub(super) fn new(budget: &'static WindowBudget) -> Result<Self, CodingError> {
        Ok(Self { state: DeflateState::Start, inflater: Inflater::new(true, budget)? })
    }

    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), CodingError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                DeflateState::Over => return Ok(()),
                DeflateState::Start if is_method(byte) => {
                    self.state = DeflateState::First(byte);
                    bytes = rest;
                }
                DeflateState::Start => {
                    self.inflater.reset(false);
                    self.state = DeflateState::Data;
                }
                DeflateState::First(first) => {
                    self.inflater.reset(is_header(first, byte));
                    self.state = DeflateState::Data;
                    self.inflate(&[first], sink)?;
                }
                DeflateState::Data => return self.inflate(bytes, sink),
            }
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, DeflateState::Start | DeflateState::Over)
    }

    fn inflate(&mut self, bytes: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), CodingError> {
        if let InflateProgress::Over(_) = self.inflater.push(bytes, sink)? {
            self.state = DeflateState::Over;
        }
        Ok(())
    }
}

/// Whether it is zlib's first byte: the method, and a window of at most 32 KiB.
fn is_method(byte: u8) -> bool {
    byte & 0x0f == 8 && byte >> 4 <= 7
}

/// Whether both are zlib's header, which is a multiple of 31.
fn is_header(first: u8, second: u8) -> bool {
    u16::from_be_bytes([first, second]).is_multiple_of(31)
}
