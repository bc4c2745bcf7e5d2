//! Responses that the proxy generates itself, marked with `x-streamgauge-error`.

use crate::proxy::ProxyBody;
use crate::proxy::body::BodyContent;
use crate::proxy::upstream::{ConnectCause, ConnectError};
use crate::tap::Measurement;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
use std::borrow::Cow;
use streamgauge_core::meter::Outcome;
use streamgauge_core::wire::reject_reason::RejectReason;

/// `Retry-After` of a request that did not reach the upstream. A model takes longer to load, but a restarted server may
/// be back at any time, and clients double the time themselves.
const RETRY_AFTER_SECONDS: &str = "5";

/// Reason why the proxy responds instead of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorResponse {
    /// The request violates HTTP's rules for a request to a proxy.
    Rejected(RejectReason),
    /// The client disconnected before it had sent the whole body.
    Incomplete,
    /// The client did not complete the headers of its request in time.
    RequestHeaderTimeout,
    /// The client did not continue the body of its request in time.
    RequestBodyTimeout,
    /// There are too many connections of clients.
    TooManyConnections,
    /// The upstream sent no response headers in time, or the request took too long in total.
    ResponseTimeout,
    /// No connection to the upstream could be made, for this reason.
    Unreachable(ConnectCause),
    ConnectTimeout,
    /// The TLS handshake with the upstream failed.
    Tls,
    /// The upstream does not support HTTP/2.
    NotHttp2,
    /// The upstream accepted the request and closed the connection without a response.
    UpstreamClosed,
    /// The upstream's response is not valid HTTP.
    InvalidResponse,
}

impl From<ConnectError> for ErrorResponse {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Timeout => Self::ConnectTimeout,
            ConnectError::Refused(cause) | ConnectError::Inconclusive(cause) => {
                Self::Unreachable(cause)
            }
            ConnectError::Tls => Self::Tls,
            ConnectError::NotHttp2 => Self::NotHttp2,
        }
    }
}

impl ErrorResponse {
    /// Value of `x-streamgauge-error`.
    fn code(self) -> &'static str {
        match self {
            Self::Rejected(RejectReason::Connect) => "method_not_allowed",
            Self::Rejected(RejectReason::UnknownCoding) => "not_implemented",
            Self::Rejected(RejectReason::TargetSize) => "target_too_long",
            Self::Rejected(RejectReason::HeadSize | RejectReason::HeaderCount) => {
                "headers_too_large"
            }
            Self::Rejected(_) | Self::Incomplete => "bad_request",
            Self::RequestHeaderTimeout => "request_header_timeout",
            Self::RequestBodyTimeout => "request_body_timeout",
            Self::TooManyConnections => "too_many_connections",
            Self::ResponseTimeout => "upstream_response_timeout",
            Self::Unreachable(_) => "upstream_unreachable",
            Self::Tls => "upstream_tls",
            Self::NotHttp2 => "upstream_not_http2",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamClosed => "upstream_closed",
            Self::InvalidResponse => "upstream_invalid",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Rejected(RejectReason::Connect) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Rejected(RejectReason::UnknownCoding) => StatusCode::NOT_IMPLEMENTED,
            Self::Rejected(RejectReason::TargetSize) => StatusCode::URI_TOO_LONG,
            Self::Rejected(RejectReason::HeadSize | RejectReason::HeaderCount) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Rejected(_) | Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::RequestHeaderTimeout | Self::RequestBodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
            // The server starts or restarts: clients may try again.
            Self::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Tls | Self::NotHttp2 | Self::UpstreamClosed | Self::InvalidResponse => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Rejected(_)
            | Self::Incomplete
            | Self::RequestHeaderTimeout
            | Self::RequestBodyTimeout => Outcome::ClientError,
            Self::TooManyConnections => Outcome::ProxyRejected,
            Self::Unreachable(_) | Self::Tls | Self::NotHttp2 => Outcome::UpstreamUnreachable,
            Self::ConnectTimeout | Self::ResponseTimeout => Outcome::Timeout,
            Self::UpstreamClosed | Self::InvalidResponse => Outcome::Truncated,
        }
    }

    fn message(self) -> Cow<'static, str> {
        let message = match self {
            Self::Rejected(reason) => reject_message(reason),
            Self::Incomplete => "the request ended before its body was complete",
            Self::RequestHeaderTimeout => "the headers of the request did not arrive in time",
            Self::RequestBodyTimeout => "the body of the request did not arrive in time",
            Self::TooManyConnections => {
                "there are too many connections to Streamgauge: check max_connections and the limit of open files"
            }
            Self::ResponseTimeout => {
                "the inference server did not respond in time: check its load and the configured timeouts"
            }
            Self::Unreachable(cause) => {
                return format!(
                    "cannot connect to the inference server: {cause}; check that it is running and that upstream is \
                     its address"
                )
                .into();
            }
            Self::ConnectTimeout => {
                "the inference server did not accept a connection in time: check its address and its load"
            }
            Self::Tls => {
                "TLS handshake with the inference server failed: set ca_file if its root certificate is a private one, and upstream_tls_cert if it requires a client certificate; the log has the cause"
            }
            Self::NotHttp2 => {
                "the inference server does not support HTTP/2: set http2 = \"never\", or check its port"
            }
            Self::UpstreamClosed => {
                "the inference server closed the connection without a response: check its log"
            }
            Self::InvalidResponse => "the response of the inference server is not valid HTTP",
        };
        message.into()
    }

    /// Whether the client's connection takes no further request.
    fn closes_connection(self) -> bool {
        matches!(self, Self::RequestBodyTimeout | Self::TooManyConnections)
    }

    /// Body of the response, in the shape of OpenAI's errors.
    fn body(self) -> String {
        let (message, code) = (self.message(), self.code());
        let error =
            json!({"message": message, "type": "streamgauge_error", "param": null, "code": code});
        json!({ "error": error }).to_string()
    }

    /// Returns the response, counts a rejection and records the end of the request.
    pub fn into_response(self, mut measurement: Measurement) -> Response<ProxyBody> {
        let status = self.status();
        if let Self::Rejected(reason) = self {
            measurement.on_rejected(reason);
        }
        if self == Self::ResponseTimeout {
            measurement.finish_with_own_timeout(status.as_u16());
        } else {
            measurement.finish_with_own_response(self.outcome(), status.as_u16());
        }
        let code = self.code();
        let body = BodyContent::Error(Full::new(Bytes::from(self.body())));
        let mut response = Response::new(ProxyBody::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
            .insert(HeaderName::from_static("x-streamgauge-error"), HeaderValue::from_static(code));
        if matches!(self, Self::Unreachable(_) | Self::TooManyConnections) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if self.closes_connection() {
            // hyper removes the header from HTTP/2.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Text for the client whose request was rejected.
fn reject_message(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::RequestLine => {
            "the request line must be METHOD TARGET HTTP/1.1 (RFC 9112, 3)"
        }
        RejectReason::Connect => "CONNECT is not supported: send the request itself",
        RejectReason::Target => {
            "the target must be a path or an http URL, without a fragment (RFC 9112, 3.2)"
        }
        RejectReason::TargetSize => "the target of the request is too long",
        RejectReason::HeaderName => {
            "a header line must start with a name and a colon, without white space (RFC 9112, 5.1)"
        }
        RejectReason::LineFolding => "a header must not be folded (RFC 9112, 5.2)",
        RejectReason::ControlCharacter => {
            "a request head must not contain control characters (RFC 9110, 5.5)"
        }
        RejectReason::HeadSize => "the request head is too large",
        RejectReason::HeaderCount => "the request has too many header lines",
        RejectReason::Host => {
            "a request must have exactly one Host header, with a valid host (RFC 9112, 3.2)"
        }
        RejectReason::ContentLength => {
            "a request must have at most one Content-Length, which must be one number (RFC 9112, 6.3)"
        }
        RejectReason::ConflictingLength => {
            "a request must not have both Content-Length and Transfer-Encoding (RFC 9112, 6.1)"
        }
        RejectReason::TransferEncoding => {
            "a request must be chunked only once, and not with HTTP/1.0 (RFC 9112, 6.1)"
        }
        RejectReason::UnknownCoding => "a Transfer-Encoding other than chunked is not supported",
        RejectReason::Chunk => "the request body is not valid chunked coding (RFC 9112, 7.1)",
        RejectReason::Parser => "the request head is not valid HTTP",
    }
}

/// Returns the whole response to a request whose headers did not arrive in time. hyper sends no response to a request
/// that it has not read.
pub(crate) fn request_header_timeout() -> Vec<u8> {
    let error = ErrorResponse::RequestHeaderTimeout;
    let (status, code, body) = (error.status(), error.code(), error.body());
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-streamgauge-error: {code}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
