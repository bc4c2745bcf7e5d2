//! `streamgauge healthcheck` and `streamgauge wait`: read the state of a running instance, for containers without a
//! shell or curl.

use crate::admin::WebConfig;
use crate::config::AdminEndpoint;
use std::fmt::{self, Display};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of bytes of the response that are read.
const MAX_RESPONSE: u64 = 64 * 1024;

/// Interval of the requests of [`wait`].
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Requests `/readyz` from this admin port.
///
/// # Errors
/// If the instance is not ready, or does not respond within 3 seconds.
pub fn run(endpoint: &AdminEndpoint) -> io::Result<()> {
    let page = AdminPage::new(endpoint, "/readyz")?;
    let response = page.get()?;
    if response.is_ok() {
        Ok(())
    } else {
        Err(io::Error::other(format!("not ready: {page} returned {}", response.status_line())))
    }
}

/// Requests `/idle` from this admin port until no request is in flight. `report` gets what it waits for.
///
/// # Errors
/// If requests are still in flight at the time limit, or nothing listens on the port.
pub fn wait(
    endpoint: &AdminEndpoint,
    limit: Duration,
    report: impl Fn(&dyn Display),
) -> io::Result<()> {
    let page = AdminPage::new(endpoint, "/idle")?;
    let start = Instant::now();
    let mut reported = String::new();
    loop {
        let state = match page.get() {
            Ok(response) if response.is_ok() => return Ok(()),
            Ok(response) => response.text().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(error),
            Err(error) => error.to_string(),
        };
        if start.elapsed() >= limit {
            let seconds = limit.as_secs_f64();
            return Err(io::Error::other(format!("after {seconds} s: {state}")));
        }
        if state != reported {
            report(&state);
            reported = state;
        }
        std::thread::sleep(POLL_INTERVAL.min(limit.saturating_sub(start.elapsed())));
    }
}

/// A page of the admin port of a running instance.
struct AdminPage {
    address: SocketAddr,
    has_tls: bool,
    path: &'static str,
}

impl fmt::Display for AdminPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.has_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.address, self.path)
    }
}

impl AdminPage {
    fn new(endpoint: &AdminEndpoint, path: &'static str) -> io::Result<Self> {
        let mut address = endpoint.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let web_config = endpoint.web_config.as_deref().map(WebConfig::read).transpose();
        let has_tls = web_config.map_err(io::Error::other)?.is_some_and(|web| web.tls.is_some());
        Ok(Self { address, has_tls, path })
    }

    fn get(&self) -> io::Result<AdminResponse> {
        let Self { address, has_tls, path } = *self;
        get(address, path, has_tls).map(AdminResponse).map_err(|error| {
            let message = format!(
                "no response from {self}: {error}. Is Streamgauge running, and is {address} its admin address \
                 (--admin)?"
            );
            io::Error::new(error.kind(), message)
        })
    }
}

/// A response of the admin port, as it arrived.
struct AdminResponse(String);

impl AdminResponse {
    fn is_ok(&self) -> bool {
        self.0.split(' ').nth(1) == Some("200")
    }

    fn status_line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The body, without the line end.
    fn text(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim_ascii())
    }
}

fn get(address: SocketAddr, path: &str, has_tls: bool) -> io::Result<String> {
    let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if !has_tls {
        return exchange(socket, &request);
    }
    let tls = tls_client(address.ip()).map_err(io::Error::other)?;
    exchange(StreamOwned::new(tls, socket), &request)
}

fn tls_client(ip: IpAddr) -> Result<ClientConnection, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ip.into())
}

/// Accepts any certificate, as Kubernetes' probes do: that of the admin port is for the name that Prometheus uses, and is
/// renewed while the process runs. The check sends no secret, and reads only a status.
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

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.take(MAX_RESPONSE).read_to_string(&mut response)?;
    Ok(response)
}
