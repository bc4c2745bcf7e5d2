//! Names in PromQL expressions, compared with the table of metrics. This is a scanner and not a parser: Prometheus itself
//! checks the syntax.

use std::collections::BTreeSet;
use streamgauge::testing::metrics::table::{ALL, Metric, MetricKind};

/// Labels that a scrape configuration adds.
const TARGET_LABELS: [&str; 4] = ["namespace", "pod", "job", "instance"];
/// Words before a list of labels in parentheses.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// A metric name with its matchers.
#[derive(Debug)]
struct Selector {
    metric: String,
    /// Label, operator, value.
    matchers: Vec<(String, String, String)>,
}

/// Splits an expression into words, quoted texts and single other characters.
fn tokens(expression: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_:$.".contains(c);
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let mut ends = rest.char_indices().skip(1);
                let end = ends.find(|(at, c)| *c == '"' && !rest[..*at].ends_with('\\'));
                end.map_or(rest.len(), |(at, _)| at + 1)
            }
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        found.push(&rest[..length]);
        rest = &rest[length..];
    }
    found.retain(|token| !token.trim().is_empty());
    found
}

/// The selectors of an expression, and the labels that it groups by.
fn scan(expression: &str) -> (Vec<Selector>, BTreeSet<String>) {
    let (mut selectors, mut groups) = (Vec::<Selector>::new(), BTreeSet::new());
    let all = tokens(expression);
    let mut at = 0;
    while at < all.len() {
        let next = all.get(at + 1).copied().unwrap_or_default();
        if GROUPINGS.contains(&all[at]) && next == "(" {
            at += 2;
            while at < all.len() && all[at] != ")" {
                if all[at] != "," {
                    groups.insert(all[at].to_owned());
                }
                at += 1;
            }
        } else if is_metric(all[at]) {
            let mut selector = Selector { metric: all[at].to_owned(), matchers: Vec::new() };
            if next == "{" {
                at += 2;
                while at < all.len() && all[at] != "}" {
                    let label = all[at].to_owned();
                    let end = (at..all.len()).find(|i| all[*i].starts_with('"')).expect(expression);
                    let value = all[end].trim_matches('"').to_owned();
                    selector.matchers.push((label, all[at + 1..end].concat(), value));
                    at = end + 1;
                    if all.get(at) == Some(&",") {
                        at += 1;
                    }
                }
            }
            selectors.push(selector);
        }
        at += 1;
    }
    (selectors, groups)
}

/// The selectors of an expression as separate expressions, without ranges and offsets.
pub fn selectors(expression: &str) -> Vec<String> {
    let text = |Selector { metric, matchers }: Selector| {
        let matcher = |(label, operator, value): (String, String, String)| {
            format!("{label}{operator}\"{value}\"")
        };
        let matchers: Vec<String> = matchers.into_iter().map(matcher).collect();
        format!("{metric}{{{}}}", matchers.join(", "))
    };
    scan(expression).0.into_iter().map(text).collect()
}

fn is_metric(word: &str) -> bool {
    word == "up"
        || word == "ALERTS"
        || word.contains(':') && word.starts_with(|c: char| c.is_ascii_lowercase())
        || ["streamgauge_", "gen_ai_", "process_"].iter().any(|start| word.starts_with(start))
}

/// The metric of the table that a series belongs to.
fn metric_of(series: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| match metric.kind {
        MetricKind::Histogram(_) => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|end| series.strip_suffix(end) == Some(metric.name)),
        _ => series == metric.name,
    })
}

/// Names of all labels: of the metrics, of buckets and of targets.
fn all_labels() -> BTreeSet<&'static str> {
    let own = ALL.iter().flat_map(|metric| metric.label_names());
    own.chain(TARGET_LABELS).chain(["le", "alertname", "alertstate", "severity"]).collect()
}

/// Whether a word can be the name of a metric, of one of its series, or of a label.
pub fn is_name(word: &str) -> bool {
    ALL.iter().any(|metric| metric.name == word)
        || metric_of(word).is_some()
        || all_labels().contains(word)
}

/// Everything in an expression that does not exist: metrics, their labels, values of closed labels. `recorded` are the
/// names of recording rules.
pub fn undefined_names(expression: &str, recorded: &BTreeSet<String>) -> Vec<String> {
    let (selectors, groups) = scan(expression);
    let all = all_labels();
    let mut missing: Vec<String> = groups
        .iter()
        .filter(|label| !all.contains(label.as_str()) && !label.starts_with('$'))
        .map(|label| format!("label {label}"))
        .collect();
    for Selector { metric, matchers } in &selectors {
        let found = metric_of(metric);
        let is_foreign = metric == "up" || metric == "ALERTS" || metric.starts_with("process_");
        if found.is_none() && !is_foreign && !recorded.contains(metric) {
            missing.push(format!("metric {metric}"));
            continue;
        }
        for (label, operator, value) in matchers {
            let own = found.map(|metric| metric.label_names());
            let is_own = match &own {
                Some(own) => own.contains(&label.as_str()) || label == "le",
                None => all.contains(label.as_str()),
            };
            if !is_own && !TARGET_LABELS.contains(&label.as_str()) {
                missing.push(format!("label {label} of {metric}"));
            }
            let labels = found.map(|metric| metric.labels).unwrap_or_default();
            let closed =
                labels.iter().find(|own| own.name == label).and_then(|own| own.values.closed());
            let values: Vec<&str> = match operator.ends_with('~') {
                true => value.split('|').collect(),
                false => vec![value],
            };
            let is_plain = |value: &&&str| {
                !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            for value in values.iter().filter(is_plain) {
                if closed.as_ref().is_some_and(|closed| !closed.iter().any(|own| own == value)) {
                    missing.push(format!("value {value} of label {label} of {metric}"));
                }
            }
        }
    }
    missing
}
