//! Clients of other projects, most in Python. What they saw is compared with the request log.

use super::{MetricsScrape, Streamgauge};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Exit code of a script whose package is missing.
const EXIT_PACKAGE_MISSING: i32 = 77;

/// Runs a client. Returns `None`, and prints a line, if this machine does not have it.
pub fn run_client(command: &mut Command, needs: &str) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.code() == Some(EXIT_PACKAGE_MISSING) => {
            super::skip(needs);
            None
        }
        Ok(output) => {
            let complaints = String::from_utf8_lossy(&output.stderr);
            let reported = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{name}: {complaints}\nafter\n{reported}");
            Some(reported.into_owned())
        }
        Err(_) => {
            super::skip(needs);
            None
        }
    }
}

/// A script of `tests/clients`.
fn python(script: &str) -> Command {
    let python = std::env::var("STREAMGAUGE_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"));
    command.arg("-B").arg(folder.join(script));
    command
}

fn requirement(package: &str) -> String {
    format!("the {package} package for Python (name its interpreter in STREAMGAUGE_PYTHON)")
}

/// Runs a client script and returns what it saw: one JSON object per call, with the names of the request log.
pub fn run_client_script(script: &str, package: &str, server: &str) -> Option<Vec<Value>> {
    let reported = run_client(python(script).arg(server), &requirement(package))?;
    Some(reported.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A server script; it is killed when dropped.
pub struct ScriptServer {
    pub address: SocketAddr,
    child: Child,
}

/// Starts a server script, which prints its address. Returns `None`, and prints a line, if its package is
/// missing.
pub fn start_server_script(script: &str, package: &str) -> Option<ScriptServer> {
    let mut command = python(script);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = piped.spawn() else {
        super::skip(&requirement(package));
        return None;
    };
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    if address.is_empty() {
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(EXIT_PACKAGE_MISSING), "{script} could not start");
        super::skip(&requirement(package));
        return None;
    }
    Some(ScriptServer { address: address.trim().parse().unwrap(), child })
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fails unless the request log and the metrics match what the client saw of each call. Calls are matched by
/// `trace_id` if they have one, else by order. Returns the log lines in the client's order.
pub fn assert_log_matches(gauge: &Streamgauge, reported: &[Value]) -> Vec<Value> {
    let mut lines = gauge.requests_when(reported.len());
    // The log is ordered by the ends of requests.
    lines.sort_by_key(|line| line["time"].to_string());
    assert_eq!(lines.len(), reported.len(), "calls");
    let line_of = |(at, reported): (usize, &Value)| {
        let trace = reported.get("trace_id");
        let traced = |line: &&Value| trace.is_some_and(|trace| line["trace_id"] == *trace);
        let line = if trace.is_some() { lines.iter().find(traced) } else { lines.get(at) };
        line.unwrap_or_else(|| panic!("no line of the log for {reported}")).clone()
    };
    let ordered: Vec<Value> = reported.iter().enumerate().map(line_of).collect();
    let mut differences = String::new();
    for (line, reported) in ordered.iter().zip(reported) {
        let found = differ(line, reported);
        if !found.is_empty() {
            differences += &format!("{}: {}\n  {line}\n", reported["case"], found.join(", "));
        }
    }
    assert!(
        differences.is_empty(),
        "the request log differs from what the clients saw:\n{differences}"
    );
    assert_metrics(&gauge.scrape(), &ordered, reported);
    ordered
}

/// The differences between a log line and what the client saw.
fn differ(line: &Value, reported: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut facts = reported.as_object().unwrap().clone();
    facts.entry("outcome").or_insert_with(|| "ok".into());
    let seen = facts.remove("seen").unwrap_or_default();
    for (key, expected) in facts.iter().filter(|(key, _)| *key != "case" && *key != "turns_s") {
        if line[key] != *expected {
            differences.push(format!("{key} is {}, and not {expected}", line[key]));
        }
    }
    // The client starts its clock before the call and sees everything after the proxy, so its times are
    // longer.
    for (key, seen) in seen.as_object().into_iter().flatten() {
        let fits = match (line[key].as_f64(), seen.as_f64()) {
            (Some(measured), Some(seen)) => 0.0 < measured && measured <= seen,
            (measured, seen) => measured == seen,
        };
        if !fits {
            differences.push(format!("{key} is {}, and {seen} was seen", line[key]));
        }
    }
    differences
}

/// Fails unless the metrics match the log lines.
fn assert_metrics(scrape: &MetricsScrape, lines: &[Value], reported: &[Value]) {
    scrape.assert_balanced();
    assert_eq!(scrape.ended(), lines.len() as f64, "requests");
    let inference: Vec<&Value> = lines.iter().filter(|line| line["operation"] != "other").collect();
    let sum = |key: &str| inference.iter().filter_map(|line| line[key].as_f64()).sum::<f64>();
    let output = scrape.sum("streamgauge_tokens_total", &["type=\"output\""]);
    assert_eq!(output, sum("output_tokens"), "output tokens");
    let input = scrape.sum("streamgauge_tokens_total", &["type=\"input\""]);
    assert_eq!(input, sum("input_tokens"), "input tokens");
    // A session has a TTFT for each response, and none in the log.
    let turns = reported.iter().filter_map(|reported| reported["turns_s"].as_array()).flatten();
    let first = lines.iter().filter_map(|line| line["ttft_s"].as_f64()).count() + turns.count();
    let counted = scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]);
    assert_eq!(counted, first as f64, "times to first token");
    for (direction, key) in [("up", "bytes_up"), ("down", "bytes_down")] {
        let bytes = scrape.sum("streamgauge_bytes_total", &[&format!("direction=\"{direction}\"")]);
        let logged: f64 = lines.iter().filter_map(|line| line[key].as_f64()).sum();
        assert_eq!(bytes, logged, "bytes {direction}");
        assert!(bytes > 0.0, "bytes {direction}");
    }
}
