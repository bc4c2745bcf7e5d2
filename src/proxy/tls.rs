//! TLS configuration: certificates and private keys on both sides, and which certificates are trusted.

mod server_verifier;

use super::upstream::UpstreamConfig;
use arc_swap::ArcSwap;
use server_verifier::ServerVerifier;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};

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
    fn new(key: &'static str, value: impl ToString, message: impl ToString) -> Self {
        Self { key, value: value.to_string(), message: message.to_string() }
    }
}

/// A file in PEM format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFile {
    /// The configuration key that names the file.
    pub key: &'static str,
    pub path: PathBuf,
}

impl PemFile {
    fn error(&self, message: impl ToString) -> TlsError {
        TlsError::new(self.key, self.path.display(), message)
    }

    /// A file that cannot be read, or has none of the expected items: `nothing_found` says what is expected.
    fn pem_error(&self, error: &pem::Error, nothing_found: &str) -> TlsError {
        match error {
            pem::Error::Io(error) => self.error(format!("cannot read the file: {error}")),
            pem::Error::NoItemsFound => self.error(nothing_found),
            error => self.error(format!("not a valid PEM file: {error}")),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        const NOTHING_FOUND: &str = "no certificate found; is this the key file? Expected a PEM file with CERTIFICATE blocks";
        let error = |error| self.pem_error(&error, NOTHING_FOUND);
        let certs: Vec<_> = CertificateDer::pem_file_iter(&self.path)
            .map_err(error)?
            .collect::<Result<_, _>>()
            .map_err(error)?;
        if certs.is_empty() { Err(self.error(NOTHING_FOUND)) } else { Ok(certs) }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.path).map_err(|error| {
            let nothing_found = "no private key found; is this the certificate file? Expected a PEM file with a \
                                 PRIVATE KEY block";
            self.pem_error(&error, nothing_found)
        })
    }

    /// Adds the certificates of the file to the trusted ones, and returns them.
    fn add_to(&self, roots: &mut RootCertStore) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certs = self.certificates()?;
        for cert in &certs {
            roots.add(cert.clone()).map_err(|error| self.error(error))?;
        }
        Ok(certs)
    }
}

/// A certificate chain and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by the intermediate certificates.
    pub cert: PemFile,
    pub key: PemFile,
}

impl TlsFiles {
    fn unusable(&self, error: &rustls::Error) -> TlsError {
        self.key.error(format!("cannot be used with this {}: {error}", self.cert.key))
    }
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    pub files: TlsFiles,
    /// Requests the certificates of clients.
    pub clients: Option<ClientCertificates>,
}

/// The certificates of clients that a listener accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The root certificates that issue them.
    pub ca: PemFile,
    /// Clients without a certificate are accepted, too. Clients with an invalid one never are.
    pub optional: bool,
}

impl ListenerTls {
    /// The files that it is read from.
    pub fn pem_files(&self) -> impl Iterator<Item = &PemFile> {
        let client_ca = self.clients.iter().map(|clients| &clients.ca);
        [&self.files.cert, &self.files.key].into_iter().chain(client_ca)
    }

    /// Returns the TLS configuration of the listener, which offers `protocols` (ALPN).
    ///
    /// # Errors
    /// If a file cannot be read, or the key does not belong to the certificate.
    pub fn server_config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let Self { files, clients } = self;
        let (certs, key) = (files.cert.certificates()?, files.key.private_key()?);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| files.unusable(&error))?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(ClientCertificates { ca, optional }) => {
                let mut roots = RootCertStore::empty();
                ca.add_to(&mut roots)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = if *optional { verifier.allow_unauthenticated() } else { verifier };
                let verifier = verifier.build().map_err(|error| ca.error(error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(certs, key).map_err(|error| files.unusable(&error))?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// TLS configuration of a listener. A reload replaces it for new connections. Clones share it.
#[derive(Debug, Clone)]
pub struct SharedServerConfig(Arc<ArcSwap<ServerConfig>>);

impl SharedServerConfig {
    /// Wraps the first configuration.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(ArcSwap::new(config)))
    }

    /// Replaces the configuration for new connections.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.0.store(config);
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0.load_full().into()
    }
}

/// Returns the TLS configuration for the connections to an upstream. It trusts the system's root certificates and those
/// in the upstream's `ca_file`.
///
/// # Errors
/// If a file cannot be used, or if there is no trusted certificate at all.
pub(super) fn client_config(upstream: &UpstreamConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = verifying_client_config(UPSTREAM, upstream.url(), upstream.ca_file.as_ref())?;
    let config = match &upstream.client_certificate {
        None => builder.with_no_client_auth(),
        Some(files) => builder
            .with_client_auth_cert(files.cert.certificates()?, files.key.private_key()?)
            .map_err(|error| files.unusable(&error))?,
    };
    Ok(Arc::new(config))
}

/// Begins the TLS configuration of a client. It trusts the system's root certificates and those in `ca_file`. `key` and
/// `url` name the server in errors.
///
/// # Errors
/// If the file cannot be used, or if there is no trusted certificate at all.
pub fn verifying_client_config(
    key: &'static str,
    url: impl ToString,
    ca_file: Option<&PemFile>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let error = |message: &dyn ToString| TlsError::new(key, url.to_string(), message.to_string());
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "cannot read a root certificate of the system");
    }
    roots.add_parsable_certificates(system.certs);
    let configured = match ca_file {
        Some(file) => file.add_to(&mut roots)?,
        None => Vec::new(),
    };
    if roots.is_empty() {
        let why = "this system has no root certificates; set ca_file or the variable SSL_CERT_FILE";
        return Err(error(&why));
    }
    let verifier = ServerVerifier::new(roots, configured, provider()).map_err(|why| error(&why))?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| error(&why))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(builder)
}

/// The key of the server's address.
const UPSTREAM: &str = "upstream";

/// Returns the name that the server's certificate must contain, which is also sent as SNI: `configured`, else the host.
pub(super) fn server_name(
    host: &str,
    configured: Option<&ServerName<'static>>,
) -> Result<ServerName<'static>, TlsError> {
    match configured {
        Some(name) => Ok(name.clone()),
        None => ServerName::try_from(host.to_owned())
            .map_err(|error| TlsError::new(UPSTREAM, host, error)),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Whether the error comes from TLS, not from the connection.
pub(super) fn is_tls_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<rustls::Error>())
}
