//! The web configuration file of the admin port: TLS and users, in the format of Prometheus' exporters.
//!
//! The format is that of <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. A setting
//! of it that is not supported is an error.

use super::AdminConfigError;
use crate::proxy::{ClientCertificates, ListenerTls, PemFile, TlsFiles};
use bcrypt::HashParts;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the configuration key.
const KEY: &str = "admin_web_config";

/// TLS and users of the admin port.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// TLS of the port.
    pub tls: Option<ListenerTls>,
    /// Pages that are not open need a valid client certificate.
    pub requires_client_certificate: bool,
    /// Names of the users and the bcrypt hashes of their passwords.
    pub users: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebConfigFile {
    tls_server_config: Option<TlsServerConfig>,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsServerConfig {
    cert_file: PathBuf,
    key_file: PathBuf,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    client_auth_type: ClientAuthType,
}

/// Go's names of the ways to handle client certificates, without those that do not verify them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
enum ClientAuthType {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl WebConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or has an unknown setting or a wrong value.
    pub fn read(path: &Path) -> Result<Self, AdminConfigError> {
        let error = |message: String| AdminConfigError::new(KEY, path.display(), message);
        let text = std::fs::read_to_string(path)
            .map_err(|cause| error(format!("cannot read the file: {cause}")))?;
        let WebConfigFile { tls_server_config, basic_auth_users: users } =
            parse(&text).map_err(error)?;
        for (user, hash) in &users {
            hash.parse::<HashParts>().map_err(|_| {
                let how =
                    "expected a bcrypt hash, as htpasswd -nBC 10 USER prints it after the colon";
                error(format!("the value of {user} in basic_auth_users is not valid: {how}"))
            })?;
        }
        let Some(tls) = tls_server_config else { return Ok(Self { users, ..Self::default() }) };
        let TlsServerConfig { cert_file, key_file, client_ca_file, client_auth_type } = tls;
        // As in Prometheus, other files are relative to this one.
        let folder = path.parent().unwrap_or(Path::new(""));
        let pem = |key: &'static str, file: PathBuf| PemFile { key, path: folder.join(file) };
        let clients = match (client_auth_type, client_ca_file) {
            (ClientAuthType::NoClientCert, None) => None,
            (ClientAuthType::NoClientCert, Some(_)) => {
                let why = "client_ca_file needs client_auth_type: RequireAndVerifyClientCert or \
                           VerifyClientCertIfGiven";
                return Err(error(why.into()));
            }
            (_, None) => return Err(error("client_auth_type needs client_ca_file".into())),
            // Never required in the handshake, because /healthz and /readyz stay open.
            (_, Some(file)) => Some(ClientCertificates {
                ca: pem("admin_web_config: client_ca_file", file),
                optional: true,
            }),
        };
        let files = TlsFiles {
            cert: pem("admin_web_config: cert_file", cert_file),
            key: pem("admin_web_config: key_file", key_file),
        };
        let requires_client_certificate =
            client_auth_type == ClientAuthType::RequireAndVerifyClientCert;
        Ok(Self { tls: Some(ListenerTls { files, clients }), requires_client_certificate, users })
    }
}

fn parse(text: &str) -> Result<WebConfigFile, String> {
    // An empty file is valid: no TLS and no users.
    if text.lines().all(|line| line.trim_start().starts_with('#') || line.trim().is_empty()) {
        return Ok(WebConfigFile::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}
