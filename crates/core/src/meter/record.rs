//! The finished account of one request: one line of the request log.

use super::queue_wait::{self, QueueWait};
use super::slo::SloVerdict;
use super::tally::ResponseTally;
use crate::dialect::FinishReason;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use strum::VariantArray;

/// Where a count of output tokens comes from, in this order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, VariantArray)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// The server's own count, where the API has a place for it.
    Usage,
    /// A field of the engine's own.
    Engine,
    /// Output events counted: an approximation.
    Events,
}

impl TokenSource {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Engine => "engine",
            Self::Events => "events",
        }
    }
}

/// What tells when bytes arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, VariantArray)]
#[serde(rename_all = "lowercase")]
pub enum TimestampSource {
    /// The kernel's stamp of their receipt.
    #[default]
    Kernel,
    /// The clock as we read it when we got them, which is later if we had to wait for the processor.
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

/// The token counts of a finished response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseTokens {
    pub input: Option<(u64, TokenSource)>,
    pub output: Option<(u64, TokenSource)>,
    /// Part of the input that came from a cache.
    pub cached: Option<u64>,
    /// Part of the output that is reasoning.
    pub reasoning: Option<u64>,
    /// The part of `output` that was streamed: without reasoning that was counted but never sent.
    pub streamed: Option<u64>,
}

impl ResponseTokens {
    /// The best counts that a tally has. Output events stand in only for streams.
    pub fn from_tally(tally: &ResponseTally, stream: bool) -> Self {
        let told = tally.told();
        let (usage, engine) = (told.usage.unwrap_or_default(), told.engine.unwrap_or_default());
        let reported = |usage: Option<u64>, engine: Option<u64>| {
            let usage = usage.map(|count| (count, TokenSource::Usage));
            usage.or(engine.map(|count| (count, TokenSource::Engine)))
        };
        let events = (stream && tally.output_events > 0)
            .then_some((tally.output_events, TokenSource::Events));
        let ids = (tally.token_ids > 0).then_some(tally.token_ids);
        let output = reported(usage.total_output(), engine.total_output().or(ids)).or(events);
        // Listed ids were streamed, whatever they stand for.
        let is_unseen = tally.reasoning_chars == 0 && tally.token_ids == 0;
        let unseen = match usage.reasoning.or(engine.reasoning) {
            Some(reasoning) if is_unseen => reasoning,
            _ => 0,
        };
        Self {
            input: reported(usage.total_input(), engine.total_input()),
            output,
            cached: usage.cached.or(engine.cached),
            reasoning: usage.reasoning.or(engine.reasoning),
            streamed: output.map(|(count, _)| count.saturating_sub(unseen)),
        }
    }
}

/// The finished account. Absent is `None`, never 0. All `_s` are seconds since the request's first
/// byte, or lengths, as the definitions of the metrics have them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestRecord {
    /// When the first byte of the request arrived, as a time since 1970. Told as RFC 3339 has it, in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub time: Duration,
    /// Told as 16 hexadecimal digits.
    #[serde(serialize_with = "hexadecimal")]
    pub id: u64,
    /// From `traceparent`.
    pub trace_id: Option<String>,
    /// The configured name.
    pub upstream: Arc<str>,
    pub method: Cow<'static, str>,
    /// A known route, or `other`.
    pub path: &'static str,
    pub operation: &'static str,
    pub dialect: Option<&'static str>,
    /// The engine or vendor that answered, as configured or recognised.
    pub engine: Option<Arc<str>>,
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// The model that answered.
    pub response_model: Option<Arc<str>>,
    pub stream: bool,
    /// The status that the client got.
    pub status: Option<u16>,
    pub outcome: &'static str,
    /// Before the request reached us, by its headers.
    pub edge_wait_s: Option<f64>,
    pub connect_s: Option<f64>,
    pub sent_s: Option<f64>,
    pub head_s: Option<f64>,
    pub first_byte_s: Option<f64>,
    pub ttft_s: Option<f64>,
    /// From the first request of the trace, if that was another, to this one's first output.
    pub trace_ttft_s: Option<f64>,
    pub answer_s: Option<f64>,
    pub latency_s: Option<f64>,
    pub duration_s: f64,
    pub tpot_s: Option<f64>,
    /// Of complete streams.
    pub characters_per_second: Option<f64>,
    pub max_gap_s: Option<f64>,
    /// The share of output characters that came in the last tenth of the request's time.
    pub burst_ratio: Option<f64>,
    pub client_stall_s: Option<f64>,
    /// In the server's queue.
    pub queue_s: Option<f64>,
    /// Where `queue_s` comes from.
    pub queue_source: Option<&'static str>,
    /// The estimate, also where a better source is told.
    pub queue_estimate_s: Option<f64>,
    /// What the server says of its own time: from the request to the first token, then stage by stage.
    pub engine_ttft_s: Option<f64>,
    pub engine_load_s: Option<f64>,
    pub engine_prefill_s: Option<f64>,
    pub engine_decode_s: Option<f64>,
    pub engine_total_s: Option<f64>,
    /// It waited for a server or a model that was not ready; absent without output.
    pub cold: Option<bool>,
    /// Why that was.
    pub cold_reason: Option<&'static str>,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub output_tokens_source: Option<TokenSource>,
    pub cached_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
    pub events: Option<u64>,
    pub output_events: Option<u64>,
    pub first_output_event: Option<u64>,
    pub last_output_event: Option<u64>,
    /// Reads of the upstream's socket that brought output.
    pub chunks: Option<u64>,
    pub answer_chars: Option<u64>,
    pub reasoning_chars: Option<u64>,
    pub tool_chars: Option<u64>,
    pub finish_reasons: Vec<FinishReason>,
    /// By the name of each class that is of the request, whether it met the targets. Told as an object.
    #[serde(serialize_with = "by_name")]
    pub slo: Vec<(Arc<str>, SloVerdict)>,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Events or bodies of this response that could not be measured.
    pub unparsed: u64,
    /// What told the instants of this line.
    pub clock: TimestampSource,
    /// A delay of our own could have touched a number of this line.
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
    /// Fills in the wait in the server's queue, and what it is estimated to be, which that may be.
    pub fn set_queue_wait(&mut self, wait: Option<QueueWait>, estimate: Option<f64>) {
        self.queue_s = wait.map(|wait| wait.seconds);
        self.queue_source = wait.map(|wait| wait.source.label());
        self.queue_estimate_s = estimate;
    }

    /// Fills in what the body's account says, and gives the counts in it. `start` is the instant of the request's
    /// first byte.
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
        self.degraded |= tally.blurred || tally.trailed;
        if tally.unstamped {
            self.clock = TimestampSource::Program;
        }
        tokens
    }
}

/// TPOT in seconds: `(t_last - t_first) / (n - 1)`, n the tokens that were streamed. Absent unless
/// n >= 2, there is one choice, and output came in at least two reads.
fn time_per_output_token(tally: &ResponseTally, tokens: &ResponseTokens) -> Option<f64> {
    let n = tokens.streamed.filter(|n| *n >= 2)?;
    if tally.choices() != 1 || tally.chunks < 2 {
        return None;
    }
    let span = tally.last_output?.at.saturating_sub(tally.first_output?.at);
    Some(span.as_secs_f64() / (n - 1) as f64)
}

/// Characters per second of a request: text after the first arrival of output, over the time from
/// the first to the last. Absent where all output came in one read.
pub fn characters_per_second(tally: &ResponseTally) -> Option<f64> {
    let span = tally.last_output?.at.saturating_sub(tally.first_output?.at);
    (tally.chunks >= 2 && !span.is_zero())
        .then(|| (tally.chars() - tally.first_chars) as f64 / span.as_secs_f64())
}
