//! The coding `zstd` (RFC 8878).

use super::window::{WindowBudget, WindowReservation};
use super::{CodingError, DecodedSink, WINDOW_BITS, with_scratch};
use std::fmt;
use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, is_error_kind};

/// Incremental decoder of one stream of frames.
pub(super) struct ZstdDecoder {
    /// Allocated at the first byte.
    context: Option<DCtx<'static>>,
    window: WindowReservation,
    /// After a frame or before the first one. Another may follow.
    is_between_frames: bool,
}

impl fmt::Debug for ZstdDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context: _, window, is_between_frames } = self;
        f.debug_struct("ZstdDecoder")
            .field("window", window)
            .field("is_between_frames", is_between_frames)
            .finish()
    }
}

impl ZstdDecoder {
    pub(super) fn new(budget: &'static WindowBudget) -> Self {
        Self { context: None, window: WindowReservation::new(budget), is_between_frames: true }
    }

    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), CodingError> {
        let Self { context, window, is_between_frames } = self;
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
                let output = output.pos();
                // Includes the tables, which are small compared to the window.
                window.resize(context.sizeof())?;
                if let Some(part) = buffer.get(..output).filter(|part| !part.is_empty()) {
                    sink(part)?;
                }
                *is_between_frames = left == 0;
                // After a full buffer more output may be left even if all input is consumed.
                if input.pos() == bytes.len() && (*is_between_frames || output < buffer.len()) {
                    return Ok(());
                }
            }
        })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_between_frames
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
