//! What one event says, whatever API it is of.

use super::engine::Engine;
use std::borrow::Cow;
use strum::VariantArray;

/// Most choices of one response that are told apart; servers allow far fewer.
pub const MAX_CHOICES: usize = 128;
/// Longest finish reason that is kept.
const MAX_REASON: usize = 64;

/// Why a choice ended, in the server's words.
pub type FinishReason = Cow<'static, str>;

/// The usual reasons, API by API. They are not allocated, and they alone become labels.
pub const KNOWN_FINISH_REASONS: [&str; 25] = [
    // OpenAI's, which most others use too, and SGLang's `abort`.
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "function_call",
    "abort",
    // OpenAI's responses.
    "completed",
    "incomplete",
    "max_output_tokens",
    // Anthropic's, and Bedrock's.
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "refusal",
    // Gemini's.
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    // Cohere's.
    "COMPLETE",
    "TOOL_CALL",
    // TGI's.
    "eos_token",
    // llama.cpp's own.
    "eos",
    "limit",
    "word",
    // Ollama's, of a request that only loads or unloads a model.
    "load",
    "unload",
];

/// A finish reason from the wire; the usual ones are not allocated.
pub fn finish_reason(text: &[u8]) -> FinishReason {
    match KNOWN_FINISH_REASONS.iter().find(|usual| usual.as_bytes() == text) {
        Some(usual) => Cow::Borrowed(usual),
        None => {
            let text = text.get(..MAX_REASON).unwrap_or(text);
            Cow::Owned(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// What one event says about one choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChoiceFacts {
    /// The choice's index in the response.
    pub index: u32,
    /// Unicode scalar values of answer text, refusals included.
    pub answer_chars: u64,
    /// Unicode scalar values of reasoning ("thinking") text.
    pub reasoning_chars: u64,
    /// Unicode scalar values of tool-call arguments. A tool's name is output, but no text.
    pub tool_chars: u64,
    /// Whether the event carries generated output that is not reasoning: text, a refusal, audio, a
    /// tool call's name or arguments.
    pub has_answer: bool,
    /// Tokens that came with the event, where it lists their ids.
    pub token_ids: u64,
    pub finish: Option<FinishReason>,
}

impl ChoiceFacts {
    /// Whether the event carries generated output of this choice.
    pub fn has_output(&self) -> bool {
        self.has_answer || self.reasoning_chars > 0
    }
}

/// Token counts as a server reports them; absent is `None`, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens of the request; see `input_excludes_cache`.
    pub input: Option<u64>,
    /// Tokens of the response; see `output_excludes_reasoning`.
    pub output: Option<u64>,
    /// Input tokens that came from a cache.
    pub cached: Option<u64>,
    /// Input tokens that were written to a cache; told only by APIs that have `input_excludes_cache`.
    pub cache_written: Option<u64>,
    /// Output tokens that are reasoning.
    pub reasoning: Option<u64>,
    /// `input` leaves out what came from a cache or went to it (Anthropic, llama.cpp).
    pub input_excludes_cache: bool,
    /// `output` leaves out reasoning (Gemini, xAI).
    pub output_excludes_reasoning: bool,
}

impl TokenCounts {
    /// Takes over what `later` knows.
    pub fn update(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.cached = later.cached.or(self.cached);
        self.cache_written = later.cache_written.or(self.cache_written);
        self.reasoning = later.reasoning.or(self.reasoning);
        self.input_excludes_cache |= later.input_excludes_cache;
        self.output_excludes_reasoning |= later.output_excludes_reasoning;
    }

    /// Adds those of another response.
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
    }

    /// All tokens of the request.
    pub fn total_input(&self) -> Option<u64> {
        let more = [self.cached, self.cache_written].into_iter().flatten().sum::<u64>();
        match self.input {
            Some(input) if self.input_excludes_cache => Some(input.saturating_add(more)),
            input => input,
        }
    }

    /// All tokens of the response, reasoning included.
    pub fn total_output(&self) -> Option<u64> {
        match self.output {
            Some(output) if self.output_excludes_reasoning => {
                Some(output.saturating_add(self.reasoning.unwrap_or(0)))
            }
            None if self.output_excludes_reasoning => self.reasoning,
            output => output,
        }
    }
}

/// How long the server says that its stages took, in seconds; absent is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerTimings {
    /// In its queue.
    pub queue: Option<f64>,
    /// ResponseReader the prompt, up to the first token.
    pub prefill: Option<f64>,
    /// Generating, from the first token on.
    pub decode: Option<f64>,
    /// Loading the model. Ollama counts its scheduler's wait here too.
    pub load: Option<f64>,
    /// From the request to the first token, where the server tells that by itself.
    pub first_token: Option<f64>,
    /// The whole request.
    pub total: Option<f64>,
}

impl ServerTimings {
    /// Takes over what `later` knows.
    pub fn update(&mut self, later: Self) {
        self.queue = later.queue.or(self.queue);
        self.prefill = later.prefill.or(self.prefill);
        self.decode = later.decode.or(self.decode);
        self.load = later.load.or(self.load);
        self.first_token = later.first_token.or(self.first_token);
        self.total = later.total.or(self.total);
    }

    /// From the request to the first token, as the server sees it: what it says, else the stages before
    /// the first token.
    pub fn time_to_first_token(&self) -> Option<f64> {
        let stages = |prefill| prefill + self.queue.unwrap_or(0.0) + self.load.unwrap_or(0.0);
        self.first_token.or(self.prefill.map(stages))
    }
}

/// Why something could not be measured. Bytes flow all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum UnparsedReason {
    /// An event or body that is no JSON, or no message of its protocol.
    Json,
    /// JSON that nests too deeply.
    Depth,
    /// Text that is no UTF-8; the event was measured.
    Utf8,
    /// A choice beyond the 128th, or with an index that is none.
    Choice,
    /// Framing that is broken: a wrong checksum, an absurd length.
    Framing,
    /// A content encoding that is not decoded: unknown, broken, or beyond the bounds.
    Encoding,
    /// An inference response in a content type that no dialect claims.
    ContentType,
    /// A header that says when the request began and is no time, or one more than an hour away.
    RequestStart,
    /// The meter failed on this response and was taken out of its way.
    Panic,
}

impl UnparsedReason {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Depth => "depth",
            Self::Utf8 => "utf8",
            Self::Choice => "choice",
            Self::Framing => "framing",
            Self::Encoding => "encoding",
            Self::ContentType => "content_type",
            Self::RequestStart => "request_start",
            Self::Panic => "panic",
        }
    }
}

/// What one event says.
#[derive(Debug, Default, PartialEq)]
pub struct EventFacts {
    /// The choices that the event speaks of, in its order.
    pub choices: Vec<ChoiceFacts>,
    /// Token counts that the API defines, as running totals or the final ones.
    pub usage: Option<TokenCounts>,
    /// Token counts in a field of the engine's own.
    pub engine_counts: Option<TokenCounts>,
    /// What the server says of its own time.
    pub timings: Option<ServerTimings>,
    /// The model that answered; in the first event that says so.
    pub model: Option<String>,
    /// The engine or vendor that writes like this.
    pub detected_engine: Option<Engine>,
    /// The server sends a stream's head when a slot takes the request, or is known not to.
    pub headers_at_slot: Option<bool>,
    /// A response begins, in a session of many.
    pub response_started: bool,
    /// The event says that the model is being loaded.
    pub loading: bool,
    /// The event reports an error.
    pub error: bool,
    /// The event ends the stream (`[DONE]`, `message_stop`, `"done":true`, ...).
    pub done: bool,
    pub unparsed: Option<UnparsedReason>,
}

impl EventFacts {
    pub(super) fn clear(&mut self) {
        // The choices keep their allocation: this runs once per event.
        self.choices.clear();
        self.usage = None;
        self.engine_counts = None;
        self.timings = None;
        self.model = None;
        self.detected_engine = None;
        self.headers_at_slot = None;
        self.response_started = false;
        self.loading = false;
        self.error = false;
        self.done = false;
        self.unparsed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_put_together_by_what_they_leave_out() {
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
        // What has only been thought so far.
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
    fn the_first_token_is_behind_the_stages_before_it() {
        let stages =
            ServerTimings { queue: Some(0.5), prefill: Some(0.25), ..ServerTimings::default() };
        assert_eq!(stages.time_to_first_token(), Some(0.75));
        let told = ServerTimings { first_token: Some(0.7), ..stages };
        assert_eq!(told.time_to_first_token(), Some(0.7));
        assert_eq!(
            ServerTimings { queue: Some(1.0), ..ServerTimings::default() }.time_to_first_token(),
            None
        );
    }
}
