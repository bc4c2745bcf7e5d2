//! Limits on the server: time to the response headers, silence, total time, and interim responses.

use crate::support::connection::{ConnectionEnd, chunk};
use crate::support::http2::{H2Client, post};
use crate::support::upstream::EventReceiver;
use crate::support::{RawConnection, RawMessage, ScriptedUpstream, Streamgauge, chat};
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const LIMIT: Duration = Duration::from_millis(400);

fn gauge_with(upstream: &ScriptedUpstream, keys: &[(&'static str, &str)]) -> Streamgauge {
    Streamgauge::with(upstream.address, keys, FaultInjection::default())
}

/// Fails unless the only request has exceeded this limit.
fn assert_timed_out(gauge: &Streamgauge, limit: &str) {
    gauge.assert_single_request("timeout");
    let scrape = gauge.scrape();
    let label = format!("limit=\"{limit}\"");
    assert_eq!(scrape.sum("streamgauge_limit_exceeded_total", &[&label]), 1.0, "{limit}");
    assert_eq!(scrape.sum("streamgauge_limit_exceeded_total", &[]), 1.0);
    scrape.assert_balanced();
    assert_eq!(scrape.sum("streamgauge_in_flight_requests", &[]), 0.0);
}

/// A server that sends these bytes, and then nothing until the proxy closes the connection.
fn silent_after(bytes: impl Into<Vec<u8>>) -> (ScriptedUpstream, EventReceiver) {
    let (tell, closed) = EventReceiver::channel();
    let bytes = bytes.into();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(&bytes);
        tell(connection.wait_for_close());
    });
    (upstream, closed)
}

fn start_of_stream() -> Vec<u8> {
    [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat()
}

#[test]
fn a_server_without_response_headers_gets_504() {
    for (key, limit) in [
        ("response_header_timeout_seconds", "response_header_time"),
        ("request_timeout_seconds", "request_time"),
    ] {
        let (upstream, closed) = silent_after("");
        let gauge = gauge_with(&upstream, &[(key, "0.4")]);
        let mut client = RawConnection::connect(gauge.proxy);
        let start = Instant::now();
        client.send(chat::request());
        let answer = client.read_message();
        assert!(start.elapsed() >= LIMIT - Duration::from_millis(50), "{:?}", start.elapsed());
        assert_eq!(answer.status(), 504);
        assert_eq!(answer.header("x-streamgauge-error"), ["upstream_response_timeout"]);
        closed.wait();
        assert_timed_out(&gauge, limit);
    }
}

/// A stream, which the relay carries, and a body with a declared length, which hyper carries.
#[test]
fn a_response_that_falls_silent_breaks_off() {
    let declared = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nHi".to_vec();
    for (key, limit) in [
        ("response_silence_timeout_seconds", "response_silence"),
        ("request_timeout_seconds", "request_time"),
    ] {
        for sent in [start_of_stream(), declared.clone()] {
            let (upstream, closed) = silent_after(sent.clone());
            let gauge = gauge_with(&upstream, &[(key, "0.4")]);
            let mut client = RawConnection::connect(gauge.proxy);
            let start = Instant::now();
            client.send(chat::request());
            let (received, _) = client.read_to_end();
            assert!(start.elapsed() >= LIMIT - Duration::from_millis(50), "{:?}", start.elapsed());
            assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(&sent));
            closed.wait();
            assert_timed_out(&gauge, limit);
        }
    }
}

/// HTTP/1.0 has no framing that shows the break, so the client gets a reset.
#[test]
fn a_silent_response_to_http_1_0_ends_with_a_reset() {
    let (upstream, _closed) = silent_after(start_of_stream());
    let gauge = gauge_with(&upstream, &[("response_silence_timeout_seconds", "0.4")]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("GET /v1/models HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(client.read_to_end().1, ConnectionEnd::Reset);
    assert_timed_out(&gauge, "response_silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_response_to_http2_ends_with_a_reset_of_its_stream() {
    let (upstream, closed) = silent_after(start_of_stream());
    let gauge = gauge_with(&upstream, &[("response_silence_timeout_seconds", "0.4")]);
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.send(post("http://h/v1/chat/completions", "text/plain"), "x").await;
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    let error = loop {
        match body.data().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the stream ended without an error"),
        }
    };
    assert!(error.is_reset(), "{error}");
    closed.wait();
    assert_timed_out(&gauge, "response_silence");
}

/// Neither a slow server nor a client that stops reading exceeds the limit on silence.
#[test]
fn a_slow_response_is_not_silent() {
    const SIZE: usize = 8 << 20;
    let upstream = ScriptedUpstream::with_script(|number, connection| {
        connection.read_message();
        if number == 0 {
            connection.send(chat::STREAM_HEAD);
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(300));
                connection.send(chunk(chat::content_event("Hi")));
            }
        } else {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            connection.send(if number == 1 { chat::STREAM_HEAD.into() } else { head });
            let data = vec![b'x'; SIZE];
            connection.send(if number == 1 { chunk(&data) } else { data });
            // The client may take the last bytes late.
        }
        if number < 2 {
            connection.send(chat::LAST_CHUNK);
        }
    });
    let gauge = gauge_with(&upstream, &[("response_silence_timeout_seconds", "1.5")]);
    for number in 0..3 {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send("GET /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        if number > 0 {
            std::thread::sleep(Duration::from_secs(3));
        }
        assert_eq!(client.read_message().status(), 200, "{number}");
    }
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum("streamgauge_limit_exceeded_total", &[]), 0.0);
    scrape.assert_balanced();
}

/// A server that sends interim responses without end.
#[test]
fn an_endless_row_of_interim_responses_gets_502() {
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        while connection.try_send(CONTINUE.repeat(10)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let gauge = gauge_with(&upstream, &[]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let answer = final_response(&mut client);
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.header("x-streamgauge-error"), ["upstream_invalid"]);
    gauge.assert_single_request("truncated");
    let label = ["limit=\"interim_responses\""];
    assert_eq!(gauge.scrape().sum("streamgauge_limit_exceeded_total", &label), 1.0);

    // Up to the maximum they pass.
    let answer = format!("{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", CONTINUE.repeat(100));
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = gauge_with(&upstream, &[]);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..3 {
        client.send(chat::request());
        assert_eq!(final_response(&mut client).status(), 200);
    }
}

/// The next response that is not an interim one.
fn final_response(client: &mut RawConnection) -> RawMessage {
    loop {
        let answer = client.read_message();
        if answer.status() >= 200 {
            return answer;
        }
    }
}
