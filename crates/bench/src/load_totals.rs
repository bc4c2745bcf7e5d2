//! Results of all connections of a load generator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::connection::FailureReason;
use crate::load_plan::LoadPlan;
use crate::stats::quantile;

/// Maximum number of recorded latencies.
const SAMPLE_LIMIT: usize = 16 << 20;
/// Totals of all connections. Times are in nanoseconds.
#[derive(Debug, Default)]
pub struct LoadTotals {
    requests: u64,
    expected: u64,
    tokens: u64,
    /// Body bytes, without HTTP framing.
    pub bytes: u64,
    window_tokens: u64,
    window_requests: u64,
    latencies: Vec<u64>,
    header_times: Vec<u64>,
    first_token_times: Vec<u64>,
    /// When the current stream was requested; `None` after its first token.
    requested_at: Option<u64>,
    failures: BTreeMap<FailureReason, u64>,
}

impl LoadTotals {
    /// Counts a request for this number of tokens.
    pub fn record_request(&mut self, tokens: u64) {
        self.requests += 1;
        self.expected += tokens;
    }

    /// Records the time from a request to its response headers.
    pub fn record_headers(&mut self, after: u64) {
        self.header_times.push(after);
    }

    /// Marks the next [token](Self::record_token) as the first of a stream requested at `requested_at`.
    pub fn expect_first_token(&mut self, requested_at: u64) {
        self.requested_at = Some(requested_at);
    }

    /// Records a token that was sent at `sent` and received at `at`.
    pub fn record_token(&mut self, plan: &LoadPlan, sent: u64, at: u64) {
        self.tokens += 1;
        if let Some(requested_at) = self.requested_at.take() {
            self.first_token_times.push(at.saturating_sub(requested_at));
        }
        if (plan.from..plan.until).contains(&at) {
            self.window_tokens += 1;
            if self.latencies.len() < SAMPLE_LIMIT {
                self.latencies.push(at.saturating_sub(sent));
            }
        }
    }

    /// Records a complete short response with these numbers of tokens and bytes.
    pub fn record_short_response(&mut self, tokens: u64, bytes: u64) {
        self.tokens += tokens;
        self.bytes += bytes;
    }

    /// Records a response that was complete at `at`.
    pub fn record_end(&mut self, plan: &LoadPlan, at: u64) {
        self.window_requests += u64::from((plan.from..plan.until).contains(&at));
    }

    /// Records a failed response.
    pub fn record_failure(&mut self, failure: FailureReason) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Returns the report as JSON.
    pub fn into_json(mut self) -> Value {
        json!({
            "requests": self.requests,
            "tokens": self.tokens,
            "expected_tokens": self.expected,
            "bytes": self.bytes,
            "window_tokens": self.window_tokens,
            "window_requests": self.window_requests,
            "latency_us": quantiles(&mut self.latencies),
            "head_us": quantiles(&mut self.header_times),
            "first_token_us": quantiles(&mut self.first_token_times),
            "errors": self.failures.values().sum::<u64>(),
            "failures": self.failures,
        })
    }
}

fn quantiles(nanos: &mut [u64]) -> Value {
    nanos.sort_unstable();
    let at = |q| quantile(nanos, q).map(|nanos| nanos as f64 / 1e3);
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)})
}
