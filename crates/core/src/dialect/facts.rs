//! Facts about one event, the same for every API.

use super::engine::Engine;
use super::usage_counts;
use std::borrow::Cow;
use strum::VariantArray;

/// Most choices of one response that are tracked. Servers allow far fewer.
pub const MAX_CHOICES: usize = 128;
/// Longest finish reason that is kept, in bytes.
const MAX_REASON: usize = 64;

/// Why a choice ended, in the words of the API.
pub type FinishReason = Cow<'static, str>;

/// Finish reasons that become label values; any other is `other`. They need no allocation.
pub const KNOWN_FINISH_REASONS: [&str; 42] = [
    // OpenAI and most others; `abort` is SGLang's.
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "function_call",
    "abort",
    // OpenAI's responses API.
    "completed",
    "incomplete",
    "max_output_tokens",
    // Anthropic and Bedrock.
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "refusal",
    // Gemini.
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    // Cohere.
    "COMPLETE",
    "TOOL_CALL",
    // TGI.
    "eos_token",
    // llama.cpp's own API.
    "eos",
    "limit",
    "word",
    // Ollama, for a request that only loads or unloads a model.
    "load",
    "unload",
    // Failures; the first two are OpenRouter's and that of cancelled responses.
    "error",
    "cancelled",
    "failed",
    "network_error",
    "insufficient_system_resource",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "ERROR",
    // Refusals by a policy.
    "sensitive",
    "content_filtered",
    "guardrail_intervened",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "ERROR_TOXIC",
];

/// Class of a finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishClass {
    /// The generation ended as it should: the model stopped, a limit was reached, or a tool is called.
    Regular,
    /// A policy of the provider refused or cut the answer. The server works as intended.
    Refusal,
    /// The generation failed.
    Failure,
}

/// Finish reasons of refusals, in lower case.
const REFUSALS: [&str; 17] = [
    "content_filter",
    "refusal",
    "sensitive",
    "content_filtered",
    "guardrail_intervened",
    "safety",
    "recitation",
    "language",
    "blocklist",
    "prohibited_content",
    "spii",
    "image_safety",
    "image_prohibited_content",
    "image_recitation",
    "model_armor",
    "jailbreak",
    "error_toxic",
];
/// Finish reasons of failed generations, in lower case, besides those that end in `_error`.
const FAILURES: [&str; 18] = [
    "error",
    "abort",
    "aborted",
    "canceled",
    "cancelled",
    "user_cancel",
    "failed",
    "failure",
    "timeout",
    "insufficient_system_resource",
    "malformed_function_call",
    "malformed_response",
    "malformed_model_output",
    "malformed_tool_use",
    "unexpected_tool_call",
    "too_many_tool_calls",
    "missing_thought_signature",
    "image_other",
];

impl FinishClass {
    /// Class of a finish reason, in the words of any API.
    pub fn of(reason: &str) -> Self {
        // Nearly all responses end in one of these.
        if matches!(
            reason,
            "stop" | "length" | "tool_calls" | "end_turn" | "tool_use" | "STOP" | "completed"
        ) {
            return Self::Regular;
        }
        let is_in = |words: &[&str]| words.iter().any(|word| reason.eq_ignore_ascii_case(word));
        if is_in(&REFUSALS) {
            Self::Refusal
        } else if is_in(&FAILURES) || has_error_suffix(reason) {
            Self::Failure
        } else {
            Self::Regular
        }
    }
}

/// Whether a finish reason is one of the kind `model_error`, in any case of letters.
fn has_error_suffix(reason: &str) -> bool {
    let suffix = reason.len().checked_sub("_error".len()).and_then(|start| reason.get(start..));
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("_error"))
}

/// Whether a finish reason from the wire means that the choice has not ended. DashScope sends `null` as text, and watsonx
/// `not_finished`.
pub fn is_unfinished(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b"null", b"not_finished"];
    text.is_empty() || WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Converts a finish reason from the wire. The known ones are not allocated.
pub fn finish_reason(text: &[u8]) -> FinishReason {
    match KNOWN_FINISH_REASONS.iter().find(|usual| usual.as_bytes() == text) {
        Some(usual) => Cow::Borrowed(usual),
        None => {
            let text = text.get(..MAX_REASON).unwrap_or(text);
            Cow::Owned(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// Facts about one choice in one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChoiceFacts {
    /// Index of the choice in the response.
    pub index: u32,
    /// Unicode scalar values of answer text, with refusals.
    pub answer_chars: u64,
    /// Unicode scalar values of reasoning ("thinking") text.
    pub reasoning_chars: u64,
    /// Unicode scalar values of tool-call arguments. The name of a tool is output without text.
    pub tool_chars: u64,
    /// Whether the event has output that is not reasoning: text, a refusal, audio, or the name or arguments of a tool
    /// call.
    pub has_answer: bool,
    /// Whether a part of the answer has no text: audio, an image, the name of a tool.
    pub has_nontext: bool,
    /// Whether the event has reasoning without text: a draft of an image.
    pub has_reasoning_media: bool,
    /// Whether the output is a whole message, which may repeat deltas, and not a delta.
    pub is_whole: bool,
    /// Number of token ids in the event.
    pub token_ids: u64,
    /// Finish reason, in the event that has it.
    pub finish: Option<FinishReason>,
}

impl ChoiceFacts {
    /// Whether the event has output of this choice, reasoning included.
    pub fn has_output(&self) -> bool {
        self.has_answer || self.reasoning_chars > 0 || self.has_reasoning_media
    }

    /// Sets `has_answer` from the parts of the answer.
    pub(super) fn update_has_answer(&mut self) {
        self.has_answer = self.answer_chars > 0 || self.tool_chars > 0 || self.has_nontext;
    }
}

/// Token counts as a server reports them. A missing count is `None`, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens of the request. See `input_excludes_cache`.
    pub input: Option<u64>,
    /// Tokens of the response. See `output_excludes_reasoning`.
    pub output: Option<u64>,
    /// Input tokens that were read from a cache.
    pub cached: Option<u64>,
    /// Input tokens that were written to a cache. Only APIs with `input_excludes_cache` report them.
    pub cache_written: Option<u64>,
    /// Output tokens of reasoning.
    pub reasoning: Option<u64>,
    /// `input` does not include `cached` and `cache_written` (Anthropic, llama.cpp).
    pub input_excludes_cache: bool,
    /// `output` does not include `reasoning` (Gemini, xAI).
    pub output_excludes_reasoning: bool,
    /// `reasoning` is larger than `output`, but the total is the sum of `input` and `output`.
    pub total_confirms_output: bool,
}

impl TokenCounts {
    /// Replaces each value that `later` has. A 0 does not replace a count.
    pub fn update(&mut self, later: Self) {
        self.input = usage_counts::later(self.input, later.input);
        self.output = usage_counts::later(self.output, later.output);
        self.cached = usage_counts::later(self.cached, later.cached);
        self.cache_written = usage_counts::later(self.cache_written, later.cache_written);
        self.reasoning = usage_counts::later(self.reasoning, later.reasoning);
        self.input_excludes_cache |= later.input_excludes_cache;
        self.output_excludes_reasoning |= later.output_excludes_reasoning;
        self.total_confirms_output |= later.total_confirms_output;
    }

    /// Adds the counts of another response.
    pub fn add(&mut self, other: Self) {
        let sum = |one: Option<u64>, other: Option<u64>| {
            one.zip(other).map(|(one, other)| one.saturating_add(other)).or(one).or(other)
        };
        self.input = sum(self.input, other.input);
        self.output = sum(self.output, other.output);
        self.cached = sum(self.cached, other.cached);
        self.cache_written = sum(self.cache_written, other.cache_written);
        self.reasoning = sum(self.reasoning, other.reasoning);
        self.input_excludes_cache |= other.input_excludes_cache;
        self.output_excludes_reasoning |= other.output_excludes_reasoning;
        self.total_confirms_output |= other.total_confirms_output;
    }

    /// Tokens of the request, cached ones included.
    pub fn total_input(&self) -> Option<u64> {
        let more = [self.cached, self.cache_written].into_iter().flatten().sum::<u64>();
        match self.input {
            Some(input) if self.input_excludes_cache => Some(input.saturating_add(more)),
            input => input,
        }
    }

    /// Whether `output` and `reasoning` contradict each other: reasoning is larger, so it cannot be a part of `output`.
    pub fn is_contradictory(&self) -> bool {
        !self.output_excludes_reasoning
            && self.output.is_some_and(|output| self.reasoning.is_some_and(|part| part > output))
    }

    /// Whether [`total_output`](Self::total_output) adds reasoning only because the report contradicts itself.
    pub fn is_adjusted(&self) -> bool {
        self.is_contradictory() && !self.total_confirms_output
    }

    /// Tokens of the response, reasoning included.
    pub fn total_output(&self) -> Option<u64> {
        match self.output {
            Some(output) if self.output_excludes_reasoning || self.is_adjusted() => {
                Some(output.saturating_add(self.reasoning.unwrap_or(0)))
            }
            None if self.output_excludes_reasoning => self.reasoning,
            output => output,
        }
    }
}

/// Durations of a request's stages as the server reports them, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerTimings {
    /// Wait in the server's queue.
    pub queue: Option<f64>,
    /// ResponseReader the prompt, up to the first token.
    pub prefill: Option<f64>,
    /// Generation, from the first token on.
    pub decode: Option<f64>,
    /// Load of the model. Ollama includes the wait for its scheduler.
    pub load: Option<f64>,
    /// Time from the request to the first token, if the server reports it in one field.
    pub first_token: Option<f64>,
    /// The whole request.
    pub total: Option<f64>,
}

impl ServerTimings {
    /// Replaces each value that `later` has.
    pub fn update(&mut self, later: Self) {
        self.queue = later.queue.or(self.queue);
        self.prefill = later.prefill.or(self.prefill);
        self.decode = later.decode.or(self.decode);
        self.load = later.load.or(self.load);
        self.first_token = later.first_token.or(self.first_token);
        self.total = later.total.or(self.total);
    }

    /// Time from the request to the first token on the server: the reported one, else the sum of queue, load and
    /// prefill.
    pub fn time_to_first_token(&self) -> Option<f64> {
        let stages = |prefill| prefill + self.queue.unwrap_or(0.0) + self.load.unwrap_or(0.0);
        self.first_token.or(self.prefill.map(stages))
    }
}

/// Why something could not be measured. It is forwarded in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum UnparsedReason {
    /// An event or body is not valid JSON, or not a valid protobuf message.
    Json,
    /// JSON is nested too deeply.
    Depth,
    /// Text is not valid UTF-8. The event was measured.
    Utf8,
    /// A choice is beyond the 128th, or its index is not a number in range.
    Choice,
    /// The framing is malformed: a wrong checksum, an impossible length.
    Framing,
    /// The content encoding of a response is unknown, malformed, or beyond the decoder's limits.
    Encoding,
    /// The content type of an inference response is not supported.
    ContentType,
    /// The content encoding of a request is unknown, malformed, or beyond the decoder's limits. Its model and `stream` flag
    /// are not known.
    RequestEncoding,
    /// The header with the start of the request is not a time, or more than an hour away.
    RequestStart,
    /// The first events of a response, or the whole document, have nothing of any known API.
    Unrecognised,
    /// The meter panicked, and the rest of the response is not measured.
    Panic,
}

impl UnparsedReason {
    /// Value of the label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Depth => "depth",
            Self::Utf8 => "utf8",
            Self::Choice => "choice",
            Self::Framing => "framing",
            Self::Encoding => "encoding",
            Self::ContentType => "content_type",
            Self::RequestEncoding => "request_encoding",
            Self::RequestStart => "request_start",
            Self::Unrecognised => "unrecognised",
            Self::Panic => "panic",
        }
    }
}

/// Facts about one event.
#[derive(Debug, Default, PartialEq)]
pub struct EventFacts {
    /// Choices in the event, in its order.
    pub choices: Vec<ChoiceFacts>,
    /// Token counts that the API defines, running or final.
    pub usage: Option<TokenCounts>,
    /// Token counts in fields that only this engine has.
    pub engine_counts: Option<TokenCounts>,
    /// Durations that the server reports.
    pub timings: Option<ServerTimings>,
    /// Model that generated the response, in the first event that names it.
    pub model: Option<String>,
    /// Engine or vendor, if the event shows it.
    pub detected_engine: Option<Engine>,
    /// Whether the server sends the headers of a stream when a slot takes the request, if known.
    pub headers_at_slot: Option<bool>,
    /// A response starts, in a session of several.
    pub response_started: bool,
    /// The event reports that the model is loading.
    pub loading: bool,
    /// The reasoning text of the event is a summary, which has fewer tokens than the server counts as reasoning.
    pub has_reasoning_summary: bool,
    /// The event reports an error.
    pub error: bool,
    /// The event ends the stream (`[DONE]`, `message_stop`, `"done":true`, ...).
    pub done: bool,
    /// Why the event, or a part of it, could not be parsed.
    pub unparsed: Option<UnparsedReason>,
}

impl EventFacts {
    pub(super) fn clear(&mut self) {
        // Keep the allocation of the choices: this runs once per event.
        self.choices.clear();
        self.usage = None;
        self.engine_counts = None;
        self.timings = None;
        self.model = None;
        self.detected_engine = None;
        self.headers_at_slot = None;
        self.response_started = false;
        self.loading = false;
        self.has_reasoning_summary = false;
        self.error = false;
        self.done = false;
        self.unparsed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_finish_reasons_mean_that_there_is_none() {
        for text in ["", "null", "NULL", "not_finished", "NOT_FINISHED"] {
            assert!(is_unfinished(text.as_bytes()), "{text}");
        }
        for text in ["stop", "nul", "nulls", "finished"] {
            assert!(!is_unfinished(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn totals_add_what_input_and_output_exclude() {
        let plain = TokenCounts {
            input: Some(10),
            output: Some(5),
            cached: Some(4),
            reasoning: Some(3),
            ..TokenCounts::default()
        };
        assert_eq!((plain.total_input(), plain.total_output()), (Some(10), Some(5)));
        let apart =
            TokenCounts { input_excludes_cache: true, output_excludes_reasoning: true, ..plain };
        assert_eq!((apart.total_input(), apart.total_output()), (Some(14), Some(8)));
        // Only reasoning so far.
        assert_eq!(TokenCounts { output: None, ..apart }.total_output(), Some(3));
        let mut later = apart;
        later.update(TokenCounts {
            output: Some(9),
            cache_written: Some(2),
            ..TokenCounts::default()
        });
        assert_eq!((later.total_input(), later.total_output()), (Some(16), Some(12)));
        assert_eq!(
            TokenCounts { cached: Some(1), input_excludes_cache: true, ..TokenCounts::default() }
                .total_input(),
            None
        );
    }

    #[test]
    fn finish_reasons_have_a_class() {
        use FinishClass::*;
        for (reason, class) in [
            ("stop", Regular),
            ("MAX_TOKENS", Regular),
            ("model_context_window_exceeded", Regular),
            ("anything else", Regular),
            ("content_filter", Refusal),
            ("SAFETY", Refusal),
            ("error", Failure),
            ("ABORT", Failure),
            ("timeout_error", Failure),
            ("MALFORMED_FUNCTION_CALL", Failure),
        ] {
            assert_eq!(FinishClass::of(reason), class, "{reason}");
        }
    }

    #[test]
    fn time_to_first_token_is_the_sum_of_the_stages_before_it() {
        let stages =
            ServerTimings { queue: Some(0.5), prefill: Some(0.25), ..ServerTimings::default() };
        assert_eq!(stages.time_to_first_token(), Some(0.75));
        let reported = ServerTimings { first_token: Some(0.7), ..stages };
        assert_eq!(reported.time_to_first_token(), Some(0.7));
        assert_eq!(
            ServerTimings { queue: Some(1.0), ..ServerTimings::default() }.time_to_first_token(),
            None
        );
    }
}
