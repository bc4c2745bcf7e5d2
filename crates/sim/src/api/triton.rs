//! Triton's generate extension: `/v2/models/NAME/generate` and `/generate_stream`.
//!
//! The headers are sent with the backend's first response, and the end of the body ends the response. There is no usage.
//! Source: the extension's documentation, `src/http_server.cc`, and streams in its issues, whose first event can be
//! empty.

use serde_json::{Value, json};

use super::{
    ApiError, FAILURE, HeadersAt, OutputChunk, ResponseContext, ResponseWriter, WholeResponse,
};
use crate::content::ChoiceTexts;
use crate::frame_queue::FrameQueue;
use crate::request::RequestFields;
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/text_input"],
    limit: &["/max_tokens", "/parameters/max_tokens"],
    ..RequestFields::PLAIN
};

#[derive(Debug)]
pub(super) struct Triton {
    model: String,
    empty_first: bool,
}

impl Triton {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self { model: json_inner(case.model), empty_first: case.plan.script.empty_first }
    }

    fn json(&self, text: &str) -> String {
        let model = &self.model;
        format!(r#"{{"model_name":"{model}","model_version":"1","text_output":"{text}"}}"#)
    }
}

impl ResponseWriter for Triton {
    fn head_at(&self) -> HeadersAt {
        HeadersAt::FirstToken
    }

    fn opened(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        if self.empty_first {
            out.plain(format!("data: {}\n\n", self.json("")));
        }
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.output(format!("data: {}\n\n", self.json(output.json)));
    }

    fn finish(&mut self, _: &ResponseNumbers, _: &mut FrameQueue) {}

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(format!("data: {}\n\n", json!({"error": FAILURE})));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        (self.json(text), ReportedValues::default()).into()
    }
}

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, message) = match error {
        ApiError::Malformed(message) => (400, message.clone()),
        ApiError::NoModel(name) => {
            (400, format!("Request for unknown model: '{name}' is not found"))
        }
        ApiError::QueueFull => (503, "Exceeds maximum queue size".to_owned()),
        ApiError::Loading => (503, "Loading model".to_owned()),
        ApiError::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"error": message}))
}
