//! Unusual and broken responses reach the client unchanged, and what cannot be measured is counted.

use crate::support::connection::chunk;
use crate::support::text_format::parse;
use crate::support::{
    MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, chat, scrape, wait_for,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::io::Write;
use streamgauge::testing::FaultInjection;
use streamgauge_sim::rng::SplitMix64;

/// Sends `answer` through a proxy. Fails unless its body arrives unchanged, and only `reason` is counted as
/// unparsed. Returns a scrape and the log line.
fn passes(answer: &[u8], reason: Option<&str>, faults: FaultInjection) -> (MetricsScrape, Value) {
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::with(upstream.address, &[], faults);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let got = client.read_message();
    let (head, _) = answer.split_at(answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4);
    assert_eq!(got.head, head);
    let sent =
        crate::support::RawMessage { head: head.to_vec(), body: answer[head.len()..].to_vec() };
    assert!(got.data() == sent.data(), "the body was changed");
    let record = gauge.requests_when(1).remove(0);
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    let all = scrape.sum("streamgauge_unparsed_total", &[]);
    let label = reason.map(|reason| format!("reason=\"{reason}\""));
    match label {
        Some(label) => {
            let of_it = scrape.sum("streamgauge_unparsed_total", &[&label]);
            assert!(of_it >= 1.0 && of_it == all, "{label}: {of_it} of {all}");
            assert_eq!(record["unparsed"], json!(all as u64));
        }
        None => assert_eq!(all, 0.0),
    }
    parse(&scrape::get(gauge.admin, "/metrics"));
    // The next request is served too.
    client.send(chat::request());
    assert!(client.read_message().data() == sent.data());
    (scrape, record)
}

fn stream_of(body: &[u8]) -> Vec<u8> {
    let chunks: Vec<u8> = body.chunks(10_000).flat_map(chunk).collect();
    [chat::STREAM_HEAD.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat()
}

#[test]
fn a_panic_in_the_meter_costs_one_measurement() {
    let words = ["one", "boom", "three"].map(chat::content_event);
    let answer = chat::stream_response(&[&words[..], &[chat::DONE.into()]].concat());
    let faults = FaultInjection { panic_on: Some(b"boom".to_vec()) };
    let (scrape, record) = passes(&answer, Some("panic"), faults);
    assert_eq!(scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]), 1.0);
    assert_eq!((&record["outcome"], &record["status"]), (&"ok".into(), &200.into()));
}

/// Sends a request twice on one connection, through a meter that panics on `boom`. Fails unless both get the
/// response and each counts one panic. Returns a scrape and the first log line.
fn survives(request: &[u8], answer: &[u8]) -> (MetricsScrape, Value) {
    let upstream = ScriptedUpstream::responding_with(answer);
    let faults = FaultInjection { panic_on: Some(b"boom".to_vec()) };
    let gauge = Streamgauge::with(upstream.address, &[], faults);
    let mut client = RawConnection::connect(gauge.proxy);
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = answer.split_at(end);
    let sent = crate::support::RawMessage { head: head.to_vec(), body: body.to_vec() };
    for _ in 0..2 {
        client.send(request);
        let got = client.read_message();
        assert_eq!((&got.head, got.data()), (&sent.head, sent.data()));
    }
    let record = gauge.requests_when(2).remove(0);
    assert_eq!((&record["outcome"], &record["status"]), (&"ok".into(), &200.into()));
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    assert_eq!(scrape.sum("streamgauge_unparsed_total", &["reason=\"panic\""]), 2.0);
    assert_eq!(scrape.sum("streamgauge_unparsed_total", &[]), 2.0);
    (scrape, record)
}

#[test]
fn a_panic_at_headers_or_in_the_queue_costs_one_measurement() {
    const TTFT: &str = "gen_ai_server_time_to_first_token_seconds_count";
    let answer = chat::stream_response(&[
        chat::content_event("Hi"),
        chat::finish_event(),
        chat::DONE.into(),
    ]);
    let body = br#"{"model":"m","stream":true,"messages":[]}"#;
    // The path is unknown, and the response shows the operation.
    let (scrape, record) = survives(&chat::post("/boom/v1/chat/completions", "", body), &answer);
    assert_eq!((&record["operation"], &record["path"]), (&"chat".into(), &"other".into()));
    assert_eq!(record["bytes_up"], json!(body.len()));
    assert!(scrape.has(TTFT));
    // The stream is measured; only its queue wait is missing.
    let (scrape, record) = survives(&chat::request_for("boom"), &answer);
    assert_eq!((scrape.sum(TTFT, &[]), &record["model"]), (2.0, &"boom".into()));
    assert_eq!(record["queue_s"], Value::Null);
    // The response is not measured.
    let text = String::from_utf8(answer).unwrap();
    let answer = text.replace("text/event-stream", "text/event-stream; boom=1").into_bytes();
    let (scrape, record) = survives(&chat::request(), &answer);
    assert_eq!((&record["operation"], &record["ttft_s"]), (&"chat".into(), &Value::Null));
    assert!(!scrape.has(TTFT));
}

#[test]
fn a_panic_in_the_stall_check_does_not_stop_it() {
    let upstream = ScriptedUpstream::responding_with("");
    let text = format!(
        "[[proxies]]\nname = 'boom'\nlisten = '127.0.0.1:0'\nupstream = 'http://{}'\n",
        upstream.address
    );
    let faults = FaultInjection { panic_on: Some(b"boom".to_vec()) };
    let gauge = Streamgauge::with_file_and_faults(&text, faults);
    // The next check follows.
    wait_for("the second fault", || {
        let panics = gauge.scrape().sum("streamgauge_unparsed_total", &["reason=\"panic\""]);
        (panics >= 2.0).then_some(())
    });
}

#[test]
fn an_event_of_ten_megabytes_is_measured() {
    let text = "ab\u{e9}\n".repeat(2_500_000);
    let body = [chat::content_event(&text), chat::content_event("!"), chat::DONE.into()].concat();
    let (_, record) = passes(&stream_of(body.as_bytes()), None, FaultInjection::default());
    assert_eq!(
        (&record["answer_chars"], &record["output_tokens"]),
        (&10_000_001.into(), &2.into())
    );
}

#[test]
fn a_document_of_ten_megabytes_is_measured() {
    let body = json!({
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "x".repeat(10_000_000)}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 9},
    });
    let answer = chat::response("200 OK", "application/json", body.to_string().as_bytes());
    let (_, record) = passes(&answer, None, FaultInjection::default());
    assert_eq!(
        (&record["answer_chars"], &record["output_tokens"]),
        (&10_000_000.into(), &9.into())
    );
}

#[test]
fn invalid_utf8_is_counted() {
    let mut body = chat::content_event("ok").into_bytes();
    body.extend(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\xc3(\"}}]}\n\n");
    body.extend(chat::DONE.as_bytes());
    let (_, record) = passes(&stream_of(&body), Some("utf8"), FaultInjection::default());
    assert_eq!((&record["outcome"], &record["output_events"]), (&"ok".into(), &2.into()));
}

#[test]
fn events_that_are_not_json_are_counted() {
    let body = [
        chat::content_event("ok"),
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\n\n".into(),
        "data: <html>\n\n".into(),
        chat::content_event("still measured"),
        chat::DONE.into(),
    ];
    let (_, record) =
        passes(&chat::stream_response(&body), Some("json"), FaultInjection::default());
    assert_eq!((&record["unparsed"], &record["output_events"]), (&2.into(), &2.into()));
    let document = chat::response("200 OK", "application/json", b"{\"choices\": [}");
    passes(&document, Some("json"), FaultInjection::default());
    let empty = chat::response("200 OK", "application/json", b"");
    let (_, record) = passes(&empty, None, FaultInjection::default());
    assert_eq!(record["outcome"], "ok");
}

#[test]
fn deeply_nested_json_is_counted() {
    let deep = format!("data: {}\n\n", "[".repeat(100_000));
    passes(
        &chat::stream_response(&[deep, chat::DONE.into()]),
        Some("depth"),
        FaultInjection::default(),
    );
}

#[test]
fn choices_beyond_the_limit_are_counted() {
    let choice = |i: u32| {
        format!("data: {{\"choices\":[{{\"index\":{i},\"delta\":{{\"content\":\"x\"}}}}]}}\n\n")
    };
    let events: Vec<String> = (0..200).map(choice).chain([chat::DONE.into()]).collect();
    passes(&chat::stream_response(&events), Some("choice"), FaultInjection::default());
}

#[test]
fn garbage_declared_as_a_stream_is_counted() {
    let mut rng = SplitMix64::new(7);
    let garbage: Vec<u8> = (0..125_000).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    let (scrape, record) = passes(&stream_of(&garbage), Some("json"), FaultInjection::default());
    assert_eq!((&record["outcome"], &record["bytes_down"]), (&"ok".into(), &1_000_000.into()));
    assert_eq!(record["slo"], json!({"interactive": null}));
    assert_eq!(scrape.sum("streamgauge_tokens_total", &[]), 0.0);
    let garbage = [b"data: ", garbage.as_slice(), b"\n\n"].concat();
    passes(&stream_of(&garbage), Some("json"), FaultInjection::default());
}

/// A stream with this declared content coding.
fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let kind = format!("text/event-stream\r\nContent-Encoding: {coding}");
    chat::response("200 OK", &kind, body)
}

#[test]
fn known_content_codings_are_decoded_on_a_copy() {
    let plain = format!("{}{}", chat::content_event("Hi"), chat::DONE);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let (scrape, record) = passes(&coded("gzip", &gzip), None, FaultInjection::default());
    assert_eq!((&record["outcome"], &record["answer_chars"]), (&"ok".into(), &2.into()));
    assert_eq!(record["bytes_down"], json!(gzip.len()));
    assert_eq!(scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]), 1.0);
    let (_, record) = passes(&coded("identity", plain.as_bytes()), None, FaultInjection::default());
    assert_eq!(record["answer_chars"], json!(2));
}

#[test]
fn unknown_codings_and_content_types_are_counted() {
    for (coding, body) in
        [("gzip", &b"not packed at all"[..]), ("aes128gcm", b"\0"), ("br", b"\x1f")]
    {
        let (scrape, record) =
            passes(&coded(coding, body), Some("encoding"), FaultInjection::default());
        assert_eq!((&record["outcome"], &record["ttft_s"]), (&"ok".into(), &Value::Null));
        assert_eq!(scrape.sum("gen_ai_server_request_duration_seconds_count", &[]), 1.0);
    }
    // The bytes decide, not the content type.
    for kind in ["text/html", "image/png", "\u{fc}", "text/plain", "application/octet-stream", ""] {
        let answer = chat::response("200 OK", kind, b"<p>");
        passes(&answer, Some("content_type"), FaultInjection::default());
        let events = format!("{}{}", chat::content_event("Hi"), chat::DONE);
        let answer = chat::response("200 OK", kind, events.as_bytes());
        let (_, record) = passes(&answer, None, FaultInjection::default());
        assert_eq!((&record["stream"], &record["answer_chars"]), (&true.into(), &2.into()));
    }
    // A response that is not inference needs no dialect.
    let upstream = ScriptedUpstream::responding_with(chat::response("200 OK", "text/html", b"<p>"));
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_message();
    assert_eq!(gauge.scrape().sum("streamgauge_unparsed_total", &[]), 0.0);
}
