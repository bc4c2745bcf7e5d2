//! Families that are sums of other families, by upstream and labels with few values.
//!
//! Alerts and objectives need series that exist at 0 before the first event: `increase()` does not see the step from
//! absent to 1. A family with the labels of a request cannot have them, because its models, codes and engines are not
//! known in advance. A sum is computed at each scrape, so it costs the data path nothing. It never decreases, because
//! the series that it adds up never do and are never removed.

use super::labels::LabelValues;
use super::table::Metric;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Opts, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use streamgauge_core::dialect::route::Operation;

/// Label of requests that has values other than inference. Sums cover inference requests only.
const OPERATION: &str = "gen_ai_operation_name";

/// A family whose series are sums over the series of another family.
#[derive(Clone)]
pub(super) struct SummedFamily(Arc<SumData>);

struct SumData {
    metric: &'static Metric,
    desc: Desc,
    source: Box<dyn Collector>,
    /// Label values of the series that exist without samples. In the order of the labels of the metric.
    created: RwLock<BTreeSet<Vec<String>>>,
}

impl SummedFamily {
    /// Sums of `source` by the labels of `metric`, which are labels of `source`, too.
    pub fn new(metric: &'static Metric, source: impl Collector + 'static) -> Result<Self> {
        let labels = metric.label_names().into_iter().map(Into::into).collect();
        let opts = Opts::new(metric.name, metric.help).variable_labels(labels);
        let desc = prometheus::core::Describer::describe(&opts)?;
        let (source, created) = (Box::new(source), RwLock::default());
        Ok(Self(Arc::new(SumData { metric, desc, source, created })))
    }

    /// Creates a series at 0 for each combination of label values of this upstream. Those of the label `slo` are
    /// `classes`.
    pub fn create(&self, upstream: &str, classes: &[&str]) {
        let mut combinations = vec![Vec::new()];
        for label in self.0.metric.labels {
            let values = match label.values {
                LabelValues::Upstream => vec![upstream.to_owned()],
                LabelValues::SloClass => classes.iter().map(ToString::to_string).collect(),
                values => values.closed().unwrap_or_default(),
            };
            let extend = |combination: &Vec<String>| {
                let with = |value: &String| [combination, std::slice::from_ref(value)].concat();
                values.iter().map(with).collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(extend).collect();
        }
        // A panic while the lock was held cannot have left the set half-changed.
        self.0.created.write().unwrap_or_else(PoisonError::into_inner).extend(combinations);
    }

    /// Returns the sums by label values, and the type of the source.
    fn sums(&self) -> (BTreeMap<Vec<String>, f64>, MetricType) {
        let SumData { metric, source, created, .. } = &*self.0;
        let created = created.read().unwrap_or_else(PoisonError::into_inner);
        let mut sums: BTreeMap<_, _> = created.iter().map(|labels| (labels.clone(), 0.0)).collect();
        let families = source.collect();
        let kind = families.first().map_or(MetricType::COUNTER, MetricFamily::get_field_type);
        for series in families.iter().flat_map(MetricFamily::get_metric) {
            let value_of = |name: &str| {
                let pair = series.get_label().iter().find(|pair| pair.name() == name);
                pair.map_or("", LabelPair::value)
            };
            let operation = value_of(OPERATION);
            if operation.is_empty() || Operation::is_inference_label(operation) {
                let labels = metric.labels.iter().map(|label| value_of(label.name).to_owned());
                *sums.entry(labels.collect()).or_default() += match kind {
                    MetricType::GAUGE => series.get_gauge().get_value(),
                    _ => series.get_counter().get_value(),
                };
            }
        }
        (sums, kind)
    }
}

impl Collector for SummedFamily {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let SumData { metric, desc, .. } = &*self.0;
        let (sums, kind) = self.sums();
        let series = |(values, sum): (Vec<String>, f64)| {
            let pair = |(label, value): (&super::labels::Label, String)| {
                let mut pair = LabelPair::default();
                pair.set_name(label.name.to_owned());
                pair.set_value(value);
                pair
            };
            let mut pairs: Vec<_> = metric.labels.iter().zip(values).map(pair).collect();
            pairs.sort_by(|one, two| one.name().cmp(two.name()));
            let mut series = proto::Metric::default();
            series.set_label(pairs);
            if kind == MetricType::GAUGE {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(sum);
                series.set_gauge(gauge);
            } else {
                let mut counter = proto::Counter::default();
                counter.set_value(sum);
                series.set_counter(counter);
            }
            series
        };
        let mut family = MetricFamily::default();
        family.set_name(desc.fq_name.clone());
        family.set_help(desc.help.clone());
        family.set_field_type(kind);
        family.set_metric(sums.into_iter().map(series).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;
    use prometheus::{IntCounterVec, Opts};

    fn source() -> IntCounterVec {
        let names = table::REQUESTS.label_names();
        IntCounterVec::new(Opts::new(table::REQUESTS.name, "h"), &names).unwrap()
    }

    #[test]
    fn sums_start_at_zero_and_cover_inference_only() {
        let requests = source();
        let family = SummedFamily::new(&table::UPSTREAM_REQUESTS, requests.clone()).unwrap();
        family.create("gpu", &[]);
        let ok = vec!["gpu".to_owned(), "ok".to_owned()];
        let (sums, _) = family.sums();
        assert_eq!(sums.get(&ok), Some(&0.0));
        assert!(sums.values().all(|sum| *sum == 0.0));

        let count = |operation: &str, model: &str, code: &str| {
            let labels = [operation, "vllm", model, "gpu", "ok", code, "true"];
            requests.with_label_values(&labels).inc();
        };
        count("chat", "a", "200");
        count("chat", "other", "206");
        count("embeddings", "b", "200");
        count("tokenize", "a", "200");
        count("other", "other", "200");
        assert_eq!(family.sums().0.get(&ok), Some(&3.0));
        assert_eq!(family.sums().0.len(), sums.len());
    }

    #[test]
    fn classes_of_a_reload_are_added() {
        let names = table::SLO_REQUESTS.label_names();
        let verdicts = IntCounterVec::new(Opts::new("slo_total", "h"), &names).unwrap();
        let family = SummedFamily::new(&table::UPSTREAM_SLO_REQUESTS, verdicts).unwrap();
        family.create("gpu", &["fast"]);
        let before = family.sums().0;
        family.create("gpu", &["slow"]);
        let after = family.sums().0;
        assert_eq!(after.len(), 2 * before.len());
        assert!(before.keys().all(|labels| after.contains_key(labels)), "{after:?}");
    }
}
