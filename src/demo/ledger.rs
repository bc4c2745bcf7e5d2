//! What truly happened, by model: the simulated server's own record, as sums that stay small however
//! long the demo runs.

use super::account::Account;
use crate::metrics::OTHER;
use crate::sim::TruthRecord;
use std::collections::{BTreeMap, BTreeSet};

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
    use crate::sim::{End, Reported};

    fn record() -> TruthRecord {
        let reported = Reported { input_tokens: Some(10), ..Reported::default() };
        TruthRecord { reported, prompt_tokens: 10, ..TruthRecord::example() }
    }

    #[test]
    fn true_sums_follow_the_definitions() {
        type Change = fn(&mut TruthRecord);
        // What is counted: ok, refused, left, broken, TTFT, latency, TPOT, input and output tokens.
        let table: [(&str, Change, [f64; 9]); 6] = [
            ("finished", |_| (), [1., 0., 0., 0., 1., 1., 1., 10., 4.]),
            (
                "no usage",
                |r| r.reported = Reported::default(),
                [1., 0., 0., 0., 1., 1., 1., 0., 4.],
            ),
            ("no stream", |r| r.stream = false, [1., 0., 0., 0., 0., 0., 0., 10., 4.]),
            ("left", |r| r.end = End::Cancelled, [0., 0., 1., 0., 1., 0., 0., 10., 4.]),
            ("broken", |r| r.end = End::Broken, [0., 0., 0., 1., 1., 0., 0., 10., 4.]),
            (
                "refused",
                |r| {
                    (r.end, r.ttft_s, r.output_tokens) = (End::Rejected, None, 0);
                    r.reported = Reported::default();
                },
                [0., 1., 0., 0., 0., 0., 0., 0., 0.],
            ),
        ];
        for (name, change, expected) in table {
            let mut record = record();
            (record.ttft_s, record.latency_s, record.tpot_s) = (Some(1.0), Some(4.0), Some(1.0));
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
