//! A response in the shape of one server's endpoint, and how it is framed.

#[derive(Clone, Copy)]
pub struct FormatSample {
    pub server: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub framing: SampleFraming,
    /// Where its token counts stand; empty if it has none.
    pub tokens: &'static str,
    /// Where its time in the queue stands.
    pub queue: &'static str,
    /// Where its time to load the model stands.
    pub load: &'static str,
    /// Where the server's own time to its first token stands.
    pub first: &'static str,
    /// Headers that are read.
    pub head: &'static [(&'static str, &'static str)],
    /// What it says, event by event as it arrives.
    pub events: &'static [&'static [u8]],
}

pub const NONE: FormatSample = FormatSample {
    server: "",
    method: "POST",
    path: "",
    framing: SampleFraming::Sse,
    tokens: "",
    queue: "",
    load: "",
    first: "",
    head: &[],
    events: &[],
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFraming {
    Sse,
    Lines,
    /// The documents of vLLM's first API.
    Nul,
    /// Whose events have the brackets and commas of the array with them.
    JsonArray,
    Document,
    /// Whose events are whole messages.
    Aws,
    AwsChunks,
    Grpc,
    WebSocket,
}

impl SampleFraming {
    /// Its name on the page.
    pub fn words(self) -> &'static str {
        match self {
            Self::Sse => "SSE",
            Self::Lines => "NDJSON",
            Self::Nul => "JSON, a NUL behind each",
            Self::JsonArray => "JSON array",
            Self::Document => "document",
            Self::Aws => "AWS event stream",
            Self::AwsChunks => "AWS event stream, base64",
            Self::Grpc => "gRPC",
            Self::WebSocket => "WebSocket",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::Lines => "application/x-ndjson",
            Self::JsonArray | Self::Document => "application/json",
            Self::Aws | Self::AwsChunks => "application/vnd.amazon.eventstream",
            Self::Grpc => "application/grpc",
            Self::Nul | Self::WebSocket => "",
        }
    }

    /// The bytes of an event. Of server-sent events, those that are no data alone are given as fields.
    pub fn wrap(self, event: &[u8]) -> Vec<u8> {
        let len = event.len();
        match self {
            Self::Sse if event.starts_with(b"event: ") => [event, b"\n\n"].concat(),
            Self::Sse => [b"data: ", event, b"\n\n"].concat(),
            Self::Lines => [event, b"\n"].concat(),
            Self::Nul => [event, b"\0"].concat(),
            Self::JsonArray | Self::Document | Self::Aws | Self::AwsChunks => event.to_vec(),
            Self::Grpc => [&[0], &u32::try_from(len).unwrap().to_be_bytes()[..], event].concat(),
            // A text message in one frame.
            Self::WebSocket if len < 126 => [&[0x81, u8::try_from(len).unwrap()], event].concat(),
            Self::WebSocket => {
                [&[0x81, 126], &u16::try_from(len).unwrap().to_be_bytes()[..], event].concat()
            }
        }
    }
}
