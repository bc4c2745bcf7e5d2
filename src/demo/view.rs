//! The live table: which numbers it shows, and from which series.

use super::ledger::Ledger;
use super::screen::Line;
use super::table::{lay_out, milliseconds, whole};
use super::window::{self, Window};
use crate::metrics::{OTHER, table};
use std::net::SocketAddr;
use std::time::Duration;

/// The gauge of requests in flight.
pub(super) const IN_FLIGHT: &str = table::IN_FLIGHT.name;
/// The label with the model.
pub(super) const MODEL: &str = "gen_ai_request_model";

const WIDTHS: [usize; 10] = [22, 9, 10, 10, 10, 8, 8, 10, 6, 6];
const HEADS: [[&str; 10]; 2] = [
    ["", "requests", "output", "total", "TTFT p50", "p95", "p99", "TPOT p50", "p95", "p99"],
    ["model", "per s", "tokens/s", "tokens/s", "ms", "ms", "ms", "ms", "ms", "ms"],
];
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// The table of one demo.
#[derive(Debug)]
pub(super) struct View {
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl View {
    /// For a proxy and an admin port at these addresses.
    pub fn new(proxy: SocketAddr, admin: SocketAddr) -> Self {
        Self { proxy, admin }
    }

    /// Where it all is, and what to try.
    pub fn introduction(&self) -> Vec<String> {
        let Self { proxy, admin } = self;
        vec![
            "Streamgauge demo: traffic -> proxy -> simulated inference server".into(),
            format!("  proxy  http://{proxy}"),
            format!("  admin  http://{admin}/metrics"),
            format!("  try    curl -N http://{proxy}/v1/chat/completions \\"),
            r#"           -d '{"model": "phi-4-mini", "stream": true, "max_tokens": 40}'"#.into(),
            "Ctrl-C ends it, with a summary: measured beside true.".into(),
        ]
    }

    /// The table. `introduced` puts the introduction above it, where the table takes its place; `ledger`
    /// knows by which APIs a model was asked.
    pub fn lines(
        &self,
        since: Duration,
        window: &Window,
        ledger: &Ledger,
        introduced: bool,
    ) -> Vec<Line> {
        let introduction = if introduced { self.introduction() } else { Vec::new() };
        let blocks = [
            (introduction, 1),
            (vec![status(since)], 0),
            (rates(window), HEADS.len()),
            (outcomes(window, ledger), 1),
            (vec![in_flight(window), own_cost(window)], 0),
        ];
        let mut lines = Vec::new();
        for (texts, headings) in blocks.into_iter().filter(|(texts, _)| !texts.is_empty()) {
            if !lines.is_empty() {
                lines.push(Line { text: String::new(), heading: false });
            }
            let texts = texts.into_iter().enumerate();
            lines.extend(texts.map(|(at, text)| Line { text, heading: at < headings }));
        }
        lines
    }
}

/// The models among these labels, with `other` at the end.
pub(super) fn in_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut models: Vec<&str> = labels.collect();
    models.sort_unstable_by_key(|model| (*model == OTHER, *model));
    models.dedup();
    models
}

fn status(since: Duration) -> String {
    let (minutes, seconds) = (since.as_secs() / 60, since.as_secs() % 60);
    let window = window::LENGTH.as_secs();
    format!(
        "After {minutes}:{seconds:02}, as /metrics has it. \
         Rates: the last {window} s; quantiles: since the start."
    )
}

fn models(window: &Window) -> Vec<String> {
    let latest = window.latest();
    let by = latest.map(|latest| latest.sum_by(table::REQUESTS.name, MODEL, &[]));
    let by = by.unwrap_or_default();
    in_order(by.keys().map(String::as_str)).into_iter().map(String::from).collect()
}

fn rates(window: &Window) -> Vec<String> {
    let mut rows: Vec<Vec<String>> =
        HEADS.iter().map(|head| head.iter().map(ToString::to_string).collect()).collect();
    for model in models(window) {
        rows.push(rates_of(window, &model, &[(MODEL, &model)]));
    }
    rows.push(rates_of(window, "all models", &[]));
    lay_out(&rows, &WIDTHS)
}

fn rates_of(window: &Window, name: &str, labels: &[(&str, &str)]) -> Vec<String> {
    let output = [labels, &[("type", "output")]].concat();
    let (requests, tokens) = (table::REQUESTS.name, table::TOKENS_TOTAL.name);
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), whole);
    let mut row = vec![
        name.to_owned(),
        window.rate(requests, labels).map_or_else(|| "-".into(), |rate| format!("{rate:.1}")),
        rate(window.rate(tokens, &output)),
        rate(window.rate(tokens, labels)),
    ];
    for histogram in [table::TTFT.name, table::TPOT.name] {
        let buckets = window.latest().map(|latest| latest.buckets(histogram, labels));
        let buckets = buckets.unwrap_or_default();
        row.extend(QUANTILES.map(|q| milliseconds(buckets.quantile(q))));
    }
    row
}

fn outcomes(window: &Window, ledger: &Ledger) -> Vec<String> {
    let mut rows = vec![["requests so far", "ok", "by", "other outcomes"].map(String::from)];
    for model in models(window) {
        let labels = [(MODEL, model.as_str())];
        let latest = window.latest();
        let mut by = latest
            .map(|latest| latest.sum_by(table::REQUESTS.name, "outcome", &labels))
            .unwrap_or_default();
        let ok = whole(by.remove("ok").unwrap_or_default());
        let others = by.iter().filter(|(_, count)| **count > 0.0);
        let others: Vec<_> =
            others.map(|(outcome, count)| format!("{outcome} {}", whole(*count))).collect();
        // Refusals have no model, and are of every API.
        let dialects = if model == OTHER { String::new() } else { ledger.dialects(&model) };
        rows.push([model, ok, dialects, others.join(", ")]);
    }
    // The last columns are text, and so stand to the left.
    let texts: Vec<String> =
        rows.iter().map(|[.., by, others]| format!("{by:<20}{others}")).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(|[model, ok, ..]| vec![model, ok]).collect();
    let counts = lay_out(&rows, &[22, 9]);
    let lines = counts.iter().zip(texts);
    lines.map(|(count, text)| format!("{count}   {text}").trim_end().to_owned()).collect()
}

fn in_flight(window: &Window) -> String {
    let latest = window.latest();
    let by = latest.map(|latest| latest.sum_by(IN_FLIGHT, "phase", &[])).unwrap_or_default();
    let phase = |name: &str| format!("{} {name}", whole(by.get(name).copied().unwrap_or_default()));
    let phases = ["sending", "waiting", "streaming"].map(phase);
    format!("{:<24}{}", "in flight", phases.join(", "))
}

fn own_cost(window: &Window) -> String {
    let delay = table::FORWARDING_DELAY.name;
    let buckets = window.latest().map(|latest| latest.buckets(delay, &[])).unwrap_or_default();
    let [p50, _, p99] = QUANTILES.map(|q| milliseconds(buckets.quantile(q)));
    format!(
        "{:<24}p50 {p50} ms, p99 {p99} ms from the read of a chunk to its write",
        "forwarding delay"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scrape::Scrape;
    use streamgauge_sim::TruthRecord;
    use tokio::time::Instant;

    #[test]
    fn other_comes_last() {
        assert_eq!(
            in_order(["qwen", "other", "llama", "qwen"].into_iter()),
            ["llama", "qwen", "other"]
        );
    }

    #[test]
    fn the_table_shows_what_was_scraped_and_fits_a_hundred_columns() {
        let scrape = |requests: u32| {
            let m = "gen_ai_request_model=\"llama-3.1-8b-instruct\"";
            Scrape::parse(&format!(
                "streamgauge_requests_total{{{m},outcome=\"ok\"}} {requests}\n\
                 streamgauge_requests_total{{{m},outcome=\"truncated\"}} 0\n\
                 streamgauge_requests_total{{{m},outcome=\"client_gone_mid_stream\"}} 2\n\
                 streamgauge_requests_total{{gen_ai_request_model=\"other\",outcome=\"rejected\"}} 1\n\
                 streamgauge_tokens_total{{{m},type=\"input\"}} {}\n\
                 streamgauge_tokens_total{{{m},type=\"output\"}} {}\n\
                 gen_ai_server_time_to_first_token_seconds_bucket{{{m},le=\"0.5\"}} 10\n\
                 gen_ai_server_time_to_first_token_seconds_bucket{{{m},le=\"2.5\"}} 20\n\
                 gen_ai_server_time_to_first_token_seconds_bucket{{{m},le=\"+Inf\"}} 20\n\
                 streamgauge_in_flight_requests{{phase=\"waiting\"}} 4\n\
                 streamgauge_in_flight_requests{{phase=\"streaming\"}} 12\n",
                requests * 1000,
                requests * 100,
            ))
        };
        let start = Instant::now();
        let mut window = Window::default();
        window.push(start, scrape(10));
        window.push(start + Duration::from_secs(10), scrape(110));
        let view = View::new(([127, 0, 0, 1], 8080).into(), ([127, 0, 0, 1], 9464).into());
        let mut ledger = Ledger::default();
        let model = "llama-3.1-8b-instruct".to_owned();
        ledger.absorb(&[TruthRecord { model, ..TruthRecord::example() }]);
        let lines = view.lines(Duration::from_secs(61), &window, &ledger, true);
        for Line { text, .. } in &lines {
            assert!(text.chars().count() <= 100, "{text}");
        }
        let words = |start: &str, at: usize| {
            let mut found = lines.iter().filter(|line| line.text.starts_with(start));
            found.nth(at).unwrap().text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(view.lines(Duration::ZERO, &window, &ledger, false).len() + 7, lines.len());
        assert!(words("After", 0).starts_with("After 1:01,"));
        let rates = "10.0 1,000 11,000 500 2,300 2,460 - - -";
        assert_eq!(words("llama", 0), format!("llama-3.1-8b-instruct {rates}"));
        assert_eq!(words("other", 0), "other 0.0 0 0 - - - - - -");
        assert_eq!(words("all models", 0), format!("all models {rates}"));
        assert_eq!(
            words("llama", 1),
            "llama-3.1-8b-instruct 110 openai-chat client_gone_mid_stream 2"
        );
        assert_eq!(words("other", 1), "other 0 rejected 1");
        assert_eq!(words("in flight", 0), "in flight 0 sending, 4 waiting, 12 streaming");
    }
}
