//! Metrics: their table, the registry and the limits on label values. The only module that uses `prometheus`.
//!
//! [`table`] defines every family and [`labels`] every label. [`Metrics`] registers the families. [`RequestSeries`] holds
//! the series of one upstream, operation and model; it is resolved once per request, so that recording a token
//! costs no look-up.
//!
//! # When each metric is recorded
//!
//! Every metric is recorded by one function. The row of a metric in [`table`] says when, for which requests, and by which
//! function ([`table::Metric::when`], [`table::Metric::function`]). Metrics of a running response are in `live`, metrics
//! of its end in `end`.

mod bucket_edges;
mod bucket_sets;
mod capacity;
mod cardinality;
#[cfg(test)]
mod cardinality_tests;
mod cgroup;
mod cold_starts;
mod end;
mod exposition;
mod families;
mod handle_cache;
mod input_size;
pub mod labels;
mod limit;
mod live;
mod live_view;
mod model_labels;
mod provider;
mod queue;
mod reconciled_counter;
mod request_series;
mod sharded;
mod summed;
pub mod table;
mod upstream;

pub use capacity::CapacitySeries;
pub use cardinality::estimate_series;
pub use cold_starts::ColdStartSeries;
pub use exposition::MetricsSnapshot;
pub use input_size::input_size;
pub use limit::{AdminLimitKind, LimitKind};
pub use live::StallCounter;
pub use live_view::{OwnCounters, TrafficCounters};
pub use model_labels::{MAX_LABEL, ModelLabels, OTHER};
pub use queue::QueueSeries;
pub use request_series::{RequestLabels, RequestSeries, StartKind};
pub use sharded::claim_shard;
pub use upstream::{ArrivalSeries, RequestPhase, UpstreamSeries};

use crate::log;
use cgroup::CgroupCounters;
use families::MetricFamilies;
use prometheus::Registry;
use prometheus::core::Collector;
use provider::ProviderLabels;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::SloClasses;
use strum::VariantArray;

/// Content type of [`MetricsSnapshot::to_text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Value of the label `log` for the log on standard error.
const STANDARD_ERROR_LOG: &str = "log";
/// Value of the label `log` for the request log.
const REQUEST_LOG: &str = "requests";

/// All exported metrics.
pub struct Metrics {
    registry: Registry,
    families: Arc<MetricFamilies>,
    constant_labels: Vec<String>,
    models: ModelLabels,
    providers: ProviderLabels,
    cgroup: CgroupCounters,
    /// Called before each scrape, to set gauges that change with time alone.
    on_gather: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Bounded by the number of upstreams, operations and model labels.
    series: RwLock<HashMap<RequestLabels, Arc<RequestSeries>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("models", &self.models).finish_non_exhaustive()
    }
}

/// A family could not be registered: two have the same name, or bucket edges do not ascend.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// Configuration of the metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricsConfig {
    /// Number of model names that become label values, beside those in `models`.
    pub max_models: usize,
    /// Model names that are always label values.
    pub models: Vec<String>,
    /// Bucket edges that replace the defaults, by the name of the bucket set.
    pub buckets: HashMap<String, Vec<f64>>,
    /// SLO classes that requests are judged by.
    pub slo: SloClasses,
    /// Whether TTFT is also recorded by input size.
    pub ttft_by_input_size: bool,
    /// Names of all labels that the configuration adds to upstreams.
    pub constant_labels: Vec<String>,
}

impl Metrics {
    /// Registers every family of the table. Each worker must [claim its shard](claim_shard).
    ///
    /// # Errors
    /// If bucket edges do not ascend.
    pub fn new(config: &MetricsConfig, workers: usize) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let families = Arc::new(MetricFamilies::new(&registry, config, workers)?);
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // They exist from the start.
        for limit in AdminLimitKind::VARIANTS {
            families.admin_limit_exceeded.with_label_values(&[limit.label()]);
        }
        families.request_log_dropped.with_label_values::<&str>(&[]);
        for log in [STANDARD_ERROR_LOG, REQUEST_LOG] {
            families.log_dropped.with_label_values(&[log]);
        }
        // The library's own process_* metrics, read from /proc at each scrape.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let overflow = families.label_overflow.with_label_values(&["gen_ai_request_model"]);
        let cgroup = CgroupCounters::new(families.throttled.clone(), families.pressure.clone());
        let metrics = Self {
            registry,
            cgroup,
            families,
            constant_labels: config.constant_labels.clone(),
            providers: ProviderLabels::default(),
            models: ModelLabels::new(config.max_models, &config.models, overflow),
            on_gather: RwLock::default(),
            series: RwLock::default(),
        };
        metrics.record_reload(true);
        Ok(metrics)
    }

    /// Number of requests in flight, of all upstreams and operations.
    pub fn requests_in_flight(&self) -> u64 {
        let families = self.families.in_flight.collect();
        let gauges = families.iter().flat_map(|family| family.get_metric());
        gauges.map(|metric| metric.get_gauge().get_value().max(0.0) as u64).sum()
    }

    /// Records the end of a reload.
    pub fn record_reload(&self, is_successful: bool) {
        let Self { families, .. } = self;
        families.reload_successful.with_label_values::<&str>(&[]).set(is_successful.into());
        if is_successful {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let gauge = families.reload_success_time.with_label_values::<&str>(&[]);
            gauge.set(since_1970.as_secs_f64());
        }
    }

    /// Calls `refresh` before each scrape, to set gauges that change with time alone.
    pub fn on_gather(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.on_gather.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// Collects all metrics. Blocks no worker: counters that are updated for every token have no lock.
    pub fn gather(&self) -> MetricsSnapshot {
        self.cgroup.refresh();
        let dropped = log::take_dropped_lines();
        self.families.log_dropped.with_label_values(&[STANDARD_ERROR_LOG]).inc_by(dropped);
        let refresh = self.on_gather.read().unwrap_or_else(PoisonError::into_inner);
        refresh.iter().for_each(|refresh| refresh());
        let mut families = self.registry.gather();
        self.providers.add_to(&mut families);
        MetricsSnapshot(families)
    }

    /// Creates the series of the summed families for this upstream, and for the classes that apply to it. They start at
    /// 0. Existing ones stay.
    pub fn create_summed_series(&self, upstream: &str, classes: &SloClasses) {
        let classes: Vec<&str> = classes.names_for(upstream).collect();
        for family in self.families.summed() {
            family.create(upstream, &classes);
        }
    }

    /// Series of an upstream without request labels.
    pub fn upstream_series(&self, upstream: &str) -> UpstreamSeries {
        UpstreamSeries::new(&self.families, upstream)
    }

    /// Series of an upstream's cold starts.
    pub fn cold_start_series(&self, upstream: &str) -> ColdStartSeries {
        ColdStartSeries::new(Arc::clone(&self.families), upstream)
    }

    /// Gauges of an upstream's estimated queues.
    pub fn queue_series(&self, upstream: &Arc<str>) -> QueueSeries {
        QueueSeries::new(Arc::clone(&self.families), upstream)
    }

    /// Gauges of an upstream's estimated capacity.
    pub fn capacity_series(&self, upstream: &Arc<str>) -> CapacitySeries {
        CapacitySeries::new(Arc::clone(&self.families), upstream)
    }

    /// Series of requests to this upstream, before their model is known.
    pub fn arrival_series(&self, upstream: &Arc<str>) -> ArrivalSeries {
        ArrivalSeries::new(Arc::clone(&self.families), upstream)
    }

    /// Decides the value of `gen_ai_provider_name` for all series of an upstream, also those recorded before. They are
    /// exported from now on. Later calls have no effect.
    pub fn decide_provider(&self, upstream: &str, provider: &str) {
        self.providers.decide(upstream, provider);
    }

    /// Exports the engine of an upstream, with the labels that the configuration adds.
    pub fn set_upstream_info(
        &self,
        upstream: &str,
        engine: &str,
        labels: &BTreeMap<String, String>,
    ) {
        let value = |name| labels.get(name).map_or("", String::as_str);
        let configured = self.constant_labels.iter().map(value);
        let values: Vec<&str> = [upstream, engine].into_iter().chain(configured).collect();
        self.families.upstream_info.with_label_values(&values).set(1);
    }

    /// Returns the label value of a model. Pass the models of successful responses only: each new name uses up one of
    /// `max_models`.
    pub fn model_label(&self, model: Option<&str>) -> Arc<str> {
        self.models.label(model)
    }

    /// Returns the label value of a model if it has one, without using up the limit.
    pub fn existing_model_label(&self, model: &str) -> Option<Arc<str>> {
        self.models.existing(model)
    }

    /// Returns the series for a request of `arrivals` with this model. `model` is `None` unless the response is
    /// successful.
    pub fn request_series(
        &self,
        arrivals: &ArrivalSeries,
        operation: Operation,
        model: Option<&str>,
    ) -> Arc<RequestSeries> {
        // A model named `other` also consumes one label slot, so it must not be found in the cache under that name.
        let can_cache = model != Some(OTHER);
        let cached = || arrivals.cached(operation, model.unwrap_or(OTHER));
        if let Some(series) = can_cache.then(cached).flatten() {
            return series;
        }
        let label = self.model_label(model);
        let series = self.labelled_series(arrivals, operation, &label);
        // A model beyond the limit is not cached: each of its requests counts as an overflow.
        if can_cache && model.is_none_or(|model| *model == *label) {
            arrivals.cache(&series);
        }
        series
    }

    fn labelled_series(
        &self,
        arrivals: &ArrivalSeries,
        operation: Operation,
        model: &Arc<str>,
    ) -> Arc<RequestSeries> {
        let key = RequestLabels {
            upstream: Arc::clone(arrivals.upstream()),
            operation,
            model: Arc::clone(model),
        };
        // A panic while the lock was held cannot have left the map half-changed.
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let mut map = self.series.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(RequestSeries::new(Arc::clone(&self.families), key.clone()));
            Arc::clone(map.entry(key.clone()).or_insert_with(new))
        })
    }

    /// Returns a function that records how late a worker's event loop reacted to a heartbeat.
    pub fn event_loop_lag_observer(&self) -> impl Fn(Duration) + Send + use<> {
        let histogram = self.families.event_loop_lag.with_label_values::<&str>(&[]);
        move |lag| histogram.observe(lag.as_secs_f64())
    }

    /// Counts that a client of the admin port exceeded a limit.
    pub fn count_admin_limit(&self, limit: AdminLimitKind) {
        self.families.admin_limit_exceeded.with_label_values(&[limit.label()]).inc();
    }

    /// Counts lines of the request log that were lost.
    pub fn count_dropped_request_lines(&self, lines: u64) {
        self.families.request_log_dropped.with_label_values::<&str>(&[]).inc_by(lines);
        self.families.log_dropped.with_label_values(&[REQUEST_LOG]).inc_by(lines);
    }
}
