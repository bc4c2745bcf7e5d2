//! What truly happened, by model: the simulated server's own record, as sums that stay small however
//! long the demo runs.

use super::account::Account;
use crate::metrics::OTHER;
use std::collections::{BTreeMap, BTreeSet};
use streamgauge_sim::TruthRecord;

/// The simulated server's own record, by what the gauge's label for the model must be.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, Entry>);

#[derive(Debug, Default)]
struct Entry {
    account: Account,
    dialects: BTreeSet<String>,
}

impl Ledger {
    /// Adds these requests.
    pub fn absorb(&mut self, records: &[TruthRecord]) {
        for record in records {
            // A model is a label only where the server has confirmed it by a 2xx.
            let confirmed = record.status.is_some_and(|status| (200..300).contains(&status));
            let model = if confirmed { &record.model } else { OTHER };
            let entry = self.0.entry(model.to_owned()).or_default();
            entry.account.absorb(record);
            entry.dialects.extend(record.dialect.clone());
        }
    }

    /// All requests.
    pub fn requests(&self) -> f64 {
        self.0.values().map(|entry| entry.account.requests()).sum()
    }

    /// The label's values.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The APIs by which a model was asked, as the gauge names them.
    pub fn dialects(&self, model: &str) -> String {
        let dialects = self.0.get(model).map(|entry| entry.dialects.iter().map(String::as_str));
        dialects.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The sums of one model.
    pub fn of(&self, model: &str) -> Account {
        self.0.get(model).map(|entry| entry.account.clone()).unwrap_or_default()
    }

    /// The sums of all models.
    pub fn all(&self) -> Account {
        let mut all = Account::default();
        self.0.values().for_each(|entry| all += &entry.account);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_sim::{End, Reported};

    /// Four tokens in two events, from 2 to 5, and their count told.
    fn record() -> TruthRecord {
        let reported =
            Reported { input_tokens: Some(10), output_tokens: Some(4), ..Reported::default() };
        TruthRecord { reported, prompt_tokens: 10, output_events: 2, ..TruthRecord::example() }
    }

    #[test]
    fn true_sums_follow_the_definitions() {
        type Change = fn(&mut TruthRecord);
        // What is counted: ok, refused, left, broken, TTFT, latency, TPOT, input and output tokens.
        let table: [(&str, Change, [f64; 9]); 9] = [
            ("finished", |_| (), [1., 0., 0., 0., 1., 1., 1., 10., 4.]),
            (
                "no usage",
                |r| r.reported = Reported::default(),
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
                    r.reported = Reported::default();
                },
                [1., 0., 0., 0., 0., 0., 0., 0., 0.],
            ),
            // As Anthropic's streams do, it told the input at its start.
            (
                "left",
                |r| (r.end, r.reported.output_tokens) = (End::Cancelled, None),
                [0., 0., 1., 0., 1., 0., 0., 10., 2.],
            ),
            ("broken", |r| r.end = End::Broken, [0., 0., 0., 1., 1., 0., 0., 10., 4.]),
            (
                "refused",
                |r| {
                    (r.end, r.ttft_s) = (End::Rejected, None);
                    (r.output_tokens, r.output_events) = (0, 0);
                    r.reported = Reported::default();
                },
                [0., 1., 0., 0., 0., 0., 0., 0., 0.],
            ),
        ];
        for (name, change, expected) in table {
            let mut record = record();
            (record.ttft_s, record.latency_s) = (Some(1.0), Some(4.0));
            change(&mut record);
            let mut ledger = Ledger::default();
            ledger.absorb(&[record]);
            let all = ledger.all();
            let Account { ok, refused, left, broken, ttft, latency, tpot, .. } = all;
            let (input, output) = (all.input_tokens, all.output_tokens);
            let found = [ok, refused, left, broken, ttft.count, latency.count, tpot.count];
            let found = [&found[..], &[input, output]].concat();
            assert_eq!(found, expected, "{name}");
            assert_eq!(ledger.requests(), 1.0);
        }
    }

    #[test]
    fn true_tpot_is_by_the_count_that_is_known() {
        let told = record();
        let untold = TruthRecord { reported: Reported::default(), ..record() };
        for (record, tpot) in [(told, 1.0), (untold, 3.0)] {
            let mut ledger = Ledger::default();
            ledger.absorb(&[record]);
            assert_eq!(ledger.all().tpot.seconds, tpot);
        }
    }

    #[test]
    fn a_model_is_a_label_only_once_confirmed() {
        let mut ledger = Ledger::default();
        for status in [Some(200), Some(503), None] {
            ledger.absorb(&[TruthRecord { status, ..record() }]);
        }
        ledger.absorb(&[TruthRecord { dialect: Some("tgi".into()), ..record() }]);
        assert_eq!(ledger.models().collect::<Vec<_>>(), ["m", OTHER]);
        assert_eq!(ledger.dialects("m"), "openai-chat, tgi");
        assert_eq!((ledger.of("m").requests(), ledger.of(OTHER).requests()), (2.0, 2.0));
    }
}
