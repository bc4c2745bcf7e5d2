//! A listening socket with a long queue for bursts of connections.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::BoxError;

/// Length of the accept queue, as in the other proxies. When it is full, the kernel drops the client's first packet, and
/// the client retries after a second.
pub const BACKLOG: u32 = 4096;

/// Listens on `address`; must be called in a runtime.
pub fn listen(address: SocketAddr) -> Result<TcpListener, BoxError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error: std::io::Error| format!("{address}: {error}").into())
}
