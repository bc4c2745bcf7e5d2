//! Definition of a dialect: the fields that matter in its events, and its rules.

use super::ROUTES;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::route::Route;
use super::tag::{JsonShape, ProtobufShape};
use crate::wire::framing::Framing;
use std::fmt;

/// Format of an API's responses.
pub struct Dialect {
    /// Name in the request log.
    pub name: &'static str,
    /// Format of an event. A response that is not streamed is one event.
    pub(super) format: EventFormat,
    pub(super) finish_event: FinishEvent,
    /// The event or the end that completes a stream.
    pub stream_end: StreamEnd,
    /// Framing of a JSON body that may be a stream.
    pub json_framing: Framing,
    /// Framing of a body in Amazon's event stream: what the payloads of its messages are.
    aws_framing: Framing,
    /// Responses are streams unless the request has `stream: false`.
    pub(super) streams_by_default: bool,
    /// The last event reports how long the model took to load.
    pub reports_load_time: bool,
    /// Responses of its paths are in this dialect for certain: no other one is looked for.
    pub(super) is_certain: bool,
    /// How a WebSocket session holds its responses.
    pub session: SessionKind,
}

/// Function that a dialect runs at the end of each event, once all tagged fields are recorded. It ends with
/// [`EventBuilder::finish`]. The last argument is the event's type in its framing (`event` of server-sent events).
pub(super) type FinishEvent = fn(&mut EventBuilder, &mut StreamState, &[u8]);

impl Dialect {
    /// Dialect whose streams are server-sent events and whose JSON bodies are single documents.
    pub(super) const fn sse(
        name: &'static str,
        shape: &'static JsonShape,
        finish_event: FinishEvent,
        stream_end: StreamEnd,
    ) -> Self {
        Self {
            name,
            format: EventFormat::Json(shape),
            finish_event,
            stream_end,
            json_framing: Framing::Document,
            aws_framing: Framing::AwsEventStream,
            streams_by_default: false,
            reports_load_time: false,
            is_certain: false,
            session: SessionKind::Conversation,
        }
    }

    /// Dialect whose streams are server-sent events or one JSON document a line.
    pub(super) const fn json_lines(
        name: &'static str,
        shape: &'static JsonShape,
        finish_event: FinishEvent,
        stream_end: StreamEnd,
    ) -> Self {
        Self::sse(name, shape, finish_event, stream_end).with_json_framing(Framing::Lines)
    }

    /// Dialect whose events are protobuf messages of a gRPC call. The call's status completes the stream.
    pub(super) const fn protobuf(
        name: &'static str,
        shape: &'static ProtobufShape,
        finish_event: FinishEvent,
    ) -> Self {
        static NO_JSON: JsonShape = JsonShape::path(&[]);
        Self {
            format: EventFormat::Protobuf(shape),
            ..Self::sse(name, &NO_JSON, finish_event, StreamEnd::Body)
        }
    }

    /// Dialect whose events are plain text. JSON in them is parsed too.
    pub(super) const fn text(
        name: &'static str,
        shape: &'static JsonShape,
        finish_event: FinishEvent,
        stream_end: StreamEnd,
    ) -> Self {
        Self {
            format: EventFormat::Text(shape),
            ..Self::sse(name, shape, finish_event, stream_end)
        }
    }

    /// Sets the framing of JSON bodies that may be streams.
    pub(super) const fn with_json_framing(self, json_framing: Framing) -> Self {
        Self { json_framing, ..self }
    }

    /// Wraps the events in messages of Amazon's event stream, in base64.
    pub(super) const fn with_base64_chunks(self) -> Self {
        Self { aws_framing: Framing::AwsBase64, ..self }
    }

    /// Takes the payloads of the messages of Amazon's event stream as parts of another stream.
    pub(super) const fn with_nested_stream(self) -> Self {
        Self { aws_framing: Framing::AwsNested, ..self }
    }

    /// Responses are streams unless the request has `stream: false`.
    pub(super) const fn with_streaming_by_default(self) -> Self {
        Self { streams_by_default: true, ..self }
    }

    /// The last event reports how long the model took to load.
    pub(super) const fn with_load_time(self) -> Self {
        Self { reports_load_time: true, ..self }
    }

    /// Sets how a WebSocket session holds its responses.
    pub(super) const fn with_session(self, session: SessionKind) -> Self {
        Self { session, ..self }
    }

    /// Its paths show the dialect for certain.
    pub(super) const fn with_certain_path(self) -> Self {
        Self { is_certain: true, ..self }
    }

    /// Returns a copy for the configuration, with another name.
    pub(super) fn configured(&self, name: &'static str) -> Self {
        Self { name, is_certain: true, ..*self }
    }

    /// Returns the dialect with this name, if a route uses it.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ROUTES.iter().filter_map(Route::dialect).find(|dialect| dialect.name == name)
    }

    /// Framing of a body in this dialect whose bytes have this framing.
    pub fn framing(&self, framing: Framing) -> Framing {
        match framing {
            Framing::AwsEventStream => self.aws_framing,
            framing => framing,
        }
    }
}

/// Format of an event's data, with the fields that matter.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventFormat {
    Json(&'static JsonShape),
    Protobuf(&'static ProtobufShape),
    /// Plain text; JSON in it is parsed too.
    Text(&'static JsonShape),
}

/// The event or the end that completes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// A final event, or the end of every choice. A stream without one was truncated.
    Event,
    /// The end of the body, if HTTP ended cleanly.
    Body,
}

/// How a WebSocket session holds its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// A client or the server starts a response. A request during a response is rejected, and an error event may reply to
    /// any message.
    Conversation,
    /// The server works on the client's requests one after the other. An error event ends the response in progress, or
    /// else rejects the oldest request.
    Sequence,
    /// Output without beginning or end, such as a translation of speech while it is spoken.
    Continuous,
}

impl fmt::Debug for Dialect {
    /// Writes the name only: the field trees are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialect").field(&self.name).finish()
    }
}

impl PartialEq for Dialect {
    /// Compares addresses: each dialect exists once.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// [`FinishEvent`] of dialects without rules of their own.
pub(super) fn finish_plain(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.finish();
}
