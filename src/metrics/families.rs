//! The families of the table, registered.

use super::MetricsConfig;
use super::bucket_edges::bucket_edges;
use super::sharded::{ShardedCounter, ShardedFamily, ShardedHistogram};
use super::table::{self, Metric, MetricKind};
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
    /// Whether TTFT is also told by the class of the input.
    pub by_input_size: bool,
}

impl MetricFamilies {
    /// Registers them all; those that move with every token have cells for this many workers.
    pub fn new(registry: &Registry, config: &MetricsConfig, workers: usize) -> Result<Self> {
        let edges_of = |metric: &Metric| match metric.kind {
            MetricKind::Histogram(set) => Ok(bucket_edges(metric, set, config)),
            MetricKind::Counter | MetricKind::Gauge => Err(wrong_type(metric)),
        };
        let samples = |metric: &Metric| {
            let edges = edges_of(metric)?;
            let family = ShardedFamily::histograms(
                metric.name,
                metric.help,
                &metric.label_names(),
                &edges,
                workers,
            )?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let count = |metric: &Metric| {
            let family =
                ShardedFamily::counters(metric.name, metric.help, &metric.label_names(), workers)?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let histogram = |metric: &Metric| {
            let edges = edges_of(metric)?;
            let opts = HistogramOpts::new(metric.name, metric.help).buckets(edges);
            let family = HistogramVec::new(opts, &metric.label_names())?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let counter = |metric: &Metric| {
            let family =
                IntCounterVec::new(Opts::new(metric.name, metric.help), &metric.label_names())?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let seconds = |metric: &Metric| {
            let family =
                CounterVec::new(Opts::new(metric.name, metric.help), &metric.label_names())?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let gauge = |metric: &Metric| {
            let family =
                IntGaugeVec::new(Opts::new(metric.name, metric.help), &metric.label_names())?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let info = |metric: &Metric| {
            let own = config.constant_labels.iter().map(String::as_str);
            let labels: Vec<&str> = metric.label_names().into_iter().chain(own).collect();
            let family = IntGaugeVec::new(Opts::new(metric.name, metric.help), &labels)?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let measure = |metric: &Metric| {
            let family = GaugeVec::new(Opts::new(metric.name, metric.help), &metric.label_names())?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        Ok(Self {
            ttft: histogram(&table::TTFT)?,
            ttft_by_input: histogram(&table::TTFT_BY_INPUT)?,
            tpot: histogram(&table::TPOT)?,
            request_duration: histogram(&table::REQUEST_DURATION)?,
            token_usage: histogram(&table::TOKEN_USAGE)?,
            itl: samples(&table::ITL)?,
            chunk_gap: samples(&table::CHUNK_GAP)?,
            answer: histogram(&table::ANSWER)?,
            head: histogram(&table::HEAD)?,
            latency: histogram(&table::STREAM_LATENCY)?,
            normalized: histogram(&table::NORMALIZED)?,
            character_rate: histogram(&table::CHARACTER_RATE)?,
            max_gap: histogram(&table::STREAM_MAX_GAP)?,
            stalls: counter(&table::STALLS)?,
            oldest_silent: measure(&table::OLDEST_SILENT)?,
            tokens_per_chunk: histogram(&table::TOKENS_PER_CHUNK)?,
            burst_ratio: histogram(&table::BURST_RATIO)?,
            queue_wait: histogram(&table::QUEUE_WAIT)?,
            edge_wait: histogram(&table::EDGE_WAIT)?,
            trace_ttft: histogram(&table::TRACE_TTFT)?,
            estimated_wait: measure(&table::ESTIMATED_WAIT)?,
            baseline: measure(&table::QUEUE_BASELINE)?,
            baseline_samples: measure(&table::QUEUE_BASELINE_SAMPLES)?,
            baseline_spread: measure(&table::QUEUE_BASELINE_SPREAD)?,
            baseline_age: measure(&table::QUEUE_BASELINE_AGE)?,
            queue_slots: measure(&table::QUEUE_SLOTS)?,
            engine_residual: histogram(&table::ENGINE_RESIDUAL)?,
            tokens: count(&table::TOKENS_TOTAL)?,
            token_source: counter(&table::TOKEN_SOURCE)?,
            token_subset: counter(&table::TOKEN_SUBSET)?,
            characters: count(&table::CHARACTERS_TOTAL)?,
            arrivals: counter(&table::ARRIVALS)?,
            requests: counter(&table::REQUESTS)?,
            finish_reasons: counter(&table::FINISH_REASONS)?,
            in_flight: gauge(&table::IN_FLIGHT)?,
            usage_coverage: counter(&table::USAGE_COVERAGE)?,
            slo_requests: counter(&table::SLO_REQUESTS)?,
            slo_tokens: counter(&table::SLO_TOKENS)?,
            bytes: count(&table::BYTES)?,
            connect: histogram(&table::CONNECTED)?,
            client_stall: histogram(&table::CLIENT_STALL)?,
            abandoned: histogram(&table::ABANDONED)?,
            wasted: counter(&table::WASTED_TOKENS)?,
            forwarding_delay: samples(&table::FORWARDING_DELAY)?,
            event_loop_lag: histogram(&table::EVENT_LOOP_LAG)?,
            clock_info: gauge(&table::CLOCK_INFO)?,
            throttled: seconds(&table::THROTTLED)?,
            pressure: seconds(&table::PRESSURE)?,
            upstream_info: info(&table::UPSTREAM_INFO)?,
            idle: measure(&table::IDLE)?,
            up: gauge(&table::UP)?,
            cold_starts: counter(&table::COLD_STARTS)?,
            cold_start: histogram(&table::COLD_START)?,
            boot: measure(&table::BOOT)?,
            started: measure(&table::STARTED)?,
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

fn wrong_type(metric: &Metric) -> prometheus::Error {
    prometheus::Error::Msg(format!("{} is no histogram in the table", metric.name))
}
