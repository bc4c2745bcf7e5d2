//! The simulated server's own record of each request, against which measurements are checked.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthEnd {
    /// The last byte of the response was passed to hyper.
    Finished,
    /// The client closed the connection before that, or the server was shut down.
    Cancelled,
    /// The response is an error status: unknown model, full queue, loading, malformed request.
    Rejected,
    /// An error event in a stream: scripted, after some tokens (a 500 if not streamed), or a rejection by an API
    /// that has already sent its 200.
    Errored,
    /// Scripted: the connection was aborted after some tokens.
    Broken,
}

/// Values that a response reports and a client or proxy can read in it. Counts are summed if an API splits them.
/// Durations are in seconds. Only sent values are included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportedValues {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: Option<u32>,
    /// Generated tokens of all choices, reasoning included.
    pub output_tokens: Option<u32>,
    /// Tokens of the prompt that came from a cache.
    pub cached_tokens: Option<u32>,
    /// Tokens of reasoning among those generated.
    pub reasoning_tokens: Option<u32>,
    /// Wait for a slot.
    pub queue_s: Option<f64>,
    /// Wait for the model to load.
    pub load_s: Option<f64>,
    /// Time from the slot to the first token.
    pub prefill_s: Option<f64>,
    /// Time from the first to the last token.
    pub decode_s: Option<f64>,
    /// Time from the arrival to the first token.
    pub ttft_s: Option<f64>,
    /// Time from the arrival to the last token, or to the end.
    pub total_s: Option<f64>,
}

impl ReportedValues {
    /// Merges values reported later.
    pub(super) fn update(&mut self, later: &Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cached_tokens = later.cached_tokens.or(self.cached_tokens);
        self.reasoning_tokens = later.reasoning_tokens.or(self.reasoning_tokens);
        self.queue_s = later.queue_s.or(self.queue_s);
        self.load_s = later.load_s.or(self.load_s);
        self.prefill_s = later.prefill_s.or(self.prefill_s);
        self.decode_s = later.decode_s.or(self.decode_s);
        self.ttft_s = later.ttft_s.or(self.ttft_s);
        self.total_s = later.total_s.or(self.total_s);
    }
}

/// The true record of one request. Instants are seconds since [`SimServer::epoch`](super::SimServer::epoch)
/// on a monotonic clock. Durations are seconds. `None` means that it did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// The `x-request-id` header of the request.
    pub request_id: Option<String>,
    /// Path of the request.
    pub path: String,
    /// The dialect as in Streamgauge's request log; `None` if it has none.
    pub dialect: Option<String>,
    /// Requested model.
    pub model: String,
    /// Whether a stream was requested.
    pub stream: bool,
    /// HTTP status; `None` if the client disconnected before the response headers.
    pub status: Option<u16>,
    /// How it ended.
    pub end: TruthEnd,

    /// When the request headers were parsed.
    pub received: f64,
    /// When the first event with output was passed to hyper (not streamed: the whole response).
    pub first_sent: Option<f64>,
    /// When the last event with output was passed to hyper.
    pub last_sent: Option<f64>,
    /// When the request ended.
    pub ended: f64,

    /// `first_sent - received`; streams only.
    pub ttft_s: Option<f64>,
    /// `last_sent - received`.
    pub latency_s: Option<f64>,
    /// `(last_sent - first_sent) / (output_tokens - 1)`; streams of one choice with at least two tokens only.
    pub tpot_s: Option<f64>,

    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens sent for all choices, reasoning included: `usage.completion_tokens` if it finished.
    pub output_tokens: u32,
    /// Reasoning tokens among them.
    pub reasoning_tokens: u32,
    /// Tokens that the engine had generated when the request ended, sent or not.
    pub generated_tokens: u32,
    /// Sent events with output; 0 if not streamed. Events with token ids only do not count.
    pub output_events: u32,
    /// Sent characters (Unicode scalar values) of the answer.
    pub answer_chars: u64,
    /// Sent characters of reasoning.
    pub reasoning_chars: u64,
    /// Sent characters of tool-call arguments, as JSON, without the function's name.
    pub tool_chars: u64,
    /// Requested choices.
    pub choices: u32,
    /// Values that the response reported.
    pub reported: ReportedValues,

    /// Wait for a slot in the engine model.
    pub queue_s: Option<f64>,
    /// Wait for the model to load in the engine model; 0 if it was loaded.
    pub load_s: Option<f64>,
    /// When the engine model took a slot.
    pub model_started: Option<f64>,
    /// When the engine model had the first token. It is sent up to 1 ms later, the timer's granularity.
    pub model_first_token: Option<f64>,
    /// When the engine model had the last token.
    pub model_last_token: Option<f64>,
}

impl TruthRecord {
    /// Computes the values that follow from instants and counts.
    pub(super) fn derive(&mut self) {
        self.latency_s = self.last_sent.map(|last| last - self.received);
        if !self.stream {
            return;
        }
        self.ttft_s = self.first_sent.map(|first| first - self.received);
        if let (Some(first), Some(last)) = (self.first_sent, self.last_sent)
            && self.choices == 1
            && self.output_tokens >= 2
        {
            self.tpot_s = Some((last - first) / f64::from(self.output_tokens - 1));
        }
    }
}

/// Log of all records: a shared handle that is cheap to clone. A record is in the log before its last bytes are sent.
///
/// Keeps the latest [`TruthLog::CAPACITY`] records, so that a demo can run for weeks.
#[derive(Clone, Default)]
pub struct TruthLog(Arc<Mutex<TruthLogState>>);

#[derive(Default)]
struct TruthLogState {
    records: VecDeque<TruthRecord>,
    writer: Option<Box<dyn Write + Send>>,
    write_errors: u64,
}

impl TruthLog {
    /// Maximum number of records. Beyond it, the oldest are dropped.
    pub const CAPACITY: usize = 200_000;

    /// Removes and returns the records so far, in order of their end.
    pub fn take(&self) -> Vec<TruthRecord> {
        std::mem::take(&mut self.lock().records).into()
    }

    /// Returns the records so far, in order of their end.
    pub fn snapshot(&self) -> Vec<TruthRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// Also writes each future record as one line of JSON, flushed. Lines that cannot be written are lost and counted
    /// in [`write_errors`](Self::write_errors).
    pub fn write_to(&self, writer: impl Write + Send + 'static) {
        self.lock().writer = Some(Box::new(writer));
    }

    /// Number of lines that could not be written.
    pub fn write_errors(&self) -> u64 {
        self.lock().write_errors
    }

    pub(super) fn push(&self, record: TruthRecord) {
        let mut inner = self.lock();
        if let Some(writer) = &mut inner.writer
            && write_line(writer, &record).is_err()
        {
            inner.write_errors += 1;
        }
        if inner.records.len() >= Self::CAPACITY {
            inner.records.pop_front();
        }
        inner.records.push_back(record);
    }

    fn lock(&self) -> MutexGuard<'_, TruthLogState> {
        // Records are added as a whole, so a panic elsewhere cannot leave a partial one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_line(writer: &mut impl Write, record: &TruthRecord) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

impl TruthRecord {
    /// Record of a made-up streamed request with one choice, received at 1 s and sent from 2 s to 5 s, for tests.
    pub fn example() -> Self {
        Self {
            request_id: Some("r".into()),
            path: "/v1/chat/completions".into(),
            dialect: Some("openai-chat".into()),
            model: "m".into(),
            stream: true,
            status: Some(200),
            end: TruthEnd::Finished,
            received: 1.0,
            first_sent: Some(2.0),
            last_sent: Some(5.0),
            ended: 5.0,
            ttft_s: None,
            latency_s: None,
            tpot_s: None,
            prompt_tokens: 1,
            output_tokens: 4,
            reasoning_tokens: 0,
            generated_tokens: 4,
            output_events: 4,
            answer_chars: 9,
            reasoning_chars: 0,
            tool_chars: 0,
            choices: 1,
            reported: ReportedValues::default(),
            queue_s: Some(0.0),
            load_s: Some(0.0),
            model_started: None,
            model_first_token: None,
            model_last_token: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_durations_exist_only_where_they_are_defined() {
        type RecordEdit = fn(&mut TruthRecord);
        let table: [(&str, RecordEdit, [Option<f64>; 3]); 5] = [
            ("stream", |_| (), [Some(1.0), Some(4.0), Some(1.0)]),
            ("not streamed", |r| r.stream = false, [None, Some(4.0), None]),
            ("two choices", |r| r.choices = 2, [Some(1.0), Some(4.0), None]),
            ("one token", |r| r.output_tokens = 1, [Some(1.0), Some(4.0), None]),
            ("nothing sent", |r| (r.first_sent, r.last_sent) = (None, None), [None; 3]),
        ];
        for (name, change, expected) in table {
            let mut record = TruthRecord::example();
            change(&mut record);
            record.derive();
            assert_eq!([record.ttft_s, record.latency_s, record.tpot_s], expected, "{name}");
        }
    }

    #[test]
    fn lines_are_json_and_the_memory_is_bounded() {
        #[derive(Clone, Default)]
        struct SharedBuffer(Arc<Mutex<Vec<u8>>>);
        impl Write for SharedBuffer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (log, sink) = (TruthLog::default(), SharedBuffer::default());
        log.push(TruthRecord::example());
        log.write_to(sink.clone());
        log.push(TruthRecord::example());
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<TruthRecord> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [TruthRecord::example()], "only from write_to on");
        assert_eq!(log.take().len(), 2);
        assert!(log.snapshot().is_empty());
    }
}
