//! Per-request measurement.
//!
//! A [`Measurement`] follows one request from its first byte to its end (in a [`MeteredBody`] where hyper carries the
//! response body) and records it exactly once, however it ends. A [`Tap`] is the state that all measurements of one
//! upstream share: cold-start detector, queue estimate, running streams, engine. [`metrics`](crate::metrics) lists when
//! each metric is recorded.

mod activity;
mod capacity;
mod cold_request;
mod cold_starts;
mod edge_and_trace;
mod engine_watch;
mod headers;
mod measurement;
mod models;
mod outage;
mod queue;
mod request_body;
mod request_progress;
mod request_registry;
mod response_body;
mod stall_watch;

pub(crate) use cold_starts::ColdStartWatch;
pub(crate) use engine_watch::StuckEngine;
pub use measurement::Measurement;
pub use outage::Outage;
pub(crate) use outage::OutageWatch;
pub use request_body::PeekBody;
pub use request_progress::RequestFault;
pub(crate) use request_progress::RequestProgress;
pub(crate) use request_registry::InFlightRequest;
pub use response_body::MeteredBody;

use crate::metrics::{ArrivalSeries, CapacitySeries, Metrics, OTHER, QueueSeries, UpstreamSeries};
use crate::request_log::RequestLog;
use crate::socket::{self, OnForwarded};
use activity::UpstreamActivity;
use arc_swap::ArcSwap;
use engine_watch::EngineWatch;
use request_registry::RequestRegistry;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::engine::Engine;
use streamgauge_core::dialect::route::Route;
use streamgauge_core::meter::cold::ColdStartConfig;
use streamgauge_core::meter::queue::{ExpectedTtft, SlotSpan};
use streamgauge_core::meter::{SloClasses, Traces};

/// Value of `engine` in the configuration that means: detect the engine from its responses.
pub const AUTO: &str = "auto";
/// `gen_ai_provider_name` of an upstream whose responses do not show their engine. As the value of `engine` it means the
/// same from the start.
pub const UNKNOWN: &str = "unknown";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a lock is held leaves a state that is at worst wrong about one request.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Faults that tests inject into the measurement.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct FaultInjection {
    /// The measurement panics when it reads these bytes. It looks for them in the path and model of a request, and in
    /// the content type and body of a response. The search for stalls looks for them in the name of the upstream.
    pub panic_on: Option<Vec<u8>>,
}

impl FaultInjection {
    /// Panics if a test injected a fault for these bytes. Otherwise has no effect.
    #[allow(clippy::panic, reason = "a panic is the injected fault")]
    fn inject(&self, bytes: &[u8]) {
        if let Some(needle) = &self.panic_on
            && memchr::memmem::find(bytes, needle).is_some()
        {
            panic!("a test injected this fault into the measurement");
        }
    }
}

/// Configuration of the measurement of one upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct TapConfig {
    /// Name of the proxy: the label `upstream`.
    pub name: String,
    /// Engine or vendor of the upstream: the label `gen_ai_provider_name`. [`AUTO`] detects it.
    pub engine: String,
    /// Whether the headers `X-Request-Start` and `X-Queue-Start` are trusted.
    pub trust_request_start: bool,
    /// SLO classes that its requests are judged by.
    pub slo: SloClasses,
    /// A gap without output that is longer than this is a stall.
    pub stall: Duration,
    /// Thresholds of the cold-start detector.
    pub cold: ColdStartConfig,
    /// Cold starts that only the time of a request shows are counted too.
    pub counts_likely_cold_starts: bool,
    /// Labels that the configuration adds to the upstream.
    pub labels: BTreeMap<String, String>,
    /// Routes of the configuration. They take precedence over the built-in ones.
    pub routes: &'static [Route],
}

/// Traces of the requests of all proxies of the process.
pub type SharedTraces = Arc<Mutex<Traces>>;

/// Estimated queue of one model.
#[derive(Debug, Clone)]
pub(crate) struct QueueEstimate {
    /// Label of the model.
    pub model: Arc<str>,
    /// Expected wait of a request that arrives now, in seconds.
    pub wait: Option<f64>,
    /// Number of requests that the server processes at once.
    pub slots: Option<f64>,
}

/// State that the measurements of one upstream share.
#[derive(Debug)]
pub struct Tap {
    /// A reload replaces it.
    config: ArcSwap<TapConfig>,
    upstream: Arc<str>,
    arrivals: ArrivalSeries,
    /// The configured engine, or else the first one that a response identified.
    engine: OnceLock<Arc<str>>,
    /// `engine` is the configured one, so no response replaces it.
    is_engine_configured: bool,
    /// A server has answered an inference request, so its engine would have been detected.
    has_answered: AtomicBool,
    series: UpstreamSeries,
    activity: UpstreamActivity,
    in_flight: RequestRegistry,
    cold_starts: ColdStartWatch,
    outages: OutageWatch,
    engine_watch: EngineWatch,
    models: models::UpstreamModels,
    queue_series: QueueSeries,
    capacity_series: CapacitySeries,
    metrics: Arc<Metrics>,
    log: RequestLog,
    faults: FaultInjection,
    traces: SharedTraces,
    /// The server reported a llama.cpp build that sends the headers of a stream when a slot takes the request.
    sends_head_at_slot: AtomicBool,
    /// From now on a dropped request was cut by Streamgauge's shutdown.
    shutting_down: AtomicBool,
    next_id: AtomicU64,
    /// A response was of no known API.
    has_unrecognised: AtomicBool,
}

impl Tap {
    /// The tap of an upstream. Before each scrape it sets the gauges that change with time alone.
    pub fn new(
        config: TapConfig,
        metrics: Arc<Metrics>,
        log: RequestLog,
        traces: SharedTraces,
        faults: FaultInjection,
    ) -> Arc<Self> {
        let tap = Arc::new(Self::build(config, Arc::clone(&metrics), log, traces, faults));
        let scraped = Arc::downgrade(&tap);
        metrics.on_gather(move || {
            if let Some(tap) = scraped.upgrade() {
                tap.refresh_gauges(socket::now());
            }
        });
        tap
    }

    fn build(
        config: TapConfig,
        metrics: Arc<Metrics>,
        log: RequestLog,
        traces: SharedTraces,
        faults: FaultInjection,
    ) -> Self {
        let TapConfig { name, engine, cold, counts_likely_cold_starts, .. } = &config;
        let upstream: Arc<str> = name.as_str().into();
        let series = metrics.upstream_series(&upstream);
        metrics.create_summed_series(&upstream, &config.slo);
        let is_engine_configured = ![AUTO, UNKNOWN].contains(&&**engine);
        let engine = if is_engine_configured {
            metrics.set_upstream_info(&upstream, engine, &config.labels);
            OnceLock::from(Arc::from(&**engine))
        } else {
            OnceLock::new()
        };
        if config.engine != AUTO {
            metrics.decide_provider(&upstream, &config.engine);
        }
        // Several processes may write one log, so their ids start at different numbers.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(0, |now| u64::from(now.subsec_nanos()) << 32 ^ now.as_secs() << 20);
        let now = socket::now();
        Self {
            cold_starts: ColdStartWatch::new(
                &upstream,
                *cold,
                *counts_likely_cold_starts,
                now,
                Arc::clone(&metrics),
            ),
            outages: OutageWatch::new(&upstream),
            engine_watch: EngineWatch::default(),
            models: models::UpstreamModels::default(),
            queue_series: metrics.queue_series(&upstream),
            capacity_series: metrics.capacity_series(&upstream),
            arrivals: metrics.arrival_series(&upstream),
            upstream,
            engine,
            is_engine_configured,
            has_answered: AtomicBool::new(false),
            series,
            activity: UpstreamActivity::new(now),
            in_flight: RequestRegistry::default(),
            metrics,
            log,
            faults,
            traces,
            sends_head_at_slot: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            next_id: AtomicU64::new(seed),
            has_unrecognised: AtomicBool::new(false),
            config: ArcSwap::from_pointee(config),
        }
    }

    /// Replaces the configuration, for requests that have not ended. Keys that [`keys`](crate::config::keys) marks as
    /// fixed must have their old values.
    pub fn reload(&self, config: TapConfig) {
        // Before a request can be judged by a new class.
        self.metrics.create_summed_series(&self.upstream, &config.slo);
        let is_same_slo = self.config.load().slo == config.slo;
        self.config.store(Arc::new(config));
        if !is_same_slo {
            self.models.forget_verdicts();
        }
    }

    /// Sets the gauges that change with time alone.
    fn refresh_gauges(&self, now: Duration) {
        if self.has_answered.load(Relaxed) {
            self.metrics.decide_provider(&self.upstream, UNKNOWN);
        }
        self.series.set_idle(self.activity.idle_time(now));
        let outage = self.outage().map(|outage| now.saturating_sub(outage.since));
        self.series.set_outage(outage.unwrap_or_default());
        self.series.set_oldest_silent(self.observe_streams(now));
        let (silence, limit) = self.engine_watch.silence();
        self.series.set_engine_progress(silence, limit);
        self.cold_starts.refresh(now);
        self.models.for_each_queue(|model, estimator| {
            if let Some(label) = self.own_label(model) {
                self.queue_series.set_queue(&label, estimator, now);
            }
        });
        self.models.refresh_capacity(now, |model, estimator| {
            if let Some(label) = self.own_label(model) {
                self.capacity_series.set_capacity(&label, estimator, now);
            }
        });
    }

    /// The label of a model that has one of its own: it had a successful response. A name that was cut is not its own label;
    /// two of them would overwrite each other.
    fn own_label(&self, model: &str) -> Option<Arc<str>> {
        self.metrics.existing_model_label(model).filter(|label| **label == *model)
    }

    /// Counts the current gaps of running streams that have become stalls, and follows the progress of the engine.
    /// Must be called several times a second.
    pub fn count_stalls(&self) {
        let count = || {
            self.faults.inject(self.upstream.as_bytes());
            self.observe_streams(socket::now());
        };
        // A panic must not end the task, which also serves the other upstreams.
        if catch_unwind(AssertUnwindSafe(count)).is_err() {
            self.series.count_unparsed(UnparsedReason::Panic);
        }
    }

    /// Returns the longest current gap of a running stream.
    fn observe_streams(&self, now: Duration) -> Duration {
        let streams = self.in_flight.count_stalls(now);
        let silent = || self.in_flight.without_output();
        self.engine_watch.observe(now, &streams, &self.models, silent);
        streams.longest_gap
    }

    /// Whether the engine generates nothing although output is due.
    pub(crate) fn stuck_engine(&self) -> Option<StuckEngine> {
        self.engine_watch.stuck()
    }

    /// Time since an inference request was in flight. `None` if there was none.
    pub(crate) fn since_request(&self, now: Duration) -> Option<Duration> {
        self.activity.since_request(now)
    }

    /// Number of requests in flight, and the oldest of them, oldest first.
    pub(crate) fn oldest_in_flight(
        &self,
        count: usize,
        now: Duration,
    ) -> (usize, Vec<InFlightRequest>) {
        self.in_flight.oldest(count, now)
    }

    /// Name of the upstream.
    pub(crate) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// Engine of the upstream, as configured or detected.
    pub(crate) fn engine(&self) -> Option<Arc<str>> {
        self.engine_of_response(None)
    }

    /// Estimated queue of each model that has a label.
    pub(crate) fn queue_estimates(&self, now: Duration) -> Vec<QueueEstimate> {
        let mut estimates = Vec::new();
        self.models.for_each_queue(|model, estimator| {
            if let Some(model) = self.own_label(model) {
                // Slots for prompts do not limit the number of requests in service.
                let slots = estimator.slot_model().filter(|slots| slots.span == SlotSpan::Response);
                let slots = slots.map(|slots| slots.count as f64);
                let wait = estimator.current_wait(now).map(|wait| wait.seconds);
                estimates.push(QueueEstimate { model, wait, slots });
            }
        });
        estimates
    }

    /// The cold-start detector.
    pub(crate) fn cold_starts(&self) -> &ColdStartWatch {
        &self.cold_starts
    }

    /// Follows whether connections can be opened.
    pub(crate) fn outages(&self) -> &OutageWatch {
        &self.outages
    }

    /// The current outage, if no connection can be opened.
    pub fn outage(&self) -> Option<Outage> {
        self.outages.current()
    }

    /// TTFT of a request that does not wait in the queue. `None` until the queue's baseline is learned.
    fn expected_ttft(&self, model: &str, bytes: u64) -> Option<ExpectedTtft> {
        self.models.expected_ttft(model, bytes)
    }

    /// Series of this upstream without request labels.
    pub fn upstream_series(&self) -> &UpstreamSeries {
        &self.series
    }

    /// Stores the engine that a response identified. Only the first one counts.
    fn set_detected_engine(&self, engine: Engine) {
        self.engine.get_or_init(|| {
            let engine = engine.label();
            self.metrics.set_upstream_info(&self.upstream, engine, &self.config.load().labels);
            self.metrics.decide_provider(&self.upstream, engine);
            engine.into()
        });
    }

    /// The server answered an inference request. If its engine is not detected at the next scrape, its series are
    /// exported without it.
    fn on_answer(&self) {
        // Usually it is set. A load does not move the cache line between workers.
        if !self.has_answered.load(Relaxed) {
            self.has_answered.store(true, Relaxed);
        }
    }

    /// Returns the engine of a response: the configured one, else the one that this response identifies (`detected`),
    /// else the one that an earlier response identified.
    fn engine_of_response(&self, detected: Option<Engine>) -> Option<Arc<str>> {
        let known = self.engine.get();
        let detected = detected.filter(|_| !self.is_engine_configured);
        match (detected.map(Engine::label), known) {
            (Some(detected), Some(known)) if **known == *detected => Some(Arc::clone(known)),
            (Some(detected), _) => Some(detected.into()),
            (None, known) => known.cloned(),
        }
    }

    /// From now on, requests that are dropped count as cut by Streamgauge's shutdown.
    pub fn begin_shutdown(&self) {
        self.shutting_down.store(true, Relaxed);
    }

    /// Returns a function that records the forwarding delay of a client's socket.
    pub fn on_forwarded(self: &Arc<Self>) -> OnForwarded {
        let tap = Arc::clone(self);
        Arc::new(move |delay, frames| tap.series.record_forwarding_delay(delay, frames))
    }

    /// Counts a part of a response that could not be parsed. The first unrecognised response is logged, because it takes
    /// a change of the configuration to measure it.
    fn on_unparsed(&self, reason: UnparsedReason) {
        self.series.count_unparsed(reason);
        if reason == UnparsedReason::Unrecognised && !self.has_unrecognised.swap(true, Relaxed) {
            tracing::warn!(
                upstream = &*self.upstream,
                "a response is of no known API, so its tokens are not measured; save one with `curl -i` and run \
                 `streamgauge explain` on it, or describe its API under [[api]]"
            );
        }
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }
}
