//! Scrapes `/metrics` over HTTP and parses the text format, as Prometheus does.

use crate::admin_client::{AdminClient, AdminClientError};
use std::collections::BTreeMap;
use streamgauge_core::dialect::route::Operation;

/// One sample: a series and its value.
#[derive(Debug, Clone, PartialEq)]
struct ScrapedSample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// The samples of one scrape, without those of other requests than inference (such as `/v1/models`).
#[derive(Debug, Clone, Default)]
pub(super) struct Scrape(Vec<ScrapedSample>);

/// Label matchers: names and required values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Scrape {
    /// Scrapes the admin port.
    pub async fn fetch(client: &mut AdminClient) -> Result<Self, AdminClientError> {
        let response = client.get("/metrics").await?;
        Ok(Self::parse(&String::from_utf8_lossy(&response.body)))
    }

    /// Parses the text format and ignores lines that are not samples.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(sample);
        let is_inference = |sample: &ScrapedSample| {
            sample.label("gen_ai_operation_name").is_none_or(Operation::is_inference_label)
        };
        Self(samples.filter(is_inference).collect())
    }

    /// Sum of the series with this name and these labels.
    pub fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// Sums of the series with this name, by the value of one label.
    pub fn sum_by(&self, name: &str, by: &str, labels: Labels<'_>) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.select(name, labels) {
            if let Some(value) = sample.label(by) {
                *sums.entry(value.to_owned()).or_default() += sample.value;
            }
        }
        sums
    }

    fn select(&self, name: &str, labels: Labels<'_>) -> impl Iterator<Item = &ScrapedSample> {
        let has = |sample: &ScrapedSample| {
            labels.iter().all(|(label, value)| sample.label(label) == Some(*value))
        };
        self.0.iter().filter(move |sample| sample.name == name && has(sample))
    }
}

impl ScrapedSample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// Parses `name{label="value",...} value`.
fn sample(line: &str) -> Option<ScrapedSample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // An optional timestamp follows.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(ScrapedSample { name: name.to_owned(), labels, value })
}

fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// Splits quoted text at its closing quote and resolves escapes.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                escaped => escaped,
            }),
            char => value.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_as_samples() {
        type ExpectedSample = Option<(&'static str, Labels<'static>, f64)>;
        let table: [(&str, ExpectedSample); 8] = [
            ("up 1", Some(("up", &[], 1.0))),
            ("a{} 2.5", Some(("a", &[], 2.5))),
            (r#"a{b="c",d="e"} 3 1700000000000"#, Some(("a", &[("b", "c"), ("d", "e")], 3.0))),
            (r#"a{b="c",} 3"#, Some(("a", &[("b", "c")], 3.0))),
            (r#"a{b="q\"s \\ n\n } , x"} 1e3"#, Some(("a", &[("b", "q\"s \\ n\n } , x")], 1e3))),
            (r#"a_bucket{le="+Inf"} 7"#, Some(("a_bucket", &[("le", "+Inf")], 7.0))),
            (r#"a{b="c" 3"#, None),
            ("nonsense", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(name, labels, value)| ScrapedSample {
                name: name.into(),
                labels: labels.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
                value,
            });
            assert_eq!(sample(line), expected, "{line}");
        }
    }

    #[test]
    fn series_are_selected_and_summed() {
        let scrape = Scrape::parse(
            "# HELP r x\n\
             r{m=\"a\",o=\"ok\"} 1\n\
             r{m=\"a\",o=\"bad\"} 2\n\
             r{m=\"b\",o=\"ok\"} 4\n\
             r{m=\"b\",o=\"ok\",gen_ai_operation_name=\"other\"} 8\n\
             r2{m=\"a\"} 16\n",
        );
        assert_eq!(scrape.sum("r", &[]), 7.0, "other requests than inference are ignored");
        assert_eq!(scrape.sum("r", &[("m", "a")]), 3.0);
        assert_eq!(scrape.sum("r", &[("m", "a"), ("o", "ok")]), 1.0);
        assert_eq!(scrape.sum("absent", &[]), 0.0);
        let by: Vec<_> = scrape.sum_by("r", "o", &[]).into_iter().collect();
        assert_eq!(by, [("bad".to_owned(), 2.0), ("ok".to_owned(), 5.0)]);
    }
}
