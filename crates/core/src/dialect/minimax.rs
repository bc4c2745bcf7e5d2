//! MiniMax's own chat API, versions `chatcompletion_v2` and `chatcompletion_pro` (platform.minimax.io, "Text chat").
//!
//! Version 2 has OpenAI's format, and `pro` has `messages` in each choice. The last event of a stream can repeat all text:
//! as `message` of a whole `chat.completion`, or beside `reply`. Errors have HTTP status 200; `base_resp.status_code` is 0
//! for a success.
//!
//! Distinctive key: `base_resp` in the last event; `messages` in the choices of `pro`.

use super::engine::Engine;
use super::error_fields::{ERROR, with_error_fields};
use super::event_builder::EventBuilder;
use super::openai_chat::{BODY, USAGE};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// Chat.
pub static MINIMAX: Dialect = Dialect::sse("minimax", &ROOT, finish_event, StreamEnd::Event);

static FUNCTION: JsonShape = JsonShape::path(&[
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("arguments", &JsonShape::raw(Tag::ToolArguments)),
]);
static PRO_MESSAGE: JsonShape =
    JsonShape::path(&[("text", &JsonShape::scalar(Tag::Answer)), ("function_call", &FUNCTION)]);
static CHOICE: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        ("delta", &JsonShape::object(Tag::Delta, BODY)),
        ("message", &JsonShape::object(Tag::Message, BODY)),
        ("messages", &JsonShape::list(&PRO_MESSAGE)),
        ("finish_reason", &JsonShape::text(Tag::FinishReason)),
    ],
);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("object", &JsonShape::text(Tag::EventType)),
    ("choices", &JsonShape::list(&CHOICE)),
    ("reply", &JsonShape::scalar(Tag::RepeatedText)),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &USAGE),
    ("base_resp", &JsonShape::object(Tag::WrittenBy(Engine::MiniMax), &[("status_code", &ERROR)]),),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    if event.event_type() == b"chat.completion" || event.repeated_text > 0 {
        event.facts.choices.iter_mut().for_each(|choice| choice.is_whole = true);
        event.has_whole_message = true;
    }
    event.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn the_last_event_of_version_2_repeats_the_message() {
        assert_events(
            &MINIMAX,
            &[
                (
                    r#"{"choices":[{"index":0,"delta":{"content":"","reasoning_content":"Hm"}}],"model":"M2","object":"chat.completion.chunk"}"#,
                    "reasoning 2, model M2",
                ),
                (
                    r#"{"choices":[{"index":0,"delta":{"content":"Hello"}}],"object":"chat.completion.chunk"}"#,
                    "answer 5",
                ),
                (
                    r#"{"choices":[{"finish_reason":"stop","index":0,"message":{"content":"Hello","reasoning_content":"Hm"}}],"object":"chat.completion",
                        "usage":{"total_tokens":14,"prompt_tokens":4,"completion_tokens":10},"base_resp":{"status_code":0,"status_msg":""}}"#,
                    "ends as stop, input 4, output 10",
                ),
            ],
        );
    }

    #[test]
    fn the_last_event_of_pro_repeats_the_reply() {
        assert_events(
            &MINIMAX,
            &[
                (
                    r#"{"model":"abab","reply":"","choices":[{"messages":[{"sender_type":"BOT","sender_name":"b","text":"Hello"}]}]}"#,
                    "answer 5, model abab",
                ),
                (
                    r#"{"reply":"Hello","choices":[{"finish_reason":"stop","messages":[{"sender_type":"BOT","text":"Hello"}]}],"usage":{"total_tokens":14},"base_resp":{"status_code":0}}"#,
                    "ends as stop",
                ),
            ],
        );
    }

    #[test]
    fn documents_and_errors() {
        assert_events(
            &MINIMAX,
            &[(
                r#"{"choices":[{"finish_reason":"stop","index":0,"message":{"content":"Hello"}}],"object":"chat.completion",
                    "usage":{"prompt_tokens":4,"completion_tokens":2},"base_resp":{"status_code":0}}"#,
                "answer 5, ends as stop, input 4, output 2",
            )],
        );
        let pro = r#"{"reply":"Hello","choices":[{"finish_reason":"stop","messages":[{"text":"Hello"}]}]}"#;
        assert_events(&MINIMAX, &[(pro, "answer 5, ends as stop")]);
        let failed = r#"{"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#;
        assert_events(&MINIMAX, &[(failed, "error")]);
    }
}
