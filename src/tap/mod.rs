//! Where the data plane is measured: the account of a request.
//!
//! A [`Tap`] belongs to one upstream. It gives each request a [`Measurement`], which lives first with
//! the request, then with the body of its response (a [`MeteredBody`] where hyper carries it), and which
//! records its end exactly once, however that end comes.

mod activity;
mod cold_request;
mod cold_starts;
mod edge_and_trace;
mod headers;
mod measurement;
mod queue;
mod request_body;
mod request_side;
mod response_body;
mod stall_watch;

pub(crate) use cold_starts::ColdStartWatch;
pub use measurement::Measurement;
pub use request_body::PeekBody;
pub use request_side::RequestFault;
pub(crate) use request_side::RequestSide;
pub use response_body::MeteredBody;

use crate::metrics::{ArrivalSeries, Metrics, QueueSeries, UpstreamSeries};
use crate::request_log::RequestLog;
use crate::socket::{self, OnForwarded};
use activity::UpstreamActivity;
use stall_watch::RunningStreams;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::engine::Engine;
use streamgauge_core::meter::cold::ColdStartConfig;
use streamgauge_core::meter::queue::ExpectedTtft;
use streamgauge_core::meter::{SloClasses, Traces};

/// The engine that is recognised by what it writes.
pub const AUTO: &str = "auto";
/// `gen_ai_provider_name` of requests that came before the engine was recognised.
const UNKNOWN: &str = "unknown";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two lines of ours leaves nothing half-done that matters.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// FaultInjection that tests put into the meter.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct FaultInjection {
    /// The meter panics on a frame that contains this; on such a path of a request, model in its queue, content
    /// type of an answer, or name of an upstream whose streams are looked at.
    pub panic_on: Option<Vec<u8>>,
}

impl FaultInjection {
    #[allow(clippy::panic, reason = "that is what it is for")]
    fn strike(&self, bytes: &[u8]) {
        if let Some(needle) = &self.panic_on
            && memchr::memmem::find(bytes, needle).is_some()
        {
            panic!("a fault was put into the meter");
        }
    }
}

/// What of the measuring can be configured for an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct TapConfig {
    /// The value of the label `upstream`.
    pub name: String,
    /// The engine or vendor behind it: the value of `gen_ai_provider_name`; [`AUTO`] leaves it to be
    /// recognised.
    pub engine: String,
    /// `X-Request-Start` and `X-Queue-Start` are believed.
    pub trust_request_start: bool,
    /// The classes that its requests are judged by.
    pub slo: SloClasses,
    /// A gap without output that is longer is a stall.
    pub stall: Duration,
    /// What a cold start is.
    pub cold: ColdStartConfig,
    /// Labels that the configuration gives to the upstream.
    pub labels: BTreeMap<String, String>,
}

/// The traces that pass through all proxies of the process.
pub type SharedTraces = Arc<Mutex<Traces>>;

/// What the measurements of one upstream share.
#[derive(Debug)]
pub struct Tap {
    config: TapConfig,
    upstream: Arc<str>,
    /// Requests until it is known what is behind the upstream.
    first: Arc<ArrivalSeries>,
    /// Requests after that; the first engine that is recognised stands for the upstream.
    known: OnceLock<Arc<ArrivalSeries>>,
    series: UpstreamSeries,
    activity: UpstreamActivity,
    pulses: Arc<RunningStreams>,
    cold: ColdStartWatch,
    queues: queue::UpstreamQueues,
    queue_series: QueueSeries,
    metrics: Arc<Metrics>,
    log: RequestLog,
    faults: FaultInjection,
    traces: SharedTraces,
    /// The server has told a build that sends a stream's head when a slot takes the request.
    head_at_slot: AtomicBool,
    /// Our shutdown cuts what still runs.
    cutting: AtomicBool,
    ids: AtomicU64,
}

impl Tap {
    /// The tap of an upstream. Each scrape asks it for what changes with time alone.
    pub fn new(
        config: TapConfig,
        metrics: Arc<Metrics>,
        log: RequestLog,
        traces: SharedTraces,
        faults: FaultInjection,
    ) -> Arc<Self> {
        let tap = Arc::new(Self::of(config, Arc::clone(&metrics), log, traces, faults));
        let scraped = Arc::downgrade(&tap);
        metrics.on_gather(move || {
            if let Some(tap) = scraped.upgrade() {
                tap.refresh(socket::now());
            }
        });
        tap
    }

    fn of(
        config: TapConfig,
        metrics: Arc<Metrics>,
        log: RequestLog,
        traces: SharedTraces,
        faults: FaultInjection,
    ) -> Self {
        let TapConfig { name, engine, stall, cold, .. } = &config;
        let upstream: Arc<str> = name.as_str().into();
        let series = metrics.upstream(&upstream);
        let is_auto = engine == AUTO;
        let first = metrics.arrivals(&upstream, if is_auto { UNKNOWN } else { engine });
        let (first, known) = (Arc::new(first), OnceLock::new());
        if !is_auto {
            metrics.upstream_is(&upstream, engine, &config.labels);
            // It is empty.
            let _ = known.set(Arc::clone(&first));
        }
        // Ids need only differ between the processes of one log; the start's nanoseconds do.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(0, |now| u64::from(now.subsec_nanos()) << 32 ^ now.as_secs() << 20);
        let (cutting, ids) = (AtomicBool::new(false), AtomicU64::new(seed));
        let now = socket::now();
        Self {
            cold: ColdStartWatch::new(&upstream, *cold, now, Arc::clone(&metrics)),
            queues: queue::UpstreamQueues::default(),
            queue_series: metrics.queue(&upstream),
            upstream,
            first,
            known,
            series,
            activity: UpstreamActivity::new(now),
            pulses: Arc::new(RunningStreams::new(*stall)),
            metrics,
            log,
            faults,
            traces,
            head_at_slot: AtomicBool::new(false),
            cutting,
            ids,
            config,
        }
    }

    /// Sets the gauges that change with time alone.
    fn refresh(&self, now: Duration) {
        self.series.idle(self.activity.idle(now));
        self.series.oldest_silent(self.pulses.sweep(now));
        self.cold.refresh(now);
        self.queues.each(|model, estimator| {
            // A model becomes a label by its successes, as a baseline does. Names that are cut to the same label
            // would overwrite each other.
            if let Some(label) = self.metrics.known_model(model).filter(|label| **label == *model) {
                self.queue_series.set(&label, estimator, now);
            }
        });
    }

    /// Counts the stalls of running streams; to be called again and again.
    pub fn count_stalls(&self) {
        let look = || {
            self.faults.strike(self.upstream.as_bytes());
            self.pulses.sweep(socket::now());
        };
        if catch_unwind(AssertUnwindSafe(look)).is_err() {
            // The next one may do better, and other upstreams have theirs.
            self.series.unparsed(UnparsedReason::Panic);
        }
    }

    /// What finds cold starts.
    pub(crate) fn cold_starts(&self) -> &ColdStartWatch {
        &self.cold
    }

    /// What a request would take that does not wait; `None` until the queue's baseline is learned.
    fn expected(&self, model: &str, bytes: u64) -> Option<ExpectedTtft> {
        self.queues.expected(model, bytes)
    }

    /// The handles of this upstream.
    pub fn upstream_series(&self) -> &UpstreamSeries {
        &self.series
    }

    /// The handles for a request that arrives now.
    fn arrivals(&self) -> &Arc<ArrivalSeries> {
        self.known.get().unwrap_or(&self.first)
    }

    /// An answer of the upstream was written by this engine.
    fn recognised(&self, engine: Engine) {
        self.known.get_or_init(|| {
            self.metrics.upstream_is(&self.upstream, engine.label(), &self.config.labels);
            Arc::new(self.metrics.arrivals(&self.upstream, engine.label()))
        });
    }

    /// The engine or vendor that wrote an answer, which `shows` itself or not.
    fn engine(&self, shows: Option<Engine>) -> Option<Arc<str>> {
        let known = self.known.get().map(|known| known.provider());
        // What is configured outweighs what shows.
        let shows = shows.filter(|_| &**self.first.provider() == UNKNOWN);
        match (shows.map(Engine::label), known) {
            (Some(shows), Some(known)) if **known == *shows => Some(Arc::clone(known)),
            (Some(shows), _) => Some(shows.into()),
            (None, known) => known.cloned(),
        }
    }

    /// From now on a request that is dropped was cut by our shutdown.
    pub fn begin_shutdown(&self) {
        self.cutting.store(true, Relaxed);
    }

    /// Observes the forwarding delay of a client's socket.
    pub fn on_forwarded(self: &Arc<Self>) -> OnForwarded {
        let tap = Arc::clone(self);
        Arc::new(move |delay, frames| tap.series.forwarded(delay, frames))
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }
}
