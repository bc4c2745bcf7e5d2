//! KoboldCpp's own API, which comes from KoboldAI (koboldcpp.py, `generate_text` and `handle_sse_stream`).
//!
//! An event has the text of one or several tokens. A stream has no token counts, and a document has them in each result.
//!
//! Distinctive keys: `token` as text, with `finish_reason`; `results` with `text` in a document.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::{ERROR, TOOL_CALL};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind};
use super::{Dialect, StreamEnd};

/// `/api/extra/generate/stream` and `/api/v1/generate`.
pub static KOBOLDCPP: Dialect = Dialect::sse("koboldcpp", &ROOT, finish_event, StreamEnd::Event);

static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
static RESULT: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("text", &JsonShape::scalar(Tag::Answer)),
        ("tool_calls", &JsonShape::list(&TOOL_CALL)),
        ("finish_reason", &FINISH),
        ("prompt_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Input))),
        ("completion_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Output))),
    ],
);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("token", &JsonShape::scalar(Tag::Answer)),
    ("finish_reason", &FINISH),
    ("results", &JsonShape::array(Tag::WrittenBy(Engine::KoboldCpp), &RESULT)),
    ("detail", &ERROR),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.number_choices();
    event.finish();
    let failed = |finish: &Option<_>| finish.as_deref() == Some("error");
    event.facts.error |= event.facts.choices.iter().any(|choice| failed(&choice.finish));
    if !event.facts.choices.is_empty() {
        event.facts.detected_engine = Some(Engine::KoboldCpp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn a_stream_ends_with_a_finish_reason() {
        assert_events(
            &KOBOLDCPP,
            &[
                (r#"{"token":"Hel","finish_reason":null}"#, "answer 3"),
                (r#"{"token":"lo","finish_reason":null}"#, "answer 2"),
                (r#"{"token":"","finish_reason":"stop"}"#, "ends as stop"),
            ],
        );
        let failed = r#"{"token":"","finish_reason":"error"}"#;
        assert_events(&KOBOLDCPP, &[(failed, "ends as error, error")]);
    }

    #[test]
    fn a_document_has_counts_in_its_results() {
        assert_events(
            &KOBOLDCPP,
            &[
                (
                    r#"{"results":[{"text":"Hello","tool_calls":[],"finish_reason":"length","logprobs":null,"prompt_tokens":7,"completion_tokens":2}]}"#,
                    "answer 5, ends as length, engine input 7, engine output 2",
                ),
                // KoboldAI, which counts nothing.
                (r#"{"results":[{"text":"Hello"}]}"#, "answer 5"),
                (r#"{"detail":{"msg":"Server is busy.","type":"service_unavailable"}}"#, "error"),
            ],
        );
    }
}
