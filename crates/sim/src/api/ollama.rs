//! Ollama's own API: `/api/chat`, `/api/generate` and `/api/embed`.
//!
//! NDJSON, streamed unless told otherwise; the head goes out with the first line. A tool call is held back until it is
//! whole. Durations are in nanoseconds, and those of zero are left out. The wait for a slot is in none of them but the
//! total; `load_duration` is never quite zero, since it also has what the handler does before. Shapes: recordings of
//! Ollama, and its `server/routes.go`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{
    ApiError, FAILURE, HeadersAt, OutputChunk, ResponseContext, ResponseWriter, SimApi,
    WholeResponse,
};
use crate::content::{ChoiceTexts, OutputPart, token_ids};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::TemplateValues;
use crate::token_text::json_inner;

pub(super) const CHAT: RequestFields = RequestFields {
    prompt: &["/messages"],
    limit: &["/options/num_predict"],
    tool: &["/tools/0/function/name", "/tools/0"],
    reasons: true,
    streams: true,
    ..RequestFields::PLAIN
};

pub(super) const GENERATE: RequestFields =
    RequestFields { prompt: &["/system", "/prompt"], tool: &[], ..CHAT };

const LAST: &str = r#""done":true,"done_reason":"$reason"$context,"total_duration":$total_ns,"load_duration":$load_ns,"prompt_eval_count":$input,"prompt_eval_duration":$prefill_ns,"eval_count":$output,"eval_duration":$decode_ns}"#;
const EMBED: &str = r#"{"model":"$model","embeddings":[$vectors],"total_duration":$total_ns,"load_duration":$load_ns,"prompt_eval_count":$input}"#;

/// What a warm server tells as load: its handler up to the model.
const HANDLING: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Ollama {
    api: SimApi,
    model: String,
    reason: &'static str,
    /// A tool call in the making.
    call: ChoiceTexts,
    inputs: usize,
}

impl Ollama {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            api: case.route.api,
            model: json_inner(case.model),
            reason: if case.plan.finish == ScriptedFinish::Length { "length" } else { "stop" },
            call: ChoiceTexts::default(),
            inputs: case.ask.get("/input").and_then(Value::as_array).map_or(1, Vec::len),
        }
    }

    /// A line, from its beginning to what is said in it.
    fn said(&self, text: &str, thinking: &str, calls: &str) -> String {
        let thinking = match thinking {
            "" => String::new(),
            thinking => format!(r#","thinking":"{thinking}""#),
        };
        let said = match self.api {
            SimApi::OllamaGenerate => format!(r#""response":"{text}"{thinking}"#),
            _ => {
                format!(r#""message":{{"role":"assistant","content":"{text}"{thinking}{calls}}}"#)
            }
        };
        let now = humantime::format_rfc3339_micros(SystemTime::now());
        format!(r#"{{"model":"{}","created_at":"{now}",{said},"#, self.model)
    }

    fn line(&self, text: &str, thinking: &str, calls: &str) -> String {
        format!("{}\"done\":false}}\n", self.said(text, thinking, calls))
    }

    fn last(&self, account: &TemplateValues) -> (String, crate::truth::ReportedValues) {
        let context = match self.api {
            SimApi::OllamaGenerate => {
                format!(r#","context":[{}]"#, token_ids(0, account.input + account.output))
            }
            _ => String::new(),
        };
        with_handling(account).fill(LAST, &[("reason", self.reason), ("context", &context)])
    }
}

fn tool_calls(texts: &ChoiceTexts) -> String {
    if texts.tool_name.is_empty() {
        return String::new();
    }
    let (name, arguments) = (&texts.tool_name, texts.arguments_object());
    format!(r#","tool_calls":[{{"function":{{"name":"{name}","arguments":{arguments}}}}}]"#)
}

fn with_handling(account: &TemplateValues) -> TemplateValues {
    let mut account = *account;
    account.times.load += HANDLING;
    account.times.prefill = account.times.prefill.saturating_sub(HANDLING);
    account
}

impl ResponseWriter for Ollama {
    fn head_at(&self) -> HeadersAt {
        HeadersAt::FirstToken
    }

    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &TemplateValues, out: &mut FrameQueue) {
        match output.part {
            OutputPart::Text => out.output(self.line(output.json, "", "")),
            OutputPart::Reasoning => out.output(self.line("", output.json, "")),
            OutputPart::ToolName | OutputPart::ToolArguments => {
                self.call.push(output.part, output.json)
            }
        }
    }

    fn finish(&mut self, account: &TemplateValues, out: &mut FrameQueue) {
        if !self.call.tool_name.is_empty() {
            out.output(self.line("", "", &tool_calls(&self.call)));
        }
        let (last, told) = self.last(account);
        out.report(told);
        out.done(format!("{}{last}\n", self.said("", "", "")));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(format!("{{\"error\":\"{FAILURE}\"}}\n"));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &TemplateValues) -> WholeResponse {
        if self.api == SimApi::OllamaEmbed {
            let vectors = vec![VECTOR; self.inputs].join(",");
            let texts = [("model", self.model.as_str()), ("vectors", &vectors)];
            return with_handling(account).fill(EMBED, &texts).into();
        }
        let empty = ChoiceTexts::default();
        let texts = choices.first().unwrap_or(&empty);
        let said = self.said(&texts.text, &texts.reasoning, &tool_calls(texts));
        let (last, told) = self.last(account);
        (format!("{said}{last}"), told).into()
    }
}

/// An embedding, as small as it gets.
pub(super) const VECTOR: &str = "[0.0131,-0.0276,0.0058,0.0412]";

pub(super) fn refusal(refusal: &ApiError) -> (u16, Value) {
    let (status, message) = match refusal {
        ApiError::Malformed(message) => (400, message.clone()),
        ApiError::NoModel(name) => (404, format!("model '{name}' not found")),
        ApiError::QueueFull => {
            let busy = "server busy, please try again.  maximum pending requests exceeded";
            (503, busy.to_owned())
        }
        ApiError::Loading => (503, "Loading model".to_owned()),
        ApiError::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"error": message}))
}
