//! Amazon Bedrock: `/model/ID/converse`, `/invoke`, and their streams.
//!
//! Streams are binary frames. `invoke` wraps the API of the model, here Anthropic's: each frame contains one of its events
//! in base64, the last one with Bedrock's own counts. Payloads are padded with `p`. Source: recordings of
//! bedrock-runtime.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::anthropic::{AnthropicEvent, AnthropicMessage};
use super::event_stream::{event, exception};
use super::{ApiError, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const CONVERSE: RequestFields = RequestFields {
    prompt: &["/system", "/messages"],
    limit: &["/inferenceConfig/maxTokens"],
    tool: &["/toolConfig/tools/0/toolSpec/name", "/toolConfig/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
const USAGE: &str = r#""usage":{"inputTokens":$fresh,"outputTokens":$output,"totalTokens":$total,"cacheReadInputTokens":$cached,"cacheWriteInputTokens":$written},"metrics":{"latencyMs":$total_whole_ms}"#;
const STOP: &str = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":$input,"outputTokenCount":$output,"invocationLatency":$total_whole_ms,"firstByteLatency":$ttft_whole_ms}}"#;
const HEADERS: [(&str, &str); 3] = [
    ("x-amzn-bedrock-invocation-latency", "$total_whole_ms"),
    ("x-amzn-bedrock-input-token-count", "$input"),
    ("x-amzn-bedrock-output-token-count", "$output"),
];
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Returns the padding of frame `nth`.
fn padding(nth: usize) -> &'static str {
    ALPHABET.get(..nth * 37 % ALPHABET.len() + 1).unwrap_or(ALPHABET)
}

#[derive(Debug)]
pub(super) struct BedrockConverse {
    id: String,
    reason: &'static str,
    /// The open block and its index.
    block: Option<(OutputPart, u32)>,
    blocks: u32,
    frames: usize,
}

impl BedrockConverse {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            reason: match case.plan.finish {
                ScriptedFinish::Stop => "end_turn",
                ScriptedFinish::Length => "max_tokens",
                ScriptedFinish::Tool => "tool_use",
            },
            block: None,
            blocks: 0,
            frames: 0,
        }
    }

    /// Writes a frame with these fields.
    fn event(&mut self, kind: &str, fields: &str) -> Vec<u8> {
        self.frames += 1;
        event(kind, &format!(r#"{{{fields},"p":"{}"}}"#, padding(self.frames)))
    }

    fn close(&mut self, out: &mut FrameQueue) {
        if let Some((_, index)) = self.block.take() {
            let fields = format!(r#""contentBlockIndex":{index}"#);
            out.plain(self.event("contentBlockStop", &fields));
        }
    }
}

impl ResponseWriter for BedrockConverse {
    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn started(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.plain(self.event("messageStart", r#""role":"assistant""#));
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let OutputChunk { part, json, .. } = *output;
        let same = |open: OutputPart| open == part || open.is_tool() && part.is_tool();
        if !self.block.is_some_and(|(open, _)| same(open)) {
            self.close(out);
            self.block = Some((part, self.blocks));
            self.blocks += 1;
        }
        let index = self.blocks.saturating_sub(1);
        let delta = match part {
            OutputPart::Text => format!(r#""text":"{json}""#),
            OutputPart::Reasoning => format!(r#""reasoningContent":{{"text":"{json}"}}"#),
            OutputPart::ToolArguments => format!(r#""toolUse":{{"input":"{json}"}}"#),
            OutputPart::ToolName => {
                let id = &self.id;
                let fields = format!(
                    r#""contentBlockIndex":{index},"start":{{"toolUse":{{"name":"{json}","toolUseId":"tooluse_{id}"}}}}"#
                );
                return out.output(self.event("contentBlockStart", &fields));
            }
        };
        let fields = format!(r#""contentBlockIndex":{index},"delta":{{{delta}}}"#);
        out.output(self.event("contentBlockDelta", &fields));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        self.close(out);
        let stop = format!(r#""stopReason":"{}""#, self.reason);
        out.done(self.event("messageStop", &stop));
        let (usage, reported) = account.fill(USAGE, &[]);
        out.report(reported);
        out.done(self.event("metadata", &usage));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(failure());
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let empty = ChoiceTexts::default();
        let texts = choices.first().unwrap_or(&empty);
        let mut content = Vec::new();
        if !texts.reasoning.is_empty() {
            let text = &texts.reasoning;
            content.push(format!(
                r#"{{"reasoningContent":{{"reasoningText":{{"text":"{text}","signature":"Eu=="}}}}}}"#
            ));
        }
        if texts.tool_name.is_empty() {
            content.push(format!(r#"{{"text":"{}"}}"#, texts.text));
        } else {
            let (id, name, input) = (&self.id, &texts.tool_name, texts.arguments_object());
            content.push(format!(
                r#"{{"toolUse":{{"toolUseId":"tooluse_{id}","name":"{name}","input":{input}}}}}"#
            ));
        }
        let (usage, reported) = account.fill(USAGE, &[]);
        let (content, reason) = (content.join(","), self.reason);
        let whole = format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{content}]}}}},"stopReason":"{reason}",{usage}}}"#
        );
        (whole, reported).into()
    }
}

/// `invoke` of an Anthropic model.
#[derive(Debug)]
pub(super) struct BedrockInvoke {
    message: AnthropicMessage,
    frames: usize,
}

impl BedrockInvoke {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self { message: AnthropicMessage::new(case), frames: 0 }
    }

    fn chunk(&mut self, json: &str) -> Vec<u8> {
        self.frames += 1;
        let (bytes, p) = (STANDARD.encode(json), padding(self.frames));
        event("chunk", &format!(r#"{{"bytes":"{bytes}","p":"{p}"}}"#))
    }

    fn send(&mut self, event: AnthropicEvent, out: &mut FrameQueue) {
        event.reported.into_iter().for_each(|reported| out.report(reported));
        let bytes = self.chunk(&event.json);
        if event.is_output { out.output(bytes) } else { out.plain(bytes) }
    }
}

impl ResponseWriter for BedrockInvoke {
    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn started(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let start = self.message.start(account);
        self.send(start, out);
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        for event in self.message.output(output) {
            self.send(event, out);
        }
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        for event in self.message.finish(account) {
            self.send(event, out);
        }
        let (stop, reported) = account.fill(STOP, &[]);
        out.report(reported);
        out.done(self.chunk(&stop));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(failure());
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let empty = ChoiceTexts::default();
        let (json, mut reported): (String, ReportedValues) =
            self.message.whole(choices.first().unwrap_or(&empty), account);
        let mut headers = Vec::new();
        for (name, template) in HEADERS {
            let (value, values) = account.fill(template, &[]);
            reported.update(&values);
            headers.push((name, value));
        }
        WholeResponse { bytes: json.into(), headers, reported }
    }
}

fn failure() -> Vec<u8> {
    exception("modelStreamErrorException", &json!({"message": FAILURE}).to_string())
}

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, message) = match error {
        ApiError::Malformed(message) => (400, message.clone()),
        ApiError::NoModel(_) => (400, "The provided model identifier is invalid.".to_owned()),
        ApiError::QueueFull => (429, "Too many requests, please wait.".to_owned()),
        ApiError::Loading => (503, "Loading model".to_owned()),
        ApiError::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"message": message}))
}
