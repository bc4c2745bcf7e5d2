//! Responses that the proxy generates itself, marked with `x-streamgauge-error`.

use crate::proxy::ProxyBody;
use crate::proxy::upstream::ConnectError;
use crate::tap::Measurement;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use streamgauge_core::meter::Outcome;

/// Reason why the proxy responds instead of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorResponse {
    /// The request violates HTTP's rules for a request to a proxy.
    BadRequest(&'static str),
    /// CONNECT.
    MethodNotAllowed,
    /// The request has an unsupported transfer coding.
    NotImplemented,
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
            Self::BadRequest(_) => "bad_request",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotImplemented => "not_implemented",
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
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unreachable
            | Self::Tls
            | Self::NotHttp2
            | Self::UpstreamClosed
            | Self::InvalidResponse => StatusCode::BAD_GATEWAY,
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
            Self::UpstreamClosed | Self::InvalidResponse => Outcome::Truncated,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::BadRequest(message) => message,
            Self::MethodNotAllowed => "CONNECT is not supported: send the request itself",
            Self::NotImplemented => "a Transfer-Encoding other than chunked is not supported",
            Self::Unreachable => {
                "cannot connect to the inference server: check that it is running and that upstream is its address"
            }
            Self::ConnectTimeout => {
                "the inference server did not accept a connection in time: check its address and its load"
            }
            Self::Tls => {
                "TLS handshake with the inference server failed: check its certificate; set ca_file for a private root certificate"
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

    /// Returns the response and records the end of the request. The body has the shape of OpenAI's errors.
    pub fn into_response(self, mut measurement: Measurement) -> Response<ProxyBody> {
        let status = self.status();
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
        response
    }
}
