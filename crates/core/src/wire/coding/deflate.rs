//! The coding `deflate`: zlib's format, and the bare one that some servers send under this name.

use super::inflate::{Inflater, Progress};
use super::window::Budget;
use super::{CodingError, Sink};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// The first byte may be one of zlib's header: the second tells.
    First(u8),
    Data,
    /// Behind the end; what follows is not looked at.
    Over,
}

/// A decoder of one stream.
#[derive(Debug)]
pub(super) struct Deflate {
    state: State,
    inflater: Inflater,
}

impl Deflate {
    pub(super) fn new(budget: &'static Budget) -> Result<Self, CodingError> {
        Ok(Self { state: State::Start, inflater: Inflater::new(true, budget)? })
    }

    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), CodingError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::Over => return Ok(()),
                State::Start if is_method(byte) => {
                    self.state = State::First(byte);
                    bytes = rest;
                }
                State::Start => {
                    self.inflater.reset(false);
                    self.state = State::Data;
                }
                State::First(first) => {
                    self.inflater.reset(is_header(first, byte));
                    self.state = State::Data;
                    self.inflate(&[first], sink)?;
                }
                State::Data => return self.inflate(bytes, sink),
            }
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Start | State::Over)
    }

    fn inflate(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), CodingError> {
        if let Progress::Over(_) = self.inflater.push(bytes, sink)? {
            self.state = State::Over;
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
