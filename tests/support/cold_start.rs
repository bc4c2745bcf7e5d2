//! Helpers of the cold-start tests.

use super::{Disturbance, MetricsScrape, RawConnection, RawMessage, Streamgauge, chat, wait_for};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

pub const TTFT: &str = "gen_ai_server_time_to_first_token_seconds_count";

/// An address that nothing listens on. Each call uses another IP address, so no other test binds its port meanwhile.
pub fn reserve_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let address = format!("127.0.{}.{}:0", std::process::id() % 200 + 1, NEXT.fetch_add(1, SeqCst));
    TcpListener::bind(address).unwrap().local_addr().unwrap()
}

/// The events of a complete answer.
pub fn answer_events() -> Vec<String> {
    vec![
        chat::content_event("Hello"),
        chat::content_event(" world"),
        chat::finish_event(),
        chat::usage_event(2),
        chat::DONE.into(),
    ]
}

/// Sends one request on a new connection and returns the response.
pub fn send(gauge: &Streamgauge, request: &[u8]) -> RawMessage {
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(request);
    client.read_message()
}

/// Sends requests until the upstream refuses one, and returns when that one was sent. The first may use a pooled
/// connection that is still open.
pub fn wait_until_refused(gauge: &Streamgauge) -> Instant {
    wait_for("a refusal", || {
        let start = Instant::now();
        (send(gauge, &chat::request()).status() == 503).then_some(start)
    })
}

/// Number of cold starts with this reason.
pub fn cold_starts(scrape: &MetricsScrape, reason: &str) -> f64 {
    scrape.sum("streamgauge_cold_starts_total", &[&format!("reason=\"{reason}\"")])
}

/// Waits until `streamgauge_upstream_up` has this value.
pub fn wait_until_up(gauge: &Streamgauge, up: f64) {
    wait_for("the upstream", || {
        let scrape = gauge.scrape();
        let is_known = scrape.has("streamgauge_upstream_up");
        (is_known && scrape.sum("streamgauge_upstream_up", &[]) == up).then_some(())
    });
}

/// Fails unless there was exactly one cold start, with this reason, model and duration.
pub fn assert_one_cold_start(
    gauge: &Streamgauge,
    reason: &str,
    model: &str,
    took: Duration,
    disturbance: &Disturbance,
) -> MetricsScrape {
    let scrape = wait_for("a cold start", || {
        let scrape = gauge.scrape();
        scrape.has("streamgauge_cold_starts_total").then_some(scrape)
    });
    let labels = [format!("reason=\"{reason}\""), format!("gen_ai_request_model=\"{model}\"")];
    let labels = [&*labels[0], &*labels[1]];
    assert_eq!(scrape.sum("streamgauge_cold_starts_total", &labels), 1.0, "{reason}");
    assert_eq!(scrape.sum("streamgauge_cold_starts_total", &[]), 1.0);
    assert_eq!(scrape.sum("streamgauge_cold_start_seconds_count", &labels), 1.0);
    let seconds = scrape.sum("streamgauge_cold_start_seconds_sum", &labels);
    let took = took.as_secs_f64();
    let allowed = disturbance.allow(f64::max(0.05, took * 0.05));
    assert!((seconds - took).abs() < allowed, "measured {seconds} s, true {took} s");
    scrape
}
