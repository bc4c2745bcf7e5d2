//! The application: binds all listeners, starts the threads, and shuts down in order.

use crate::admin::{self, Admin, AdminConfigError, AdminSettings, Login, ReloadRequest};
use crate::config::{Config, ProxyConfig};
use crate::descriptors;
use crate::live::LiveHistory;
use crate::log::LogLevelHandle;
use crate::metrics::{Metrics, MetricsError, claim_shard};
use crate::proxy::{
    self, ConnectionLimit, Connector, DrainStage, DrainTimes, Listener, SharedServerConfig, Timers,
    TlsError, UpstreamPool,
};
use crate::reload::{LiveProxy, LoadedTls, Maintenance, Reloader};
use crate::request_log::{self, RequestLog, RequestLogWriter};
use crate::socket;
use crate::tap::{FaultInjection, SharedTraces, Tap};
use arc_swap::ArcSwap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, sleep, timeout};

/// Time for the threads to end after the last stage of the shutdown.
const ABORT_LIMIT: Duration = Duration::from_secs(2);
/// Time to write the last lines of the request log after a second signal.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// Interval of the check for stalled streams.
const STALL_INTERVAL: Duration = Duration::from_millis(250);

/// Why Streamgauge cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A listener's address cannot be bound.
    #[error("{listener} cannot listen on {address}: {source}. {}", bind_hint(source, listener))]
    Bind {
        /// The listener, with the flag that sets its address.
        listener: ListenerName,
        /// The address that cannot be bound.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file of the request log cannot be opened.
    #[error(
        "request_log = {path:?}: cannot open the file: {source}. The directory must exist, and Streamgauge must \
         be allowed to write there"
    )]
    RequestLog {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A metric cannot be created, for example with wrong bucket edges.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A certificate or private key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A setting of the admin port cannot be used.
    #[error(transparent)]
    Admin(#[from] AdminConfigError),
    /// A thread or its runtime cannot be created.
    #[error("cannot start a thread: {0}. Check the limits on processes and open files")]
    Thread(io::Error),
    /// A thread ended while it was needed.
    #[error("the thread {0} stopped unexpectedly; the log lines above have the cause")]
    Stopped(String),
}

/// The listener that an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerName {
    /// The admin port.
    Admin,
    /// The only proxy, for the upstream at this address.
    OnlyProxy(String),
    /// The proxy with this configured name.
    NamedProxy(String),
}

impl ListenerName {
    fn of_proxy(config: &ProxyConfig) -> Self {
        let name = config.tap.name.clone();
        // Without a configured name, the upstream's address is the name.
        if name == config.upstream.address.to_string() {
            Self::OnlyProxy(name)
        } else {
            Self::NamedProxy(name)
        }
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("the admin port"),
            Self::OnlyProxy(upstream) => write!(f, "the proxy for upstream {upstream}"),
            Self::NamedProxy(name) => write!(f, "the proxy {name:?}"),
        }
    }
}

/// The advice for an address that cannot be bound.
fn bind_hint(error: &io::Error, listener: &ListenerName) -> String {
    let setting = match listener {
        ListenerName::Admin => "--admin",
        ListenerName::OnlyProxy(_) => "--listen",
        ListenerName::NamedProxy(_) => "--listen, or with the key listen in its [[proxies]] table",
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "Another program uses this address: stop it, or choose another port with {setting}"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("Ports below 1024 need a privilege: choose a higher one with {setting}")
        }
        _ => format!("Choose an address of this host with {setting}"),
    }
}

impl AppError {
    /// Whether the configuration must change, rather than the state of the host.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::RequestLog { .. } | Self::Metrics(_) | Self::Tls(_) | Self::Admin(_) => true,
            Self::Bind { .. } | Self::Thread(_) | Self::Stopped(_) => false,
        }
    }
}

/// One proxy with its listener bound.
#[derive(Debug)]
struct BoundProxy {
    name: String,
    connector: Connector,
    tls: Option<SharedServerConfig>,
    listener: Listener,
    address: SocketAddr,
    tap: Arc<Tap>,
}

/// Streamgauge with all listeners bound. Clients can connect already; [`App::run`] serves them.
#[derive(Debug)]
pub struct App {
    proxies: Vec<BoundProxy>,
    admin: TcpListener,
    admin_address: SocketAddr,
    shared: Arc<Admin>,
    writer: Option<RequestLogWriter>,
    config: Config,
    reload_requests: mpsc::Receiver<ReloadRequest>,
    log_level: Option<LogLevelHandle>,
    connections: Arc<ConnectionLimit>,
}

impl App {
    /// Binds every listener.
    ///
    /// # Errors
    /// If an address is in use, a file of the configuration cannot be opened, or bucket edges are invalid.
    pub fn bind(config: Config) -> Result<Self, AppError> {
        Self::bind_with_faults(config, FaultInjection::default())
    }

    /// Binds every listener, with the faults that a test puts into the meter.
    pub(crate) fn bind_with_faults(
        config: Config,
        faults: FaultInjection,
    ) -> Result<Self, AppError> {
        let metrics = Arc::new(Metrics::new(&config.metrics, config.workers)?);
        let (log, writer) = match &config.request_log {
            None => (RequestLog::in_memory(), None),
            Some(path) => {
                let (log, writer) = RequestLog::to_file(path, Arc::clone(&metrics))
                    .map_err(|source| AppError::RequestLog { path: path.clone(), source })?;
                (log, Some(writer))
            }
        };
        let bind_error =
            |address, listener| move |source| AppError::Bind { listener, address, source };
        let mut proxies: Vec<BoundProxy> = Vec::new();
        let traces = SharedTraces::default();
        for config in config.proxies.iter().cloned() {
            let tls = LoadedTls::read(&config)?;
            let error = bind_error(config.listen, ListenerName::of_proxy(&config));
            let bound = Listener::bind(config.listen, config.upstream.kernel_stamps)
                .and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = bound.map_err(error)?;
            let (metrics, log) = (Arc::clone(&metrics), log.clone());
            let name = config.tap.name.clone();
            let connector = Connector::new(config.upstream, tls.upstream);
            let tls = tls.listener.map(SharedServerConfig::new);
            let tap = Tap::new(config.tap, metrics, log, Arc::clone(&traces), faults.clone());
            proxies.push(BoundProxy { name, connector, tls, listener, address, tap });
        }
        let bound =
            admin::bind(config.admin).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (admin_address, admin) =
            bound.map_err(bind_error(config.admin, ListenerName::Admin))?;
        let upstreams =
            proxies.iter().map(|bound| (bound.name.clone(), bound.connector.clone())).collect();
        let (reloads, reload_requests) = mpsc::channel(1);
        let taps: Vec<_> = proxies.iter().map(|bound| Arc::clone(&bound.tap)).collect();
        let shared = Admin {
            upstreams,
            live: LiveHistory::new(Arc::clone(&metrics), log.clone(), taps.clone()),
            taps,
            login: Login::default(),
            address: admin_address,
            metrics,
            log,
            settings: ArcSwap::from_pointee(AdminSettings::read(&config)?),
            reloads,
            limits: config.admin_limits,
            draining: AtomicBool::new(false),
        };
        let open_files = descriptors::limit();
        let max_connections =
            config.max_connections.unwrap_or_else(|| descriptors::max_connections(open_files));
        tracing::info!(max_connections, open_files, "limits in force");
        let connections = ConnectionLimit::new(max_connections);
        let (shared, log_level) = (Arc::new(shared), None);
        Ok(Self {
            proxies,
            admin,
            admin_address,
            shared,
            writer,
            config,
            connections,
            reload_requests,
            log_level,
        })
    }

    /// Applies the log level of a reloaded configuration to this log.
    pub(crate) fn set_log_level_handle(&mut self, handle: LogLevelHandle) {
        self.log_level = Some(handle);
    }

    /// Name and address of each proxy's listener.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.proxies.iter().map(|bound| (bound.name.clone(), bound.address)).collect()
    }

    /// Address of the admin port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// URL of `/metrics`.
    pub fn metrics_url(&self) -> String {
        let scheme = if self.shared.settings.load().tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/metrics", self.admin_address)
    }

    /// Prints where the live page is.
    pub(crate) fn announce_page(&self) {
        self.shared.announce_page();
    }

    /// Runs until a stage of the shutdown is `requested`, and then through all later ones. The admin port serves until
    /// the last request has ended. Requires a runtime with timers.
    ///
    /// # Errors
    /// If a thread cannot be started, or stops before the shutdown.
    pub async fn run(self, mut requested: watch::Receiver<DrainStage>) -> Result<(), AppError> {
        let Self {
            proxies,
            admin,
            shared,
            writer,
            connections,
            config,
            reload_requests,
            log_level,
            ..
        } = self;
        let workers = config.workers;
        let (stage, stage_of_workers) = watch::channel(DrainStage::Serving);
        let (stop_others, others_stopping) = watch::channel(false);
        let (end_sender, mut end_receiver) = mpsc::unbounded_channel();
        let admin_data = Arc::clone(&shared);
        let stopping_admin = others_stopping.clone();
        let admin =
            spawn("admin".into(), runtime_with_timers()?, end_sender.clone(), async move {
                admin::serve(admin, admin_data, stopping_admin).await
            })?;
        let clock = runtime_with_timers()?;
        let timers = Timers::new(clock.handle().clone());
        let watched = proxies.iter().map(|bound| (bound.connector.clone(), Arc::clone(&bound.tap)));
        let clock = spawn(
            "clock".into(),
            clock,
            end_sender.clone(),
            run_periodic_tasks(watched.collect(), others_stopping),
        )?;
        let heartbeat = socket::start_heartbeat().map_err(AppError::Thread)?;
        let mut threads = Vec::new();
        for worker in 0..workers {
            let mut listeners = Vec::new();
            for bound in &proxies {
                let listener = bound.listener.try_clone().map_err(AppError::Thread)?;
                let (connector, tap) = (bound.connector.clone(), Arc::clone(&bound.tap));
                let upstream = UpstreamPool::new(connector, tap, timers.clone());
                listeners.push((listener, bound.tls.clone(), Arc::new(upstream)));
            }
            let stage = stage_of_workers.clone();
            let heartbeat = heartbeat.clone();
            let connections = Arc::clone(&connections);
            let observe_lag = shared.metrics.event_loop_lag_observer();
            let runtime = runtime_without_timers()?;
            threads.push(spawn(
                format!("proxy-{worker}"),
                runtime,
                end_sender.clone(),
                async move {
                    claim_shard(worker);
                    let mut serving = tokio::task::JoinSet::new();
                    // Not in `serving`: it never ends by itself, and is dropped with the runtime.
                    tokio::spawn(socket::measure_lag(heartbeat, observe_lag));
                    for (listener, tls, upstream) in listeners {
                        let connections = Arc::clone(&connections);
                        let stage = stage.clone();
                        serving.spawn(proxy::serve(listener, tls, upstream, connections, stage));
                    }
                    while let Some(served) = serving.join_next().await {
                        served.map_err(io::Error::other)??;
                    }
                    Ok(())
                },
            )?);
        }
        drop(end_sender);
        drop(heartbeat);
        // The workers have their own sockets. These would keep the port open after the workers end.
        let proxies = proxies.into_iter().map(|BoundProxy { connector, tls, tap, .. }| LiveProxy {
            connector,
            tls,
            tap,
        });
        let reloader = Reloader::new(config, proxies.collect(), Arc::clone(&shared), log_level);
        let mut maintenance = Maintenance::new(reloader, writer, reload_requests);
        let result = tokio::select! {
            () = at_least(DrainStage::LameDuck, &mut requested) => Ok(()),
            () = maintenance.run() => Ok(()),
            stopped = end_receiver.recv() => Err(AppError::Stopped(stopped.unwrap_or_default())),
        };
        shared.drain();
        // Joins on another thread, because this one may be the only thread of the caller's runtime.
        let workers_end = tokio::task::spawn_blocking(|| threads.into_iter().for_each(join));
        let first = if result.is_ok() { *requested.borrow() } else { DrainStage::Closing };
        let times = maintenance.reloader().drain_times();
        let have_ended = tokio::select! {
            ended = advance(first, times, &stage, &mut requested, workers_end) => ended,
            () = maintenance.run() => false,
        };
        if !have_ended {
            tracing::error!(
                "a worker thread does not end; the last lines of the request log may be lost"
            );
            return result;
        }
        stop_others.send_replace(true);
        let writer = maintenance.into_log();
        let others_end = tokio::task::spawn_blocking(move || {
            [admin, clock].into_iter().for_each(join);
            drop(shared);
            if let Some(writer) = writer {
                writer.close();
            }
        });
        tokio::select! {
            ended = others_end => ended.map_err(|error| AppError::Thread(io::Error::other(error)))?,
            () = async {
                at_least(DrainStage::Aborting, &mut requested).await;
                sleep(FLUSH_LIMIT).await;
            } => {}
        }
        result
    }
}

/// Goes through the stages of the shutdown from `first`, each for its time or until a later one is `requested`. Returns
/// whether the workers have ended.
async fn advance(
    first: DrainStage,
    times: DrainTimes,
    stage: &watch::Sender<DrainStage>,
    requested: &mut watch::Receiver<DrainStage>,
    mut workers_end: tokio::task::JoinHandle<()>,
) -> bool {
    let stages = [
        (DrainStage::LameDuck, times.lame_duck, DrainStage::Closing),
        (DrainStage::Closing, times.grace, DrainStage::Aborting),
    ];
    for (entered, time, next) in stages {
        if entered >= first {
            stage.send_replace(entered);
            tokio::select! {
                _ = &mut workers_end => return true,
                () = at_least(next, requested) => {}
                () = sleep(time) => {}
            }
        }
    }
    stage.send_replace(DrainStage::Aborting);
    timeout(ABORT_LIMIT, workers_end).await.is_ok()
}

/// Completes when at least this stage is requested; never if the sender is dropped before.
async fn at_least(stage: DrainStage, requested: &mut watch::Receiver<DrainStage>) {
    if requested.wait_for(|requested| *requested >= stage).await.is_err() {
        std::future::pending().await
    }
}

/// Runs the tasks that depend on time rather than on traffic (stall detection, probes, start times of the servers)
/// until `stopping` becomes `true`.
async fn run_periodic_tasks(
    watched: Vec<(Connector, Arc<Tap>)>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    tokio::spawn(count_stalls(watched.iter().map(|(_, tap)| Arc::clone(tap)).collect()));
    for (connector, tap) in watched {
        if let Some(pages) = proxy::watch_start_time(&connector, &tap) {
            tokio::spawn(pages);
        }
        tokio::spawn(proxy::watch_readiness(connector, tap));
    }
    // An error means that the sender is dropped, which also ends the run. The runtime drops the spawned tasks.
    let _ = stopping.wait_for(|stop| *stop).await;
    Ok(())
}

/// Counts stalls of all streams at a fixed interval; never ends.
async fn count_stalls(taps: Vec<Arc<Tap>>) {
    let mut timer = tokio::time::interval(STALL_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        taps.iter().for_each(|tap| tap.count_stalls());
    }
}

/// Opens the files of a configuration, and returns an error for each that cannot be used.
pub fn check_files(config: &Config) -> Vec<AppError> {
    let tls = config.proxies.iter().filter_map(|proxy| LoadedTls::read(proxy).err());
    let mut errors: Vec<AppError> = tls.map(AppError::from).collect();
    errors.extend(AdminSettings::read(config).err().map(AppError::from));
    if let Some(path) = &config.request_log
        && let Err(source) = request_log::check_writable(path)
    {
        errors.push(AppError::RequestLog { path: path.clone(), source });
    }
    errors
}

/// Creates a single-threaded runtime with timers.
fn runtime_with_timers() -> Result<Runtime, AppError> {
    runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Thread)
}

/// Creates a single-threaded runtime without timers; [`Timers`] has the reason.
fn runtime_without_timers() -> Result<Runtime, AppError> {
    runtime::Builder::new_current_thread().enable_io().build().map_err(AppError::Thread)
}

/// Starts a thread that runs a future on this runtime, and reports its name when it ends.
fn spawn(
    name: String,
    runtime: Runtime,
    end_sender: mpsc::UnboundedSender<String>,
    future: impl Future<Output = io::Result<()>> + Send + 'static,
) -> Result<JoinHandle<()>, AppError> {
    let thread = Builder::new().name(name.clone()).spawn(move || {
        // Dropped when the thread ends, also by a panic.
        let _report_end = ReportEndOnDrop { name, sender: end_sender };
        if let Err(error) = runtime.block_on(future) {
            tracing::error!(%error, "the thread stopped");
        }
        // A name that is still being resolved does not hold the thread.
        runtime.shutdown_background();
    });
    thread.map_err(AppError::Thread)
}

/// Reports the end of a thread when it is dropped.
struct ReportEndOnDrop {
    name: String,
    sender: mpsc::UnboundedSender<String>,
}

impl Drop for ReportEndOnDrop {
    fn drop(&mut self) {
        // Fails after the app has ended, when no one receives.
        let _ = self.sender.send(std::mem::take(&mut self.name));
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread panicked; the panic message above has the cause");
    }
}
