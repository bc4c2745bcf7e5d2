//! OpenAI's realtime API over a WebSocket, and what vLLM and SGLang serve of it.
//!
//! Each text message of the server's is an event. A session holds many responses: `response.created`
//! begins one and `response.done` ends it, with its status and usage. Output is the deltas of text, of
//! audio, of its transcript and of a tool call's arguments, and a tool's name where its item is added;
//! `.done` messages repeat them. vLLM transcribes in `transcription.delta` messages, which
//! `transcription.done` ends. OpenAI and SGLang transcribe item by item: in a session that says that it
//! is for transcription, that is the output; in any other it is what the user said.
//!
//! An `error` need not concern a response: it answers the client's message that it was caused by.

use super::draft::Draft;
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending};
use crate::wire::json::{JsonNode, JsonScanner, ScanEvent};

/// Speech, and text, in sessions of many responses.
pub static REALTIME: Dialect =
    Dialect::streamed_as_sse("openai-realtime", &ROOT, conclude, Ending::Told);
/// What it is called in a session for transcription.
const TRANSCRIPTION: &str = "openai-realtime-transcription";

static PIECE: Shape = Shape::scalar(Tag::Piece);
static ECHO: Shape = Shape::scalar(Tag::Echo);
static RESPONSE_USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("input_tokens", &counted(Count::Input)),
        ("output_tokens", &counted(Count::Output)),
        ("input_token_details", &Shape::path(&[("cached_tokens", &counted(Count::Cached))])),
        // vLLM's.
        ("prompt_tokens", &counted(Count::Input)),
        ("completion_tokens", &counted(Count::Output)),
    ],
);
static ROOT: Shape = Shape::path(&[
    ("type", &Shape::text(Tag::Kind)),
    ("delta", &PIECE),
    ("transcript", &ECHO),
    ("item", &Shape::path(&[("name", &ECHO)])),
    ("usage", &RESPONSE_USAGE),
    (
        "response",
        &Shape::path(&[("status", &Shape::text(Tag::Finish)), ("usage", &RESPONSE_USAGE)]),
    ),
    // What kind of session it is stands where its end would.
    (
        "session",
        &Shape::path(&[("type", &Shape::text(Tag::Finish)), ("model", &Shape::text(Tag::Model))]),
    ),
]);

/// The part that is being transcribed.
const ITEM: u64 = 0;

fn conclude(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    let transcribes = memory.spoken.is_some();
    let finish = draft.choice.finish.take();
    let (piece, echo) = (draft.piece, draft.echo);
    match draft.kind() {
        b"session.created" | b"session.updated" if finish.as_deref() == Some("transcription") => {
            memory.spoken = Some(TRANSCRIPTION);
        }
        b"transcription_session.created" | b"transcription_session.updated" => {
            memory.spoken = Some(TRANSCRIPTION);
        }
        b"response.created" => draft.facts.begun = true,
        b"response.output_text.delta"
        | b"response.text.delta"
        | b"response.output_audio_transcript.delta"
        | b"response.audio_transcript.delta"
        | b"transcription.delta" => draft.choice.delta.answer = piece,
        b"response.output_audio.delta" | b"response.audio.delta" => {
            draft.choice.delta.wordless = piece > 0;
        }
        b"response.function_call_arguments.delta" | b"response.mcp_call_arguments.delta" => {
            draft.choice.delta.tool = piece;
        }
        b"response.output_item.added" => draft.choice.delta.wordless = echo > 0,
        b"response.done" => {
            draft.facts.error = finish.as_deref() == Some("failed");
            draft.choice.finish = finish;
            draft.facts.done = true;
        }
        b"transcription.done" => draft.facts.done = true,
        b"conversation.item.input_audio_transcription.delta" if transcribes => {
            draft.choice.delta.answer = piece;
            if let Some(chars) = memory.part(ITEM) {
                *chars += piece;
            }
        }
        b"conversation.item.input_audio_transcription.completed" if transcribes => {
            // Whisper's comes whole.
            if memory.part(ITEM).map(std::mem::take) == Some(0) {
                draft.choice.delta.answer = echo;
            }
            draft.facts.done = true;
        }
        b"conversation.item.input_audio_transcription.failed" if transcribes => {
            memory.part(ITEM).map(std::mem::take);
            (draft.facts.error, draft.facts.done) = (true, true);
        }
        // What the transcription of the user's own words took is no response's.
        b"conversation.item.input_audio_transcription.completed" => draft.facts.usage = None,
        b"error" => draft.facts.error = true,
        _ => {}
    }
    draft.conclude();
}

/// Reads the client's messages of a session, one after the other.
#[derive(Debug)]
pub struct ClientMessages {
    scanner: JsonScanner<ClientTag>,
    asks: bool,
    is_final: bool,
}

#[derive(Debug, Clone, Copy)]
enum ClientTag {
    Type,
    Final,
}

static CLIENT_ROOT: JsonNode<ClientTag> = JsonNode::path(&[
    ("type", &JsonNode::text(ClientTag::Type)),
    ("final", &JsonNode::scalar(ClientTag::Final)),
]);

impl Default for ClientMessages {
    fn default() -> Self {
        Self { scanner: JsonScanner::new(&CLIENT_ROOT), asks: false, is_final: false }
    }
}

impl ClientMessages {
    /// Reads the next part of the current message.
    pub fn data(&mut self, bytes: &[u8]) {
        let Self { scanner, asks, is_final } = self;
        scanner.push(bytes, &mut |tag, token| match (tag, token) {
            (ClientTag::Type, ScanEvent::Text { text, .. }) => {
                *asks = matches!(text, b"response.create" | b"input_audio_buffer.commit");
            }
            (ClientTag::Final, ScanEvent::Bool(yes)) => *is_final = yes,
            _ => {}
        });
    }

    /// The message is complete: tells whether it asks for a response. vLLM's first `commit` does, and
    /// its last, which is `final`, says that no more audio comes.
    pub fn end(&mut self) -> bool {
        let is_whole = self.scanner.end(&mut |_, _| {}).is_ok();
        let asks = std::mem::take(&mut self.asks) & !std::mem::take(&mut self.is_final);
        is_whole && asks
    }
}

#[cfg(test)]
#[path = "realtime_tests.rs"]
mod tests;
