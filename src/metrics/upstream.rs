//! Handles of an upstream, for what is measured before or without a request's model.

use super::families::MetricFamilies;
use super::request_series::RequestSeries;
use super::sharded::{ShardedCounter, ShardedHistogram};
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use streamgauge_core::dialect::{UnparsedReason, route::Operation};
use streamgauge_core::meter::{ClampedInterval, TimestampSource};
use strum::VariantArray;

/// Handles that are looked through: most servers have one model, and few operations of it are used.
const AT_HAND: usize = 16;

/// The phase of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPhase {
    /// The request's body is on its way.
    Sending,
    /// For the first output of a stream, or the first byte of another body.
    Waiting,
    Streaming,
}

impl RequestPhase {
    pub(super) const ALL: [Self; 3] = [Self::Sending, Self::Waiting, Self::Streaming];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Streaming => "streaming",
        }
    }
}

/// The handles for requests before their model is known, of one upstream and what is behind it.
pub struct ArrivalSeries {
    families: Arc<MetricFamilies>,
    upstream: Arc<str>,
    /// The value of `gen_ai_provider_name`.
    provider: Arc<str>,
    /// In the order of [`Operation::VARIANTS`]; an operation that was never asked for has no series.
    operations: [OnceLock<OperationSeries>; Operation::VARIANTS.len()],
    /// The first [`AT_HAND`] of those that its requests have come to: a look through them is cheaper than the
    /// hash of all labels.
    at_hand: RwLock<Vec<Arc<RequestSeries>>>,
}

#[derive(Debug)]
struct OperationSeries {
    arrivals: IntCounter,
    in_flight: [IntGauge; RequestPhase::ALL.len()],
}

impl std::fmt::Debug for ArrivalSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivalSeries").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl ArrivalSeries {
    pub(super) fn new(families: Arc<MetricFamilies>, upstream: &Arc<str>, provider: &str) -> Self {
        let (upstream, provider) = (Arc::clone(upstream), provider.into());
        let (operations, at_hand) = (Default::default(), RwLock::default());
        Self { families, upstream, provider, operations, at_hand }
    }

    pub(super) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// The value of `gen_ai_provider_name` for these requests, to their end.
    pub fn provider(&self) -> &Arc<str> {
        &self.provider
    }

    /// The handles for those of them that have these labels, if they are at hand.
    pub(super) fn at_hand(&self, operation: Operation, model: &str) -> Option<Arc<RequestSeries>> {
        // A poisoned lock means that a thread panicked between two lines of ours; the list is whole.
        let at_hand = self.at_hand.read().unwrap_or_else(PoisonError::into_inner);
        at_hand.iter().find(|series| series.is_of(operation, model)).cloned()
    }

    /// Has these handles at hand, if there is room. Each request comes here whose handles are not: where there is none,
    /// it locks nobody out.
    pub(super) fn keep(&self, series: &Arc<RequestSeries>) {
        let has_room = |at_hand: &Vec<_>| at_hand.len() < AT_HAND;
        if has_room(&self.at_hand.read().unwrap_or_else(PoisonError::into_inner)) {
            let mut at_hand = self.at_hand.write().unwrap_or_else(PoisonError::into_inner);
            // Two threads may come at once.
            if has_room(&at_hand) && !at_hand.iter().any(|known| Arc::ptr_eq(known, series)) {
                at_hand.push(Arc::clone(series));
            }
        }
    }

    /// A request arrived.
    pub fn arrived(&self, operation: Operation) {
        if let Some(series) = self.of(operation) {
            series.arrivals.inc();
        }
    }

    /// The gauge of requests in flight in this phase.
    pub fn in_flight(&self, operation: Operation, phase: RequestPhase) -> Option<&IntGauge> {
        self.of(operation)?.in_flight.get(phase as usize)
    }

    fn of(&self, operation: Operation) -> Option<&OperationSeries> {
        let Self { families, upstream, provider, operations, .. } = self;
        let labels = [operation.label(), provider, upstream];
        let new = || OperationSeries {
            arrivals: families.arrivals.with_label_values(&labels),
            in_flight: RequestPhase::ALL.map(|phase| {
                let [operation, provider, upstream] = labels;
                families.in_flight.with_label_values(&[
                    operation,
                    provider,
                    upstream,
                    phase.label(),
                ])
            }),
        };
        Some(operations.get(operation as usize)?.get_or_init(new))
    }
}

/// The handles of one upstream, for what is measured without a request's labels.
#[derive(Debug)]
pub struct UpstreamSeries {
    pub bytes_up: Arc<ShardedCounter>,
    pub bytes_down: Arc<ShardedCounter>,
    pub resends: IntCounter,
    idle: Gauge,
    oldest_silent: Gauge,
    connect: Histogram,
    forwarding_delay: Arc<ShardedHistogram>,
    /// In the order of [`UnparsedReason::VARIANTS`].
    unparsed: Vec<IntCounter>,
    clamped: Vec<IntCounter>,
    name: String,
    clock_info: IntGaugeVec,
    /// In the order of [`TimestampSource::VARIANTS`]: a clock that never told an instant has no series.
    clocks: [OnceLock<IntGauge>; TimestampSource::VARIANTS.len()],
}

impl UpstreamSeries {
    pub(super) fn new(families: &MetricFamilies, upstream: &str) -> Self {
        Self {
            bytes_up: families.bytes.with_label_values(&[upstream, "up"]),
            bytes_down: families.bytes.with_label_values(&[upstream, "down"]),
            resends: families.resends.with_label_values(&[upstream]),
            idle: families.idle.with_label_values(&[upstream]),
            oldest_silent: families.oldest_silent.with_label_values(&[upstream]),
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
            name: upstream.to_owned(),
            clock_info: families.clock_info.clone(),
            clocks: Default::default(),
        }
    }

    /// The upstream has had nothing to do for this long.
    pub fn idle(&self, time: Duration) {
        self.idle.set(time.as_secs_f64());
    }

    /// The stream of the upstream that has been silent longest has been so for this long.
    pub fn oldest_silent(&self, time: Duration) {
        self.oldest_silent.set(time.as_secs_f64());
    }

    /// A new connection is ready after this long.
    pub fn connected(&self, after: Duration) {
        self.connect.observe(after.as_secs_f64());
    }

    /// Frames were written this long after their read.
    pub fn forwarded(&self, delay: Duration, frames: u64) {
        self.forwarding_delay.observe_many(delay.as_secs_f64(), frames);
    }

    /// The instants of the newest request were told by this clock.
    pub fn told_by(&self, clock: TimestampSource) {
        for (one, gauge) in TimestampSource::VARIANTS.iter().copied().zip(&self.clocks) {
            if one == clock {
                let new = || self.clock_info.with_label_values(&[&*self.name, one.label()]);
                gauge.get_or_init(new).set(1);
            } else if let Some(gauge) = gauge.get() {
                gauge.set(0);
            }
        }
    }

    /// Something could not be measured.
    pub fn unparsed(&self, reason: UnparsedReason) {
        let at = UnparsedReason::VARIANTS.iter().position(|one| *one == reason);
        if let Some(counter) = at.and_then(|at| self.unparsed.get(at)) {
            counter.inc();
        }
    }

    /// An interval came out negative.
    pub fn clamped(&self, interval: ClampedInterval) {
        if let Some(counter) = self.clamped.get(interval as usize) {
            counter.inc();
        }
    }
}
