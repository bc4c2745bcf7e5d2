//! Certificates that a client of the admin port accepts.

use super::AdminUrl;
use crate::proxy::{PemFile, verifying_client_config};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

/// Certificates that are accepted.
#[derive(Debug, Clone)]
pub enum CertificateTrust {
    /// Certificates that the system's root certificates have issued, and those in this file.
    Verified(Option<PathBuf>),
    /// All of them.
    Any,
}

impl CertificateTrust {
    /// Returns the TLS client for this port.
    ///
    /// # Errors
    /// If the certificates cannot be read.
    pub(super) fn connector(&self, url: &AdminUrl) -> io::Result<TlsConnector> {
        let config = match self {
            Self::Any => any_certificate().map_err(io::Error::other)?,
            Self::Verified(file) => {
                let file = file.clone().map(|path| PemFile { key: "--ca-file", path });
                verifying_client_config("ADMIN_URL", url, file.as_ref())
                    .map_err(io::Error::other)?
                    .with_no_client_auth()
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn any_certificate() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    Ok(builder.with_no_client_auth())
}

/// Accepts any certificate, as Kubernetes' probes do: that of the admin port is for the name that Prometheus uses, and is
/// renewed while the process runs.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
