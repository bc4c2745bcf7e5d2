//! One stream, measured by the definitions of several tools: the table of `docs/why-different.md`.
//!
//! The formulas of the other tools are written here from their definitions. Their results on the planned times of the
//! stream are the table. Streamgauge's own row is also compared with what the real proxy measured of that stream.

use crate::support::clock::assert_within;
use crate::support::connection::chunk;
use crate::support::{Bracket, Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PAGE: &str = "docs/why-different.md";
/// The line that begins the table in the page.
const HEADER: &str = "| tool | TTFT | time per token | mean gap | latency | tokens per second |";

/// Content of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EventContent {
    Role,
    Reasoning,
    Answer,
    /// The finish reason, with an empty delta. The token that ends the sequence has no text.
    Finish,
    Usage,
}

/// One event: seconds after the request, content, and the tokens that the server counts for it.
#[derive(Clone, Copy)]
struct TimedEvent {
    at: f64,
    content: EventContent,
    tokens: u32,
}

/// The planned stream. The body ends with the last event.
const PLAN: [TimedEvent; 7] = [
    TimedEvent { at: 0.05, content: EventContent::Role, tokens: 0 },
    TimedEvent { at: 0.40, content: EventContent::Reasoning, tokens: 3 },
    TimedEvent { at: 0.60, content: EventContent::Answer, tokens: 1 },
    TimedEvent { at: 0.70, content: EventContent::Answer, tokens: 2 },
    TimedEvent { at: 1.30, content: EventContent::Answer, tokens: 1 },
    TimedEvent { at: 1.40, content: EventContent::Finish, tokens: 1 },
    TimedEvent { at: 1.50, content: EventContent::Usage, tokens: 0 },
];

impl TimedEvent {
    /// The event in OpenAI's format.
    fn text(&self) -> String {
        let delta = |delta: Value, finish: Option<&str>| {
            let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            json!({"object": "chat.completion.chunk", "choices": choices})
        };
        let event = match self.content {
            EventContent::Role => delta(json!({"role": "assistant", "content": ""}), None),
            EventContent::Reasoning => delta(json!({"reasoning": "One of three"}), None),
            EventContent::Answer => {
                delta(json!({"content": " word".repeat(self.tokens as usize)}), None)
            }
            EventContent::Finish => delta(json!({}), Some("stop")),
            EventContent::Usage => {
                let usage = json!({"prompt_tokens": 20, "completion_tokens": tokens(&PLAN)});
                json!({"choices": [], "usage": usage})
            }
        };
        let end = if self.content == EventContent::Usage { chat::DONE } else { "" };
        format!("data: {event}\n\n{end}")
    }

    fn has_text(&self) -> bool {
        matches!(self.content, EventContent::Reasoning | EventContent::Answer)
    }
}

/// Tokens of the usage report.
fn tokens(events: &[TimedEvent]) -> f64 {
    events.iter().map(|event| f64::from(event.tokens)).sum()
}

/// Times of the events that `select` selects.
fn times(events: &[TimedEvent], select: impl Fn(&TimedEvent) -> bool) -> Vec<f64> {
    events.iter().filter(|event| select(event)).map(|event| event.at).collect()
}

/// Mean time between successive instants.
fn mean_gap(times: &[f64]) -> f64 {
    (times[times.len() - 1] - times[0]) / (times.len() - 1) as f64
}

/// The numbers of one tool, in seconds and tokens per second.
#[derive(Default)]
struct ToolNumbers {
    ttft: Option<f64>,
    per_token: Option<f64>,
    gap: Option<f64>,
    latency: Option<f64>,
    speed: Option<f64>,
}

fn by_streamgauge(events: &[TimedEvent]) -> ToolNumbers {
    let output = times(events, TimedEvent::has_text);
    let (first, last) = (output[0], output[output.len() - 1]);
    let per_token = (last - first) / (tokens(events) - 1.0);
    ToolNumbers {
        ttft: Some(first),
        per_token: Some(per_token),
        gap: Some(mean_gap(&output)),
        latency: Some(last),
        speed: Some(1.0 / per_token),
    }
}

/// vLLM's metrics page. Each event with tokens is one step of the engine.
fn by_vllm(events: &[TimedEvent]) -> ToolNumbers {
    let steps = times(events, |event| event.tokens > 0);
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    ToolNumbers {
        ttft: Some(first),
        per_token: Some((last - first) / (tokens(events) - 1.0)),
        gap: Some(mean_gap(&steps)),
        latency: Some(last),
        speed: None,
    }
}

/// `vllm bench serve`. `is_token` selects the events that it takes for tokens.
fn by_vllm_bench(events: &[TimedEvent], is_token: impl Fn(&TimedEvent) -> bool) -> ToolNumbers {
    let chunks = times(events, is_token);
    let (first, last) = (chunks[0], chunks[chunks.len() - 1]);
    ToolNumbers {
        ttft: Some(first),
        per_token: Some((last - first) / (tokens(events) - 1.0)),
        gap: Some(mean_gap(&chunks)),
        latency: Some(last),
        speed: Some(tokens(events) / end(events)),
    }
}

/// AIPerf. `count` is the number of output tokens: its own tokenizer's, or the server's.
fn by_aiperf(events: &[TimedEvent], count: f64) -> ToolNumbers {
    let output = times(events, TimedEvent::has_text);
    let (first, last) = (output[0], output[output.len() - 1]);
    let per_token = (last - first) / (count - 1.0);
    ToolNumbers {
        ttft: Some(first),
        per_token: Some(per_token),
        gap: Some(mean_gap(&output)),
        latency: Some(last),
        speed: Some(1.0 / per_token),
    }
}

/// guidellm. The time per token begins with the request; its inter-token latency is Streamgauge's TPOT.
fn by_guidellm(events: &[TimedEvent]) -> ToolNumbers {
    let output = times(events, TimedEvent::has_text);
    let (first, last) = (output[0], output[output.len() - 1]);
    ToolNumbers {
        ttft: Some(first),
        per_token: Some(last / tokens(events)),
        gap: Some((last - first) / (tokens(events) - 1.0)),
        latency: Some(end(events)),
        speed: Some(tokens(events) / end(events)),
    }
}

/// LiteLLM's metrics page. For streams, its latency per token is the time to the first chunk, divided by the tokens.
fn by_litellm(events: &[TimedEvent]) -> ToolNumbers {
    let first = events[0].at;
    ToolNumbers {
        ttft: Some(first),
        per_token: Some(first / tokens(events)),
        latency: Some(end(events)),
        ..ToolNumbers::default()
    }
}

/// Envoy AI Gateway takes the first part of the body for the first token, and its end for the last.
fn by_envoy(events: &[TimedEvent]) -> ToolNumbers {
    let first = events[0].at;
    ToolNumbers {
        ttft: Some(first),
        per_token: Some((end(events) - first) / (tokens(events) - 1.0)),
        latency: Some(end(events)),
        ..ToolNumbers::default()
    }
}

/// SGLang's metrics page: a gap is divided by the tokens of its step, and counts once for each of them.
fn by_sglang(events: &[TimedEvent]) -> ToolNumbers {
    let steps: Vec<&TimedEvent> = events.iter().filter(|event| event.tokens > 0).collect();
    let (first, last) = (steps[0].at, steps[steps.len() - 1].at);
    let samples: f64 = steps[1..].iter().map(|step| f64::from(step.tokens)).sum();
    ToolNumbers {
        ttft: Some(first),
        per_token: Some((last - first) / (tokens(events) - 1.0)),
        gap: Some((last - first) / samples),
        latency: Some(last),
        speed: None,
    }
}

/// TGI's metrics page and its response headers, without a wait in the queue. The prefill counts.
fn by_tgi(events: &[TimedEvent]) -> ToolNumbers {
    let steps = times(events, |event| event.tokens > 0);
    let last = steps[steps.len() - 1];
    ToolNumbers {
        per_token: Some(last / tokens(events)),
        latency: Some(last),
        ..ToolNumbers::default()
    }
}

/// llama.cpp's `timings`, of the step for each token after the first.
fn by_llama_cpp(events: &[TimedEvent]) -> ToolNumbers {
    let steps = times(events, |event| event.tokens > 0);
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    let per_token = (last - first) / (tokens(events) - 1.0);
    ToolNumbers {
        ttft: Some(first),
        per_token: Some(per_token),
        speed: Some(1.0 / per_token),
        ..ToolNumbers::default()
    }
}

/// End of the body.
fn end(events: &[TimedEvent]) -> f64 {
    events[events.len() - 1].at
}

/// The table of the page.
fn table() -> String {
    // A tokenizer sees the texts only, so not the token that ends the sequence.
    let visible = tokens(&PLAN) - 1.0;
    let rows = [
        ("**Streamgauge**", by_streamgauge(&PLAN)),
        ("vLLM, `/metrics`", by_vllm(&PLAN)),
        ("`vllm bench serve` 0.33", by_vllm_bench(&PLAN, TimedEvent::has_text)),
        // Every event with a choice, also the role and the finish reason.
        (
            "`vllm bench serve`, earlier",
            by_vllm_bench(&PLAN, |event| event.content != EventContent::Usage),
        ),
        ("AIPerf", by_aiperf(&PLAN, visible)),
        ("AIPerf `--use-server-token-count`", by_aiperf(&PLAN, tokens(&PLAN))),
        ("guidellm", by_guidellm(&PLAN)),
        ("LiteLLM, `/metrics`", by_litellm(&PLAN)),
        ("Envoy AI Gateway", by_envoy(&PLAN)),
        ("SGLang, `/metrics`", by_sglang(&PLAN)),
        ("TGI, `/metrics`", by_tgi(&PLAN)),
        ("llama.cpp, `timings`", by_llama_cpp(&PLAN)),
    ];
    let mut table = format!("{HEADER}\n|---|---:|---:|---:|---:|---:|\n");
    for (tool, numbers) in rows {
        let cell = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        let ToolNumbers { ttft, per_token, gap, latency, speed } = numbers;
        let speed = speed.map_or("-".into(), |speed| format!("{speed:.2}"));
        let (ttft, per_token) = (cell(ttft), cell(per_token));
        let (gap, latency) = (cell(gap), cell(latency));
        writeln!(table, "| {tool} | {ttft} | {per_token} | {gap} | {latency} | {speed} |").unwrap();
    }
    table
}

#[test]
fn the_table_in_the_page_has_these_numbers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let start = page.find(HEADER).unwrap_or_else(|| panic!("{PAGE} has no line `{HEADER}`"));
    let rest = &page[start..];
    let found = &rest[..rest.find("\n\n").map_or(rest.len(), |end| end + 1)];
    let expected = table();
    if std::env::var_os("STREAMGAUGE_BLESS").is_some() {
        std::fs::write(&path, page.replacen(found, &expected, 1)).unwrap();
        return;
    }
    assert_eq!(found, expected, "STREAMGAUGE_BLESS=1 rewrites the table of {PAGE}");
}

#[test]
fn streamgauge_measures_the_stream_by_its_definitions() {
    let disturbance = Disturbance::watch();
    let (report, sent) = mpsc::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        if connection.try_read_message().is_none() {
            return;
        }
        let start = Instant::now();
        for (number, event) in PLAN.iter().enumerate() {
            let planned = start + Duration::from_secs_f64(event.at);
            std::thread::sleep(planned.saturating_duration_since(Instant::now()));
            let head = if number == 0 { chat::STREAM_HEAD } else { "" };
            let tail = if number + 1 == PLAN.len() { chat::LAST_CHUNK } else { "" };
            let bytes = [head.as_bytes(), &chunk(event.text()), tail.as_bytes()].concat();
            let ((), at) = Bracket::around(|| connection.send(&bytes));
            report.send(at).unwrap();
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let body = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "messages": []});
    let request = chat::post("/v1/chat/completions", "", body.to_string().as_bytes());
    let ((), start) = Bracket::around(|| client.send(request));
    assert_eq!(client.read_message().status(), 200);
    let sent: Vec<Bracket> = sent.iter().take(PLAN.len()).collect();
    let line = &gauge.requests_when(1)[0];
    assert_eq!((&line["outcome"], &line["output_tokens"]), (&json!("ok"), &json!(8)), "{line}");

    // The definitions on the earliest and on the latest times at which the events can have been sent.
    let actual = |late: bool| -> Vec<TimedEvent> {
        let at = |at: &Bracket| if late { at.since(start).1 } else { at.since(start).0 };
        PLAN.iter().zip(&sent).map(|(event, sent)| TimedEvent { at: at(sent), ..*event }).collect()
    };
    let (early, late) = (by_streamgauge(&actual(false)), by_streamgauge(&actual(true)));
    let allowed = disturbance.allow(0.002);
    let compare = |name: &str, measured: f64, early: Option<f64>, late: Option<f64>| {
        let (early, late) = (early.unwrap(), late.unwrap());
        assert_within(name, measured, (early.min(late), early.max(late)), allowed);
    };
    let logged = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"));
    compare("TTFT", logged("ttft_s"), early.ttft, late.ttft);
    compare("TPOT", logged("tpot_s"), early.per_token, late.per_token);
    compare("latency", logged("latency_s"), early.latency, late.latency);
    compare("duration", logged("duration_s"), Some(end(&actual(false))), Some(end(&actual(true))));
    let scrape = gauge.scrape();
    let name = "streamgauge_inter_chunk_latency_seconds";
    let gaps = scrape.sum(&format!("{name}_sum"), &[]) / scrape.sum(&format!("{name}_count"), &[]);
    compare("mean gap", gaps, early.gap, late.gap);
}
