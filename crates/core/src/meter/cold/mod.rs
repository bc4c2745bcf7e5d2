//! Detection of cold starts: times in which a request needed the server, or one of its models, and it was not ready.
//!
//! # Example
//!
//! A server is scaled to zero. A client sends a request at 100 s; the connection is refused. The detector schedules
//! probes. The server accepts connections from 130 s on, and a retry has its first output at 131 s.
//!
//! | at | call | effect |
//! |---|---|---|
//! | 100 s | [`on_request`], [`on_failure`] | a failure is suspected: [`probe_due`] returns a time |
//! | 100 s | [`on_probe_result`] (`Refused`) | a cold start has begun at 100 s, reason `unreachable` |
//! | 101 to 129 s | [`on_probe_result`] (`Refused`) | the next probe is scheduled |
//! | 130 s | [`on_probe_result`] (`Ready`) | the port is open; the cold start is over once this is confirmed |
//! | 131 s | [`on_first_output`] | returns the cold start, which began at 100 s and ended at 130 s |
//!
//! If a request had waited on an open connection from before 130 s on, the cold start would end with its first output.
//!
//! # Rules
//!
//! A cold start begins with the first request that met the server not ready; for reason `boot`, with the start of
//! Streamgauge. It ends with the first output after that, or when the server is ready if no request waits then. It is
//! returned exactly once, when it ends.
//!
//! # Files
//!
//! | file | content |
//! |---|---|
//! | `detector` | [`ColdStartDetector`]: the detector of one upstream |
//! | `server` | whether the server accepts connections. A failed request only raises a suspicion, which a probe confirms or not: an overloaded server drops connections too |
//! | `model` | whether a model was loaded: it reported so, it reported a load time, or it was slow after an idle time |
//! | `requests_in_flight` | which requests had the server for themselves |
//! | `slow_start` | which of them were so slow that their model must have been loaded |
//! | `lone_times` | how slow a warm request can be |
//! | `load_times` | which reported load times are loads |
//! | `suspected_failure` | failed requests whose cause is not known yet |
//! | `restart` | restarts, shown by the start time of the server's process |
//! | `unready_period` | a time in which the server is not ready |
//! | `types` | inputs and results |
//!
//! [`on_request`]: ColdStartDetector::on_request
//! [`on_failure`]: ColdStartDetector::on_failure
//! [`on_probe_result`]: ColdStartDetector::on_probe_result
//! [`on_first_output`]: ColdStartDetector::on_first_output
//! [`probe_due`]: ColdStartDetector::probe_due

mod detector;
mod load_times;
mod lone_times;
mod model;
mod requests_in_flight;
mod restart;
mod server;
mod slow_start;
mod suspected_failure;
#[cfg(test)]
mod tests;
mod types;
mod unready_period;

pub use detector::ColdStartDetector;
pub use restart::ProcessTimes;
pub use types::{
    BootTimes, ColdConfidence, ColdReason, ColdStart, ColdStartConfig, ColdVerdict, FailureSign,
    FirstOutput, ProbeResult, ReportedTimes, RequestId,
};
