//! OpenAI's responses API.
//!
//! A response is a list of items: messages, reasoning, tool calls. A stream carries the same text up to five times: in
//! deltas, and again when the text, its part, its item and the response are done. Deltas always count. The other events
//! count if they carry the text first, because some servers send only those.
//!
//! Calls of tools are output, also if the server runs the tool, as with search or code. Their results are not. An item
//! that is added has a placeholder for its input (`{}`, an empty command); the input follows in deltas, or in the completed
//! item. Encrypted content is not output.
//!
//! Over a WebSocket, each event is a message, and a session has many responses, one after the other.
//!
//! Some servers do not send the index of an item (llama.cpp). The index of a part within its item is not reliable: some
//! vLLM builds increment it with each delta.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::items::CallInputs;
use super::openai_chat::{ERROR, METRICS, TIMINGS};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, SessionKind, StreamEnd, finish_reason};

/// Responses.
pub static RESPONSES: Dialect =
    Dialect::sse("openai-responses", &ROOT, finish_event, StreamEnd::Event)
        .with_session(SessionKind::Sequence);

static EVENT_TEXT: JsonShape = JsonShape::scalar(Tag::EventText);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static INPUT: JsonShape = JsonShape::raw(Tag::CallInput);
static KIND: JsonShape = JsonShape::text(Tag::EventType);

static PART: JsonShape = JsonShape::object(
    Tag::Part,
    &[
        ("type", &JsonShape::text(Tag::Thought)),
        ("text", &JsonShape::scalar(Tag::PartText)),
        ("refusal", &JsonShape::scalar(Tag::PartText)),
    ],
);
static CONTENT: JsonShape = JsonShape::list(&PART);
static ITEM: JsonShape = JsonShape::object(
    Tag::Item,
    &[
        ("type", &JsonShape::text(Tag::PartType)),
        ("role", &JsonShape::text(Tag::Role)),
        ("content", &CONTENT),
        ("summary", &CONTENT),
        ("name", &JsonShape::scalar(Tag::ToolName)),
        ("arguments", &INPUT),
        ("input", &INPUT),
        ("operation", &INPUT),
        ("code", &INPUT),
        ("action", &INPUT),
        ("actions", &INPUT),
        // Search in files.
        ("queries", &INPUT),
        ("result", &JsonShape::scalar(Tag::CallResult)),
    ],
);
/// All items, in a response that is not streamed or in the last event.
static OUTPUT: JsonShape = JsonShape::list(&ITEM);
static INCOMPLETE: JsonShape = JsonShape::path(&[("reason", &JsonShape::text(Tag::FinishReason))]);
static MODEL: JsonShape = JsonShape::text(Tag::Model);
static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &token_count(TokenKind::Input)),
        ("output_tokens", &token_count(TokenKind::Output)),
        ("total_tokens", &token_count(TokenKind::Total)),
        (
            "input_tokens_details",
            &JsonShape::path(&[("cached_tokens", &token_count(TokenKind::CacheRead))]),
        ),
        (
            "output_tokens_details",
            &JsonShape::path(&[("reasoning_tokens", &token_count(TokenKind::Reasoning))]),
        ),
    ],
);
/// Only Azure sends its content filters.
static AZURE: JsonShape = JsonShape::scalar(Tag::WrittenBy(Engine::AzureOpenAi));
/// Only vLLM sends the messages that it made of the input.
static VLLM: JsonShape = JsonShape::scalar(Tag::WrittenBy(Engine::Vllm));
static RESPONSE: JsonShape = JsonShape::path(&[
    ("model", &MODEL),
    ("output", &OUTPUT),
    ("incomplete_details", &INCOMPLETE),
    ("usage", &USAGE),
    ("error", &ERROR),
    ("status", &JsonShape::text(Tag::Status)),
    ("metrics", &METRICS),
    ("timings", &TIMINGS),
    ("content_filters", &AZURE),
    ("input_messages", &VLLM),
]);
/// An event, or a response that is not streamed. The latter has `status` instead of `type`.
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &KIND),
    ("output_index", &JsonShape::scalar(Tag::Number(0))),
    ("delta", &EVENT_TEXT),
    ("text", &EVENT_TEXT),
    ("refusal", &EVENT_TEXT),
    ("arguments", &EVENT_TEXT),
    ("input", &EVENT_TEXT),
    ("code", &EVENT_TEXT),
    ("command", &EVENT_TEXT),
    ("diff", &EVENT_TEXT),
    ("partial_image_b64", &MEDIA),
    ("part", &PART),
    ("item", &ITEM),
    ("response", &RESPONSE),
    ("obfuscation", &JsonShape::scalar(Tag::WrittenBy(Engine::OpenAi))),
    ("status", &KIND),
    ("model", &MODEL),
    ("output", &OUTPUT),
    ("incomplete_details", &INCOMPLETE),
    ("usage", &USAGE),
    ("metrics", &METRICS),
    ("timings", &TIMINGS),
    ("content_filters", &AZURE),
    ("input_messages", &VLLM),
]);

/// Kind of event that carries text. Several kinds may repeat the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextSource {
    Delta = 1,
    TextAdded,
    Text,
    PartAdded,
    Part,
    ItemAdded,
    Item,
    Response,
}

impl TextSource {
    fn of(event_type: &[u8]) -> Self {
        match event_type {
            b"response.output_item.added" => Self::ItemAdded,
            b"response.output_item.done" => Self::Item,
            b"response.shell_call_command.added" => Self::TextAdded,
            _ if event_type.ends_with(b".delta") || event_type.ends_with(b".partial_image") => {
                Self::Delta
            }
            _ if event_type.ends_with(b"_part.added") => Self::PartAdded,
            _ if event_type.ends_with(b"_part.done") => Self::Part,
            _ if event_type.ends_with(b".done") => Self::Text,
            _ => Self::Response,
        }
    }
}

/// Category of output. Each is tracked separately for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputCategory {
    Answer,
    Reasoning,
    Arguments,
    /// Output without text: a tool's name, audio, an image.
    NonText,
}

impl OutputCategory {
    /// Category of the text in an event of this type.
    fn of(event_type: &[u8]) -> Self {
        let has = |word: &[u8]| event_type.windows(word.len()).any(|part| part == word);
        if event_type.starts_with(b"response.output_text.") {
            Self::Answer
        } else if has(b"reasoning") {
            Self::Reasoning
        } else if has(b"audio") || has(b"output_item") {
            Self::NonText
        } else if has(b"text") || has(b"refusal") {
            Self::Answer
        } else {
            Self::Arguments
        }
    }

    /// Key in [`StreamState`], for an item or (`None`) for the whole response.
    fn key(self, item: Option<u64>) -> u64 {
        let item = item.map_or(u64::MAX >> 2, |index| index.min(u64::from(u32::MAX)));
        item << 2 | self as u64
    }
}

/// Whether an event from this source carries new output of an item.
fn is_new(
    stream: &mut StreamState,
    category: OutputCategory,
    item: u64,
    source: TextSource,
) -> bool {
    let is_first = stream.is_first_source(category.key(None), source as u64);
    match source {
        TextSource::Response => is_first,
        _ => {
            stream.is_first_source(category.key(Some(item)), source as u64)
                || source == TextSource::Delta
        }
    }
}

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    let event_type = if event.event_type().is_empty() { name } else { event.event_type() };
    let (source, category) = (TextSource::of(event_type), OutputCategory::of(event_type));
    let end: Option<&[u8]> = match event_type.strip_prefix(b"response.").unwrap_or(event_type) {
        b"completed" => Some(b"completed"),
        b"incomplete" => Some(b"incomplete"),
        b"failed" => Some(b"failed"),
        b"cancelled" => Some(b"cancelled"),
        _ => None,
    };
    let starts_response = source == TextSource::Response && event_type == b"response.created";
    let is_error = source == TextSource::Response
        && (matches!(event_type, b"error" | b"response.failed" | b"failed")
            || event_type.ends_with(b".error"));
    let is_summary = category == OutputCategory::Reasoning
        && event_type.starts_with(b"response.reasoning_summary");
    // The `code` of an error and the output of a tool are not output of the model.
    let is_tool_output =
        category == OutputCategory::Arguments && event_type.ends_with(b"_output_content.delta");
    let is_output = source != TextSource::Response && !is_tool_output;
    let text = if is_output { event.text } else { 0 };
    event.facts.error |= is_error;
    event.facts.has_reasoning_summary |= is_summary && text > 0;
    event.facts.done |= end.is_some();
    if starts_response {
        event.facts.response_started = true;
        // The items of a session's next response have the same indexes.
        stream.clear_counters();
    }
    let inputs = added_inputs(event.call_inputs, source);
    let output = event.choice.output();
    output.tool += inputs.text + inputs.structured;
    output.has_nontext |= inputs.has_search || inputs.has_image;
    match category {
        OutputCategory::Answer => output.answer += text,
        OutputCategory::Reasoning => output.reasoning[0] += text,
        OutputCategory::Arguments => output.tool += text,
        OutputCategory::NonText => output.has_nontext |= text > 0,
    }
    drop_repeated(event, stream, source);
    event.choice.finish = end.map(|end| event.choice.finish.take().unwrap_or(finish_reason(end)));
    event.finish();
}

/// Inputs of calls, without the placeholders of an item that is added.
fn added_inputs(inputs: CallInputs, source: TextSource) -> CallInputs {
    /// Length of `{}` and `[]`.
    const PLACEHOLDER: u64 = 2;
    match source {
        TextSource::ItemAdded if inputs.text > PLACEHOLDER => {
            CallInputs { text: inputs.text, ..CallInputs::default() }
        }
        TextSource::ItemAdded => CallInputs::default(),
        _ => inputs,
    }
}

/// Drops output that an earlier event carried.
fn drop_repeated(event: &mut EventBuilder, stream: &mut StreamState, source: TextSource) {
    let item = event.numbers[0].unwrap_or(0);
    let is_image = source == TextSource::Item && event.call_inputs.has_image;
    let output = event.choice.output();
    for (category, chars) in [
        (OutputCategory::Answer, &mut output.answer),
        (OutputCategory::Reasoning, &mut output.reasoning[0]),
        (OutputCategory::Arguments, &mut output.tool),
    ] {
        if *chars > 0 && !is_new(stream, category, item, source) {
            *chars = 0;
        }
    }
    // A completed image differs from its partial images.
    let source = if is_image { TextSource::Delta } else { source };
    output.has_nontext =
        output.has_nontext && is_new(stream, OutputCategory::NonText, item, source);
}

#[cfg(test)]
#[path = "openai_responses_tests.rs"]
mod tests;
