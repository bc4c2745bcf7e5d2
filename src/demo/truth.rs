//! The true totals by model, from the simulated server's own record. They take the same memory however long the
//! demo runs.

use super::totals::ModelTotals;
use crate::metrics::OTHER;
use std::collections::{BTreeMap, BTreeSet};
use streamgauge_sim::TruthRecord;

/// True totals by the expected value of the model label.
#[derive(Debug, Default)]
pub(super) struct TruthTotals {
    models: BTreeMap<String, ModelTruth>,
    foreign_requests: u64,
}

#[derive(Debug, Default)]
struct ModelTruth {
    totals: ModelTotals,
    dialects: BTreeSet<String>,
}

impl TruthTotals {
    /// Adds these records.
    pub fn add(&mut self, records: &[TruthRecord]) {
        for record in records {
            // A model becomes a label value only after the server confirmed it with a 2xx status.
            let confirmed = record.status.is_some_and(|status| (200..300).contains(&status));
            let model = if confirmed { &record.model } else { OTHER };
            let entry = self.models.entry(model.to_owned()).or_default();
            entry.totals.add_record(record);
            entry.dialects.extend(record.dialect.clone());
            if !record.request_id.as_deref().is_some_and(|id| id.starts_with("sim-")) {
                self.foreign_requests += 1;
            }
        }
    }

    /// Number of requests that did not come from the demo's own traffic, such as a `curl` of the user.
    pub fn foreign_requests(&self) -> u64 {
        self.foreign_requests
    }

    /// Number of requests.
    pub fn requests(&self) -> f64 {
        self.models.values().map(|entry| entry.totals.requests()).sum()
    }

    /// The expected values of the model label.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// The dialects in which clients requested this model.
    pub fn dialects(&self, model: &str) -> String {
        let dialects =
            self.models.get(model).map(|entry| entry.dialects.iter().map(String::as_str));
        dialects.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Totals of one model.
    pub fn of(&self, model: &str) -> ModelTotals {
        self.models.get(model).map(|entry| entry.totals.clone()).unwrap_or_default()
    }

    /// Totals of all models.
    pub fn all(&self) -> ModelTotals {
        let mut all = ModelTotals::default();
        self.models.values().for_each(|entry| all += &entry.totals);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_sim::{ReportedValues, TruthEnd};

    /// Four tokens in two events, sent from 2 s to 5 s, with usage.
    fn record() -> TruthRecord {
        let reported = ReportedValues {
            input_tokens: Some(10),
            output_tokens: Some(4),
            ..ReportedValues::default()
        };
        TruthRecord { reported, prompt_tokens: 10, output_events: 2, ..TruthRecord::example() }
    }

    #[test]
    fn true_totals_follow_the_definitions() {
        type RecordEdit = fn(&mut TruthRecord);
        // Counts of: ok, rejected, client gone, failed, TTFT, latency, TPOT; input and output tokens.
        let table: [(&str, RecordEdit, [f64; 9]); 9] = [
            ("finished", |_| (), [1., 0., 0., 0., 1., 1., 1., 10., 4.]),
            (
                "no usage",
                |r| r.reported = ReportedValues::default(),
                [1., 0., 0., 0., 1., 1., 1., 0., 2.],
            ),
            ("one event", |r| r.output_events = 1, [1., 0., 0., 0., 1., 1., 0., 10., 4.]),
            ("two choices", |r| r.choices = 2, [1., 0., 0., 0., 1., 1., 0., 10., 4.]),
            (
                "no stream",
                |r| (r.stream, r.output_events) = (false, 0),
                [1., 0., 0., 0., 0., 0., 0., 10., 4.],
            ),
            (
                "no stream, no usage",
                |r| {
                    (r.stream, r.output_events) = (false, 0);
                    r.reported = ReportedValues::default();
                },
                [1., 0., 0., 0., 0., 0., 0., 0., 0.],
            ),
            // Anthropic's streams report the input tokens at their start.
            (
                "client gone",
                |r| (r.end, r.reported.output_tokens) = (TruthEnd::Cancelled, None),
                [0., 0., 1., 0., 1., 0., 0., 10., 2.],
            ),
            ("failed", |r| r.end = TruthEnd::Broken, [0., 0., 0., 1., 1., 0., 0., 10., 4.]),
            (
                "rejected",
                |r| {
                    (r.end, r.ttft_s) = (TruthEnd::Rejected, None);
                    (r.output_tokens, r.output_events) = (0, 0);
                    r.reported = ReportedValues::default();
                },
                [0., 1., 0., 0., 0., 0., 0., 0., 0.],
            ),
        ];
        for (name, change, expected) in table {
            let mut record = record();
            (record.ttft_s, record.latency_s) = (Some(1.0), Some(4.0));
            change(&mut record);
            let mut truth = TruthTotals::default();
            truth.add(&[record]);
            let all = truth.all();
            let ModelTotals { ok, rejected, client_gone, failed, ttft, latency, tpot, .. } = all;
            let (input, output) = (all.input_tokens, all.output_tokens);
            let found = [ok, rejected, client_gone, failed, ttft.count, latency.count, tpot.count];
            let found = [&found[..], &[input, output]].concat();
            assert_eq!(found, expected, "{name}");
            assert_eq!(truth.requests(), 1.0);
        }
    }

    #[test]
    fn true_tpot_uses_the_reported_count_else_the_events() {
        let with_usage = record();
        let without_usage = TruthRecord { reported: ReportedValues::default(), ..record() };
        for (record, tpot) in [(with_usage, 1.0), (without_usage, 3.0)] {
            let mut truth = TruthTotals::default();
            truth.add(&[record]);
            assert_eq!(truth.all().tpot.seconds, tpot);
        }
    }

    #[test]
    fn only_confirmed_models_become_label_values() {
        let mut truth = TruthTotals::default();
        for status in [Some(200), Some(503), None] {
            truth.add(&[TruthRecord { status, ..record() }]);
        }
        truth.add(&[TruthRecord { dialect: Some("tgi".into()), ..record() }]);
        assert_eq!(truth.models().collect::<Vec<_>>(), ["m", OTHER]);
        assert_eq!(truth.dialects("m"), "openai-chat, tgi");
        assert_eq!((truth.of("m").requests(), truth.of(OTHER).requests()), (2.0, 2.0));
    }

    #[test]
    fn foreign_requests_are_counted() {
        let mut truth = TruthTotals::default();
        for id in [Some("sim-7"), Some("r"), None] {
            truth.add(&[TruthRecord { request_id: id.map(String::from), ..record() }]);
        }
        assert_eq!((truth.foreign_requests(), truth.requests()), (2, 3.0));
    }
}
