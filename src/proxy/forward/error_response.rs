//! The proxy's own answers, told apart from the server's.

use crate::proxy::ProxyBody;
use crate::proxy::upstream::ConnectError;
use crate::tap::Measurement;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use streamgauge_core::meter::Outcome;

/// Why we answer in the upstream's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorResponse {
    /// The request breaks HTTP's rules for a request to a proxy.
    BadRequest(&'static str),
    MethodNotAllowed,
    /// A transfer coding that is not known.
    NotImplemented,
    Unreachable,
    ConnectTimeout,
    /// TLS with the upstream failed.
    Tls,
    /// The upstream does not speak HTTP/2.
    NotHttp2,
    /// The upstream took the request and closed without an answer.
    Closed,
    /// The upstream's answer is no HTTP.
    Invalid,
}

impl From<ConnectError> for ErrorResponse {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Timeout => Self::ConnectTimeout,
            ConnectError::Unreachable | ConnectError::Undecided => Self::Unreachable,
            ConnectError::Tls => Self::Tls,
            ConnectError::NotHttp2 => Self::NotHttp2,
        }
    }
}

impl ErrorResponse {
    /// The value of `x-streamgauge-error`.
    fn kind(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotImplemented => "not_implemented",
            Self::Unreachable => "upstream_unreachable",
            Self::Tls => "upstream_tls",
            Self::NotHttp2 => "upstream_not_http2",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::Closed => "upstream_closed",
            Self::Invalid => "upstream_invalid",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unreachable | Self::Tls | Self::NotHttp2 | Self::Closed | Self::Invalid => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::BadRequest(_) | Self::MethodNotAllowed | Self::NotImplemented => {
                Outcome::ClientError
            }
            Self::Unreachable | Self::Tls | Self::NotHttp2 => Outcome::UpstreamUnreachable,
            Self::ConnectTimeout => Outcome::Timeout,
            Self::Closed | Self::Invalid => Outcome::Truncated,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::BadRequest(why) => why,
            Self::MethodNotAllowed => "CONNECT is not forwarded: send the request itself",
            Self::NotImplemented => "a Transfer-Encoding other than chunked is not supported",
            Self::Unreachable => {
                "cannot connect to the inference server: check that it is up and that upstream is its address"
            }
            Self::ConnectTimeout => {
                "the inference server did not accept a connection in time: check its address and its load"
            }
            Self::Tls => {
                "TLS with the inference server failed: check its certificate, and ca_file for a root of your own"
            }
            Self::NotHttp2 => {
                "the inference server does not speak HTTP/2: set http2 = \"never\", or check its port"
            }
            Self::Closed => {
                "the inference server closed the connection without an answer: see its log"
            }
            Self::Invalid => "the inference server's answer is not valid HTTP",
        }
    }

    /// The answer, with the end recorded. The body has OpenAI's error shape.
    pub fn into_response(self, mut measurement: Measurement) -> Response<ProxyBody> {
        let status = self.status();
        measurement.finish_with_own_response(self.outcome(), status.as_u16());
        let kind = self.kind();
        let error = json!({"message": self.message(), "type": "streamgauge_error", "param": null, "code": kind});
        let body = json!({ "error": error }).to_string();
        let mut response = Response::new(Either::Right(Either::Left(Full::new(Bytes::from(body)))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
            .insert(HeaderName::from_static("x-streamgauge-error"), HeaderValue::from_static(kind));
        response
    }
}
