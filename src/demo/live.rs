//! The live table: which numbers it shows, from which series, and how it fits the terminal.

use super::rates::{self, ScrapeWindow};
use super::table::{lay_out, milliseconds};
use super::terminal::{TableLine, TerminalSize};
use super::truth::TruthTotals;
use crate::metrics::{OTHER, table};
use crate::readable::{truncate, whole};
use std::net::SocketAddr;
use std::time::Duration;

/// The gauge of requests in flight.
pub(super) const IN_FLIGHT: &str = table::IN_FLIGHT.name;
/// The label with the model.
pub(super) const MODEL: &str = "gen_ai_request_model";

/// Columns of the table when standard output is not a terminal.
const PIPE_COLUMNS: usize = 100;

/// One column of the table of rates and quantiles.
struct Column {
    headings: [&'static str; 2],
    width: usize,
    /// Columns with a higher value are dropped first on a narrow terminal; 0 is never dropped.
    drop_order: u8,
}

const COLUMNS: [Column; 10] = [
    Column { headings: ["", "model"], width: 22, drop_order: 0 },
    Column { headings: ["requests", "per s"], width: 9, drop_order: 1 },
    Column { headings: ["output", "tokens/s"], width: 10, drop_order: 3 },
    Column { headings: ["total", "tokens/s"], width: 10, drop_order: 8 },
    Column { headings: ["TTFT p50", "ms"], width: 10, drop_order: 0 },
    Column { headings: ["p95", "ms"], width: 8, drop_order: 4 },
    Column { headings: ["p99", "ms"], width: 8, drop_order: 6 },
    Column { headings: ["TPOT p50", "ms"], width: 10, drop_order: 2 },
    Column { headings: ["p95", "ms"], width: 6, drop_order: 5 },
    Column { headings: ["p99", "ms"], width: 6, drop_order: 7 },
];
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// The live table of one demo.
#[derive(Debug)]
pub(super) struct LiveView {
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl LiveView {
    /// Creates the view of a proxy and an admin port with these addresses.
    pub fn new(proxy: SocketAddr, admin: SocketAddr) -> Self {
        Self { proxy, admin }
    }

    /// The addresses, and a request to try.
    pub fn introduction(&self) -> Vec<String> {
        let Self { proxy, admin } = self;
        vec![
            "Streamgauge demo: traffic -> proxy -> simulated inference server".into(),
            format!("  proxy  http://{proxy}"),
            format!("  page   http://{admin}/"),
            format!("  admin  http://{admin}/metrics"),
            format!("  try    curl -N http://{proxy}/v1/chat/completions \\"),
            r#"           -d '{"model": "phi-4-mini", "stream": true, "max_tokens": 40}'"#.into(),
            "Ctrl-C stops the demo and prints measured and true numbers.".into(),
        ]
    }

    /// The lines of the table. On a terminal (`size` is given) the introduction comes first, and lines are dropped
    /// or truncated until the table fits.
    pub fn lines(
        &self,
        since: Duration,
        window: &ScrapeWindow,
        truth: &TruthTotals,
        size: Option<TerminalSize>,
    ) -> Vec<TableLine> {
        let columns = size.map_or(PIPE_COLUMNS, |size| size.columns);
        let introduction = if size.is_some() { self.introduction() } else { Vec::new() };
        let blocks = [
            (introduction, 1),
            (vec![status(since)], 0),
            (rates(window, columns), 2),
            (outcomes(window, truth), 1),
            (vec![in_flight(window), forwarding_delay(window)], 0),
        ];
        let blocks = blocks.map(|(texts, headings)| {
            let texts = texts.into_iter().enumerate();
            let line = |(at, text): (usize, String)| TableLine {
                text: truncate(&text, columns),
                is_heading: at < headings,
            };
            texts.map(line).collect::<Vec<_>>()
        });
        // The last row stays free for the cursor.
        fit(blocks, size.map_or(usize::MAX, |size| size.rows.saturating_sub(1)))
    }
}

/// Joins the blocks with an empty line between them. Where that is more than `rows` lines, the introduction goes
/// first, then the empty lines, then the lines at the end.
fn fit(mut blocks: [Vec<TableLine>; 5], rows: usize) -> Vec<TableLine> {
    let join = |blocks: &[Vec<TableLine>], separator: &[TableLine]| {
        let blocks: Vec<&[TableLine]> =
            blocks.iter().map(Vec::as_slice).filter(|block| !block.is_empty()).collect();
        blocks.join(separator)
    };
    let empty = [TableLine { text: String::new(), is_heading: false }];
    let full = join(&blocks, &empty);
    if full.len() <= rows {
        return full;
    }
    blocks[0].clear();
    let spaced = join(&blocks, &empty);
    if spaced.len() <= rows {
        return spaced;
    }
    let mut dense = join(&blocks, &[]);
    dense.truncate(rows);
    dense
}

/// The models among these label values, sorted, with `other` at the end.
pub(super) fn in_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut models: Vec<&str> = labels.collect();
    models.sort_unstable_by_key(|model| (*model == OTHER, *model));
    models.dedup();
    models
}

fn status(since: Duration) -> String {
    let (minutes, seconds) = (since.as_secs() / 60, since.as_secs() % 60);
    let window = rates::LENGTH.as_secs();
    format!(
        "After {minutes}:{seconds:02}, from /metrics. Rates: last {window} s. Quantiles: since the start."
    )
}

fn models(window: &ScrapeWindow) -> Vec<String> {
    let latest = window.latest();
    let by = latest.map(|latest| latest.sum_by(table::REQUESTS.name, MODEL, &[]));
    let by = by.unwrap_or_default();
    in_order(by.keys().map(String::as_str)).into_iter().map(String::from).collect()
}

/// Whether each column fits into a line of this many characters.
fn visible_columns(width: usize) -> [bool; COLUMNS.len()] {
    let width_up_to = |drop_order: u8| -> usize {
        let kept = COLUMNS.iter().filter(|column| column.drop_order <= drop_order);
        kept.map(|column| column.width).sum()
    };
    COLUMNS.map(|column| column.drop_order == 0 || width_up_to(column.drop_order) <= width)
}

fn rates(window: &ScrapeWindow, width: usize) -> Vec<String> {
    let headings = |row: fn(&Column) -> &'static str| {
        COLUMNS.iter().map(|column| row(column).to_owned()).collect::<Vec<_>>()
    };
    let mut rows =
        vec![headings(|column| column.headings[0]), headings(|column| column.headings[1])];
    for model in models(window) {
        rows.push(rates_of(window, &model, &[(MODEL, &model)]));
    }
    rows.push(rates_of(window, "all models", &[]));
    let columns = visible_columns(width);
    for row in &mut rows {
        let mut visible = columns.iter();
        row.retain(|_| visible.next().copied().unwrap_or_default());
    }
    let visible = COLUMNS.iter().zip(&columns).filter(|(_, is_visible)| **is_visible);
    let widths: Vec<usize> = visible.map(|(column, _)| column.width).collect();
    lay_out(&rows, &widths)
}

fn rates_of(window: &ScrapeWindow, name: &str, labels: &[(&str, &str)]) -> Vec<String> {
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

fn outcomes(window: &ScrapeWindow, truth: &TruthTotals) -> Vec<String> {
    let mut rows = vec![["requests so far", "ok", "API", "other outcomes"].map(String::from)];
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
        // Rejected requests have no model label and come from every API.
        let dialects = if model == OTHER { String::new() } else { truth.dialects(&model) };
        rows.push([model, ok, dialects, others.join(", ")]);
    }
    // The last two columns are text, so they are aligned to the left.
    let texts: Vec<String> =
        rows.iter().map(|[.., by, others]| format!("{by:<20}{others}")).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(|[model, ok, ..]| vec![model, ok]).collect();
    let counts = lay_out(&rows, &[22, 9]);
    let lines = counts.iter().zip(texts);
    lines.map(|(count, text)| format!("{count}   {text}").trim_end().to_owned()).collect()
}

fn in_flight(window: &ScrapeWindow) -> String {
    let latest = window.latest();
    let by = latest.map(|latest| latest.sum_by(IN_FLIGHT, "phase", &[])).unwrap_or_default();
    let phase = |name: &str| format!("{} {name}", whole(by.get(name).copied().unwrap_or_default()));
    let phases = ["sending", "waiting", "streaming"].map(phase);
    format!("{:<24}{}", "in flight", phases.join(", "))
}

fn forwarding_delay(window: &ScrapeWindow) -> String {
    let delay = table::FORWARDING_DELAY.name;
    let buckets = window.latest().map(|latest| latest.buckets(delay, &[])).unwrap_or_default();
    let [p50, _, p99] = QUANTILES.map(|q| milliseconds(buckets.quantile(q)));
    format!(
        "{:<24}p50 {p50} ms, p99 {p99} ms, from arrival to write of a chunk",
        "forwarding delay"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scrape::Scrape;
    use streamgauge_sim::TruthRecord;
    use tokio::time::Instant;

    /// A view, two scrapes ten seconds apart with 100 new requests, and the true totals.
    fn example() -> (LiveView, ScrapeWindow, TruthTotals) {
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
        let mut window = ScrapeWindow::default();
        window.push(start, scrape(10));
        window.push(start + Duration::from_secs(10), scrape(110));
        let view = LiveView::new(([127, 0, 0, 1], 8080).into(), ([127, 0, 0, 1], 9464).into());
        let mut truth = TruthTotals::default();
        let model = "llama-3.1-8b-instruct".to_owned();
        truth.add(&[TruthRecord { model, ..TruthRecord::example() }]);
        (view, window, truth)
    }

    fn lines(columns: usize, rows: usize) -> Vec<TableLine> {
        let (view, window, truth) = example();
        view.lines(Duration::from_secs(61), &window, &truth, Some(TerminalSize { columns, rows }))
    }

    /// The words of the `at`-th line that begins with `start`.
    fn words(lines: &[TableLine], start: &str, at: usize) -> String {
        let mut matching = lines.iter().filter(|line| line.text.starts_with(start));
        let line = matching.nth(at).unwrap_or_else(|| panic!("no {start:?} {at}: {lines:#?}"));
        line.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn other_is_the_last_model() {
        assert_eq!(
            in_order(["qwen", "other", "llama", "qwen"].into_iter()),
            ["llama", "qwen", "other"]
        );
    }

    #[test]
    fn table_shows_the_scraped_numbers() {
        let lines = lines(120, 60);
        assert!(words(&lines, "After", 0).starts_with("After 1:01,"));
        let rates = "10.0 1,000 11,000 500 2,300 2,460 - - -";
        assert_eq!(words(&lines, "llama", 0), format!("llama-3.1-8b-instruct {rates}"));
        assert_eq!(words(&lines, "other", 0), "other 0.0 0 0 - - - - - -");
        assert_eq!(words(&lines, "all models", 0), format!("all models {rates}"));
        assert_eq!(
            words(&lines, "llama", 1),
            "llama-3.1-8b-instruct 110 openai-chat client_gone_mid_stream 2"
        );
        assert_eq!(words(&lines, "other", 1), "other 0 rejected 1");
        assert_eq!(words(&lines, "in flight", 0), "in flight 0 sending, 4 waiting, 12 streaming");
    }

    #[test]
    fn pipe_gets_the_table_without_the_introduction() {
        let (view, window, truth) = example();
        let piped = view.lines(Duration::from_secs(61), &window, &truth, None);
        assert_eq!(piped, lines(PIPE_COLUMNS, 60)[view.introduction().len() + 1..]);
    }

    #[test]
    fn table_fits_every_terminal() {
        for columns in 1..130 {
            for rows in [1, 5, 10, 24, 40] {
                let lines = lines(columns, rows);
                assert!(lines.len() < rows, "{columns} x {rows}: {lines:#?}");
                for line in &lines {
                    assert!(line.text.chars().count() <= columns, "{columns} x {rows}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn narrow_terminal_drops_the_least_important_columns() {
        let cells = |columns| words(&lines(columns, 24), "llama", 0);
        assert_eq!(cells(99), "llama-3.1-8b-instruct 10.0 1,000 11,000 500 2,300 2,460 - - -");
        // Without the total of tokens and both 99th percentiles.
        assert_eq!(cells(80), "llama-3.1-8b-instruct 10.0 1,000 500 2,300 - -");
        assert_eq!(cells(40), "llama-3.1-8b-instruct 500");
    }
}
