//! Compressed request bodies: they pass unchanged, and their model and `stream` flag are known.

use crate::support::connection::chunk;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat, wait_for};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

const BODY: &[u8] =
    br#"{"model":"gpt-5.6","input":[{"role":"user","content":"Hello"}],"stream":true}"#;
const COMPLETED: &str = r#"data: {"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":2}}}

"#;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(body).unwrap();
    writer.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    writer.write_all(body).unwrap();
    writer.into_inner()
}

#[test]
fn the_model_of_a_compressed_request_is_known() {
    let response = chat::stream_response(&[COMPLETED.to_owned()]);
    let upstream = ScriptedUpstream::responding_with(response);
    let gauge = Streamgauge::new(upstream.address);
    let half = &gzip(BODY)[..40];
    let cases: [(&str, Vec<u8>, Option<&str>); 6] = [
        ("gzip", gzip(BODY), Some("gpt-5.6")),
        ("br", brotli(BODY), Some("gpt-5.6")),
        ("identity", BODY.to_vec(), Some("gpt-5.6")),
        ("gzip", BODY.to_vec(), None),
        ("gzip", half.to_vec(), None),
        // A reader that ignores the coding would find the model.
        ("aes128gcm", BODY.to_vec(), None),
    ];
    let mut sent = Vec::new();
    for (number, (coding, body, model)) in cases.iter().enumerate() {
        let mut client = RawConnection::connect(gauge.proxy);
        let encoding = format!("Content-Encoding: {coding}\r\n");
        client.send(chat::post("/v1/responses", &encoding, body));
        assert_eq!(client.read_message().data(), COMPLETED.as_bytes());
        let record = gauge.requests_when(number + 1).pop().unwrap();
        assert_eq!(record["model"].as_str(), *model, "{coding}: {record}");
        assert_eq!(record["output_tokens"], 2, "{record}");
        sent.push(body.clone());
    }
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum("streamgauge_unparsed_total", &["reason=\"request_encoding\""]), 3.0);
    drop(gauge);
    let received = wait_for("the connection to close", || {
        let all = upstream.received();
        (!all.is_empty()).then(|| all.concat())
    });
    for body in sent {
        assert!(received.windows(body.len()).any(|part| part == body), "a body was changed");
    }
}

#[test]
fn a_compressed_request_that_is_refused_is_known_too() {
    let gauge = Streamgauge::new(crate::support::upstream::unused_address());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post("/v1/responses", "Content-Encoding: gzip\r\n", &gzip(BODY)));
    assert_eq!(client.read_message().status(), 503);
    let record = gauge.requests_when(1).remove(0);
    assert_eq!((&record["model"], &record["stream"]), (&"gpt-5.6".into(), &true.into()));
    // In chunks, each compressed and flushed separately.
    let upstream = ScriptedUpstream::responding_with(chat::response("200 OK", "text/plain", b""));
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let head = "POST /v1/responses HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let body: Vec<u8> = gzip(BODY).chunks(9).flat_map(chunk).collect();
    client.send([head.as_bytes(), &body, chat::LAST_CHUNK.as_bytes()].concat());
    assert_eq!(client.read_message().status(), 200);
    assert_eq!(gauge.requests_when(1)[0]["model"], "gpt-5.6");
}

/// Nothing listens at the upstream, so the request is refused. Only its body says whether it requests a stream.
#[test]
fn a_refused_request_whose_body_was_not_read_has_no_stream_flag() {
    let partial = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n{body}").into_bytes()
    };
    let whole = |path: &str, body: &str| chat::post(path, "", body.as_bytes());
    let (chat, ollama) = ("/v1/chat/completions", "/api/chat");
    let gemini = "/v1beta/models/m:streamGenerateContent";
    let held = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
        Content-Length: 50\r\n\r\n";
    let cases: [(Vec<u8>, Option<bool>); 10] = [
        (partial(chat, r#"{"model":"m","messages":["#), None),
        (partial(ollama, r#"{"model":"m","messages":["#), None),
        (held.to_vec(), None),
        (whole("/v1/unknown", "{}"), Some(false)),
        (partial(chat, r#"{"model":"m","stream":true,"messages":["#), Some(true)),
        (partial(gemini, "{"), Some(true)),
        (whole(chat, r#"{"model":"m"}"#), Some(false)),
        (whole(ollama, r#"{"model":"m"}"#), Some(true)),
        (whole(chat, ""), Some(false)),
        (b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), Some(false)),
    ];
    for (request, expected) in cases {
        let gauge = Streamgauge::new(crate::support::upstream::unused_address());
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(&request);
        assert_eq!(client.read_response_to_head().status(), 503);
        drop(client);
        let record = gauge.requests_when(1).remove(0);
        let text = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(record["stream"].as_bool(), expected, "{text}: {record}");
        let label = expected.map_or("unknown".to_owned(), |stream| stream.to_string());
        let labels = format!("stream=\"{label}\"");
        assert_eq!(gauge.scrape().sum("streamgauge_requests_total", &[&labels]), 1.0, "{text}");
    }
}
