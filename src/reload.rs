//! Reload of the configuration and of the certificates while the program runs.
//!
//! [`keys`](crate::config::keys) has the keys that a reload can change. All new values are prepared before the first one
//! is applied, so a reload succeeds as a whole or changes nothing.

use crate::admin::{Admin, AdminConfigError, AdminSettings, ReloadRequest};
use crate::config::{Config, ProxyConfig, ReloadError};
use crate::log::{LogLevelHandle, UNLIMITED};
use crate::proxy::{
    self, Connector, DrainTimes, ListenerTls, SharedServerConfig, TlsError, UpstreamTls,
};
use crate::request_log::RequestLogWriter;
use crate::tap::Tap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_rustls::rustls::ServerConfig;

/// Why a reload changes nothing.
#[derive(Debug, thiserror::Error)]
enum ReloadFailure {
    /// The configuration does not come into force.
    #[error(transparent)]
    Config(#[from] ReloadError),
    /// A file that it names cannot be used.
    #[error(transparent)]
    File(#[from] AdminConfigError),
}

/// Interval of the check whether a certificate file has changed.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(5);

/// The parts of a running proxy that a reload changes.
#[derive(Debug)]
pub(crate) struct LiveProxy {
    pub connector: Connector,
    pub tls: Option<SharedServerConfig>,
    pub tap: Arc<Tap>,
}

/// TLS of a proxy, loaded from the files of its configuration.
#[derive(Debug)]
pub(crate) struct LoadedTls {
    pub listener: Option<Arc<ServerConfig>>,
    pub upstream: Option<Arc<UpstreamTls>>,
}

impl LoadedTls {
    /// Reads the certificate and key files of a proxy.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn read(config: &ProxyConfig) -> Result<Self, TlsError> {
        let protocols = [proxy::ALPN_HTTP_2, proxy::ALPN_HTTP_1];
        Ok(Self {
            listener: config.tls.as_ref().map(|tls| tls.server_config(&protocols)).transpose()?,
            upstream: UpstreamTls::load(&config.upstream)?,
        })
    }
}

/// The configuration in force, and everything that a reload changes.
#[derive(Debug)]
pub(crate) struct Reloader {
    config: Config,
    proxies: Vec<LiveProxy>,
    admin: Arc<Admin>,
    log_level: Option<LogLevelHandle>,
    /// State of the certificate files when they were last read.
    files: Vec<Option<FileState>>,
}

/// Identity and time of a file. Both also change when a link on its path is replaced.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl FileState {
    fn read(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Reloader {
    /// `config` is in force in `proxies` and `admin`.
    pub fn new(
        config: Config,
        proxies: Vec<LiveProxy>,
        admin: Arc<Admin>,
        log_level: Option<LogLevelHandle>,
    ) -> Self {
        let files = file_states(&config, &admin);
        Self { config, proxies, admin, log_level, files }
    }

    /// Durations of the stages of the shutdown.
    pub fn drain_times(&self) -> DrainTimes {
        self.config.drain
    }

    /// Reloads the configuration and the certificates. Returns what was reloaded, or why the old configuration stays in
    /// force.
    fn reload(&mut self) -> Result<String, String> {
        let files = self.file_states();
        let result = self.try_reload();
        self.admin.metrics.record_reload(result.is_ok());
        match result {
            Ok(changed) => {
                self.files = if changed.is_empty() { files } else { self.file_states() };
                let changed = if changed.is_empty() { "none".into() } else { changed.join(", ") };
                for warning in &self.config.warnings {
                    tracing::warn!(target: UNLIMITED, "{warning}");
                }
                tracing::info!(target: UNLIMITED, changed, "the configuration and the certificates are reloaded");
                self.admin.announce_page();
                Ok(format!("reloaded; changed keys: {changed}"))
            }
            Err(error) => {
                tracing::error!(target: UNLIMITED, %error, "cannot reload the configuration; the old one stays in force");
                Err(format!("the old configuration stays in force: {error}"))
            }
        }
    }

    fn try_reload(&mut self) -> Result<Vec<String>, ReloadFailure> {
        let (config, changed) = self.config.reload()?;
        let (loaded, admin) = read_files(&config)?;
        self.config = config;
        self.apply_tls(loaded);
        for (live, config) in self.proxies.iter().zip(&self.config.proxies) {
            live.tap.reload(config.tap.clone());
        }
        self.admin.settings.store(Arc::new(admin));
        if let Some(log_level) = &self.log_level {
            log_level.set(self.config.log_level);
        }
        Ok(changed)
    }

    /// Reloads the certificates if one of their files has changed since it was read.
    fn reload_changed_certificates(&mut self) {
        let files = self.file_states();
        if files == self.files {
            return;
        }
        self.files = files;
        let loaded = read_files(&self.config);
        self.admin.metrics.record_reload(loaded.is_ok());
        match loaded {
            Ok((loaded, admin)) => {
                self.apply_tls(loaded);
                self.admin.settings.store(Arc::new(admin));
                self.files = self.file_states();
                tracing::info!(target: UNLIMITED, "a certificate file has changed: the certificates are reloaded");
            }
            Err(error) => tracing::error!(
                target: UNLIMITED,
                %error,
                "a certificate file has changed and cannot be used; the old certificates stay in force"
            ),
        }
    }

    fn file_states(&self) -> Vec<Option<FileState>> {
        file_states(&self.config, &self.admin)
    }

    /// Applies certificates, with the configuration of the connections to the upstream.
    fn apply_tls(&self, loaded: Vec<LoadedTls>) {
        for ((live, config), loaded) in self.proxies.iter().zip(&self.config.proxies).zip(loaded) {
            live.connector.reload(config.upstream.clone(), loaded.upstream);
            if let (Some(listener), Some(tls)) = (&live.tls, loaded.listener) {
                listener.replace(tls);
            }
        }
    }
}

/// Reads the files that the configuration names.
fn read_files(config: &Config) -> Result<(Vec<LoadedTls>, AdminSettings), AdminConfigError> {
    let loaded = config.proxies.iter().map(LoadedTls::read).collect::<Result<_, _>>()?;
    Ok((loaded, AdminSettings::read(config)?))
}

/// The state of every certificate and key file, and of the files of the admin port; `None` for a file that cannot be
/// read.
fn file_states(config: &Config, admin: &Admin) -> Vec<Option<FileState>> {
    let paths = config.proxies.iter().flat_map(|proxy| {
        let ProxyConfig { tls, upstream, .. } = proxy;
        let client_certificate = upstream.client_certificate.iter();
        let client_certificate = client_certificate.flat_map(|files| [&files.cert, &files.key]);
        let listener = tls.iter().flat_map(ListenerTls::pem_files);
        listener.chain(client_certificate).chain(&upstream.ca_file)
    });
    let states = paths.map(|file| FileState::read(&file.path));
    states.chain(admin.settings.load().files.iter().map(|file| FileState::read(file))).collect()
}

/// Keeps a running program up to date: with SIGHUP, `POST /-/reload`, and changed certificate files.
#[derive(Debug)]
pub(crate) struct Maintenance {
    reloader: Reloader,
    /// SIGHUP also reopens the request log.
    log: Option<RequestLogWriter>,
    requests: mpsc::Receiver<ReloadRequest>,
    hangups: Option<Signal>,
    certificate_check: Interval,
}

impl Maintenance {
    /// Requires a runtime with timers and signals.
    pub fn new(
        reloader: Reloader,
        log: Option<RequestLogWriter>,
        requests: mpsc::Receiver<ReloadRequest>,
    ) -> Self {
        let hangups = signal(SignalKind::hangup()).inspect_err(|error| {
            tracing::warn!(
                %error,
                "cannot install the SIGHUP handler: SIGHUP will not reload the configuration or reopen the request log"
            );
        });
        let mut certificate_check = interval(CERTIFICATE_CHECK);
        certificate_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { reloader, log, requests, hangups: hangups.ok(), certificate_check }
    }

    /// The configuration in force.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// Returns the writer of the request log.
    pub fn into_log(self) -> Option<RequestLogWriter> {
        self.log
    }

    /// Reloads whenever it is requested; never ends.
    pub async fn run(&mut self) {
        loop {
            tokio::select! {
                () = hangup(&mut self.hangups) => {
                    if let Some(log) = &self.log {
                        log.reopen();
                    }
                    // The log has the result.
                    let _ = self.reloader.reload();
                }
                Some(reply) = self.requests.recv() => {
                    // The client may be gone.
                    let _ = reply.send(self.reloader.reload());
                }
                _ = self.certificate_check.tick() => self.reloader.reload_changed_certificates(),
            }
        }
    }
}

/// Completes at the next SIGHUP; never without its handler.
async fn hangup(hangups: &mut Option<Signal>) {
    if let Some(hangups) = hangups
        && hangups.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
