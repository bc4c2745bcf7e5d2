//! Inputs and results of the detector.

use super::super::queue::ExpectedTtft;
use std::time::Duration;
use strum::VariantArray;

/// Settings of the detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColdStartConfig {
    /// After this time without a request in flight, the next request may find its model unloaded.
    pub idle: Duration,
    /// A server that is away for longer than this has an outage, which is not a cold start.
    pub outage: Duration,
    /// Probes send a request to a health path, so a successful one shows that the server is ready. Otherwise they only
    /// connect, or request the metrics page, which some servers have before they are ready.
    pub has_health: bool,
    /// The server's metrics page is read, for the start time of its process.
    pub has_metrics_page: bool,
}

/// Reason of a cold start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum ColdReason {
    /// The server has not been ready since Streamgauge started.
    Boot,
    /// The server refused connections soon after it broke some, or its metrics page shows a new process.
    Restarted,
    /// The server refused connections without breaking any: it was scaled to zero and back.
    Unreachable,
    /// The server reported that it loads the model.
    Loading,
    /// The response reported a load time, and it was longer than that of a loaded model.
    ReportedLoad,
    /// The first request after an idle time took far longer than usual for its model.
    Idle,
    /// A request for another model than the last one took far longer than usual for its model.
    Swapped,
}

/// How sure it is that a cold start took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdConfidence {
    /// The server reported it, or refused connections.
    Certain,
    /// Only the time that a request took shows it. Traffic that does not pass through Streamgauge can look the same.
    Likely,
}

impl ColdConfidence {
    /// Value of `cold_confidence` in the request log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
        }
    }
}

impl ColdReason {
    /// Value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Restarted => "restarted",
            Self::Unreachable => "unreachable",
            Self::Loading => "loading",
            Self::ReportedLoad => "reported_load",
            Self::Idle => "idle",
            Self::Swapped => "swapped",
        }
    }

    /// How sure a cold start with this reason is.
    pub fn confidence(self) -> ColdConfidence {
        match self {
            Self::Boot
            | Self::Restarted
            | Self::Unreachable
            | Self::Loading
            | Self::ReportedLoad => ColdConfidence::Certain,
            Self::Idle | Self::Swapped => ColdConfidence::Likely,
        }
    }
}

/// A cold start that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdStart {
    /// Why the server or model was not ready.
    pub reason: ColdReason,
    /// Model whose output ended the cold start; `None` if it ended without output.
    pub model: Option<String>,
    /// Start; `None` for a restart that no request met, which only the metrics page shows.
    pub began: Option<Duration>,
    /// End.
    pub ended: Duration,
}

impl ColdStart {
    /// Length of the cold start; `None` if its start is unknown.
    pub fn duration(&self) -> Option<Duration> {
        self.began.map(|began| self.ended.saturating_sub(began))
    }
}

/// The latest cold start, to find the other requests that waited for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastColdStart {
    pub reason: ColdReason,
    /// When the server was last known not to be ready. Later requests may have found it ready.
    pub last_unready: Duration,
    pub ended: Duration,
}

impl LastColdStart {
    /// The reason, if a request that arrived at `arrived` and had output at `first_output` waited for this cold start.
    pub fn delayed(self, arrived: Duration, first_output: Duration) -> Option<ColdReason> {
        let Self { reason, last_unready, ended } = self;
        (arrived <= last_unready && arrived < ended && first_output >= ended).then_some(reason)
    }
}

/// An inference request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    pub(super) id: u64,
    /// Arrival of the request (`t_req`).
    pub(super) arrived: Duration,
    /// Time without a request in flight before this one; `None` if another one was in flight.
    pub(super) idle: Option<Duration>,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureSign {
    /// The connection was refused, or could not be opened for another reason.
    NotConnected,
    /// No connection was opened in time.
    TimedOut,
    /// The server closed a connection with a request or response in progress.
    Broken,
    /// The server responded that it loads.
    Loading,
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// The server accepts connections, and its health path, if configured, reports that it is ready.
    Ready,
    /// The server accepts connections, and its health path reports that it is not ready (503).
    NotReady,
    /// The server accepts connections, but it is unclear whether it is ready: its health path returned another status, or
    /// it did not speak HTTP or TLS.
    Unclear,
    /// The connection was refused.
    Refused,
    /// No response in time: the server may be busy, or away.
    TimedOut,
}

/// Stages of a boot, as times since the start of Streamgauge. All `None` if the server was ready before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootTimes {
    /// The port was open.
    pub port_open: Option<Duration>,
    /// The health path reported that the server is ready; `None` without a health path.
    pub healthy: Option<Duration>,
    /// First output of a request.
    pub first_token: Option<Duration>,
}

/// First output of a request.
#[derive(Debug, Clone, Copy)]
pub struct FirstOutput<'a> {
    /// Arrival of the output.
    pub at: Duration,
    /// Model named in the request; empty if none was.
    pub model: &'a str,
    /// When the request was completely sent; `None` if unknown.
    pub sent: Option<Duration>,
    /// Size of the request body.
    pub bytes: u64,
    /// The response is a stream. Otherwise the output is the first byte of the body.
    pub is_stream: bool,
    /// Expected TTFT of a warm request; `None` without a baseline, or if the response is not a stream.
    pub expected: Option<ExpectedTtft>,
    /// The end of the response can report a load time. The decision then waits for
    /// [`on_response_end`](super::ColdStartDetector::on_response_end).
    pub reports_load: bool,
}

/// Facts from the end of a response. Times are in seconds.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReportedTimes {
    /// Time for which the model was loaded.
    pub load: Option<f64>,
    /// Time for which the prompt was processed.
    pub prefill: Option<f64>,
    /// Time for which the output was generated.
    pub decode: Option<f64>,
    /// Time per output token of a stream (TPOT).
    pub per_token: Option<f64>,
    /// Number of output tokens.
    pub output_tokens: Option<u64>,
}

/// Result of a call of the detector for one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ColdVerdict {
    /// Whether the request waited for a cold start is decided at the [end](super::ColdStartDetector::on_response_end) of
    /// its response.
    pub needs_end: bool,
    /// Reason of the cold start that the request waited for, if any.
    pub reason: Option<ColdReason>,
    /// Cold start that this call has shown to be over.
    pub ended: Option<ColdStart>,
}
