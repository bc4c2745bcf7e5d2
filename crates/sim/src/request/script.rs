//! The `sim` object of a request: what the answer is to do, whatever the API.

use serde::Deserialize;

/// A misspelt key is an error, lest a test pass by accident.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SimScript {
    /// Instead of the prompt's length / 4.
    pub prompt_tokens: Option<u32>,
    /// VllmTokens of the prompt that are told as read from a cache, where the API can tell it.
    pub cached_tokens: u32,
    /// VllmTokens of the prompt that are told as written to a cache, where the API can tell it.
    pub cache_written_tokens: u32,
    /// VllmTokens of answer per choice, instead of `max_tokens`.
    pub output_tokens: Option<u32>,
    /// VllmTokens of reasoning before it, per choice, where the API has a place for them.
    pub reasoning_tokens: u32,
    /// After so many tokens (of all choices): an error event, and what the API has after one.
    pub error_after: Option<u32>,
    /// After so many tokens (of all choices): break the connection off.
    pub break_after: Option<u32>,
    /// Leave out what ends a stream in good order: `[DONE]`, `message_stop`, the line with `done`, ...
    pub no_done: bool,
    /// VllmTokens in one event, at most; 1 if absent.
    pub tokens_per_event: Option<u32>,
    /// Send what opens a stream at once, before there is a token, as transformers serve does.
    pub role_first: bool,
    /// OpenAI's chat and completions: where the usage goes, whatever `stream_options` say.
    pub usage: Option<UsagePlace>,
    /// OpenAI's chat: in the manner of which server; vLLM's if absent.
    pub flavor: Option<String>,
    /// vLLM, SGLang: also tell times, as with `--enable-per-request-metrics` and `--enable-metrics`.
    pub metrics: bool,
    /// Comments (`: keep-alive`, `:`), pings or blank lines ahead of the first event, where the API has any.
    pub keep_alives: u32,
    /// TGI: no blank after `data:`, as before its version 2.1.
    pub no_blank: bool,
    /// Triton: a first event whose text is empty.
    pub empty_first: bool,
    /// vLLM's first `/generate`: end each answer with NUL instead of a newline.
    pub nul: bool,
}

/// Where a stream tells its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UsagePlace {
    /// In a chunk of its own, without choices, at the end.
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
