//! API clients and curl work through the proxy unchanged. The responses that they saw are compared with the
//! request log and the metrics.

use crate::support::Streamgauge;
use crate::support::external::{assert_log_matches, run_client, run_client_script};
use crate::support::sim::simulate;
use serde_json::json;
use std::process::Command;
use streamgauge_sim::model::EngineSpec;

/// Runs a client script against the simulated server, through the proxy.
fn through(script: &str, package: &str, path: &str) {
    let engine = EngineSpec::new("sim");
    let prefill = engine.prefill_base.as_secs_f64();
    let (server, _) = simulate(engine);
    let gauge = Streamgauge::new(server);
    let server = format!("http://{}{path}", gauge.proxy);
    let Some(reported) = run_client_script(script, package, &server) else { return };
    for line in assert_log_matches(&gauge, &reported) {
        let (first, answer) = (line["ttft_s"].as_f64(), line["answer_s"].as_f64());
        assert!(first.is_none_or(|first| first >= prefill), "{line}");
        let thought = line["reasoning_chars"].as_u64() > Some(0);
        assert!(
            first.is_none() || thought == (answer > first) || line["degraded"] == true,
            "{line}"
        );
    }
}

#[test]
fn the_openai_sdk_sees_what_is_logged() {
    through("openai_sdk.py", "openai", "/v1");
}

#[test]
fn the_anthropic_sdk_sees_what_is_logged() {
    through("anthropic_sdk.py", "anthropic", "");
}

#[test]
fn the_ollama_client_sees_what_is_logged() {
    through("ollama_sdk.py", "ollama", "");
}

#[test]
fn the_gemini_sdk_sees_what_is_logged() {
    through("gemini_sdk.py", "google-genai", "");
}

#[test]
fn the_cohere_sdk_sees_what_is_logged() {
    through("cohere_sdk.py", "cohere", "");
}

#[test]
fn curl_sees_what_is_logged() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let gauge = Streamgauge::new(server);
    let body = json!({"model": "sim", "stream": true, "messages": [], "max_tokens": 5}).to_string();
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--no-buffer",
        "--fail",
        "--max-time",
        "20",
        "--data",
        &body,
    ]);
    command.args(["--header", "Content-Type: application/json"]);
    command.arg(format!("http://{}/v1/chat/completions", gauge.proxy));
    let Some(reported) = run_client(&mut command, "curl") else { return };
    assert!(reported.ends_with("data: [DONE]\n\n"), "{reported}");
    let line = &gauge.requests_when(1)[0];
    assert_eq!((&line["outcome"], &line["output_tokens"]), (&json!("ok"), &json!(5)));
    assert_eq!(line["events"], reported.matches("data: ").count());
}
