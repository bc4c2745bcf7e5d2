//! The settings of the admin port, read from the configuration and the files that it names.

use super::access::Access;
use super::web_config::WebConfig;
use crate::config::Config;
use crate::proxy::{ALPN_HTTP_1, TlsError};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;

/// What the admin port takes from the configuration in force.
#[derive(Debug)]
pub struct AdminSettings {
    /// The configuration in force, with masked secrets.
    pub config: serde_json::Value,
    /// Who may read which page.
    pub access: Access,
    /// TLS of the port.
    pub tls: Option<Arc<ServerConfig>>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// A setting of the admin port that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdminConfigError {
    /// The value of a key.
    #[error("{key} = {value:?}: {message}")]
    Value {
        /// Name of the key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// A certificate or private key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AdminConfigError {
    pub(super) fn new(key: &'static str, value: impl ToString, message: impl Into<String>) -> Self {
        Self::Value { key, value: value.to_string(), message: message.into() }
    }
}

impl AdminSettings {
    /// Reads the files of the configuration.
    ///
    /// # Errors
    /// If one of them cannot be used, or nobody could read the metrics.
    pub fn read(config: &Config) -> Result<Self, AdminConfigError> {
        let access = &config.admin_access;
        let web = match &access.web_config {
            Some(path) => WebConfig::read(path)?,
            None => WebConfig::default(),
        };
        let mut files: Vec<PathBuf> =
            access.web_config.iter().chain(&access.token_file).cloned().collect();
        if let Some(tls) = &web.tls {
            files.extend(tls.pem_files().map(|file| file.path.clone()));
        }
        let tls = web.tls.as_ref().map(|tls| tls.server_config(&[ALPN_HTTP_1])).transpose()?;
        let access = Access::new(access, &web, config.admin.ip().is_loopback())?;
        Ok(Self { config: config.effective.clone(), access, tls, files })
    }
}
