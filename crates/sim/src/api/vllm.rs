//! vLLM's own APIs: `/inference/v1/generate` with token ids as input and output, and the `/generate` of its first
//! server.
//!
//! Source: vLLM's `entrypoints/serve/disagg/protocol.py` and `serving.py`, and `entrypoints/api_server.py` before its
//! removal. The latter has no content type; each chunk is the prompt and the text so far, terminated by NUL in the oldest
//! releases and by a newline later.

use super::chat::{DONE, error_event, finish_reason, usage_place};
use super::{OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, token_ids};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish, UsagePlace};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const TOKENS: RequestFields = RequestFields {
    prompt: &["/token_ids"],
    limit: &["/sampling_params/max_tokens"],
    choices: Some("/sampling_params/n"),
    shows: false,
    ..RequestFields::PLAIN
};

pub(super) const LEGACY: RequestFields = RequestFields::PLAIN;

const USAGE: &str = r#"{"prompt_tokens":$input,"total_tokens":$total,"completion_tokens":$output}"#;

/// Responses with token ids.
#[derive(Debug)]
pub(super) struct VllmTokens {
    id: String,
    finish: ScriptedFinish,
    choices: u32,
    last: u32,
    usage: UsagePlace,
    continuous: bool,
}

impl VllmTokens {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        let continuous =
            case.request.flag("/stream_options/continuous_usage_stats").unwrap_or(false);
        let usage = usage_place(case);
        Self {
            id: json_inner(case.id),
            finish: case.plan.finish,
            choices: case.plan.job.choices,
            last: case.plan.job.output_tokens,
            usage,
            continuous: continuous && usage.trails(),
        }
    }
}

impl ResponseWriter for VllmTokens {
    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        let OutputChunk { choice, first, tokens, .. } = *output;
        let reason = if first + tokens == self.last {
            format!("\"{}\"", finish_reason(self.finish))
        } else {
            "null".to_owned()
        };
        let usage = if self.continuous {
            // For this choice only.
            let one = ResponseNumbers { output: first + tokens, ..*account };
            one.fill(USAGE, &[]).0
        } else {
            "null".to_owned()
        };
        let (id, ids) = (&self.id, token_ids(first, tokens));
        out.numbers(format!(
            "data: {{\"request_id\":\"generate-tokens-{id}\",\"choices\":[{{\"index\":{choice},\"logprobs\":null,\
             \"finish_reason\":{reason},\"token_ids\":[{ids}],\"routed_experts\":null}}],\"usage\":{usage}}}\n\n"
        ));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        if self.usage.trails() {
            let (usage, reported) = account.fill(USAGE, &[]);
            out.report(reported);
            let id = &self.id;
            out.plain(format!(
                "data: {{\"request_id\":\"generate-tokens-{id}\",\"choices\":[],\"usage\":{usage}}}\n\n"
            ));
        }
        out.done(DONE);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(error_event());
        out.done(DONE);
    }

    /// Without usage, because the response has no field for it.
    fn whole(&mut self, _: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let ids = token_ids(0, account.output / self.choices.max(1));
        let (id, reason) = (&self.id, finish_reason(self.finish));
        let choice = |index: u32| {
            format!(
                r#"{{"index":{index},"logprobs":null,"finish_reason":"{reason}","token_ids":[{ids}],"routed_experts":null}}"#
            )
        };
        let choices: Vec<String> = (0..self.choices).map(choice).collect();
        let choices = choices.join(",");
        let whole = format!(
            r#"{{"request_id":"generate-tokens-{id}","choices":[{choices}],"prompt_logprobs":null,"kv_transfer_params":null}}"#
        );
        (whole, ReportedValues::default()).into()
    }
}

/// The first `/generate`.
#[derive(Debug)]
pub(super) struct VllmLegacy {
    /// The prompt and the text so far.
    text: String,
    end: char,
}

impl VllmLegacy {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            text: json_inner(case.request.text("/prompt").unwrap_or_default()),
            end: if case.plan.script.nul { '\0' } else { '\n' },
        }
    }

    fn json(&self) -> String {
        format!(r#"{{"text":["{}"]}}"#, self.text)
    }
}

impl ResponseWriter for VllmLegacy {
    fn content_type(&self) -> &'static str {
        ""
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        self.text.push_str(output.json);
        out.output(format!("{}{}", self.json(), self.end));
    }

    fn finish(&mut self, _: &ResponseNumbers, _: &mut FrameQueue) {}

    /// Errors cannot be reported: the stream ends.
    fn fail(&mut self, _: &mut FrameQueue) {}

    fn whole(&mut self, choices: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        self.text.push_str(choices.first().map_or("", |texts| texts.text.as_str()));
        (self.json(), ReportedValues::default()).into()
    }
}
