//! Requests that break a rule of HTTP: each is answered, counted with its reason, and never reaches the server.

use crate::support::exchange::exchange_with;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat, one_to, wait_for};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use streamgauge::testing::FaultInjection;
use streamgauge_sim::rng::SplitMix64;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";

/// Request line and `Host` of a request with a body.
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\n";

/// Status, `x-streamgauge-error`, label `reason`, and the request.
type Rejection = (u16, &'static str, &'static str, String);

/// Requests that are rejected before hyper reads them. The connection is closed after each.
fn rejected_heads() -> Vec<Rejection> {
    let many: String = (0..300).map(|i| format!("X-{i}: v\r\n")).collect();
    let large = "x".repeat(200_000);
    let post = |headers: &str| format!("{POST}{headers}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let get = |line: &str| format!("{line}\r\nHost: h\r\n\r\n");
    let with = |header: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n");
    vec![
        (
            400,
            "bad_request",
            "conflicting_length",
            post("Content-Length: 12\r\nTransfer-Encoding: chunked"),
        ),
        (
            400,
            "bad_request",
            "conflicting_length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 12"),
        ),
        (400, "bad_request", "content_length", post("Content-Length: 12\r\nContent-Length: 12")),
        (400, "bad_request", "content_length", post("Content-Length: 12\r\nContent-Length: 13")),
        (400, "bad_request", "content_length", post("Content-Length: 12, 12")),
        (400, "bad_request", "content_length", post("Content-Length: +12")),
        (400, "bad_request", "content_length", post("Content-Length: -1")),
        (400, "bad_request", "content_length", post("Content-Length: 9223372036854775808")),
        (400, "bad_request", "content_length", post("Content-Length: 18446744073709551628")),
        (400, "bad_request", "transfer_encoding", post("Transfer-Encoding: chunked, chunked")),
        (
            400,
            "bad_request",
            "transfer_encoding",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        (400, "bad_request", "transfer_encoding", post("Transfer-Encoding:")),
        (
            400,
            "bad_request",
            "transfer_encoding",
            post("Transfer-Encoding: chunked").replace("/1.1", "/1.0"),
        ),
        (501, "not_implemented", "unknown_coding", post("Transfer-Encoding: gzip, chunked")),
        (501, "not_implemented", "unknown_coding", post("Transfer-Encoding: xchunked")),
        (501, "not_implemented", "unknown_coding", post("Transfer-Encoding: identity")),
        (405, "method_not_allowed", "connect", get("CONNECT a:1 HTTP/1.1")),
        (400, "bad_request", "target", get("GET javascript:x HTTP/1.1")),
        (400, "bad_request", "target", get("GET a:1 HTTP/1.1")),
        (400, "bad_request", "target", get("GET ftp://h/ HTTP/1.1")),
        (400, "bad_request", "target", get("GET rejected://host HTTP/1.1")),
        (400, "bad_request", "target", get("GET /a#b HTTP/1.1")),
        (400, "bad_request", "target", get("GET * HTTP/1.1")),
        (400, "bad_request", "target", get("GET /<a> HTTP/1.1")),
        (
            414,
            "target_too_long",
            "target_size",
            get(&format!("GET /{} HTTP/1.1", "a".repeat(70_000))),
        ),
        (400, "bad_request", "request_line", get("GET / HTTP/2.0")),
        (400, "bad_request", "request_line", get("GET /")),
        (400, "bad_request", "request_line", get("GET  / HTTP/1.1")),
        (400, "bad_request", "header_name", with("A : b")),
        (400, "bad_request", "header_name", with("A")),
        (400, "bad_request", "line_folding", with("A: b\r\n c")),
        (400, "bad_request", "control_character", with("A: b\rc")),
        (400, "bad_request", "control_character", with("A: b\0c")),
        (400, "bad_request", "control_character", "\x16\x03\x01\x02".to_owned()),
        (431, "headers_too_large", "header_count", with(many.trim_end())),
        (431, "headers_too_large", "head_size", with(&format!("Big: {large}"))),
    ]
}

/// Requests whose head is complete and valid HTTP, but that are rejected nevertheless.
fn rejected_later() -> Vec<Rejection> {
    let chunks = |body: &str| format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}");
    vec![
        (400, "bad_request", "host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "bad_request", "host", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into()),
        (400, "bad_request", "host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into()),
        (400, "bad_request", "chunk", chunks("0x2\r\nhi\r\n0\r\n\r\n")),
        (400, "bad_request", "chunk", chunks("2\nhi\n0\n\n")),
        (400, "bad_request", "chunk", chunks("2\r\nhi!\r\n0\r\n\r\n")),
        (400, "bad_request", "chunk", chunks("8000000000000000\r\nhi\r\n0\r\n\r\n")),
        (400, "bad_request", "chunk", chunks("fffffffffffffffff\r\nhi\r\n0\r\n\r\n")),
        (400, "bad_request", "chunk", chunks(&format!("2\r\nhi\r\n0\r\n\n{GET}"))),
        (400, "bad_request", "chunk", chunks(&format!("2\r\nhi\r\n0\r\nA: b\n\r\n{GET}"))),
    ]
}

#[test]
fn every_rejection_is_answered_and_counted() {
    let upstream = ScriptedUpstream::responding_with(OK);
    // Room for a target that is too long.
    let keys = [("max_request_header_bytes", "131072")];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let mut reasons = BTreeMap::<&str, usize>::new();
    let heads = rejected_heads();
    let closing = heads.len();
    for (at, (status, kind, reason, request)) in
        heads.into_iter().chain(rejected_later()).enumerate()
    {
        let shown = request.get(..80).unwrap_or(&request).to_owned();
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(&request);
        let answer = client.read_message();
        let error = answer.header("x-streamgauge-error");
        assert_eq!((answer.status(), error), (status, vec![kind.to_owned()]), "{shown:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], kind);
        assert_eq!(body["error"]["type"], "streamgauge_error");
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        if at < closing {
            assert_eq!(answer.header("connection"), ["close"], "{shown:?}");
            assert!(client.read_to_end().0.is_empty(), "{shown:?}");
        }
        *reasons.entry(reason).or_default() += 1;
    }
    let count = reasons.values().sum::<usize>();
    gauge.requests_when(count);
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    let outcome = "outcome=\"client_error\"";
    assert_eq!(scrape.sum("streamgauge_requests_total", &[outcome]), count as f64);
    for (reason, count) in reasons {
        let label = format!("reason=\"{reason}\"");
        let counted = scrape.sum("streamgauge_rejected_requests_total", &[&label]);
        assert_eq!(counted, count as f64, "{reason}");
    }
    drop(gauge);
    let reached = upstream.received().concat();
    let reached = String::from_utf8_lossy(&reached);
    assert!(!reached.contains("\r\n0\r\n") && !reached.contains("GET"), "{reached:?}");
}

#[test]
fn requests_before_a_rejected_one_are_served_first() {
    let rejected = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";
    let stream = chat::stream_response(&[chat::content_event("a"), chat::DONE.into()]);
    for answer in [OK.as_bytes(), &stream] {
        let upstream = ScriptedUpstream::responding_with(answer);
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(format!("{GET}{GET}{rejected}{GET}"));
        let found: Vec<u16> = (0..3).map(|_| client.read_message().status()).collect();
        assert_eq!(found, [200, 200, 400]);
        assert!(client.read_to_end().0.is_empty());
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum("streamgauge_rejected_requests_total", &["content_length"]), 1.0);
    }
}

#[test]
fn a_head_in_many_parts_is_forwarded_once_it_is_complete() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..2 {
        for byte in format!("\r\n{POST}Content-Length: 3\r\n\r\nabc").as_bytes() {
            client.send([*byte]);
        }
        assert_eq!(client.read_message().text(), OK);
    }
    drop((client, gauge));
    let received = upstream.received().concat();
    let expected = format!("{POST}Content-Length: 3\r\n\r\nabc").repeat(2);
    assert_eq!(String::from_utf8_lossy(&received), expected);
}

#[test]
fn bytes_after_an_upgrade_request_are_not_checked() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head().unwrap();
        connection.send("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n");
        let data = connection.read_exactly(8).unwrap();
        connection.send(data);
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";
    client.send([upgrade.as_bytes(), b"\x00\x01 \r\n"].concat());
    assert_eq!(client.read_head().unwrap().status(), 101);
    client.send(b"end");
    assert_eq!(client.read_exactly(8).unwrap(), b"\x00\x01 \r\nend");
}

#[test]
fn unusual_targets_are_forwarded_unchanged() {
    for target in ["/a|b", "/\"x\"", "/{a}", "/caf\u{e9}", "//a//b", "/a?b=c?d&e", "/%"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let found = exchange_with(&[], request.as_bytes(), OK.as_bytes());
        assert_eq!(found.request, request);
    }
}

/// Mostly the usual text, sometimes one of the others.
fn mostly(rng: &mut SplitMix64, usual: &'static str, others: &[&'static str]) -> &'static str {
    if one_to(rng, 8) == 1 { others[one_to(rng, others.len()) - 1] } else { usual }
}

/// A request with mutations that make its end or meaning ambiguous.
fn ambiguous_request(number: usize, rng: &mut SplitMix64) -> Vec<u8> {
    let method = ["POST", "GET", "PUT"][one_to(rng, 3) - 1];
    let version = mostly(rng, "1.1", &["1.0"]);
    let mut head = format!("{method} /c{number} HTTP/{version}\r\n");
    let hosts = ["", "Host: h\r\nHost: h\r\n", "Host: a b\r\n", "host:h\r\n"];
    head += mostly(rng, "Host: h\r\n", &hosts);
    let smuggled = format!("GET /s{number} HTTP/1.1\r\nHost: h\r\n\r\n");
    let colons = [":", ":\t", " : ", ": +", ": 0", ": \x0b", ": 0x", ":\r\n "];
    let length = mostly(rng, ": ", &colons);
    let body = if one_to(rng, 2) == 1 {
        let names = [
            "transfer-encoding",
            "Transfer-Encoding ",
            "Transfer_Encoding",
            "X\rTransfer-Encoding",
        ];
        let codings = [
            "Chunked",
            "chunked \t",
            "chunked, chunked",
            "gzip, chunked",
            "identity",
            "\x0bchunked",
            ",chunked",
            "chunked;q=1",
        ];
        let (name, coding) =
            (mostly(rng, "Transfer-Encoding", &names), mostly(rng, "chunked", &codings));
        let sizes = [
            "05",
            "5 ",
            "5;a=b",
            "0x5",
            "+5",
            "5\t",
            "5;\n",
            "8000000000000005",
            "fffffffffffffffff5",
            "5\n",
            "4",
            "6",
        ];
        let ends = [
            "0\r\n\n",
            "0\r\nA: b\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "00\r\n\r\n",
            "0\n\r\n",
            "0;a\r\n\r\n",
            "",
        ];
        let (size, end) = (mostly(rng, "5", &sizes), mostly(rng, "0\r\n\r\n", &ends));
        let _ = write!(head, "{name}: {coding}\r\n");
        if one_to(rng, 8) == 1 {
            let _ = write!(head, "Content-Length{length}{}\r\n", smuggled.len());
        }
        format!("{size}\r\nhello\r\n{end}")
    } else {
        // With a shorter body, its rest is another request, or the start of one.
        let shorter = [0, 0, 0, 1, 3, smuggled.len()][one_to(rng, 6) - 1];
        let _ = write!(head, "Content-Length{length}{}\r\n", smuggled.len() - shorter);
        head += &mostly(rng, "", &["Content-Length: N\r\n", "Transfer-Encoding: chunked\r\n"])
            .replace('N', &smuggled.len().to_string());
        smuggled
    };
    let lines = ["Connection: close\r\n", "A: b\r\n c: d\r\n", "A : b\r\n", ": c\r\n", "A\r\n"];
    head += mostly(rng, "", &lines);
    let line_end = mostly(rng, "\r\n", &["\n", "\r\r\n", "\r", "\n\r\n"]);
    let mut request = format!("{head}{line_end}{body}").into_bytes();
    if one_to(rng, 4) == 1 {
        let after_target = request.iter().position(|byte| *byte == b'\r').unwrap();
        let at = after_target + one_to(rng, request.len() - after_target) - 1;
        let byte = b"\0\r\n\t :;,\x7f\x80"[one_to(rng, 10) - 1];
        if one_to(rng, 2) == 1 { request.insert(at, byte) } else { request[at] = byte }
    }
    request
}

/// The server parses the requests independently. A request was smuggled if the server counts more or fewer than the proxy.
#[test]
fn ambiguous_requests_are_counted_as_the_server_sees_them() {
    const CASES: usize = 1000;
    let seen = Arc::new(AtomicUsize::new(0));
    let at_server = Arc::clone(&seen);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while connection.try_read_message().is_some() {
            at_server.fetch_add(1, SeqCst);
            if !connection.try_send(OK) {
                return;
            }
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut rng = SplitMix64::new(15);
    for number in 0..CASES {
        let mut sent = ambiguous_request(number, &mut rng);
        let marker = format!("GET /m{number} HTTP/1.1\r\nHost: h\r\n\r\n");
        // The end is invalid wherever a request starts in it, so the proxy closes each connection.
        let end = format!("{marker}{marker}?{}\r\n\r\n", "x".repeat(2000));
        sent.extend_from_slice(end.as_bytes());
        let mut client = RawConnection::connect(gauge.proxy);
        client.try_send(&sent);
        client.read_to_end();
    }
    let scrape = wait_for("the end of every request", || {
        let scrape = gauge.scrape();
        (scrape.sum("streamgauge_in_flight_requests", &[]) == 0.0).then_some(scrape)
    });
    scrape.assert_balanced();
    let ended = |outcome: &str| {
        scrape.sum("streamgauge_requests_total", &[&format!("outcome=\"{outcome}\"")]) as usize
    };
    let rejected =
        |labels: &[&str]| scrape.sum("streamgauge_rejected_requests_total", labels) as usize;
    assert_eq!(ended("ok"), seen.load(SeqCst), "requests that the server saw");
    assert_eq!(ended("client_error"), rejected(&[]), "rejected requests");
    assert_eq!(scrape.ended() as usize, ended("ok") + ended("client_error"));
    assert_eq!(rejected(&["reason=\"parser\""]), 0, "hyper accepts what the checks accept");
    println!("{} requests at the server, {} rejected", ended("ok"), rejected(&[]));
    assert!(ended("ok") > CASES / 2 && rejected(&[]) > CASES / 2, "both kinds occur");
    let reasons = [
        "chunk",
        "content_length",
        "conflicting_length",
        "transfer_encoding",
        "unknown_coding",
        "host",
        "header_name",
        "line_folding",
        "control_character",
        "request_line",
    ];
    for reason in reasons {
        assert!(rejected(&[&format!("reason=\"{reason}\"")]) > 0, "{reason}");
    }
}
