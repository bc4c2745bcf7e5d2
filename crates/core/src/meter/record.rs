//! Finished measurement of one request: one line of the request log.

use super::queue::WaitEstimate;
use super::queue_wait::{self, QueueWait};
use super::slo_verdict::SloVerdict;
use super::tally::ResponseTally;
use crate::dialect::FinishReason;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use strum::VariantArray;

/// Source of a token count, the most reliable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, VariantArray)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// The server's count, in the field that its API defines for it.
    Usage,
    /// The same, where reasoning exceeds the output and no total confirms the output: the two were added.
    Adjusted,
    /// A field that only this engine sends, or the number of listed token ids.
    Engine,
    /// Number of output events: an approximation.
    Events,
}

impl TokenSource {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Adjusted => "adjusted",
            Self::Engine => "engine",
            Self::Events => "events",
        }
    }
}

/// Clock that arrivals are measured with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, VariantArray)]
#[serde(rename_all = "lowercase")]
pub enum TimestampSource {
    /// Kernel timestamp of the receipt.
    #[default]
    Kernel,
    /// Clock read by this process after it received the bytes. It is late if the process waited for a CPU.
    Program,
}

impl TimestampSource {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Program => "program",
        }
    }
}

/// Token counts of a finished response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseTokens {
    /// Input tokens and their source.
    pub input: Option<(u64, TokenSource)>,
    /// Output tokens and their source.
    pub output: Option<(u64, TokenSource)>,
    /// Input tokens read from a cache.
    pub cached: Option<u64>,
    /// Output tokens that are reasoning.
    pub reasoning: Option<u64>,
    /// Output tokens that were sent: without reasoning that the server counted but did not send. `None` if only a part
    /// or a summary of the reasoning was sent, because the tokens of that are unknown.
    pub streamed: Option<u64>,
}

impl ResponseTokens {
    /// Selects each count from the most reliable source. Output events are used only for streams.
    pub fn from_tally(tally: &ResponseTally, stream: bool) -> Self {
        let report = tally.server_report();
        let (usage, engine) = (report.usage.unwrap_or_default(), report.engine.unwrap_or_default());
        let reported = |usage: Option<u64>, engine: Option<u64>| {
            let usage = usage.map(|count| (count, TokenSource::Usage));
            usage.or(engine.map(|count| (count, TokenSource::Engine)))
        };
        let adjusted = |(count, source)| match source {
            TokenSource::Usage if usage.is_adjusted() => (count, TokenSource::Adjusted),
            source => (count, source),
        };
        let events = (stream && tally.output_events > 0)
            .then_some((tally.output_events, TokenSource::Events));
        let ids = (tally.token_ids > 0).then_some(tally.token_ids);
        let output =
            reported(usage.total_output(), engine.total_output().or(ids)).map(adjusted).or(events);
        let reasoning = usage.reasoning.or(engine.reasoning);
        // Events are counted as they were sent, and tokens whose ids are listed were sent, also if they are reasoning.
        let is_count_of_sent =
            tally.token_ids > 0 || output.is_some_and(|(_, source)| source == TokenSource::Events);
        let hidden = if is_count_of_sent {
            Some(0)
        } else {
            // Nothing shows whether reasoning that exceeds the output is part of it.
            let is_clear = !usage.is_contradictory() || usage.is_adjusted();
            hidden_reasoning(tally, reasoning).filter(|_| is_clear)
        };
        Self {
            input: reported(usage.total_input(), engine.total_input()),
            output,
            cached: usage.cached.or(engine.cached),
            reasoning,
            streamed: output.zip(hidden).map(|((count, _), hidden)| count.saturating_sub(hidden)),
        }
    }
}

/// Reasoning tokens that the server counted as output but did not send. `None` if it sent a part or a summary of the
/// reasoning, because the tokens of that are unknown.
fn hidden_reasoning(tally: &ResponseTally, reasoning: Option<u64>) -> Option<u64> {
    if tally.reasoning_chars == 0 {
        return Some(reasoning.unwrap_or(0));
    }
    // A token has one character or more, so shorter text cannot be all of the reasoning.
    let is_part = reasoning.is_some_and(|tokens| tally.reasoning_chars < tokens);
    let is_summary = tally.has_reasoning_summary && reasoning != Some(0);
    (!is_part && !is_summary).then_some(0)
}

/// Finished measurement of one request. A value that is unknown or does not apply is `None`, never 0.
///
/// Fields with the suffix `_s` are in seconds: lengths, or times since the first byte of the request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestRecord {
    /// Arrival of the first byte of the request, since 1970. Serialized as RFC 3339 in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub time: Duration,
    /// Serialized as 16 hexadecimal digits.
    #[serde(serialize_with = "hexadecimal")]
    pub id: u64,
    /// Trace id from the header `traceparent`.
    pub trace_id: Option<String>,
    /// Configured name of the upstream.
    pub upstream: Arc<str>,
    /// HTTP method.
    pub method: Cow<'static, str>,
    /// Path of the route, or `other`.
    pub path: &'static str,
    /// Operation, as in the label `gen_ai_operation_name`.
    pub operation: &'static str,
    /// Dialect in which the response was read.
    pub dialect: Option<&'static str>,
    /// Engine or vendor of the response, as configured or detected.
    pub engine: Option<Arc<str>>,
    /// Model named in the request.
    pub model: Option<Arc<str>>,
    /// Model named in the response.
    pub response_model: Option<Arc<str>>,
    /// Whether the response is a stream of events, or would have been. `None` if the request failed before that was known.
    pub stream: Option<bool>,
    /// Status that the client received.
    pub status: Option<u16>,
    /// Outcome, as in the label `outcome`.
    pub outcome: &'static str,
    /// How the response shows that it failed, for the outcome `stream_error`.
    pub error_kind: Option<&'static str>,
    /// Time between a gateway's request start header and the arrival here.
    pub edge_wait_s: Option<f64>,
    /// Time to open a connection to the upstream; `None` if a pooled one was used.
    pub connect_s: Option<f64>,
    /// When the last byte of the request was written to the upstream.
    pub sent_s: Option<f64>,
    /// When the response headers arrived.
    pub head_s: Option<f64>,
    /// When the first byte of the response body arrived.
    pub first_byte_s: Option<f64>,
    /// When the first event of a stream in no known dialect arrived.
    pub first_event_s: Option<f64>,
    /// When the first sound of a response that is raw audio arrived.
    pub first_audio_s: Option<f64>,
    /// Time to first token.
    pub ttft_s: Option<f64>,
    /// From the first request of the trace to the first output of this one. `None` for the first request itself.
    pub trace_ttft_s: Option<f64>,
    /// Time to the first output that is not reasoning.
    pub answer_s: Option<f64>,
    /// When the last output arrived.
    pub latency_s: Option<f64>,
    /// When the response ended.
    pub duration_s: f64,
    /// Time per output token.
    pub tpot_s: Option<f64>,
    /// For complete streams only.
    pub characters_per_second: Option<f64>,
    /// Longest gap after the first output, including the gap before the end.
    pub max_gap_s: Option<f64>,
    /// Share of the output characters that arrived in the last tenth of the request's time.
    pub burst_ratio: Option<f64>,
    /// Time during which bytes were ready and the client's socket did not accept them.
    pub client_stall_s: Option<f64>,
    /// Wait in the server's queue.
    pub queue_s: Option<f64>,
    /// Source of `queue_s`.
    pub queue_source: Option<&'static str>,
    /// Estimated queue wait, also if `queue_s` has a better source.
    pub queue_estimate_s: Option<f64>,
    /// Lower end of the interval of the estimate, which holds the true wait of nine in ten requests.
    pub queue_low_s: Option<f64>,
    /// Upper end of this interval.
    pub queue_high_s: Option<f64>,
    /// Model of the server that the estimate is based on.
    pub queue_model: Option<&'static str>,
    /// Times that the server reports: its own time to first token, then each stage.
    pub engine_ttft_s: Option<f64>,
    /// Reported time to load the model.
    pub engine_load_s: Option<f64>,
    /// Reported time of prompt processing.
    pub engine_prefill_s: Option<f64>,
    /// Reported time of decoding.
    pub engine_decode_s: Option<f64>,
    /// Reported total time.
    pub engine_total_s: Option<f64>,
    /// Whether the request waited for a server or model that was not ready. `None` without output.
    pub cold: Option<bool>,
    /// Reason of the cold start that the request waited for.
    pub cold_reason: Option<&'static str>,
    /// How sure it is that there was a cold start: `certain` or `likely`.
    pub cold_confidence: Option<&'static str>,
    /// Tokens of the prompt, as reported by the server.
    pub input_tokens: Option<u64>,
    /// Generated tokens.
    pub output_tokens: Option<u64>,
    /// Source of `output_tokens`.
    pub output_tokens_source: Option<TokenSource>,
    /// Input tokens read from a cache.
    pub cached_tokens: Option<u64>,
    /// Output tokens of reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Number of events in the response.
    pub events: Option<u64>,
    /// Number of events with output.
    pub output_events: Option<u64>,
    /// Index of the first event with output.
    pub first_output_event: Option<u64>,
    /// Index of the last event with output.
    pub last_output_event: Option<u64>,
    /// Reads of the upstream's socket that contained output.
    pub chunks: Option<u64>,
    /// Characters of the answer, in Unicode scalar values.
    pub answer_chars: Option<u64>,
    /// Characters of reasoning.
    pub reasoning_chars: Option<u64>,
    /// Characters of tool-call arguments.
    pub tool_chars: Option<u64>,
    /// Finish reason of each choice.
    pub finish_reasons: Vec<FinishReason>,
    /// Name and verdict of each SLO class that applies to the request. Serialized as an object.
    #[serde(serialize_with = "by_name")]
    pub slo: Vec<(Arc<str>, SloVerdict)>,
    /// Body bytes of the request.
    pub bytes_up: u64,
    /// Body bytes of the response.
    pub bytes_down: u64,
    /// Number of events or bodies of this response that could not be parsed.
    pub unparsed: u64,
    /// Clock of the instants in this record.
    pub clock: TimestampSource,
    /// A delay of this process may have affected a number in this record.
    pub degraded: bool,
}

fn rfc3339<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + *time))
}

fn hexadecimal<S: Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{id:016x}"))
}

fn by_name<S: Serializer>(slo: &[(Arc<str>, SloVerdict)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(slo.iter().map(|(name, met)| (name, met)))
}

impl RequestRecord {
    /// Sets the wait in the server's queue, and its estimate.
    pub fn set_queue_wait(&mut self, wait: Option<QueueWait>, estimate: Option<WaitEstimate>) {
        self.queue_s = wait.map(|wait| wait.seconds);
        self.queue_source = wait.map(|wait| wait.source.label());
        self.queue_estimate_s = estimate.map(|estimate| estimate.seconds);
        self.queue_low_s = estimate.map(|estimate| estimate.low);
        self.queue_high_s = estimate.map(|estimate| estimate.high);
        self.queue_model = estimate.map(|estimate| estimate.model.label());
    }

    /// Removes the times of generation. For a replay: the model generated its output earlier.
    pub fn clear_generation_times(&mut self) {
        (self.ttft_s, self.answer_s, self.latency_s, self.tpot_s) = (None, None, None, None);
        (self.engine_ttft_s, self.engine_load_s, self.engine_total_s) = (None, None, None);
        (self.engine_prefill_s, self.engine_decode_s) = (None, None);
    }

    /// Sets all fields that come from the response body, and returns the token counts. `start` is the arrival of the
    /// first byte of the request.
    pub fn fill_from_response(
        &mut self,
        tally: &ResponseTally,
        stream: bool,
        start: Duration,
    ) -> ResponseTokens {
        let since = |at: Duration| at.saturating_sub(start).as_secs_f64();
        let tokens = ResponseTokens::from_tally(tally, stream);
        self.response_model.clone_from(&tally.model);
        let timings = queue_wait::timings(tally);
        self.engine_ttft_s = timings.time_to_first_token();
        self.engine_load_s = timings.load;
        self.engine_prefill_s = timings.prefill;
        self.engine_decode_s = timings.decode;
        self.engine_total_s = timings.total;
        self.ttft_s = tally.first_output.map(|first| since(first.at));
        self.answer_s = tally.first_answer.map(since);
        self.latency_s = tally.last_output.map(|last| since(last.at));
        self.tpot_s = time_per_output_token(tally, &tokens);
        self.input_tokens = tokens.input.map(|(count, _)| count);
        self.output_tokens = tokens.output.map(|(count, _)| count);
        self.output_tokens_source = tokens.output.map(|(_, source)| source);
        self.cached_tokens = tokens.cached;
        self.reasoning_tokens = tokens.reasoning;
        if stream {
            self.events = Some(tally.events);
            self.output_events = Some(tally.output_events);
            self.first_output_event = tally.first_output_event();
            self.last_output_event = tally.last_output_event();
            self.chunks = Some(tally.chunks);
        }
        self.answer_chars = Some(tally.answer_chars);
        self.reasoning_chars = Some(tally.reasoning_chars);
        self.tool_chars = Some(tally.tool_chars);
        self.finish_reasons = tally.finish_reasons().to_vec();
        self.unparsed += tally.unparsed;
        self.degraded |= tally.is_first_output_inexact || tally.is_last_output_inexact;
        if tally.has_unstamped_arrival {
            self.clock = TimestampSource::Program;
        }
        tokens
    }
}

/// TPOT in seconds: `(t_last - t_first) / (n - 1)` on the server's clock, where n is the number of tokens sent.
///
/// `None` unless n >= 2, there is one choice, and output arrived in at least two reads.
fn time_per_output_token(tally: &ResponseTally, tokens: &ResponseTokens) -> Option<f64> {
    let n = tokens.streamed.filter(|n| *n >= 2)?;
    if tally.choices() != 1 || tally.chunks < 2 {
        return None;
    }
    let span = tally.last_output?.server_at.saturating_sub(tally.first_output?.server_at);
    Some(span.as_secs_f64() / (n - 1) as f64)
}

/// Characters per second: characters after the first read with output, divided by the time from the first to the last
/// read with output. `None` if all output arrived in one read.
pub fn characters_per_second(tally: &ResponseTally) -> Option<f64> {
    let span = tally.last_output?.server_at.saturating_sub(tally.first_output?.server_at);
    (tally.chunks >= 2 && !span.is_zero())
        .then(|| (tally.chars() - tally.first_chars) as f64 / span.as_secs_f64())
}
