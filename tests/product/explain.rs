//! `streamgauge explain`: what it prints about recordings, its messages, and the examples of the documentation.

use crate::support::TemporaryFile;
use crate::support::process::command;
use std::io::Write;
use std::process::{Output, Stdio};

/// Exit code, standard output and standard error of `explain` with this recording on standard input.
fn explain(recording: &[u8], arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(&["explain", "-"]);
    let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
    // It does not read its input if an argument is wrong.
    let _ = child.stdin.take().unwrap().write_all(recording);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The report about a recording.
#[track_caller]
fn report(recording: impl AsRef<[u8]>, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = explain(recording.as_ref(), arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

/// The rows of the events in a report, without white space between the columns.
fn rows(report: &str) -> Vec<String> {
    let rows = report.lines().skip(1).take_while(|line| !line.is_empty());
    rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The value of a line of the summary.
#[track_caller]
fn summary(report: &str, name: &str) -> String {
    let value = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
    value.unwrap_or_else(|| panic!("no {name} in {report}")).trim().to_owned()
}

const CHAT: [&str; 2] = ["--path", "/v1/chat/completions"];

fn chat_stream(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[test]
fn every_event_has_a_row_with_its_facts() {
    let stream = chat_stream(&[
        r#"{"model":"m","choices":[{"index":0,"delta":{"content":"Hé"}}]}"#,
        r#"{"choices":[{"index":1,"delta":{"reasoning_content":"abc"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
        r#"{"error":{"message":"x"}}"#,
        "{",
        "{}",
        "[DONE]",
    ]);
    let report = report(stream, &CHAT);
    let expected = [
        "1 answer 2 characters, model m {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hé\"}}...",
        "2 choice 1, reasoning 3 characters {\"choices\":[{\"index\":1,\"delta\":{\"reasoning_content\":\"abc\"}}]...",
        "3 output without text {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"function\":{\"...",
        "4 finish reason stop {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
        "5 usage: input 7, output 3 {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\"...",
        "6 error {\"error\":{\"message\":\"x\"}}",
        "7 not parsed: json {",
        "8 nothing {}",
        "9 done [DONE]",
    ];
    assert_eq!(rows(&report), expected);
    for (name, value) in [
        ("dialect", "openai-chat"),
        ("framing", "server-sent events"),
        ("events", "9"),
        ("output events", "3 (first: event 1, last: event 3)"),
        ("output", "answer 2 characters, reasoning 3 characters"),
        ("tokens", "input 7 (source usage), output 3 (source usage)"),
        ("finish reasons", "stop"),
        ("complete", "yes"),
        ("outcome", "stream_error (reported), if the body ended cleanly"),
        ("not parsed", "1 part (json)"),
        ("model", "m"),
    ] {
        assert_eq!(summary(&report, name), value, "{name}");
    }
}

#[test]
fn framings_and_ends_are_recognised() {
    let line = r#"{"message":{"content":"a"},"done":false}"#;
    let end = r#"{"done":true,"done_reason":"stop","eval_count":1}"#;
    let lines = format!("{line}\n{end}\n");
    let cut = format!("{line}\n");
    let document =
        r#"{"choices":[{"index":0,"message":{"content":"abc"},"finish_reason":"stop"}]}"#;
    let with_head = |content_type: &str, body: &str| {
        format!("HTTP/2 200 \r\ncontent-type: {content_type}\r\nserver: uvicorn\r\n\r\n{body}")
    };
    let cases = [
        (lines.clone(), "/api/chat", "lines of JSON", "yes", "ok"),
        (with_head("application/x-ndjson", &lines), "/api/chat", "lines of JSON", "yes", "ok"),
        (cut, "/api/chat", "lines of JSON", "no: the end of the stream is missing", "truncated"),
        (document.to_owned(), "/v1/chat/completions", "one document", "yes", "ok"),
        (
            with_head(
                "application/json",
                r#"{"object":"list","data":[],"usage":{"prompt_tokens":4}}"#,
            ),
            "/v1/embeddings?x=1",
            "one document",
            "yes: the response is one document",
            "ok",
        ),
        (
            format!("data: {}\n\n", r#"{"text_output":"a"}"#),
            "/v2/models/m/generate_stream",
            "server-sent events",
            "yes: the end of the body completes the stream",
            "ok",
        ),
        (
            r#"[{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}]"#
                .to_owned(),
            "/v1beta/models/m:streamGenerateContent",
            "JSON array",
            "yes",
            "ok",
        ),
    ];
    for (recording, path, framing, complete, outcome) in cases {
        let report = report(&recording, &["--path", path]);
        assert_eq!(summary(&report, "framing"), framing, "{path}: {report}");
        assert_eq!(summary(&report, "complete"), complete, "{path}: {report}");
        assert_eq!(summary(&report, "outcome"), format!("{outcome}, if the body ended cleanly"));
        assert_eq!(summary(&report, "not parsed"), "nothing", "{path}: {report}");
    }
}

/// A compressed body is decoded, and a type that is given replaces the recorded one.
#[test]
fn headers_are_used() {
    let body = chat_stream(&[r#"{"choices":[{"index":0,"delta":{"content":"abc"}}]}"#, "[DONE]"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n";
    let recording = [&head[..], &gzip.finish().unwrap()].concat();
    let found = report(recording, &CHAT);
    assert_eq!(summary(&found, "output"), "answer 3 characters", "{found}");
    // The bytes count, not the type.
    let html = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body}");
    assert_eq!(summary(&report(&html, &CHAT), "complete"), "yes");
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html></html>";
    assert_eq!(summary(&report(page, &CHAT), "not parsed"), "1 part (content_type)");
}

/// Without a path, and on an unknown path, the events show the API.
#[test]
fn the_events_show_the_api() {
    let chat = chat_stream(&[r#"{"choices":[{"index":0,"delta":{"content":"abc"}}]}"#, "[DONE]"]);
    for arguments in [&[][..], &["--path", "/x"], &["--path", CHAT[1], "--method", "GET"]] {
        let found = report(&chat, arguments);
        assert_eq!(summary(&found, "dialect"), "openai-chat", "{arguments:?}");
        assert_eq!(summary(&found, "output"), "answer 3 characters", "{arguments:?}");
    }
    let unknown = report(chat_stream(&[r#"{"word":"abc"}"#]), &[]);
    assert!(summary(&unknown, "dialect").starts_with("none: the events are of no known API"));
    assert_eq!(summary(&unknown, "not parsed"), "1 part (unrecognised)");
    assert_eq!(summary(&unknown, "outcome"), "ok, if the body ended cleanly");
}

#[test]
fn redaction_keeps_the_numbers_and_no_text() {
    let secret = "The secret é \\\"plan\\\"";
    let events = [
        format!(
            r#"{{"model":"secret-7b","choices":[{{"index":0,"delta":{{"content":"{secret}"}}}}]}}"#
        ),
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","token_ids":[1234]}]}"#
            .to_owned(),
        "{\"secret\": \"secret".to_owned(),
        "[DONE]".to_owned(),
    ];
    let stream = chat_stream(&events.each_ref().map(String::as_str));
    let plain = report(&stream, &CHAT);
    let redacted = report(&stream, &[&CHAT[..], &["--redact"]].concat());
    assert!(plain.contains("secret"), "{plain}");
    for word in ["secret", "plan", "1234"] {
        assert!(!redacted.contains(word), "{word}: {redacted}");
    }
    // The data is not cut: a report needs the structure of each event.
    let expected = r#"{"model":"xxxxxxxxx","choices":[{"index":0,"delta":{"content":"xxxxxxxxxxxxxxxxxxx"}}]}"#;
    assert!(redacted.contains(expected), "{redacted}");
    assert!(redacted.contains(r#""finish_reason":"stop","token_ids":[1111]"#), "{redacted}");
    for name in ["events", "output", "tokens", "finish reasons", "complete", "not parsed"] {
        assert_eq!(summary(&plain, name), summary(&redacted, name), "{name}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let body = b"data: {}\n\n";
    let cases: [(&[u8], &[&str], &str); 6] = [
        (
            body,
            &["--api", "openai-caht"],
            "--api openai-caht: unknown API; did you mean \"openai-chat\"?",
        ),
        (
            body,
            &["--path", "/tokenize"],
            "--path /tokenize: the responses of this path are forwarded and",
        ),
        (body, &["--path", "/v1/realtime"], "sessions over a WebSocket cannot be explained"),
        (body, &["--api", "openai-realtime"], "sessions over a WebSocket cannot be explained"),
        (b"", &CHAT, "standard input has no body: record the response with curl -sN -i"),
        (
            b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}",
            &CHAT,
            "status 429: Streamgauge does not read the body of a failed request.",
        ),
    ];
    for (recording, arguments, expected) in cases {
        let (code, stdout, stderr) = explain(recording, arguments);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(stderr.starts_with(&format!("streamgauge: {expected}")), "{arguments:?}: {stderr}");
    }
    let output = command(&["explain", "/nonexistent", CHAT[0], CHAT[1]]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("streamgauge: cannot read /nonexistent: No such file"), "{stderr}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let recording = TemporaryFile::new("sse", &chat_stream(&["{}"; 5000]));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = ["explain", recording.path(), CHAT[0], CHAT[1]];
    let output = command(&arguments).stdout(writer).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
}

/// Each example of the page was run: a block that begins with `$ streamgauge` has the output of that command, up to a
/// line `...`. `STREAMGAUGE_BLESS=1` writes the outputs of the others.
#[test]
fn the_examples_of_the_page_are_true() {
    const BLOCK: &str = "```text\n$ streamgauge ";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/custom-apis.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut parts = page.split(BLOCK);
    let mut rewritten = parts.next().unwrap().to_owned();
    let mut examples = 0;
    for part in parts {
        let (line, rest) = part.split_once('\n').unwrap();
        let (expected, rest) = rest.split_once("```").unwrap();
        let (arguments, is_stderr) = match line.strip_suffix(" > /dev/null") {
            Some(arguments) => (arguments, true),
            None => (line, false),
        };
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = command(&arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let found = if is_stderr { output.stderr } else { output.stdout };
        let found = String::from_utf8(found).unwrap();
        let is_true = match expected.strip_suffix("...\n") {
            Some(start) => found.starts_with(start),
            None => found == expected,
        };
        let is_blessed = std::env::var_os("STREAMGAUGE_BLESS").is_some();
        assert!(is_true || is_blessed, "streamgauge {line} prints\n{found}");
        let shown = if is_true { expected } else { &found };
        rewritten += &format!("{BLOCK}{line}\n{shown}```{rest}");
        examples += 1;
    }
    if rewritten != page {
        std::fs::write(path, rewritten).unwrap();
    }
    assert!(examples >= 4, "{examples} examples");
}
