//! Text generation, embeddings and ranks of IBM watsonx.ai (cloud.ibm.com/apidocs/watsonx-ai).
//!
//! Each event has the new text and a running count of the output. Only the first one counts the input; the others have 0.
//! `stop_reason` is `not_finished` until the end.
//!
//! Distinctive keys: `results` with `generated_text` and `stop_reason`.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};

/// Text generation, and models that do not generate text.
pub static GENERATION: Dialect = Dialect::sse("watsonx", &ROOT, finish_event, StreamEnd::Event);

static RESULT: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("generated_text", &JsonShape::scalar(Tag::Answer)),
        ("generated_token_count", &token_count(TokenKind::Output)),
        ("input_token_count", &token_count(TokenKind::Input)),
        ("stop_reason", &JsonShape::text(Tag::FinishReason)),
    ],
);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("model_id", &JsonShape::text(Tag::Model)),
    ("results", &JsonShape::list(&RESULT)),
    ("errors", &JsonShape::list(&ERROR)),
    // Embeddings and ranks.
    ("input_token_count", &JsonShape::scalar(Tag::EngineCount(TokenKind::Input))),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    if let Some(usage) = &mut event.facts.usage {
        // 0 means that this event does not count.
        usage.input = usage.input.filter(|count| *count > 0);
        usage.output = usage.output.filter(|count| *count > 0);
        event.facts.detected_engine = Some(Engine::Watsonx);
    }
    let finish = event.choice.finish.as_deref().unwrap_or_default();
    event.facts.error |= finish.eq_ignore_ascii_case("error");
    event.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn the_input_is_counted_in_the_first_event_only() {
        assert_events(
            &GENERATION,
            &[
                (
                    r#"{"model_id":"granite","results":[{"generated_text":"","generated_token_count":0,"input_token_count":8,"stop_reason":"NOT_FINISHED"}]}"#,
                    "input 8, model granite",
                ),
                (
                    r#"{"results":[{"generated_text":"the","generated_token_count":1,"input_token_count":0,"stop_reason":"not_finished"}]}"#,
                    "answer 3, output 1",
                ),
                (
                    r#"{"results":[{"generated_text":" sun","generated_token_count":2,"input_token_count":0,"stop_reason":"eos_token"}]}"#,
                    "answer 4, ends as eos_token, output 2",
                ),
            ],
        );
    }

    #[test]
    fn documents_embeddings_and_errors() {
        assert_events(
            &GENERATION,
            &[
                (
                    r#"{"model_id":"granite","results":[{"generated_text":"the sun","generated_token_count":2,"input_token_count":8,"stop_reason":"max_tokens"}]}"#,
                    "answer 7, ends as max_tokens, input 8, output 2, model granite",
                ),
                (
                    r#"{"results":[{"embedding":[0.1,-0.2]}],"input_token_count":10}"#,
                    "engine input 10",
                ),
                (
                    r#"{"errors":[{"code":"model_not_supported","message":"no"}],"status_code":404}"#,
                    "error",
                ),
                (
                    r#"{"results":[{"generated_text":"","stop_reason":"error"}]}"#,
                    "ends as error, error",
                ),
            ],
        );
    }
}
