//! The label `gen_ai_provider_name`: the engine of an upstream, added to its series when they are exported.
//!
//! The engine is not known before the first response. Series that are exported without it, and later with it, would be
//! two series for one server: sums would count a restart, and half of each graph would be stale. So series are recorded
//! without this label, and those of an upstream are held back until its value is decided. From then on it stays.

use super::labels::{PROVIDER, UPSTREAM};
use super::table;
use prometheus::proto::{LabelPair, Metric, MetricFamily};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// Names of the families that have the label.
static LABELLED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let has_label = |metric: &&table::Metric| metric.label_names().contains(&PROVIDER.name);
    table::ALL.iter().filter(has_label).map(|metric| metric.name).collect()
});

/// The value of the label for each upstream for which it is decided.
#[derive(Debug, Default)]
pub(super) struct ProviderLabels(RwLock<HashMap<String, Arc<str>>>);

impl ProviderLabels {
    /// Decides the value for an upstream. Later calls have no effect.
    pub fn decide(&self, upstream: &str, provider: &str) {
        // A panic while the lock was held cannot have left the map half-changed.
        let mut decided = self.0.write().unwrap_or_else(PoisonError::into_inner);
        decided.entry(upstream.to_owned()).or_insert_with(|| provider.into());
    }

    /// Adds the label to all series that have it, and removes those of upstreams for which it is not decided.
    pub fn add_to(&self, families: &mut Vec<MetricFamily>) {
        let decided = self.0.read().unwrap_or_else(PoisonError::into_inner);
        families.retain_mut(|family| {
            if LABELLED.contains(family.name()) {
                family.mut_metric().retain_mut(|series| add_label(series, &decided));
            }
            !family.get_metric().is_empty()
        });
    }
}

/// Adds the label to one series. Returns `false` if its value is not decided.
fn add_label(series: &mut Metric, decided: &HashMap<String, Arc<str>>) -> bool {
    let mut pairs = series.take_label();
    let upstream = pairs.iter().find(|pair| pair.name() == UPSTREAM.name);
    let Some(provider) = upstream.and_then(|pair| decided.get(pair.value())) else {
        return false;
    };
    let mut pair = LabelPair::default();
    pair.set_name(PROVIDER.name.to_owned());
    pair.set_value((**provider).to_owned());
    // Labels are sorted by name.
    let at = pairs.partition_point(|one| one.name() < PROVIDER.name);
    pairs.insert(at, pair);
    series.set_label(pairs);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::core::Collector;
    use prometheus::{IntCounterVec, Opts};

    fn families() -> Vec<MetricFamily> {
        let labels = ["gen_ai_operation_name", "gen_ai_request_model", "upstream"];
        let stalls = IntCounterVec::new(Opts::new(table::STALLS.name, "h"), &labels).unwrap();
        for upstream in ["a", "b"] {
            stalls.with_label_values(&["chat", "m", upstream]).inc();
        }
        let other = IntCounterVec::new(Opts::new(table::RESENDS.name, "h"), &["upstream"]).unwrap();
        other.with_label_values(&["a"]).inc();
        [stalls.collect(), other.collect()].concat()
    }

    /// `name{label=value,...}` of each series.
    fn shown(families: &[MetricFamily]) -> Vec<String> {
        let series = |family: &MetricFamily, series: &Metric| {
            let pairs = series.get_label().iter();
            let pairs: Vec<_> = pairs.map(|p| format!("{}={}", p.name(), p.value())).collect();
            format!("{}{{{}}}", family.name(), pairs.join(","))
        };
        families.iter().flat_map(|f| f.get_metric().iter().map(|s| series(f, s))).collect()
    }

    #[test]
    fn series_are_held_back_until_the_label_is_decided() {
        let providers = ProviderLabels::default();
        let mut found = families();
        providers.add_to(&mut found);
        assert_eq!(shown(&found), ["streamgauge_upstream_resends_total{upstream=a}"]);

        providers.decide("b", "vllm");
        providers.decide("b", "sglang");
        let mut found = families();
        providers.add_to(&mut found);
        let labels = "gen_ai_operation_name=chat,gen_ai_provider_name=vllm,gen_ai_request_model=m,upstream=b";
        let stalls = format!("streamgauge_stalls_total{{{labels}}}");
        assert_eq!(shown(&found), [&*stalls, "streamgauge_upstream_resends_total{upstream=a}"]);
    }
}
