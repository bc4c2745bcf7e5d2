//! APIs of the configuration: their measurement in the proxy, and their samples in `check-config`.

use crate::support::connection::chunk;
use crate::support::process::{StreamgaugeProcess, command};
use crate::support::{
    MetricsScrape, RawConnection, ScriptedUpstream, TemporaryFile, TemporaryLog, chat, scrape,
    wait_for,
};
use serde_json::{Value, json};
use std::process::Output;

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

const ACME: &str = "[[api]]\nname = 'acme'\npath = '/acme/{model}/answer'\noperation = 'text_completion'\n\
                    text = '/piece/text'\nmodel = '/model'\nfinish_reason = '/why'\ninput_tokens = '/stats/in'\n\
                    output_tokens = '/stats/out'\nend = '/kind=end'\n";

const EVENTS: [&str; 3] = [
    r#"{"kind":"token","model":"acme-1","piece":{"text":"The sky"}}"#,
    r#"{"kind":"token","piece":{"text":" is blue."}}"#,
    r#"{"kind":"end","why":"complete","stats":{"in":12,"out":6}}"#,
];

/// The log line of a request to this path, whose response has these events.
fn measure(configuration: &str, path: &'static str, events: &'static [&'static str]) -> Value {
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(STREAM_HEAD);
        for event in events {
            connection.send(chunk(format!("data: {event}\n\n")));
        }
        connection.send("0\r\n\r\n");
    });
    let (file, log) = (TemporaryFile::new("toml", configuration), TemporaryLog::default());
    let arguments = ["--config", file.path(), "--request-log", log.path()];
    let process = StreamgaugeProcess::start(upstream.address, &arguments);
    let mut client = RawConnection::connect(process.proxy);
    client.send(chat::post(path, "", br#"{"prompt":"x"}"#));
    assert_eq!(client.read_message().status(), 200);
    let record = wait_for("the request", || log.records().pop());
    let metrics = MetricsScrape::parse(&scrape::get(process.admin, "/metrics"));
    let operation = record["operation"].as_str().unwrap();
    let label = format!("gen_ai_operation_name=\"{operation}\"");
    assert_eq!(metrics.sum("streamgauge_requests_total", &[&label]), 1.0, "{record}");
    record
}

fn assert_fields(record: &Value, expected: Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&record[field], value, "{field} of {record}");
    }
}

#[test]
fn a_configured_api_is_measured() {
    let record = measure(ACME, "/v3/acme/blue/answer", &EVENTS);
    assert_fields(
        &record,
        json!({
            "dialect": "acme",
            "path": "/acme/{model}/answer",
            "operation": "text_completion",
            "model": "blue",
            "response_model": "acme-1",
            "stream": true,
            "outcome": "ok",
            "output_events": 2,
            "answer_chars": 16,
            "input_tokens": 12,
            "output_tokens": 6,
            "output_tokens_source": "usage",
            "finish_reasons": ["complete"],
            "unparsed": 0,
        }),
    );
    assert!(record["ttft_s"].is_f64(), "{record}");
    // Without the configuration, it is only forwarded.
    let record = measure("", "/v3/acme/blue/answer", &EVENTS);
    assert_fields(&record, json!({"dialect": null, "operation": "other", "ttft_s": null}));
}

#[test]
fn a_stream_without_its_end_is_truncated() {
    let record = measure(ACME, "/acme/m/answer", EVENTS.split_last().unwrap().1);
    assert_fields(&record, json!({"outcome": "truncated", "answer_chars": 16}));
    // Without `end`, the end of the body is enough.
    let without_end = ACME.replace("end = '/kind=end'\n", "");
    let record = measure(&without_end, "/acme/m/answer", EVENTS.split_last().unwrap().1);
    assert_fields(&record, json!({"outcome": "ok", "output_tokens_source": "events"}));
}

#[test]
fn an_api_can_be_like_another_and_comes_before_it() {
    const CHUNK: &str =
        r#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    let like = "[[api]]\nname = 'gateway'\npath = '/ask'\nlike = 'openai-chat'\n";
    let record = measure(like, "/llm/ask", &[CHUNK]);
    let expected =
        json!({"dialect": "gateway", "operation": "chat", "answer_chars": 2, "outcome": "ok"});
    assert_fields(&record, expected);
    let replacing = ACME.replace("/acme/{model}/answer", "/v1/chat/completions");
    let record = measure(&replacing, "/v1/chat/completions", &EVENTS);
    assert_fields(&record, json!({"dialect": "acme", "answer_chars": 16}));
}

/// The example of docs/custom-apis.md.
#[test]
fn a_condition_separates_answers_from_reasoning() {
    const EVENTS: [&str; 4] = [
        r#"{"type":"reasoning.delta","content":"Hm"}"#,
        r#"{"type":"message.delta","content":"The sky"}"#,
        r#"{"type":"message.delta","content":" is blue."}"#,
        r#"{"type":"chat.end","result":{"content":"The sky is blue."}}"#,
    ];
    let page = include_str!("../../docs/custom-apis.md");
    let table = page.split("```toml\n").filter_map(|block| block.split_once("```"));
    let table = table.map(|(table, _)| table).find(|table| table.contains("\"typed\"")).unwrap();
    let record = measure(table, "/api/answer", &EVENTS);
    let expected = json!({
        "dialect": "typed", "outcome": "ok", "reasoning_chars": 2, "answer_chars": 16, "output_events": 3,
    });
    assert_fields(&record, expected);
}

/// Exit code and standard error of `check-config` with this sample, where SAMPLE replaces its path.
fn check(configuration: &str, sample: &str) -> (Option<i32>, String) {
    let sample = TemporaryFile::new("http", sample);
    let text = format!("{configuration}sample = '{}'\n", sample.path());
    let file = TemporaryFile::new("toml", &text);
    let arguments =
        ["check-config", "--upstream", "http://127.0.0.1:8000", "--config", file.path()];
    let Output { status, stderr, .. } = command(&arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    (status.code(), stderr.replace(sample.path(), "SAMPLE").replace(file.path(), "FILE"))
}

#[test]
fn samples_are_checked() {
    let stream = |events: &[&str]| -> String {
        events.iter().map(|event| format!("data: {event}\n\n")).collect()
    };
    let (code, stderr) = check(ACME, &stream(&EVENTS));
    assert_eq!(code, Some(0), "{stderr}");
    let line = "streamgauge: api \"acme\": SAMPLE has 3 events; output: answer 16 characters; tokens: input 12 \
                (source usage), output 6 (source usage); finish reasons: complete\n";
    assert!(stderr.starts_with(line), "{stderr}");
    let advice = "Run: streamgauge explain FILE --api acme --config FILE";
    let cases = [
        (
            stream(&["{}", r#"{"kind":"end"}"#]),
            format!(
                "no output was found in 2 events; check the places of text, reasoning, tool_arguments and \
                 tool_name. {advice}"
            ),
        ),
        (
            stream(&EVENTS[..2]),
            format!(
                "the end of the stream was not found in 2 events; check the place of end, or remove it if the \
                 end of the body completes the stream. {advice}"
            ),
        ),
        (
            "HTTP/1.1 500 x\r\n\r\n{}".to_owned(),
            "the recorded status is 500; record a successful response".to_owned(),
        ),
        (
            "HTTP/1.1 200 x\r\nContent-Type: text/html\r\n\r\n<html></html>".to_owned(),
            "the response is not parsed (reason: content_type); check its headers".to_owned(),
        ),
    ];
    for (sample, expected) in cases {
        let (code, stderr) = check(ACME, &sample);
        let expected = format!("streamgauge: FILE:11: api[0].sample = \"SAMPLE\": {expected}\n");
        assert_eq!((code, stderr), (Some(64), expected), "{sample}");
    }
    let file = TemporaryFile::new("toml", &format!("{ACME}sample = '/nonexistent'\n"));
    let arguments =
        ["check-config", "--upstream", "http://127.0.0.1:8000", "--config", file.path()];
    let Output { status, stderr, .. } = command(&arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(64), "{stderr}");
    let expected = "cannot read the file (No such file or directory (os error 2)); check the path";
    assert!(stderr.contains(expected), "{stderr}");
}

/// A response that generates nothing needs no output.
#[test]
fn a_sample_of_embeddings_has_token_counts() {
    let api =
        "[[api]]\nname = 'acme'\npath = '/embed'\noperation = 'embeddings'\ninput_tokens = '/in'\n";
    let (code, stderr) = check(api, r#"{"in":5,"vectors":[[0.5]]}"#);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("SAMPLE has 1 event; output: none; tokens: input 5 (source usage)"),
        "{stderr}"
    );
    let (code, stderr) = check(api, r#"{"vectors":[[0.5]]}"#);
    assert_eq!(code, Some(64));
    assert!(
        stderr.contains("no token count was found in 1 event; check the place of input_tokens"),
        "{stderr}"
    );
}
