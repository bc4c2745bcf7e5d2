//! Which headers end at a proxy: the one place that decides it, for both directions.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Takes out what concerns one connection only (RFC 9110, section 7.6.1), and what `Connection`
/// names beside. What frames a message or says whom it is for is never taken out by nomination.
///
/// `Transfer-Encoding` stays: hyper undoes the chunks and makes them anew, and without the header it
/// would forget the body of a GET, and what else the body is encoded with. A `Content-Length` beside
/// it says nothing (RFC 9112, section 6.3), and goes.
pub(crate) fn end_to_end(headers: HeaderMap) -> HeaderMap {
    let ends_here = |name: &HeaderName| {
        [&CONNECTION, &KEEP_ALIVE, &PROXY_CONNECTION, &TE, &UPGRADE, &HTTP2_SETTINGS]
            .contains(&name)
    };
    // Nearly all heads have none of these.
    if !headers.keys().any(|name| ends_here(name) || *name == TRANSFER_ENCODING) {
        return headers;
    }
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
        .collect();
    let has_coding = headers.contains_key(TRANSFER_ENCODING);
    let hop_by_hop = |name: &HeaderName| {
        ends_here(name) || nominated.contains(name) || has_coding && *name == CONTENT_LENGTH
    };
    without(headers, hop_by_hop)
}

/// Takes out what frames a message of HTTP/1.1: frames of HTTP/2 do that themselves (RFC 9113, section
/// 8.2.2).
pub(crate) fn unframed(headers: HeaderMap) -> HeaderMap {
    without(headers, |name| [CONNECTION, TRANSFER_ENCODING].contains(name))
}

/// Takes out these, and leaves the rest in its order. Taking them out of the map would change it.
pub(crate) fn without(headers: HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    if !headers.keys().any(&unwanted) {
        return headers;
    }
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut current = None;
    for (name, value) in headers {
        // Further values of one name come without it.
        current = name.or(current);
        if let Some(name) = &current
            && !unwanted(name)
        {
            kept.append(name.clone(), value);
        }
    }
    kept
}

/// Whether the sender of these headers closes the connection behind the message.
pub(crate) fn closes(headers: &HeaderMap) -> bool {
    names(headers, CONNECTION, b"close")
}

/// Whether this word is in the list that is a header's value.
pub(crate) fn names(headers: &HeaderMap, name: HeaderName, word: &[u8]) -> bool {
    let is_it = |one: &[u8]| one.trim_ascii().eq_ignore_ascii_case(word);
    let mut values = headers.get_all(name).iter();
    values.any(|value| value.as_bytes().split(|byte| *byte == b',').any(is_it))
}

/// Takes out of trailers what concerns one connection only, and what frames or routes a message (RFC
/// 9110, section 6.5.1).
pub(crate) fn trailers(fields: HeaderMap) -> HeaderMap {
    let mut fields = end_to_end(fields);
    for name in [TRANSFER_ENCODING, CONTENT_LENGTH, HOST, TRAILER] {
        fields.remove(name);
    }
    fields
}

/// Whether the sender of these headers takes trailers.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    names(headers, TE, b"trailers")
}

/// Says to the upstream that its trailers are forwarded.
pub(crate) fn take_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONNECTION, HeaderValue::from_static("te"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in lines.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn kept(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let kept = end_to_end(map(lines));
        kept.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn hop_by_hop_and_nominated_headers_end_here() {
        let found = kept(&[
            ("a", "1"),
            ("connection", "x-foo, keep-alive ,Host,content-length"),
            ("host", "h"),
            ("x-foo", "gone"),
            ("b", "1"),
            ("connection", "X-Bar"),
            ("keep-alive", "timeout=5"),
            ("x-bar", "gone"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("proxy-connection", "close"),
            ("b", "2"),
            ("content-length", "3"),
            ("trailer", "x-sum"),
            ("c", "1"),
        ]);
        let expected = ["a=1", "host=h", "b=1", "b=2", "content-length=3", "trailer=x-sum", "c=1"];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_transfer_coding_outweighs_a_length() {
        let coding = ("transfer-encoding", "gzip, chunked");
        let lines =
            [("content-length", "3"), coding, ("connection", "transfer-encoding"), ("a", "1")];
        assert_eq!(kept(&lines), ["transfer-encoding=gzip, chunked", "a=1"]);
    }

    #[test]
    fn an_ordinary_map_passes_in_its_order() {
        let lines = [("z", "1"), ("a", "2"), ("m", "3"), ("z", "4")];
        assert_eq!(kept(&lines), ["z=1", "z=4", "a=2", "m=3"]);
    }

    #[test]
    fn what_frames_a_message_goes_and_the_order_stays() {
        let lines =
            [("transfer-encoding", "chunked"), ("z", "1"), ("connection", "te"), ("a", "2")];
        let left = unframed(map(&lines));
        let names: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["z", "a"]);
    }

    #[test]
    fn trailers_are_taken_if_asked_for() {
        assert!(takes_trailers(&map(&[("te", "gzip, Trailers")])));
        assert!(!takes_trailers(&map(&[("te", "gzip")])));
    }
}
