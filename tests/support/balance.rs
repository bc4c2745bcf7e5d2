//! Invariants of every request: one outcome, and metrics that add up.

use super::{MetricsScrape, Streamgauge};
use serde_json::Value;

impl MetricsScrape {
    /// Number of ended requests of all outcomes.
    pub fn ended(&self) -> f64 {
        self.sum("streamgauge_requests_total", &[])
    }

    /// Number of requests in flight in a phase.
    pub fn in_phase(&self, phase: &str) -> f64 {
        self.sum("streamgauge_in_flight_requests", &[&format!("phase=\"{phase}\"")])
    }

    /// Fails if arrivals differ from the sum of ended requests and requests in flight.
    pub fn assert_balanced(&self) {
        let arrivals = self.sum("streamgauge_arrivals_total", &[]);
        let in_flight = self.sum("streamgauge_in_flight_requests", &[]);
        assert_eq!(arrivals, self.ended() + in_flight, "arrivals = ended + in flight");
    }
}

impl Streamgauge {
    /// Waits for the end of the only request and returns its line of the request log. Fails unless the request ended
    /// once, with this outcome, and the metrics agree with the log.
    pub fn assert_single_request(&self, outcome: &str) -> Value {
        let record = self.requests_when(1).remove(0);
        assert_eq!(record["outcome"], outcome, "{record}");
        let scrape = self.scrape();
        assert_eq!(scrape.ended(), 1.0);
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(scrape.sum("streamgauge_requests_total", &[&label]), 1.0);
        let code = record["status"].as_u64().map_or(String::new(), |code| code.to_string());
        let code = format!("code=\"{code}\"");
        assert_eq!(scrape.sum("streamgauge_requests_total", &[&code]), 1.0, "{code}");
        for phase in ["sending", "waiting", "streaming"] {
            assert_eq!(scrape.in_phase(phase), 0.0, "{phase}");
        }
        scrape.assert_balanced();
        let tokens = scrape.sum("streamgauge_tokens_total", &["type=\"output\""]);
        assert_eq!(tokens, record["output_tokens"].as_f64().unwrap_or(0.0), "{record}");
        record
    }
}
