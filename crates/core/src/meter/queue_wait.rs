//! How long a request waited in the server's queue, by the best source that there is.

use super::tally::ResponseTally;
use crate::dialect::ServerTimings;
use crate::dialect::engine::Engine;
use std::time::Duration;
use strum::VariantArray;

/// Where a queue wait comes from, in this order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum QueueWaitSource {
    /// The server's own word, or what the times that it tells leave.
    Reported,
    /// When the head came, of a server that sends it when a slot takes the request.
    Header,
    /// [Learned](super::queue) from when requests come and go.
    Estimated,
}

impl QueueWaitSource {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Header => "header",
            Self::Estimated => "estimated",
        }
    }
}

/// A wait in the server's queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueWait {
    pub seconds: f64,
    pub source: QueueWaitSource,
    /// It came out negative, and is told as 0.
    pub clamped: bool,
}

impl QueueWait {
    /// The wait of a request whose response told this, whose head came after `header` seconds in a queue, if that
    /// is what it came after, and which is estimated to have waited for so many seconds.
    pub fn from_best_source(
        tally: Option<&ResponseTally>,
        header: Option<f64>,
        estimate: Option<f64>,
    ) -> Option<Self> {
        Self::best(tally.and_then(|tally| timings(tally).queue), header, estimate)
    }

    /// The best of what is known, in seconds: each source that knows the wait beats those after it.
    fn best(reported: Option<f64>, header: Option<f64>, estimate: Option<f64>) -> Option<Self> {
        let reported = reported.map(|seconds| (seconds, QueueWaitSource::Reported));
        let header = header.map(|seconds| (seconds, QueueWaitSource::Header));
        let estimated = estimate.map(|seconds| (seconds, QueueWaitSource::Estimated));
        let (seconds, source) = reported.or(header).or(estimated)?;
        Some(Self { seconds: seconds.max(0.0), source, clamped: seconds < 0.0 })
    }
}

/// The server's word for its stages. Ollama's wait for a slot is in no field but its total:
///
/// `total - load - prefill - (the last line's arrival - t_first)`
///
/// The rest is what its handler does beside, 1 to 9 ms when warm. It tells how long decoding took too, but
/// less than it does, by 4 to 12 %, so its end is taken from the wire. May be negative, by what the network
/// did to the two arrivals.
pub(super) fn timings(tally: &ResponseTally) -> ServerTimings {
    let mut timings = tally.told().timings;
    if tally.engine == Some(Engine::Ollama)
        && let (Some(first), Some(end), Some(total)) =
            (tally.first_output, tally.timed(), timings.total)
    {
        let decode = end.saturating_sub(first.at);
        if !is_held_back(timings.decode, decode) {
            let [load, prefill] = [timings.load, timings.prefill].map(Option::unwrap_or_default);
            timings.queue = Some(total - load - prefill - decode.as_secs_f64());
        }
    }
    timings
}

/// Whether the first line came long after the first token, as where a tool call is held back until it is
/// whole: decoding took longer than its lines. Nobody knows how much longer, so there is nothing to tell.
fn is_held_back(told: Option<f64>, seen: Duration) -> bool {
    // What the network may do to two arrivals.
    const SLACK: f64 = 0.01;
    told.is_some_and(|told| told > seen.as_secs_f64() + SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::ollama;
    use crate::meter::{Arrival, ResponseMeter};

    #[test]
    fn the_more_trusted_source_is_told() {
        let best = |reported, header| {
            QueueWait::best(reported, header, Some(0.125))
                .map(|wait| (wait.source.label(), wait.seconds, wait.clamped))
        };
        assert_eq!(best(Some(0.5), Some(0.25)), Some(("reported", 0.5, false)));
        assert_eq!(best(Some(0.0), Some(0.25)), Some(("reported", 0.0, false)));
        assert_eq!(best(None, Some(0.25)), Some(("header", 0.25, false)));
        assert_eq!(best(None, Some(-0.25)), Some(("header", 0.0, true)));
        assert_eq!(best(None, None), Some(("estimated", 0.125, false)));
        assert_eq!(QueueWait::best(None, None, None), None);
    }

    /// A stream of Ollama's as it was recorded, but for the total, and for when its lines arrived.
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
    fn what_ollama_leaves() {
        let (first, end) = (Duration::from_millis(78), Duration::from_micros(978_400));
        let idle = ollama(978_445_250, first, end).unwrap();
        assert!((idle - 0.001_755_25).abs() < 1e-9, "{idle}");
        let waited = ollama(2_978_445_250, first, end).unwrap();
        assert!((waited - 2.001_755_25).abs() < 1e-9, "{waited}");
        let late = ollama(978_445_250, first, end + Duration::from_millis(5)).unwrap();
        assert!((-0.004..-0.003).contains(&late), "{late}");
        assert_eq!(ollama(978_445_250, first * 5, end), None, "its first line came late");
    }

    #[test]
    fn decoding_that_took_longer_than_its_lines_was_held_back() {
        let seen = Duration::from_millis(100);
        assert!(!is_held_back(None, seen));
        assert!(!is_held_back(Some(0.088), seen), "as in most recordings");
        assert!(!is_held_back(Some(0.105), seen));
        assert!(is_held_back(Some(0.2), seen));
    }
}
