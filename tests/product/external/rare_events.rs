//! The first event of a kind is visible in Prometheus: `increase()` and the shipped rules count it.

use crate::support::prometheus::Prometheus;
use crate::support::{RawConnection, sim::send_chat};
use crate::support::{ScriptedUpstream, Streamgauge, chat, scrape, wait_for};
use serde_json::json;
use std::path::Path;

const SERVED: usize = 17;
const FAILED: usize = 5;

/// Increase of a counter since its first sample, as `increase()` returns it at the instant of the newest sample. There,
/// Prometheus extrapolates neither to the end of the range nor, from a first value of 0, to its beginning.
fn increase(prometheus: &Prometheus, series: &str) -> Option<f64> {
    let at = prometheus.value(&format!("timestamp({series})"))?;
    let values = prometheus.query_at(&format!("increase({series}[10m])"), at)?;
    values.first().copied()
}

#[test]
fn the_first_failures_are_counted_exactly() {
    // A separate IP address: no other test binds its port after the server has stopped.
    let server = ScriptedUpstream::at("127.0.0.78:0".parse().unwrap(), |_, connection| {
        let events = [chat::content_event("Hello"), chat::finish_event(), chat::DONE.into()];
        let answer = chat::stream_response(&events);
        while connection.try_read_message().is_some() && connection.try_send(&answer) {}
    });
    let gauge = Streamgauge::new(server.address);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yml");
    let Some(prometheus) = Prometheus::with_rules(gauge.admin, &[&rules]) else { return };
    let failures = r#"streamgauge_upstream_requests_total{outcome="upstream_unreachable"}"#;
    let missed = r#"streamgauge_upstream_slo_requests_total{slo="interactive",met="false"}"#;
    let zero = |series: &str| prometheus.value(series).filter(|value| *value == 0.0);
    wait_for("the first scrape", || zero(failures).and(zero(missed)));

    let request = json!({"model": "m", "stream": true, "messages": []});
    for _ in 0..SERVED {
        assert!(send_chat(gauge.proxy, &request).contains("Hello"));
    }
    server.stop();
    for _ in 0..FAILED {
        assert!(send_chat(gauge.proxy, &request).starts_with("HTTP/1.1 503"));
    }
    let failed = FAILED as f64;
    for series in [failures, missed] {
        let counted = || prometheus.value(series).filter(|value| *value == failed);
        wait_for("the scrape after the failures", counted);
        assert_eq!(increase(&prometheus, series), Some(failed), "{series}");
    }
    let goodput = SERVED as f64 / (SERVED + FAILED) as f64;
    wait_for("the shipped goodput", || {
        let shipped = prometheus.value("upstream_slo:streamgauge_goodput:ratio_rate5m");
        shipped.filter(|shipped| (shipped - goodput).abs() < 0.001)
    });
    wait_for("the shipped rate of failures", || {
        let rate =
            r#"upstream_outcome:streamgauge_requests:rate5m{outcome="upstream_unreachable"} > 0"#;
        prometheus.value(rate)
    });
}

/// Names and label values of the series with this beginning, without those of the process.
fn series<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.strip_suffix(" 0")).collect()
}

#[test]
fn every_closed_label_value_exists_before_the_first_request() {
    let gauge = Streamgauge::with_file(
        "slo = [{name = 'all', ttft_seconds = 1.0}, {name = 'only-b', ttft_seconds = 1.0, upstreams = ['b']}]\n\
         [[proxies]]\nname = 'a'\nlisten = '127.0.0.1:0'\nupstream = 'http://127.0.0.1:1'\n\
         [[proxies]]\nname = 'b'\nlisten = '127.0.0.1:0'\nupstream = 'http://127.0.0.1:1'\n",
    );
    let page = scrape::get(gauge.admin, "/metrics");
    for (name, count) in [
        ("streamgauge_upstream_requests_total{", 2 * 14),
        // One class applies to both upstreams, the other to one.
        ("streamgauge_upstream_slo_requests_total{", 3 * 3),
        ("streamgauge_upstream_cold_starts_total{", 2 * 7),
        ("streamgauge_upstream_stalls_total{", 2),
        ("streamgauge_upstream_usage_coverage_total{", 2 * 2),
        ("streamgauge_upstream_in_flight_requests{", 2 * 3),
        ("streamgauge_degraded_requests_total{", 2),
        ("streamgauge_limit_exceeded_total{", 2 * 13),
        ("streamgauge_unparsed_total{", 2 * 11),
        ("streamgauge_label_overflow_total{", 1),
        ("streamgauge_log_dropped_total{", 2),
        ("streamgauge_admin_limit_exceeded_total{", 2),
        ("streamgauge_upstream_resends_total{", 2),
    ] {
        assert_eq!(series(&page, name).len(), count, "{name} in\n{page}");
    }
}

#[test]
fn tokenization_is_no_inference() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let server = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(server.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for path in ["/tokenize", "/v1/models", "/v1/embeddings"] {
        client.send(chat::post(path, "", b"{}"));
        assert_eq!(client.read_message().status(), 200);
    }
    gauge.requests_when(3);
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum("streamgauge_requests_total", &[]), 3.0);
    assert_eq!(scrape.sum("streamgauge_upstream_requests_total", &[]), 1.0);
}
