//! The totals of one model, as measured by Streamgauge or as recorded by the simulated server.

use super::scrape::{Labels, Scrape};
use crate::metrics::table;
use std::ops::AddAssign;
use streamgauge_sim::{TruthEnd, TruthRecord};

/// The gauge of requests in flight.
pub(super) const IN_FLIGHT: &str = table::IN_FLIGHT.name;
/// The label with the model.
pub(super) const MODEL: &str = "gen_ai_request_model";

/// Sum and number of durations, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Durations {
    pub seconds: f64,
    pub count: f64,
}

impl Durations {
    /// Mean duration in seconds; `None` without durations.
    pub fn mean(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.seconds / self.count)
    }

    fn add(&mut self, seconds: Option<f64>) {
        if let Some(seconds) = seconds {
            self.seconds += seconds;
            self.count += 1.0;
        }
    }

    fn measured(scrape: &Scrape, name: &str, labels: Labels<'_>) -> Self {
        Self {
            seconds: scrape.sum(&format!("{name}_sum"), labels),
            count: scrape.sum(&format!("{name}_count"), labels),
        }
    }
}

/// The totals of one model. Counts are `f64`, as in a scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ModelTotals {
    /// Requests with a complete response.
    pub ok: f64,
    /// Requests rejected by the server, with status 4xx or 503.
    pub rejected: f64,
    /// Requests whose client disconnected before the end.
    pub client_gone: f64,
    /// Requests that failed: an error in the stream, or a lost connection.
    pub failed: f64,
    /// TTFT of streams that sent a token, however they ended.
    pub ttft: Durations,
    /// Latency of streams that ended ok and did not wait for a model load.
    pub latency: Durations,
    /// TPOT of those, with one choice and at least two tokens.
    pub tpot: Durations,
    /// Input tokens of all requests whose response reports them.
    pub input_tokens: f64,
    /// Output tokens of all requests: as reported, else one per output event.
    pub output_tokens: f64,
}

impl ModelTotals {
    /// Number of requests.
    pub fn requests(&self) -> f64 {
        self.ok + self.rejected + self.client_gone + self.failed
    }

    /// Totals of the series with these labels in a scrape.
    pub fn measured(scrape: &Scrape, labels: Labels<'_>) -> Self {
        let durations = |name| Durations::measured(scrape, name, labels);
        let mut totals = Self {
            ttft: durations(table::TTFT.name),
            latency: durations(table::STREAM_LATENCY.name),
            tpot: durations(table::TPOT.name),
            ..Self::default()
        };
        for (outcome, count) in scrape.sum_by(table::REQUESTS.name, "outcome", labels) {
            *match outcome.as_str() {
                "ok" => &mut totals.ok,
                "rejected" | "client_error" => &mut totals.rejected,
                gone if gone.starts_with("client_gone") => &mut totals.client_gone,
                _ => &mut totals.failed,
            } += count;
        }
        let tokens = scrape.sum_by(table::TOKENS_TOTAL.name, "type", labels);
        totals.input_tokens = tokens.get("input").copied().unwrap_or_default();
        totals.output_tokens = tokens.get("output").copied().unwrap_or_default();
        totals
    }

    /// Adds the record of one request, by the definitions of the metrics.
    pub fn add_record(&mut self, record: &TruthRecord) {
        *match record.end {
            TruthEnd::Finished => &mut self.ok,
            TruthEnd::Rejected => &mut self.rejected,
            TruthEnd::Cancelled => &mut self.client_gone,
            TruthEnd::Errored | TruthEnd::Broken => &mut self.failed,
        } += 1.0;
        self.output_tokens += f64::from(countable_output(record));
        self.input_tokens += f64::from(record.reported.input_tokens.unwrap_or_default());
        if record.stream {
            self.ttft.add(record.ttft_s);
        }
        if record.end == TruthEnd::Finished && record.stream && !waited_for_load(record) {
            self.latency.add(record.latency_s);
            self.tpot.add(tpot(record));
        }
    }
}

/// Whether the request waited for its model to load and the response reports it, as Ollama's do. Streamgauge
/// then records a cold start.
fn waited_for_load(record: &TruthRecord) -> bool {
    let is_reported =
        record.dialect.as_deref().is_some_and(|dialect| dialect.starts_with("ollama"));
    is_reported && record.load_s.is_some_and(|load| load > 0.5)
}

/// Output tokens that are visible at the wire. A response without usage, such as an aborted stream, counts one
/// token per output event.
fn countable_output(record: &TruthRecord) -> u32 {
    record.reported.output_tokens.unwrap_or(record.output_events)
}

/// TPOT by the same token count. A single output event has no time between tokens.
fn tpot(record: &TruthRecord) -> Option<f64> {
    let (first, last) = record.first_sent.zip(record.last_sent)?;
    let later = countable_output(record).checked_sub(1).filter(|later| *later > 0)?;
    (record.choices == 1 && record.output_events >= 2).then(|| (last - first) / f64::from(later))
}

impl AddAssign<Durations> for Durations {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.count += other.count;
    }
}

impl AddAssign<&Self> for ModelTotals {
    fn add_assign(&mut self, other: &Self) {
        self.ok += other.ok;
        self.rejected += other.rejected;
        self.client_gone += other.client_gone;
        self.failed += other.failed;
        self.ttft += other.ttft;
        self.latency += other.latency;
        self.tpot += other.tpot;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
    }
}

/// Number of ended requests in a scrape.
pub(super) fn measured_requests(scrape: &Scrape) -> f64 {
    scrape.sum(table::REQUESTS.name, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_a_scrape() {
        let scrape = Scrape::parse(
            "streamgauge_requests_total{gen_ai_request_model=\"m\",outcome=\"ok\"} 3\n\
             streamgauge_requests_total{gen_ai_request_model=\"m\",outcome=\"client_gone_mid_stream\"} 2\n\
             streamgauge_requests_total{gen_ai_request_model=\"m\",outcome=\"client_gone_before_token\"} 1\n\
             streamgauge_requests_total{gen_ai_request_model=\"m\",outcome=\"truncated\"} 4\n\
             streamgauge_requests_total{gen_ai_request_model=\"other\",outcome=\"rejected\"} 5\n\
             gen_ai_server_time_to_first_token_seconds_sum{gen_ai_request_model=\"m\"} 1.5\n\
             gen_ai_server_time_to_first_token_seconds_count{gen_ai_request_model=\"m\"} 3\n\
             streamgauge_tokens_total{gen_ai_request_model=\"m\",type=\"output\"} 70\n",
        );
        let expected = ModelTotals {
            ok: 3.0,
            client_gone: 3.0,
            failed: 4.0,
            ttft: Durations { seconds: 1.5, count: 3.0 },
            output_tokens: 70.0,
            ..ModelTotals::default()
        };
        assert_eq!(ModelTotals::measured(&scrape, &[("gen_ai_request_model", "m")]), expected);
        assert_eq!(ModelTotals::measured(&scrape, &[]).rejected, 5.0);
        assert_eq!(measured_requests(&scrape), 15.0);
    }
}
