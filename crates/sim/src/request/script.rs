//! The `sim` object of a request: it scripts the response, for every API.

use serde::Deserialize;

/// A script. Unknown keys are errors, so that no test passes by accident.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SimScript {
    /// Tokens of the prompt, instead of its length / 4.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the prompt that are reported as read from a cache, if the API can report it.
    pub cached_tokens: u32,
    /// Tokens of the prompt that are reported as written to a cache, if the API can report it.
    pub cache_written_tokens: u32,
    /// Tokens of the answer per choice, instead of `max_tokens`.
    pub output_tokens: Option<u32>,
    /// Tokens of reasoning before the answer, per choice, if the API supports it.
    pub reasoning_tokens: u32,
    /// Number of tokens (of all choices) after which an error event ends the stream.
    pub error_after: Option<u32>,
    /// Number of tokens (of all choices) after which the connection is aborted.
    pub break_after: Option<u32>,
    /// Omit the terminator: `[DONE]`, `message_stop`, the line with `done`, ...
    pub no_done: bool,
    /// Maximum number of tokens in one event; 1 if absent.
    pub tokens_per_event: Option<u32>,
    /// Send the opening events at once, before the first token, as transformers serve does.
    pub role_first: bool,
    /// OpenAI's chat and completions: where the usage is, regardless of `stream_options`.
    pub usage: Option<UsagePlace>,
    /// OpenAI's chat: the server to imitate; vLLM if absent.
    pub flavor: Option<String>,
    /// vLLM, SGLang: also report times, as with `--enable-per-request-metrics` and `--enable-metrics`.
    pub metrics: bool,
    /// Comments (`: keep-alive`, `:`), pings or blank lines before the first event, if the API has them.
    pub keep_alives: u32,
    /// TGI: no blank after `data:`, as before its version 2.1.
    pub no_blank: bool,
    /// Triton: a first event whose text is empty.
    pub empty_first: bool,
    /// vLLM's first `/generate`: end each answer with NUL instead of a newline.
    pub nul: bool,
}

/// Where a stream reports its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UsagePlace {
    /// In a separate chunk without choices, at the end.
    Trailing,
    /// In the last chunk with a finish reason.
    Finish,
    Both,
    None,
}

impl UsagePlace {
    pub fn in_finish(self) -> bool {
        matches!(self, Self::Finish | Self::Both)
    }

    pub fn trails(self) -> bool {
        matches!(self, Self::Trailing | Self::Both)
    }
}
