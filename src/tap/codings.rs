//! How a response's bytes are coded, as its head says.

use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use std::borrow::Cow;

/// The content codings of the body, in the order in which they were applied.
pub(super) fn content_encoding(headers: &HeaderMap) -> Cow<'_, [u8]> {
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

/// Whether the two ends of a WebSocket have agreed to compress messages (RFC 7692).
pub(super) fn is_deflated(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().any(|value| {
        let mut extensions = value.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        extensions.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"permessage-deflate"))
    })
}
