//! OpenAI's audio and images: transcriptions, translations, speech, generated and edited images.
//!
//! Responses are one document or a stream of typed events. Speech that is not streamed is audio, which is not parsed.
//! Transcriptions have more formats: vLLM streams them as chat chunks, other servers as plain `{"text":...}` events
//! without a final event.

use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};

/// Transcriptions and translations.
pub static TRANSCRIPTION: Dialect =
    Dialect::sse("openai-transcription", &TRANSCRIPT, finish_transcript, StreamEnd::Body);
/// Speech.
pub static SPEECH: Dialect =
    Dialect::sse("openai-speech", &MEDIA_ROOT, finish_media, StreamEnd::Event);
/// Images.
pub static IMAGES: Dialect =
    Dialect::sse("openai-images", &MEDIA_ROOT, finish_media, StreamEnd::Event);

static KIND: JsonShape = JsonShape::text(Tag::EventType);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static INPUT: JsonShape = token_count(TokenKind::Input);
static OUTPUT: JsonShape = token_count(TokenKind::Output);
/// Some models report seconds instead of tokens.
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
static TRANSCRIPT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &KIND),
    ("delta", &JsonShape::scalar(Tag::Answer)),
    ("text", &JsonShape::scalar(Tag::Answer)),
    ("choices", &JsonShape::list(&CHUNK)),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &USAGE),
]);
/// Text, or an object with `data` (SGLang-Omni).
static SOUND: JsonShape = JsonShape::object(Tag::Media, &[("data", &MEDIA)]);
/// Speech and images.
static MEDIA_ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &KIND),
    ("audio", &SOUND),
    ("b64_json", &MEDIA),
    ("data", &JsonShape::list(&JsonShape::path(&[("b64_json", &MEDIA), ("url", &MEDIA)]))),
    ("usage", &USAGE),
    ("finish_reason", &JsonShape::text(Tag::FinishReason)),
]);

/// Kinds of events that carry the same text, as sources for [`StreamState::is_first_source`].
const DELTA: u64 = 1;
const SEGMENT: u64 = 2;
const DONE: u64 = 3;
const UNTYPED: u64 = 4;

/// Counts text once: a delta, a completed segment and the full text may each repeat it.
fn finish_transcript(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    let kind = if event.event_type().is_empty() { name } else { event.event_type() };
    let is_error = is_error(kind);
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

/// The final image differs from the partial images, so it counts as output. The final event of speech has no audio.
fn finish_media(event: &mut EventBuilder, _: &mut StreamState, name: &[u8]) {
    let kind = if event.event_type().is_empty() { name } else { event.event_type() };
    let is_end = kind.ends_with(b".completed") || kind == b"speech.audio.done";
    let is_error = is_error(kind);
    event.facts.error |= is_error;
    event.facts.done |= is_end;
    event.finish();
}

/// Whether an event of this type reports an error, such as `speech.audio.error`.
fn is_error(kind: &[u8]) -> bool {
    kind == b"error" || kind.ends_with(b".error")
}

#[cfg(test)]
#[path = "openai_media_tests.rs"]
mod tests;
