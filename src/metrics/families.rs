//! The metric families of the table, registered.

use super::MetricsConfig;
use super::bucket_edges::bucket_edges;
use super::sharded::{ShardedCounter, ShardedFamily, ShardedHistogram};
use super::summed::SummedFamily;
use super::table::{self, Metric, MetricKind};
use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    Result,
};

/// Type of a family, by its collector.
macro_rules! family {
    (histogram) => { HistogramVec };
    (sharded_histogram) => { ShardedFamily<ShardedHistogram> };
    (counter) => { IntCounterVec };
    (float_counter) => { CounterVec };
    (sharded_counter) => { ShardedFamily<ShardedCounter> };
    (gauge) => { IntGaugeVec };
    (float_gauge) => { GaugeVec };
    (configured_gauge) => { IntGaugeVec };
    (summed) => { SummedFamily };
}

/// Registers a family. A summed family needs the one that it adds up, which is in an earlier row.
macro_rules! register {
    ($registration:ident, summed($source:ident), $ident:ident) => {
        $registration.summed(&table::$ident, &$source)?
    };
    ($registration:ident, $collector:ident $(($edges:ident))?, $ident:ident) => {
        $registration.$collector(&table::$ident)?
    };
}

/// Declares [`MetricFamilies`] with one field for each row of the table.
macro_rules! families {
    ($($field:ident: $collector:ident$(($edges:ident))? = $ident:ident $name:literal, $labels:expr,
        $help:literal, $when:literal, $function:literal;)*) => {
        /// The registered families, one for each row of the table.
        pub(super) struct MetricFamilies {
            $(
                #[doc = $help]
                pub $field: family!($collector),
            )*
            /// Whether TTFT by input size is recorded.
            pub by_input_size: bool,
        }

        impl MetricFamilies {
            /// Registers every family. Sharded families get a shard for each worker.
            pub fn new(registry: &Registry, config: &MetricsConfig, workers: usize) -> Result<Self> {
                let registration = Registration { registry, config, workers };
                $(let $field = register!(registration, $collector $(($edges))?, $ident);)*
                Ok(Self { $($field,)* by_input_size: config.ttft_by_input_size })
            }
        }
    };
}
table::for_each_metric!(families);

impl MetricFamilies {
    /// The families that are sums of others.
    pub fn summed(&self) -> [&SummedFamily; 6] {
        [
            &self.upstream_requests,
            &self.upstream_in_flight,
            &self.upstream_slo_requests,
            &self.upstream_cold_starts,
            &self.upstream_stalls,
            &self.upstream_usage_coverage,
        ]
    }
}

/// Registers families, one method per collector.
struct Registration<'a> {
    registry: &'a Registry,
    config: &'a MetricsConfig,
    workers: usize,
}

impl Registration<'_> {
    fn histogram(&self, metric: &Metric) -> Result<HistogramVec> {
        let opts = HistogramOpts::from(opts(metric)).buckets(self.edges(metric)?);
        self.register(HistogramVec::new(opts, &metric.recorded_label_names()))
    }

    fn sharded_histogram(&self, metric: &Metric) -> Result<ShardedFamily<ShardedHistogram>> {
        let (labels, edges) = (metric.recorded_label_names(), self.edges(metric)?);
        let Metric { name, help, .. } = metric;
        self.register(ShardedFamily::histograms(name, help, &labels, &edges, self.workers))
    }

    fn counter(&self, metric: &Metric) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(opts(metric), &metric.recorded_label_names()))
    }

    fn float_counter(&self, metric: &Metric) -> Result<CounterVec> {
        self.register(CounterVec::new(opts(metric), &metric.recorded_label_names()))
    }

    fn sharded_counter(&self, metric: &Metric) -> Result<ShardedFamily<ShardedCounter>> {
        let (labels, Metric { name, help, .. }) = (metric.recorded_label_names(), metric);
        self.register(ShardedFamily::counters(name, help, &labels, self.workers))
    }

    fn gauge(&self, metric: &Metric) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(opts(metric), &metric.recorded_label_names()))
    }

    fn float_gauge(&self, metric: &Metric) -> Result<GaugeVec> {
        self.register(GaugeVec::new(opts(metric), &metric.recorded_label_names()))
    }

    /// A gauge that also has the labels of the configuration.
    fn configured_gauge(&self, metric: &Metric) -> Result<IntGaugeVec> {
        let configured = self.config.constant_labels.iter().map(String::as_str);
        let labels: Vec<&str> =
            metric.recorded_label_names().into_iter().chain(configured).collect();
        self.register(IntGaugeVec::new(opts(metric), &labels))
    }

    /// A family whose series are sums over the series of `source`.
    fn summed(
        &self,
        metric: &'static Metric,
        source: &(impl Collector + Clone + 'static),
    ) -> Result<SummedFamily> {
        self.register(SummedFamily::new(metric, source.clone()))
    }

    fn register<F: Collector + Clone + 'static>(&self, family: Result<F>) -> Result<F> {
        let family = family?;
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn edges(&self, metric: &Metric) -> Result<Vec<f64>> {
        match metric.kind {
            MetricKind::Histogram(set) => Ok(bucket_edges(metric, set, self.config)),
            MetricKind::Counter | MetricKind::Gauge => Err(not_a_histogram(metric)),
        }
    }
}

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn not_a_histogram(metric: &Metric) -> prometheus::Error {
    prometheus::Error::Msg(format!("{} is not a histogram in the table of metrics", metric.name))
}

/// Sets a gauge, or removes it if its value is not known.
pub(super) fn set_or_remove(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // Removing a series that was never set is an error, and harmless.
        None => drop(gauge.remove_label_values(labels)),
    }
}
