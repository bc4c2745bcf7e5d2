//! Replicate's stream of a prediction's output: `GET /v1/streams/ID`.
//!
//! Each event is plain text, with one data line per line of text; `done` ends the stream. There are no token counts.
//! Source: Replicate's guide, "Streaming output".

use serde_json::{Value, json};

use super::{ApiError, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::ChoiceTexts;
use crate::frame_queue::FrameQueue;
use crate::request::RequestFields;
use crate::template::ResponseNumbers;

pub(super) const FIELDS: RequestFields =
    RequestFields { prompt: &[], limit: &[], ..RequestFields::PLAIN };

#[derive(Debug)]
pub(super) struct Replicate {
    created: u64,
    /// Number of events so far.
    events: u32,
}

impl Replicate {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self { created: case.created, events: 0 }
    }

    fn event(&mut self, kind: &str, text: &str) -> String {
        let (created, nth) = (self.created, self.events);
        self.events += 1;
        let data = text.replace('\n', "\ndata: ");
        format!("event: {kind}\nid: {created}:{nth}\ndata: {data}\n\n")
    }
}

impl ResponseWriter for Replicate {
    fn admitted(&mut self, out: &mut FrameQueue) {
        out.plain(": hi\n\n");
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let text: String =
            serde_json::from_str(&format!("\"{}\"", output.json)).unwrap_or_default();
        out.output(self.event("output", &text));
    }

    fn finish(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.done(self.event("done", "{}"));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(self.event("error", FAILURE));
        out.done(self.event("done", r#"{"reason":"error"}"#));
    }

    fn whole(&mut self, _: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        WholeResponse::default()
    }
}

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, detail) = match error {
        ApiError::Malformed(message) => (422, message.clone()),
        ApiError::NoModel(_) => (404, "The requested resource could not be found.".to_owned()),
        ApiError::QueueFull => (429, "Request was throttled.".to_owned()),
        ApiError::Loading => (503, "Loading model".to_owned()),
        ApiError::Failed => (500, FAILURE.to_owned()),
    };
    (status, json!({"detail": detail}))
}
