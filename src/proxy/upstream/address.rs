//! Address of an upstream.

use crate::socket::Socket;
use std::fmt;
use std::io;
use std::path::PathBuf;
use tokio::net::{TcpStream, UnixStream};

/// Address of an upstream: host and port, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// Host name or IP address (an IPv6 address without brackets), and port.
    Tcp { host: String, port: u16 },
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// Opens a connection.
    ///
    /// # Errors
    /// If the name cannot be resolved, or no server listens at the address.
    pub async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp { host, port } => {
                TcpStream::connect((host.as_str(), *port)).await.map(Socket::Tcp)
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    }
}

/// Formats the address as `host:port` or `unix:/path`.
impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
