//! What came before a request: the way to us, and the other requests of its trace.

use super::headers::{edge_wait, trace_id};
use super::{Tap, lock};
use hyper::header::HeaderMap;
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{ClampedInterval, RequestRecord, ResponseTally};
use streamgauge_core::wire::request_start::EdgeWait;

/// What the head of a request tells of it.
#[derive(Debug)]
pub(super) struct EdgeAndTrace {
    trace_id: Option<String>,
    /// When the first request of the trace arrived, if that was another.
    pub trace_began: Option<Duration>,
    edge_wait: Option<EdgeWait>,
}

impl EdgeAndTrace {
    /// Of a request that arrived at `start`, which is `time` since 1970; the heads of most tell nothing.
    pub fn of(
        tap: &Tap,
        operation: Operation,
        headers: &HeaderMap,
        start: Duration,
        time: Duration,
    ) -> Option<Box<Self>> {
        let trace_id = trace_id(headers);
        // A session is no call of a pipeline: its user is there all the time.
        let is_call = operation.is_inference() && operation != Operation::Realtime;
        let joined = trace_id.as_deref().filter(|_| is_call);
        let trace_began = joined.and_then(|id| join(tap, id, start));
        let is_trusted = tap.config.trust_request_start && operation.is_inference();
        let edge_wait = is_trusted.then(|| edge_wait(headers, time)).flatten();
        match edge_wait {
            Some(EdgeWait::Negative) => tap.series.clamped(ClampedInterval::EdgeWait),
            Some(EdgeWait::Unreadable) => tap.series.unparsed(UnparsedReason::RequestStart),
            Some(EdgeWait::Waited(_)) | None => {}
        }
        let is_told = trace_id.is_some() || edge_wait.is_some();
        is_told.then(|| Box::new(Self { trace_id, trace_began, edge_wait }))
    }

    /// Fills in what it is in the request log.
    pub fn record(self, tally: Option<&ResponseTally>, record: &mut RequestRecord) {
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

/// A request of this trace arrived: when the first one did, if that was another.
fn join(tap: &Tap, trace: &str, at: Duration) -> Option<Duration> {
    let trace = u128::from_str_radix(trace, 16).ok()?;
    lock(&tap.traces).record_request(trace, at)
}
