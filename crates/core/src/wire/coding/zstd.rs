//! The coding `zstd` (RFC 8878).

use super::window::{WindowBudget, WindowReservation};
use super::{CodingError, DecodedSink, WINDOW_BITS, with_scratch};
use std::fmt;
use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, is_error_kind};

/// A decoder of one stream of frames.
pub(super) struct ZstdDecoder {
    /// Allocated with the first byte.
    context: Option<DCtx<'static>>,
    window: WindowReservation,
    /// Behind a frame, or before the first. Another may follow.
    between: bool,
}

impl fmt::Debug for ZstdDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context: _, window, between } = self;
        f.debug_struct("ZstdDecoder").field("window", window).field("between", between).finish()
    }
}

impl ZstdDecoder {
    pub(super) fn new(budget: &'static WindowBudget) -> Self {
        Self { context: None, window: WindowReservation::new(budget), between: true }
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), CodingError> {
        let Self { context, window, between } = self;
        if bytes.is_empty() {
            return Ok(());
        }
        let context = match context {
            Some(context) => context,
            None => context.insert(new_context()?),
        };
        with_scratch(|buffer| {
            let mut input = InBuffer::around(bytes);
            loop {
                let mut output = OutBuffer::around(&mut *buffer);
                let left = context.decompress_stream(&mut output, &mut input).map_err(error)?;
                let gave = output.pos();
                // With the tables, which are small beside it.
                window.resize(context.sizeof())?;
                if let Some(part) = buffer.get(..gave).filter(|part| !part.is_empty()) {
                    sink(part)?;
                }
                *between = left == 0;
                // A full buffer may leave more behind, with nothing left to take.
                if input.pos() == bytes.len() && (*between || gave < buffer.len()) {
                    return Ok(());
                }
            }
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.between
    }
}

fn new_context() -> Result<DCtx<'static>, CodingError> {
    let mut context = DCtx::try_create().ok_or(CodingError::Budget)?;
    context.set_parameter(DParameter::WindowLogMax(WINDOW_BITS.into())).map_err(error)?;
    Ok(context)
}

fn error(code: usize) -> CodingError {
    if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
        CodingError::Window
    } else if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_memory_allocation) {
        CodingError::Budget
    } else {
        CodingError::Malformed
    }
}
