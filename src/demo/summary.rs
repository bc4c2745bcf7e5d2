//! The summary: what was measured beside what truly happened.

use super::account::{Account, Durations};
use super::ledger::Ledger;
use super::scrape::Scrape;
use super::table::{hundredths, lay_out, whole};
use super::view::{MODEL, in_order};
use crate::metrics::{OTHER, table};
use std::time::Duration;

const WIDTHS: [usize; 6] = [24, 14, 14, 14, 11, 15];

const NOTES: &str = "\
measured   what /metrics says: counters, and _sum over _count of histograms
true       the simulated server's own record, made as it reads a request's head and as it hands over
           each event; the gauge's clock starts before that, when the client's first byte arrives
requests   beside a mean: how many it covers, measured / true
TTFT       of streams that sent a token, also of those that were left afterwards
latency    and TPOT: of streams that ended ok
by         the API that the clients spoke
tokens     of input: of answers that told them; of output: of all, by the count that the answer
           told. Requests without a told count, as of streams that were left, are counted by events
           on both sides, each as one token; the server may have sent one more than arrived
other      what no 2xx answer confirmed a model for: refusals, and who left before the head";

/// The summary's lines. `clients` is their own account.
pub(super) fn lines(ran: Duration, scrape: &Scrape, ledger: &Ledger, clients: &str) -> Vec<String> {
    let measured = scrape.sum_by(table::REQUESTS.name, MODEL, &[]);
    let models = in_order(ledger.models().chain(measured.keys().map(String::as_str)));
    let mut rows = Vec::new();
    let mut counts_agree = true;
    let mut section = |name: &str, dialects: &str, measured: &Account, truth: &Account| {
        if !rows.is_empty() {
            rows.push(Vec::new());
        }
        let heads = ["measured", "true", "difference", "", "requests"];
        rows.push([name].into_iter().chain(heads).map(String::from).collect());
        if !dialects.is_empty() {
            rows.push(vec![format!("by {dialects}")]);
        }
        rows.extend(compare(measured, truth));
        counts_agree &= agree(measured, truth);
    };
    for &model in &models {
        let measured = Account::measured(scrape, &[(MODEL, model)]);
        // Refusals have no model, and are of every API.
        let dialects = if model == OTHER { String::new() } else { ledger.dialects(model) };
        section(model, &dialects, &measured, &ledger.of(model));
    }
    if models.len() != 1 {
        section("all models", "", &Account::measured(scrape, &[]), &ledger.all());
    }
    let mut lines =
        vec![format!("Summary of {:.0} s: measured beside true", ran.as_secs_f64()), String::new()];
    lines.extend(lay_out(&rows, &WIDTHS));
    lines.push(String::new());
    lines.push(clients.to_owned());
    lines.push(if counts_agree {
        "Every request is counted on both sides, with the same outcome.".into()
    } else {
        "The counts of requests DIFFER: see above.".to_owned()
    });
    lines.push(String::new());
    lines.extend(NOTES.lines().map(String::from));
    lines
}

fn agree(measured: &Account, truth: &Account) -> bool {
    let counts = |account: &Account| {
        let Account { ok, refused, left, broken, ttft, latency, tpot, .. } = account;
        [*ok, *refused, *left, *broken, ttft.count, latency.count, tpot.count]
    };
    counts(measured) == counts(truth)
}

/// The rows of one model; what neither side has anything of is left out.
fn compare(measured: &Account, truth: &Account) -> Vec<Vec<String>> {
    let counts = [
        ("requests", measured.requests(), truth.requests()),
        ("  ok", measured.ok, truth.ok),
        ("  refused", measured.refused, truth.refused),
        ("  left by the client", measured.left, truth.left),
        ("  broken off", measured.broken, truth.broken),
        ("input tokens", measured.input_tokens, truth.input_tokens),
        ("output tokens", measured.output_tokens, truth.output_tokens),
    ];
    let means = [
        ("mean TTFT", measured.ttft, truth.ttft),
        ("mean latency", measured.latency, truth.latency),
        ("mean TPOT", measured.tpot, truth.tpot),
    ];
    let mut rows = Vec::new();
    rows.extend(counts.iter().filter(|(_, a, b)| a + b > 0.0).map(|(name, a, b)| {
        let percent = if a == b { String::new() } else { percent(*a, *b) };
        vec![(*name).to_owned(), whole(*a), whole(*b), difference(*a, *b), percent]
    }));
    rows.extend(means.iter().filter(|(_, a, b)| a.count + b.count > 0.0).map(|(name, a, b)| {
        let covered = format!("{} / {}", whole(a.count), whole(b.count));
        [(*name).to_owned()].into_iter().chain(mean(*a, *b)).chain([covered]).collect()
    }));
    rows
}

fn difference(measured: f64, truth: f64) -> String {
    match measured - truth {
        0.0 => "=".into(),
        more if more > 0.0 => format!("+{}", whole(more)),
        less => whole(less),
    }
}

/// Measured, true, the difference and its share.
fn mean(measured: Durations, truth: Durations) -> [String; 4] {
    let ms =
        |mean: Option<f64>| mean.map_or_else(|| "-".into(), |mean| hundredths(mean * 1e3) + " ms");
    let (a, b) = (measured.mean(), truth.mean());
    let (difference, share) = match (a, b) {
        (Some(a), Some(b)) => (signed((a - b) * 1e3) + " ms", percent(a, b)),
        _ => ("-".into(), String::new()),
    };
    [ms(a), ms(b), difference, share]
}

fn percent(measured: f64, truth: f64) -> String {
    if truth > 0.0 { signed((measured / truth - 1.0) * 100.0) + " %" } else { String::new() }
}

/// With its sign and two decimals; what rounds to nothing has no sign.
fn signed(number: f64) -> String {
    if number.abs() < 0.005 { "0.00".into() } else { format!("{number:+.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_where_there_are_any() {
        let truth = Account {
            ok: 3.0,
            left: 1.0,
            ttft: Durations { seconds: 6.0, count: 4.0 },
            output_tokens: 2_000.0,
            ..Account::default()
        };
        let measured = Account {
            ok: 3.0,
            left: 1.0,
            ttft: Durations { seconds: 6.01, count: 4.0 },
            output_tokens: 1_999.0,
            ..Account::default()
        };
        let rows = compare(&measured, &truth);
        let rows: Vec<&[String]> = rows.iter().map(Vec::as_slice).collect();
        let expected: [&[&str]; 5] = [
            &["requests", "4", "4", "=", ""],
            &["  ok", "3", "3", "=", ""],
            &["  left by the client", "1", "1", "=", ""],
            &["output tokens", "1,999", "2,000", "-1", "-0.05 %"],
            &["mean TTFT", "1,502.50 ms", "1,500.00 ms", "+2.50 ms", "+0.17 %", "4 / 4"],
        ];
        assert_eq!(rows, expected);
        assert!(agree(&measured, &truth), "a token on its way is no lost request");
        let lost = Account { left: 0.0, ..measured };
        assert!(!agree(&lost, &truth));
    }

    #[test]
    fn nothing_at_all_is_a_summary_too() {
        let lines = lines(Duration::ZERO, &Scrape::default(), &Ledger::default(), "The clients.");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("all models")));
    }
}
