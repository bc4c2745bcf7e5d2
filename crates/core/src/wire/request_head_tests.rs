use super::RejectReason as Reason;
use super::*;

const LIMITS: HeadLimits =
    HeadLimits { max_bytes: 1024, max_lines: 20, is_target: |target| !target.contains(&b'"') };

/// Checks `text` in parts of `size` bytes.
fn check_parts(text: &[u8], size: usize) -> Result<Option<CheckedHead>, Reason> {
    let mut head = HeadChecker::default();
    for end in (0..text.len()).step_by(size).map(|start| (start + size).min(text.len())) {
        if let Some(found) = head.push(&text[..end], &LIMITS)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Checks `text` in several splits, which must agree.
fn check(text: impl AsRef<[u8]>) -> Result<Option<CheckedHead>, Reason> {
    let text = text.as_ref();
    let whole = HeadChecker::default().push(text, &LIMITS);
    for size in [1, 2, 7, 30] {
        let parts = check_parts(text, size);
        assert_eq!(parts, whole, "{:?} by {size}", String::from_utf8_lossy(text));
    }
    whole
}

/// The reason why a request with this request line and these header lines is rejected.
fn reason(line: &str, headers: &str) -> Option<Reason> {
    check(format!("{line}\r\nHost: h\r\n{headers}\r\n")).err()
}

#[test]
fn valid_heads_have_a_length_and_a_framing() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "body", BodyFraming::Length(0)),
        ("\r\n\nGET / HTTP/1.0\r\n\r\n", "GET", BodyFraming::Length(0)),
        ("POST /a HTTP/1.1\nContent-Length:\t7 \n\n", "", BodyFraming::Length(7)),
        ("POST /a HTTP/1.1\r\ncontent-length: 007\r\n\r\n", "\n", BodyFraming::Length(7)),
        (
            "POST /a HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\n",
            "",
            BodyFraming::Length(i64::MAX as u64),
        ),
        ("POST / HTTP/1.1\r\nTRANSFER-ENCODING: Chunked\r\n\r\n", "0", BodyFraming::Chunked),
        ("A-Z^_ /a?b=%20:@ HTTP/1.1\r\nX:\r\nY: \u{e9}\tb\r\n\r\n", "", BodyFraming::Length(0)),
    ];
    for (head, rest, body) in cases {
        let found = check(format!("{head}{rest}"));
        assert_eq!(found, Ok(Some(CheckedHead { length: head.len(), body })), "{head:?}");
        assert_eq!(check(&head[..head.len() - 1]), Ok(None), "{head:?} without its last byte");
    }
}

#[test]
fn ambiguous_lengths_are_rejected() {
    let post = "POST / HTTP/1.1";
    for length in ["", "+2", "-2", "2, 2", "2 2", "0x2", "2.0", "9223372036854775808", "1e3"] {
        let line = format!("Content-Length: {length}\r\n");
        assert_eq!(reason(post, &line), Some(Reason::ContentLength), "{length:?}");
    }
    let cases = [
        ("Content-Length: 2\r\nContent-Length: 2\r\n", Reason::ContentLength),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", Reason::ContentLength),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", Reason::ConflictingLength),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", Reason::ConflictingLength),
        ("Transfer-Encoding: chunked, chunked\r\n", Reason::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Reason::TransferEncoding),
        ("Transfer-Encoding:\r\n", Reason::TransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", Reason::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Reason::UnknownCoding),
        ("Transfer-Encoding: xchunked\r\n", Reason::UnknownCoding),
        ("Transfer-Encoding: chunked;a=b\r\n", Reason::UnknownCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Reason::UnknownCoding),
    ];
    for (headers, expected) in cases {
        assert_eq!(reason(post, headers), Some(expected), "{headers:?}");
    }
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(reason("POST / HTTP/1.0", chunked), Some(Reason::TransferEncoding));
}

#[test]
fn only_targets_of_a_proxied_server_are_accepted() {
    for target in ["/", "/a/b?c=d&e", "http://b/", "HTTPS://b:1/c?d", "/a|b", "//a"] {
        assert_eq!(reason(&format!("GET {target} HTTP/1.1"), ""), None, "{target}");
    }
    assert_eq!(reason("OPTIONS * HTTP/1.1", ""), None);
    let wrong =
        ["a", "a:1", "*", "**", "javascript:x", "ftp://a/", "ws://a/", "/a#b", "http://a/#", "/\""];
    for target in wrong {
        let found = reason(&format!("GET {target} HTTP/1.1"), "");
        assert_eq!(found, Some(Reason::Target), "{target}");
    }
    assert_eq!(reason("CONNECT a:1 HTTP/1.1", ""), Some(Reason::Connect));
}

#[test]
fn request_lines_have_three_parts() {
    for line in [
        "GET",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / a HTTP/1.1",
        "GET /\t HTTP/1.1",
        " / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "SSH-2.0-OpenSSH_9",
    ] {
        assert_eq!(reason(line, ""), Some(Reason::RequestLine), "{line:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(70_000));
    let limits = HeadLimits { max_bytes: 100_000, ..LIMITS };
    let found = HeadChecker::default().push(long.as_bytes(), &limits);
    assert_eq!(found, Err(Reason::TargetSize));
}

#[test]
fn malformed_lines_are_rejected() {
    let get = "GET / HTTP/1.1";
    let cases = [
        ("A : b\r\n", Reason::HeaderName),
        (": b\r\n", Reason::HeaderName),
        ("A\r\n", Reason::HeaderName),
        ("A(: b\r\n", Reason::HeaderName),
        ("A: b\r\n c\r\n", Reason::LineFolding),
        ("A: b\r\n\tc: d\r\n", Reason::LineFolding),
        ("A: b\rc\r\n", Reason::ControlCharacter),
        ("A: b\r\r\n", Reason::ControlCharacter),
        ("A: b\0\r\n", Reason::ControlCharacter),
        ("A\x0b: b\r\n", Reason::ControlCharacter),
        ("A: \x7f\r\n", Reason::ControlCharacter),
    ];
    for (headers, expected) in cases {
        assert_eq!(reason(get, headers), Some(expected), "{headers:?}");
    }
    assert_eq!(reason("GET /\0 HTTP/1.1", ""), Some(Reason::ControlCharacter));
    assert_eq!(check("\x16\x03\x01\x02"), Err(Reason::ControlCharacter), "TLS, without a line");
}

#[test]
fn size_and_number_of_lines_are_limited() {
    let lines = |count| "A: b\r\n".repeat(count);
    assert_eq!(reason("GET / HTTP/1.1", &lines(19)), None);
    assert_eq!(reason("GET / HTTP/1.1", &lines(20)), Some(Reason::HeaderCount));
    let start = "GET / HTTP/1.1\r\nA: ";
    let head = |length: usize| format!("{start}{}\r\n\r\n", "b".repeat(length - start.len() - 4));
    assert_eq!(check(head(1024)).map(|head| head.map(|head| head.length)), Ok(Some(1024)));
    assert_eq!(check(head(1025)), Err(Reason::HeadSize));
    assert_eq!(check("\r\n".repeat(2000)), Err(Reason::HeadSize));
    assert_eq!(check("A".repeat(1023)), Ok(None));
    assert_eq!(check("A".repeat(1024)), Err(Reason::HeadSize));
}
