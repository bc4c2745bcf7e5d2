//! Messages that break the rules of HTTP: some are refused, some corrected, and none is smuggled through.

use crate::support::chat;
use crate::support::exchange::exchange;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn correctable_requests_are_corrected() {
    let found = exchange("GET / HTTP/1.1\nHost: h\nA: b\n\n", OK);
    assert_eq!(found.request, "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
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
    ];
    for (answer, expected) in cases {
        assert_eq!(exchange(GET, &answer).answer, expected);
    }
}

#[test]
fn responses_with_two_lengths_are_counted() {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for (response, expected) in [
        (format!("HTTP/1.1 200 OK\r\n{chunked}"), 0.0),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{chunked}"), 1.0),
    ] {
        let upstream = ScriptedUpstream::responding_with(response);
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(GET);
        assert_eq!(client.read_message().data(), b"ok");
        let counted = gauge.scrape().sum("streamgauge_conflicting_responses_total", &[]);
        assert_eq!(counted, expected);
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
