//! The parts of a request's time, as its record has them.

use serde::{Deserialize, Serialize};
use streamgauge_core::meter::RequestRecord;
use strum::VariantArray;

/// A part of a request's time, in the order of time. The last two overlap others.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, VariantArray,
)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// In a gateway before Streamgauge.
    EdgeWait,
    /// Opening a connection to the upstream. Absent if a pooled one was used.
    Connect,
    /// Until the request was completely written to the upstream.
    Upload,
    /// In the server's queue.
    Queue,
    /// From the request's turn to its first output.
    Prefill,
    /// From the sent request to its first output: queue and prefill, where the queue wait is unknown.
    FirstOutput,
    /// From the sent request to its first output, if it waited for a cold start.
    ColdStart,
    /// From the first output to the first output of the answer.
    Reasoning,
    /// From there to the last output.
    Answer,
    /// From the sent request to the end of a response that is not a stream.
    Response,
    /// From the last output to the end of the response.
    End,
    /// Longest gap without output.
    LongestGap,
    /// Time in which the client accepted no bytes.
    ClientStall,
}

impl PartKind {
    /// Whether the part is within others.
    pub fn overlaps(self) -> bool {
        matches!(self, Self::LongestGap | Self::ClientStall)
    }

    /// Whether the length of the part is proportional to the output. Its baseline is a time per token.
    pub(super) fn is_per_token(self) -> bool {
        matches!(self, Self::Answer | Self::Response)
    }
}

/// A part with its length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MeasuredPart {
    pub kind: PartKind,
    /// In seconds since the arrival of the request.
    pub start: f64,
    /// In seconds.
    pub length: f64,
}

/// Splits the time of a request into its parts.
pub(super) fn measured_parts(record: &RequestRecord) -> Vec<MeasuredPart> {
    let mut parts = PartList { parts: Vec::with_capacity(8), cursor: 0.0 };
    if let Some(length) = record.edge_wait_s {
        parts.parts.push(MeasuredPart { kind: PartKind::EdgeWait, start: -length, length });
    }
    let end = record.duration_s;
    if let Some(connect) = record.connect_s {
        parts.until(PartKind::Connect, connect.min(end));
    }
    match record.sent_s {
        Some(sent) => parts.until(PartKind::Upload, sent),
        // No connection was opened, or the request was not sent in time.
        None if record.head_s.is_none() => {
            let kind =
                if record.connect_s.is_some() { PartKind::Upload } else { PartKind::Connect };
            parts.until(kind, end);
        }
        None => {}
    }
    add_output(&mut parts, record);
    let overlapping =
        [(PartKind::LongestGap, record.max_gap_s), (PartKind::ClientStall, record.client_stall_s)];
    let overlapping = overlapping.into_iter().filter_map(|(kind, length)| Some((kind, length?)));
    parts.parts.extend(overlapping.map(|(kind, length)| MeasuredPart { kind, start: 0.0, length }));
    parts.parts
}

fn add_output(parts: &mut PartList, record: &RequestRecord) {
    let end = record.duration_s;
    let is_cold = record.cold == Some(true);
    let Some(first) = record.ttft_s else {
        if !is_cold && let Some(queue) = record.queue_s {
            parts.until(PartKind::Queue, (parts.cursor + queue).min(end));
        }
        let kind = match record.stream {
            _ if is_cold => PartKind::ColdStart,
            Some(true) => PartKind::FirstOutput,
            _ => PartKind::Response,
        };
        return parts.until(kind, end);
    };
    match record.queue_s {
        _ if is_cold => parts.until(PartKind::ColdStart, first),
        Some(queue) => {
            parts.until(PartKind::Queue, (parts.cursor + queue).min(first));
            parts.until(PartKind::Prefill, first);
        }
        None => parts.until(PartKind::FirstOutput, first),
    }
    if let Some(answer) = record.answer_s.filter(|answer| *answer > first) {
        parts.until(PartKind::Reasoning, answer);
    }
    if let Some(last) = record.latency_s.filter(|last| *last > first) {
        parts.until(PartKind::Answer, last);
    }
    parts.until(PartKind::End, end);
}

/// Time from the sent request to its first output.
pub(super) fn wait_for_output(record: &RequestRecord) -> Option<f64> {
    Some((record.ttft_s? - record.sent_s?).max(0.0))
}

/// Number of output tokens for a part whose length is proportional to them, else 1.
pub(super) fn part_units(kind: PartKind, record: &RequestRecord) -> f64 {
    let tokens = || {
        let answer = |tokens: u64| tokens.saturating_sub(record.reasoning_tokens.unwrap_or(0));
        record.output_tokens.map(answer).or(record.output_events)
    };
    if kind.is_per_token() { tokens().unwrap_or(1).max(1) as f64 } else { 1.0 }
}

/// Parts that follow one another.
struct PartList {
    parts: Vec<MeasuredPart>,
    /// End of the last part.
    cursor: f64,
}

impl PartList {
    /// Adds a part from the end of the last one to `end`.
    fn until(&mut self, kind: PartKind, end: f64) {
        let (start, length) = (self.cursor, end - self.cursor);
        // A part of less than a microsecond is an effect of rounding.
        if length >= 1e-6 {
            self.parts.push(MeasuredPart { kind, start, length });
            self.cursor = end;
        }
    }
}
