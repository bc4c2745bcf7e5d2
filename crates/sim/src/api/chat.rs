//! OpenAI's chat and completions, in the format of vLLM.
//!
//! The constant parts of the chunks are built once per response; each chunk then copies them.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{
    ApiError, OutputChunk, ResponseContext, ResponseWriter, SimApi, WholeResponse, openai_refusal,
};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish, UsagePlace};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const CHAT: RequestFields = RequestFields {
    prompt: &["/messages"],
    limit: &["/max_completion_tokens", "/max_tokens"],
    choices: Some("/n"),
    tool: &["/tools/0/function/name", "/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

pub(super) const COMPLETIONS: RequestFields =
    RequestFields { choices: Some("/n"), ..RequestFields::PLAIN };

/// The terminator of a stream.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

const USAGE: &str = r#"{"prompt_tokens":$input,"total_tokens":$total,"completion_tokens":$output,"prompt_tokens_details":{"cached_tokens":$cached}}"#;
const USAGE_WITH_REASONING: &str = r#"{"prompt_tokens":$input,"total_tokens":$total,"completion_tokens":$output,"prompt_tokens_details":{"cached_tokens":$cached},"completion_tokens_details":{"reasoning_tokens":$reasoning}}"#;
/// vLLM's `--enable-per-request-metrics`. Its "time to first token" starts when the request is scheduled.
const METRICS: &str = r#","metrics":{"time_to_first_token_ms":$prefill_ms,"generation_time_ms":$decode_ms,"queue_time_ms":$queue_ms,"mean_itl_ms":$pace_ms,"tokens_per_second":$per_s}"#;

/// The finish reasons.
pub(super) fn finish_reason(finish: ScriptedFinish) -> &'static str {
    match finish {
        ScriptedFinish::Stop => "stop",
        ScriptedFinish::Length => "length",
        ScriptedFinish::Tool => "tool_calls",
    }
}

/// Returns where a stream reports its usage, by its options and the script.
pub(super) fn usage_place(case: &ResponseContext<'_>) -> UsagePlace {
    let requested = case.request.flag("/stream_options/include_usage").unwrap_or(false);
    let requested = if requested { UsagePlace::Trailing } else { UsagePlace::None };
    case.plan.script.usage.unwrap_or(requested)
}

/// An error in the middle of a stream.
pub(super) fn error_event() -> String {
    let (_, error) = openai_refusal(&ApiError::Failed);
    format!("data: {error}\n\n")
}

/// Writes one response.
#[derive(Debug)]
pub(super) struct OpenAiChat {
    api: SimApi,
    /// Chunk from `data: ` to the opening bracket of `choices`.
    prefix: String,
    /// The same for a response that is not streamed.
    whole_prefix: String,
    /// Id of the tool call, if there is one.
    call_id: String,
    choices: u32,
    finish: &'static str,
    usage: UsagePlace,
    /// Whether every chunk has the usage so far.
    continuous: bool,
    metrics: bool,
    keep_alives: u32,
}

impl OpenAiChat {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        let api = case.route.api;
        let (id, object, whole) = match api {
            SimApi::Completions => ("cmpl", "text_completion", "text_completion"),
            _ => ("chatcmpl", "chat.completion.chunk", "chat.completion"),
        };
        let (id, model) = (format!("{id}-{}", json_inner(case.id)), json_inner(case.model));
        let prefix = |object| {
            let created = case.created;
            format!(
                r#"{{"id":"{id}","object":"{object}","created":{created},"model":"{model}","choices":["#
            )
        };
        let include_usage = case.request.flag("/stream_options/include_usage").unwrap_or(false);
        let continuous =
            case.request.flag("/stream_options/continuous_usage_stats").unwrap_or(false);
        Self {
            api,
            prefix: format!("data: {}", prefix(object)),
            whole_prefix: prefix(whole),
            call_id: format!("chatcmpl-tool-{id}"),
            choices: case.plan.job.choices,
            finish: finish_reason(case.plan.finish),
            usage: usage_place(case),
            // vLLM sends the usage so far only together with include_usage.
            continuous: include_usage && continuous,
            // With several choices there are no timings.
            metrics: case.plan.script.metrics && case.plan.job.choices == 1,
            keep_alives: case.plan.script.keep_alives,
        }
    }

    /// Writes one chunk, with `usage` if given.
    fn chunk(
        &self,
        choice: u32,
        usage: Option<&ResponseNumbers>,
        fill: impl FnOnce(&mut String),
    ) -> (Bytes, Option<ReportedValues>) {
        // Space for the fixed parts and a short text, so that a usual chunk needs one allocation.
        let mut out = String::with_capacity(self.prefix.len() + 160);
        out.push_str(&self.prefix);
        let _ = write!(out, r#"{{"index":{choice},"#);
        fill(&mut out);
        out.push_str("}]");
        let reported = usage.map(|account| {
            let (usage, reported) = usage_json(account);
            let _ = write!(out, r#","usage":{usage}"#);
            reported
        });
        out.push_str("}\n\n");
        (Bytes::from(out), reported)
    }

    fn choice(&self, index: usize, texts: &ChoiceTexts) -> String {
        let ChoiceTexts { text, reasoning, tool_name, tool_arguments } = texts;
        let finish = self.finish;
        if self.api == SimApi::Completions {
            return format!(
                r#"{{"index":{index},"text":"{text}","logprobs":null,"finish_reason":"{finish}"}}"#
            );
        }
        let reasoning =
            if reasoning.is_empty() { "null".to_owned() } else { format!("\"{reasoning}\"") };
        let content = if tool_name.is_empty() {
            format!(r#""content":"{text}","tool_calls":[]"#)
        } else {
            format!(
                r#""content":null,"tool_calls":[{{"id":"chatcmpl-tool-{index}","type":"function","function":{{"name":"{tool_name}","arguments":"{tool_arguments}"}}}}]"#
            )
        };
        format!(
            r#"{{"index":{index},"message":{{"role":"assistant","reasoning_content":{reasoning},{content}}},"logprobs":null,"finish_reason":"{finish}"}}"#
        )
    }
}

fn usage_json(account: &ResponseNumbers) -> (String, ReportedValues) {
    account.fill(if account.reasoning > 0 { USAGE_WITH_REASONING } else { USAGE }, &[])
}

impl ResponseWriter for OpenAiChat {
    fn admitted(&mut self, out: &mut FrameQueue) {
        for _ in 0..self.keep_alives {
            out.plain(": keep-alive\n\n");
        }
    }

    /// Writes the chunks that open the choices without output; chat only.
    fn opened(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        if self.api == SimApi::Completions {
            return;
        }
        for choice in 0..self.choices {
            let usage = self.continuous.then_some(account);
            let (chunk, reported) = self.chunk(choice, usage, |out| {
                out.push_str(
                    r#""delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null"#,
                );
            });
            reported.into_iter().for_each(|reported| out.report(reported));
            out.plain(chunk);
        }
    }

    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        let OutputChunk { choice, part, json, .. } = *output;
        let (before, after) = match (self.api, part) {
            (SimApi::Completions, _) => (r#""text":""#, r#"","#),
            (_, OutputPart::Text) => (r#""delta":{"content":""#, r#""},"#),
            (_, OutputPart::Reasoning) => (r#""delta":{"reasoning_content":""#, r#""},"#),
            (_, OutputPart::ToolName) => (r#""name":""#, r#"","arguments":""}}]},"#),
            (_, OutputPart::ToolArguments) => {
                (r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":""#, r#""}}]},"#)
            }
        };
        let usage = self.continuous.then_some(account);
        let (chunk, reported) = self.chunk(choice, usage, |out| {
            if part == OutputPart::ToolName {
                let _ = write!(
                    out,
                    r#""delta":{{"tool_calls":[{{"id":"{}-{choice}","type":"function","index":0,"function":{{"#,
                    self.call_id
                );
            }
            out.push_str(before);
            out.push_str(json);
            out.push_str(after);
            out.push_str(r#""logprobs":null,"finish_reason":null"#);
        });
        reported.into_iter().for_each(|reported| out.report(reported));
        out.output(chunk);
    }

    /// Writes the chunks that end the choices, the usage chunk, and the terminator.
    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let empty = match self.api {
            SimApi::Completions => r#""text":"""#,
            _ => r#""delta":{}"#,
        };
        for choice in 0..self.choices {
            let in_last = self.usage.in_finish() && choice + 1 == self.choices;
            let usage = (in_last || self.continuous).then_some(account);
            let (chunk, reported) = self.chunk(choice, usage, |out| {
                let finish = self.finish;
                let _ = write!(
                    out,
                    r#"{empty},"logprobs":null,"finish_reason":"{finish}","stop_reason":null"#
                );
            });
            reported.into_iter().for_each(|reported| out.report(reported));
            out.plain(chunk);
        }
        if self.usage.trails() {
            let (usage, reported) = usage_json(account);
            out.report(reported);
            let (metrics, reported) = account.fill(if self.metrics { METRICS } else { "" }, &[]);
            out.report(reported);
            out.plain(format!("{}],\"usage\":{usage}{metrics}}}\n\n", self.prefix));
        }
        out.done(DONE);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(error_event());
        out.done(DONE);
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let choices: Vec<String> =
            choices.iter().enumerate().map(|(index, texts)| self.choice(index, texts)).collect();
        let (usage, mut reported) = usage_json(account);
        let (metrics, times) = account.fill(if self.metrics { METRICS } else { "" }, &[]);
        reported.update(&times);
        let (prefix, choices) = (&self.whole_prefix, choices.join(","));
        (format!(r#"{prefix}{choices}],"usage":{usage}{metrics}}}"#), reported).into()
    }
}
