//! Runs of OpenAI's assistants: `/v1/threads/runs`, `/v1/threads/ID/runs`. Always streamed.
//!
//! The `event` field has the type of an event. A completed message repeats the text of its deltas. A run that waits for
//! tool output has no usage yet. Source: OpenAI's reference, "Assistants streaming".

use super::{FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/instructions", "/additional_messages", "/thread/messages"],
    limit: &["/max_completion_tokens"],
    tool: &["/tools/0/function/name", "/tools/0"],
    ..RequestFields::PLAIN
};

const THREAD: &str = r#"{"id":"thread_$id","object":"thread","created_at":$created,"metadata":{}}"#;
const RUN: &str = r#"{"id":"run_$id","object":"thread.run","created_at":$created,"assistant_id":"asst_sim","thread_id":"thread_$id","status":"$status","required_action":$action,"last_error":$error,"model":"$model","instructions":null,"tools":[],"metadata":{},"incomplete_details":$incomplete,"usage":$usage,"response_format":"auto","tool_choice":"auto","parallel_tool_calls":true}"#;
const STEP: &str = r#"{"id":"step_$id","object":"thread.run.step","created_at":$created,"run_id":"run_$id","assistant_id":"asst_sim","thread_id":"thread_$id","type":"$kind","status":"$status","last_error":null,"step_details":{"type":"$kind",$details},"usage":$usage}"#;
const STEP_DELTA: &str = r#"{"id":"step_$id","object":"thread.run.step.delta","delta":{"step_details":{"type":"tool_calls","tool_calls":[$call]}}}"#;
const MESSAGE: &str = r#"{"id":"msg_$id","object":"thread.message","created_at":$created,"assistant_id":"asst_sim","thread_id":"thread_$id","run_id":"run_$id","status":"$status","incomplete_details":$incomplete,"role":"assistant","content":[$content],"attachments":[],"metadata":{}}"#;
const MESSAGE_DELTA: &str = r#"{"id":"msg_$id","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"text","text":{"value":"$text","annotations":[]}}]}}"#;
const USAGE: &str = r#"{"prompt_tokens":$input,"completion_tokens":$output,"total_tokens":$total}"#;
const DONE: &str = "event: done\ndata: [DONE]\n\n";

#[derive(Debug)]
pub(super) struct Assistants {
    id: String,
    model: String,
    created: String,
    finish: ScriptedFinish,
    /// Whether the run creates the thread.
    new_thread: bool,
    /// The text so far.
    texts: ChoiceTexts,
}

impl Assistants {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            model: json_inner(case.model),
            created: case.created.to_string(),
            finish: case.plan.finish,
            new_thread: case.request.get("/thread").is_some(),
            texts: ChoiceTexts::default(),
        }
    }

    /// Writes an event from this template.
    fn fill(&self, kind: &str, template: &str, texts: &[(&str, &str)]) -> String {
        let mut all: Vec<(&str, &str)> = vec![
            ("id", &self.id),
            ("model", &self.model),
            ("created", &self.created),
            ("usage", "null"),
            ("incomplete", "null"),
            ("action", "null"),
            ("error", "null"),
        ];
        // The first value with a name counts.
        all.splice(..0, texts.iter().copied());
        let (json, _) = ResponseNumbers::default().fill(template, &all);
        format!("event: thread.{kind}\ndata: {json}\n\n")
    }

    fn run(&self, status: &str, texts: &[(&str, &str)]) -> String {
        let all: Vec<_> = [("status", status)].iter().chain(texts).copied().collect();
        self.fill(&format!("run.{status}"), RUN, &all)
    }

    fn step(&self, event: &str, status: &str, usage: &str) -> String {
        let (kind, details) = match self.finish {
            ScriptedFinish::Tool => ("tool_calls", r#""tool_calls":[]"#.to_owned()),
            _ => {
                let id = &self.id;
                let message = format!(r#""message_creation":{{"message_id":"msg_{id}"}}"#);
                ("message_creation", message)
            }
        };
        let texts = [("kind", kind), ("details", &details), ("status", status), ("usage", usage)];
        self.fill(&format!("run.step.{event}"), STEP, &texts)
    }

    /// Returns the delta of a call; the first one includes the function name.
    fn call(&self, head: bool, name: &str, arguments: &str) -> String {
        let id = &self.id;
        if head {
            return format!(
                r#"{{"index":0,"id":"call_{id}","type":"function","function":{{"name":"{name}","arguments":"{arguments}","output":null}}}}"#
            );
        }
        format!(r#"{{"index":0,"type":"function","function":{{"arguments":"{arguments}"}}}}"#)
    }
}

impl ResponseWriter for Assistants {
    fn admitted(&mut self, out: &mut FrameQueue) {
        if self.new_thread {
            out.plain(self.fill("created", THREAD, &[]));
        }
        let queued = self.run("queued", &[]);
        out.plain(queued.replacen("run.queued", "run.created", 1));
        out.plain(queued);
    }

    fn started(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.plain(self.run("in_progress", &[]));
    }

    fn opened(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.plain(self.step("created", "in_progress", "null"));
        out.plain(self.step("in_progress", "in_progress", "null"));
        if self.finish != ScriptedFinish::Tool {
            let texts = [("status", "in_progress"), ("content", "")];
            out.plain(self.fill("message.created", MESSAGE, &texts));
            out.plain(self.fill("message.in_progress", MESSAGE, &texts));
        }
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let text = output.json;
        self.texts.push(output.part, text);
        let call = match output.part {
            OutputPart::ToolName => self.call(true, text, ""),
            OutputPart::ToolArguments => self.call(false, "", text),
            OutputPart::Text | OutputPart::Reasoning => {
                return out.output(self.fill("message.delta", MESSAGE_DELTA, &[("text", text)]));
            }
        };
        out.output(self.fill("run.step.delta", STEP_DELTA, &[("call", &call)]));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        if self.finish == ScriptedFinish::Tool {
            let ChoiceTexts { tool_name, tool_arguments, .. } = &self.texts;
            let id = &self.id;
            let action = format!(
                r#"{{"type":"submit_tool_outputs","submit_tool_outputs":{{"tool_calls":[{{"id":"call_{id}","type":"function","function":{{"name":"{tool_name}","arguments":"{tool_arguments}"}}}}]}}}}"#
            );
            out.plain(self.run("requires_action", &[("action", &action)]));
            return out.done(DONE);
        }
        let (status, why, run_why) = match self.finish {
            ScriptedFinish::Length => (
                "incomplete",
                r#"{"reason":"max_tokens"}"#,
                r#"{"reason":"max_completion_tokens"}"#,
            ),
            _ => ("completed", "null", "null"),
        };
        let content = format!(
            r#"{{"type":"text","text":{{"value":"{}","annotations":[]}}}}"#,
            self.texts.text
        );
        let texts = [("status", status), ("incomplete", why), ("content", &content)];
        out.plain(self.fill(&format!("message.{status}"), MESSAGE, &texts));
        let (usage, reported) = account.fill(USAGE, &[]);
        out.report(reported);
        out.plain(self.step("completed", "completed", &usage));
        out.plain(self.run(status, &[("incomplete", run_why), ("usage", &usage)]));
        out.done(DONE);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let error = format!(r#"{{"code":"server_error","message":"{FAILURE}"}}"#);
        out.plain(self.run("failed", &[("error", &error)]));
        out.done(DONE);
    }

    fn whole(&mut self, _: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        WholeResponse::default()
    }
}
