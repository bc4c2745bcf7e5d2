//! Series of an upstream: those of requests before their model is known, and those without request labels.

use super::families::MetricFamilies;
use super::limit::LimitKind;
use super::request_series::RequestSeries;
use super::sharded::{ShardedCounter, ShardedHistogram};
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use streamgauge_core::dialect::{UnparsedReason, route::Operation};
use streamgauge_core::meter::{ClampedInterval, TimestampSource};
use streamgauge_core::wire::reject_reason::RejectReason;
use strum::VariantArray;

/// Most [`RequestSeries`] that an upstream caches. Most servers have one model, used with few operations.
const CACHE_SIZE: usize = 16;

/// Phase of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum RequestPhase {
    /// The request body is being sent.
    Sending,
    /// Until the first output of a stream, or the first byte of any other body.
    Waiting,
    /// Until the end of the response body, of a stream or any other body.
    Streaming,
}

impl RequestPhase {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Streaming => "streaming",
        }
    }
}

/// Series of the requests to one upstream whose model is not known yet.
pub struct ArrivalSeries {
    families: Arc<MetricFamilies>,
    upstream: Arc<str>,
    /// In the order of [`Operation::VARIANTS`]. An operation that was never requested has no series.
    operations: [OnceLock<OperationSeries>; Operation::VARIANTS.len()],
    /// The first [`CACHE_SIZE`] series of its requests. Searching them is cheaper than hashing all label values.
    cache: RwLock<Vec<Arc<RequestSeries>>>,
}

#[derive(Debug)]
struct OperationSeries {
    arrivals: IntCounter,
    in_flight: Vec<IntGauge>,
}

impl std::fmt::Debug for ArrivalSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivalSeries").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl ArrivalSeries {
    pub(super) fn new(families: Arc<MetricFamilies>, upstream: &Arc<str>) -> Self {
        let (operations, cache) = (Default::default(), RwLock::default());
        Self { families, upstream: Arc::clone(upstream), operations, cache }
    }

    pub(super) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// Returns the cached series with these labels.
    pub(super) fn cached(&self, operation: Operation, model: &str) -> Option<Arc<RequestSeries>> {
        // A panic while the lock was held cannot have left the list half-changed.
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        cache.iter().find(|series| series.matches(operation, model)).cloned()
    }

    /// Caches these series while there is room. Every request whose series are not cached comes here, so the read lock
    /// is tried first: a full cache never blocks other workers.
    pub(super) fn cache(&self, series: &Arc<RequestSeries>) {
        let has_room = |cache: &Vec<_>| cache.len() < CACHE_SIZE;
        if has_room(&self.cache.read().unwrap_or_else(PoisonError::into_inner)) {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have added them, or filled the cache, between the two locks.
            if has_room(&cache) && !cache.iter().any(|known| Arc::ptr_eq(known, series)) {
                cache.push(Arc::clone(series));
            }
        }
    }

    /// Counts a request whose headers were read.
    pub fn count_arrival(&self, operation: Operation) {
        if let Some(series) = self.operation(operation) {
            series.arrivals.inc();
        }
    }

    /// Gauge of requests in flight in this phase.
    pub fn in_flight(&self, operation: Operation, phase: RequestPhase) -> Option<&IntGauge> {
        self.operation(operation)?.in_flight.get(phase as usize)
    }

    fn operation(&self, operation: Operation) -> Option<&OperationSeries> {
        let Self { families, upstream, operations, .. } = self;
        let labels = [operation.label(), upstream];
        let new = || OperationSeries {
            arrivals: families.arrivals.with_label_values(&labels),
            in_flight: RequestPhase::VARIANTS
                .iter()
                .map(|phase| {
                    let [operation, upstream] = labels;
                    let labels = [operation, upstream, phase.label()];
                    families.in_flight.with_label_values(&labels)
                })
                .collect(),
        };
        Some(operations.get(operation as usize)?.get_or_init(new))
    }
}

/// Series of one upstream without request labels.
#[derive(Debug)]
pub struct UpstreamSeries {
    /// Bytes of bodies from clients to the upstream.
    pub bytes_up: Arc<ShardedCounter>,
    /// Bytes of bodies from the upstream to clients.
    pub bytes_down: Arc<ShardedCounter>,
    /// Requests sent again on another connection.
    pub resends: IntCounter,
    conflicting_responses: IntCounter,
    degraded: IntCounter,
    idle: Gauge,
    outage: Gauge,
    oldest_silent: Gauge,
    engine_progress: Gauge,
    engine_progress_limit: Gauge,
    connect: Histogram,
    forwarding_delay: Arc<ShardedHistogram>,
    /// In the order of [`UnparsedReason::VARIANTS`].
    unparsed: Vec<IntCounter>,
    clamped: Vec<IntCounter>,
    /// In the order of [`RejectReason::VARIANTS`].
    rejected: Vec<IntCounter>,
    /// In the order of [`LimitKind::VARIANTS`].
    limits: Vec<IntCounter>,
    name: String,
    clock_info: IntGaugeVec,
    /// In the order of [`TimestampSource::VARIANTS`]. A clock that was never used has no series.
    clocks: [OnceLock<IntGauge>; TimestampSource::VARIANTS.len()],
}

impl UpstreamSeries {
    pub(super) fn new(families: &MetricFamilies, upstream: &str) -> Self {
        Self {
            bytes_up: families.bytes.with_label_values(&[upstream, "up"]),
            bytes_down: families.bytes.with_label_values(&[upstream, "down"]),
            resends: families.resends.with_label_values(&[upstream]),
            conflicting_responses: families.conflicting.with_label_values(&[upstream]),
            degraded: families.degraded.with_label_values(&[upstream]),
            idle: families.idle.with_label_values(&[upstream]),
            outage: families.outage.with_label_values(&[upstream]),
            oldest_silent: families.oldest_silent.with_label_values(&[upstream]),
            engine_progress: families.engine_progress.with_label_values(&[upstream]),
            engine_progress_limit: families.engine_progress_limit.with_label_values(&[upstream]),
            connect: families.connect.with_label_values(&[upstream]),
            forwarding_delay: families.forwarding_delay.with_label_values(&[upstream]),
            unparsed: UnparsedReason::VARIANTS
                .iter()
                .map(|reason| families.unparsed.with_label_values(&[upstream, reason.label()]))
                .collect(),
            clamped: ClampedInterval::VARIANTS
                .iter()
                .map(|interval| families.clamped.with_label_values(&[upstream, interval.label()]))
                .collect(),
            rejected: RejectReason::VARIANTS
                .iter()
                .map(|reason| families.rejected.with_label_values(&[upstream, reason.label()]))
                .collect(),
            limits: LimitKind::VARIANTS
                .iter()
                .map(|limit| families.limit_exceeded.with_label_values(&[upstream, limit.label()]))
                .collect(),
            name: upstream.to_owned(),
            clock_info: families.clock_info.clone(),
            clocks: Default::default(),
        }
    }

    /// Sets the time since the last inference request ended; zero while one is in flight.
    pub fn set_idle(&self, time: Duration) {
        self.idle.set(time.as_secs_f64());
    }

    /// Sets the time since a connection first failed; zero after a connection was opened.
    pub fn set_outage(&self, time: Duration) {
        self.outage.set(time.as_secs_f64());
    }

    /// Sets the longest current silence of a running stream.
    pub fn set_oldest_silent(&self, time: Duration) {
        self.oldest_silent.set(time.as_secs_f64());
    }

    /// Sets the time for which output was due and none came, and the limit of it.
    pub fn set_engine_progress(&self, silence: Duration, limit: Duration) {
        self.engine_progress.set(silence.as_secs_f64());
        self.engine_progress_limit.set(limit.as_secs_f64());
    }

    /// Records the time to open a connection, when it is ready.
    pub fn record_connect(&self, elapsed: Duration) {
        self.connect.observe(elapsed.as_secs_f64());
    }

    /// Records the delay from read to completed write of this many frames, when they are written.
    pub fn record_forwarding_delay(&self, delay: Duration, frames: u64) {
        self.forwarding_delay.observe_many(delay.as_secs_f64(), frames);
    }

    /// Sets which clock the instants of the newest request come from.
    pub fn set_clock(&self, clock: TimestampSource) {
        for (one, gauge) in TimestampSource::VARIANTS.iter().copied().zip(&self.clocks) {
            if one == clock {
                let new = || self.clock_info.with_label_values(&[&*self.name, one.label()]);
                gauge.get_or_init(new).set(1);
            } else if let Some(gauge) = gauge.get() {
                gauge.set(0);
            }
        }
    }

    /// Counts something that could not be measured.
    pub fn count_unparsed(&self, reason: UnparsedReason) {
        let at = UnparsedReason::VARIANTS.iter().position(|one| *one == reason);
        if let Some(counter) = at.and_then(|at| self.unparsed.get(at)) {
            counter.inc();
        }
    }

    /// Counts that a limit was exceeded.
    pub fn count_limit(&self, limit: LimitKind) {
        if let Some(counter) = self.limits.get(limit as usize) {
            counter.inc();
        }
    }

    /// Counts a negative interval that was clamped to 0.
    pub fn count_clamped(&self, interval: ClampedInterval) {
        if let Some(counter) = self.clamped.get(interval as usize) {
            counter.inc();
        }
    }

    /// Counts a response with both `Content-Length` and `Transfer-Encoding`.
    pub fn count_conflicting_response(&self) {
        self.conflicting_responses.inc();
    }

    /// Counts a request whose values may be wrong, because an instant has no timestamp and the CPU was busy.
    pub fn count_degraded(&self) {
        self.degraded.inc();
    }

    /// Counts a request that was rejected because it violates a rule of HTTP or a limit.
    pub fn count_rejected(&self, reason: RejectReason) {
        if let Some(counter) = self.rejected.get(reason as usize) {
            counter.inc();
        }
    }
}
