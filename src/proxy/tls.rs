//! TLS configuration: the listener's certificate, and the certificates to trust for the upstream.

use super::upstream::{ALPN_HTTP_1, ALPN_HTTP_2};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

/// A certificate or private key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {value:?}: {message}")]
pub struct TlsError {
    /// The configuration key to change.
    key: &'static str,
    value: String,
    message: String,
}

impl TlsError {
    fn new(key: &'static str, path: &Path, message: impl ToString) -> Self {
        Self { key, value: path.display().to_string(), message: message.to_string() }
    }

    /// A PEM file that cannot be read, or has none of the expected items.
    fn pem(key: &'static str, path: &Path, error: &pem::Error) -> Self {
        let message = match error {
            pem::Error::Io(error) => format!("cannot read the file: {error}"),
            pem::Error::NoItemsFound if key == TLS_KEY => {
                "no private key found; is this the certificate file? Expected a PEM file with a PRIVATE KEY \
                 block"
                    .into()
            }
            pem::Error::NoItemsFound => {
                "no certificate found; is this the key file? Expected a PEM file with CERTIFICATE blocks".into()
            }
            error => format!("not a valid PEM file: {error}"),
        };
        Self::new(key, path, message)
    }
}

/// The configuration keys whose values can be wrong.
const TLS_CERT: &str = "tls_cert";
const TLS_KEY: &str = "tls_key";
const CA_FILE: &str = "ca_file";
const UPSTREAM: &str = "upstream";

/// Files for a listener that uses TLS, in PEM format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by the intermediate certificates.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Returns the TLS configuration of the listener.
    ///
    /// # Errors
    /// If a file cannot be read, or the key does not belong to the certificate.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let Self { cert, key } = self;
        let certs = certificates(TLS_CERT, cert)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError::pem(TLS_KEY, key, &error))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(TLS_KEY, key, error))?
            .with_no_client_auth()
            .with_single_cert(certs, private);
        let mut config = config.map_err(|error| {
            TlsError::new(TLS_KEY, key, format!("cannot be used with this tls_cert: {error}"))
        })?;
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec(), ALPN_HTTP_1.to_vec()];
        Ok(Arc::new(config))
    }
}

/// Returns a configuration that trusts the system's root certificates and those in `ca_file`.
///
/// # Errors
/// If the file cannot be used, or if there is no trusted certificate at all.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "cannot read a root certificate of the system");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        for root in certificates(CA_FILE, path)? {
            roots.add(root).map_err(|error| TlsError::new(CA_FILE, path, error))?;
        }
    }
    if roots.is_empty() {
        let why = "this system has no root certificates; set ca_file or the variable SSL_CERT_FILE";
        return Err(TlsError::new(UPSTREAM, Path::new("https"), why));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(UPSTREAM, Path::new("https"), error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Returns the name that the server's certificate must contain.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| TlsError::new(UPSTREAM, Path::new(host), error))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |error| TlsError::pem(key, path, &error);
    let certs: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(error)?
        .collect::<Result<_, _>>()
        .map_err(error)?;
    if certs.is_empty() {
        return Err(TlsError::pem(key, path, &pem::Error::NoItemsFound));
    }
    Ok(certs)
}

/// Whether the error comes from TLS, not from the connection.
pub(super) fn is_tls_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<rustls::Error>())
}
