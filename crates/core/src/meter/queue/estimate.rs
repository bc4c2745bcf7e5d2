//! Results of the estimator: waits with their intervals, and the model of the server.

use strum::VariantArray;

/// Model of the way in which a server queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum QueueModel {
    /// A number of slots, first come, first served.
    Slots,
    /// No model explains the observations, or too few requests have waited to find one.
    Unknown,
}

impl QueueModel {
    /// Value of the label `model`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Slots => "slots",
            Self::Unknown => "unknown",
        }
    }
}

/// Source of an estimated wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EstimateSource {
    /// The turn of the request, from the slots of the server.
    Slots,
    /// The time to first output above that of a request that does not wait.
    Baseline,
    /// No model explains the server. The value is the part of the time to first output that is certainly a wait.
    LowerBound,
}

/// Estimated wait of a request, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WaitEstimate {
    /// Expected wait. It is a lower bound if the source is [`EstimateSource::LowerBound`].
    pub seconds: f64,
    /// Lower end of the interval that holds the true wait of nine in ten requests.
    pub low: f64,
    /// Upper end of this interval.
    pub high: f64,
    /// Source of the estimate.
    pub source: EstimateSource,
    /// Model of the server at the end of the request.
    pub model: QueueModel,
}

/// Expected wait of a new request, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectedWait {
    /// Expected wait.
    pub seconds: f64,
    /// Lower end of the interval. It is never less than the wait that the requests in flight show.
    pub low: f64,
    /// Upper end of the interval. `None` if no model explains the server.
    pub high: Option<f64>,
}

/// How well the slots that explain a server best do so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitQuality {
    /// Requests with output before their turn, as a part of those that had to wait.
    pub contradicted_ratio: f64,
    /// Time to first output that neither the wait nor the prompt explains, as a part of the time to first output, over
    /// the requests that had to wait.
    pub error_ratio: f64,
}
