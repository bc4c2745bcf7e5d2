//! Writer's agents and questions to knowledge graphs (dev.writer.com, "Stream responses from the API").
//!
//! An agent streams `delta`, and a question streams `answer`. A document has the whole text in `suggestion` or `answer`.
//! The documentation names no end of a stream and no token counts, so the end of the body completes a stream.
//!
//! Distinctive keys: `delta` with `stages`; `suggestion` with `title`; `answer` with `sources`.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// Agents and knowledge graphs.
pub static WRITER: Dialect = Dialect::sse("writer", &ROOT, finish_event, StreamEnd::Body);

static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("delta", &JsonShape::path(&[("content", &ANSWER)])),
    ("answer", &ANSWER),
    ("suggestion", &ANSWER),
    ("errors", &JsonShape::list(&ERROR)),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.finish();
    if !event.facts.choices.is_empty() {
        event.facts.detected_engine = Some(Engine::Writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn agents_and_questions_have_text() {
        assert_events(
            &WRITER,
            &[
                (
                    r#"{"delta":{"title":null,"content":null,"stages":[{"content":"Plan","sources":[]}]}}"#,
                    "",
                ),
                (r#"{"delta":{"title":"T","content":"Hello","stages":null}}"#, "answer 5"),
                (
                    r#"{"question":"q","answer":"Yes","sources":[{"file_id":"f","snippet":"s"}]}"#,
                    "answer 3",
                ),
                (r#"{"title":"T","suggestion":"Hello"}"#, "answer 5"),
                (r#"{"errors":[{"description":"no","key":"fail"}]}"#, "error"),
            ],
        );
    }
}
