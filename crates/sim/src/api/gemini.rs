//! Gemini's `:generateContent` and `:streamGenerateContent`.
//!
//! A stream is server-sent events with CRLF if the query has `alt=sse`, and else one JSON array that is
//! pretty-printed element by element. Each element has the usage so far; the visible and the thinking tokens are
//! told apart. A call of a function comes whole. Shapes: recordings of generativelanguage.googleapis.com.

use serde_json::{Value, json};

use super::{
    ApiError, EVENT_STREAM, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse,
};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::TemplateValues;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/systemInstruction", "/contents"],
    limit: &["/generationConfig/maxOutputTokens"],
    tool: &["/tools/0/functionDeclarations/0/name", "/tools/0"],
    reasons: true,
    ..RequestFields::PLAIN
};

const RESPONSE: &str = r#"{"candidates": [{"content": {"parts": [$parts],"role": "model"}$reason,"index": 0}],"usageMetadata": {"promptTokenCount": $input,"candidatesTokenCount": $answer,"totalTokenCount": $total$more},"modelVersion": "$model","responseId": "$id"}"#;

#[derive(Debug)]
pub(super) struct Gemini {
    id: String,
    model: String,
    reason: &'static str,
    /// Server-sent events, and not an array.
    sse: bool,
    /// Elements of the array so far.
    elements: u32,
    call: ChoiceTexts,
}

impl Gemini {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            model: json_inner(case.model),
            reason: if case.plan.finish == ScriptedFinish::Length { "MAX_TOKENS" } else { "STOP" },
            sse: case.route.query.split('&').any(|pair| pair == "alt=sse"),
            elements: 0,
            call: ChoiceTexts::default(),
        }
    }

    fn response(
        &self,
        parts: &str,
        ends: bool,
        account: &TemplateValues,
    ) -> (String, ReportedValues) {
        let mut more = String::new();
        if account.cached > 0 {
            more.push_str(r#","cachedContentTokenCount": $cached"#);
        }
        if account.reasoning > 0 {
            more.push_str(r#","thoughtsTokenCount": $reasoning"#);
        }
        let reason =
            if ends { format!(r#","finishReason": "{}""#, self.reason) } else { String::new() };
        let template = RESPONSE.replace("$more", &more);
        let texts =
            [("parts", parts), ("reason", &reason), ("model", &self.model), ("id", &self.id)];
        account.fill(&template, &texts)
    }

    /// An element as it goes out.
    fn element(&mut self, json: String) -> String {
        if self.sse {
            return format!("data: {json}\r\n\r\n");
        }
        let pretty = serde_json::from_str::<Value>(&json)
            .and_then(|value| serde_json::to_string_pretty(&value))
            .unwrap_or(json);
        let before = if self.elements == 0 { "[" } else { ",\r\n" };
        self.elements += 1;
        format!("{before}{pretty}\n")
    }
}

fn function_call(texts: &ChoiceTexts) -> Option<String> {
    let (name, args) = (&texts.tool_name, texts.arguments_object());
    let call = format!(r#"{{"functionCall": {{"name": "{name}","args": {args}}}}}"#);
    (!name.is_empty()).then_some(call)
}

impl ResponseWriter for Gemini {
    fn content_type(&self) -> &'static str {
        if self.sse { EVENT_STREAM } else { "application/json; charset=UTF-8" }
    }

    fn output(&mut self, output: &OutputChunk<'_>, account: &TemplateValues, out: &mut FrameQueue) {
        let text = output.json;
        let part = match output.part {
            OutputPart::Text => format!(r#"{{"text": "{text}"}}"#),
            OutputPart::Reasoning => format!(r#"{{"text": "{text}","thought": true}}"#),
            OutputPart::ToolName | OutputPart::ToolArguments => {
                return self.call.push(output.part, text);
            }
        };
        let (json, told) = self.response(&part, false, account);
        out.report(told);
        out.output(self.element(json));
    }

    fn finish(&mut self, account: &TemplateValues, out: &mut FrameQueue) {
        if let Some(call) = function_call(&self.call) {
            let (json, told) = self.response(&call, false, account);
            out.report(told);
            out.output(self.element(json));
        }
        let signature = r#"{"text": "","thoughtSignature": "EpYSCpMSACISjhIBDDnWx+meFE0="}"#;
        let (json, told) = self.response(signature, true, account);
        out.report(told);
        let end = if self.sse { "" } else { "]" };
        out.done(self.element(json) + end);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let (_, error) = refusal(&ApiError::Failed);
        let end = if self.sse { "" } else { "]" };
        out.plain(self.element(error.to_string()) + end);
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &TemplateValues) -> WholeResponse {
        let empty = ChoiceTexts::default();
        let texts = choices.first().unwrap_or(&empty);
        let mut parts = Vec::new();
        if !texts.reasoning.is_empty() {
            parts.push(format!(r#"{{"text": "{}","thought": true}}"#, texts.reasoning));
        }
        if !texts.text.is_empty() {
            parts.push(format!(r#"{{"text": "{}"}}"#, texts.text));
        }
        parts.extend(function_call(texts));
        self.response(&parts.join(","), true, account).into()
    }
}

pub(super) fn refusal(refusal: &ApiError) -> (u16, Value) {
    let (status, name, message) = match refusal {
        ApiError::Malformed(message) => (400, "INVALID_ARGUMENT", message.clone()),
        ApiError::NoModel(name) => (404, "NOT_FOUND", format!("models/{name} is not found")),
        ApiError::QueueFull => (503, "UNAVAILABLE", "The model is overloaded.".to_owned()),
        ApiError::Loading => (503, "UNAVAILABLE", "Loading model".to_owned()),
        ApiError::Failed => (500, "INTERNAL", FAILURE.to_owned()),
    };
    (status, json!({"error": {"code": status, "message": message, "status": name}}))
}
