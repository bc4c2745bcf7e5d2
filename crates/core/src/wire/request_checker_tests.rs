use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 1024, max_lines: 20, is_target: |_| true };
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
const CHUNKED: &str =
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";

/// Checks `bytes`, which arrive in these parts.
fn check_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> CheckedBytes {
    let mut checker = RequestChecker::new(LIMITS);
    let (mut unchecked, mut valid) = (Vec::new(), 0);
    for part in parts {
        unchecked.extend_from_slice(part);
        let found = checker.push(&unchecked);
        unchecked.drain(..found.valid);
        valid += found.valid;
        if found.rejected.is_some() {
            return CheckedBytes { valid, ..found };
        }
    }
    CheckedBytes { valid, rejected: None }
}

fn check(text: &str) -> CheckedBytes {
    let whole = RequestChecker::new(LIMITS).push(text.as_bytes());
    for size in [1, 3, 20] {
        assert_eq!(check_parts(text.as_bytes().chunks(size)), whole, "{text:?} by {size}");
    }
    whole
}

#[test]
fn requests_follow_each_other() {
    let all = format!("{GET}{POST}{CHUNKED}{POST}\r\n{GET}");
    assert_eq!(check(&all), CheckedBytes { valid: all.len(), rejected: None });
    let with_start = format!("{all}GET / HTTP");
    assert_eq!(check(&with_start), CheckedBytes { valid: all.len(), rejected: None });
}

#[test]
fn valid_requests_before_an_invalid_one_pass() {
    let invalid = "GET a:1 HTTP/1.1\r\n\r\n";
    let expected = CheckedBytes { valid: POST.len(), rejected: Some(RejectReason::Target) };
    assert_eq!(check(&format!("{POST}{invalid}{GET}")), expected);
}

#[test]
fn invalid_chunks_are_rejected_where_they_start() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["0\r\n\n", "0x5\r\nabcde\r\n", "5\nabcde\n0\n\n", "8000000000000000\r\n", "\r\n"] {
        let found = check_parts([head, body, GET].iter().map(|part| part.as_bytes()));
        assert_eq!(found.rejected, Some(RejectReason::Chunk), "{body:?}");
        assert!(found.valid <= head.len() + body.len(), "{body:?}");
    }
}

#[test]
fn nothing_passes_after_a_rejection() {
    let mut checker = RequestChecker::new(LIMITS);
    let rejected = Some(RejectReason::HeaderName);
    let expected = CheckedBytes { valid: 0, rejected };
    assert_eq!(checker.push(b"GET / HTTP/1.1\r\nA\r\n"), expected);
    assert_eq!(checker.push(GET.as_bytes()), expected);
}

proptest! {
    #[test]
    fn every_split_agrees(
        messages in prop::collection::vec(0..5usize, 0..6),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        sizes in prop::collection::vec(1..40usize, 1..10),
    ) {
        let known = [GET, POST, CHUNKED, "GET a HTTP/1.1\r\n\r\n", "\r\n"];
        let mut text: Vec<u8> = messages.iter().flat_map(|at| known[*at].bytes()).collect();
        for (at, byte) in flips {
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
        }
        let whole = RequestChecker::new(LIMITS).push(&text);
        let mut rest = &text[..];
        let parts = sizes.iter().cycle().map_while(|size| {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            (!part.is_empty()).then_some(part)
        });
        let parts = check_parts(parts);
        prop_assert_eq!(parts.rejected, whole.rejected);
        // The start of an invalid chunk passes, if the rest of it arrives later.
        if whole.rejected == Some(RejectReason::Chunk) {
            prop_assert!(parts.valid >= whole.valid);
        } else {
            prop_assert_eq!(parts.valid, whole.valid);
        }
    }
}
