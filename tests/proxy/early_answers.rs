//! Responses that arrive before the request is completely sent: they reach the client whole.

use crate::support::connection::chunk;
use crate::support::http2::{H2Client, post};
use crate::support::tls::TestCertificate;
use crate::support::upstream::unused_address;
use crate::support::{ConnectionEnd, RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::Value;
use std::net::Shutdown;
use streamgauge::testing::FaultInjection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// More than all buffers between a client and a server take.
const UPLOAD: usize = 12 << 20;

/// Behavior of a server after its early response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterAnswer {
    ReadsOn,
    /// Bytes are unread, so the kernel sends a reset.
    Closes,
    ClosesItsDirection,
    /// It neither reads nor closes.
    Stalls,
}

const ALL: [AfterAnswer; 4] = [
    AfterAnswer::ReadsOn,
    AfterAnswer::Closes,
    AfterAnswer::ClosesItsDirection,
    AfterAnswer::Stalls,
];

fn refusal() -> Vec<u8> {
    br#"{"error":{"message":"too large"}}"#.repeat(60)
}

/// A server that refuses each request after `read` bytes of its body.
fn refusing_server(after: AfterAnswer, read: usize) -> ScriptedUpstream {
    ScriptedUpstream::with_script(move |_, connection| {
        if connection.read_head().is_none() || connection.read_exactly(read).is_none() {
            return;
        }
        connection.send(chat::response("413 Content Too Large", "application/json", &refusal()));
        match after {
            AfterAnswer::ReadsOn => {
                connection.wait_for_close();
            }
            AfterAnswer::Closes => {}
            AfterAnswer::ClosesItsDirection => {
                let _ = connection.socket.shutdown(Shutdown::Write);
                connection.wait_for_close();
            }
            AfterAnswer::Stalls => std::thread::sleep(std::time::Duration::from_millis(300)),
        }
    })
}

/// Sends all of a large request, and reads the response only then, as Python's `http.client` does.
fn upload(client: &mut RawConnection, is_chunked: bool) {
    let framing = match is_chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {UPLOAD}"),
    };
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n");
    assert!(client.try_send(head));
    let piece = vec![b'x'; 1 << 16];
    let piece = if is_chunked { chunk(piece) } else { piece };
    for sent in 0..UPLOAD >> 16 {
        assert!(client.try_send(&piece), "sending failed after {sent} pieces");
    }
    if is_chunked {
        assert!(client.try_send(chat::LAST_CHUNK));
    }
}

/// Fails unless the client receives the whole refusal, and then an orderly end if it is announced. Returns whether it is:
/// large buffers of the sockets can take the whole upload before the answer comes.
fn assert_refused(client: &mut RawConnection) -> bool {
    let answer = client.read_message();
    assert_eq!((answer.status(), answer.data()), (413, refusal()));
    let closes = answer.header("connection") == ["close"];
    if closes {
        assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    }
    closes
}

#[test]
fn an_early_answer_arrives_whole_whatever_the_server_does_next() {
    const ROUNDS: usize = 3;
    for after in ALL {
        for read in [0, 1 << 20] {
            let upstream = refusing_server(after, read);
            let gauge = Streamgauge::new(upstream.address);
            for is_chunked in [false, true].repeat(ROUNDS) {
                println!("{after:?} after {read} bytes, chunked: {is_chunked}");
                let mut client = RawConnection::connect(gauge.proxy);
                upload(&mut client, is_chunked);
                assert_refused(&mut client);
            }
            for record in gauge.requests_when(2 * ROUNDS) {
                let end = (&record["outcome"], &record["status"]);
                assert_eq!(end, (&"client_error".into(), &413.into()));
            }
            gauge.scrape().assert_balanced();
            assert_eq!(upstream.connections(), 2 * ROUNDS, "none was used again");
        }
    }
}

/// The client announces nothing about the size, and reads while it sends.
#[test]
fn a_client_that_reads_while_it_sends_gets_the_answer_at_once() {
    let upstream = refusing_server(AfterAnswer::ReadsOn, 0);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx");
    assert!(assert_refused(&mut client));
    gauge.assert_single_request("client_error");
}

/// A request that is complete when the response arrives leaves the connection open.
#[test]
fn a_refusal_after_the_whole_request_keeps_the_connection() {
    let body = refusal();
    let response = chat::response("413 Content Too Large", "application/json", &body);
    let upstream = ScriptedUpstream::responding_with(response);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..3 {
        upload(&mut client, false);
        let answer = client.read_message();
        assert_eq!((answer.status(), answer.header("connection").len()), (413, 0));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_error_of_the_proxy_arrives_whole_too() {
    let gauge = Streamgauge::new(unused_address());
    for is_chunked in [false, true] {
        let mut client = RawConnection::connect(gauge.proxy);
        upload(&mut client, is_chunked);
        let answer = client.read_message();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("x-streamgauge-error"), ["upstream_unreachable"]);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["type"], "streamgauge_error");
        assert_eq!(answer.header("connection"), ["close"]);
        assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    }
}

/// A complete stream ends orderly, although a request behind it is never read.
#[test]
fn a_stream_ends_orderly_with_unread_bytes_behind_its_request() {
    let upstream =
        ScriptedUpstream::responding_with(chat::stream_response(&[chat::DONE.to_owned()]));
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let request = chat::post("/v1/chat/completions", "Connection: close\r\n", b"{}");
    client.send([request, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(10_000)].concat());
    assert_eq!(client.read_message().status(), 200);
    assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_arrives_whole_through_tls() {
    let certificate = TestCertificate::of("early", &["localhost"]);
    for after in ALL {
        let upstream = refusing_server(after, 0);
        let keys = certificate.keys();
        let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
        let mut client = certificate.connect(gauge.proxy, &["http/1.1"]).await.unwrap();
        let head =
            format!("POST /v1/files HTTP/1.1\r\nHost: h\r\nContent-Length: {UPLOAD}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; UPLOAD]).await.unwrap();
        client.flush().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 413 ") && answer.ends_with(&refusal()), "{after:?}");
        gauge.assert_single_request("client_error");
    }
}

/// Over HTTP/2 the end of one request concerns no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_arrives_whole_over_http2() {
    for after in ALL {
        let upstream = refusing_server(after, 0);
        let gauge = Streamgauge::new(upstream.address);
        let mut client = H2Client::connect(gauge.proxy).await;
        for _ in 0..3 {
            let request = post("http://h/v1/files", "application/json");
            let answer = client.exchange(request, vec![b'x'; UPLOAD]).await;
            assert_eq!((answer.head.status.as_u16(), answer.body), (413, refusal()), "{after:?}");
            assert_eq!(answer.head.headers.get("connection"), None);
        }
        assert_eq!(gauge.requests_when(3).len(), 3);
    }
}
