//! Cohere's `/v2/chat` (server-sent events) and `/v1/chat` (NDJSON).
//!
//! The last event has two token counts; the billed one is not the number of generated tokens. Source: recordings of
//! api.cohere.com.

use serde_json::{Value, json};

use super::chat::DONE;
use super::{ApiError, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const V2: RequestFields = RequestFields {
    prompt: &["/messages"],
    tool: &["/tools/0/function/name", "/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

pub(super) const V1: RequestFields =
    RequestFields { prompt: &["/message"], ..RequestFields::PLAIN };

const USAGE: &str = r#"{"billed_units":{"input_tokens":$billedin,"output_tokens":$billedout},"tokens":{"input_tokens":$input,"output_tokens":$output},"cached_tokens":$cached}"#;
const USAGE_WITH_REASONING: &str = r#"{"billed_units":{"input_tokens":$billedin,"output_tokens":$billedout},"tokens":{"input_tokens":$input,"output_tokens":$output,"reasoning_tokens":$reasoning},"cached_tokens":$cached}"#;
const META: &str = r#"{"api_version":{"version":"1"},"billed_units":{"input_tokens":$billedin,"output_tokens":$billedout},"tokens":{"input_tokens":$input,"output_tokens":$output}}"#;

/// Billed tokens exclude the prompt template and the end token.
fn with_bill(template: &str, account: &ResponseNumbers) -> (String, ReportedValues) {
    let input = account.input.div_ceil(2).to_string();
    let output = account.output.saturating_sub(1).to_string();
    account.fill(template, &[("billedin", &input), ("billedout", &output)])
}

fn usage(account: &ResponseNumbers) -> (String, ReportedValues) {
    with_bill(if account.reasoning > 0 { USAGE_WITH_REASONING } else { USAGE }, account)
}

#[derive(Debug)]
pub(super) struct Cohere {
    id: String,
    reason: &'static str,
    /// The open part and its index.
    open: Option<(OutputPart, u32)>,
    parts: u32,
}

impl Cohere {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            reason: match case.plan.finish {
                ScriptedFinish::Stop => "COMPLETE",
                ScriptedFinish::Length => "MAX_TOKENS",
                ScriptedFinish::Tool => "TOOL_CALL",
            },
            open: None,
            parts: 0,
        }
    }

    fn close(&mut self, out: &mut FrameQueue) {
        if let Some((part, index)) = self.open.take() {
            let name = if part.is_tool() { "tool-call-end" } else { "content-end" };
            out.plain(event(name, &format!(r#"{{"type":"{name}","index":{index}}}"#)));
        }
    }
}

fn event(name: &str, json: &str) -> String {
    format!("event: {name}\ndata: {json}\n\n")
}

impl ResponseWriter for Cohere {
    fn opened(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        let json = format!(
            r#"{{"id":"{}","type":"message-start","delta":{{"message":{{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}}}}"#,
            self.id
        );
        out.plain(event("message-start", &json));
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let OutputChunk { part, json, .. } = *output;
        let same = |open: OutputPart| open == part || open.is_tool() && part.is_tool();
        let opens = !self.open.is_some_and(|(open, _)| same(open));
        if opens {
            self.close(out);
            self.open = Some((part, self.parts));
            self.parts += 1;
        }
        let index = self.parts.saturating_sub(1);
        let message = |name: &str, message: &str| {
            let json = format!(
                r#"{{"type":"{name}","index":{index},"delta":{{"message":{{{message}}}}}}}"#
            );
            event(name, &json)
        };
        let key = match part {
            OutputPart::Reasoning => "thinking",
            OutputPart::Text => "text",
            OutputPart::ToolName => {
                let id = &self.id;
                let call = format!(
                    r#""tool_calls":{{"id":"call_{id}","type":"function","function":{{"name":"{json}","arguments":""}}}}"#
                );
                return out.output(message("tool-call-start", &call));
            }
            OutputPart::ToolArguments => {
                let call = format!(r#""tool_calls":{{"function":{{"arguments":"{json}"}}}}"#);
                return out.output(message("tool-call-delta", &call));
            }
        };
        if opens {
            let start = format!(r#""content":{{"type":"{key}","{key}":""}}"#);
            out.plain(message("content-start", &start));
        }
        out.output(message("content-delta", &format!(r#""content":{{"{key}":"{json}"}}"#)));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        self.close(out);
        let (usage, reported) = usage(account);
        let reason = self.reason;
        let json = format!(
            r#"{{"type":"message-end","delta":{{"finish_reason":"{reason}","usage":{usage}}}}}"#
        );
        out.report(reported);
        out.done(event("message-end", &json));
        out.done(DONE);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let json =
            json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": FAILURE}});
        out.plain(event("message-end", &json.to_string()));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let empty = ChoiceTexts::default();
        let texts = choices.first().unwrap_or(&empty);
        let mut content = Vec::new();
        for (key, text) in [("thinking", &texts.reasoning), ("text", &texts.text)] {
            if !text.is_empty() {
                content.push(format!(r#"{{"type":"{key}","{key}":"{text}"}}"#));
            }
        }
        let (id, reason, content) = (&self.id, self.reason, content.join(","));
        let calls = if texts.tool_name.is_empty() {
            String::new()
        } else {
            let ChoiceTexts { tool_name, tool_arguments, .. } = texts;
            format!(
                r#","tool_calls":[{{"id":"call_{id}","type":"function","function":{{"name":"{tool_name}","arguments":"{tool_arguments}"}}}}]"#
            )
        };
        let (usage, reported) = usage(account);
        let whole = format!(
            r#"{{"id":"{id}","finish_reason":"{reason}","message":{{"role":"assistant","content":[{content}]{calls}}},"usage":{usage}}}"#
        );
        (whole, reported).into()
    }
}

/// `/v1/chat`. Its last line repeats the whole text.
#[derive(Debug)]
pub(super) struct CohereV1 {
    id: String,
    reason: &'static str,
    text: String,
}

impl CohereV1 {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        let Cohere { id, reason, .. } = Cohere::new(case);
        Self { id, reason, text: String::new() }
    }

    fn response(&self, text: &str, account: &ResponseNumbers) -> (String, ReportedValues) {
        let (meta, reported) = with_bill(META, account);
        let Self { id, reason, .. } = self;
        let response = format!(
            r#"{{"response_id":"{id}","text":"{text}","generation_id":"{id}","chat_history":[{{"role":"CHATBOT","message":"{text}"}}],"finish_reason":"{reason}","meta":{meta}}}"#
        );
        (response, reported)
    }
}

impl ResponseWriter for CohereV1 {
    fn content_type(&self) -> &'static str {
        "application/stream+json"
    }

    fn opened(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        let id = &self.id;
        out.plain(format!(
            "{{\"is_finished\":false,\"event_type\":\"stream-start\",\"generation_id\":\"{id}\"}}\n"
        ));
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        self.text.push_str(output.json);
        let text = output.json;
        out.output(format!(
            "{{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"{text}\"}}\n"
        ));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let (response, reported) = self.response(&self.text, account);
        let reason = self.reason;
        out.report(reported);
        out.done(format!(
            "{{\"is_finished\":true,\"event_type\":\"stream-end\",\"response\":{response},\"finish_reason\":\"{reason}\"}}\n"
        ));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let line =
            json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "ERROR"});
        out.plain(format!("{line}\n"));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        self.response(choices.first().map_or("", |texts| texts.text.as_str()), account).into()
    }
}

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, message) = match error {
        ApiError::Malformed(message) => (400, message.clone()),
        ApiError::NoModel(name) => (404, format!("model '{name}' not found")),
        ApiError::QueueFull => (429, "too many requests".to_owned()),
        ApiError::Loading => (503, "Loading model".to_owned()),
        ApiError::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"message": message}))
}
