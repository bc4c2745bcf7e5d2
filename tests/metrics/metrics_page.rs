//! `docs/metrics.md` agrees with the table of metrics: sections, summary, label values, outcomes and PromQL.

use crate::support::assert_golden;
use crate::support::text_format::promtool;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use streamgauge::testing::metrics::table::{ALL, BUCKETS, Metric, MetricKind};

const PAGE: &str = "docs/metrics.md";
const EDGES: &str = "## Bucket edges";
/// Labels whose values have a table of their own, or are every HTTP status.
const LISTED_ELSEWHERE: [&str; 3] = ["outcome", "code", "error_type"];

fn read_page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap()
}

/// The section of a metric, up to where the page may add notes of its own.
fn section(metric: &Metric) -> String {
    let kind = match metric.kind {
        MetricKind::Counter => "counter".into(),
        MetricKind::Gauge => "gauge".into(),
        MetricKind::Histogram(set) => format!("histogram, edges `{}`", set.name),
    };
    let labels: Vec<String> =
        metric.label_names().iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "none".into() } else { labels.join(", ") };
    format!(
        "### `{}`\n\n{}\n\n- Type: {kind}\n- Labels: {labels}\n- Measured: {}\n",
        metric.name, metric.help, metric.when
    )
}

/// The page with its generated parts written again: the beginning of each metric's section, and the bucket edges. A
/// metric without a section gets one before the bucket edges; move it to its group.
fn regenerated(page: &str) -> String {
    let mut text = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == EDGES {
            for metric in ALL {
                if !page.contains(&format!("\n### `{}`\n", metric.name)) {
                    text.push_str(&section(metric));
                    text.push('\n');
                }
            }
        }
        if let Some(metric) = ALL.iter().find(|metric| line == format!("### `{}`", metric.name)) {
            text.push_str(&section(metric));
            let last = lines.by_ref().find(|line| line.starts_with("- Measured: "));
            assert!(last.is_some(), "{PAGE}: the section of {} has no `- Measured:`", metric.name);
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    let edges = text.find(EDGES).and_then(|at| Some(at + text[at..].find("\n- `")? + 1));
    text.truncate(edges.expect("a list of bucket edges"));
    for set in BUCKETS {
        let edges: Vec<String> = set.edges.iter().map(ToString::to_string).collect();
        writeln!(text, "- `{}`: {}", set.name, edges.join(" ")).unwrap();
    }
    text
}

#[test]
fn sections_agree_with_the_table_of_metrics() {
    assert_golden(PAGE, &regenerated(&read_page()));
}

/// The cells of each row of the summary: metric, type, use, PromQL.
fn summary(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter(|line| line.starts_with("| [`"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn summary_has_each_metric_once_with_its_type_and_an_example() {
    let page = read_page();
    let rows = summary(&page);
    for metric in ALL {
        let name = metric.name;
        let link = format!("[`{name}`](#{name})");
        let own: Vec<_> = rows.iter().filter(|row| row[0] == link).collect();
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        };
        let [row] = own[..] else {
            panic!("{PAGE}: the summary needs one row `| {link} | {kind} | USE | `PROMQL` |`");
        };
        assert_eq!((row.len(), row[1]), (4, kind), "{PAGE}: {row:?}");
        assert!(!row[2].is_empty() && row[3].contains(name), "{PAGE}: {row:?}");
    }
    assert_eq!(rows.len(), ALL.len(), "{PAGE}: the summary names a metric that does not exist");
}

/// Every PromQL expression of a page: the summary's examples, and indented blocks.
fn expressions(page: &str) -> Vec<String> {
    let examples = summary(page).into_iter().map(|row| row[3].trim_matches('`').to_owned());
    let is_code = |line: &&str| line.starts_with("    ");
    let lines: Vec<&str> = page.lines().collect();
    let blocks = lines
        .chunk_by(|a, b| is_code(a) == is_code(b))
        .filter(|block| block.first().is_some_and(is_code))
        .map(|block| block.join("\n"))
        .filter(|block| ["rate(", "increase(", "max by"].iter().any(|word| block.contains(word)));
    examples.chain(blocks).collect()
}

#[test]
fn promql_in_the_documentation_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for page in [PAGE, "docs/goodput.md", "docs/cold-starts.md", "docs/queue-wait.md"] {
        let own = expressions(&std::fs::read_to_string(root.join(page)).unwrap());
        assert!(!own.is_empty(), "{page} has no PromQL");
        found.extend(own);
    }
    let rules: Vec<_> = (0..)
        .zip(found)
        .map(|(i, expression)| json!({"record": format!("rule{i}"), "expr": expression}))
        .collect();
    promtool(
        &["check", "rules", "/dev/stdin"],
        &json!({"groups": [{"name": "docs", "rules": rules}]}).to_string(),
    );
}

/// The words in backticks of a cell.
fn words(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn label_values_are_those_of_the_table() {
    let page = read_page();
    let (_, section) = page.split_once("### Label values\n").expect("a section on label values");
    let section = section.split("\n#").next().unwrap_or_default();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|row| row.trim_matches('|').split(" | ").collect())
        .collect();
    for metric in ALL {
        for label in metric.labels.iter().filter(|label| !LISTED_ELSEWHERE.contains(&label.name)) {
            let Some(values) = label.values.closed() else { continue };
            let expected: BTreeSet<&str> = values.iter().map(String::as_str).collect();
            let own: Vec<_> =
                rows.iter().filter(|row| words(row[0]).contains(label.name)).collect();
            assert!(
                own.iter().any(|row| words(row[2]) == expected),
                "{PAGE}: no row of label values for `{}` of {} has {expected:?}",
                label.name,
                metric.name
            );
        }
    }
}

#[test]
fn every_outcome_has_a_row() {
    let page = read_page();
    let (_, table) = page.split_once("### Outcomes\n").expect("a section on outcomes");
    let table = table.split("\n#").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let found: BTreeSet<&str> = rows.filter(|row| *row != "outcome").collect();
    let outcome = ALL.iter().flat_map(|metric| metric.labels).find(|label| label.name == "outcome");
    let expected = outcome.and_then(|label| label.values.closed()).expect("a closed set");
    assert_eq!(found, expected.iter().map(String::as_str).collect());
}
