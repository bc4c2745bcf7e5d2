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

use super::draft::Draft;
use super::engine::Engine;
use super::openai_chat::{ERROR, METRICS, TIMINGS};
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending, finish_reason};

/// Responses.
pub static RESPONSES: Dialect =
    Dialect::streamed_as_sse("openai-responses", &ROOT, conclude, Ending::Told);

static PIECE: Shape = Shape::scalar(Tag::Piece);
static MEDIA: Shape = Shape::scalar(Tag::Media);
static NAME: Shape = Shape::scalar(Tag::ToolName);
static ARGUMENTS: Shape = Shape::raw(Tag::ToolArguments);
static KIND: Shape = Shape::text(Tag::Kind);

static PART: Shape = Shape::object(
    Tag::Part,
    &[
        ("type", &Shape::text(Tag::Thought)),
        ("text", &Shape::scalar(Tag::PartText)),
        ("refusal", &Shape::scalar(Tag::PartText)),
    ],
);
static CONTENT: Shape = Shape::list(&PART);
/// One item of an event: what its own conclusion needs stays apart.
static ITEM: Shape = Shape::path(&[
    ("type", &Shape::text(Tag::PartKind)),
    ("content", &CONTENT),
    ("summary", &CONTENT),
    ("name", &NAME),
    ("arguments", &ARGUMENTS),
    ("input", &ARGUMENTS),
    ("operation", &ARGUMENTS),
    ("code", &Shape::raw(Tag::Echo)),
    ("action", &Shape::raw(Tag::Echo)),
    ("result", &PIECE),
]);
/// All items at once.
static OUTPUT: Shape = Shape::list(&Shape::path(&[
    ("content", &CONTENT),
    ("summary", &CONTENT),
    ("name", &NAME),
    ("arguments", &ARGUMENTS),
    ("input", &ARGUMENTS),
    ("operation", &ARGUMENTS),
    ("code", &ARGUMENTS),
    ("result", &MEDIA),
]));
static INCOMPLETE: Shape = Shape::path(&[("reason", &Shape::text(Tag::Finish))]);
static MODEL: Shape = Shape::text(Tag::Model);
static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("input_tokens", &counted(Count::Input)),
        ("output_tokens", &counted(Count::Output)),
        ("total_tokens", &counted(Count::Total)),
        ("input_tokens_details", &Shape::path(&[("cached_tokens", &counted(Count::Cached))])),
        (
            "output_tokens_details",
            &Shape::path(&[("reasoning_tokens", &counted(Count::Reasoning))]),
        ),
    ],
);
/// Azure tells of its filters in the response, vLLM of the messages that it made of the input.
static AZURE: Shape = Shape::scalar(Tag::Sign(Engine::AzureOpenAi));
static VLLM: Shape = Shape::scalar(Tag::Sign(Engine::Vllm));
static RESPONSE: Shape = Shape::path(&[
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
static ROOT: Shape = Shape::path(&[
    ("type", &KIND),
    ("output_index", &Shape::scalar(Tag::Place(0))),
    ("delta", &PIECE),
    ("text", &PIECE),
    ("refusal", &PIECE),
    ("arguments", &PIECE),
    ("input", &PIECE),
    ("code", &PIECE),
    ("diff", &PIECE),
    ("partial_image_b64", &MEDIA),
    ("part", &PART),
    ("item", &ITEM),
    ("response", &RESPONSE),
    ("error", &ERROR),
    ("obfuscation", &Shape::scalar(Tag::Sign(Engine::OpenAi))),
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
enum Teller {
    Delta = 1,
    Text,
    PartAdded,
    Part,
    ItemAdded,
    Item,
    Response,
}

impl Teller {
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
enum Matter {
    Answer,
    Reasoning,
    Arguments,
    /// Output without text: a tool's name, audio, an image.
    Wordless,
}

impl Matter {
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

    /// What tells it apart in the memory: of an item, or (`None`) of the response.
    fn key(self, item: Option<u64>) -> u64 {
        let item = item.map_or(u64::MAX >> 2, |rank| rank.min(u64::from(u32::MAX)));
        item << 2 | self as u64
    }
}

/// Whether an event tells something new of an item.
fn is_new(memory: &mut Memory, matter: Matter, item: u64, teller: Teller) -> bool {
    let is_first = memory.hears(matter.key(None), teller as u64);
    match teller {
        Teller::Response => is_first,
        _ => memory.hears(matter.key(Some(item)), teller as u64) || teller == Teller::Delta,
    }
}

fn conclude(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    let kind = if draft.kind().is_empty() { name } else { draft.kind() };
    let (teller, matter) = (Teller::of(kind), Matter::of(kind));
    let end: Option<&[u8]> = match kind.strip_prefix(b"response.").unwrap_or(kind) {
        b"completed" => Some(b"completed"),
        b"incomplete" => Some(b"incomplete"),
        b"failed" => Some(b"failed"),
        b"cancelled" => Some(b"cancelled"),
        _ => None,
    };
    draft.facts.error |= matches!(kind, b"error" | b"response.failed" | b"failed");
    draft.facts.done |= end.is_some();
    // Calls of tools that have no field for arguments of their own.
    let is_call = matches!(
        draft.part_kind(),
        b"code_interpreter_call" | b"computer_call" | b"local_shell_call" | b"shell_call"
    );
    let arguments = if is_call { draft.echo } else { 0 };
    // The `code` of an error is none that a model wrote.
    let piece = if teller == Teller::Response { 0 } else { draft.piece };
    let body = draft.choice.body();
    body.tool += arguments;
    match matter {
        Matter::Answer => body.answer += piece,
        Matter::Reasoning => body.reasoning[0] += piece,
        Matter::Arguments => body.tool += piece,
        Matter::Wordless => body.wordless |= piece > 0,
    }
    drop_echoes(draft, memory, teller);
    draft.choice.finish = end.map(|end| draft.choice.finish.take().unwrap_or(finish_reason(end)));
    draft.conclude();
}

/// Drops what was told before.
fn drop_echoes(draft: &mut Draft, memory: &mut Memory, teller: Teller) {
    let item = draft.places[0].unwrap_or(0);
    let is_image = teller == Teller::Item && draft.piece > 0;
    let body = draft.choice.body();
    for (matter, chars) in [
        (Matter::Answer, &mut body.answer),
        (Matter::Reasoning, &mut body.reasoning[0]),
        (Matter::Arguments, &mut body.tool),
    ] {
        if *chars > 0 && !is_new(memory, matter, item, teller) {
            *chars = 0;
        }
    }
    // An image that is done is not the one that was shown before.
    let teller = if is_image { Teller::Delta } else { teller };
    body.wordless = body.wordless && is_new(memory, Matter::Wordless, item, teller);
}

#[cfg(test)]
#[path = "openai_responses_tests.rs"]
mod tests;
