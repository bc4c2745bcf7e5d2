//! Example response of one endpoint.

#[derive(Clone, Copy)]
pub struct FormatExample {
    /// Heading on the page: the server, or the group of servers that share an API.
    pub section: &'static str,
    /// First cell of the row; empty for the name of the operation.
    pub case: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub framing: ExampleFraming,
    /// Field with the token counts; empty if the response has none.
    pub tokens: &'static str,
    /// Field with the queue wait; empty if the response has none.
    pub queue: &'static str,
    /// Field with the load time of the model; empty if the response has none.
    pub load: &'static str,
    /// Field with the server's own time to first token; empty if the response has none.
    pub first_token: &'static str,
    /// Response headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// Events of the response. Each arrives in a separate read.
    pub events: &'static [&'static [u8]],
}

/// Default of each field, for `..DEFAULTS`.
pub const DEFAULTS: FormatExample = FormatExample {
    section: "",
    case: "",
    method: "POST",
    path: "",
    framing: ExampleFraming::Sse,
    tokens: "",
    queue: "",
    load: "",
    first_token: "",
    headers: &[],
    events: &[],
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExampleFraming {
    /// Server-sent events.
    Sse,
    /// One JSON document a line.
    Lines,
    /// One JSON document before each NUL byte, as vLLM's first API sent them.
    Nul,
    /// Elements of one JSON array. The events include its brackets and commas.
    JsonArray,
    /// One JSON document.
    Document,
    /// Messages of Amazon's event stream. The events are whole messages.
    Aws,
    /// The same, with the event in base64.
    AwsBase64,
    /// The same, with a part of another stream in each message. The events are the parts.
    AwsNested,
    Grpc,
    WebSocket,
}

impl ExampleFraming {
    /// Name on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sse => "SSE",
            Self::Lines => "NDJSON",
            Self::Nul => "JSON, NUL-separated",
            Self::JsonArray => "JSON array",
            Self::Document => "one document",
            Self::Aws => "AWS event stream",
            Self::AwsBase64 => "AWS event stream, base64",
            Self::AwsNested => "SSE or NDJSON in AWS event stream",
            Self::Grpc => "gRPC",
            Self::WebSocket => "WebSocket",
        }
    }

    /// Value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::Lines => "application/x-ndjson",
            Self::JsonArray | Self::Document => "application/json",
            Self::Aws | Self::AwsBase64 | Self::AwsNested => "application/vnd.amazon.eventstream",
            Self::Grpc => "application/grpc",
            Self::Nul | Self::WebSocket => "",
        }
    }

    /// Frames an event. A server-sent event that starts with `event: ` is taken as its lines, any other as its data.
    pub fn wrap(self, event: &[u8]) -> Vec<u8> {
        let len = event.len();
        match self {
            Self::Sse if event.starts_with(b"event: ") => [event, b"\n\n"].concat(),
            Self::Sse => [b"data: ", event, b"\n\n"].concat(),
            Self::Lines => [event, b"\n"].concat(),
            Self::Nul => [event, b"\0"].concat(),
            Self::JsonArray | Self::Document | Self::Aws | Self::AwsBase64 => event.to_vec(),
            Self::AwsNested => aws_message(event),
            Self::Grpc => [&[0], &u32::try_from(len).unwrap().to_be_bytes()[..], event].concat(),
            // A text message in one frame.
            Self::WebSocket if len < 126 => [&[0x81, u8::try_from(len).unwrap()], event].concat(),
            Self::WebSocket => {
                [&[0x81, 126], &u16::try_from(len).unwrap().to_be_bytes()[..], event].concat()
            }
        }
    }
}

/// Message of Amazon's event stream without headers.
fn aws_message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap().to_be_bytes();
    let prelude = [length, [0; 4]].concat();
    let checked = [&prelude, &crc32fast::hash(&prelude).to_be_bytes()[..], payload].concat();
    [&checked, &crc32fast::hash(&checked).to_be_bytes()[..]].concat()
}
