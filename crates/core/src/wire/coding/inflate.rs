//! The DEFLATE format (RFC 1951), alone or within zlib's (RFC 1950).

use super::window::{WindowBudget, WindowReservation};
use super::{CodingError, DecodedSink, with_scratch};
use flate2::{Decompress, FlushDecompress, Status};

/// Its window, always allocated whole.
const WINDOW: usize = 32 * 1024;

/// A decoder of one such stream after another.
#[derive(Debug)]
pub(in crate::wire) struct Inflater {
    inner: Decompress,
    _window: WindowReservation,
}

/// How far a push came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum InflateProgress {
    /// All bytes were taken, and there is more to come.
    More,
    /// The stream is over; this many bytes were of it.
    Over(usize),
}

impl Inflater {
    /// # Errors
    /// If the budget has no window left.
    pub(in crate::wire) fn new(
        zlib: bool,
        budget: &'static WindowBudget,
    ) -> Result<Self, CodingError> {
        let mut window = WindowReservation::new(budget);
        window.resize(WINDOW)?;
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
            let mut taken = 0;
            loop {
                let rest = bytes.get(taken..).unwrap_or_default();
                let (total_in, total_out) = (self.inner.total_in(), self.inner.total_out());
                let status = self
                    .inner
                    .decompress(rest, buffer, FlushDecompress::None)
                    .map_err(|_| CodingError::Malformed)?;
                let here = |total: u64, before: u64| usize::try_from(total - before).unwrap_or(0);
                let took = here(self.inner.total_in(), total_in);
                let gave = here(self.inner.total_out(), total_out);
                taken += took;
                if let Some(part) = buffer.get(..gave).filter(|part| !part.is_empty()) {
                    sink(part)?;
                }
                if status == Status::StreamEnd {
                    return Ok(InflateProgress::Over(taken));
                }
                // With all taken there may be more to give, whether the buffer was full or not.
                if took + gave == 0 {
                    return Ok(InflateProgress::More);
                }
            }
        })
    }
}
