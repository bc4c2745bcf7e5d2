//! Responses that the proxy generates itself, marked with `x-streamgauge-error`.

use crate::proxy::ProxyBody;
use crate::proxy::upstream::ConnectError;
use crate::tap::Measurement;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
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
    /// No connection to the upstream could be made.
    Unreachable,
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
            ConnectError::Refused | ConnectError::Inconclusive => Self::Unreachable,
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
            Self::Unreachable => "upstream_unreachable",
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
            // The server starts or restarts: clients may try again.
            Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Tls | Self::NotHttp2 | Self::UpstreamClosed | Self::InvalidResponse => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Rejected(_) | Self::Incomplete => Outcome::ClientError,
            Self::Unreachable | Self::Tls | Self::NotHttp2 => Outcome::UpstreamUnreachable,
            Self::ConnectTimeout => Outcome::Timeout,
            Self::UpstreamClosed | Self::InvalidResponse => Outcome::Truncated,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reject_message(reason),
            Self::Incomplete => "the request ended before its body was complete",
            Self::Unreachable => {
                "cannot connect to the inference server: check that it is running and that upstream is its address"
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
        }
    }

    /// Returns the response, counts a rejection and records the end of the request. The body has the shape of OpenAI's errors.
    pub fn into_response(self, mut measurement: Measurement) -> Response<ProxyBody> {
        let status = self.status();
        if let Self::Rejected(reason) = self {
            measurement.on_rejected(reason);
        }
        measurement.finish_with_own_response(self.outcome(), status.as_u16());
        let code = self.code();
        let error = json!({"message": self.message(), "type": "streamgauge_error", "param": null, "code": code});
        let body = json!({ "error": error }).to_string();
        let mut response = Response::new(ProxyBody::Error(Full::new(Bytes::from(body))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
            .insert(HeaderName::from_static("x-streamgauge-error"), HeaderValue::from_static(code));
        if self == Self::Unreachable {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
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
