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
    /// Messages of Amazon's event stream hold the event in base64.
    base64_chunks: bool,
    /// Responses are streams unless the request has `stream: false`.
    pub(super) streams_by_default: bool,
    /// The last event reports how long the model took to load.
    pub reports_load_time: bool,
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
            base64_chunks: false,
            streams_by_default: false,
            reports_load_time: false,
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
        Self { base64_chunks: true, ..self }
    }

    /// Responses are streams unless the request has `stream: false`.
    pub(super) const fn with_streaming_by_default(self) -> Self {
        Self { streams_by_default: true, ..self }
    }

    /// The last event reports how long the model took to load.
    pub(super) const fn with_load_time(self) -> Self {
        Self { reports_load_time: true, ..self }
    }

    /// Returns a copy with another name.
    pub(super) fn with_name(&self, name: &'static str) -> Self {
        let Self { format, finish_event, stream_end, json_framing, .. } = *self;
        let Self { base64_chunks, streams_by_default, reports_load_time, .. } = *self;
        Self {
            name,
            format,
            finish_event,
            stream_end,
            json_framing,
            base64_chunks,
            streams_by_default,
            reports_load_time,
        }
    }

    /// Returns the dialect with this name, if a route uses it.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ROUTES.iter().filter_map(Route::dialect).find(|dialect| dialect.name == name)
    }

    /// Framing of a body in this dialect whose content type announces `announced`.
    pub fn framing(&self, declared: Framing) -> Framing {
        match declared {
            Framing::Document if self.json_framing == Framing::JsonArray => self.json_framing,
            Framing::AwsEventStream if self.base64_chunks => Framing::AwsBase64,
            declared => declared,
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
