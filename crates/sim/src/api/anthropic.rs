//! Anthropic's `/v1/messages` and the older `/v1/complete`.
//!
//! Source: recordings of api.anthropic.com. Events are padded with spaces before their last brace, and `message_start`
//! reports a small number of output tokens that is not a count.

use serde_json::{Value, json};

use super::{ApiError, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const MESSAGES: RequestFields = RequestFields {
    prompt: &["/system", "/messages"],
    tool: &["/tools/0/name", "/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

pub(super) const COMPLETE: RequestFields =
    RequestFields { limit: &["/max_tokens_to_sample"], ..RequestFields::PLAIN };

const START: &str = r#"{"type":"message_start","message":{"model":"$model","id":"msg_$id","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":$fresh,"cache_creation_input_tokens":$written,"cache_read_input_tokens":$cached,"output_tokens":3,"service_tier":"standard"}}}"#;
const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"$reason","stop_sequence":null},"usage":{"input_tokens":$fresh,"cache_creation_input_tokens":$written,"cache_read_input_tokens":$cached,"output_tokens":$output}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;
const ERROR: &str =
    r#"{"type":"error","error":{"type":"overloaded_error","message":"scripted error"}}"#;
const WHOLE: &str = r#"{"model":"$model","id":"msg_$id","type":"message","role":"assistant","content":[$content],"stop_reason":"$reason","stop_sequence":null,"usage":{"input_tokens":$fresh,"cache_creation_input_tokens":$written,"cache_read_input_tokens":$cached,"output_tokens":$output,"service_tier":"standard"}}"#;

/// Events of one message, independent of their framing.
#[derive(Debug)]
pub(super) struct AnthropicMessage {
    id: String,
    model: String,
    reason: &'static str,
    /// The open block and its index.
    block: Option<(OutputPart, u32)>,
    blocks: u32,
}

/// One event: name, JSON, whether it contains output, and reported values.
pub(super) struct AnthropicEvent {
    pub(super) name: &'static str,
    pub(super) json: String,
    pub(super) is_output: bool,
    pub(super) reported: Option<ReportedValues>,
}

impl AnthropicEvent {
    fn plain(name: &'static str, json: impl Into<String>) -> Self {
        Self { name, json: json.into(), is_output: false, reported: None }
    }

    fn output(name: &'static str, json: impl Into<String>) -> Self {
        Self { is_output: true, ..Self::plain(name, json) }
    }
}

impl AnthropicMessage {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            model: json_inner(case.model),
            reason: match case.plan.finish {
                ScriptedFinish::Stop => "end_turn",
                ScriptedFinish::Length => "max_tokens",
                ScriptedFinish::Tool => "tool_use",
            },
            block: None,
            blocks: 0,
        }
    }

    fn texts(&self) -> [(&str, &str); 3] {
        [("id", &self.id), ("model", &self.model), ("reason", self.reason)]
    }

    pub(super) fn start(&self, account: &ResponseNumbers) -> AnthropicEvent {
        let (json, reported) = account.fill(START, &self.texts());
        AnthropicEvent { reported: Some(reported), ..AnthropicEvent::plain("message_start", json) }
    }

    /// Writes deltas, and closes and opens blocks before them.
    pub(super) fn output(&mut self, output: &OutputChunk<'_>) -> Vec<AnthropicEvent> {
        let OutputChunk { part, json, .. } = *output;
        let mut events = Vec::new();
        let same = |open: OutputPart| open == part || open.is_tool() && part.is_tool();
        if !self.block.is_some_and(|(open, _)| same(open)) {
            events.extend(self.close());
            self.block = Some((part, self.blocks));
            self.blocks += 1;
            let index = self.blocks - 1;
            let head = r#"{"type":"content_block_start","index":"#;
            let start = "content_block_start";
            events.push(match part {
                OutputPart::Text => AnthropicEvent::plain(
                    start,
                    format!(r#"{head}{index},"content_block":{{"type":"text","text":""}}}}"#),
                ),
                OutputPart::Reasoning => AnthropicEvent::plain(
                    start,
                    format!(
                        r#"{head}{index},"content_block":{{"type":"thinking","thinking":"","signature":""}}}}"#
                    ),
                ),
                OutputPart::ToolName | OutputPart::ToolArguments => AnthropicEvent::output(
                    start,
                    format!(
                        r#"{head}{index},"content_block":{{"type":"tool_use","id":"toolu_{}","name":"{json}","input":{{}}}}}}"#,
                        self.id
                    ),
                ),
            });
        }
        let index = self.blocks.saturating_sub(1);
        let delta = |kind: &str, key: &str, json: &str| {
            format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{key}":"{json}"}}}}"#
            )
        };
        events.push(match part {
            OutputPart::Text => {
                AnthropicEvent::output("content_block_delta", delta("text_delta", "text", json))
            }
            OutputPart::Reasoning => AnthropicEvent::output(
                "content_block_delta",
                delta("thinking_delta", "thinking", json),
            ),
            // The start contains the name; an empty first part of the arguments follows.
            OutputPart::ToolName => AnthropicEvent::plain(
                "content_block_delta",
                delta("input_json_delta", "partial_json", ""),
            ),
            OutputPart::ToolArguments => AnthropicEvent::output(
                "content_block_delta",
                delta("input_json_delta", "partial_json", json),
            ),
        });
        events
    }

    fn close(&mut self) -> Vec<AnthropicEvent> {
        let Some((part, index)) = self.block.take() else {
            return Vec::new();
        };
        let mut events = Vec::new();
        if part == OutputPart::Reasoning {
            let json = format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"signature_delta","signature":"EuoCCkYICBgCKkDP=="}}}}"#
            );
            events.push(AnthropicEvent::plain("content_block_delta", json));
        }
        let json = format!(r#"{{"type":"content_block_stop","index":{index}}}"#);
        events.push(AnthropicEvent::plain("content_block_stop", json));
        events
    }

    /// Writes everything after the last delta, except `message_stop`.
    pub(super) fn finish(&mut self, account: &ResponseNumbers) -> Vec<AnthropicEvent> {
        let mut events = self.close();
        let (json, reported) = account.fill(DELTA, &self.texts());
        events.push(AnthropicEvent {
            reported: Some(reported),
            ..AnthropicEvent::plain("message_delta", json)
        });
        events
    }

    pub(super) fn whole(
        &self,
        texts: &ChoiceTexts,
        account: &ResponseNumbers,
    ) -> (String, ReportedValues) {
        let mut content = Vec::new();
        if !texts.reasoning.is_empty() {
            let thinking = &texts.reasoning;
            content.push(format!(
                r#"{{"type":"thinking","thinking":"{thinking}","signature":"EuoCCkYICBgCKkDP=="}}"#
            ));
        }
        if texts.tool_name.is_empty() {
            content.push(format!(r#"{{"type":"text","text":"{}"}}"#, texts.text));
        } else {
            let (id, name, input) = (&self.id, &texts.tool_name, texts.arguments_object());
            content.push(format!(
                r#"{{"type":"tool_use","id":"toolu_{id}","name":"{name}","input":{input}}}"#
            ));
        }
        let content = content.join(",");
        let [id, model, reason] = self.texts();
        account.fill(WHOLE, &[id, model, reason, ("content", &content)])
    }
}

/// `/v1/messages`.
#[derive(Debug)]
pub(super) struct AnthropicMessages {
    message: AnthropicMessage,
    pinged: bool,
    keep_alives: u32,
    events: usize,
}

impl AnthropicMessages {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            message: AnthropicMessage::new(case),
            pinged: false,
            keep_alives: case.plan.script.keep_alives,
            events: 0,
        }
    }

    fn send(&mut self, event: AnthropicEvent, out: &mut FrameQueue) {
        let AnthropicEvent { name, json, is_output, reported } = event;
        reported.into_iter().for_each(|reported| out.report(reported));
        let bytes = sse(name, &self.padded(&json));
        if is_output { out.output(bytes) } else { out.plain(bytes) }
    }

    fn padded(&mut self, json: &str) -> String {
        self.events += 1;
        padded(json, self.events)
    }
}

fn sse(name: &str, json: &str) -> String {
    format!("event: {name}\ndata: {json}\n\n")
}

/// Pads event `nth` with spaces before the last brace.
fn padded(json: &str, nth: usize) -> String {
    let Some(open) = json.strip_suffix('}') else {
        return json.to_owned();
    };
    format!("{open}{}}}", " ".repeat(nth * 7 % 16))
}

fn ping() -> String {
    sse("ping", r#"{"type": "ping"}"#)
}

impl ResponseWriter for AnthropicMessages {
    fn started(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let start = self.message.start(account);
        self.send(start, out);
        for _ in 0..self.keep_alives {
            out.plain(ping());
        }
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        for event in self.message.output(output) {
            self.send(event, out);
            if !self.pinged {
                self.pinged = true;
                out.plain(ping());
            }
        }
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        for event in self.message.finish(account) {
            self.send(event, out);
        }
        let stop = self.padded(STOP);
        out.done(sse("message_stop", &stop));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(sse("error", ERROR));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        self.message.whole(choices.first().unwrap_or(&ChoiceTexts::default()), account).into()
    }
}

/// `/v1/complete`, which reports no usage.
#[derive(Debug)]
pub(super) struct AnthropicCompletion {
    id: String,
    model: String,
    finish: ScriptedFinish,
    events: usize,
}

impl AnthropicCompletion {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            model: json_inner(case.model),
            finish: case.plan.finish,
            events: 0,
        }
    }

    fn json(&self, text: &str, ends: bool) -> String {
        let Self { id, model, .. } = self;
        let (reason, stop) = match (ends, self.finish) {
            (false, _) => ("null", "null"),
            (true, ScriptedFinish::Length) => ("\"max_tokens\"", "null"),
            (true, _) => ("\"stop_sequence\"", r#""\n\nHuman:""#),
        };
        format!(
            r#"{{"type":"completion","id":"compl_{id}","completion":"{text}","stop_reason":{reason},"model":"{model}","stop":{stop},"log_id":"compl_{id}"}}"#
        )
    }

    fn event(&mut self, text: &str, ends: bool) -> String {
        self.events += 1;
        sse("completion", &padded(&self.json(text, ends), self.events))
    }
}

impl ResponseWriter for AnthropicCompletion {
    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.output(self.event(output.json, false));
        if self.events == 1 {
            out.plain(ping());
        }
    }

    fn finish(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.done(self.event("", true));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(sse("error", ERROR));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        (self.json(text, true), ReportedValues::default()).into()
    }
}

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, kind, message) = match error {
        ApiError::Malformed(message) => (400, "invalid_request_error", message.clone()),
        ApiError::NoModel(name) => (404, "not_found_error", format!("model: {name}")),
        ApiError::QueueFull => (529, "overloaded_error", "Overloaded".to_owned()),
        ApiError::Loading => (503, "api_error", "Loading model".to_owned()),
        ApiError::Failed => (500, "api_error", FAILURE.to_owned()),
    };
    (status, json!({"type": "error", "error": {"type": kind, "message": message}}))
}
