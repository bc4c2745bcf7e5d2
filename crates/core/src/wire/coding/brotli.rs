//! The coding `br` (RFC 7932).
//!
//! Only the window is charged to the budget. A stream also allocates tables: some tens of KiB with
//! usual encoders, 3 MiB if all of the 256 trees of each type that the format allows are used.

use super::window::{WindowBudget, WindowReservation};
use super::{CodingError, DecodedSink, WINDOW_BITS, with_scratch};
use brotli_decompressor::{
    BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper, StandardAlloc,
};
use std::fmt;

type BrotliInner = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Incremental decoder of one stream.
pub(super) struct BrotliDecoder {
    /// Allocated at the first byte.
    state: Option<Box<BrotliInner>>,
    window: WindowReservation,
    /// After the end; all that follows is ignored.
    is_finished: bool,
}

impl fmt::Debug for BrotliDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrotliDecoder")
            .field("window", &self.window)
            .field("is_finished", &self.is_finished)
            .finish()
    }
}

impl BrotliDecoder {
    pub(super) fn new(budget: &'static WindowBudget) -> Self {
        Self { state: None, window: WindowReservation::new(budget), is_finished: false }
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), CodingError> {
        let Self { state, window, is_finished } = self;
        let Some(&first) = bytes.first().filter(|_| !*is_finished) else { return Ok(()) };
        if state.is_none() {
            check_window(first)?;
        }
        let state = state.get_or_insert_with(|| {
            let alloc = StandardAlloc::default;
            Box::new(BrotliInner::new_strict(alloc(), alloc(), alloc()))
        });
        with_scratch(|buffer| {
            let (mut left, mut from, mut total) = (bytes.len(), 0, 0);
            loop {
                let (mut room, mut output) = (buffer.len(), 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut from,
                    bytes,
                    &mut room,
                    &mut output,
                    buffer,
                    &mut total,
                    state,
                );
                window.resize(state.ringbuffer.slice().len())?;
                if let Some(part) = buffer.get(..output).filter(|part| !part.is_empty()) {
                    sink(part)?;
                }
                match result {
                    BrotliResult::ResultSuccess => {
                        *is_finished = true;
                        return Ok(());
                    }
                    BrotliResult::NeedsMoreInput if room > 0 => return Ok(()),
                    // More output may be left after a full buffer, with either result.
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                    BrotliResult::ResultFailure => return Err(CodingError::Malformed),
                }
            }
        })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_finished || self.state.is_none()
    }
}

/// Checks the window size that the first byte declares (RFC 7932, section 9.1).
fn check_window(first: u8) -> Result<(), CodingError> {
    let (middle, high) = (first >> 1 & 7, first >> 4 & 7);
    let bits = match (first & 1, middle, high) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        // A reserved value that an extension uses for windows larger than the format allows.
        (_, 0, 1) => return Err(CodingError::Window),
        (_, 0, high) => 8 + high,
        (_, middle, _) => 17 + middle,
    };
    if bits > WINDOW_BITS { Err(CodingError::Window) } else { Ok(()) }
}
