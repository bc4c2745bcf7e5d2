//! Opens connections to the upstream.

use super::UpstreamConfig;
use super::address::UpstreamAddress;
use crate::proxy::tls::{self, TlsError};
use crate::socket::TimestampedIo;
use std::io;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// The names of the protocols in TLS (ALPN, RFC 7301).
pub(crate) const ALPN_HTTP_1: &[u8] = b"http/1.1";
pub(crate) const ALPN_HTTP_2: &[u8] = b"h2";

/// Which requests go to an upstream by HTTP/2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Http2Mode {
    /// With TLS what the server chooses; without, gRPC, which nothing else can carry.
    #[default]
    Auto,
    Always,
    Never,
}

impl Http2Mode {
    /// The value of the key `http2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// By which protocol a request is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamProtocol {
    Http1,
    Http2,
    /// By what the server chooses in TLS.
    Negotiated,
}

/// No connection could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectError {
    Timeout,
    /// Nobody listens there.
    Unreachable,
    /// No connection, which says nothing of whether the server is ready: we have nothing left to connect
    /// with, or a Unix socket has no room for one more; the name does not resolve, there is no way to its
    /// network, we may not connect, or the handshake of TLS was broken off.
    Undecided,
    /// TLS failed: the server does not speak it, or is not trusted.
    Tls,
    /// The server does not speak HTTP/2.
    NotHttp2,
}

/// A connection on which nothing was said yet.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub io: TimestampedIo,
    pub is_http2: bool,
}

/// Opens connections to one upstream.
#[derive(Debug, Clone)]
pub struct Connector {
    config: UpstreamConfig,
    tls: Option<UpstreamTls>,
}

#[derive(Clone)]
struct UpstreamTls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads what TLS needs, if it is spoken.
    ///
    /// # Errors
    /// If a file of certificates cannot be used.
    pub fn new(config: UpstreamConfig) -> Result<Self, TlsError> {
        let tls = match &config.address {
            UpstreamAddress::Tcp { host, .. } if config.tls => {
                let name = tls::server_name(host)?;
                let connector = TlsConnector::from(tls::client_config(config.ca_file.as_deref())?);
                Some(UpstreamTls { connector, name })
            }
            _ => None,
        };
        Ok(Self { config, tls })
    }

    /// What it was made from.
    pub(crate) fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// Opens a connection for this protocol, however long that takes.
    pub(crate) async fn connect(
        &self,
        protocol: UpstreamProtocol,
    ) -> Result<NewConnection, ConnectError> {
        let socket = self.config.address.connect().await.map_err(failed)?;
        let io = TimestampedIo::connected(socket, self.config.kernel_stamps);
        let Some(UpstreamTls { connector, name }) = &self.tls else {
            return Ok(NewConnection { io, is_http2: protocol == UpstreamProtocol::Http2 });
        };
        let protocols: &[&[u8]] = match protocol {
            UpstreamProtocol::Http1 => &[ALPN_HTTP_1],
            UpstreamProtocol::Http2 => &[ALPN_HTTP_2],
            UpstreamProtocol::Negotiated => &[ALPN_HTTP_2, ALPN_HTTP_1],
        };
        let protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let io = io.connect_tls(connector, name.clone(), protocols).await.map_err(failed)?;
        let is_http2 = io.protocol() == Some(ALPN_HTTP_2);
        match protocol {
            UpstreamProtocol::Http2 if !is_http2 => Err(ConnectError::NotHttp2),
            _ => Ok(NewConnection { io, is_http2 }),
        }
    }
}

fn failed(error: io::Error) -> ConnectError {
    tracing::debug!(%error, "cannot connect to the upstream");
    if tls::is_tls(&error) {
        return ConnectError::Tls;
    }
    let is_of_the_system = error.raw_os_error().is_some();
    match error.kind() {
        // A Unix socket that is not there, or a host. A name that does not resolve has no number of an error.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotFound
        | io::ErrorKind::HostUnreachable
            if is_of_the_system =>
        {
            ConnectError::Unreachable
        }
        _ => ConnectError::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_refuses_is_taken_for_a_server_that_is_away() {
        let missing = std::os::unix::net::UnixStream::connect("/no/such/socket").unwrap_err();
        assert_eq!(failed(missing), ConnectError::Unreachable);
        // ECONNREFUSED and EHOSTUNREACH; ENETUNREACH and ECONNRESET.
        let (refused, undecided) =
            if cfg!(target_os = "linux") { ([111, 113], [101, 104]) } else { ([61, 65], [51, 54]) };
        for errno in refused {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(failed(error), ConnectError::Unreachable, "{errno}");
        }
        // EPERM, ENFILE and EMFILE are the same everywhere.
        for errno in undecided.into_iter().chain([1, 23, 24]) {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(failed(error), ConnectError::Undecided, "{errno}");
        }
        for kind in [io::ErrorKind::Other, io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof] {
            let error = io::Error::new(kind, "no such name, or a handshake that ends");
            assert_eq!(failed(error), ConnectError::Undecided, "{kind}");
        }
    }
}
