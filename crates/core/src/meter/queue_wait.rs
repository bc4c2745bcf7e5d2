//! Wait of a request in the server's queue, from the most reliable source that is available.
//!
//! Example: vLLM reports `queue_time_ms` in its response, so the source is `reported`. A server that reports nothing gets
//! the estimate of [`queue`](super::queue).

use super::queue::{EstimateSource, WaitEstimate};
use super::tally::ResponseTally;
use crate::dialect::ServerTimings;
use crate::dialect::engine::Engine;
use std::time::Duration;
use strum::VariantArray;

/// Source of a queue wait, the most reliable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum QueueWaitSource {
    /// Reported by the server, or derived from the times that it reports.
    Reported,
    /// Time of the response headers, if the server sends them when a slot starts on the request.
    Header,
    /// [Estimated](super::queue) from the times at which requests arrive and finish: the turn that the slots of the server
    /// explain.
    Slots,
    /// Estimated without slots: the time to first output above that of a request that does not wait.
    Baseline,
    /// Estimated, and the server queues in a way that is not known. The wait is at least this long.
    LowerBound,
}

impl QueueWaitSource {
    /// Value of the label `source`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Header => "header",
            Self::Slots => "slots",
            Self::Baseline => "baseline",
            Self::LowerBound => "lower_bound",
        }
    }
}

impl From<EstimateSource> for QueueWaitSource {
    fn from(source: EstimateSource) -> Self {
        match source {
            EstimateSource::Slots => Self::Slots,
            EstimateSource::Baseline => Self::Baseline,
            EstimateSource::LowerBound => Self::LowerBound,
        }
    }
}

/// Wait in the server's queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueWait {
    /// Seconds, at least 0.
    pub seconds: f64,
    /// Source of the value.
    pub source: QueueWaitSource,
    /// Whether the value was negative and was set to 0.
    pub clamped: bool,
}

impl QueueWait {
    /// Selects the wait of a request from three sources, in seconds.
    ///
    /// `tally`: the response, with the times that the server reported. `header`: time until the response headers, if the
    /// server sends them when a slot starts on the request. `estimate`: the wait that was estimated.
    pub fn from_best_source(
        tally: Option<&ResponseTally>,
        header: Option<f64>,
        estimate: Option<WaitEstimate>,
    ) -> Option<Self> {
        Self::best(tally.and_then(|tally| timings(tally).queue), header, estimate)
    }

    /// Selects the first source that has a value, in seconds.
    fn best(
        reported: Option<f64>,
        header: Option<f64>,
        estimate: Option<WaitEstimate>,
    ) -> Option<Self> {
        let reported = reported.map(|seconds| (seconds, QueueWaitSource::Reported));
        let header = header.map(|seconds| (seconds, QueueWaitSource::Header));
        let estimated = estimate.map(|wait| (wait.seconds, wait.source.into()));
        let (seconds, source) = reported.or(header).or(estimated)?;
        Some(Self { seconds: seconds.max(0.0), source, clamped: seconds < 0.0 })
    }
}

/// Times that the server reports, with the queue wait derived for Ollama, which does not report it:
///
/// `total_duration - load_duration - prompt_eval_duration - (arrival of the last line - t_first)`
///
/// Decoding is measured on the wire, because `eval_duration` is 4 to 12 % too short. The result includes Ollama's request
/// handling, 1 to 9 ms on a warm server. It can be negative because of network jitter between the two arrivals.
pub(super) fn timings(tally: &ResponseTally) -> ServerTimings {
    let mut timings = tally.server_report().timings;
    if tally.engine == Some(Engine::Ollama)
        && let (Some(first), Some(end), Some(total)) =
            (tally.first_output, tally.total_time_reported_at(), timings.total)
    {
        let decode = end.saturating_sub(first.at);
        if !is_held_back(timings.decode, decode) {
            let [load, prefill] = [timings.load, timings.prefill].map(Option::unwrap_or_default);
            timings.queue = Some(total - load - prefill - decode.as_secs_f64());
        }
    }
    timings
}

/// Whether the server held back the first line, as Ollama does until a tool call is complete: decoding took longer than
/// its lines. The arrival of the first line is then not the time of the first token, so no wait can be derived.
///
/// `reported`: `eval_duration` in seconds. `on_wire`: time from the first to the last line.
fn is_held_back(reported: Option<f64>, on_wire: Duration) -> bool {
    // Network jitter between two arrivals, in seconds.
    const JITTER: f64 = 0.01;
    reported.is_some_and(|reported| reported > on_wire.as_secs_f64() + JITTER)
}

#[cfg(test)]
mod tests {
    use super::super::queue::QueueModel;
    use super::*;
    use crate::dialect::ollama;
    use crate::meter::{Arrival, ResponseMeter};

    #[test]
    fn the_most_reliable_source_is_used() {
        let estimate = WaitEstimate {
            seconds: 0.125,
            low: 0.1,
            high: 0.2,
            source: EstimateSource::Slots,
            model: QueueModel::Slots,
        };
        let best = |reported, header| {
            QueueWait::best(reported, header, Some(estimate))
                .map(|wait| (wait.source.label(), wait.seconds, wait.clamped))
        };
        assert_eq!(best(Some(0.5), Some(0.25)), Some(("reported", 0.5, false)));
        assert_eq!(best(Some(0.0), Some(0.25)), Some(("reported", 0.0, false)));
        assert_eq!(best(None, Some(0.25)), Some(("header", 0.25, false)));
        assert_eq!(best(None, Some(-0.25)), Some(("header", 0.0, true)));
        assert_eq!(best(None, None), Some(("slots", 0.125, false)));
        assert_eq!(QueueWait::best(None, None, None), None);
    }

    /// Queue wait of a recorded Ollama stream, with another total and other arrival times.
    fn ollama(total: u64, first: Duration, end: Duration) -> Option<f64> {
        let first_line =
            br#"{"model":"q","message":{"role":"assistant","content":"Hmm"},"done":false}"#;
        let last_line = format!(
            r#"{{"model":"q","message":{{"role":"assistant","content":""}},"done":true,"done_reason":"length","total_duration":{total},"load_duration":58436917,"prompt_eval_count":18,"prompt_eval_duration":17853083,"eval_count":64,"eval_duration":810829670}}"#
        );
        let mut meter = ResponseMeter::new(&ollama::CHAT, b"application/x-ndjson", b"").unwrap();
        for (read, at, line) in [(1, first, &first_line[..]), (2, end, last_line.as_bytes())] {
            let arrival = Arrival::on_time(at, read);
            meter.push(arrival, &[line, b"\n"].concat(), &mut |_| {});
        }
        timings(meter.tally()).queue
    }

    #[test]
    fn ollama_wait_is_the_total_minus_its_stages() {
        let (first, end) = (Duration::from_millis(78), Duration::from_micros(978_400));
        let idle = ollama(978_445_250, first, end).unwrap();
        assert!((idle - 0.001_755_25).abs() < 1e-9, "{idle}");
        let waited = ollama(2_978_445_250, first, end).unwrap();
        assert!((waited - 2.001_755_25).abs() < 1e-9, "{waited}");
        let late = ollama(978_445_250, first, end + Duration::from_millis(5)).unwrap();
        assert!((-0.004..-0.003).contains(&late), "{late}");
        assert_eq!(ollama(978_445_250, first * 5, end), None, "the first line was held back");
    }

    #[test]
    fn a_decode_time_longer_than_the_lines_means_held_back_output() {
        let on_wire = Duration::from_millis(100);
        assert!(!is_held_back(None, on_wire));
        assert!(!is_held_back(Some(0.088), on_wire), "as in most recordings");
        assert!(!is_held_back(Some(0.105), on_wire));
        assert!(is_held_back(Some(0.2), on_wire));
    }
}
