//! Real clients work through the proxy as they are: the `openai` SDK and `curl`. What they made of the
//! answers is held against the request log.

mod support;

use serde_json::{Value, json};
use std::process::Command;
use streamgauge::sim::model::EngineSpec;
use support::Gauge;
use support::sim::simulate;

/// Runs a client; `None`, with a word, if this machine does not have it.
fn run(command: &mut Command, needs: &str) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.code() == Some(77) => {
            println!("skipped: {needs}");
            None
        }
        Ok(output) => {
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {complaints}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(_) => {
            println!("skipped: {needs}");
            None
        }
    }
}

#[test]
fn openai() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let gauge = Gauge::new(server);
    let python = std::env::var("STREAMGAUGE_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openai_sdk.py");
    let mut command = Command::new(python);
    command.arg(script).arg(format!("http://{}/v1", gauge.proxy));
    let needs = "the openai package for Python (name its interpreter in STREAMGAUGE_PYTHON)";
    let Some(told) = run(&mut command, needs) else { return };
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<Value> = gauge
        .requests_when(told.len())
        .into_iter()
        .filter(|line| line["operation"] != "other")
        .collect();
    let told: Vec<&Value> = told.iter().filter(|told| told["case"] != "models").collect();
    assert_eq!(lines.len(), told.len());
    for (line, told) in lines.iter().zip(told) {
        println!("{told}");
        assert_eq!(line["outcome"], "ok", "{told}");
        for key in [
            "stream",
            "answer_chars",
            "reasoning_chars",
            "tool_chars",
            "input_tokens",
            "output_tokens",
            "finish_reasons",
            "output_events",
        ] {
            if let Some(expected) = told.get(key) {
                assert_eq!(&line[key], expected, "{key} of {told}: {line}");
            }
        }
    }
}

#[test]
fn curl() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let gauge = Gauge::new(server);
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
    let Some(told) = run(&mut command, "curl") else { return };
    assert!(told.ends_with("data: [DONE]\n\n"), "{told}");
    let line = &gauge.requests_when(1)[0];
    assert_eq!((&line["outcome"], &line["output_tokens"]), (&json!("ok"), &json!(5)));
    assert_eq!(line["events"], told.matches("data: ").count());
}
