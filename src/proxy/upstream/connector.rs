//! New connections to the upstream, with TLS and protocol negotiation.

use super::UpstreamConfig;
use super::address::UpstreamAddress;
use super::dialer::Dialer;
use crate::proxy::timers::Timers;
use crate::proxy::tls::{self, TlsError};
use crate::socket::TimestampedIo;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Names of the protocols in TLS (ALPN, RFC 7301).
pub const ALPN_HTTP_1: &[u8] = b"http/1.1";
pub const ALPN_HTTP_2: &[u8] = b"h2";

/// When requests are sent to an upstream over HTTP/2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Http2Mode {
    /// With TLS, the server chooses. Without TLS, only gRPC uses HTTP/2, because it works over nothing else.
    #[default]
    Auto,
    Always,
    Never,
}

/// Protocol for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamProtocol {
    Http1,
    Http2,
    /// The server chooses during the TLS handshake.
    Negotiated,
}

/// Reason why no connection could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection in time")]
    Timeout,
    /// No server listens at the address.
    #[error("{0}")]
    Refused(ConnectCause),
    /// The failure does not show whether the server is running.
    ///
    /// Local causes: no file descriptor or port is left, or a Unix socket's backlog is full. Network causes: the name does
    /// not resolve, the network is unreachable or forbidden, or the connection was closed during the TLS handshake.
    #[error("{0}")]
    Inconclusive(ConnectCause),
    /// The TLS handshake failed: the server does not use TLS, or is not trusted.
    #[error("the TLS handshake failed")]
    Tls,
    /// The server does not support HTTP/2.
    #[error("the server does not support HTTP/2")]
    NotHttp2,
}

/// What a failed connection met, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectCause {
    /// An error of the operating system, by its number.
    Os(i32),
    /// The server closed the connection before it was ready.
    Closed,
    /// The name of the server has no address.
    Name,
}

impl fmt::Display for ConnectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Os(number) => io::Error::from_raw_os_error(number).fmt(f),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Name => f.write_str("the name of the server does not resolve"),
        }
    }
}

impl ConnectCause {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::Os(number),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Name,
        }
    }
}

/// A connection on which no HTTP was sent yet.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub io: TimestampedIo,
    pub is_http2: bool,
}

/// Opens connections to one upstream. Clones share its configuration, which a reload can replace.
#[derive(Debug, Clone)]
pub struct Connector(Arc<ConnectorState>);

#[derive(Debug)]
struct ConnectorState {
    config: ArcSwap<UpstreamConfig>,
    dialer: Dialer,
    /// `None` without TLS.
    tls: ArcSwapOption<UpstreamTls>,
}

/// How to use TLS with an upstream.
pub struct UpstreamTls {
    connector: TlsConnector,
    name: ServerName<'static>,
    /// The latest handshake failed, so the next failure is not logged as a warning.
    has_failed: AtomicBool,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl UpstreamTls {
    /// Reads the certificates if the upstream uses TLS.
    ///
    /// # Errors
    /// If a certificate or key file cannot be used.
    pub fn load(config: &UpstreamConfig) -> Result<Option<Arc<Self>>, TlsError> {
        match &config.address {
            UpstreamAddress::Tcp { host, .. } if config.tls => {
                let name = tls::server_name(host, config.tls_name.as_ref())?;
                let connector = TlsConnector::from(tls::client_config(config)?);
                Ok(Some(Arc::new(Self { connector, name, has_failed: AtomicBool::new(false) })))
            }
            _ => Ok(None),
        }
    }

    /// Performs the handshake, and offers these protocols (ALPN).
    async fn handshake(
        &self,
        io: TimestampedIo,
        protocols: Vec<Vec<u8>>,
    ) -> io::Result<TimestampedIo> {
        let result = io.connect_tls(&self.connector, self.name.clone(), protocols).await;
        let has_failed = result.as_ref().is_err_and(tls::is_tls_error);
        if !self.has_failed.swap(has_failed, Relaxed)
            && let Some(error) = result.as_ref().err().filter(|_| has_failed)
        {
            let name = self.name.to_str();
            tracing::warn!(%error, %name, "the TLS handshake with the upstream failed");
        }
        result
    }
}

impl Connector {
    /// Returns a connector with the result of [`UpstreamTls::load`].
    pub fn new(config: UpstreamConfig, tls: Option<Arc<UpstreamTls>>) -> Self {
        let dialer = Dialer::new(&config.address);
        let config = ArcSwap::from_pointee(config);
        Self(Arc::new(ConnectorState { config, dialer, tls: ArcSwapOption::new(tls) }))
    }

    /// Replaces the configuration for new requests and connections.
    pub fn reload(&self, config: UpstreamConfig, tls: Option<Arc<UpstreamTls>>) {
        self.0.config.store(Arc::new(config));
        self.0.tls.store(tls);
    }

    /// The configuration in force. Clone the `Arc` to keep it for longer than a few statements.
    pub(crate) fn config(&self) -> Guard<Arc<UpstreamConfig>> {
        self.0.config.load()
    }

    /// Opens a connection and closes it.
    ///
    /// # Errors
    /// If the server does not accept a connection within `limit`.
    pub async fn check(&self, limit: Duration, timers: &Timers) -> io::Result<()> {
        timers.timeout(limit, self.0.dialer.dial(limit, timers)).await?.map(drop)
    }

    /// Opens a connection for `protocol`, without a timeout. The addresses of a name share the configured one.
    pub(crate) async fn connect(
        &self,
        protocol: UpstreamProtocol,
        timers: &Timers,
    ) -> Result<NewConnection, ConnectError> {
        let (budget, kernel_stamps) = {
            let config = self.config();
            (config.connect_timeout, config.kernel_stamps)
        };
        let socket = self.0.dialer.dial(budget, timers).await.map_err(classify_error)?;
        let io = TimestampedIo::connected(socket, kernel_stamps);
        let Some(tls) = self.0.tls.load_full() else {
            return Ok(NewConnection { io, is_http2: protocol == UpstreamProtocol::Http2 });
        };
        let protocols: &[&[u8]] = match protocol {
            UpstreamProtocol::Http1 => &[ALPN_HTTP_1],
            UpstreamProtocol::Http2 => &[ALPN_HTTP_2],
            UpstreamProtocol::Negotiated => &[ALPN_HTTP_2, ALPN_HTTP_1],
        };
        let protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let io = tls.handshake(io, protocols).await.map_err(classify_error)?;
        let is_http2 = io.alpn_protocol() == Some(ALPN_HTTP_2);
        match protocol {
            UpstreamProtocol::Http2 if !is_http2 => Err(ConnectError::NotHttp2),
            _ => Ok(NewConnection { io, is_http2 }),
        }
    }
}

/// Logs an error and classifies it.
fn classify_error(error: io::Error) -> ConnectError {
    tracing::debug!(%error, "cannot connect to the upstream");
    if tls::is_tls_error(&error) {
        return ConnectError::Tls;
    }
    let is_os_error = error.raw_os_error().is_some();
    let cause = ConnectCause::of(&error);
    match error.kind() {
        // NotFound: no such Unix socket. A name that does not resolve has the same kind, but no OS error number.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotFound
        | io::ErrorKind::HostUnreachable
            if is_os_error =>
        {
            ConnectError::Refused(cause)
        }
        _ => ConnectError::Inconclusive(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_show_that_no_server_listens() {
        let missing = std::os::unix::net::UnixStream::connect("/no/such/socket").unwrap_err();
        let error = classify_error(missing);
        assert_eq!(error, ConnectError::Refused(ConnectCause::Os(2)));
        assert_eq!(error.to_string(), "No such file or directory (os error 2)");
        // ECONNREFUSED and EHOSTUNREACH; ENETUNREACH and ECONNRESET.
        let (refused, inconclusive) =
            if cfg!(target_os = "linux") { ([111, 113], [101, 104]) } else { ([61, 65], [51, 54]) };
        for errno in refused {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(classify_error(error), ConnectError::Refused(ConnectCause::Os(errno)));
        }
        // EPERM, ENFILE and EMFILE have the same numbers everywhere.
        for errno in inconclusive.into_iter().chain([1, 23, 24]) {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(classify_error(error), ConnectError::Inconclusive(ConnectCause::Os(errno)));
        }
        for kind in [io::ErrorKind::Other, io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof] {
            let error = io::Error::new(kind, "unresolved name, or incomplete handshake");
            let is_closed = kind == io::ErrorKind::UnexpectedEof;
            let cause = if is_closed { ConnectCause::Closed } else { ConnectCause::Name };
            assert_eq!(classify_error(error), ConnectError::Inconclusive(cause), "{kind}");
        }
    }
}
