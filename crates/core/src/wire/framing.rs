//! Which framing a body has, and the framer for it.

use super::FrameEvent;
use super::aws_event_stream::AwsEventStreamFramer;
use super::base64::{Base64Member, Base64Outcome};
use super::json_array::JsonArrayFramer;
use super::length_prefixed::LengthPrefixedFramer;
use super::lines::LineFramer;
use super::sse::SseFramer;
use super::websocket::WebSocketFramer;

/// The names of JSON in lines. None is registered; each is in use.
const LINES: [&str; 7] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/json-lines",
    "application/stream+json",
];

/// How the events of a body are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// A JSON document in each line, or before each NUL.
    Lines,
    /// One JSON array, each element of it an event.
    JsonArray,
    /// Amazon's binary event stream.
    AwsEventStream,
    /// The same, each payload an object whose member `bytes` holds the data in base64.
    AwsBase64,
    /// gRPC's messages.
    LengthPrefixed,
    /// One JSON document: one event.
    Document,
}

impl Framing {
    /// The framing that a `Content-Type` announces, if it is one that is read. One that says nothing (none
    /// at all, `text/plain`, `application/octet-stream`) is [`DeclaredFraming::Unspecified`].
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

    /// The framing that the first bytes of a body show; `None` if they show none. `json` is how JSON is
    /// framed that may be a stream.
    pub fn detect(first: u8, json: Self) -> Option<Self> {
        match first {
            b'{' | b'[' => Some(json),
            // Fields and comments of SSE, and the byte order mark.
            b'd' | b'e' | b'i' | b'r' | b':' | 0xEF => Some(Self::Sse),
            // The length of a message, whose first byte is that of 16 MiB.
            0 => Some(Self::AwsEventStream),
            _ => None,
        }
    }
}

/// What a `Content-Type` says.
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
    /// Whether the body is a stream of events for certain.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Known(framing) if framing != Framing::Document)
    }
}

/// The framer of one body.
#[derive(Debug)]
pub enum Framer {
    Sse(SseFramer),
    Lines(LineFramer),
    JsonArray(JsonArrayFramer),
    // Boxed, since it is large and rare.
    AwsEventStream(Box<AwsEventStreamFramer>),
    AwsBase64(Box<AwsEventStreamFramer>, Base64Member),
    LengthPrefixed(LengthPrefixedFramer),
    /// One direction of a connection that has switched to WebSocket.
    WebSocket(Box<WebSocketFramer>),
    Document {
        has_data: bool,
    },
}

impl Framer {
    /// A framer at the start of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(SseFramer::default()),
            Framing::Lines => Self::Lines(LineFramer::default()),
            Framing::JsonArray => Self::JsonArray(JsonArrayFramer::default()),
            Framing::AwsEventStream => Self::AwsEventStream(Box::default()),
            Framing::AwsBase64 => Self::AwsBase64(Box::default(), Base64Member::default()),
            Framing::LengthPrefixed => Self::LengthPrefixed(LengthPrefixedFramer::default()),
            Framing::Document => Self::Document { has_data: false },
        }
    }

    /// Whether the body is a stream of events.
    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Document { .. })
    }

    /// Frames the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self {
            Self::Sse(framer) => framer.push(bytes, sink),
            Self::Lines(framer) => framer.push(bytes, sink),
            Self::JsonArray(framer) => framer.push(bytes, sink),
            Self::AwsEventStream(framer) => framer.push(bytes, sink),
            Self::AwsBase64(framer, chunk) => {
                framer.push(bytes, &mut |piece| unwrap(chunk, piece, sink));
            }
            Self::LengthPrefixed(framer) => framer.push(bytes, sink),
            Self::WebSocket(framer) => framer.push(bytes, sink),
            Self::Document { has_data } => {
                *has_data |= !bytes.is_empty();
                sink(FrameEvent::Data(bytes));
            }
        }
    }

    /// The body has ended.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self {
            Self::Sse(framer) => framer.end(sink),
            Self::Lines(framer) => framer.end(sink),
            Self::JsonArray(framer) => framer.end(sink),
            Self::AwsEventStream(framer) | Self::AwsBase64(framer, _) => framer.end(sink),
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

/// Tells the data inside of the payloads in place of the payloads. One that holds none (an exception, a
/// trace) is a message without data.
fn unwrap(chunk: &mut Base64Member, piece: FrameEvent<'_>, sink: &mut impl FnMut(FrameEvent<'_>)) {
    match piece {
        FrameEvent::Data(payload) => chunk.push(payload, &mut |data| sink(FrameEvent::Data(data))),
        FrameEvent::ErrorField => sink(piece),
        FrameEvent::End { .. } if chunk.end() == Base64Outcome::Broken => sink(FrameEvent::Broken),
        FrameEvent::End { .. } => sink(piece),
        FrameEvent::Broken => {
            chunk.end();
            sink(piece);
        }
    }
}
