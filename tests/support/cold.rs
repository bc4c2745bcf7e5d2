//! What the tests of cold starts share.

use super::{Gauge, Message, Scrape, Wire, chat, wait_for};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

pub const TTFT: &str = "gen_ai_server_time_to_first_token_seconds_count";

/// An address of which nobody makes use for now: each has an IP address of its own, so that no other test
/// is given its port meanwhile.
pub fn reserved() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let address = format!("127.0.{}.{}:0", std::process::id() % 200 + 1, NEXT.fetch_add(1, SeqCst));
    TcpListener::bind(address).unwrap().local_addr().unwrap()
}

pub fn words() -> Vec<String> {
    vec![
        chat::word("Hello"),
        chat::word(" world"),
        chat::finish(),
        chat::usage(2),
        chat::DONE.into(),
    ]
}

pub fn ask(gauge: &Gauge, request: &[u8]) -> Message {
    let mut client = Wire::connect(gauge.proxy);
    client.send(request);
    client.message()
}

/// Asks until the server refuses: a connection that was kept may have to be found dead first. Gives when the request
/// that it refused was sent.
pub fn refused(gauge: &Gauge) -> Instant {
    wait_for("a refusal", || {
        let start = Instant::now();
        (ask(gauge, &chat::request()).status() == 502).then_some(start)
    })
}

/// The cold starts of this reason.
pub fn cold_starts(scrape: &Scrape, reason: &str) -> f64 {
    scrape.sum("streamgauge_cold_starts_total", &[&format!("reason=\"{reason}\"")])
}

/// Waits until the upstream is up, or not.
pub fn wait_until_up(gauge: &Gauge, up: f64) {
    wait_for("the upstream", || {
        let scrape = gauge.scrape();
        let is_known = scrape.has("streamgauge_upstream_up");
        (is_known && scrape.sum("streamgauge_upstream_up", &[]) == up).then_some(())
    });
}

/// Fails unless there was one cold start, of this reason, for this model, that took so long.
pub fn assert_one(gauge: &Gauge, reason: &str, model: &str, took: Duration) -> Scrape {
    let scrape = wait_for("a cold start", || {
        let scrape = gauge.scrape();
        (cold_starts(&scrape, "") >= 0.0 && scrape.has("streamgauge_cold_starts_total"))
            .then_some(scrape)
    });
    let labels = [format!("reason=\"{reason}\""), format!("gen_ai_request_model=\"{model}\"")];
    let labels = [&*labels[0], &*labels[1]];
    assert_eq!(scrape.sum("streamgauge_cold_starts_total", &labels), 1.0, "{reason}");
    assert_eq!(scrape.sum("streamgauge_cold_starts_total", &[]), 1.0);
    assert_eq!(scrape.sum("streamgauge_cold_start_seconds_count", &labels), 1.0);
    let seconds = scrape.sum("streamgauge_cold_start_seconds_sum", &labels);
    let took = took.as_secs_f64();
    assert!((seconds - took).abs() < f64::max(0.05, took * 0.05), "{seconds} s, in truth {took} s");
    scrape
}
