//! The sums of one model, from either side: as the gauge measured them, and as they truly were.

use super::scrape::{Labels, Scrape};
use crate::metrics::table;
use std::ops::AddAssign;
use streamgauge_sim::{End, TruthRecord};

/// A sum of seconds and of how many durations it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Durations {
    pub seconds: f64,
    pub count: f64,
}

impl Durations {
    /// `None` if there are none.
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

/// The sums of one model. Counts are `f64`, since scrapes have no other numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Account {
    /// Answered, and complete.
    pub ok: f64,
    /// Answered with a status that says no: 4xx, 503.
    pub refused: f64,
    /// The client left before the end.
    pub left: f64,
    /// Ended in another way: an error in the stream, a connection that broke off.
    pub broken: f64,
    /// Of streams that sent a token, whatever came then.
    pub ttft: Durations,
    /// Of streams that are ok and met their model loaded.
    pub latency: Durations,
    /// Of those, of one choice and two tokens at least.
    pub tpot: Durations,
    /// Of all requests whose answer told them.
    pub input_tokens: f64,
    /// Of all requests: what the answer told, else its output events, each as one token.
    pub output_tokens: f64,
}

impl Account {
    /// All requests.
    pub fn requests(&self) -> f64 {
        self.ok + self.refused + self.left + self.broken
    }

    /// What `/metrics` says of the series with these labels.
    pub fn measured(scrape: &Scrape, labels: Labels<'_>) -> Self {
        let durations = |name| Durations::measured(scrape, name, labels);
        let mut account = Self {
            ttft: durations(table::TTFT.name),
            latency: durations(table::STREAM_LATENCY.name),
            tpot: durations(table::TPOT.name),
            ..Self::default()
        };
        for (outcome, count) in scrape.sum_by(table::REQUESTS.name, "outcome", labels) {
            *match outcome.as_str() {
                "ok" => &mut account.ok,
                "rejected" | "client_error" => &mut account.refused,
                left if left.starts_with("client_gone") => &mut account.left,
                _ => &mut account.broken,
            } += count;
        }
        let tokens = scrape.sum_by(table::TOKENS_TOTAL.name, "type", labels);
        account.input_tokens = tokens.get("input").copied().unwrap_or_default();
        account.output_tokens = tokens.get("output").copied().unwrap_or_default();
        account
    }

    /// Adds what one request truly did, as the metrics define it.
    pub fn absorb(&mut self, record: &TruthRecord) {
        *match record.end {
            End::Finished => &mut self.ok,
            End::Rejected => &mut self.refused,
            End::Cancelled => &mut self.left,
            End::Errored | End::Broken => &mut self.broken,
        } += 1.0;
        self.output_tokens += f64::from(countable_output(record));
        self.input_tokens += f64::from(record.reported.input_tokens.unwrap_or_default());
        if record.stream {
            self.ttft.add(record.ttft_s);
        }
        if record.end == End::Finished && record.stream && !waited_for_load(record) {
            self.latency.add(record.latency_s);
            self.tpot.add(tpot(record));
        }
    }
}

/// Whether its model was loaded for it, and its answer says so, as Ollama's do: a cold start.
fn waited_for_load(record: &TruthRecord) -> bool {
    let is_told = record.dialect.as_deref().is_some_and(|dialect| dialect.starts_with("ollama"));
    is_told && record.load_s.is_some_and(|load| load > 0.5)
}

/// The output tokens that can be known at the wire: where no count was told, as none is in a stream that
/// was left, each output event stands for one.
fn countable_output(record: &TruthRecord) -> u32 {
    record.reported.output_tokens.unwrap_or(record.output_events)
}

/// By the same count. Output in one event has no time between tokens.
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

impl AddAssign<&Self> for Account {
    fn add_assign(&mut self, other: &Self) {
        self.ok += other.ok;
        self.refused += other.refused;
        self.left += other.left;
        self.broken += other.broken;
        self.ttft += other.ttft;
        self.latency += other.latency;
        self.tpot += other.tpot;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
    }
}

/// The requests that `/metrics` says have ended.
pub(super) fn measured_requests(scrape: &Scrape) -> f64 {
    scrape.sum(table::REQUESTS.name, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_sums() {
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
        let expected = Account {
            ok: 3.0,
            left: 3.0,
            broken: 4.0,
            ttft: Durations { seconds: 1.5, count: 3.0 },
            output_tokens: 70.0,
            ..Account::default()
        };
        assert_eq!(Account::measured(&scrape, &[("gen_ai_request_model", "m")]), expected);
        assert_eq!(Account::measured(&scrape, &[]).refused, 5.0);
        assert_eq!(measured_requests(&scrape), 15.0);
    }
}
