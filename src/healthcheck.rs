//! `streamgauge healthcheck`: checks a running instance, for containers without a shell or curl.

use crate::config::Config;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Requests `/readyz` from the admin port of this configuration.
///
/// # Errors
/// If the instance is not ready, or does not respond within 3 seconds.
pub fn run(config: &Config) -> io::Result<()> {
    let mut address = config.admin;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let response = get(address, "/readyz").map_err(|error| {
        let message = format!(
            "no response from http://{address}/readyz: {error}. Is Streamgauge running, and is {address} its \
             admin address (--admin)?"
        );
        io::Error::new(error.kind(), message)
    })?;
    let is_ready = response.split(' ').nth(1) == Some("200");
    let status_line = response.lines().next().unwrap_or_default();
    if is_ready {
        Ok(())
    } else {
        Err(io::Error::other(format!("not ready: http://{address}/readyz returned {status_line}")))
    }
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut response = String::new();
    socket.take(64 * 1024).read_to_string(&mut response)?;
    Ok(response)
}
