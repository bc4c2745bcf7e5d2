//! The coding `deflate`: the zlib format, and the bare DEFLATE data that some servers send under
//! this name.

use super::inflate::{InflateProgress, Inflater};
use super::window::WindowBudget;
use super::{CodingError, DecodedSink};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeflateState {
    Start,
    /// The first byte may begin a zlib header; the second one decides.
    First(u8),
    Data,
    /// After the end; all that follows is ignored.
    Finished,
}

/// Incremental decoder of one stream.
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
                DeflateState::Finished => return Ok(()),
                DeflateState::Start if may_be_zlib_header(byte) => {
                    self.state = DeflateState::First(byte);
                    bytes = rest;
                }
                DeflateState::Start => {
                    self.inflater.reset(false);
                    self.state = DeflateState::Data;
                }
                DeflateState::First(first) => {
                    self.inflater.reset(is_zlib_header(first, byte));
                    self.state = DeflateState::Data;
                    self.inflate(&[first], sink)?;
                }
                DeflateState::Data => return self.inflate(bytes, sink),
            }
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, DeflateState::Start | DeflateState::Finished)
    }

    fn inflate(&mut self, bytes: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), CodingError> {
        if let InflateProgress::End(_) = self.inflater.push(bytes, sink)? {
            self.state = DeflateState::Finished;
        }
        Ok(())
    }
}

/// Returns whether the byte may be the first of a zlib header: the DEFLATE method and a window of
/// at most 32 KiB.
fn may_be_zlib_header(byte: u8) -> bool {
    byte & 0x0f == 8 && byte >> 4 <= 7
}

/// Returns whether the two bytes are a zlib header, which is a multiple of 31.
fn is_zlib_header(first: u8, second: u8) -> bool {
    u16::from_be_bytes([first, second]).is_multiple_of(31)
}
