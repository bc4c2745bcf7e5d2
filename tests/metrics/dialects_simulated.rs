//! Every streaming API of the simulated server that has a dialect: the request log is compared with the
//! server's own record.

use crate::support::sim::simulate;
use crate::support::{RawConnection, Streamgauge, wait_for};
use serde_json::{Value, json};
use std::time::Duration;
use streamgauge_sim::TruthEnd;
use streamgauge_sim::model::EngineSpec;

/// Dialect, request line, and additional members of the body. Two APIs of vLLM are left out.
/// `/inference/v1/generate` counts token numbers as output, which the server's record does not. The first
/// `/generate` repeats the prompt, so the start of the first event's text is ambiguous.
const STREAMS: [(&str, &str, &str); 22] = [
    ("openai-chat", "POST /v1/chat/completions", "{}"),
    ("openai-completions", "POST /v1/completions", "{}"),
    ("openai-responses", "POST /v1/responses", "{}"),
    ("openai-assistants", "POST /v1/threads/runs", r#"{"thread":{}}"#),
    ("openai-assistants", "POST /v1/threads/thread_1/runs", "{}"),
    ("anthropic-messages", "POST /v1/messages", "{}"),
    ("anthropic-complete", "POST /v1/complete", "{}"),
    ("ollama-chat", "POST /api/chat", "{}"),
    ("ollama-generate", "POST /api/generate", "{}"),
    ("tgi", "POST /generate_stream", r#"{"inputs":"x"}"#),
    ("llamacpp", "POST /completion", "{}"),
    ("sglang", "POST /generate", r#"{"text":"x"}"#),
    ("triton", "POST /v2/models/m/generate_stream", "{}"),
    ("cohere-v1", "POST /v1/chat", "{}"),
    ("cohere-v2", "POST /v2/chat", "{}"),
    ("gemini", "POST /v1beta/models/m:streamGenerateContent?alt=sse", "{}"),
    ("gemini", "POST /v1beta/models/m:streamGenerateContent", "{}"),
    ("gemini-interactions", "POST /v1beta/interactions", "{}"),
    ("replicate", "GET /v1/streams/p", ""),
    ("bedrock-converse", "POST /model/m/converse-stream", "{}"),
    ("bedrock-invoke", "POST /model/m/invoke-with-response-stream", "{}"),
    ("bedrock-agent", "POST /agents/A/agentAliases/B/sessions/s/text", r#"{"enableTrace":true}"#),
];

const SCRIPT: &str = r#"{"prompt_tokens":40,"output_tokens":12,"reasoning_tokens":6}"#;

fn request(line: &str, more: &str) -> String {
    if more.is_empty() {
        return format!("{line}?sim={SCRIPT} HTTP/1.1\r\nHost: sim\r\n\r\n").replace('"', "%22");
    }
    let mut body: Value = serde_json::from_str(more).unwrap();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body["parameters"] = json!({"details": true});
    body["sim"] = serde_json::from_str(SCRIPT).unwrap();
    let body = body.to_string();
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn the_log_matches_the_servers_record() {
    let engine = EngineSpec { prefill_base: Duration::from_millis(5), ..EngineSpec::new("m") };
    let (server, truth) = simulate(engine);
    let gauge = Streamgauge::new(server);
    for (i, (dialect, line, more)) in STREAMS.into_iter().enumerate() {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(request(line, more).as_bytes());
        client.read_message();
        let lines = gauge.requests_when(i + 1);
        let (log, name) = (&lines[i], format!("{dialect}, {line}"));
        let one = wait_for("the record", || truth.take().pop());
        assert_eq!(
            (one.end, one.dialect.as_deref()),
            (TruthEnd::Finished, Some(dialect)),
            "{name}"
        );
        assert_eq!(log["dialect"], dialect, "{name}");
        assert_eq!((&log["outcome"], &log["unparsed"]), (&json!("ok"), &json!(0)), "{name}");
        assert_eq!(log["stream"], true, "{name}");
        let counts = [
            ("output_events", u64::from(one.output_events)),
            ("answer_chars", one.answer_chars),
            ("reasoning_chars", one.reasoning_chars),
            ("tool_chars", one.tool_chars),
            ("output_tokens", u64::from(one.output_tokens)),
        ];
        for (key, expected) in counts {
            assert_eq!(log[key], expected, "{key} of {name}: {log}");
        }
        assert_eq!(log["input_tokens"], json!(one.reported.input_tokens), "{name}");
        let counted = log["output_tokens_source"] == "events";
        assert_eq!(counted, one.reported.output_tokens.is_none(), "{name}");
    }
}
