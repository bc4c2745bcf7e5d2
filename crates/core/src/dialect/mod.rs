//! What the bytes of one event mean, API by API.
//!
//! A [`Dialect`] is a table: which places of an event matter and what stands there
//! ([`Shape`](tag::Shape), in the vocabulary of [`tag`]), and the few rules that a table cannot hold,
//! as one function. [`Reading`] reads the events of one response in a dialect, in any split of their
//! bytes, and gives [`Facts`]. It knows no transport, no clock and no metrics.
//!
//! [`route`] says which path is which operation and dialect, [`request`] reads what is wanted of a
//! request, [`engine`] recognises who answers, [`head`] reads what a response's head tells, [`loading`]
//! finds in a refusal that the model is being loaded.

pub mod anthropic;
pub mod bedrock;
pub mod cohere;
pub mod engine;
pub mod gemini;
pub mod gemini_interactions;
pub mod generate;
pub mod grpc;
pub mod head;
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
pub mod route;
pub mod sglang;
pub mod tag;
pub mod tgi;
pub mod triton;
pub mod vllm_generate;

mod batch;
mod draft;
mod facts;
mod form;
mod reading;
#[cfg(test)]
mod said;

pub use facts::{
    ChoiceFacts, Facts, FinishReason, MAX_CHOICES, Timings, TokenCounts, USUAL_REASONS, Unparsed,
    finish_reason,
};
pub use reading::Reading;

use crate::wire::framing::Framing;
use draft::Draft;
use reading::Memory;
use std::fmt;
use tag::{Message, Shape};

/// How an API writes its responses.
pub struct Dialect {
    /// Its name in the request log.
    pub name: &'static str,
    /// What is wanted of an event. A document that is not streamed is one event.
    events: Events,
    conclude: Conclude,
    pub ending: Ending,
    /// How JSON is framed where it is no document but a stream.
    pub json: Framing,
    /// In Amazon's event stream, the data of each event is base64 inside of its message.
    in_chunks: bool,
    /// The end of a response tells how long its model was loaded.
    pub tells_load: bool,
}

/// What is left to say of an event once its places are read. It is given the event's `event` field.
type Conclude = fn(&mut Draft, &mut Memory, &[u8]);

impl Dialect {
    /// A dialect whose streams are server-sent events, and whose JSON is a document.
    const fn streamed_as_sse(
        name: &'static str,
        shape: &'static Shape,
        conclude: Conclude,
        ending: Ending,
    ) -> Self {
        let (events, json) = (Events::Json(shape), Framing::Document);
        Self { name, events, conclude, ending, json, in_chunks: false, tells_load: false }
    }

    /// The same dialect where JSON that may be a stream is framed like this.
    const fn with_json(self, json: Framing) -> Self {
        Self { json, ..self }
    }

    /// A dialect whose streams are server-sent events or JSON documents in lines.
    const fn streamed_as_lines(
        name: &'static str,
        shape: &'static Shape,
        conclude: Conclude,
        ending: Ending,
    ) -> Self {
        Self { json: Framing::Lines, ..Self::streamed_as_sse(name, shape, conclude, ending) }
    }

    /// A dialect whose events are protobuf messages, as gRPC's are. A call ends with its status.
    const fn protobuf(name: &'static str, message: &'static Message, conclude: Conclude) -> Self {
        let (events, json) = (Events::Protobuf(message), Framing::Document);
        let (ending, in_chunks, tells_load) = (Ending::Body, false, false);
        Self { name, events, conclude, ending, json, in_chunks, tells_load }
    }

    /// A dialect whose events are bare text, framed as server-sent events or in chunks.
    const fn text(
        name: &'static str,
        shape: &'static Shape,
        conclude: Conclude,
        ending: Ending,
    ) -> Self {
        let (events, json) = (Events::Text(shape), Framing::Document);
        Self { name, events, conclude, ending, json, in_chunks: false, tells_load: false }
    }

    /// The same dialect, wrapped in the messages of Amazon's event stream.
    const fn in_chunks(self) -> Self {
        Self { in_chunks: true, ..self }
    }

    /// The same dialect where the end of a response tells how long its model was loaded.
    const fn telling_load(self) -> Self {
        Self { tells_load: true, ..self }
    }

    /// The framing of a body whose content type announces this one.
    pub fn framing(&self, announced: Framing) -> Framing {
        match announced {
            Framing::Document if self.json == Framing::JsonArray => self.json,
            Framing::AwsEventStream if self.in_chunks => Framing::AwsBase64,
            announced => announced,
        }
    }
}

/// What events are written in, and what is wanted of them.
#[derive(Debug, Clone, Copy)]
enum Events {
    Json(&'static Shape),
    Protobuf(&'static Message),
    /// Text, told as a piece; where it is JSON too, this is wanted of it.
    Text(&'static Shape),
}

/// What completes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An event that says so, or the end of every choice; without it, the stream was cut off.
    Told,
    /// The end of the body, if HTTP ended cleanly.
    Body,
}

impl fmt::Debug for Dialect {
    /// Its tables are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialect").field(&self.name).finish()
    }
}

impl PartialEq for Dialect {
    /// There is one of each.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// The conclusion of dialects whose table says it all.
fn plain(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    draft.conclude();
}
