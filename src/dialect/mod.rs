//! What the bytes of one event mean, API by API.
//!
//! A dialect takes the data of one event (or a whole JSON body, which is one event too) in any split
//! and gives [`Facts`]. It knows no transport, no clock and no metrics. [`route`] says which path is
//! which operation, [`request`] reads what is wanted of a request.

pub mod openai;
pub mod request;
pub mod route;

use std::borrow::Cow;

/// Most choices of one response that are told apart; servers allow far fewer.
pub const MAX_CHOICES: usize = 128;
/// Longest finish reason that is kept.
const MAX_REASON: usize = 64;

/// Why a choice ended, in the server's words.
pub type FinishReason = Cow<'static, str>;

/// A finish reason from the wire; the usual ones are not allocated.
pub fn finish_reason(text: &[u8]) -> FinishReason {
    const USUAL: [&str; 6] =
        ["stop", "length", "tool_calls", "content_filter", "function_call", "abort"];
    match USUAL.iter().find(|usual| usual.as_bytes() == text) {
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
    pub answers: bool,
    pub finish: Option<FinishReason>,
}

impl ChoiceFacts {
    /// Whether the event carries generated output of this choice.
    pub fn is_output(&self) -> bool {
        self.answers || self.reasoning_chars > 0
    }
}

/// Token counts as a server reports them; absent is `None`, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// Part of `input` that came from a cache.
    pub cached: Option<u64>,
    /// Part of `output` that is reasoning.
    pub reasoning: Option<u64>,
}

impl TokenCounts {
    /// Takes over what `later` knows.
    pub fn update(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.cached = later.cached.or(self.cached);
        self.reasoning = later.reasoning.or(self.reasoning);
    }
}

/// Why something could not be measured. Bytes flow all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unparsed {
    /// An event or body that is no JSON.
    Json,
    /// JSON that nests too deeply.
    Depth,
    /// Text that is no UTF-8; the event was measured.
    Utf8,
    /// A choice beyond the 128th, or with an index that is none.
    Choice,
    /// A content encoding that is not decoded.
    Encoding,
    /// An inference response in a content type that no dialect claims.
    ContentType,
    /// The meter failed on this response and was taken out of its way.
    Panic,
}

impl Unparsed {
    /// Every reason, for the table of metrics.
    pub const ALL: [Self; 7] = [
        Self::Json,
        Self::Depth,
        Self::Utf8,
        Self::Choice,
        Self::Encoding,
        Self::ContentType,
        Self::Panic,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Depth => "depth",
            Self::Utf8 => "utf8",
            Self::Choice => "choice",
            Self::Encoding => "encoding",
            Self::ContentType => "content_type",
            Self::Panic => "panic",
        }
    }
}

/// What one event says.
#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    /// The choices that the event speaks of, in its order.
    pub choices: Vec<ChoiceFacts>,
    /// Token counts that the API defines, as running totals or the final ones.
    pub usage: Option<TokenCounts>,
    /// Token counts in a field of the engine's own.
    pub engine: Option<TokenCounts>,
    /// The model that answered; in the first event that says so.
    pub model: Option<String>,
    /// The event reports an error.
    pub error: bool,
    /// The event ends the stream (`[DONE]`).
    pub done: bool,
    pub unparsed: Option<Unparsed>,
}

impl Facts {
    fn clear(&mut self) {
        // The choices keep their allocation: this runs once per event.
        self.choices.clear();
        self.usage = None;
        self.engine = None;
        self.model = None;
        self.error = false;
        self.done = false;
        self.unparsed = None;
    }
}
