//! OpenAI's realtime API over a WebSocket, also served in parts by vLLM and SGLang.
//!
//! Each text message from the server is an event. A session has many responses: `response.created` starts one, and
//! `response.done` ends it with its status and usage. Output is the deltas of text, audio, its transcript and tool
//! arguments, and the name of a tool when its item is added. `.done` messages repeat them; they count if nothing was
//! streamed before.
//!
//! vLLM transcribes in `transcription.delta` messages up to `transcription.done`. OpenAI and SGLang transcribe item by
//! item. In a transcription session, the transcript is the output. In other sessions, it is the user's own words.
//!
//! An `error` may be about any client message, not only about a response.
//!
//! A translation session has no responses: it translates the client's audio while it arrives.

use super::event_builder::EventBuilder;
use super::request::model_name;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, SessionKind, StreamEnd};
use crate::wire::ScanEvent;
use crate::wire::json::{JsonNode, JsonScanner};
use std::sync::Arc;

/// Speech and text, in sessions with many responses.
pub static REALTIME: Dialect =
    Dialect::sse("openai-realtime", &ROOT, finish_event, StreamEnd::Event);
/// Translation of speech, without responses.
pub static TRANSLATION: Dialect =
    Dialect::sse("openai-realtime-translation", &ROOT, finish_translation, StreamEnd::Event)
        .with_session(SessionKind::Continuous);
/// Name of the dialect in a transcription session.
const TRANSCRIPTION: &str = "openai-realtime-transcription";

static EVENT_TEXT: JsonShape = JsonShape::scalar(Tag::EventText);
static RESPONSE_USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &token_count(TokenKind::Input)),
        ("output_tokens", &token_count(TokenKind::Output)),
        (
            "input_token_details",
            &JsonShape::path(&[("cached_tokens", &token_count(TokenKind::CacheRead))]),
        ),
        // vLLM.
        ("prompt_tokens", &token_count(TokenKind::Input)),
        ("completion_tokens", &token_count(TokenKind::Output)),
    ],
);
static REPEATED: JsonShape = JsonShape::scalar(Tag::RepeatedText);
static OUTPUT: JsonShape = JsonShape::list(&JsonShape::path(&[
    (
        "content",
        &JsonShape::list(&JsonShape::path(&[("text", &REPEATED), ("transcript", &REPEATED)])),
    ),
    ("arguments", &EVENT_TEXT),
]));
static ROOT: JsonShape = JsonShape::path(&[
    ("type", &JsonShape::text(Tag::EventType)),
    ("delta", &EVENT_TEXT),
    ("text", &REPEATED),
    ("transcript", &REPEATED),
    // Arguments of a completed call.
    ("arguments", &EVENT_TEXT),
    ("item", &JsonShape::path(&[("name", &JsonShape::scalar(Tag::ItemName))])),
    ("usage", &RESPONSE_USAGE),
    (
        "response",
        &JsonShape::path(&[
            ("status", &JsonShape::text(Tag::FinishReason)),
            ("output", &OUTPUT),
            ("usage", &RESPONSE_USAGE),
        ]),
    ),
    (
        "session",
        &JsonShape::path(&[
            ("type", &JsonShape::text(Tag::SessionType)),
            ("model", &JsonShape::text(Tag::Model)),
        ]),
    ),
]);

/// Counter of the streamed characters of the item that is being transcribed.
const ITEM: u64 = 0;
/// Counters of the streamed characters of the response's current item, and of the whole response.
const ITEM_TEXT: u64 = 1;
const ITEM_ARGUMENTS: u64 = 2;
const RESPONSE: u64 = 3;

/// Adds streamed characters of the current item.
fn add(stream: &mut StreamState, counter: u64, chars: u64) {
    for counter in [counter, RESPONSE] {
        if let Some(so_far) = stream.counter(counter) {
            *so_far += chars;
        }
    }
}

/// Returns the characters if nothing was streamed for this counter, else 0.
fn unless_streamed(stream: &mut StreamState, counter: u64, chars: u64) -> u64 {
    let is_first = stream.counter(counter).is_some_and(|so_far| *so_far == 0);
    if is_first { chars } else { 0 }
}

/// Starts an item of a response.
fn begin_item(stream: &mut StreamState) {
    for counter in [ITEM_TEXT, ITEM_ARGUMENTS] {
        stream.counter(counter).map(std::mem::take);
    }
}

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    let transcribes = stream.detected_dialect.is_some();
    let finish = event.choice.finish.take();
    let (text, transcript) = (event.text, event.repeated_text);
    match event.event_type() {
        b"session.created" | b"session.updated" if event.is_transcription_session => {
            stream.detected_dialect = Some(TRANSCRIPTION);
        }
        b"transcription_session.created" | b"transcription_session.updated" => {
            stream.detected_dialect = Some(TRANSCRIPTION);
        }
        b"response.created" => {
            event.facts.response_started = true;
            begin_item(stream);
            stream.counter(RESPONSE).map(std::mem::take);
        }
        b"response.output_text.delta"
        | b"response.text.delta"
        | b"response.output_audio_transcript.delta"
        | b"response.audio_transcript.delta"
        | b"transcription.delta" => {
            event.choice.delta.answer = text;
            add(stream, ITEM_TEXT, text);
        }
        b"response.output_text.done"
        | b"response.text.done"
        | b"response.output_audio_transcript.done"
        | b"response.audio_transcript.done" => {
            event.choice.delta.answer = unless_streamed(stream, ITEM_TEXT, transcript);
            add(stream, ITEM_TEXT, transcript);
        }
        b"response.output_audio.delta" | b"response.audio.delta" => {
            event.choice.delta.has_nontext = text > 0;
            add(stream, RESPONSE, text);
        }
        b"response.function_call_arguments.delta" | b"response.mcp_call_arguments.delta" => {
            event.choice.delta.tool = text;
            add(stream, ITEM_ARGUMENTS, text);
        }
        b"response.function_call_arguments.done" | b"response.mcp_call_arguments.done" => {
            event.choice.delta.tool = unless_streamed(stream, ITEM_ARGUMENTS, text);
            add(stream, ITEM_ARGUMENTS, text);
        }
        b"response.output_item.added" => {
            begin_item(stream);
            event.choice.delta.has_nontext = event.has_item_name;
        }
        b"response.done" => {
            event.choice.delta.answer = unless_streamed(stream, RESPONSE, transcript);
            event.choice.delta.tool = unless_streamed(stream, RESPONSE, text);
            event.facts.error = finish.as_deref() == Some("failed");
            event.choice.finish = finish;
            event.facts.done = true;
        }
        b"transcription.done" => event.facts.done = true,
        b"conversation.item.input_audio_transcription.delta" if transcribes => {
            event.choice.delta.answer = text;
            if let Some(chars) = stream.counter(ITEM) {
                *chars += text;
            }
        }
        b"conversation.item.input_audio_transcription.completed" if transcribes => {
            // Whisper sends no deltas.
            if stream.counter(ITEM).map(std::mem::take) == Some(0) {
                event.choice.delta.answer = transcript;
            }
            event.facts.done = true;
        }
        b"conversation.item.input_audio_transcription.failed" if transcribes => {
            stream.counter(ITEM).map(std::mem::take);
            (event.facts.error, event.facts.done) = (true, true);
        }
        // The usage of transcribing the user's words belongs to no response.
        b"conversation.item.input_audio_transcription.completed" => event.facts.usage = None,
        b"error" => event.facts.error = true,
        _ => {}
    }
    event.finish();
}

fn finish_translation(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    let text = event.text;
    match event.event_type() {
        b"session.output_transcript.delta" => event.choice.delta.answer = text,
        b"session.output_audio.delta" => event.choice.delta.has_nontext = text > 0,
        b"error" => event.facts.error = true,
        // `session.input_transcript.delta` has the speaker's words.
        _ => {}
    }
    event.finish();
}

/// Parser of the client's messages in a session, one after the other.
#[derive(Debug)]
pub struct ClientMessageReader {
    scanner: JsonScanner<ClientTag>,
    requests_response: bool,
    is_final: bool,
    model: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
enum ClientTag {
    Type,
    Final,
    Model,
}

static CLIENT_MODEL: JsonNode<ClientTag> = JsonNode::text(ClientTag::Model);
static CLIENT_ROOT: JsonNode<ClientTag> = JsonNode::path(&[
    ("type", &JsonNode::text(ClientTag::Type)),
    ("final", &JsonNode::scalar(ClientTag::Final)),
    ("model", &CLIENT_MODEL),
    ("session", &JsonNode::path(&[("model", &CLIENT_MODEL)])),
]);

impl Default for ClientMessageReader {
    fn default() -> Self {
        Self {
            scanner: JsonScanner::new(&CLIENT_ROOT),
            requests_response: false,
            is_final: false,
            model: None,
        }
    }
}

impl ClientMessageReader {
    /// Parses the next bytes of the current message.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { scanner, requests_response, is_final, model } = self;
        scanner.push(bytes, &mut |tag, token| match (tag, token) {
            (ClientTag::Type, ScanEvent::Text { text, .. }) => {
                *requests_response =
                    matches!(text, b"response.create" | b"input_audio_buffer.commit");
            }
            (ClientTag::Final, ScanEvent::Bool(yes)) => *is_final = yes,
            (ClientTag::Model, ScanEvent::Text { text, .. }) if model.is_none() => {
                *model = model_name(text);
            }
            _ => {}
        });
    }

    /// Model in the first message that names one.
    pub fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    /// Ends the current message and returns whether it requests a response.
    ///
    /// vLLM starts a response at the first `commit`. Its last one has `final` and means that no more audio follows.
    pub fn finish_message(&mut self) -> bool {
        let is_complete = self.scanner.end(&mut |_, _| {}).is_ok();
        let requests_response = std::mem::take(&mut self.requests_response);
        let is_final = std::mem::take(&mut self.is_final);
        is_complete && requests_response && !is_final
    }
}

#[cfg(test)]
#[path = "realtime_tests.rs"]
mod tests;
