//! OpenAI's responses, streamed as typed events and whole.
//!
//! A response is a list of items (messages, reasoning, tool calls), and the same text comes up to five
//! times: in deltas, when its text is done, when the part that holds it is, when the item is, and when
//! the response is. Deltas always count; of the others, which some servers send alone, the one that
//! told of the part first. What a server's own tools find (search results, a tool's output) is no
//! output of the model.
//!
//! Not every server tells an item's rank (llama.cpp tells none), and the rank of a part in its item
//! can't be trusted (some vLLM builds count it up with each delta).

use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::openai_chat::{ERROR, METRICS, TIMINGS};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd, finish_reason};

/// Responses.
pub static RESPONSES: Dialect =
    Dialect::sse("openai-responses", &ROOT, finish_event, StreamEnd::Event);

static EVENT_TEXT: JsonShape = JsonShape::scalar(Tag::EventText);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static NAME: JsonShape = JsonShape::scalar(Tag::ToolName);
static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
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
/// One item of an event: what its own conclusion needs stays apart.
static ITEM: JsonShape = JsonShape::path(&[
    ("type", &JsonShape::text(Tag::PartType)),
    ("content", &CONTENT),
    ("summary", &CONTENT),
    ("name", &NAME),
    ("arguments", &ARGUMENTS),
    ("input", &ARGUMENTS),
    ("operation", &ARGUMENTS),
    ("code", &JsonShape::raw(Tag::CallInput)),
    ("action", &JsonShape::raw(Tag::CallInput)),
    ("result", &EVENT_TEXT),
]);
/// All items at once.
static OUTPUT: JsonShape = JsonShape::list(&JsonShape::path(&[
    ("content", &CONTENT),
    ("summary", &CONTENT),
    ("name", &NAME),
    ("arguments", &ARGUMENTS),
    ("input", &ARGUMENTS),
    ("operation", &ARGUMENTS),
    ("code", &ARGUMENTS),
    ("result", &MEDIA),
]));
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
/// Azure tells of its filters in the response, vLLM of the messages that it made of the input.
static AZURE: JsonShape = JsonShape::scalar(Tag::WrittenBy(Engine::AzureOpenAi));
static VLLM: JsonShape = JsonShape::scalar(Tag::WrittenBy(Engine::Vllm));
static RESPONSE: JsonShape = JsonShape::path(&[
    ("model", &MODEL),
    ("output", &OUTPUT),
    ("incomplete_details", &INCOMPLETE),
    ("usage", &USAGE),
    ("error", &ERROR),
    ("metrics", &METRICS),
    ("timings", &TIMINGS),
    ("content_filters", &AZURE),
    ("input_messages", &VLLM),
]);
/// An event, or a response that is not streamed; that says what became of it where an event has its
/// type.
static ROOT: JsonShape = JsonShape::path(&[
    ("type", &KIND),
    ("output_index", &JsonShape::scalar(Tag::Number(0))),
    ("delta", &EVENT_TEXT),
    ("text", &EVENT_TEXT),
    ("refusal", &EVENT_TEXT),
    ("arguments", &EVENT_TEXT),
    ("input", &EVENT_TEXT),
    ("code", &EVENT_TEXT),
    ("diff", &EVENT_TEXT),
    ("partial_image_b64", &MEDIA),
    ("part", &PART),
    ("item", &ITEM),
    ("response", &RESPONSE),
    ("error", &ERROR),
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

/// Who may tell the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextSource {
    Delta = 1,
    Text,
    PartAdded,
    Part,
    ItemAdded,
    Item,
    Response,
}

impl TextSource {
    fn of(kind: &[u8]) -> Self {
        match kind {
            b"response.output_item.added" => Self::ItemAdded,
            b"response.output_item.done" => Self::Item,
            _ if kind.ends_with(b".delta") || kind.ends_with(b".partial_image") => Self::Delta,
            _ if kind.ends_with(b"_part.added") => Self::PartAdded,
            _ if kind.ends_with(b"_part.done") => Self::Part,
            _ if kind.ends_with(b".done") => Self::Text,
            _ => Self::Response,
        }
    }
}

/// What text is; each is told of a part by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputCategory {
    Answer,
    Reasoning,
    Arguments,
    /// Output without text: a tool's name, audio, an image.
    Wordless,
}

impl OutputCategory {
    /// What the text of an event of this kind is.
    fn of(kind: &[u8]) -> Self {
        let has = |word: &[u8]| kind.windows(word.len()).any(|part| part == word);
        if kind.starts_with(b"response.output_text.") {
            Self::Answer
        } else if has(b"reasoning") {
            Self::Reasoning
        } else if has(b"audio") || has(b"output_item") {
            Self::Wordless
        } else if has(b"text") || has(b"refusal") {
            Self::Answer
        } else {
            Self::Arguments
        }
    }

    /// What tells it apart in the stream: of an item, or (`None`) of the response.
    fn key(self, item: Option<u64>) -> u64 {
        let item = item.map_or(u64::MAX >> 2, |rank| rank.min(u64::from(u32::MAX)));
        item << 2 | self as u64
    }
}

/// Whether an event tells something new of an item.
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
    let kind = if event.event_type().is_empty() { name } else { event.event_type() };
    let (source, category) = (TextSource::of(kind), OutputCategory::of(kind));
    let end: Option<&[u8]> = match kind.strip_prefix(b"response.").unwrap_or(kind) {
        b"completed" => Some(b"completed"),
        b"incomplete" => Some(b"incomplete"),
        b"failed" => Some(b"failed"),
        b"cancelled" => Some(b"cancelled"),
        _ => None,
    };
    event.facts.error |= matches!(kind, b"error" | b"response.failed" | b"failed");
    event.facts.done |= end.is_some();
    // Calls of tools that have no field for arguments of their own.
    let is_call = matches!(
        event.part_type(),
        b"code_interpreter_call" | b"computer_call" | b"local_shell_call" | b"shell_call"
    );
    let arguments = if is_call { event.call_input } else { 0 };
    // The `code` of an error is none that a model wrote.
    let piece = if source == TextSource::Response { 0 } else { event.text };
    let output = event.choice.output();
    output.tool += arguments;
    match category {
        OutputCategory::Answer => output.answer += piece,
        OutputCategory::Reasoning => output.reasoning[0] += piece,
        OutputCategory::Arguments => output.tool += piece,
        OutputCategory::Wordless => output.has_nontext |= piece > 0,
    }
    drop_echoes(event, stream, source);
    event.choice.finish = end.map(|end| event.choice.finish.take().unwrap_or(finish_reason(end)));
    event.finish();
}

/// Drops what was told before.
fn drop_echoes(event: &mut EventBuilder, stream: &mut StreamState, source: TextSource) {
    let item = event.numbers[0].unwrap_or(0);
    let is_image = source == TextSource::Item && event.text > 0;
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
    // An image that is done is not the one that was shown before.
    let source = if is_image { TextSource::Delta } else { source };
    output.has_nontext =
        output.has_nontext && is_new(stream, OutputCategory::Wordless, item, source);
}

#[cfg(test)]
#[path = "openai_responses_tests.rs"]
mod tests;
