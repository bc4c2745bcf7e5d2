//! Where an upstream listens.

use crate::socket::Socket;
use std::fmt;
use std::io;
use std::path::PathBuf;
use tokio::net::{TcpStream, UnixStream};

/// The address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// Opens a connection.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp { host, port } => {
                TcpStream::connect((host.as_str(), *port)).await.map(Socket::Tcp)
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    }
}

/// `host:port` or `unix:/path`.
impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
