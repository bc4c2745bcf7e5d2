//! Selects and runs the framer of a response body.

use super::FrameEvent;
use super::aws_event_stream::AwsEventStreamFramer;
use super::base64_member::{Base64Member, Base64Outcome};
use super::json_array::JsonArrayFramer;
use super::length_prefixed::LengthPrefixedFramer;
use super::lines::LineFramer;
use super::nested_stream::NestedStream;
use super::sse::SseFramer;
use super::websocket::WebSocketFramer;

/// Content types of newline-delimited JSON. None is registered with IANA; each is in use.
const LINES: [&str; 7] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/json-lines",
    "application/stream+json",
];

/// Format that separates the events of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON document per line, or terminated by NUL.
    Lines,
    /// One JSON array; each element is an event.
    JsonArray,
    /// Amazon's binary event stream (`application/vnd.amazon.eventstream`).
    AwsEventStream,
    /// Amazon's event stream, where each payload is a JSON object whose member `bytes` holds the
    /// event in base64.
    AwsBase64,
    /// Amazon's event stream, where the payloads are parts of another stream: server-sent events or
    /// lines.
    AwsNested,
    /// gRPC length-prefixed messages.
    LengthPrefixed,
    /// One JSON document that is not streamed; it counts as one event.
    Document,
}

impl Framing {
    /// Returns the framing that a `Content-Type` declares.
    pub fn from_content_type(content_type: &[u8]) -> DeclaredFraming {
        let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
        if is("text/event-stream") {
            DeclaredFraming::Known(Self::Sse)
        } else if is("application/vnd.amazon.eventstream") {
            DeclaredFraming::Known(Self::AwsEventStream)
        } else if is("application/grpc") || is("application/grpc+proto") {
            DeclaredFraming::Known(Self::LengthPrefixed)
        } else if LINES.iter().any(|name| is(name)) {
            DeclaredFraming::Known(Self::Lines)
        } else if is("application/json") || kind.to_ascii_lowercase().ends_with(b"+json") {
            DeclaredFraming::Known(Self::Document)
        } else if kind.is_empty() || is("text/plain") || is("application/octet-stream") {
            DeclaredFraming::Unspecified
        } else {
            DeclaredFraming::Unsupported
        }
    }

    /// Detects the framing from the first byte of a body. `json` is the framing of a body that
    /// begins with JSON. Returns `None` if no framing begins with this byte.
    pub fn detect(first: u8, json: Self) -> Option<Self> {
        match first {
            b'{' | b'[' => Some(json),
            // SSE fields (`data`, `event`, `id`, `retry`), comments, or a byte order mark.
            b'd' | b'e' | b'i' | b'r' | b':' | 0xEF => Some(Self::Sse),
            // The first byte of a message length; it is 0 for lengths below 16 MiB.
            0 => Some(Self::AwsEventStream),
            _ => None,
        }
    }
}

/// Framing that a `Content-Type` declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredFraming {
    /// One of the framings that are read.
    Known(Framing),
    /// No type, or a generic one that any framing may have.
    Unspecified,
    /// A type that is not read.
    Unsupported,
}

impl DeclaredFraming {
    /// Returns whether the content type is only used for streams of events.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Known(framing) if framing != Framing::Document)
    }
}

/// Incremental framer of one body.
#[derive(Debug)]
pub enum Framer {
    /// Server-sent events.
    Sse(SseFramer),
    /// Newline-delimited JSON.
    Lines(LineFramer),
    /// A JSON array of events.
    JsonArray(JsonArrayFramer),
    /// Amazon's event stream. Boxed because it is large and rare.
    AwsEventStream(Box<AwsEventStreamFramer>),
    /// Amazon's event stream with base64 payloads.
    AwsBase64(Box<AwsEventStreamFramer>, Base64Member),
    /// Amazon's event stream with another stream in its payloads.
    AwsNested(Box<AwsEventStreamFramer>, Box<NestedStream>),
    /// gRPC messages.
    LengthPrefixed(LengthPrefixedFramer),
    /// One direction of a WebSocket connection.
    WebSocket(Box<WebSocketFramer>),
    /// One JSON document.
    Document {
        /// Whether any byte of it has arrived.
        has_data: bool,
    },
}

impl Framer {
    /// Returns a framer at the start of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(SseFramer::default()),
            Framing::Lines => Self::Lines(LineFramer::default()),
            Framing::JsonArray => Self::JsonArray(JsonArrayFramer::default()),
            Framing::AwsEventStream => Self::AwsEventStream(Box::default()),
            Framing::AwsBase64 => Self::AwsBase64(Box::default(), Base64Member::default()),
            Framing::AwsNested => Self::AwsNested(Box::default(), Box::default()),
            Framing::LengthPrefixed => Self::LengthPrefixed(LengthPrefixedFramer::default()),
            Framing::Document => Self::Document { has_data: false },
        }
    }

    /// Returns whether the body is a stream of events, as opposed to one document.
    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Document { .. })
    }

    /// Frames the next bytes of the body and reports the events in them.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self {
            Self::Sse(framer) => framer.push(bytes, sink),
            Self::Lines(framer) => framer.push(bytes, sink),
            Self::JsonArray(framer) => framer.push(bytes, sink),
            Self::AwsEventStream(framer) => framer.push(bytes, sink),
            Self::AwsBase64(framer, member) => {
                framer.push(bytes, &mut |event| push_base64_payload(member, event, sink));
            }
            Self::AwsNested(framer, nested) => {
                framer.push(bytes, &mut |event| nested.push(event, sink));
            }
            Self::LengthPrefixed(framer) => framer.push(bytes, sink),
            Self::WebSocket(framer) => framer.push(bytes, sink),
            Self::Document { has_data } => {
                *has_data |= !bytes.is_empty();
                sink(FrameEvent::Data(bytes));
            }
        }
    }

    /// Reports the events that the end of the body completes or breaks.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self {
            Self::Sse(framer) => framer.end(sink),
            Self::Lines(framer) => framer.end(sink),
            Self::JsonArray(framer) => framer.end(sink),
            Self::AwsEventStream(framer) | Self::AwsBase64(framer, _) => framer.end(sink),
            Self::AwsNested(framer, nested) => {
                framer.end(&mut |event| nested.push(event, sink));
                nested.end(sink);
            }
            Self::LengthPrefixed(framer) => framer.end(sink),
            Self::WebSocket(framer) => framer.end(sink),
            Self::Document { has_data } => {
                if std::mem::take(has_data) {
                    sink(FrameEvent::End { name: b"" });
                }
            }
        }
    }
}

/// Replaces a payload by the decoded data of its base64 member. A payload without that member (an
/// exception, a trace) is a message without data.
fn push_base64_payload(
    member: &mut Base64Member,
    event: FrameEvent<'_>,
    sink: &mut impl FnMut(FrameEvent<'_>),
) {
    match event {
        FrameEvent::Data(payload) => member.push(payload, &mut |data| sink(FrameEvent::Data(data))),
        FrameEvent::ErrorField => sink(event),
        FrameEvent::End { .. } if member.end() == Base64Outcome::Broken => sink(FrameEvent::Broken),
        FrameEvent::End { .. } => sink(event),
        FrameEvent::Broken => {
            member.end();
            sink(event);
        }
    }
}
