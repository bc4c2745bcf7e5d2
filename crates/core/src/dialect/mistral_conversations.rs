//! Mistral's conversations (docs.mistral.ai, "Agents & conversations"; the schemas of its SDK).
//!
//! The type of an event is in `type`. `message.output.delta` has text, or an object that is one typed part. Mistral runs
//! its connectors itself: the arguments of `tool.execution.*` are output of the model like those of
//! `function.call.delta`, and their results are not in the stream. Each event of a call repeats the name of the tool.
//!
//! Distinctive keys: `type` with `conversation.response.started`, `message.output.delta`, `function.call.delta` or
//! `tool.execution.started`; `object` with `conversation.response` in a document.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::{EventBuilder, OutputCounts};
use super::openai_chat::{CONTENT_PART, USAGE};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// Conversations.
pub static CONVERSATIONS: Dialect =
    Dialect::sse("mistral-conversations", &ROOT, finish_event, StreamEnd::Event);

/// Slot of the index of an output.
const INDEX: usize = 0;

static MODEL: JsonShape = JsonShape::text(Tag::Model);
static NAME: JsonShape = JsonShape::scalar(Tag::ToolName);
static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
/// Text, one part, or a list of parts.
static CONTENT: JsonShape =
    JsonShape { items: Some(&CONTENT_PART), ..JsonShape::object(Tag::Answer, CONTENT_PART.keys) };
/// A message, or the call of a tool.
static OUTPUT: JsonShape = JsonShape::path(&[
    ("content", &CONTENT),
    ("model", &MODEL),
    ("name", &NAME),
    ("arguments", &ARGUMENTS),
]);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &JsonShape::text(Tag::EventType)),
    ("output_index", &JsonShape::scalar(Tag::Number(INDEX))),
    ("content", &CONTENT),
    ("name", &NAME),
    ("arguments", &ARGUMENTS),
    ("model", &MODEL),
    ("usage", &USAGE),
    // Not streamed.
    ("object", &JsonShape::text(Tag::PartType)),
    ("outputs", &JsonShape::list(&OUTPUT)),
]);

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    let [index, ..] = event.numbers;
    let is_document = event.part_type() == b"conversation.response";
    match event.event_type() {
        b"message.output.delta" => {}
        b"function.call.delta" | b"tool.execution.started" | b"tool.execution.delta" => {
            // The name is output where the call begins.
            let calls = stream.counter(index.unwrap_or(0));
            let is_first = calls.is_some_and(|calls| std::mem::replace(calls, 1) == 0);
            event.choice.delta.has_nontext &= is_first;
        }
        b"conversation.response.done" => event.facts.done = true,
        b"conversation.response.error" => event.facts.error = true,
        _ if is_document => {}
        _ => event.choice.delta = OutputCounts::default(),
    }
    if is_document || event.event_type().starts_with(b"conversation.response.") {
        event.facts.detected_engine = Some(Engine::Mistral);
    }
    event.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn a_stream_has_text_thoughts_and_calls() {
        assert_events(
            &CONVERSATIONS,
            &[
                (r#"{"type":"conversation.response.started","conversation_id":"c"}"#, ""),
                (
                    r#"{"type":"tool.execution.started","output_index":0,"id":"t","name":"web_search","arguments":""}"#,
                    "output",
                ),
                (
                    r#"{"type":"tool.execution.delta","output_index":0,"id":"t","name":"web_search","arguments":"{\"q\":1}"}"#,
                    "tool 7",
                ),
                (
                    r#"{"type":"tool.execution.done","output_index":0,"id":"t","name":"web_search","info":{}}"#,
                    "",
                ),
                (
                    r#"{"type":"agent.handoff.started","output_index":1,"previous_agent_name":"a"}"#,
                    "",
                ),
                (
                    r#"{"type":"message.output.delta","output_index":2,"model":"mistral","role":"assistant","content":{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}}"#,
                    "reasoning 2, model mistral",
                ),
                (r#"{"type":"message.output.delta","output_index":2,"content":"Yes"}"#, "answer 3"),
                (
                    r#"{"type":"message.output.delta","output_index":2,"content":{"type":"tool_reference","tool":"web_search","title":"T"}}"#,
                    "",
                ),
                (
                    r#"{"type":"message.output.delta","output_index":2,"content":{"type":"text","text":"!"}}"#,
                    "answer 1",
                ),
                (
                    r#"{"type":"function.call.delta","output_index":3,"name":"f","tool_call_id":"x","arguments":""}"#,
                    "output",
                ),
                (
                    r#"{"type":"function.call.delta","output_index":3,"name":"f","arguments":""}"#,
                    "",
                ),
                (
                    r#"{"type":"function.call.delta","output_index":3,"name":"f","arguments":"{}"}"#,
                    "tool 2",
                ),
                (
                    r#"{"type":"conversation.response.done","usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":18,"connector_tokens":4}}"#,
                    "input 9, output 5, done",
                ),
            ],
        );
        let failed = r#"{"type":"conversation.response.error","message":"no","code":3001}"#;
        assert_events(&CONVERSATIONS, &[(failed, "error")]);
    }

    #[test]
    fn a_document_has_outputs() {
        assert_events(
            &CONVERSATIONS,
            &[
                (
                    r#"{"object":"conversation.response","conversation_id":"c","outputs":[{"type":"tool.execution","name":"web_search","arguments":"{}"},
                        {"type":"message.output","model":"mistral","content":[{"type":"text","text":"Yes"},{"type":"tool_reference","title":"T"}]}],
                        "usage":{"prompt_tokens":9,"completion_tokens":5}}"#,
                    "answer 3, tool 2, input 9, output 5, model mistral",
                ),
                // A conversation that OpenAI creates.
                (r#"{"id":"conv_1","object":"conversation","created_at":1,"metadata":{}}"#, ""),
            ],
        );
    }
}
