//! Ollama's own API: `/api/chat`, `/api/generate` and `/api/embed`.
//!
//! NDJSON, streamed by default; the headers are sent with the first line. A tool call is held back until it is complete.
//! Durations are in nanoseconds; zero is omitted. Only the total includes the wait for a slot. `load_duration` also
//! includes request handling, so it is never zero. Source: recordings of Ollama, and its `server/routes.go`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{
    ApiError, FAILURE, HeadersAt, OutputChunk, ResponseContext, ResponseWriter, SimApi,
    WholeResponse,
};
use crate::content::{ChoiceTexts, OutputPart, token_ids};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
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

/// `load_duration` of a warm server: its request handling.
const HANDLING: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Ollama {
    api: SimApi,
    model: String,
    reason: &'static str,
    /// An incomplete tool call.
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
            inputs: case.request.get("/input").and_then(Value::as_array).map_or(1, Vec::len),
        }
    }

    /// Start of a line, up to its content.
    fn message(&self, text: &str, thinking: &str, calls: &str) -> String {
        let thinking = match thinking {
            "" => String::new(),
            thinking => format!(r#","thinking":"{thinking}""#),
        };
        let message = match self.api {
            SimApi::OllamaGenerate => format!(r#""response":"{text}"{thinking}"#),
            _ => {
                format!(r#""message":{{"role":"assistant","content":"{text}"{thinking}{calls}}}"#)
            }
        };
        let now = humantime::format_rfc3339_micros(SystemTime::now());
        format!(r#"{{"model":"{}","created_at":"{now}",{message},"#, self.model)
    }

    fn line(&self, text: &str, thinking: &str, calls: &str) -> String {
        format!("{}\"done\":false}}\n", self.message(text, thinking, calls))
    }

    fn last(&self, account: &ResponseNumbers) -> (String, crate::truth::ReportedValues) {
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

fn with_handling(account: &ResponseNumbers) -> ResponseNumbers {
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

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        match output.part {
            OutputPart::Text => out.output(self.line(output.json, "", "")),
            OutputPart::Reasoning => out.output(self.line("", output.json, "")),
            OutputPart::ToolName | OutputPart::ToolArguments => {
                self.call.push(output.part, output.json)
            }
        }
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        if !self.call.tool_name.is_empty() {
            out.output(self.line("", "", &tool_calls(&self.call)));
        }
        let (last, reported) = self.last(account);
        out.report(reported);
        out.done(format!("{}{last}\n", self.message("", "", "")));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(format!("{{\"error\":\"{FAILURE}\"}}\n"));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        if self.api == SimApi::OllamaEmbed {
            let vectors = vec![VECTOR; self.inputs].join(",");
            let texts = [("model", self.model.as_str()), ("vectors", &vectors)];
            return with_handling(account).fill(EMBED, &texts).into();
        }
        let empty = ChoiceTexts::default();
        let texts = choices.first().unwrap_or(&empty);
        let message = self.message(&texts.text, &texts.reasoning, &tool_calls(texts));
        let (last, reported) = self.last(account);
        (format!("{message}{last}"), reported).into()
    }
}

/// A minimal embedding.
pub(super) const VECTOR: &str = "[0.0131,-0.0276,0.0058,0.0412]";

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, message) = match error {
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
