//! The whole of it: binds everything, runs it, ends it.

use crate::admin::{self, Admin};
use crate::config::{Config, ProxyConfig};
use crate::metrics::{Metrics, MetricsError, claim_shard};
use crate::proxy::{self, Connector, Listener, Timers, TlsError, TlsFiles, UpstreamPool};
use crate::request_log::{RequestLog, RequestLogWriter};
use crate::socket;
use crate::tap::{FaultInjection, SharedTraces, Tap};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_rustls::rustls::ServerConfig;

/// How often running streams are looked at for stalls.
const SWEEP: Duration = Duration::from_millis(250);

/// Why Streamgauge cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address} ({what}): {source}")]
    Bind { address: SocketAddr, what: String, source: io::Error },
    #[error("cannot open the request log {path}: {source}")]
    RequestLog { path: String, source: io::Error },
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("{0} has stopped by itself; see the log above")]
    Stopped(String),
}

/// One proxy, bound.
#[derive(Debug)]
struct Bound {
    name: String,
    connector: Connector,
    tls: Option<Arc<ServerConfig>>,
    listener: Listener,
    address: SocketAddr,
    tap: Arc<Tap>,
}

/// Streamgauge with all its listeners bound, so that clients can connect from now on.
#[derive(Debug)]
pub struct App {
    proxies: Vec<Bound>,
    admin: TcpListener,
    admin_address: SocketAddr,
    shared: Arc<Admin>,
    writer: Option<RequestLogWriter>,
    workers: usize,
    grace: Duration,
}

impl App {
    /// Binds every listener.
    ///
    /// # Errors
    /// If an address is taken, the request log cannot be opened, or bucket edges are wrong.
    pub fn bind(config: Config) -> Result<Self, AppError> {
        Self::bind_with(config, FaultInjection::default())
    }

    #[doc(hidden)]
    pub fn bind_with(config: Config, faults: FaultInjection) -> Result<Self, AppError> {
        let metrics = Arc::new(Metrics::new(&config.metrics, config.workers)?);
        let (log, writer) = match &config.request_log {
            None => (RequestLog::in_memory(Arc::clone(&metrics)), None),
            Some(path) => {
                let (log, writer) =
                    RequestLog::to_file(path, Arc::clone(&metrics)).map_err(|source| {
                        AppError::RequestLog { path: path.display().to_string(), source }
                    })?;
                (log, Some(writer))
            }
        };
        let bind_error = |address, what: &str| {
            let what = what.to_owned();
            move |source| AppError::Bind { address, what, source }
        };
        let upstreams = config.proxies.iter().map(|proxy| {
            let ProxyConfig { tap, upstream, .. } = proxy;
            (tap.name.clone(), upstream.address.clone())
        });
        let upstreams = upstreams.collect();
        let mut proxies = Vec::new();
        let traces = SharedTraces::default();
        for config in config.proxies {
            let (connector, tls) = prepare_tls(&config)?;
            let error = bind_error(config.listen, &config.tap.name);
            let bound = Listener::bind(config.listen, config.upstream.kernel_stamps)
                .and_then(|one| Ok((one.local_addr()?, one)));
            let (address, listener) = bound.map_err(error)?;
            let (metrics, log) = (Arc::clone(&metrics), log.clone());
            let name = config.tap.name.clone();
            let tap = Tap::new(config.tap, metrics, log, Arc::clone(&traces), faults.clone());
            proxies.push(Bound { name, connector, tls, listener, address, tap });
        }
        let bound = admin::bind(config.admin).and_then(|one| Ok((one.local_addr()?, one)));
        let (admin_address, admin) = bound.map_err(bind_error(config.admin, "admin"))?;
        let shared = Admin {
            upstreams,
            metrics,
            log,
            config: config.shown,
            token: config.admin_token,
            draining: AtomicBool::new(false),
            is_local: admin_address.ip().is_loopback(),
        };
        let (workers, grace) = (config.workers, config.shutdown_grace);
        Ok(Self { proxies, admin, admin_address, shared: Arc::new(shared), writer, workers, grace })
    }

    /// Where each proxy listens: its name and address.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.proxies.iter().map(|bound| (bound.name.clone(), bound.address)).collect()
    }

    /// Where the admin port listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Runs until `shutdown` is ready, then lets open requests finish for the configured grace. The
    /// admin port serves until the end.
    ///
    /// # Errors
    /// If a part of it stops by itself.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), AppError> {
        let Self { proxies, admin, shared, writer, workers, grace, .. } = self;
        let (stop_proxies, stopping) = watch::channel(false);
        let (stop_others, others_stopping) = watch::channel(false);
        let (ended, mut ends) = mpsc::unbounded_channel();
        let page = Arc::clone(&shared);
        let stopping_admin = others_stopping.clone();
        let admin = spawn("admin".into(), timed()?, ended.clone(), async move {
            admin::serve(admin, page, stopping_admin).await
        })?;
        let clock = timed()?;
        let timers = Timers::new(clock.handle().clone());
        let watched = proxies.iter().map(|bound| (bound.connector.clone(), Arc::clone(&bound.tap)));
        let clock = spawn(
            "clock".into(),
            clock,
            ended.clone(),
            keep_time(watched.collect(), others_stopping),
        )?;
        let heart = socket::start_heartbeat().map_err(AppError::Thread)?;
        let mut threads = Vec::new();
        for worker in 0..workers {
            let mut listeners = Vec::new();
            for bound in &proxies {
                let listener = bound.listener.try_clone().map_err(AppError::Thread)?;
                let (connector, tap) = (bound.connector.clone(), Arc::clone(&bound.tap));
                let upstream = UpstreamPool::new(connector, tap, timers.clone());
                listeners.push((listener, bound.tls.clone(), Arc::new(upstream)));
            }
            let stopping = stopping.clone();
            let beats = heart.clone();
            let observe_lag = shared.metrics.event_loop_lag_observer();
            let runtime = untimed()?;
            threads.push(spawn(format!("proxy-{worker}"), runtime, ended.clone(), async move {
                claim_shard(worker);
                let mut serving = tokio::task::JoinSet::new();
                // Beside the others, not among them: it ends with the runtime.
                tokio::spawn(socket::measure_lag(beats, observe_lag));
                for (listener, tls, upstream) in listeners {
                    let stopping = stopping.clone();
                    serving.spawn(proxy::serve(listener, tls, upstream, stopping, grace));
                }
                while let Some(served) = serving.join_next().await {
                    served.map_err(io::Error::other)??;
                }
                Ok(())
            })?);
        }
        drop(ended);
        drop(heart);
        // The workers hold sockets of their own; ours would keep the port open after them.
        drop(proxies);
        let result = tokio::select! {
            () = shutdown => Ok(()),
            () = reopen_on_hangup(writer.as_ref()) => Ok(()),
            stopped = ends.recv() => Err(AppError::Stopped(stopped.unwrap_or_default())),
        };
        shared.drain();
        stop_proxies.send_replace(true);
        // Not here: whoever runs us may have one thread, and other things to do.
        let workers_end = tokio::task::spawn_blocking(|| threads.into_iter().for_each(join));
        workers_end.await.map_err(|error| AppError::Thread(io::Error::other(error)))?;
        stop_others.send_replace(true);
        [admin, clock].into_iter().for_each(join);
        drop(shared);
        if let Some(writer) = writer {
            writer.join();
        }
        result
    }
}

/// Runs until `stopping` holds `true` what goes by the clock and not by the traffic: looks for stalls, and looks
/// after the upstreams.
async fn keep_time(
    watched: Vec<(Connector, Arc<Tap>)>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    tokio::spawn(sweep(watched.iter().map(|(_, tap)| Arc::clone(tap)).collect()));
    for (connector, tap) in watched {
        if let Some(pages) = proxy::watch_start_time(&connector, &tap) {
            tokio::spawn(pages);
        }
        tokio::spawn(proxy::watch_readiness(connector, tap));
    }
    // A sender that is gone says stop too. What was spawned ends with the runtime.
    let _ = stopping.wait_for(|stop| *stop).await;
    Ok(())
}

/// Counts stalls as they become such; never ends.
async fn sweep(taps: Vec<Arc<Tap>>) {
    let mut timer = tokio::time::interval(SWEEP);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        taps.iter().for_each(|tap| tap.count_stalls());
    }
}

/// Reads the certificates and keys that a proxy needs.
fn prepare_tls(config: &ProxyConfig) -> Result<(Connector, Option<Arc<ServerConfig>>), TlsError> {
    let connector = Connector::new(config.upstream.clone())?;
    let tls = config.tls.as_ref().map(TlsFiles::server_config).transpose()?;
    Ok((connector, tls))
}

/// Tries the files that a configuration names.
///
/// # Errors
/// If a certificate or key cannot be used.
pub fn check_files(config: &Config) -> Result<(), AppError> {
    for proxy in &config.proxies {
        prepare_tls(proxy)?;
    }
    Ok(())
}

/// A runtime for one thread, with timers.
fn timed() -> Result<Runtime, AppError> {
    runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Thread)
}

/// One without: see [`Timers`].
fn untimed() -> Result<Runtime, AppError> {
    runtime::Builder::new_current_thread().enable_io().build().map_err(AppError::Thread)
}

/// Runs a future on a runtime, on a thread of its own; tells its name when it ends.
fn spawn(
    name: String,
    runtime: Runtime,
    ended: mpsc::UnboundedSender<String>,
    future: impl Future<Output = io::Result<()>> + Send + 'static,
) -> Result<JoinHandle<()>, AppError> {
    let thread = Builder::new().name(name.clone()).spawn(move || {
        // Said when the thread ends, by a panic too.
        let _ended = Ended(name, ended);
        if let Err(error) = runtime.block_on(future) {
            tracing::error!(%error, "stopped");
        }
    });
    thread.map_err(AppError::Thread)
}

struct Ended(String, mpsc::UnboundedSender<String>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody listens any more once the app has ended.
        let _ = self.1.send(std::mem::take(&mut self.0));
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread panicked");
    }
}

/// Opens the request log anew at each SIGHUP; never ends.
async fn reopen_on_hangup(writer: Option<&RequestLogWriter>) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hangups) => {
            while hangups.recv().await.is_some() {
                if let Some(writer) = writer {
                    writer.reopen();
                }
            }
        }
        Err(error) => tracing::warn!(%error, "SIGHUP will not reopen the request log"),
    }
    std::future::pending().await
}
