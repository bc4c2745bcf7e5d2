//! `streamgauge healthcheck`: asks a running Streamgauge, where there is no shell to do it.

use crate::config::Config;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the admin port that this configuration names whether it is ready.
///
/// # Errors
/// If it is not, or does not answer.
pub fn ask(config: &Config) -> io::Result<()> {
    let mut address = config.admin;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let answer = get(address, "/readyz").map_err(|error| {
        io::Error::new(error.kind(), format!("no answer from http://{address}/readyz: {error}"))
    })?;
    let is_ready = answer.split(' ').nth(1) == Some("200");
    let first = answer.lines().next().unwrap_or_default();
    if is_ready {
        Ok(())
    } else {
        Err(io::Error::other(format!("http://{address}/readyz says {first}")))
    }
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    socket.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
