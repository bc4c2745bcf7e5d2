//! What every request must leave behind: one outcome, and books that balance.

use super::{Gauge, Scrape};
use serde_json::Value;

impl Scrape {
    /// Requests that have ended, of all outcomes.
    pub fn ended(&self) -> f64 {
        self.sum("streamgauge_requests_total", &[])
    }

    /// Requests in flight in a phase.
    pub fn in_phase(&self, phase: &str) -> f64 {
        self.sum("streamgauge_in_flight_requests", &[&format!("phase=\"{phase}\"")])
    }

    /// Fails if arrivals are not the ended requests and those in flight.
    pub fn assert_balanced(&self) {
        let arrivals = self.sum("streamgauge_arrivals_total", &[]);
        let in_flight = self.sum("streamgauge_in_flight_requests", &[]);
        assert_eq!(arrivals, self.ended() + in_flight, "arrivals = ended + in flight");
    }
}

impl Gauge {
    /// Waits until the only request has ended; fails unless it did so once, in this way, and the
    /// metrics and the request log say the same. Gives its line of the log.
    pub fn assert_one(&self, outcome: &str) -> Value {
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

/// A file for a request log; it is removed when dropped.
pub struct TemporaryLog(String);

impl TemporaryLog {
    pub fn new(name: &str) -> Self {
        let name = format!("streamgauge-{}-{name}.jsonl", std::process::id());
        Self(std::env::temp_dir().join(name).to_str().unwrap().to_owned())
    }

    pub fn path(&self) -> &str {
        &self.0
    }

    /// The lines that are in it.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for TemporaryLog {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
