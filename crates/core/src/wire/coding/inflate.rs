//! The DEFLATE format (RFC 1951), alone or in the zlib format (RFC 1950).

use super::window::{WindowBudget, WindowReservation};
use super::{CodingError, DecodedSink, with_scratch};
use flate2::{Decompress, FlushDecompress, Status};

/// Size of the window, which is always allocated in full.
const WINDOW_BYTES: usize = 32 * 1024;

/// Incremental decoder of one DEFLATE stream after another.
#[derive(Debug)]
pub(in crate::wire) struct Inflater {
    inner: Decompress,
    _window: WindowReservation,
}

/// State of the stream after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum InflateProgress {
    /// All bytes were consumed, and the stream goes on.
    More,
    /// The stream is complete; it consumed this many bytes.
    End(usize),
}

impl Inflater {
    /// Returns a decoder of the zlib format or of bare DEFLATE data.
    ///
    /// # Errors
    ///
    /// If the budget has no room for another window.
    pub(in crate::wire) fn new(
        zlib: bool,
        budget: &'static WindowBudget,
    ) -> Result<Self, CodingError> {
        let mut window = WindowReservation::new(budget);
        window.resize(WINDOW_BYTES)?;
        Ok(Self { inner: Decompress::new(zlib), _window: window })
    }

    /// Begins another stream.
    pub(in crate::wire) fn reset(&mut self, zlib: bool) {
        self.inner.reset(zlib);
    }

    /// Decodes the next bytes of the stream.
    pub(in crate::wire) fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<InflateProgress, CodingError> {
        with_scratch(|buffer| {
            let mut consumed = 0;
            loop {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let (total_in, total_out) = (self.inner.total_in(), self.inner.total_out());
                let status = self
                    .inner
                    .decompress(rest, buffer, FlushDecompress::None)
                    .map_err(|_| CodingError::Malformed)?;
                let here = |total: u64, before: u64| usize::try_from(total - before).unwrap_or(0);
                let consumed_now = here(self.inner.total_in(), total_in);
                let output = here(self.inner.total_out(), total_out);
                consumed += consumed_now;
                if let Some(part) = buffer.get(..output).filter(|part| !part.is_empty()) {
                    sink(part)?;
                }
                if status == Status::StreamEnd {
                    return Ok(InflateProgress::End(consumed));
                }
                // Even with all input consumed there may be more output, whether the buffer was
                // full or not.
                if consumed_now + output == 0 {
                    return Ok(InflateProgress::More);
                }
            }
        })
    }
}
