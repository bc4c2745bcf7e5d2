//! Cloudflare Workers AI (developers.cloudflare.com/workers-ai; the stream parser of Cloudflare's `workers-ai-provider`).
//!
//! An event has the new text in `response`, without quotes if it looks like JSON (`true`, `4`). Tool calls have OpenAI's
//! format in a stream, and a name with arguments in a document. The counts are in an event of their own before `[DONE]`.
//! Many models answer in OpenAI's format instead, with `choices`. A document is wrapped in `result`.
//!
//! Distinctive keys: `response` as text beside `p`, `tool_calls` or `usage`, without `done` (Ollama) and `model`; `result`
//! with `success` in a document.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::{self, CALLED, CHOICE, ERROR, USAGE};
use super::response_reader::StreamState;
use super::tag::{ApiFormat, JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// Models of any kind.
pub static WORKERS_AI: Dialect = Dialect::sse("cloudflare", &ROOT, finish_event, StreamEnd::Event);

static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
/// Text, or JSON if the request sets a response format.
static RESPONSE: JsonShape = JsonShape::raw(Tag::EventText);
static CALL: JsonShape = JsonShape::object(
    Tag::ToolCall,
    &[
        ("index", &JsonShape::scalar(Tag::CallIndex)),
        ("function", &CALLED),
        ("name", &JsonShape::scalar(Tag::CallName)),
        ("arguments", &JsonShape::raw(Tag::ToolArguments)),
    ],
);
static TOOL_CALLS: JsonShape = JsonShape::list(&CALL);
static CHOICES: JsonShape = JsonShape::array(Tag::Api(ApiFormat::OpenAi), &CHOICE);
static PADDING: JsonShape = JsonShape::scalar(Tag::WrittenBy(Engine::Cloudflare));
static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
static MODEL: JsonShape = JsonShape::text(Tag::Model);
static RESULT: JsonShape = JsonShape::path(&[
    ("response", &RESPONSE),
    ("tool_calls", &TOOL_CALLS),
    ("usage", &USAGE),
    ("choices", &CHOICES),
    ("model", &MODEL),
    ("finish_reason", &FINISH),
    // Speech recognition, translation, images, speech.
    ("text", &JsonShape::scalar(Tag::EventText)),
    ("translated_text", &JsonShape::scalar(Tag::EventText)),
    ("image", &MEDIA),
    ("audio", &MEDIA),
]);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("response", &RESPONSE),
    ("p", &PADDING),
    ("tool_calls", &TOOL_CALLS),
    ("usage", &USAGE),
    ("choices", &CHOICES),
    ("model", &MODEL),
    ("finish_reason", &FINISH),
    ("errors", &JsonShape::list(&ERROR)),
    // Not streamed.
    ("result", &RESULT),
    ("success", &JsonShape::scalar(Tag::Success)),
]);

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    if event.api_format == Some(ApiFormat::OpenAi) {
        stream.detected_dialect = Some(openai_chat::CHAT.name);
    } else {
        event.choice.delta.answer += event.text;
    }
    event.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::ResponseReader;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn a_stream_has_text_and_its_usage_apart() {
        assert_events(
            &WORKERS_AI,
            &[
                (r#"{"response":"","tool_calls":[],"p":"abcdef"}"#, ""),
                (r#"{"response":"Hel","tool_calls":[],"p":"abc"}"#, "answer 3"),
                (r#"{"response":true,"p":"abcd"}"#, "answer 4"),
                (r#"{"response":42,"p":"abcd"}"#, "answer 2"),
                (r#"{"response":null,"p":"abcd"}"#, ""),
                (r#"{"tool_calls":[],"p":"a"}"#, ""),
                ("{}", ""),
                (
                    r#"{"response":"","usage":{"prompt_tokens":20,"completion_tokens":4,"total_tokens":24}}"#,
                    "input 20, output 4",
                ),
                ("[DONE]", "done"),
            ],
        );
        assert_events(
            &WORKERS_AI,
            &[
                (
                    r#"{"tool_calls":[{"id":"c","type":"function","index":0,"function":{"name":"f"}}],"p":"a"}"#,
                    "output",
                ),
                (
                    r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}],"p":"a"}"#,
                    "tool 5",
                ),
                (
                    r#"{"tool_calls":[{"id":null,"function":{"name":null,"arguments":""}}],"p":"a"}"#,
                    "",
                ),
            ],
        );
    }

    #[test]
    fn documents_are_wrapped() {
        assert_events(
            &WORKERS_AI,
            &[
                (
                    r#"{"result":{"response":"Hello","tool_calls":[],"usage":{"prompt_tokens":9,"completion_tokens":2}},"success":true,"errors":[],"messages":[]}"#,
                    "answer 5, input 9, output 2",
                ),
                (
                    r#"{"result":{"response":{"fruit": true}},"success":true,"errors":[]}"#,
                    "answer 14",
                ),
                (
                    r#"{"result":{"tool_calls":[{"name":"f","arguments":{"a":1}}]},"success":true,"errors":[]}"#,
                    "tool 7",
                ),
                (r#"{"result":{"image":"aGk="},"success":true,"errors":[]}"#, "output"),
                (r#"{"result":{"shape":[1,2],"data":[[0.1,0.2]]},"success":true,"errors":[]}"#, ""),
                (
                    r#"{"result":null,"success":false,"errors":[{"message":"no","code":7000}]}"#,
                    "error",
                ),
                (r#"{"success":false,"errors":[]}"#, "error"),
                (r#"{"errors":[{"message":"AiError","code":3040}]}"#, "error"),
            ],
        );
    }

    #[test]
    fn models_with_openais_format_are_recognized() {
        let mut reader = ResponseReader::new(&WORKERS_AI);
        reader.push(br#"{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}],"p":"ab"}"#);
        let choice = reader.finish_event(b"").choices[0].clone();
        assert_eq!((choice.answer_chars, choice.finish.as_deref()), (2, Some("stop")));
        reader.clear_event();
        assert_eq!(reader.dialect_name(), Some("openai-chat"));
    }
}
