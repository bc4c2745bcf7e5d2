//! Formats of the APIs: which facts about tokens, text and errors an event holds.
//!
//! A [`Dialect`] describes how one API writes its responses. It is a tree of the fields that matter, each with a
//! [`Tag`](tag::Tag) for its meaning, and one function for the rules that a tree cannot express. [`ResponseReader`]
//! parses the events of one response in a dialect, in any split of their bytes, and returns [`EventFacts`].
//!
//! | module | content |
//! |---|---|
//! | [`route`] | which method and path have which operation and dialect |
//! | [`request`] | model and `stream` flag in a request body |
//! | [`response_headers`] | token counts and durations in response headers |
//! | [`engine`] | detection of the server from its responses |
//! | [`loading`] | detection of "the model is loading" in the body of a 503 |
//! | [`tag`] | the vocabulary in which dialects are written |

pub mod anthropic;
pub mod bedrock;
pub mod cohere;
pub mod engine;
pub mod gemini;
pub mod gemini_interactions;
pub mod generate;
pub mod grpc;
pub mod llamacpp;
pub mod loading;
pub mod ollama;
pub mod openai_assistants;
pub mod openai_chat;
pub mod openai_media;
pub mod openai_pooling;
pub mod openai_responses;
pub mod realtime;
pub mod replicate;
pub mod request;
pub mod response_headers;
pub mod route;
pub mod sglang;
pub mod tag;
pub mod tgi;
pub mod triton;
pub mod vllm_generate;

mod choice_counts;
mod event_builder;
mod facts;
mod multipart;
mod response_reader;
#[cfg(test)]
mod test_support;

pub use facts::{
    ChoiceFacts, EventFacts, FinishReason, KNOWN_FINISH_REASONS, MAX_CHOICES, ServerTimings,
    TokenCounts, UnparsedReason, finish_reason,
};
pub use response_reader::ResponseReader;

use crate::wire::framing::Framing;
use event_builder::EventBuilder;
use response_reader::StreamState;
use route::{ROUTES, Route};
use std::fmt;
use tag::{JsonShape, ProtobufShape};

/// Format of an API's responses.
pub struct Dialect {
    /// Name in the request log.
    pub name: &'static str,
    /// Format of an event. A response that is not streamed is one event.
    format: EventFormat,
    finish_event: FinishEvent,
    /// What completes a stream.
    pub stream_end: StreamEnd,
    /// Framing of a JSON body that may be a stream.
    pub json_framing: Framing,
    /// Messages of Amazon's event stream hold the event in base64.
    base64_chunks: bool,
    /// The last event reports how long the model took to load.
    pub reports_load_time: bool,
}

/// Function that a dialect runs at the end of each event, once all tagged fields are recorded. It ends with
/// [`EventBuilder::finish`]. The last argument is the event's type in its framing (`event` of server-sent events).
type FinishEvent = fn(&mut EventBuilder, &mut StreamState, &[u8]);

impl Dialect {
    /// Dialect whose streams are server-sent events and whose JSON bodies are single documents.
    const fn sse(
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
            reports_load_time: false,
        }
    }

    /// Dialect whose streams are server-sent events or one JSON document a line.
    const fn json_lines(
        name: &'static str,
        shape: &'static JsonShape,
        finish_event: FinishEvent,
        stream_end: StreamEnd,
    ) -> Self {
        Self::sse(name, shape, finish_event, stream_end).with_json_framing(Framing::Lines)
    }

    /// Dialect whose events are protobuf messages of a gRPC call. The call's status completes the stream.
    const fn protobuf(
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
    const fn text(
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
    const fn with_json_framing(self, json_framing: Framing) -> Self {
        Self { json_framing, ..self }
    }

    /// Wraps the events in messages of Amazon's event stream, in base64.
    const fn with_base64_chunks(self) -> Self {
        Self { base64_chunks: true, ..self }
    }

    /// The last event reports how long the model took to load.
    const fn with_load_time(self) -> Self {
        Self { reports_load_time: true, ..self }
    }

    /// Returns the dialect with this name, if a route uses it.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ROUTES.iter().filter_map(Route::dialect).find(|dialect| dialect.name == name)
    }

    /// Framing of a body in this dialect whose content type announces `announced`.
    pub fn framing(&self, announced: Framing) -> Framing {
        match announced {
            Framing::Document if self.json_framing == Framing::JsonArray => self.json_framing,
            Framing::AwsEventStream if self.base64_chunks => Framing::AwsBase64,
            announced => announced,
        }
    }
}

/// Format of an event's data, with the fields that matter.
#[derive(Debug, Clone, Copy)]
enum EventFormat {
    Json(&'static JsonShape),
    Protobuf(&'static ProtobufShape),
    /// Plain text; JSON in it is parsed too.
    Text(&'static JsonShape),
}

/// What completes a stream.
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
    /// Compares addresses: each dialect is one `static`.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// [`FinishEvent`] of dialects without rules of their own.
fn finish_plain(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.finish();
}
