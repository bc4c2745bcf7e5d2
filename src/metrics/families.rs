//! The metric families of the table, registered.

use super::MetricsConfig;
use super::bucket_edges::bucket_edges;
use super::sharded::{ShardedCounter, ShardedFamily, ShardedHistogram};
use super::table::{self, Metric, MetricKind};
use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec,
    Opts, Registry, Result,
};

/// One field for each row of the table.
pub(super) struct MetricFamilies {
    pub ttft: HistogramVec,
    pub ttft_by_input: HistogramVec,
    pub tpot: HistogramVec,
    pub request_duration: HistogramVec,
    pub token_usage: HistogramVec,
    pub itl: ShardedFamily<ShardedHistogram>,
    pub chunk_gap: ShardedFamily<ShardedHistogram>,
    pub answer: HistogramVec,
    pub head: HistogramVec,
    pub latency: HistogramVec,
    pub normalized: HistogramVec,
    pub character_rate: HistogramVec,
    pub max_gap: HistogramVec,
    pub stalls: IntCounterVec,
    pub oldest_silent: GaugeVec,
    pub tokens_per_chunk: HistogramVec,
    pub burst_ratio: HistogramVec,
    pub queue_wait: HistogramVec,
    pub edge_wait: HistogramVec,
    pub trace_ttft: HistogramVec,
    pub estimated_wait: GaugeVec,
    pub baseline: GaugeVec,
    pub baseline_samples: GaugeVec,
    pub baseline_spread: GaugeVec,
    pub baseline_age: GaugeVec,
    pub queue_slots: GaugeVec,
    pub engine_residual: HistogramVec,
    pub tokens: ShardedFamily<ShardedCounter>,
    pub token_source: IntCounterVec,
    pub token_subset: IntCounterVec,
    pub characters: ShardedFamily<ShardedCounter>,
    pub arrivals: IntCounterVec,
    pub requests: IntCounterVec,
    pub finish_reasons: IntCounterVec,
    pub in_flight: IntGaugeVec,
    pub usage_coverage: IntCounterVec,
    pub slo_requests: IntCounterVec,
    pub slo_tokens: IntCounterVec,
    pub bytes: ShardedFamily<ShardedCounter>,
    pub connect: HistogramVec,
    pub client_stall: HistogramVec,
    pub abandoned: HistogramVec,
    pub wasted: IntCounterVec,
    pub forwarding_delay: ShardedFamily<ShardedHistogram>,
    pub event_loop_lag: HistogramVec,
    pub clock_info: IntGaugeVec,
    pub throttled: CounterVec,
    pub pressure: CounterVec,
    pub upstream_info: IntGaugeVec,
    pub idle: GaugeVec,
    pub up: IntGaugeVec,
    pub cold_starts: IntCounterVec,
    pub cold_start: HistogramVec,
    pub boot: GaugeVec,
    pub started: GaugeVec,
    pub resends: IntCounterVec,
    pub unparsed: IntCounterVec,
    pub clamped: IntCounterVec,
    pub label_overflow: IntCounterVec,
    pub request_log_dropped: IntCounter,
    pub build_info: IntGaugeVec,
    /// Whether TTFT by input size is recorded.
    pub by_input_size: bool,
}

impl MetricFamilies {
    /// Registers every family. Sharded families get a shard for each worker.
    pub fn new(registry: &Registry, config: &MetricsConfig, workers: usize) -> Result<Self> {
        let edges = |metric: &Metric| match metric.kind {
            MetricKind::Histogram(set) => Ok(bucket_edges(metric, set, config)),
            MetricKind::Counter | MetricKind::Gauge => Err(not_a_histogram(metric)),
        };
        let opts = |metric: &Metric| Opts::new(metric.name, metric.help);
        let sharded_histogram = |metric: &Metric| {
            let (labels, edges) = (metric.label_names(), edges(metric)?);
            register(
                registry,
                ShardedFamily::histograms(metric.name, metric.help, &labels, &edges, workers),
            )
        };
        let sharded_counter = |metric: &Metric| {
            let labels = metric.label_names();
            register(registry, ShardedFamily::counters(metric.name, metric.help, &labels, workers))
        };
        let histogram = |metric: &Metric| {
            let opts = HistogramOpts::from(opts(metric)).buckets(edges(metric)?);
            register(registry, HistogramVec::new(opts, &metric.label_names()))
        };
        let counter = |metric: &Metric| {
            register(registry, IntCounterVec::new(opts(metric), &metric.label_names()))
        };
        let float_counter = |metric: &Metric| {
            register(registry, CounterVec::new(opts(metric), &metric.label_names()))
        };
        let gauge = |metric: &Metric| {
            register(registry, IntGaugeVec::new(opts(metric), &metric.label_names()))
        };
        let float_gauge = |metric: &Metric| {
            register(registry, GaugeVec::new(opts(metric), &metric.label_names()))
        };
        let gauge_with_configured_labels = |metric: &Metric| {
            let configured = config.constant_labels.iter().map(String::as_str);
            let labels: Vec<&str> = metric.label_names().into_iter().chain(configured).collect();
            register(registry, IntGaugeVec::new(opts(metric), &labels))
        };
        Ok(Self {
            ttft: histogram(&table::TTFT)?,
            ttft_by_input: histogram(&table::TTFT_BY_INPUT)?,
            tpot: histogram(&table::TPOT)?,
            request_duration: histogram(&table::REQUEST_DURATION)?,
            token_usage: histogram(&table::TOKEN_USAGE)?,
            itl: sharded_histogram(&table::ITL)?,
            chunk_gap: sharded_histogram(&table::CHUNK_GAP)?,
            answer: histogram(&table::ANSWER)?,
            head: histogram(&table::HEAD)?,
            latency: histogram(&table::STREAM_LATENCY)?,
            normalized: histogram(&table::NORMALIZED)?,
            character_rate: histogram(&table::CHARACTER_RATE)?,
            max_gap: histogram(&table::STREAM_MAX_GAP)?,
            stalls: counter(&table::STALLS)?,
            oldest_silent: float_gauge(&table::OLDEST_SILENT)?,
            tokens_per_chunk: histogram(&table::TOKENS_PER_CHUNK)?,
            burst_ratio: histogram(&table::BURST_RATIO)?,
            queue_wait: histogram(&table::QUEUE_WAIT)?,
            edge_wait: histogram(&table::EDGE_WAIT)?,
            trace_ttft: histogram(&table::TRACE_TTFT)?,
            estimated_wait: float_gauge(&table::ESTIMATED_WAIT)?,
            baseline: float_gauge(&table::QUEUE_BASELINE)?,
            baseline_samples: float_gauge(&table::QUEUE_BASELINE_SAMPLES)?,
            baseline_spread: float_gauge(&table::QUEUE_BASELINE_SPREAD)?,
            baseline_age: float_gauge(&table::QUEUE_BASELINE_AGE)?,
            queue_slots: float_gauge(&table::QUEUE_SLOTS)?,
            engine_residual: histogram(&table::ENGINE_RESIDUAL)?,
            tokens: sharded_counter(&table::TOKENS_TOTAL)?,
            token_source: counter(&table::TOKEN_SOURCE)?,
            token_subset: counter(&table::TOKEN_SUBSET)?,
            characters: sharded_counter(&table::CHARACTERS_TOTAL)?,
            arrivals: counter(&table::ARRIVALS)?,
            requests: counter(&table::REQUESTS)?,
            finish_reasons: counter(&table::FINISH_REASONS)?,
            in_flight: gauge(&table::IN_FLIGHT)?,
            usage_coverage: counter(&table::USAGE_COVERAGE)?,
            slo_requests: counter(&table::SLO_REQUESTS)?,
            slo_tokens: counter(&table::SLO_TOKENS)?,
            bytes: sharded_counter(&table::BYTES)?,
            connect: histogram(&table::CONNECTED)?,
            client_stall: histogram(&table::CLIENT_STALL)?,
            abandoned: histogram(&table::ABANDONED)?,
            wasted: counter(&table::WASTED_TOKENS)?,
            forwarding_delay: sharded_histogram(&table::FORWARDING_DELAY)?,
            event_loop_lag: histogram(&table::EVENT_LOOP_LAG)?,
            clock_info: gauge(&table::CLOCK_INFO)?,
            throttled: float_counter(&table::THROTTLED)?,
            pressure: float_counter(&table::PRESSURE)?,
            upstream_info: gauge_with_configured_labels(&table::UPSTREAM_INFO)?,
            idle: float_gauge(&table::IDLE)?,
            up: gauge(&table::UP)?,
            cold_starts: counter(&table::COLD_STARTS)?,
            cold_start: histogram(&table::COLD_START)?,
            boot: float_gauge(&table::BOOT)?,
            started: float_gauge(&table::STARTED)?,
            resends: counter(&table::RESENDS)?,
            unparsed: counter(&table::UNPARSED)?,
            clamped: counter(&table::CLAMPED)?,
            label_overflow: counter(&table::LABEL_OVERFLOW)?,
            request_log_dropped: counter(&table::REQUEST_LOG_DROPPED)?
                .with_label_values::<&str>(&[]),
            build_info: gauge(&table::BUILD_INFO)?,
            by_input_size: config.ttft_by_input_size,
        })
    }
}

fn register<F: Collector + Clone + 'static>(registry: &Registry, family: Result<F>) -> Result<F> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn not_a_histogram(metric: &Metric) -> prometheus::Error {
    prometheus::Error::Msg(format!("{} is not a histogram in the table of metrics", metric.name))
}
