//! Prometheus scrapes Streamgauge: its quantiles match the request log.

use crate::support::prometheus::Prometheus;
use crate::support::sim::{send_chat, simulate};
use crate::support::{Streamgauge, wait_for};
use serde_json::json;
use std::time::{Duration, Instant};
use streamgauge::testing::metrics::table::{MetricKind, TTFT};
use streamgauge_sim::model::EngineSpec;

/// Duration of the traffic: enough scrapes for a rate.
const TRAFFIC: Duration = Duration::from_secs(4);

/// The edges of the bucket that contains `value`.
fn bucket(value: f64) -> (f64, f64) {
    let MetricKind::Histogram(set) = TTFT.kind else { panic!("TTFT is a histogram") };
    let at = set.edges.partition_point(|edge| *edge < value);
    (at.checked_sub(1).map_or(0.0, |below| set.edges[below]), set.edges[at])
}

#[test]
fn quantiles_match_the_log() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let gauge = Streamgauge::new(server);
    let Some(prometheus) = Prometheus::start(gauge.admin) else { return };
    wait_for("the first scrape", || prometheus.query("up == 1").filter(|up| up.len() == 1));

    // A histogram that starts within the range has no rate before its second scrape.
    let request = |i: usize| {
        json!({
            "model": "sim", "stream": !i.is_multiple_of(5), "messages": [], "stream_options": {"include_usage": true},
            "sim": {"prompt_tokens": 100 * (i % 20), "output_tokens": 6, "reasoning_tokens": 2},
        })
    };
    let start = Instant::now();
    let mut i = 0;
    while start.elapsed() < TRAFFIC {
        let clients: Vec<_> = (i..i + 4)
            .map(|i| {
                let (proxy, request) = (gauge.proxy, request(i));
                std::thread::spawn(move || send_chat(proxy, &request))
            })
            .collect();
        clients.into_iter().for_each(|client| drop(client.join().unwrap()));
        i += 4;
    }
    let lines = gauge.requests_when(i);
    let mut ttft: Vec<f64> = lines.iter().filter_map(|line| line["ttft_s"].as_f64()).collect();
    ttft.sort_by(f64::total_cmp);
    let scraped = format!("sum(gen_ai_server_time_to_first_token_seconds_count) == {}", ttft.len());
    wait_for("the last scrape", || prometheus.query(&scraped).filter(|found| !found.is_empty()));

    for quantile in [0.5, 0.9, 0.99] {
        let expression = format!(
            "histogram_quantile({quantile}, sum by (le) (gen_ai_server_time_to_first_token_seconds_bucket))"
        );
        let found = prometheus.query(&expression).unwrap()[0];
        let rank = (quantile * ttft.len() as f64).ceil() as usize - 1;
        let (low, high) = bucket(ttft[rank]);
        println!(
            "TTFT p{}: Prometheus {found:.4}, request log {:.4}",
            quantile * 100.0,
            ttft[rank]
        );
        assert!(
            (low..=high).contains(&found),
            "p{quantile}: {found} is not within {low} to {high}"
        );
    }
}
