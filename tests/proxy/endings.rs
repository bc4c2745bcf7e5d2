//! Every way in which a response can end: it is recorded once, with its outcome.

use crate::support::connection::chunk;
use crate::support::upstream::unused_address;
use crate::support::{
    ConnectionEnd, RawConnection, RawMessage, ScriptedUpstream, Streamgauge, chat,
};
use serde_json::Value;

/// Sends a chat request through the proxy to an upstream with this script. Returns the client's response and
/// the log line.
fn ended(
    outcome: &str,
    script: impl Fn(&mut RawConnection) + Send + Sync + 'static,
) -> (RawMessage, Value) {
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        script(connection);
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let answer = client.read_message();
    (answer, gauge.assert_single_request(outcome))
}

/// An upstream that sends these bytes and keeps the connection.
fn sent(outcome: &str, answer: impl Into<Vec<u8>>) -> (RawMessage, Value) {
    let answer = answer.into();
    ended(outcome, move |connection| {
        connection.send(&answer);
        connection.wait_for_close();
    })
}

fn words() -> Vec<String> {
    vec![
        chat::content_event("Hello"),
        chat::content_event(" world"),
        chat::finish_event(),
        chat::DONE.into(),
    ]
}

#[test]
fn a_response_without_a_body() {
    let (_, record) = sent("ok", "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(record["bytes_down"], 0);
    sent("ok", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    sent("client_error", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    // An announced stream without a byte is not complete.
    let empty = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n";
    sent("truncated", empty);
}

#[test]
fn the_last_chunk_ends_a_stream() {
    let (answer, record) = sent("ok", chat::stream_response(&words()));
    assert_eq!(answer.data(), words().concat().into_bytes());
    assert_eq!(record["output_tokens"], 2);
    assert_eq!(record["finish_reasons"], serde_json::json!(["stop"]));
}

#[test]
fn trailers_end_a_stream() {
    let trailers = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
    let chunks: Vec<u8> = words().iter().flat_map(chunk).collect();
    let (_, record) = sent("ok", [trailers.as_bytes(), &chunks, b"0\r\nx-sum: 1\r\n\r\n"].concat());
    assert_eq!(record["output_tokens"], 2);
}

#[test]
fn the_last_byte_of_a_declared_length_ends_a_body() {
    // With a Content-Length hyper polls for nothing after the last byte.
    let (answer, record) =
        sent("ok", chat::response("200 OK", "text/event-stream", words().concat().as_bytes()));
    assert_eq!(answer.body, words().concat().into_bytes());
    assert_eq!(record["output_tokens"], 2);
    let body = br#"{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],
                   "usage":{"prompt_tokens":3,"completion_tokens":7}}"#;
    let (_, record) = sent("ok", chat::response("200 OK", "application/json", body));
    assert_eq!((&record["output_tokens"], &record["ttft_s"]), (&7.into(), &Value::Null));
}

#[test]
fn the_end_of_the_connection_ends_a_stream() {
    let (answer, record) = ended("ok", |connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        connection.send(words().concat());
    });
    assert_eq!(answer.data(), words().concat().into_bytes());
    assert_eq!(record["output_tokens"], 2);
}

#[test]
fn a_finish_reason_or_done_completes_a_stream() {
    let without_done = words()[..3].to_vec();
    sent("ok", chat::stream_response(&without_done));
    let without_finish = vec![chat::content_event("Hi"), chat::DONE.into()];
    sent("ok", chat::stream_response(&without_finish));
    let without_either = vec![chat::content_event("Hi"), chat::content_event("!")];
    let (_, record) = sent("truncated", chat::stream_response(&without_either));
    assert_eq!(record["output_tokens"], 2);
}

#[test]
fn an_error_event_ends_a_stream() {
    let error = "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n".to_owned();
    let (_, record) =
        sent("stream_error", chat::stream_response(&[chat::content_event("Hi"), error.clone()]));
    assert_eq!((&record["status"], &record["output_tokens"]), (&200.into(), &1.into()));
    sent("stream_error", chat::stream_response(&[error, chat::DONE.into()]));
}

#[test]
fn statuses_decide_the_outcome() {
    for (status, outcome) in [
        ("400 Bad Request", "client_error"),
        ("404 Not Found", "client_error"),
        ("429 Too Many Requests", "rejected"),
        ("503 Service Unavailable", "rejected"),
        ("500 Internal Server Error", "server_error"),
        ("502 Bad Gateway", "server_error"),
        ("307 Temporary Redirect", "ok"),
    ] {
        let body = br#"{"error":{"message":"no"}}"#;
        let (answer, record) = sent(outcome, chat::response(status, "application/json", body));
        assert_eq!(answer.data(), body);
        assert!(answer.header("x-streamgauge-error").is_empty(), "it is the server's own answer");
        assert_eq!(record["status"].to_string(), status[..3]);
    }
}

/// Fails unless this is the proxy's own error response.
fn assert_ours(answer: &RawMessage, status: u16, kind: &str) {
    assert_eq!(
        (answer.status(), answer.header("x-streamgauge-error")),
        (status, vec![kind.into()])
    );
    let body: Value = serde_json::from_slice(&answer.data()).unwrap();
    assert_eq!(
        (&body["error"]["code"], &body["error"]["type"]),
        (&kind.into(), &"streamgauge_error".into())
    );
    assert!(body["error"]["message"].is_string() && body["error"]["param"].is_null());
}

#[test]
fn an_unreachable_upstream() {
    let gauge = Streamgauge::new(unused_address());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let response = client.read_message();
    assert_ours(&response, 503, "upstream_unreachable");
    assert_eq!(response.header("retry-after"), ["5"]);
    let record = gauge.assert_single_request("upstream_unreachable");
    // The model is read from the received part of the body; nothing was sent upstream.
    assert_eq!((&record["model"], &record["bytes_up"]), (&"m".into(), &0.into()));
    assert_eq!(record["head_s"], Value::Null);
    assert_eq!(gauge.scrape().sum("streamgauge_time_to_response_head_seconds_count", &[]), 0.0);
}

#[test]
fn an_upstream_that_closes_without_a_response() {
    let (answer, _) = ended("truncated", |_| ());
    assert_ours(&answer, 502, "upstream_closed");
    let (answer, _) =
        ended("truncated", |connection| connection.send("HTTP/1.1 200 OK\r\nContent-"));
    assert_ours(&answer, 502, "upstream_closed");
    let (answer, _) = ended("truncated", |connection| connection.send("SSH-2.0-OpenSSH_9\r\n\r\n"));
    assert_ours(&answer, 502, "upstream_invalid");
}

/// The bytes that a client received of a body that the upstream broke off after `body`, and how the
/// connection ended.
fn broken(
    head: &str,
    body: &[u8],
    reset: bool,
    request: &[u8],
) -> (Vec<u8>, ConnectionEnd, Streamgauge) {
    let scripted = [head.as_bytes(), body].concat();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(&scripted);
        // The body must arrive before the reset does.
        std::thread::sleep(std::time::Duration::from_millis(30));
        if reset {
            RawConnection::from_socket(connection.socket.try_clone().unwrap()).reset();
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(request);
    client.read_head().unwrap();
    let (got, ending) = client.read_to_end();
    (got, ending, gauge)
}

#[test]
fn a_broken_upstream_connection_reaches_the_client() {
    let events = [chat::content_event("Hello"), chat::content_event(" world")].concat();
    let chunks = chunk(&events);
    for reset in [false, true] {
        let (got, _, gauge) = broken(chat::STREAM_HEAD, &chunks, reset, &chat::request());
        // All bytes before the break, without the last chunk.
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&chunks));
        let record = gauge.assert_single_request("truncated");
        assert_eq!(record["output_tokens"], 2);
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n";
        let (got, _, gauge) = broken(head, events.as_bytes(), reset, &chat::request());
        assert_eq!(got, events.as_bytes());
        gauge.assert_single_request("truncated");
    }
    // A break after the completing event changes nothing.
    let (got, _, gauge) =
        broken(chat::STREAM_HEAD, &chunk(words().concat()), false, &chat::request());
    assert_eq!(got, chunk(words().concat()));
    gauge.assert_single_request("ok");
}

#[test]
fn a_client_without_framing_sees_the_break_as_a_reset() {
    let events = [chat::content_event("Hello"), chat::content_event(" world")].concat();
    let request = String::from_utf8(chat::request()).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    let (_, ending, gauge) = broken(chat::STREAM_HEAD, &chunk(&events), false, request.as_bytes());
    assert_eq!(ending, ConnectionEnd::Reset);
    gauge.assert_single_request("truncated");
    // Without a break, the connection ends in order.
    let whole = [chunk(words().concat()), chat::LAST_CHUNK.into()].concat();
    let (got, ending, gauge) = broken(chat::STREAM_HEAD, &whole, false, request.as_bytes());
    assert_eq!((got, ending), (words().concat().into_bytes(), ConnectionEnd::Closed));
    gauge.assert_single_request("ok");
}
