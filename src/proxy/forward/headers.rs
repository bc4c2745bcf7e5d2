//! Hop-by-hop headers: the one place that decides which headers are forwarded, in both directions.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removes hop-by-hop headers (RFC 9110, section 7.6.1), and those that `Connection` lists. `Connection` cannot remove
/// the headers that frame or route a message.
///
/// `Transfer-Encoding` stays: hyper decodes the chunks and encodes them again. Without the header it would drop the body
/// of a GET and lose any other coding. A `Content-Length` next to it has no effect (RFC 9112, section 6.3) and is
/// removed.
pub(crate) fn remove_hop_by_hop(headers: HeaderMap) -> HeaderMap {
    // Comparisons in a row cost half of a search in an array.
    let is_hop_by_hop = |name: &HeaderName| {
        *name == CONNECTION
            || *name == TE
            || *name == UPGRADE
            || *name == KEEP_ALIVE
            || *name == PROXY_CONNECTION
            || *name == HTTP2_SETTINGS
    };
    // Fast path: nearly all heads have none of these.
    if !headers.keys().any(|name| is_hop_by_hop(name) || *name == TRANSFER_ENCODING) {
        return headers;
    }
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
        .collect();
    let has_coding = headers.contains_key(TRANSFER_ENCODING);
    let is_removed = |name: &HeaderName| {
        is_hop_by_hop(name) || listed.contains(name) || has_coding && *name == CONTENT_LENGTH
    };
    remove_headers(headers, is_removed)
}

/// Removes the headers that frame an HTTP/1.1 message. HTTP/2 has frames instead (RFC 9113, section 8.2.2).
pub(crate) fn remove_http1_framing(headers: HeaderMap) -> HeaderMap {
    remove_headers(headers, |name| [CONNECTION, TRANSFER_ENCODING].contains(name))
}

/// Removes headers and keeps the order of the others, which `HeaderMap::remove` would change.
pub(crate) fn remove_headers(
    headers: HeaderMap,
    is_removed: impl Fn(&HeaderName) -> bool,
) -> HeaderMap {
    if !headers.keys().any(&is_removed) {
        return headers;
    }
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut current = None;
    for (name, value) in headers {
        // The iterator returns a name only with its first value.
        current = name.or(current);
        if let Some(name) = &current
            && !is_removed(name)
        {
            kept.append(name.clone(), value);
        }
    }
    kept
}

/// Whether the sender closes the connection after the message.
pub(crate) fn has_connection_close(headers: &HeaderMap) -> bool {
    list_contains(headers, CONNECTION, b"close")
}

/// Whether the comma-separated list in header `name` contains `word`, ignoring case.
pub(crate) fn list_contains(headers: &HeaderMap, name: HeaderName, word: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| value_contains(value, word))
}

/// Whether a comma-separated list contains `word`, ignoring case.
fn value_contains(list: &HeaderValue, word: &[u8]) -> bool {
    let is_word = |element: &[u8]| element.trim_ascii().eq_ignore_ascii_case(word);
    list.as_bytes().split(|byte| *byte == b',').any(is_word)
}

/// Removes from trailers the hop-by-hop fields, and those that frame or route a message (RFC 9110, section 6.5.1).
pub(crate) fn forwardable_trailers(fields: HeaderMap) -> HeaderMap {
    let mut fields = remove_hop_by_hop(fields);
    for name in [TRANSFER_ENCODING, CONTENT_LENGTH, HOST, TRAILER] {
        fields.remove(name);
    }
    fields
}

/// Options that a client sets in the headers of a request, for this connection only.
///
/// They are read in one pass, because a search for each header costs more than the comparison with all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RequestOptions {
    /// `Connection: close`: the connection takes no further request.
    pub close: bool,
    /// `Connection: upgrade`: the client wants to switch to another protocol.
    pub upgrade: bool,
    /// `TE: trailers`: the client accepts trailers.
    pub trailers: bool,
    /// `Expect: 100-continue`: the client waits for that response before it sends the body.
    pub expects_continue: bool,
}

impl RequestOptions {
    pub fn read(headers: &HeaderMap) -> Self {
        let mut options = Self::default();
        for (name, value) in headers {
            if *name == CONNECTION {
                options.close |= value_contains(value, b"close");
                options.upgrade |= value_contains(value, b"upgrade");
            } else if *name == TE {
                options.trailers |= value_contains(value, b"trailers");
            } else if *name == EXPECT {
                options.expects_continue |= value_contains(value, b"100-continue");
            }
        }
        options
    }
}

/// Announces to the upstream that trailers are accepted.
pub(crate) fn set_accepts_trailers(headers: &mut HeaderMap) {
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
        let kept = remove_hop_by_hop(map(lines));
        kept.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn hop_by_hop_and_listed_headers_are_removed() {
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
    fn transfer_encoding_overrides_content_length() {
        let coding = ("transfer-encoding", "gzip, chunked");
        let lines =
            [("content-length", "3"), coding, ("connection", "transfer-encoding"), ("a", "1")];
        assert_eq!(kept(&lines), ["transfer-encoding=gzip, chunked", "a=1"]);
    }

    #[test]
    fn other_headers_keep_their_order() {
        let lines = [("z", "1"), ("a", "2"), ("m", "3"), ("z", "4")];
        assert_eq!(kept(&lines), ["z=1", "z=4", "a=2", "m=3"]);
    }

    #[test]
    fn http1_framing_is_removed_and_the_order_stays() {
        let lines =
            [("transfer-encoding", "chunked"), ("z", "1"), ("connection", "te"), ("a", "2")];
        let left = remove_http1_framing(map(&lines));
        let names: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["z", "a"]);
    }

    #[test]
    fn options_are_read_from_each_line_and_ignore_case() {
        let none = RequestOptions::default();
        let read = |lines: &[_]| RequestOptions::read(&map(lines));
        assert_eq!(read(&[("te", "gzip"), ("connection", "closed"), ("close", "close")]), none);
        assert_eq!(read(&[("te", "gzip, Trailers")]), RequestOptions { trailers: true, ..none });
        let lines = [("connection", "keep-alive, Upgrade"), ("a", "1"), ("connection", "CLOSE")];
        assert_eq!(read(&lines), RequestOptions { close: true, upgrade: true, ..none });
        let expected = RequestOptions { expects_continue: true, ..none };
        assert_eq!(read(&[("expect", "100-Continue")]), expected);
    }
}
