//! The configuration in the form that the program uses: fills each part's own struct from checked settings.

use super::api::ConfiguredApi;
use super::check::CheckedSettings;
use super::keys::{
    self, ArrivalClock, ClientAuth, ConfigKey, CountedColdStarts, HostHeader, LogFormat, LogLevel,
    MetricsAccess,
};
use super::problem::ConfigProblem;
use super::reload::LoadedSources;
use super::settings::Settings;
use crate::metrics::MetricsConfig;
use crate::proxy::{
    ClientCertificates, DrainTimes, ListenerTls, PemFile, ProxyLimits, TlsFiles, UpstreamConfig,
};
use crate::tap::TapConfig;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use streamgauge_core::dialect::route::Route;
use streamgauge_core::meter::SloClasses;
use streamgauge_core::meter::cold::ColdStartConfig;

/// Limits of the admin port, so that slow clients cannot hold all descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminLimits {
    /// Number of connections. Further ones are closed at once.
    pub connections: usize,
    /// Time for receiving the headers of a request, for making a response, and for the client to take more of it.
    pub time: Duration,
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Proxies, one per upstream.
    pub proxies: Vec<ProxyConfig>,
    /// Address of the admin port.
    pub admin: SocketAddr,
    /// Who may read the pages of the admin port.
    pub admin_access: AccessConfig,
    /// Path of the request log; `-` is standard output.
    pub request_log: Option<PathBuf>,
    /// Maximum number of connections of clients. By default, the limit of open files decides.
    pub max_connections: Option<usize>,
    /// Limits of the admin port.
    pub admin_limits: AdminLimits,
    /// Number of threads that forward.
    pub workers: usize,
    /// Lowest level of the log on standard error.
    pub log_level: tracing::Level,
    /// Format of the log on standard error.
    pub log_format: LogFormat,
    /// Configuration of the metrics.
    pub metrics: MetricsConfig,
    /// APIs of the configuration, which take precedence over the built-in ones.
    pub apis: Vec<ConfiguredApi>,
    /// Durations of the stages of the shutdown.
    pub drain: DrainTimes,
    /// The sources, to load them again.
    pub loaded_from: LoadedSources,
    /// Every key with its value in force, for `/config`; secrets are masked.
    pub effective: serde_json::Value,
    /// Messages about settings that are allowed and probably not meant.
    pub warnings: Vec<String>,
}

/// Who may read the pages of the admin port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// The bearer token.
    pub token: Option<String>,
    /// A file that holds the bearer token; takes precedence.
    pub token_file: Option<PathBuf>,
    /// The web configuration file: TLS and users.
    pub web_config: Option<PathBuf>,
    /// Whether `/metrics` is open. `None`: it is, unless the web configuration file has users or requires client
    /// certificates.
    pub metrics: Option<MetricsAccess>,
}

/// How a client on this host connects to the admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminEndpoint {
    /// Address of the admin port.
    pub address: SocketAddr,
    /// The web configuration file: TLS and users.
    pub web_config: Option<PathBuf>,
}

impl AdminEndpoint {
    pub(super) fn assemble(settings: &Settings) -> Result<Self, ConfigProblem> {
        let web_config = settings.find(&keys::ADMIN_WEB_CONFIG);
        Ok(Self { address: settings.get(&keys::ADMIN)?, web_config })
    }
}

/// One proxy: a listener and its upstream.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Configuration of the measurement.
    pub tap: TapConfig,
    /// Address where clients connect.
    pub listen: SocketAddr,
    /// TLS of the listener, if clients connect with TLS.
    pub tls: Option<ListenerTls>,
    /// Configuration of the connections to the upstream.
    pub upstream: UpstreamConfig,
}

impl Config {
    /// Fills the configuration.
    ///
    /// # Errors
    /// If a required key has no value, which `check.rs` reports before.
    pub(super) fn assemble(
        checked: CheckedSettings,
        effective: serde_json::Value,
        loaded_from: LoadedSources,
    ) -> Result<Self, ConfigProblem> {
        let CheckedSettings { top, proxies, slo, apis, warnings } = checked;
        let apis: Vec<ConfiguredApi> = apis.into_iter().map(|checked| checked.api).collect();
        // Never freed: each measurement refers to its route, and a configuration is loaded once.
        let routes = apis.iter().map(|api| api.route).collect::<Vec<Route>>().leak();
        let proxies: Vec<ProxyConfig> = proxies
            .iter()
            .map(|settings| proxy(settings, &slo, routes))
            .collect::<Result<_, _>>()?;
        let labels = proxies.iter().flat_map(|proxy| proxy.tap.labels.keys());
        let constant_labels = labels.collect::<BTreeSet<_>>().into_iter().cloned().collect();
        Ok(Self {
            admin: top.get(&keys::ADMIN)?,
            admin_access: AccessConfig {
                token: top.find(&keys::ADMIN_TOKEN),
                token_file: top.find(&keys::ADMIN_TOKEN_FILE),
                web_config: top.find(&keys::ADMIN_WEB_CONFIG),
                metrics: top.find(&keys::ADMIN_METRICS),
            },
            request_log: top.find(&keys::REQUEST_LOG),
            max_connections: top.find(&keys::MAX_CONNECTIONS),
            admin_limits: AdminLimits {
                connections: top.get(&keys::ADMIN_MAX_CONNECTIONS)?,
                time: top.get(&keys::ADMIN_TIMEOUT_SECONDS)?,
            },
            workers: top.find(&keys::WORKERS).unwrap_or_else(default_workers),
            log_level: match top.get(&keys::LOG_LEVEL)? {
                LogLevel::Error => tracing::Level::ERROR,
                LogLevel::Warn => tracing::Level::WARN,
                LogLevel::Info => tracing::Level::INFO,
                LogLevel::Debug => tracing::Level::DEBUG,
                LogLevel::Trace => tracing::Level::TRACE,
            },
            log_format: top.get(&keys::LOG_FORMAT)?,
            metrics: MetricsConfig {
                max_models: top.get(&keys::MAX_MODELS)?,
                models: top.get(&keys::MODELS)?,
                buckets: top.get(&keys::BUCKETS)?,
                slo,
                ttft_by_input_size: top.get(&keys::TTFT_BY_INPUT_SIZE)?,
                constant_labels,
            },
            drain: DrainTimes {
                lame_duck: top.get(&keys::LAME_DUCK_SECONDS)?,
                grace: top.get(&keys::SHUTDOWN_GRACE_SECONDS)?,
            },
            apis,
            proxies,
            loaded_from,
            effective,
            warnings,
        })
    }
}

fn proxy(
    settings: &Settings,
    slo: &SloClasses,
    routes: &'static [Route],
) -> Result<ProxyConfig, ConfigProblem> {
    let url = settings.get(&keys::UPSTREAM)?;
    let upstream = UpstreamConfig {
        address: url.address,
        tls: url.tls,
        ca_file: pem_file(settings, &keys::CA_FILE),
        client_certificate: tls_files(settings, &keys::UPSTREAM_TLS_CERT, &keys::UPSTREAM_TLS_KEY),
        tls_name: settings.find(&keys::UPSTREAM_TLS_NAME),
        http2: settings.get(&keys::HTTP2)?,
        rewrite_host: settings.get(&keys::HOST)? == HostHeader::Upstream,
        kernel_stamps: settings.get(&keys::CLOCK)? == ArrivalClock::Kernel,
        connect_timeout: settings.get(&keys::CONNECT_TIMEOUT_SECONDS)?,
        idle_timeout: settings.get(&keys::POOL_IDLE_TIMEOUT_SECONDS)?,
        limits: limits(settings)?,
        health_path: settings.find(&keys::HEALTH_PATH),
        metrics_path: settings.find(&keys::SERVER_METRICS_PATH),
    };
    let cold = ColdStartConfig {
        idle: settings.get(&keys::COLD_IDLE_SECONDS)?,
        outage: settings.get(&keys::OUTAGE_SECONDS)?,
        has_health: upstream.health_path.is_some(),
        has_metrics_page: upstream.metrics_path.is_some(),
    };
    let optional = settings.get(&keys::TLS_CLIENT_AUTH)? == ClientAuth::Optional;
    let clients =
        pem_file(settings, &keys::TLS_CLIENT_CA).map(|ca| ClientCertificates { ca, optional });
    let files = tls_files(settings, &keys::TLS_CERT, &keys::TLS_KEY);
    Ok(ProxyConfig {
        tap: TapConfig {
            name: settings.get(&keys::NAME)?,
            engine: settings.get(&keys::ENGINE)?,
            trust_request_start: settings.get(&keys::TRUST_REQUEST_START)?,
            slo: slo.clone(),
            stall: settings.get(&keys::STALL_SECONDS)?,
            cold,
            counts_likely_cold_starts: settings.get(&keys::COLD_STARTS_COUNTED)?
                == CountedColdStarts::All,
            labels: settings.get(&keys::LABELS)?,
            routes,
        },
        listen: settings.get(&keys::LISTEN)?,
        tls: files.map(|files| ListenerTls { files, clients }),
        upstream,
    })
}

fn pem_file(settings: &Settings, key: &ConfigKey<PathBuf>) -> Option<PemFile> {
    settings.find(key).map(|path| PemFile { key: key.info.name, path })
}

fn tls_files(
    settings: &Settings,
    cert: &ConfigKey<PathBuf>,
    key: &ConfigKey<PathBuf>,
) -> Option<TlsFiles> {
    let (cert, key) = pem_file(settings, cert).zip(pem_file(settings, key))?;
    Some(TlsFiles { cert, key })
}

fn limits(settings: &Settings) -> Result<ProxyLimits, ConfigProblem> {
    // 0 means no limit.
    let time = |key| settings.get(key).map(|time: Duration| (!time.is_zero()).then_some(time));
    let number = |key| settings.get(key).map(|number: usize| (number > 0).then_some(number));
    Ok(ProxyLimits {
        request_header_time: time(&keys::REQUEST_HEADER_TIMEOUT_SECONDS)?,
        keep_alive_time: time(&keys::KEEP_ALIVE_TIMEOUT_SECONDS)?,
        request_body_time: time(&keys::REQUEST_BODY_TIMEOUT_SECONDS)?,
        request_header_bytes: settings.get(&keys::MAX_REQUEST_HEADER_BYTES)?,
        request_headers: settings.get(&keys::MAX_REQUEST_HEADERS)?,
        connection_requests: number(&keys::MAX_REQUESTS_PER_CONNECTION)?,
        response_header_time: time(&keys::RESPONSE_HEADER_TIMEOUT_SECONDS)?,
        response_silence: time(&keys::RESPONSE_SILENCE_TIMEOUT_SECONDS)?,
        request_time: time(&keys::REQUEST_TIMEOUT_SECONDS)?,
        http2_resets_per_minute: number(&keys::MAX_HTTP2_RESETS_PER_MINUTE)?,
        interim_responses: settings.get(&keys::MAX_INTERIM_RESPONSES)?,
    })
}

/// The CPU quota, at least 1 and at most 2: a sidecar must not take the server's cores.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 2)
}
