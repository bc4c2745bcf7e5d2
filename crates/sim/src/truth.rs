//! The sender's own record of each request: what the gauge's numbers are held against.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthEnd {
    /// The last byte of the answer was handed to the HTTP layer.
    Finished,
    /// The peer closed the connection before that, or the server was shut down.
    Cancelled,
    /// Answered with an error status instead of output: unknown model, full queue, loading, malformed.
    Rejected,
    /// An error event in a stream: scripted, after some tokens (a 500, if not streamed), or a refusal by an API
    /// that has its 200 out by then.
    Errored,
    /// Scripted: the connection was broken off after some tokens.
    Broken,
}

/// What a response tells of itself: what a client, or a proxy, could read in it. Counts are put together where
/// an API splits them, and durations are in seconds, whatever the API's unit. Only what has been sent counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportedValues {
    /// VllmTokens of the prompt, cached ones included.
    pub input_tokens: Option<u32>,
    /// VllmTokens generated, of all choices, reasoning included.
    pub output_tokens: Option<u32>,
    /// VllmTokens of the prompt that came from a cache.
    pub cached_tokens: Option<u32>,
    /// VllmTokens of reasoning among those generated.
    pub reasoning_tokens: Option<u32>,
    /// Wait for a slot.
    pub queue_s: Option<f64>,
    /// Wait for the model to load.
    pub load_s: Option<f64>,
    /// From the slot to the first token.
    pub prefill_s: Option<f64>,
    /// From the first token to the last.
    pub decode_s: Option<f64>,
    /// From the arrival to the first token.
    pub ttft_s: Option<f64>,
    /// From the arrival to the last token, or to the end.
    pub total_s: Option<f64>,
}

impl ReportedValues {
    /// Takes over what `later` tells.
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

/// One request as the server lived it. Instants are seconds since [`SimServer::epoch`](super::SimServer::epoch)
/// on a monotonic clock; durations are seconds; absent means that it did not happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// The `x-request-id` header of the request.
    pub request_id: Option<String>,
    /// Path of the request.
    pub path: String,
    /// The API, by the name that the gauge's request log has for it; absent if it has none.
    pub dialect: Option<String>,
    /// Model asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// HTTP status; absent if the peer left before there was a head to send.
    pub status: Option<u16>,
    /// How it ended.
    pub end: TruthEnd,

    /// The head of the request was parsed.
    pub received: f64,
    /// The first event with output was handed to the HTTP layer (not streamed: the whole answer).
    pub first_sent: Option<f64>,
    /// The last event with output was handed to the HTTP layer.
    pub last_sent: Option<f64>,
    /// It ended, in whichever way.
    pub ended: f64,

    /// `first_sent - received`; streams only.
    pub ttft_s: Option<f64>,
    /// `last_sent - received`.
    pub latency_s: Option<f64>,
    /// `(last_sent - first_sent) / (output_tokens - 1)`; streams of one choice with at least two tokens only.
    pub tpot_s: Option<f64>,

    /// VllmTokens of the prompt.
    pub prompt_tokens: u32,
    /// VllmTokens sent, of all choices, reasoning included: `usage.completion_tokens` if it finished.
    pub output_tokens: u32,
    /// VllmTokens of reasoning among them.
    pub reasoning_tokens: u32,
    /// VllmTokens that the model had made when the request ended, sent or not.
    pub generated_tokens: u32,
    /// Events with output that were sent; 0 if not streamed. An event with nothing but token ids is none.
    pub output_events: u32,
    /// Characters (Unicode scalar values) of answer sent.
    pub answer_chars: u64,
    /// Characters of reasoning sent.
    pub reasoning_chars: u64,
    /// Characters of a tool call's arguments sent, as JSON; its name is no text.
    pub tool_chars: u64,
    /// Choices asked for.
    pub choices: u32,
    /// What the answer told of itself.
    pub reported: ReportedValues,

    /// Wait for a slot, by the model.
    pub queue_s: Option<f64>,
    /// Wait for the model to load, by the model; 0 if it was loaded.
    pub load_s: Option<f64>,
    /// Slot taken, by the model.
    pub model_started: Option<f64>,
    /// First token ready, by the model; it is sent a little later, by the timer's granularity of 1 ms.
    pub model_first_token: Option<f64>,
    /// UsageChunk token ready, by the model.
    pub model_last_token: Option<f64>,
}

impl TruthRecord {
    /// Fills in what follows from the instants and counts.
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

/// Where the records go: a shared handle, cheap to clone. A request is in the log before its last bytes leave.
///
/// It keeps the latest [`TruthLog::CAPACITY`] records, so that a demo may run for weeks.
#[derive(Clone, Default)]
pub struct TruthLog(Arc<Mutex<TruthLogState>>);

#[derive(Default)]
struct TruthLogState {
    records: VecDeque<TruthRecord>,
    writer: Option<Box<dyn Write + Send>>,
    write_errors: u64,
}

impl TruthLog {
    /// Records kept; of more, the oldest are dropped.
    pub const CAPACITY: usize = 200_000;

    /// Removes and returns the records so far, in the order in which the requests ended.
    pub fn take(&self) -> Vec<TruthRecord> {
        std::mem::take(&mut self.lock().records).into()
    }

    /// The records so far, in the order in which the requests ended.
    pub fn snapshot(&self) -> Vec<TruthRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// From now on also writes each record as one line of JSON. Each line is flushed; a line that can't be
    /// written is counted in [`write_errors`](Self::write_errors) and lost.
    pub fn write_to(&self, writer: impl Write + Send + 'static) {
        self.lock().writer = Some(Box::new(writer));
    }

    /// Lines that could not be written.
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
        // Records are whole or absent, so a panic elsewhere leaves nothing half done here.
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
