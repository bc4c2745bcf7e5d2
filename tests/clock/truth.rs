//! Metrics of 200 concurrent streams, compared with the simulated server's record.

use crate::support::clock::assert_within;
use crate::support::sim::{send_chat, simulate};
use crate::support::{Disturbance, MetricsScrape, Streamgauge, wait_for};
use serde_json::{Value, json};
use std::time::Duration;
use streamgauge::testing::FaultInjection;
use streamgauge_sim::model::EngineSpec;
use streamgauge_sim::{TruthEnd, TruthRecord};

const STREAMS: usize = 200;

fn request(i: usize) -> Value {
    json!({
        "model": "sim", "stream": true, "stream_options": {"include_usage": true}, "messages": [],
        "sim": {"prompt_tokens": 100 + i, "output_tokens": 40 + i % 30, "reasoning_tokens": i % 3 * 5},
    })
}

/// Mean and number of samples of a histogram.
fn mean(scrape: &MetricsScrape, name: &str, labels: &[&str]) -> (f64, f64) {
    let count = scrape.sum(&format!("{name}_count"), labels);
    (scrape.sum(&format!("{name}_sum"), labels) / count, count)
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Fails unless a mean is within 1 % or `at_least` seconds of the truth, whichever is more.
fn assert_mean(disturbance: &Disturbance, what: &str, mean: f64, truth: f64, at_least: f64) {
    let allowed = disturbance.allow_in_mean((truth * 0.01).max(at_least));
    // The server counts from when it reads the request, the proxy from when the request arrives.
    let allowed = allowed + disturbance.waits_during(mean);
    assert_within(what, mean, (truth, truth), allowed);
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"))
}

/// Fails unless the fields of a log line agree with each other.
fn assert_consistent(line: &Value) {
    let (ttft, latency) = (number(line, "ttft_s"), number(line, "latency_s"));
    let hidden = if line["reasoning_chars"] == 0 {
        line["reasoning_tokens"].as_f64().unwrap_or(0.0)
    } else {
        0.0
    };
    let n = number(line, "output_tokens") - hidden;
    let expected = ttft + number(line, "tpot_s") * (n - 1.0);
    assert!(
        (latency - expected).abs() < 1e-9,
        "latency {latency} is not ttft + tpot * (n - 1) = {expected}: {line}"
    );
    assert!(number(line, "answer_s") >= ttft && number(line, "head_s") <= ttft, "{line}");
    assert!(number(line, "duration_s") >= latency, "{line}");
}

#[test]
fn means_and_counts_of_200_concurrent_streams_are_true() {
    let disturbance = Disturbance::watch_alone();
    let engine = EngineSpec { slots: STREAMS, ..EngineSpec::new("sim") };
    let (server, truth) = simulate(engine);
    let gauge = Streamgauge::with(server, &[("workers", "1")], FaultInjection::default());
    let proxy = gauge.proxy;
    // Each thread is one client. The arrivals are spread so that the clients do not queue for the CPU.
    let clients: Vec<_> = (0..STREAMS)
        .map(|i| {
            std::thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn(move || {
                    std::thread::sleep(Duration::from_millis(i as u64 * 3));
                    send_chat(proxy, &request(i))
                })
                .unwrap()
        })
        .collect();
    let mut earlier = gauge.scrape();
    let mut most = 0.0_f64;
    while clients.iter().any(|client| !client.is_finished()) {
        let scrape = gauge.scrape();
        scrape.assert_not_below(&earlier);
        most = most.max(scrape.sum("streamgauge_in_flight_requests", &[r#"phase="streaming""#]));
        earlier = scrape;
        std::thread::sleep(Duration::from_millis(100));
    }
    for client in clients {
        assert!(client.join().unwrap().ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
    }
    let lines = gauge.requests_when(STREAMS);
    let truth: Vec<TruthRecord> = wait_for("the truth", || {
        let truth = truth.snapshot();
        (truth.len() == STREAMS).then_some(truth)
    });
    assert!(truth.iter().all(|one| one.end == TruthEnd::Finished));
    println!("at most {most} streams at once");
    assert!(most > STREAMS as f64 / 2.0, "only {most} streams at once");

    let scrape = gauge.scrape();
    let (ttft, count) = mean(&scrape, "gen_ai_server_time_to_first_token_seconds", &[]);
    assert_eq!(count, STREAMS as f64);
    assert_mean(
        &disturbance,
        "TTFT",
        ttft,
        average(truth.iter().filter_map(|one| one.ttft_s)),
        1e-3,
    );
    let (latency, _) = mean(&scrape, "streamgauge_latency_seconds", &[]);
    assert_mean(
        &disturbance,
        "latency",
        latency,
        average(truth.iter().filter_map(|one| one.latency_s)),
        1e-3,
    );
    let (tpot, _) =
        mean(&scrape, "gen_ai_server_time_per_output_token_seconds", &[r#"source="usage""#]);
    assert_mean(
        &disturbance,
        "TPOT",
        tpot,
        average(truth.iter().filter_map(|one| one.tpot_s)),
        50e-6,
    );
    let (itl, samples) = mean(&scrape, "streamgauge_inter_token_latency_seconds", &[]);
    let gaps = truth.iter().map(|one| f64::from(one.output_events - 1)).sum::<f64>();
    let spans =
        truth.iter().map(|one| one.last_sent.unwrap() - one.first_sent.unwrap()).sum::<f64>();
    assert_mean(&disturbance, "ITL", itl, spans / gaps, 50e-6);

    let tokens: f64 = truth.iter().map(|one| f64::from(one.output_tokens)).sum();
    assert_eq!(scrape.sum("streamgauge_tokens_total", &[r#"type="output""#]), tokens);
    let input: f64 = truth.iter().map(|one| f64::from(one.prompt_tokens)).sum();
    assert_eq!(scrape.sum("streamgauge_tokens_total", &[r#"type="input""#]), input);
    let chars: f64 = truth.iter().map(|one| (one.answer_chars + one.reasoning_chars) as f64).sum();
    assert_eq!(scrape.sum("streamgauge_output_characters_total", &[]), chars);
    let reasoning: f64 = truth.iter().map(|one| f64::from(one.reasoning_tokens)).sum();
    assert_eq!(scrape.sum("streamgauge_token_subset_total", &[r#"subset="reasoning""#]), reasoning);

    lines.iter().for_each(assert_consistent);
    for key in ["connect_s", "sent_s", "head_s"] {
        println!("mean {key}: {:.3} ms", average(lines.iter().map(|line| number(line, key))) * 1e3);
    }
    // Each stream has one choice, so the sum of all ITL is the sum of all times from first to last output.
    let sum = scrape.sum("streamgauge_inter_token_latency_seconds_sum", &[]);
    let spans: f64 =
        lines.iter().map(|line| number(line, "latency_s") - number(line, "ttft_s")).sum();
    assert!((sum - spans).abs() < 1e-6 * spans, "sum of ITL {sum}, of spans {spans}");
    let events: f64 = lines.iter().map(|line| number(line, "output_events")).sum();
    let first_reads = events - STREAMS as f64 - samples;
    // A proxy that wakes late reads more events at once. The second comes about 20 ms after the first.
    let most_in_first_read = 0.02 + disturbance.worst().as_secs_f64() / 0.02;
    assert!(
        (0.0..=events * most_in_first_read).contains(&first_reads),
        "{first_reads} events came with the first read"
    );
}

#[test]
fn requests_of_other_kinds_are_counted_exactly() {
    let (server, truth) = simulate(EngineSpec::new("sim"));
    let gauge = Streamgauge::new(server);
    let with = |request: Value, more: Value| {
        let mut request = request;
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let sim = json!({"prompt_tokens": 10, "output_tokens": 8});
    let cases = [
        with(request(0), json!({"sim": sim, "n": 2})),
        with(request(0), json!({"sim": sim, "stream": false, "stream_options": null})),
        with(
            request(0),
            json!({"sim": sim, "stream_options": {"include_usage": true, "continuous_usage_stats": true}}),
        ),
        with(request(0), json!({"sim": sim, "tools": [{"type": "function"}]})),
        with(
            request(0),
            json!({"sim": {"prompt_tokens": 10, "output_tokens": 8, "usage": "both"}}),
        ),
        with(
            request(0),
            json!({"sim": {"prompt_tokens": 10, "output_tokens": 8, "usage": "none"}}),
        ),
        with(
            request(0),
            json!({"sim": {"prompt_tokens": 10, "output_tokens": 8, "tokens_per_event": 4}}),
        ),
        with(
            request(0),
            json!({"sim": {"prompt_tokens": 10, "output_tokens": 8, "role_first": true}}),
        ),
    ];
    for (i, case) in cases.iter().enumerate() {
        send_chat(gauge.proxy, case);
        gauge.requests_when(i + 1);
    }
    let lines = gauge.requests();
    let truth = truth.snapshot();
    let output = |i: usize| lines[i]["output_tokens"].as_u64().unwrap();
    for (i, one) in truth.iter().enumerate() {
        assert_eq!(lines[i]["outcome"], "ok", "case {i}");
        assert_eq!(output(i), u64::from(one.output_tokens), "case {i}: {}", lines[i]);
        if i != 5 {
            assert_eq!(lines[i]["input_tokens"], one.prompt_tokens, "case {i}");
            assert_eq!(lines[i]["output_tokens_source"], "usage", "case {i}");
        }
    }
    assert_eq!(lines[0]["tpot_s"], Value::Null, "two choices have no TPOT");
    assert_eq!(lines[1]["ttft_s"], Value::Null, "not streamed");
    assert_eq!(
        (&lines[5]["output_tokens_source"], &lines[5]["input_tokens"]),
        (&json!("events"), &Value::Null)
    );
    assert_eq!(lines[6]["output_events"], 2);
    let first = number(&lines[7], "ttft_s") - number(&lines[7], "first_byte_s");
    assert!(first > 0.01, "the role came first, the token {first} s after it");
    let scrape = gauge.scrape();
    let total: u64 = (0..cases.len()).map(output).sum();
    assert_eq!(scrape.sum("streamgauge_tokens_total", &[r#"type="output""#]), total as f64);
    assert_eq!(scrape.sum("streamgauge_usage_coverage_total", &[r#"reported="false""#]), 1.0);
    assert!(
        scrape.sum("streamgauge_inter_token_latency_seconds_count", &[r#"basis="token""#]) >= 6.0
    );
}
