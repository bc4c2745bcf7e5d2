//! The exposition on `/metrics`: equal to a golden file, and valid for Prometheus.

use crate::support::sim::{send_chat, simulate};
use crate::support::text_format::{parse, promtool};
use crate::support::{Streamgauge, assert_golden, scrape};
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;
use streamgauge_sim::model::EngineSpec;

/// Scrapes after requests of several kinds.
fn exposition() -> String {
    let (server, _) =
        simulate(EngineSpec { prefill_base: Duration::from_millis(60), ..EngineSpec::new("sim") });
    let gauge = Streamgauge::with_file(&format!(
        "[[proxies]]\nname = 'gpu'\nlisten = '127.0.0.1:0'\nupstream = 'http://{server}'\nengine = 'sim'\n"
    ));
    let sim = json!({"prompt_tokens": 10, "output_tokens": 8, "reasoning_tokens": 3});
    let plain = json!({"model": "sim", "messages": [], "sim": sim});
    let streamed = |more: serde_json::Value| {
        let mut request = plain.clone();
        let object = request.as_object_mut().unwrap();
        object.extend([
            ("stream".to_owned(), json!(true)),
            ("stream_options".to_owned(), json!({"include_usage": true})),
        ]);
        object.extend(more.as_object().unwrap().clone());
        request
    };
    let requests = [
        plain.clone(),
        streamed(json!({})),
        streamed(
            json!({"stream_options": {"include_usage": true, "continuous_usage_stats": true}}),
        ),
        streamed(json!({"stream_options": null})),
        streamed(json!({"model": "unknown"})),
        streamed(json!({"sim": {"output_tokens": 4, "error_after": 2}})),
        streamed(json!({"sim": {"output_tokens": 4, "break_after": 2}})),
    ];
    for (i, request) in requests.iter().enumerate() {
        send_chat(gauge.proxy, request);
        gauge.requests_when(i + 1);
    }
    let text = scrape::get(gauge.admin, "/metrics");
    gauge.stop();
    text
}

/// Replaces values that depend on time by `_`. Counts stay.
fn without_times(text: &str) -> String {
    let mut stable = String::new();
    // Not every kernel reports throttling and pressure of the control group, or timestamps of packets.
    let kernel_dependent =
        ["streamgauge_throttled_", "streamgauge_cpu_pressure_", "streamgauge_clock_info{"];
    for line in text.lines().filter(|line| !kernel_dependent.iter().any(|name| line.contains(name)))
    {
        let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
        let name = series.split('{').next().unwrap_or_default();
        let timed = name.contains("_seconds") || name.contains("_per_second");
        let is_part =
            name.ends_with("_sum") || name.ends_with("_bucket") && !series.contains("le=\"+Inf\"");
        // The number of frames in a write, and of events in a read, varies.
        let chance = [
            "forwarding_delay",
            "event_loop_lag",
            "degraded_requests",
            "upstream_connect",
            "upstream_idle",
            "inter_chunk",
            "inter_token",
            "characters_per_second",
            "burst_ratio",
            "max_gap",
            "queue_baseline_seconds",
            "queue_baseline_age",
            "queue_baseline_spread",
        ];
        let varies = timed && is_part
            || name.starts_with("process_")
            || name.ends_with("_timestamp_seconds")
            || name == "streamgauge_bytes_total"
            || chance.iter().any(|part| name.contains(part));
        let version = env!("CARGO_PKG_VERSION");
        let line = line.replace(&format!("version=\"{version}\""), "version=\"_\"");
        if varies && !line.starts_with('#') {
            let _ = writeln!(stable, "{series} _");
        } else {
            let _ = writeln!(stable, "{line}");
        }
    }
    stable
}

#[test]
fn the_exposition_equals_the_golden_file() {
    let text = exposition();
    assert_golden("tests/golden/metrics.txt", &without_times(&text));
    parse(&text);
    promtool(&["check", "metrics"], &text);
}
