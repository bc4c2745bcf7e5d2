//! Certificates for tests, and a client that trusts one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A self-signed certificate and its key, as files that are removed when dropped.
pub struct TestCertificate {
    pub cert: String,
    pub key: String,
    der: CertificateDer<'static>,
}

impl TestCertificate {
    /// Creates a certificate for these names.
    pub fn of(name: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let path = |end: &str| {
            let name = format!("streamgauge-{}-{name}.{end}", std::process::id());
            std::env::temp_dir().join::<PathBuf>(name.into()).to_str().unwrap().to_owned()
        };
        let (cert, key) = (path("crt"), path("key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { cert, key, der: made.cert.der().clone() }
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
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
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
