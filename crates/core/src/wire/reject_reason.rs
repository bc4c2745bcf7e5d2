//! Reasons why the proxy rejects a request.

use strum::VariantArray;

/// Rule of HTTP, or limit, that a request violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum RejectReason {
    /// The request line is not a method, a target and `HTTP/1.0` or `HTTP/1.1`, with one space between them.
    RequestLine,
    /// The method is CONNECT.
    Connect,
    /// The target is not a path, an `http` or `https` URL, or `*` of an OPTIONS request; or it has a fragment.
    Target,
    /// The target is longer than 65,534 bytes.
    TargetSize,
    /// A header line has no valid name, or white space before its colon.
    HeaderName,
    /// A header continues on a second line.
    LineFolding,
    /// The head contains a control character, such as NUL or a carriage return without a line feed.
    ControlCharacter,
    /// The head is too large.
    HeadSize,
    /// The head has too many lines.
    HeaderCount,
    /// There is not exactly one valid host.
    Host,
    /// `Content-Length` is not one number below 2^63.
    ContentLength,
    /// `Content-Length` and `Transfer-Encoding` are both present.
    ConflictingLength,
    /// `chunked` is given twice, or in an HTTP/1.0 request; or `Transfer-Encoding` is empty.
    TransferEncoding,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    /// The chunks of the body are not valid.
    Chunk,
    /// hyper's parser rejected a head that the checks before it had accepted.
    Parser,
}

impl RejectReason {
    /// Value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::RequestLine => "request_line",
            Self::Connect => "connect",
            Self::Target => "target",
            Self::TargetSize => "target_size",
            Self::HeaderName => "header_name",
            Self::LineFolding => "line_folding",
            Self::ControlCharacter => "control_character",
            Self::HeadSize => "head_size",
            Self::HeaderCount => "header_count",
            Self::Host => "host",
            Self::ContentLength => "content_length",
            Self::ConflictingLength => "conflicting_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::UnknownCoding => "unknown_coding",
            Self::Chunk => "chunk",
            Self::Parser => "parser",
        }
    }

    /// The reason with this label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|reason| reason.label() == label)
    }
}
