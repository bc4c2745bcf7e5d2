//! OpenAI's sound and images: transcriptions and translations, speech, generated and edited images.
//!
//! Each is one document, or a stream of typed events; speech is bytes of sound unless it is streamed.
//! Transcriptions come in more shapes: vLLM streams them as chunks of a chat, others as bare
//! `{"text":...}` events without an end.

use super::draft::Draft;
use super::openai_chat::ERROR;
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending};

/// Transcriptions and translations.
pub static TRANSCRIPTION: Dialect =
    Dialect::streamed_as_sse("openai-transcription", &TRANSCRIBED, transcribed, Ending::Body);
/// Speech.
pub static SPEECH: Dialect = Dialect::streamed_as_sse("openai-speech", &DRAWN, drawn, Ending::Told);
/// Images.
pub static IMAGES: Dialect = Dialect::streamed_as_sse("openai-images", &DRAWN, drawn, Ending::Told);

static KIND: Shape = Shape::text(Tag::Kind);
static MEDIA: Shape = Shape::scalar(Tag::Media);
static INPUT: Shape = counted(Count::Input);
static OUTPUT: Shape = counted(Count::Output);
/// Some count seconds instead of tokens.
static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("output_tokens", &OUTPUT),
        ("prompt_tokens", &INPUT),
        ("completion_tokens", &OUTPUT),
        ("total_tokens", &counted(Count::Total)),
    ],
);
static CHUNK: Shape = Shape::object(
    Tag::Choice,
    &[
        ("index", &Shape::scalar(Tag::Index)),
        ("delta", &Shape::object(Tag::Delta, &[("content", &Shape::scalar(Tag::Answer))])),
        ("finish_reason", &Shape::text(Tag::Finish)),
    ],
);
static TRANSCRIBED: Shape = Shape::path(&[
    ("type", &KIND),
    ("delta", &Shape::scalar(Tag::Answer)),
    ("text", &Shape::scalar(Tag::Answer)),
    ("choices", &Shape::list(&CHUNK)),
    ("model", &Shape::text(Tag::Model)),
    ("usage", &USAGE),
    ("error", &ERROR),
]);
/// Sound and images.
static DRAWN: Shape = Shape::path(&[
    ("type", &KIND),
    ("audio", &MEDIA),
    ("b64_json", &MEDIA),
    ("data", &Shape::list(&Shape::path(&[("b64_json", &MEDIA), ("url", &MEDIA)]))),
    ("usage", &USAGE),
    ("error", &ERROR),
]);

/// Who may tell the same text.
const DELTA: u64 = 1;
const SEGMENT: u64 = 2;
const DONE: u64 = 3;
const UNTYPED: u64 = 4;

/// A delta, a segment that is done, or all of the text: each may tell the same text anew.
fn transcribed(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    let kind = if draft.kind().is_empty() { name } else { draft.kind() };
    let is_error = kind == b"error";
    let teller = match kind {
        b"transcript.text.delta" => DELTA,
        b"transcript.text.segment" => SEGMENT,
        b"transcript.text.done" => DONE,
        _ => UNTYPED,
    };
    draft.facts.error |= is_error;
    draft.facts.done |= teller == DONE;
    let body = draft.choice.body();
    if body.answer > 0 && !memory.hears(0, teller) {
        body.answer = 0;
    }
    draft.conclude();
}

/// The last image is not the one that was shown before; what ends speech has no sound.
fn drawn(draft: &mut Draft, _: &mut Memory, name: &[u8]) {
    let kind = if draft.kind().is_empty() { name } else { draft.kind() };
    let is_end = kind.ends_with(b".completed") || kind == b"speech.audio.done";
    let is_error = kind == b"error";
    draft.facts.error |= is_error;
    draft.facts.done |= is_end;
    draft.conclude();
}

#[cfg(test)]
#[path = "openai_media_tests.rs"]
mod tests;
