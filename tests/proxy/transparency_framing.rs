//! Messages that break the rules of HTTP: some are refused, some corrected, and none is smuggled through.

use crate::support::chat;
use crate::support::exchange::exchange;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";

/// Sends a request that must not reach the upstream, and returns the response.
fn refused(request: &str) -> crate::support::RawMessage {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(request);
    let answer = client.read_message();
    drop((client, gauge));
    let reached: Vec<u8> = upstream.received().concat();
    let reached = String::from_utf8_lossy(&reached).into_owned();
    assert!(
        !reached.contains("\r\n0\r\n") && !reached.ends_with("\r\n\r\n"),
        "{request:?}: {reached:?}"
    );
    answer
}

#[test]
fn refusals_carry_the_proxys_error_header() {
    let cases = [
        (400, "bad_request", "GET / HTTP/1.1\r\n\r\n"),
        (400, "bad_request", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "bad_request", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "bad_request", "GET / HTTP/1.1\r\nHost: user:secret@a\r\n\r\n"),
        (405, "method_not_allowed", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (
            501,
            "not_implemented",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        (
            400,
            "bad_request",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        (
            400,
            "bad_request",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n",
        ),
        (
            400,
            "bad_request",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n",
        ),
        (
            400,
            "bad_request",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi\r\n0\r\n\r\n",
        ),
    ];
    for (status, kind, request) in cases {
        let answer = refused(request);
        assert_eq!(
            (answer.status(), answer.header("x-streamgauge-error")),
            (status, vec![kind.into()]),
            "{request:?}"
        );
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], kind);
        assert_eq!(body["error"]["type"], "streamgauge_error");
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
}

/// hyper responds to these before the proxy sees them, so no metric counts them.
#[test]
fn invalid_request_headers_are_refused() {
    let many: String = (0..300).map(|i| format!("X-{i}: v\r\n")).collect();
    let large = "x".repeat(700_000);
    let cases = [
        (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\nhi".to_owned()),
        (
            400,
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"
                .into(),
        ),
        (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\nhi".into()),
        (400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n".into()),
        (400, "\x16\x03\x01\x02\x00\x01\x00\x01\x03\x03\r\n\r\n".into()),
        (431, format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: h\r\nBig: {large}\r\n\r\n")),
    ];
    for (status, request) in cases {
        let answer = refused(&request);
        let shown = request.get(..60).unwrap_or(&request);
        assert_eq!(answer.status(), status, "{shown:?}");
    }
}

#[test]
fn correctable_requests_are_corrected() {
    let found = exchange("GET / HTTP/1.1\nHost: h\nA: b\n\n", OK);
    assert_eq!(found.request, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
    // Chunked coding overrides the length (RFC 9112, 6.3), and hyper closes the connection after it.
    let found = exchange(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK,
    );
    assert_eq!(
        found.request,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    );
    assert!(found.answer.contains("\r\nconnection: close\r\n"), "{}", found.answer);
    // The host in the target counts, without its user and password.
    let found = exchange("GET http://user:secret@b/ HTTP/1.1\r\nHost: a\r\n\r\n", OK);
    assert_eq!(found.request, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
}

#[test]
fn correctable_responses_are_corrected() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let cases = [
        // Chunked coding overrides a length, in any order and with any value.
        (
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 20\r\n\r\n{chunks}"
            ),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
        ),
        (
            "HTTP/1.1 200 OK\r\nA: a\r\n b\r\nContent-Length: 2\r\n\r\nok".into(),
            "HTTP/1.1 200 OK\r\nA: a b\r\nContent-Length: 2\r\n\r\nok".into(),
        ),
        (
            "HTTP/1.1 200 OK\r\nA : a\r\nContent-Length: 2\r\n\r\nok".into(),
            "HTTP/1.1 200 OK\r\nA: a\r\nContent-Length: 2\r\n\r\nok".into(),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok".into(), OK.into()),
        // hyper does not forward provisional responses.
        (format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}"), OK.into()),
    ];
    for (answer, expected) in cases {
        assert_eq!(exchange(GET, &answer).answer, expected);
    }
}

#[test]
fn invalid_responses_become_502() {
    let many: String = (0..300).map(|i| format!("X-{i}: v\r\n")).collect();
    for answer in [
        "SSH-2.0-OpenSSH_9\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok".into(),
        format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok"),
    ] {
        let upstream = ScriptedUpstream::responding_with(answer.clone());
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(GET);
        let got = client.read_message();
        let kind = vec!["upstream_invalid".to_owned()];
        assert_eq!((got.status(), got.header("x-streamgauge-error")), (502, kind), "{answer:.60}");
        // The client's connection stays usable.
        client.send(GET);
        assert_eq!(client.read_message().status(), 502);
    }
}

#[test]
fn a_response_without_a_request_is_never_delivered() {
    let surplus = format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    let upstream = ScriptedUpstream::responding_with(surplus);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..3 {
        client.send(chat::request());
        assert_eq!(client.read_message().text(), OK);
    }
    assert_eq!(upstream.connections(), 3, "each connection with surplus bytes was given up");
}
