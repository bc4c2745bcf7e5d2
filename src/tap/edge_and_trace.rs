//! Edge wait and trace of a request: its wait in a proxy before Streamgauge, and earlier requests of
//! the same trace.

use super::headers::{edge_wait, trace_id};
use super::{Tap, lock};
use hyper::header::HeaderMap;
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{ClampedInterval, RequestRecord, ResponseTally};
use streamgauge_core::wire::request_start::EdgeWait;

/// Edge wait and trace of a request, from its headers.
#[derive(Debug)]
pub(super) struct EdgeAndTrace {
    trace_id: Option<String>,
    /// When the first request of the trace arrived. `None` if this request is the first.
    pub trace_began: Option<Duration>,
    edge_wait: Option<EdgeWait>,
}

impl EdgeAndTrace {
    /// Reads the headers of a request that arrived at `start`, which is `time` since 1970. Returns `None` if they have
    /// neither a trace nor an edge wait. `trusts_start`: the headers with the start of the edge wait are trusted.
    pub fn read(
        tap: &Tap,
        trusts_start: bool,
        operation: Operation,
        headers: &HeaderMap,
        start: Duration,
        time: Duration,
    ) -> Option<Box<Self>> {
        let trace_id = trace_id(headers);
        // A realtime session is not a step of a pipeline: its user is present all the time.
        let is_step = operation.is_inference() && operation != Operation::Realtime;
        let joined = trace_id.as_deref().filter(|_| is_step);
        let trace_began = joined.and_then(|id| join_trace(tap, id, start));
        let is_trusted = trusts_start && operation.is_inference();
        let edge_wait = is_trusted.then(|| edge_wait(headers, time)).flatten();
        match edge_wait {
            Some(EdgeWait::Negative) => tap.series.count_clamped(ClampedInterval::EdgeWait),
            Some(EdgeWait::Unreadable) => tap.series.count_unparsed(UnparsedReason::RequestStart),
            Some(EdgeWait::Waited(_)) | None => {}
        }
        let is_present = trace_id.is_some() || edge_wait.is_some();
        is_present.then(|| Box::new(Self { trace_id, trace_began, edge_wait }))
    }

    /// Adds the trace and the edge wait to the record.
    pub fn add_to_record(self, tally: Option<&ResponseTally>, record: &mut RequestRecord) {
        record.trace_id = self.trace_id;
        match self.edge_wait {
            Some(EdgeWait::Waited(wait)) => record.edge_wait_s = Some(wait.as_secs_f64()),
            Some(EdgeWait::Negative) => record.edge_wait_s = Some(0.0),
            Some(EdgeWait::Unreadable) | None => {}
        }
        let first = tally.and_then(|tally| tally.first_output).zip(self.trace_began);
        record.trace_ttft_s =
            first.map(|(first, began)| first.at.saturating_sub(began).as_secs_f64());
    }
}

/// Adds a request to its trace. Returns when the first request of the trace arrived, if that was another one.
fn join_trace(tap: &Tap, trace: &str, at: Duration) -> Option<Duration> {
    let trace = u128::from_str_radix(trace, 16).ok()?;
    lock(&tap.traces).record_request(trace, at)
}
