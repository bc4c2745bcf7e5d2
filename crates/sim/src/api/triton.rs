//! Triton's generate extension: `/v2/models/NAME/generate` and `/generate_stream`.
//!
//! The head goes out with the backend's first response, and the connection's end is the end; no usage. Shapes: the
//! extension's documentation, `src/http_server.cc`, and streams in its issues, where a first event may be empty.

use serde_json::{Value, json};

use super::{Case, FAILURE, HeadAt, Output, Refusal, Whole, Writer};
use crate::account::Account;
use crate::answer::Texts;
use crate::frames::Frames;
use crate::request::Fields;
use crate::text::json_inner;
use crate::truth::Reported;

pub(super) const FIELDS: Fields = Fields {
    prompt: &["/text_input"],
    limit: &["/max_tokens", "/parameters/max_tokens"],
    ..Fields::PLAIN
};

#[derive(Debug)]
pub(super) struct Triton {
    model: String,
    empty_first: bool,
}

impl Triton {
    pub(super) fn new(case: &Case<'_>) -> Self {
        Self { model: json_inner(case.model), empty_first: case.plan.script.empty_first }
    }

    fn json(&self, text: &str) -> String {
        let model = &self.model;
        format!(r#"{{"model_name":"{model}","model_version":"1","text_output":"{text}"}}"#)
    }
}

impl Writer for Triton {
    fn head_at(&self) -> HeadAt {
        HeadAt::FirstToken
    }

    fn opened(&mut self, _: &Account, out: &mut Frames) {
        if self.empty_first {
            out.plain(format!("data: {}\n\n", self.json("")));
        }
    }

    fn output(&mut self, output: &Output<'_>, _: &Account, out: &mut Frames) {
        out.output(format!("data: {}\n\n", self.json(output.json)));
    }

    fn finish(&mut self, _: &Account, _: &mut Frames) {}

    fn fail(&mut self, out: &mut Frames) {
        out.plain(format!("data: {}\n\n", json!({"error": FAILURE})));
    }

    fn whole(&mut self, choices: &[Texts], _: &Account) -> Whole {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        (self.json(text), Reported::default()).into()
    }
}

pub(super) fn refusal(refusal: &Refusal) -> (u16, Value) {
    let (status, message) = match refusal {
        Refusal::Malformed(message) => (400, message.clone()),
        Refusal::NoModel(name) => {
            (400, format!("Request for unknown model: '{name}' is not found"))
        }
        Refusal::QueueFull => (503, "Exceeds maximum queue size".to_owned()),
        Refusal::Loading => (503, "Loading model".to_owned()),
        Refusal::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"error": message}))
}
