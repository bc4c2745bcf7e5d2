//! Headers of a request or a response that the measurement uses.

use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS,
    TRANSFER_ENCODING,
};
use hyper::http::{Version, response};
use hyper::{Method, StatusCode};
use std::borrow::Cow;
use std::time::Duration;
use streamgauge_core::dialect::response_headers::HeaderFacts;
use streamgauge_core::wire::request_start::EdgeWait;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Reads queueing, timings and the engine from response headers. Returns `None` if they contain none.
pub(super) fn head_facts(headers: &HeaderMap) -> Option<Box<HeaderFacts>> {
    let mut facts = HeaderFacts::default();
    headers.iter().for_each(|(name, value)| facts.record_header(name.as_str(), value.as_bytes()));
    (facts != HeaderFacts::default()).then(|| Box::new(facts))
}

/// Content codings of the body, in the order in which they were applied.
pub(super) fn content_encoding(headers: &HeaderMap) -> Cow<'_, [u8]> {
    if !headers.contains_key(CONTENT_ENCODING) {
        return Cow::Borrowed(b"");
    }
    let mut values = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) => Cow::Borrowed(b""),
        (Some(only), None) => Cow::Borrowed(only),
        _ => {
            let all = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
            Cow::Owned(all.collect::<Vec<_>>().join(&b","[..]))
        }
    }
}

/// Whether the end of the connection is the end of the response to a request with this method (RFC 9112, section 6.3), or of
/// the protocol that it switches to.
pub(super) fn ends_with_connection(method: &Method, head: &response::Parts) -> bool {
    match head.status {
        _ if head.version >= Version::HTTP_2 => false,
        StatusCode::SWITCHING_PROTOCOLS => true,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => false,
        _ if *method == Method::HEAD => false,
        // Cheaper than two look-ups: there are few headers.
        _ => !head.headers.keys().any(|name| name == CONTENT_LENGTH || name == TRANSFER_ENCODING),
    }
}

/// Whether the two ends of a WebSocket have agreed to compress messages (RFC 7692).
pub(super) fn is_deflated(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().any(|value| {
        let mut extensions = value.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        extensions.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"permessage-deflate"))
    })
}

/// Trace id of a W3C `traceparent`: `00-<32 hex digits>-<16>-<2>`.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(&TRACEPARENT)?.to_str().ok()?;
    let id = value.split('-').nth(1)?;
    let is_hex = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 32 && is_hex && id.bytes().any(|byte| byte != b'0')).then(|| id.to_owned())
}

/// Wait in a proxy before Streamgauge, as its headers report it. `arrival` is when the request arrived here, since 1970.
pub(super) fn edge_wait(headers: &HeaderMap, arrival: Duration) -> Option<EdgeWait> {
    let names = ["x-request-start", "x-queue-start"];
    let values = names.iter().flat_map(|name| headers.get_all(*name));
    EdgeWait::from_headers(values.map(HeaderValue::as_bytes), arrival)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Response;

    #[test]
    fn a_response_without_length_and_chunks_ends_with_its_connection() {
        let ends = |method: &Method, status: u16, version, field: Option<(&str, &str)>| {
            let mut response = Response::builder().status(status).version(version);
            if let Some((name, value)) = field {
                response = response.header(name, value);
            }
            ends_with_connection(method, &response.body(()).unwrap().into_parts().0)
        };
        let (length, chunked) = (("content-length", "0"), ("transfer-encoding", "chunked"));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(ends(&Method::POST, 200, version, None));
            assert!(ends(&Method::GET, 101, version, None));
            assert!(!ends(&Method::POST, 200, version, Some(length)));
            assert!(!ends(&Method::POST, 500, version, Some(chunked)));
            assert!(!ends(&Method::HEAD, 200, version, None));
            assert!(!ends(&Method::GET, 204, version, None));
            assert!(!ends(&Method::GET, 304, version, None));
        }
        assert!(!ends(&Method::POST, 200, Version::HTTP_2, None));
    }
}
