//! Bodies of any size pass unchanged and without delay.

use crate::support::connection::{ChunkedReader, chunk};
use crate::support::pattern::PatternBody;
use crate::support::process::StreamgaugeProcess;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use std::net::SocketAddr;

const MIB: u64 = 1 << 20;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn each_chunk_is_forwarded_before_the_next_arrives() {
    // Each side sends a piece once the other side has the piece before it.
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head().unwrap();
        for word in ["one", "two", "three"] {
            assert_eq!(
                connection.read_until(b"\r\n").unwrap(),
                format!("{:x}\r\n", word.len()).into_bytes()
            );
            assert_eq!(
                connection.read_exactly(word.len() + 2).unwrap(),
                format!("{word}\r\n").into_bytes()
            );
            if word == "one" {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            }
            connection.send(chunk(word.to_uppercase()));
        }
        connection.send("0\r\n\r\n");
        connection.read_until(b"0\r\n\r\n");
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (i, word) in ["one", "two", "three"].into_iter().enumerate() {
        client.send(chunk(word));
        if i == 0 {
            assert_eq!(client.read_head().unwrap().status(), 200);
        }
        let expected = chunk(word.to_uppercase());
        assert_eq!(client.read_exactly(expected.len()).unwrap(), expected);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read_exactly(5).unwrap(), b"0\r\n\r\n");
}

#[test]
fn expect_100_continue_works() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        let head = connection.read_head().unwrap();
        assert_eq!(head.header("expect"), ["100-continue"]);
        // The upstream's own 100 must not be forwarded as a second one.
        connection.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(connection.read_exactly(5).unwrap(), b"hello");
        connection.send(OK);
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.read_head().unwrap().text(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(client.read_message().text(), OK);
}

#[test]
fn a_response_before_the_end_of_the_request_is_delivered() {
    let refusal = chat::response("413 Payload Too Large", "text/plain", b"too large");
    let expected = String::from_utf8(refusal.clone()).unwrap();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head().unwrap();
        connection.send(&refusal);
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\npart");
    let answer = client.read_message();
    // The rest of the request looks like another request, so the connection has to end.
    assert_eq!(answer.text().replace("connection: close\r\n", ""), expected);
    client.read_to_end();
    let record = &gauge.requests_when(1)[0];
    assert_eq!((&record["outcome"], &record["status"]), (&"client_error".into(), &413.into()));
}

#[test]
fn large_headers_pass() {
    // With the other lines, close to both limits: 100 lines, and 64 KiB for a request.
    let lines: String = (0..95).map(|i| format!("X-{i}: {}\r\n", "v".repeat(630))).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
    let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n{lines}\r\n", "p".repeat(3000));
    let found = crate::support::exchange::exchange(&request, &answer);
    assert!(found.request == request && found.answer == answer);
}

/// Sends headers for this framing and a large body.
fn send_large(connection: &mut RawConnection, start: &str, chunked: bool, length: u64) {
    let pattern = PatternBody::default();
    if chunked {
        connection.send(format!("{start}Transfer-Encoding: chunked\r\n\r\n"));
        pattern.write_chunked(&mut connection.socket, length);
    } else {
        connection.send(format!("{start}Content-Length: {length}\r\n\r\n"));
        pattern.write(&mut connection.socket, length);
    }
}

/// Reads a message with a large body and compares each byte.
fn expect_large(connection: &mut RawConnection, chunked: bool, length: u64) {
    let head = connection.read_head().unwrap();
    assert_eq!(head.is_chunked(), chunked, "{}", head.text());
    let pattern = PatternBody::default();
    if chunked {
        let mut chunks = ChunkedReader::new(connection);
        pattern.expect(&mut chunks, length);
        assert_eq!(std::io::copy(&mut chunks, &mut std::io::sink()).unwrap(), 0);
    } else {
        pattern.expect(connection, length);
    }
}

/// A large body to the upstream, and one back.
fn up_and_down(proxy: SocketAddr, client: &mut RawConnection, chunked: bool, length: u64) {
    send_large(client, &format!("POST /v1/files HTTP/1.1\r\nHost: {proxy}\r\n"), chunked, length);
    expect_large(client, chunked, length);
}

fn mirror(chunked: bool, length: u64) -> ScriptedUpstream {
    ScriptedUpstream::with_script(move |_, connection| {
        expect_large(connection, chunked, length);
        send_large(connection, "HTTP/1.1 200 OK\r\n", chunked, length);
        connection.wait_for_close();
    })
}

#[test]
fn large_bodies_pass_in_both_framings() {
    for chunked in [false, true] {
        let upstream = mirror(chunked, 64 * MIB);
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        up_and_down(gauge.proxy, &mut client, chunked, 64 * MIB);
        let record = &gauge.requests_when(1)[0];
        let bytes = serde_json::json!(64 * MIB);
        assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&bytes, &bytes));
        let sum = gauge.scrape().sum("streamgauge_bytes_total", &[]);
        assert_eq!(sum as u64, 128 * MIB);
    }
}

#[test]
fn memory_does_not_grow_with_a_body() {
    if !cfg!(target_os = "linux") {
        crate::support::skip("needs /proc");
        return;
    }
    let upstream = mirror(false, 1024 * MIB);
    let process = StreamgaugeProcess::start(upstream.address, &[]);
    up_and_down(process.proxy, &mut RawConnection::connect(process.proxy), false, 1024 * MIB);
    let peak = process.peak_kib();
    println!("most memory resident: {peak} KiB");
    assert!(peak < 32 * 1024, "{peak} KiB");
}
