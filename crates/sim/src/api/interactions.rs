//! Gemini's `/v1beta/interactions`. Always streamed.
//!
//! Each step has a start, deltas and a stop. The last event has the usage, with separate counts of thoughts and output.
//! Source: Google's "Interactions API", and the types of google-genai 3.6.

use super::{FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/system_instruction", "/input"],
    limit: &["/generation_config/max_output_tokens"],
    tool: &["/tools/0/name", "/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

const INTERACTION: &str = r#""interaction":{"id":"v1_$id","model":"$model","object":"interaction","status":"$status"$usage}"#;
const USAGE: &str = r#","usage":{"total_cached_tokens":$cached,"total_input_tokens":$input,"total_output_tokens":$answer,"total_thought_tokens":$reasoning,"total_tokens":$total,"total_tool_use_tokens":0}"#;

#[derive(Debug)]
pub(super) struct GeminiInteractions {
    id: String,
    model: String,
    status: &'static str,
    /// Part of the response in the open step.
    open: Option<OutputPart>,
    /// Number of started steps.
    steps: u32,
}

impl GeminiInteractions {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            model: json_inner(case.model),
            status: match case.plan.finish {
                ScriptedFinish::Stop => "completed",
                ScriptedFinish::Length => "incomplete",
                ScriptedFinish::Tool => "requires_action",
            },
            open: None,
            steps: 0,
        }
    }

    fn interaction(&self, status: &str, usage: &str) -> String {
        let texts = [
            ("id", self.id.as_str()),
            ("model", &self.model),
            ("status", status),
            ("usage", usage),
        ];
        ResponseNumbers::default().fill(INTERACTION, &texts).0
    }

    /// Writes an event of the open step.
    fn step_event(&self, kind: &str, field: &str) -> String {
        let index = self.steps.saturating_sub(1);
        event(kind, &format!(r#""index":{index}{field}"#))
    }

    fn delta(&self, delta: &str) -> String {
        self.step_event("step.delta", &format!(r#","delta":{{{delta}}}"#))
    }

    fn start(&mut self, part: OutputPart, step: &str) -> String {
        self.open = Some(part);
        self.steps += 1;
        self.step_event("step.start", &format!(r#","step":{{{step}}}"#))
    }

    fn stop(&mut self, out: &mut FrameQueue) {
        match self.open.take() {
            None => return,
            Some(OutputPart::Reasoning) => {
                out.plain(self.delta(r#""type":"thought_signature","signature":"EpYSCpMS""#));
            }
            Some(_) => {}
        }
        out.plain(self.step_event("step.stop", ""));
    }
}

fn event(kind: &str, fields: &str) -> String {
    format!("event: {kind}\ndata: {{\"event_type\":\"{kind}\",{fields}}}\n\n")
}

impl ResponseWriter for GeminiInteractions {
    fn admitted(&mut self, out: &mut FrameQueue) {
        out.plain(event("interaction.created", &self.interaction("in_progress", "")));
    }

    fn started(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        let id = &self.id;
        let fields = format!(r#""interaction_id":"v1_{id}","status":"in_progress""#);
        out.plain(event("interaction.status_update", &fields));
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let OutputChunk { part, json, .. } = *output;
        let delta = match part {
            OutputPart::ToolName => {
                self.stop(out);
                let id = &self.id;
                let step = format!(
                    r#""type":"function_call","id":"call_{id}","name":"{json}","arguments":{{}}"#
                );
                return out.output(self.start(part, &step));
            }
            OutputPart::ToolArguments => {
                format!(r#""type":"arguments_delta","arguments":"{json}""#)
            }
            OutputPart::Text => format!(r#""type":"text","text":"{json}""#),
            OutputPart::Reasoning => {
                format!(r#""type":"thought_summary","content":{{"type":"text","text":"{json}"}}"#)
            }
        };
        if !part.is_tool() && self.open != Some(part) {
            self.stop(out);
            let thinks = part == OutputPart::Reasoning;
            let kind = if thinks { r#""type":"thought""# } else { r#""type":"model_output""# };
            out.plain(self.start(part, kind));
        }
        out.output(self.delta(&delta));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        self.stop(out);
        let (usage, reported) = account.fill(USAGE, &[]);
        out.report(reported);
        out.done(event("interaction.completed", &self.interaction(self.status, &usage)));
        out.done("event: done\ndata: [DONE]\n\n");
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let error = format!(r#""error":{{"code":"internal","message":"{FAILURE}"}}"#);
        out.plain(event("error", &error));
    }

    fn whole(&mut self, _: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        WholeResponse::default()
    }
}
