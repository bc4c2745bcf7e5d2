//! A listening socket whose queue takes a burst of connections.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::Error;

/// Connections that wait to be accepted; as in the proxies of others. Beyond, the kernel drops the client's first
/// packet, and the client tries again after a second.
pub const BACKLOG: u32 = 4096;

/// Listens on `address`; must be called inside of a runtime.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error: std::io::Error| format!("{address}: {error}").into())
}
