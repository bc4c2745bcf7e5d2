//! Types of `GET /live`: what the last ten minutes looked like, and what runs now.
//!
//! Names that end in `_s` are in seconds, and names that end in `_per_s` are rates per second. Instants are seconds since
//! 1970. A value that is unknown or does not apply is `None` (JSON: `null`), never 0. The types can be read back, so that a
//! client of the admin port uses the same ones. Definitions: `docs/page.md`.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Number of points in each series, and of columns in the heatmap.
pub const POINTS: usize = 60;
/// Time between two points in seconds.
pub const STEP_S: u32 = 10;
/// Most running requests in a snapshot.
pub const MAX_RUNNING: usize = 100;
/// Most ended requests in a snapshot.
pub const MAX_NEWEST: usize = 50;

/// The state of the process at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveSnapshot {
    /// Version of Streamgauge.
    pub version: String,
    /// Instant of the snapshot.
    pub now: f64,
    /// Start of Streamgauge.
    pub started_at: f64,
    /// Time between two points of a series: 10 s. A series has 60 points, so it covers ten minutes.
    pub step_s: u32,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<UpstreamState>,
    /// All inference requests.
    pub total: TrafficRow,
    /// The inference requests of each upstream and model, most requests first.
    pub models: Vec<TrafficRow>,
    /// TTFT of all streams.
    pub ttft_heatmap: TtftHeatmap,
    /// Events, newest first.
    pub events: Vec<LiveEvent>,
    /// Requests in flight.
    pub running: RunningRequests,
    /// Ended inference requests, newest first; at most 50.
    pub newest: Vec<EndedRow>,
    /// Streamgauge itself.
    pub own: OwnState,
}

/// Whether an upstream answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// The last probe or request found it ready.
    Up,
    /// The last probe or request did not find it ready.
    Down,
    /// No probe or request has shown it.
    #[default]
    Unknown,
}

/// State of one upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamState {
    /// Name: the label `upstream`.
    pub name: Arc<str>,
    /// Engine or vendor, as configured or detected.
    pub engine: Option<Arc<str>>,
    /// Whether it answers.
    pub state: Reachability,
    /// Since when `state` has its value.
    pub since: f64,
    /// Clients need it: an inference request was in flight in the last ten minutes; while it is down, not longer than 5 s
    /// before that. A server that is down and not needed may have been scaled to zero.
    pub is_needed: bool,
    /// Time for which output is due and none comes, if that is unusual: the engine hangs. Always `None` while it is down.
    pub stuck_s: Option<f64>,
    /// Why no connection can be opened, such as `connection refused`. `None` while connections can be opened.
    pub last_cause: Option<String>,
    /// Requests in flight by phase.
    pub in_flight: PhaseCounts,
    /// Expected queue wait of a request that arrives now: the longest of its models.
    pub estimated_wait_s: Option<f64>,
}

/// Number of requests in flight by phase, inference or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseCounts {
    /// The request body is being sent.
    pub sending: u64,
    /// Sent; no output has arrived.
    pub waiting: u64,
    /// Output arrives.
    pub streaming: u64,
}

/// Numbers of the inference requests to one upstream and model, or of all of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// Name of the upstream. `None` in the row of all requests.
    pub upstream: Option<Arc<str>>,
    /// Value of the label `gen_ai_request_model`. `None` in the row of all requests.
    pub model: Option<Arc<str>>,
    /// Current values.
    pub now: TrafficNow,
    /// One point for each step.
    pub series: TrafficSeries,
    /// Requests that ended in the last ten minutes.
    pub requests: u64,
    /// Those of them that failed: outcomes of class error, as in `docs/definitions.md`.
    pub errors: u64,
    /// Cold starts that ended in the last ten minutes.
    pub cold_starts: u64,
    /// Requests or prompts that the server processes at once, as inferred.
    pub slots: Option<f64>,
    /// Goodput of each SLO class, over the last ten minutes.
    pub slo: Vec<SloState>,
    /// Latencies of some requests are missing: more ended within a second than the history reads.
    pub is_sampled: bool,
}

/// Current values: rates over the last ten seconds, quantiles and goodput over the last minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficNow {
    /// Requests that ended, per second.
    pub requests_per_s: Option<f64>,
    /// Failed requests per second.
    pub errors_per_s: Option<f64>,
    /// Median TTFT of warm streams.
    pub ttft_p50_s: Option<f64>,
    /// 95th percentile of TTFT of warm streams.
    pub ttft_p95_s: Option<f64>,
    /// Median time per output token of warm streams.
    pub tpot_p50_s: Option<f64>,
    /// Output tokens per second.
    pub output_tokens_per_s: Option<f64>,
    /// 95th percentile of the wait in the server's queue.
    pub queue_wait_p95_s: Option<f64>,
    /// Source of most of these waits: `reported`, `header`, `slots`, `baseline` or `lower_bound`.
    pub queue_source: Option<String>,
    /// Share of requests that met their SLO, 0 to 1. With several classes: of the class with the lowest share.
    pub goodput: Option<f64>,
}

/// One point per step, oldest first. The last point is the current, incomplete step. `None`: no sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficSeries {
    /// Requests that ended, per second.
    pub requests_per_s: Vec<Option<f64>>,
    /// Failed requests per second.
    pub errors_per_s: Vec<Option<f64>>,
    /// Median TTFT of warm streams.
    pub ttft_p50_s: Vec<Option<f64>>,
    /// 95th percentile of TTFT of warm streams.
    pub ttft_p95_s: Vec<Option<f64>>,
    /// Median time per output token of warm streams.
    pub tpot_p50_s: Vec<Option<f64>>,
    /// Output tokens per second.
    pub output_tokens_per_s: Vec<Option<f64>>,
    /// 95th percentile of the wait in the server's queue.
    pub queue_wait_p95_s: Vec<Option<f64>>,
    /// Cold starts that ended.
    pub cold_starts: Vec<Option<f64>>,
    /// Share of requests that met their SLO.
    pub goodput: Vec<Option<f64>>,
}

/// Goodput of one SLO class over the last ten minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SloState {
    /// Name of the class: the label `slo`.
    pub name: Arc<str>,
    /// Requests that met it.
    pub met: u64,
    /// Requests that missed it.
    pub missed: u64,
    /// Share that met it, 0 to 1. `None` without a request.
    pub goodput: Option<f64>,
    /// The objective that the error budget is of: the share of requests that should meet the class.
    pub objective: f64,
    /// Share of the error budget of these ten minutes that is left: 1 if no request missed, 0 if the budget is used up,
    /// negative beyond that. `None` without a request.
    pub budget_left: Option<f64>,
}

/// Warm TTFT by time and length, with cold requests as points.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TtftHeatmap {
    /// Upper edges of the rows, ascending. A last row without edge has all above.
    pub edges_s: Vec<f64>,
    /// One column for each step, oldest first. Each has one count per row, the fastest first; empty if the step has no
    /// sample.
    pub columns: Vec<Vec<u32>>,
    /// Requests that waited for a cold start, oldest first.
    pub cold: Vec<ColdPoint>,
}

/// A request that waited for a cold start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColdPoint {
    /// Instant of its first output.
    pub at: f64,
    /// Time to its first output.
    pub ttft_s: f64,
    /// Cause of the cold start: the label `reason`.
    pub reason: String,
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Value of the label `gen_ai_request_model`.
    pub model: Arc<str>,
}

/// Kind of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveEventKind {
    /// A cold start ended.
    #[default]
    ColdStart,
    /// The upstream stopped answering. Its `count` is 0 if no client needed it.
    Down,
    /// The upstream answers again.
    Up,
    /// The server generated nothing, although output was due and it accepted connections.
    Hang,
    /// Streams had no output for too long.
    Stall,
    /// The server rejected requests.
    Rejections,
    /// Requests failed.
    Failures,
    /// The configuration was reloaded.
    Reload,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveEvent {
    /// Instant at which it began, or was found.
    pub at: f64,
    /// Kind of the event.
    pub kind: LiveEventKind,
    /// Name of the upstream. `None` for an event of the whole process.
    pub upstream: Option<Arc<str>>,
    /// Value of the label `gen_ai_request_model`, where it concerns one model.
    pub model: Option<Arc<str>>,
    /// How long it took, or lasts so far.
    pub duration_s: Option<f64>,
    /// Number of requests or streams concerned.
    pub count: Option<u64>,
    /// One sentence for people, without the time, upstream and model.
    pub text: String,
}

/// Requests in flight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningRequests {
    /// Number of requests in flight.
    pub total: u64,
    /// The oldest of them, oldest first; at most 100.
    pub oldest: Vec<RunningRequest>,
}

/// Phase of a running request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunningPhase {
    /// The request body is being sent.
    #[default]
    Sending,
    /// Sent; no output has arrived.
    Waiting,
    /// Output arrives.
    Streaming,
}

/// A request in flight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningRequest {
    /// Number of the request, as later in the request log: 16 hexadecimal digits.
    pub id: String,
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Model named in the request. `None` while unknown.
    pub model: Option<Arc<str>>,
    /// Operation: the label `gen_ai_operation_name`.
    pub operation: String,
    /// Time since the request arrived.
    pub age_s: f64,
    /// Phase of the request.
    pub phase: RunningPhase,
    /// Output events so far, of streams with output.
    pub output_events: Option<u64>,
    /// Time since the newest output, of streams with output. Time in which the client accepts no bytes is excluded.
    pub silence_s: Option<f64>,
}

/// An ended inference request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EndedRow {
    /// Number of the request in the request log: 16 hexadecimal digits.
    pub id: String,
    /// Instant at which it ended.
    pub ended_at: f64,
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Value of the label `gen_ai_request_model`.
    pub model: Arc<str>,
    /// Operation: the label `gen_ai_operation_name`.
    pub operation: String,
    /// Status that the client received.
    pub status: Option<u16>,
    /// Outcome: the label `outcome`.
    pub outcome: String,
    /// Whether the outcome counts as failed.
    pub is_error: bool,
    /// Whether it waited for a cold start. `None` without output.
    pub cold: Option<bool>,
    /// Time to first token.
    pub ttft_s: Option<f64>,
    /// Time per output token.
    pub tpot_s: Option<f64>,
    /// Time from its arrival to its end.
    pub duration_s: f64,
    /// Wait in the server's queue.
    pub queue_s: Option<f64>,
    /// Input tokens.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// Whether it met every SLO class that applies. `None` if none does.
    pub is_good: Option<bool>,
}

/// How well Streamgauge itself does. Shares cover the last ten minutes. Counts begin with the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnState {
    /// Median delay from read to completed write of a frame, over the last minute.
    pub forwarding_p50_s: Option<f64>,
    /// 99th percentile of the same.
    pub forwarding_p99_s: Option<f64>,
    /// Share of successful requests whose output tokens the server reported, 0 to 1.
    pub usage_coverage: Option<f64>,
    /// Events or bodies that could not be parsed.
    pub unparsed: u64,
    /// Lines of both logs that were dropped.
    pub dropped_lines: u64,
    /// Share of requests with a number that a delay of this process may have affected, 0 to 1.
    pub degraded: Option<f64>,
}
