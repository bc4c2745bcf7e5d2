//! The configuration: by flag, environment and TOML file, in this order of precedence.
//!
//! [`keys`] is the one table of keys. The `config` crate merges the sources into one raw table; since
//! its own reading stops at the first error, [`check`] reads that table against the keys and tells
//! all errors at once.

mod check;
mod environment;
pub mod keys;
mod load;
mod shown;
mod slo;
mod upstream_url;
mod value;

pub use check::Problem;
pub use environment::misspelt;
pub use load::{ConfigError, Sources, load};

use crate::metrics::MetricsConfig;
use crate::proxy::{TlsFiles, UpstreamConfig};
use crate::tap::TapConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One proxy: a listener and its upstream.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    pub tap: TapConfig,
    pub listen: SocketAddr,
    /// Clients must speak TLS.
    pub tls: Option<TlsFiles>,
    pub upstream: UpstreamConfig,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    pub proxies: Vec<ProxyConfig>,
    pub admin: SocketAddr,
    /// Opens the admin pages that are closed on an address other than loopback.
    pub admin_token: Option<String>,
    /// `-` is standard output.
    pub request_log: Option<PathBuf>,
    /// Threads that forward.
    pub workers: usize,
    pub log_level: tracing::Level,
    pub log_format: LogFormat,
    pub metrics: MetricsConfig,
    /// How long open requests may go on once we were told to stop.
    pub shutdown_grace: Duration,
    /// Every key's value in force, for `GET /config`; secrets are masked.
    pub shown: serde_json::Value,
}
