//! Handles for what came before a request: the way to us, and the other requests of its trace.

use super::request_series::RequestSeries;
use prometheus::Histogram;
use std::sync::OnceLock;
use std::time::Duration;
use streamgauge_core::meter::RequestRecord;

/// Each comes to be when it is first needed.
#[derive(Debug, Default)]
pub(super) struct EdgeAndTraceHandles {
    edge_wait: OnceLock<Histogram>,
    trace_ttft: OnceLock<Histogram>,
}

impl RequestSeries {
    /// The request ended: what it waited before it reached us.
    pub(super) fn waited_before(&self, record: &RequestRecord) {
        if let Some(wait) = record.edge_wait_s {
            let new = || self.histogram(&self.families.edge_wait, []);
            self.before.edge_wait.get_or_init(new).observe(wait);
        }
    }

    /// The first output arrived, this long after the first request of the trace, which was another.
    pub fn trace_first_token(&self, after: Duration) {
        let new = || self.histogram(&self.families.trace_ttft, []);
        self.before.trace_ttft.get_or_init(new).observe(after.as_secs_f64());
    }
}
