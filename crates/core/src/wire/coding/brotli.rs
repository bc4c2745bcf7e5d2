//! The coding `br` (RFC 7932).
//!
//! What is charged is the window. A stream's tables come beside it: tens of KiB as encoders write them, 3 MiB
//! if all of the 256 trees that the format allows of each kind are there.

use super::window::{WindowBudget, WindowReservation};
use super::{CodingError, DecodedSink, WINDOW_BITS, with_scratch};
use brotli_decompressor::{
    BrotliDecompressStream, BrotliResult, BrotliState, SliceWrapper, StandardAlloc,
};
use std::fmt;

type BrotliInner = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// A decoder of one stream.
pub(super) struct BrotliDecoder {
    /// Allocated with the first byte.
    state: Option<Box<BrotliInner>>,
    window: WindowReservation,
    /// Behind the end; what follows is not looked at.
    over: bool,
}

impl fmt::Debug for BrotliDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrotliDecoder")
            .field("window", &self.window)
            .field("over", &self.over)
            .finish()
    }
}

impl BrotliDecoder {
    pub(super) fn new(budget: &'static WindowBudget) -> Self {
        Self { state: None, window: WindowReservation::new(budget), over: false }
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), CodingError> {
        let Self { state, window, over } = self;
        let Some(&first) = bytes.first().filter(|_| !*over) else { return Ok(()) };
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
                let (mut room, mut gave) = (buffer.len(), 0);
                let result = BrotliDecompressStream(
                    &mut left, &mut from, bytes, &mut room, &mut gave, buffer, &mut total, state,
                );
                window.resize(state.ringbuffer.slice().len())?;
                if let Some(part) = buffer.get(..gave).filter(|part| !part.is_empty()) {
                    sink(part)?;
                }
                match result {
                    BrotliResult::ResultSuccess => {
                        *over = true;
                        return Ok(());
                    }
                    BrotliResult::NeedsMoreInput if room > 0 => return Ok(()),
                    // Either may leave more behind in a full buffer.
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                    BrotliResult::ResultFailure => return Err(CodingError::Malformed),
                }
            }
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.over || self.state.is_none()
    }
}

/// Looks at the window that the first byte declares (RFC 7932, section 9.1).
fn check_window(first: u8) -> Result<(), CodingError> {
    let (middle, high) = (first >> 1 & 7, first >> 4 & 7);
    let bits = match (first & 1, middle, high) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        // Reserved, and taken by an extension that has larger windows than the format.
        (_, 0, 1) => return Err(CodingError::Window),
        (_, 0, high) => 8 + high,
        (_, middle, _) => 17 + middle,
    };
    if bits > WINDOW_BITS { Err(CodingError::Window) } else { Ok(()) }
}
