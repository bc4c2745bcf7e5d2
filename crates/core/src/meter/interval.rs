//! Intervals that can come out negative, though no wait is: they are the difference of two clocks, or of what
//! one of them told and what we saw.

use strum::VariantArray;

/// An interval that is told as 0 where it comes out negative, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum ClampedInterval {
    /// From the instant in a header to ours.
    EdgeWait,
    QueueWait,
}

impl ClampedInterval {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::EdgeWait => "edge_wait",
            Self::QueueWait => "queue_wait",
        }
    }
}
