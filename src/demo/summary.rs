//! The summary: measured numbers beside the simulated server's record.

use super::scrape::Scrape;
use super::table::{hundredths, lay_out};
use super::totals::{Durations, MODEL, ModelTotals};
use super::truth::TruthTotals;
use crate::metrics::{OTHER, table};
use crate::readable::whole;
use std::time::Duration;

/// Column widths; 80 characters in all, unless a cell needs more.
const WIDTHS: [usize; 6] = [21, 13, 13, 12, 9, 12];

const NOTES: &str = "\
measured   from /metrics: counters, and _sum / _count of histograms
true       from the simulated server's own record of each request and event.
           Streamgauge's clock starts earlier, at the client's first byte.
requests   in the rows of means: requests covered, measured / true
TTFT       streams that sent a token, including aborted ones
latency    and TPOT: streams that ended ok
API        the dialect of the clients
tokens     input: responses with usage. Output: all responses; without usage,
           such as aborted streams, each event counts as one token on both
           sides, and the server may have sent one more than arrived
other      requests without a confirmed model: rejected ones, and those whose
           client disconnected before the response";

/// The lines of the summary. `clients` is the clients' own account of their requests.
pub(super) fn lines(
    ran: Duration,
    scrape: &Scrape,
    truth: &TruthTotals,
    clients: &str,
) -> Vec<String> {
    let measured = scrape.sum_by(table::REQUESTS.name, MODEL, &[]);
    let models = in_order(truth.models().chain(measured.keys().map(String::as_str)));
    let mut rows = Vec::new();
    let mut counts_agree = true;
    let mut section = |name: &str, dialects: &str, measured: &ModelTotals, truth: &ModelTotals| {
        if !rows.is_empty() {
            rows.push(Vec::new());
        }
        let heads = ["measured", "true", "difference", "", "requests"];
        rows.push([name].into_iter().chain(heads).map(String::from).collect());
        if !dialects.is_empty() {
            rows.push(vec![format!("API: {dialects}")]);
        }
        rows.extend(compare(measured, truth));
        counts_agree &= agree(measured, truth);
    };
    for &model in &models {
        let measured = ModelTotals::measured(scrape, &[(MODEL, model)]);
        // Rejected requests have no model label and come from every API.
        let dialects = if model == OTHER { String::new() } else { truth.dialects(model) };
        section(model, &dialects, &measured, &truth.of(model));
    }
    if models.len() != 1 {
        section("all models", "", &ModelTotals::measured(scrape, &[]), &truth.all());
    }
    let mut lines =
        vec![format!("Summary of {:.0} s: measured and true", ran.as_secs_f64()), String::new()];
    lines.extend(lay_out(&rows, &WIDTHS));
    lines.push(String::new());
    lines.extend(clients.lines().map(String::from));
    lines.extend(verdict(counts_agree, truth.foreign_requests()));
    lines.push(String::new());
    lines.extend(NOTES.lines().map(String::from));
    lines
}

/// The models among these label values, sorted, with `other` at the end.
fn in_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut models: Vec<&str> = labels.collect();
    models.sort_unstable_by_key(|model| (*model == OTHER, *model));
    models.dedup();
    models
}

/// Whether both sides counted the same requests, and how requests of other clients affect that.
fn verdict(counts_agree: bool, foreign: u64) -> Vec<String> {
    let mut lines = Vec::new();
    match foreign {
        0 => {}
        1 => lines.push("1 request came from another client; both sides include it.".into()),
        _ => lines
            .push(format!("{foreign} requests came from other clients; both sides include them.")),
    }
    match (counts_agree, foreign) {
        (true, _) => lines.push("Both sides counted every request with the same outcome.".into()),
        (false, 0) => lines.push("The counts of requests DIFFER: see above.".into()),
        (false, _) => lines.extend(
            [
                "The counts of requests differ. The requests of other clients can cause this:",
                "one that waits for a model to load counts as a cold start, without latency",
                "and TPOT, although its response does not report the load.",
            ]
            .map(String::from),
        ),
    }
    lines
}

fn agree(measured: &ModelTotals, truth: &ModelTotals) -> bool {
    let counts = |totals: &ModelTotals| {
        let ModelTotals { ok, rejected, client_gone, failed, ttft, latency, tpot, .. } = totals;
        [*ok, *rejected, *client_gone, *failed, ttft.count, latency.count, tpot.count]
    };
    counts(measured) == counts(truth)
}

/// The rows of one model, without those that are 0 on both sides.
fn compare(measured: &ModelTotals, truth: &ModelTotals) -> Vec<Vec<String>> {
    let counts = [
        ("requests", measured.requests(), truth.requests()),
        ("  ok", measured.ok, truth.ok),
        ("  rejected", measured.rejected, truth.rejected),
        ("  client gone", measured.client_gone, truth.client_gone),
        ("  failed", measured.failed, truth.failed),
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

/// Cells of a mean: measured, true, difference, relative difference.
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

/// Formats a number with its sign and two decimals; a number that rounds to 0 has no sign.
fn signed(number: f64) -> String {
    if number.abs() < 0.005 { "0.00".into() } else { format!("{number:+.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_is_the_last_model() {
        assert_eq!(
            in_order(["qwen", "other", "llama", "qwen"].into_iter()),
            ["llama", "qwen", "other"]
        );
    }

    #[test]
    fn rows_show_the_differences() {
        let truth = ModelTotals {
            ok: 3.0,
            client_gone: 1.0,
            ttft: Durations { seconds: 6.0, count: 4.0 },
            output_tokens: 2_000.0,
            ..ModelTotals::default()
        };
        let measured = ModelTotals {
            ok: 3.0,
            client_gone: 1.0,
            ttft: Durations { seconds: 6.01, count: 4.0 },
            output_tokens: 1_999.0,
            ..ModelTotals::default()
        };
        let rows = compare(&measured, &truth);
        let rows: Vec<&[String]> = rows.iter().map(Vec::as_slice).collect();
        let expected: [&[&str]; 5] = [
            &["requests", "4", "4", "=", ""],
            &["  ok", "3", "3", "=", ""],
            &["  client gone", "1", "1", "=", ""],
            &["output tokens", "1,999", "2,000", "-1", "-0.05 %"],
            &["mean TTFT", "1,502.50 ms", "1,500.00 ms", "+2.50 ms", "+0.17 %", "4 / 4"],
        ];
        assert_eq!(rows, expected);
        assert!(agree(&measured, &truth), "a token still on its way is not a lost request");
        let lost = ModelTotals { client_gone: 0.0, ..measured };
        assert!(!agree(&lost, &truth));
    }

    #[test]
    fn summary_of_no_requests_fits_80_columns() {
        let lines =
            lines(Duration::ZERO, &Scrape::default(), &TruthTotals::default(), "The clients.");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("all models")));
    }

    #[test]
    fn verdict_names_the_requests_of_other_clients() {
        for (counts_agree, foreign, words) in [
            (true, 0, &["Both sides counted every request"][..]),
            (true, 1, &["1 request came from another client", "Both sides counted"]),
            (false, 0, &["The counts of requests DIFFER"]),
            (false, 2, &["2 requests came from other clients", "other clients can cause this"]),
        ] {
            let lines = verdict(counts_agree, foreign).join("\n");
            assert!(words.iter().all(|words| lines.contains(words)), "{lines}");
        }
    }
}
