//! Intervals that can come out negative and are then set to 0 and counted.

use strum::VariantArray;

/// Interval between instants of two clocks, or of one clock and a time that another program reports.
///
/// The difference can be negative, because the clocks differ or the network jitters. It is then exported as 0 and counted in
/// `streamgauge_clamped_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum ClampedInterval {
    /// From the instant in a gateway's header to the arrival of the request here.
    EdgeWait,
    /// Wait in the server's queue.
    QueueWait,
}

impl ClampedInterval {
    /// Value of the label `interval`.
    pub fn label(self) -> &'static str {
        match self {
            Self::EdgeWait => "edge_wait",
            Self::QueueWait => "queue_wait",
        }
    }
}
