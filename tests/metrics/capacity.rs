//! Saturation and sustainable rate on `/metrics`. `streamgauge_core` has the tests of the estimates.

use crate::support::Streamgauge;
use crate::support::sim::{send_chat, simulate};
use serde_json::json;
use std::time::Duration;
use streamgauge_sim::model::EngineSpec;

const CLIENTS: usize = 4;
/// Enough requests at similar rates, whatever the speed of the machine.
const REQUESTS: usize = 2000;

#[test]
fn limits_of_the_sustainable_rate_are_exported() {
    let (server, _) = simulate(EngineSpec {
        prefill_base: Duration::ZERO,
        decode_base: Duration::ZERO,
        decode_per_running: Duration::ZERO,
        ..EngineSpec::new("sim")
    });
    let gauge = Streamgauge::with_file(&format!(
        "upstream = 'http://{server}'\nlisten = '127.0.0.1:0'\n\
         [[slo]]\nname = 'easy'\nlatency_seconds = 600\n\
         [[slo]]\nname = 'impossible'\nlatency_seconds = 0.000001\n"
    ));
    let body = json!({"model": "sim", "messages": [], "sim": {"output_tokens": 1}});
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| (0..REQUESTS).for_each(|_| drop(send_chat(gauge.proxy, &body))));
        }
    });
    let scrape = gauge.scrape();
    let rate = |end: &str, slo: &str| {
        let name = format!("streamgauge_sustainable{end}_requests_per_second");
        scrape.sum(&name, &[&format!("slo=\"{slo}\""), "gen_ai_request_model=\"sim\""])
    };
    // All requests meet one class and miss the other, so neither has a best estimate.
    assert!(rate("_low", "easy") > 0.0);
    assert!(rate("_high", "impossible") > 0.0);
    assert_eq!((rate("_low", "impossible"), rate("_high", "easy")), (0.0, 0.0));
    assert!(!scrape.has("streamgauge_sustainable_requests_per_second"));
    assert!(scrape.sum("streamgauge_saturation_ratio", &["gen_ai_request_model=\"sim\""]) > 0.1);
}
