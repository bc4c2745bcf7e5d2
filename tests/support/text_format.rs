//! A strict parser of Prometheus' text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// A series by its name and labels.
pub type SeriesId = (String, BTreeMap<String, String>);

/// Parses all samples of an exposition. Fails at the first line that breaks a rule.
pub fn parse(text: &str) -> BTreeMap<SeriesId, f64> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
            assert!(is_name(&family, true), "{line}");
            assert!(families.insert(family.clone()), "a second {line}");
            kind.clear();
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, is) = of.split_once(' ').unwrap();
            assert!(name == family && kind.is_empty(), "TYPE does not follow HELP: {line}");
            assert!(matches!(is, "counter" | "gauge" | "histogram"), "{line}");
            kind = is.to_owned();
        } else {
            let (series, value) = sample(line);
            let ends: &[&str] = match kind.as_str() {
                "" => panic!("no TYPE before {line}"),
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let is_of = |end: &&str| series.0.strip_suffix(*end) == Some(&family);
            assert!(ends.iter().any(is_of), "not of {family}: {line}");
            assert!(kind != "counter" || value >= 0.0, "{line}");
            assert_eq!(series.0.ends_with("_bucket"), series.1.contains_key("le"), "{line}");
            assert!(samples.insert(series, value).is_none(), "twice: {line}");
        }
    }
    check_buckets(&samples);
    samples
}

fn is_name(name: &str, colon: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || colon && c == ':';
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn sample(line: &str) -> (SeriesId, f64) {
    let at = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line:?}"));
    let (name, mut rest) = line.split_at(at);
    assert!(is_name(name, true), "{line:?}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, tail) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(label, false), "{line:?}");
            let (value, tail) = quoted(tail, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line:?}");
            rest = tail.strip_prefix(',').unwrap_or(tail);
            assert!(tail.starts_with([',', '}']), "{line:?}");
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line:?}"));
    let value = if value == "+Inf" { "inf" } else { value };
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line:?}"));
    ((name.to_owned(), labels), value)
}

/// The value up to the closing quote, and the text after it.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                _ => panic!("an unknown escape: {line:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("no closing quote: {line:?}")
}

/// Buckets are cumulative, and the last one is the count.
fn check_buckets(samples: &BTreeMap<SeriesId, f64>) {
    let mut histograms = BTreeMap::<SeriesId, Vec<(f64, f64)>>::new();
    for ((name, labels), count) in samples {
        let mut labels = labels.clone();
        if let (Some(family), Some(le)) = (name.strip_suffix("_bucket"), labels.remove("le")) {
            let le = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
            histograms.entry((family.to_owned(), labels)).or_default().push((le, *count));
        }
    }
    for ((family, labels), mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{family} {labels:?}");
        let (last, count) = buckets[buckets.len() - 1];
        assert_eq!(last, f64::INFINITY, "{family} {labels:?}");
        assert_eq!(samples.get(&(format!("{family}_count"), labels.clone())), Some(&count));
        assert!(samples.contains_key(&(format!("{family}_sum"), labels)), "{family} has no sum");
    }
}

/// Runs promtool if it is installed. Fails unless it succeeds.
pub fn promtool(arguments: &[&str], input: &str) {
    let tool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        super::skip("there is no promtool (Debian's package prometheus has it)");
        return;
    };
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {complaints}");
}
