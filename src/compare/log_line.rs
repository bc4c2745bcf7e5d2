//! One line of a request log.

use serde::Deserialize;
use std::borrow::Cow;

/// The fields of a request-log line that a comparison uses. Fields that an older version does not write are `None`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LogLine<'a> {
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    #[serde(borrow)]
    pub operation: Cow<'a, str>,
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    pub stream: Option<bool>,
    pub duration_s: f64,
    pub bytes_up: u64,
    pub upstream: Option<Cow<'a, str>>,
    pub engine: Option<Cow<'a, str>>,
    pub model: Option<Cow<'a, str>>,
    pub response_model: Option<Cow<'a, str>>,
    pub cold: Option<bool>,
    #[serde(default)]
    pub degraded: bool,
    pub characters_per_second: Option<f64>,
    pub ttft_s: Option<f64>,
    pub answer_s: Option<f64>,
    pub tpot_s: Option<f64>,
    pub max_gap_s: Option<f64>,
    pub queue_s: Option<f64>,
    pub queue_source: Option<Cow<'a, str>>,
    pub input_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub output_tokens_source: Option<Cow<'a, str>>,
    pub reasoning_tokens: Option<u64>,
    pub answer_chars: Option<u64>,
    pub reasoning_chars: Option<u64>,
    pub tool_chars: Option<u64>,
}

impl LogLine<'_> {
    /// Output tokens as counted by the server.
    pub fn counted(&self) -> Option<u64> {
        self.output_tokens.filter(|_| self.output_tokens_source.as_deref() != Some("events"))
    }

    /// Characters of output: answer, reasoning and tool arguments.
    pub fn characters(&self) -> Option<f64> {
        let others = [self.reasoning_chars, self.tool_chars].into_iter().flatten();
        let all = self.answer_chars? as f64 + others.map(|count| count as f64).sum::<f64>();
        (all > 0.0).then_some(all)
    }
}
