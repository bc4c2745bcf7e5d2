//! Gemini's `:generateContent` and `:streamGenerateContent`.
//!
//! A stream is server-sent events with CRLF if the query has `alt=sse`, otherwise one pretty-printed JSON array. Each
//! element has the usage so far, with separate counts of visible and thinking tokens. A function call is sent as a whole.
//! Source: recordings of generativelanguage.googleapis.com.

use serde_json::{Value, json};

use super::{
    ApiError, EVENT_STREAM, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse,
};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
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
    /// Whether the stream is server-sent events instead of an array.
    sse: bool,
    /// Number of elements so far.
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
        account: &ResponseNumbers,
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

    /// Frames an element.
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

    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        let text = output.json;
        let part = match output.part {
            OutputPart::Text => format!(r#"{{"text": "{text}"}}"#),
            OutputPart::Reasoning => format!(r#"{{"text": "{text}","thought": true}}"#),
            OutputPart::ToolName | OutputPart::ToolArguments => {
                return self.call.push(output.part, text);
            }
        };
        let (json, reported) = self.response(&part, false, account);
        out.report(reported);
        out.output(self.element(json));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        if let Some(call) = function_call(&self.call) {
            let (json, reported) = self.response(&call, false, account);
            out.report(reported);
            out.output(self.element(json));
        }
        let signature = r#"{"text": "","thoughtSignature": "EpYSCpMSACISjhIBDDnWx+meFE0="}"#;
        let (json, reported) = self.response(signature, true, account);
        out.report(reported);
        let end = if self.sse { "" } else { "]" };
        out.done(self.element(json) + end);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let (_, error) = error(&ApiError::Failed);
        let end = if self.sse { "" } else { "]" };
        out.plain(self.element(error.to_string()) + end);
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
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

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, name, message) = match error {
        ApiError::Malformed(message) => (400, "INVALID_ARGUMENT", message.clone()),
        ApiError::NoModel(name) => (404, "NOT_FOUND", format!("models/{name} is not found")),
        ApiError::QueueFull => (503, "UNAVAILABLE", "The model is overloaded.".to_owned()),
        ApiError::Loading => (503, "UNAVAILABLE", "Loading model".to_owned()),
        ApiError::Failed => (500, "INTERNAL", FAILURE.to_owned()),
    };
    (status, json!({"error": {"code": status, "message": message, "status": name}}))
}
