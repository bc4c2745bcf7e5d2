//! Certificates for tests, and clients that trust one.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate and its key, as files that are removed when dropped.
pub struct TestCertificate {
    pub cert: String,
    pub key: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// Parameters of a certificate for these names.
pub fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}

/// Parameters of a CA's certificate for these names, such as `openssl req -x509` makes.
pub fn ca_params(names: &[&str]) -> CertificateParams {
    let mut params = params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl TestCertificate {
    /// Creates a self-signed certificate for these names.
    pub fn of(name: &str, names: &[&str]) -> Self {
        Self::self_signed(name, params(names))
    }

    /// Creates a self-signed certificate.
    pub fn self_signed(name: &str, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Self::store(name, &made, params, key)
    }

    /// Creates a certificate that this one has signed.
    pub fn issue(&self, name: &str, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params;
        // Or the subject would be the issuer's, too.
        params.distinguished_name.push(DnType::CommonName, name);
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Self::store(name, &made, params, key)
    }

    fn store(
        name: &str,
        made: &rcgen::Certificate,
        params: CertificateParams,
        signing_key: KeyPair,
    ) -> Self {
        let path = |end: &str| {
            let name = format!("streamgauge-{}-{name}.{end}", std::process::id());
            std::env::temp_dir().join::<PathBuf>(name.into()).to_str().unwrap().to_owned()
        };
        let (cert, key) = (path("crt"), path("key"));
        std::fs::write(&cert, made.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        let der = made.der().clone();
        Self { cert, key, der, issuer: Issuer::new(params, signing_key) }
    }

    /// The configuration keys of a listener with this certificate.
    pub fn keys(&self) -> [(&'static str, &str); 2] {
        [("tls_cert", &self.cert), ("tls_key", &self.key)]
    }

    /// Connects a client that trusts only this certificate and offers these protocols.
    pub async fn connect(
        &self,
        address: SocketAddr,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(address, protocols, None).await
    }

    /// Connects like [`connect`](Self::connect), with a certificate of the client.
    pub async fn connect_as(
        &self,
        address: SocketAddr,
        protocols: &[&str],
        client: Option<&Self>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::from_pem_file(&client.key).unwrap();
                builder.with_client_auth_cert(vec![client.der.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

impl Drop for TestCertificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.cert);
        let _ = std::fs::remove_file(&self.key);
    }
}
