//! OpenAI's sound and images: transcriptions and translations, speech, generated and edited images.
//!
//! Each is one document, or a stream of typed events; speech is bytes of sound unless it is streamed.
//! Transcriptions come in more shapes: vLLM streams them as chunks of a chat, others as bare
//! `{"text":...}` events without an end.

use super::event_builder::EventBuilder;
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};

/// Transcriptions and translations.
pub static TRANSCRIPTION: Dialect =
    Dialect::sse("openai-transcription", &TRANSCRIBED, transcribed, StreamEnd::Body);
/// Speech.
pub static SPEECH: Dialect = Dialect::sse("openai-speech", &DRAWN, drawn, StreamEnd::Event);
/// Images.
pub static IMAGES: Dialect = Dialect::sse("openai-images", &DRAWN, drawn, StreamEnd::Event);

static KIND: JsonShape = JsonShape::text(Tag::EventType);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static INPUT: JsonShape = token_count(TokenKind::Input);
static OUTPUT: JsonShape = token_count(TokenKind::Output);
/// Some count seconds instead of tokens.
static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("output_tokens", &OUTPUT),
        ("prompt_tokens", &INPUT),
        ("completion_tokens", &OUTPUT),
        ("total_tokens", &token_count(TokenKind::Total)),
    ],
);
static CHUNK: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        ("delta", &JsonShape::object(Tag::Delta, &[("content", &JsonShape::scalar(Tag::Answer))])),
        ("finish_reason", &JsonShape::text(Tag::FinishReason)),
    ],
);
static TRANSCRIBED: JsonShape = JsonShape::path(&[
    ("type", &KIND),
    ("delta", &JsonShape::scalar(Tag::Answer)),
    ("text", &JsonShape::scalar(Tag::Answer)),
    ("choices", &JsonShape::list(&CHUNK)),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &USAGE),
    ("error", &ERROR),
]);
/// Sound and images.
static DRAWN: JsonShape = JsonShape::path(&[
    ("type", &KIND),
    ("audio", &MEDIA),
    ("b64_json", &MEDIA),
    ("data", &JsonShape::list(&JsonShape::path(&[("b64_json", &MEDIA), ("url", &MEDIA)]))),
    ("usage", &USAGE),
    ("error", &ERROR),
]);

/// Who may tell the same text.
const DELTA: u64 = 1;
const SEGMENT: u64 = 2;
const DONE: u64 = 3;
const UNTYPED: u64 = 4;

/// A delta, a segment that is done, or all of the text: each may tell the same text anew.
fn transcribed(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    let kind = if event.event_type().is_empty() { name } else { event.event_type() };
    let is_error = kind == b"error";
    let source = match kind {
        b"transcript.text.delta" => DELTA,
        b"transcript.text.segment" => SEGMENT,
        b"transcript.text.done" => DONE,
        _ => UNTYPED,
    };
    event.facts.error |= is_error;
    event.facts.done |= source == DONE;
    let output = event.choice.output();
    if output.answer > 0 && !stream.is_first_source(0, source) {
        output.answer = 0;
    }
    event.finish();
}

/// The last image is not the one that was shown before; what ends speech has no sound.
fn drawn(event: &mut EventBuilder, _: &mut StreamState, name: &[u8]) {
    let kind = if event.event_type().is_empty() { name } else { event.event_type() };
    let is_end = kind.ends_with(b".completed") || kind == b"speech.audio.done";
    let is_error = kind == b"error";
    event.facts.error |= is_error;
    event.facts.done |= is_end;
    event.finish();
}

#[cfg(test)]
#[path = "openai_media_tests.rs"]
mod tests;
