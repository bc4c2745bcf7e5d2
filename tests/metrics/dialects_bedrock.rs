//! Amazon Bedrock through the proxy: signed requests arrive unchanged, and responses are measured.

use crate::support::connection::chunk;
use crate::support::exchange::exchange;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// An event stream message with these headers ("Event stream encoding" in Amazon Transcribe's guide).
fn message(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let header = |(name, value): &(&str, &str)| {
        let length = (value.len() as u16).to_be_bytes();
        [&[name.len() as u8], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
    };
    let headers: Vec<u8> = headers.iter().flat_map(header).collect();
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

fn event(kind: &str, payload: &str) -> Vec<u8> {
    message(&[(":event-type", kind), (":message-type", "event")], payload)
}

fn exception(kind: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":message-type", "exception")];
    message(&headers, r#"{"message":"slow down"}"#)
}

fn base64(text: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut letters: String = text
        .as_bytes()
        .chunks(3)
        .flat_map(|three| {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - three.len()));
            (0..=three.len()).map(move |at| alphabet[(bits >> (18 - 6 * at)) as usize & 63])
        })
        .map(char::from)
        .collect();
    letters.extend(std::iter::repeat_n('=', (4 - letters.len() % 4) % 4));
    letters
}

fn wrapped(inside: &str) -> Vec<u8> {
    event("chunk", &format!(r#"{{"bytes":"{}","p":"abcd"}}"#, base64(inside)))
}

/// The log line of a request whose response has this body, sent in chunks of odd sizes.
fn logged(path: &str, content_type: &str, body: &[u8]) -> Value {
    let body = body.to_vec();
    let sent = body.clone();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(&head);
        sent.chunks(37).for_each(|part| connection.send(chunk(part)));
        connection.send(chat::LAST_CHUNK);
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post(path, "", br#"{"messages":[]}"#));
    assert_eq!(client.read_message().data(), body, "the client receives the sent bytes");
    gauge.requests_when(1).remove(0)
}

#[test]
fn streams_and_documents_are_measured() {
    let converse = [
        event("messageStart", r#"{"p":"ab","role":"assistant"}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"a"}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"!"},"p":"ab"}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":0,"p":"abc"}"#),
        event("messageStop", r#"{"p":"ab","stopReason":"end_turn"}"#),
        event(
            "metadata",
            r#"{"metrics":{"latencyMs":422},"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#,
        ),
    ];
    let (start, _) = converse.split_at(2);
    let mut wrong = converse[2].clone();
    wrong[60] ^= 1;
    let invoke = [
        wrapped(r#"{"outputs":[{"text":" Paris","stop_reason":null}]}"#),
        wrapped(
            r#"{"outputs":[{"text":"","stop_reason":"stop"}],"amazon-bedrock-invocationMetrics":
                {"inputTokenCount":8,"outputTokenCount":3,"invocationLatency":90,"firstByteLatency":50}}"#,
        ),
    ];
    let agent = [
        event(
            "trace",
            r#"{"agentId":"A","trace":{"orchestrationTrace":{"rationale":{"text":"r"}}}}"#,
        ),
        wrapped("Bonjour, été."),
    ];
    let whole = br#"{"output":{"message":{"content":[{"text":"Hello"}],"role":"assistant"}},
        "metrics":{"latencyMs":5},"stopReason":"end_turn",
        "usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#;
    let cases = [
        (
            "/model/us.amazon.nova-micro-v1%3A0/converse-stream",
            EVENT_STREAM,
            converse.concat(),
            json!({"outcome": "ok", "operation": "chat", "dialect": "bedrock-converse",
                "model": "us.amazon.nova-micro-v1:0", "engine": "aws.bedrock", "stream": true, "events": 6,
                "output_events": 2, "first_output_event": 1, "answer_chars": 3, "input_tokens": 7,
                "output_tokens": 2, "output_tokens_source": "usage", "engine_total_s": 0.422,
                "finish_reasons": ["end_turn"], "unparsed": 0}),
        ),
        // A truncated stream without a known content type.
        (
            "/model/m/converse-stream",
            "application/octet-stream",
            start.concat(),
            json!({"outcome": "truncated", "events": 2, "output_events": 1}),
        ),
        // A message with a wrong checksum is skipped; an exception ends the stream.
        (
            "/model/m/converse-stream",
            EVENT_STREAM,
            [start.concat(), wrong, exception("throttlingException")].concat(),
            json!({"outcome": "stream_error", "events": 3, "answer_chars": 2, "unparsed": 1}),
        ),
        (
            "/model/m/converse",
            "application/json",
            whole.to_vec(),
            json!({"outcome": "ok", "stream": false, "answer_chars": 5, "input_tokens": 7, "output_tokens": 2,
                "finish_reasons": ["end_turn"]}),
        ),
        (
            "/model/mistral.mistral-7b-instruct-v0%3A2/invoke-with-response-stream",
            EVENT_STREAM,
            invoke.concat(),
            json!({"outcome": "ok", "operation": "infer", "dialect": "bedrock-invoke", "stream": true,
                "model": "mistral.mistral-7b-instruct-v0:2", "events": 2, "output_events": 1, "answer_chars": 6,
                "input_tokens": 8, "output_tokens": 3, "output_tokens_source": "engine",
                "engine_ttft_s": 0.05, "finish_reasons": ["stop"]}),
        ),
        (
            "/model/m/invoke-with-response-stream",
            EVENT_STREAM,
            [invoke[0].clone(), exception("modelStreamErrorException")].concat(),
            json!({"outcome": "stream_error", "events": 2, "output_events": 1, "unparsed": 0}),
        ),
        (
            "/model/m/invoke-with-response-stream",
            EVENT_STREAM,
            [event("chunk", r#"{"bytes":"!"}"#), invoke.concat()].concat(),
            json!({"outcome": "ok", "events": 2, "unparsed": 1}),
        ),
        (
            "/model/m/invoke",
            "application/json",
            br#"{"generation":"Hi","prompt_token_count":3,"generation_token_count":2,"stop_reason":"stop"}"#.to_vec(),
            json!({"outcome": "ok", "stream": false, "answer_chars": 2, "input_tokens": 3, "output_tokens": 2}),
        ),
        (
            "/agents/A/agentAliases/B/sessions/c-1/text",
            EVENT_STREAM,
            agent.concat(),
            json!({"outcome": "ok", "operation": "chat", "dialect": "bedrock-agent", "events": 2,
                "output_events": 1, "first_output_event": 1, "answer_chars": 13, "output_tokens": 1,
                "path": "/agents/*/agentAliases/*/sessions/*/text"}),
        ),
    ];
    for (path, content_type, body, expected) in cases {
        let record = logged(path, content_type, &body);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(record[key], *value, "{key} of {path}: {record}");
        }
    }
}

/// AWS Signature Version 4 signs `Host`, the path as it was sent, and every `X-Amz-*` header.
#[test]
fn signed_parts_of_a_request_arrive_unchanged() {
    let request = "POST /model/us.amazon.nova-micro-v1%3A0/converse-stream?a=%2F&B=1 HTTP/1.1\r\n\
        Host: bedrock-runtime.us-east-1.amazonaws.com\r\n\
        X-Amz-Date: 20260801T120000Z\r\n\
        X-Amz-Security-Token: IQoJb3JpZ2luX2VjEA//+=\r\n\
        x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
        amz-sdk-invocation-id: 9a1c\r\n\
        Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260801/us-east-1/bedrock/aws4_request,  \
SignedHeaders=host;x-amz-date, Signature=00ff\r\n\
        Content-Type: application/json\r\n\
        Content-Length: 2\r\n\r\n{}";
    let found = exchange(request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").request;
    let lines = |text: &str| -> Vec<String> { text.split("\r\n").map(str::to_owned).collect() };
    // Header names are case-insensitive.
    let lower = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        format!("{}: {value}", name.to_lowercase())
    };
    let (sent, got) = (lines(request), lines(&found));
    assert_eq!(got[0], sent[0], "the request line");
    let headers = |lines: &[String]| -> Vec<String> {
        let mut headers: Vec<String> = lines[1..].iter().map(|line| lower(line)).collect();
        headers.sort();
        headers
    };
    assert_eq!(headers(&got), headers(&sent));
}
