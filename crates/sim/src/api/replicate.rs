//! Replicate's stream of a prediction's output: `GET /v1/streams/ID`.
//!
//! Each event is bare text, a line of data to each line of it; `done` ends them. No counts. Shapes: Replicate's
//! guide, "Streaming output".

use serde_json::{Value, json};

use super::{Case, FAILURE, Output, Refusal, Whole, Writer};
use crate::account::Account;
use crate::answer::Texts;
use crate::frames::Frames;
use crate::request::Fields;

pub(super) const FIELDS: Fields = Fields { prompt: &[], limit: &[], ..Fields::PLAIN };

#[derive(Debug)]
pub(super) struct Replicate {
    created: u64,
    /// Events so far.
    events: u32,
}

impl Replicate {
    pub(super) fn new(case: &Case<'_>) -> Self {
        Self { created: case.created, events: 0 }
    }

    fn event(&mut self, kind: &str, text: &str) -> String {
        let (created, nth) = (self.created, self.events);
        self.events += 1;
        let data = text.replace('\n', "\ndata: ");
        format!("event: {kind}\nid: {created}:{nth}\ndata: {data}\n\n")
    }
}

impl Writer for Replicate {
    fn admitted(&mut self, out: &mut Frames) {
        out.plain(": hi\n\n");
    }

    fn output(&mut self, output: &Output<'_>, _: &Account, out: &mut Frames) {
        let text: String =
            serde_json::from_str(&format!("\"{}\"", output.json)).unwrap_or_default();
        out.output(self.event("output", &text));
    }

    fn finish(&mut self, _: &Account, out: &mut Frames) {
        out.done(self.event("done", "{}"));
    }

    fn fail(&mut self, out: &mut Frames) {
        out.plain(self.event("error", FAILURE));
        out.done(self.event("done", r#"{"reason":"error"}"#));
    }

    fn whole(&mut self, _: &[Texts], _: &Account) -> Whole {
        Whole::default()
    }
}

pub(super) fn refusal(refusal: &Refusal) -> (u16, Value) {
    let (status, detail) = match refusal {
        Refusal::Malformed(message) => (422, message.clone()),
        Refusal::NoModel(_) => (404, "The requested resource could not be found.".to_owned()),
        Refusal::QueueFull => (429, "Request was throttled.".to_owned()),
        Refusal::Loading => (503, "Loading model".to_owned()),
        Refusal::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"detail": detail}))
}
