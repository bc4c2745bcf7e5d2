//! OpenAI's `/v1/responses`: typed events, numbered; no `[DONE]`.
//!
//! The first two events are sent before the engine starts, and each `.done` repeats the text of its deltas. Source:
//! recordings of vLLM 0.33, and of api.openai.com for function calls and errors.

use super::{FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/instructions", "/input"],
    limit: &["/max_output_tokens"],
    tool: &["/tools/0/name", "/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

const RESPONSE: &str = r#"{"id":"resp_$id","created_at":$created,"incomplete_details":$incomplete,"error":$error,"instructions":null,"metadata":null,"model":"$model","object":"response","output":[$items],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"status":"$status","usage":$usage}"#;
const USAGE: &str = r#"{"input_tokens":$input,"input_tokens_details":{"cached_tokens":$cached},"output_tokens":$output,"output_tokens_details":{"reasoning_tokens":$reasoning},"total_tokens":$total}"#;
/// Timings in milliseconds, as in vLLM's chat.
const METRICS: &str = r#","metrics":{"time_to_first_token_ms":$prefill_ms,"generation_time_ms":$decode_ms,"queue_time_ms":$queue_ms,"mean_itl_ms":$pace_ms,"tokens_per_second":$per_s}"#;

#[derive(Debug)]
pub(super) struct OpenAiResponses {
    id: String,
    model: String,
    created: String,
    incomplete: bool,
    metrics: bool,
    /// Number of the next event.
    sequence: u32,
    /// The open item.
    open: Option<OutputPart>,
    /// Its text.
    texts: ChoiceTexts,
    /// The completed items.
    items: Vec<String>,
}

impl OpenAiResponses {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            model: json_inner(case.model),
            created: case.created.to_string(),
            incomplete: case.plan.finish == ScriptedFinish::Length,
            metrics: case.plan.script.metrics,
            sequence: 0,
            open: None,
            texts: ChoiceTexts::default(),
            items: Vec::new(),
        }
    }

    fn event(&mut self, kind: &str, fields: &str) -> String {
        let sequence = self.sequence;
        self.sequence += 1;
        format!(
            "event: {kind}\ndata: {{{fields},\"sequence_number\":{sequence},\"type\":\"{kind}\"}}\n\n"
        )
    }

    /// Returns the response object so far.
    fn response(
        &self,
        status: &str,
        error: &str,
        account: Option<&ResponseNumbers>,
    ) -> WholeResponse {
        let items = self.items.join(",");
        let incomplete = match status {
            "incomplete" => r#"{"reason":"max_output_tokens"}"#,
            _ => "null",
        };
        let metrics = if self.metrics { METRICS } else { "" };
        let usage = account.map_or("null".to_owned(), |_| format!("{USAGE}{metrics}"));
        let template = RESPONSE.replace("$usage", &usage);
        let texts = [
            ("id", self.id.as_str()),
            ("created", &self.created),
            ("model", &self.model),
            ("items", &items),
            ("incomplete", incomplete),
            ("error", error),
            ("status", status),
        ];
        account.copied().unwrap_or_default().fill(&template, &texts).into()
    }

    fn respond(
        &mut self,
        kind: &str,
        status: &str,
        error: &str,
        account: Option<&ResponseNumbers>,
    ) -> String {
        let WholeResponse { bytes, .. } = self.response(status, error, account);
        let response = String::from_utf8_lossy(&bytes).into_owned();
        self.event(kind, &format!("\"response\":{response}"))
    }

    /// Returns the index of an item, and of a part in it.
    fn place(&self) -> String {
        let (item, index) = (self.item_id(), self.items.len());
        format!(r#""content_index":0,"item_id":"{item}","output_index":{index}"#)
    }

    fn item_id(&self) -> String {
        let prefix = match self.open {
            Some(OutputPart::Reasoning) => "rs",
            Some(OutputPart::ToolName | OutputPart::ToolArguments) => "fc",
            _ => "msg",
        };
        format!("{prefix}_{}_{}", self.id, self.items.len())
    }

    /// Returns the open item with its text so far.
    fn item(&self, status: &str) -> String {
        let (id, ChoiceTexts { text, reasoning, tool_name, tool_arguments }) =
            (self.item_id(), &self.texts);
        match self.open {
            Some(OutputPart::Reasoning) => format!(
                r#"{{"id":"{id}","summary":[],"type":"reasoning","content":[{}],"encrypted_content":null,"status":"{status}"}}"#,
                unless_empty(
                    reasoning,
                    &format!(r#"{{"text":"{reasoning}","type":"reasoning_text"}}"#)
                )
            ),
            Some(OutputPart::ToolName | OutputPart::ToolArguments) => format!(
                r#"{{"id":"{id}","type":"function_call","status":"{status}","arguments":"{tool_arguments}","call_id":"call_{id}","name":"{tool_name}"}}"#
            ),
            _ => format!(
                r#"{{"id":"{id}","content":[{}],"role":"assistant","status":"{status}","type":"message","phase":null}}"#,
                unless_empty(text, &part(text))
            ),
        }
    }

    fn open(&mut self, output: &OutputChunk<'_>, out: &mut FrameQueue) {
        self.close(out);
        self.open = Some(output.part);
        if output.part == OutputPart::ToolName {
            self.texts.push(output.part, output.json);
        }
        let (item, index) = (self.item("in_progress"), self.items.len());
        let fields = format!(r#""item":{item},"output_index":{index}"#);
        let added = self.event("response.output_item.added", &fields);
        if output.part == OutputPart::ToolName {
            out.output(added)
        } else {
            out.plain(added)
        }
        if output.part == OutputPart::Text {
            let fields = format!(r#"{},"part":{}"#, self.place(), part(""));
            out.plain(self.event("response.content_part.added", &fields));
        }
    }

    /// Writes the `.done` events of the open item.
    fn close(&mut self, out: &mut FrameQueue) {
        let Some(open) = self.open else {
            return;
        };
        let place = self.place();
        let ChoiceTexts { text, reasoning, tool_arguments, .. } = self.texts.clone();
        let (kind, fields) = match open {
            OutputPart::Text => {
                ("output_text", format!(r#"{place},"logprobs":[],"text":"{text}""#))
            }
            OutputPart::Reasoning => ("reasoning_text", format!(r#"{place},"text":"{reasoning}""#)),
            OutputPart::ToolName | OutputPart::ToolArguments => {
                ("function_call_arguments", format!(r#"{place},"arguments":"{tool_arguments}""#))
            }
        };
        out.plain(self.event(&format!("response.{kind}.done"), &fields));
        if open == OutputPart::Text {
            let fields = format!(r#"{place},"part":{}"#, part(&text));
            out.plain(self.event("response.content_part.done", &fields));
        }
        let (item, index) = (self.item("completed"), self.items.len());
        let fields = format!(r#""item":{item},"output_index":{index}"#);
        out.plain(self.event("response.output_item.done", &fields));
        self.items.push(item);
        self.texts = ChoiceTexts::default();
        self.open = None;
    }
}

fn part(text: &str) -> String {
    format!(r#"{{"annotations":[],"text":"{text}","type":"output_text","logprobs":[]}}"#)
}

fn unless_empty<'a>(text: &str, wrapped: &'a str) -> &'a str {
    if text.is_empty() { "" } else { wrapped }
}

impl ResponseWriter for OpenAiResponses {
    fn admitted(&mut self, out: &mut FrameQueue) {
        out.plain(self.respond("response.created", "in_progress", "null", None));
        out.plain(self.respond("response.in_progress", "in_progress", "null", None));
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let OutputChunk { part, json, .. } = *output;
        let same = |open: OutputPart| open == part || open.is_tool() && part.is_tool();
        if !self.open.is_some_and(same) {
            self.open(output, out);
        }
        let kind = match part {
            OutputPart::Text => "output_text",
            OutputPart::Reasoning => "reasoning_text",
            OutputPart::ToolArguments => "function_call_arguments",
            // The item contains it.
            OutputPart::ToolName => return,
        };
        self.texts.push(part, json);
        let fields = format!(r#"{},"delta":"{json}","logprobs":[]"#, self.place());
        out.output(self.event(&format!("response.{kind}.delta"), &fields));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        self.close(out);
        let status = if self.incomplete { "incomplete" } else { "completed" };
        out.report(self.response(status, "null", Some(account)).reported);
        let kind = format!("response.{status}");
        out.done(self.respond(&kind, status, "null", Some(account)));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let error = format!(r#"{{"code":"server_error","message":"{FAILURE}"}}"#);
        out.plain(self.event("error", &format!(r#""error":{error}"#)));
        out.done(self.respond("response.failed", "failed", &error, None));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let texts = choices.first().cloned().unwrap_or_default();
        let tool = !texts.tool_name.is_empty();
        let parts = [
            (OutputPart::Reasoning, !texts.reasoning.is_empty()),
            (OutputPart::ToolName, tool),
            (OutputPart::Text, !tool),
        ];
        self.texts = texts;
        for (part, _) in parts.iter().filter(|(_, there)| *there) {
            self.open = Some(*part);
            self.items.push(self.item("completed"));
        }
        let status = if self.incomplete { "incomplete" } else { "completed" };
        self.response(status, "null", Some(account))
    }
}
