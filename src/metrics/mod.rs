//! The metrics: their table, the registry, the caps on labels. The only place that names
//! `prometheus`.
//!
//! [`table`] defines every family; [`Metrics`] holds them; [`RequestSeries`] are the handles of one upstream,
//! operation and model, resolved once per request, so that a token costs no look-up.

mod bucket_edges;
mod cardinality;
mod cgroup;
mod cold_starts;
mod edge_and_trace;
mod exposition;
mod families;
mod goodput;
pub mod labels;
mod model_labels;
mod queue;
mod request_series;
mod sharded;
mod stream_flow;
pub mod table;
mod upstream;

pub use cardinality::{SeriesEstimate, estimate_series};
pub use cold_starts::ColdStartSeries;
pub use exposition::MetricsSnapshot;
pub use model_labels::{MAX_LABEL, ModelLabels, OTHER};
pub use queue::QueueSeries;
pub use request_series::{RequestLabels, RequestSeries, StartKind};
pub use sharded::claim_shard;
pub use stream_flow::StallCounter;
pub use upstream::{ArrivalSeries, RequestPhase, UpstreamSeries};

use cgroup::CgroupCounters;
use families::MetricFamilies;
use prometheus::Registry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::SloClasses;

/// The content type of [`MetricsSnapshot::text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything that is exported.
pub struct Metrics {
    registry: Registry,
    families: Arc<MetricFamilies>,
    constant_labels: Vec<String>,
    models: ModelLabels,
    host: CgroupCounters,
    /// What is asked for values that nobody moves in between.
    on_gather: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Few upstreams, operations and capped models: this map is as bounded as they are.
    series: RwLock<HashMap<RequestLabels, Arc<RequestSeries>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("models", &self.models).finish_non_exhaustive()
    }
}

/// A family could not be registered: two have one name, or bucket edges are not ascending.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// What of the metrics can be configured.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsConfig {
    /// How many different model names become labels.
    pub max_models: usize,
    /// Model names that always become labels, beside the others.
    pub models: Vec<String>,
    /// Bucket edges by the name of their set, where they differ from the default.
    pub buckets: HashMap<String, Vec<f64>>,
    /// The classes that requests are judged by.
    pub slo: SloClasses,
    /// Whether TTFT is also told by the class of the input.
    pub ttft_by_input_size: bool,
    /// The names of the labels that the configuration gives to upstreams, of all of them.
    pub constant_labels: Vec<String>,
}

impl Metrics {
    /// Sets up every family of the table. Each worker [claims its cells](claim_shard).
    ///
    /// # Errors
    /// If bucket edges are not ascending.
    pub fn new(config: &MetricsConfig, workers: usize) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let families = Arc::new(MetricFamilies::new(&registry, config, workers)?);
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // `process_*` come with the library; they read /proc when scraped.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let overflow = families.label_overflow.with_label_values(&["gen_ai_request_model"]);
        let host = CgroupCounters::new(families.throttled.clone(), families.pressure.clone());
        Ok(Self {
            registry,
            host,
            families,
            constant_labels: config.constant_labels.clone(),
            models: ModelLabels::new(config.max_models, &config.models, overflow),
            on_gather: RwLock::default(),
            series: RwLock::default(),
        })
    }

    /// Calls `refresh` before each scrape, to set gauges that change with time alone.
    pub fn on_gather(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.on_gather.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// What is exported, as it is now. It holds up nobody: what a token moves is behind no lock.
    pub fn gather(&self) -> MetricsSnapshot {
        self.host.read();
        let refresh = self.on_gather.read().unwrap_or_else(PoisonError::into_inner);
        refresh.iter().for_each(|refresh| refresh());
        MetricsSnapshot(self.registry.gather())
    }

    /// The handles of an upstream that need no request's labels.
    pub fn upstream(&self, name: &str) -> UpstreamSeries {
        UpstreamSeries::new(&self.families, name)
    }

    /// The handles of an upstream for its cold starts.
    pub fn cold(&self, upstream: &str) -> ColdStartSeries {
        ColdStartSeries::new(Arc::clone(&self.families), upstream)
    }

    /// The gauges of an upstream's queues.
    pub fn queue(&self, upstream: &Arc<str>) -> QueueSeries {
        QueueSeries::new(Arc::clone(&self.families), upstream)
    }

    /// The handles for requests to this upstream, behind which is this engine or vendor.
    pub fn arrivals(&self, upstream: &Arc<str>, provider: &str) -> ArrivalSeries {
        ArrivalSeries::new(Arc::clone(&self.families), upstream, provider)
    }

    /// This engine or vendor is behind the upstream, which has these constant labels.
    pub fn upstream_is(&self, upstream: &str, engine: &str, labels: &BTreeMap<String, String>) {
        let value = |name| labels.get(name).map_or("", String::as_str);
        let own = self.constant_labels.iter().map(value);
        let values: Vec<&str> = [upstream, engine].into_iter().chain(own).collect();
        self.families.upstream_info.with_label_values(&values).set(1);
    }

    /// The label of a model that a 2xx response was asked for.
    pub fn model_label(&self, model: Option<&str>) -> Arc<str> {
        self.models.label(model)
    }

    /// The label of a model that has one already.
    pub fn known_model(&self, model: &str) -> Option<Arc<str>> {
        self.models.known(model)
    }

    /// The handles for requests that arrived as these did, of a model that becomes a label.
    pub fn series(
        &self,
        arrivals: &ArrivalSeries,
        operation: Operation,
        model: Option<&str>,
    ) -> Arc<RequestSeries> {
        // A model that is called as what stands for all others is one that takes a label.
        let can_keep = model != Some(OTHER);
        let at_hand = || arrivals.at_hand(operation, model.unwrap_or(OTHER));
        if let Some(series) = can_keep.then(at_hand).flatten() {
            return series;
        }
        let label = self.model_label(model);
        let series = self.labelled(arrivals, operation, &label);
        // What has no label of its own is to be counted as that each time.
        if can_keep && model.is_none_or(|model| *model == *label) {
            arrivals.keep(&series);
        }
        series
    }

    fn labelled(
        &self,
        arrivals: &ArrivalSeries,
        operation: Operation,
        model: &Arc<str>,
    ) -> Arc<RequestSeries> {
        let key = RequestLabels {
            upstream: Arc::clone(arrivals.upstream()),
            provider: Arc::clone(arrivals.provider()),
            operation,
            model: Arc::clone(model),
        };
        // A poisoned lock means that a thread panicked between two lines of ours; the map is whole.
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let mut map = self.series.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(RequestSeries::new(Arc::clone(&self.families), key.clone()));
            Arc::clone(map.entry(key.clone()).or_insert_with(new))
        })
    }

    /// Observes how late a worker's event loop is.
    pub fn event_loop_lag_observer(&self) -> impl Fn(Duration) + Send + use<> {
        let histogram = self.families.event_loop_lag.with_label_values::<&str>(&[]);
        move |lag| histogram.observe(lag.as_secs_f64())
    }

    /// Lines of the request log that were dropped.
    pub fn count_dropped_log_lines(&self, lines: u64) {
        self.families.request_log_dropped.inc_by(lines);
    }
}
