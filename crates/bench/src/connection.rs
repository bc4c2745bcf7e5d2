//! Client connections of the load generator.

use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Maximum delay of the end of a response, in nanoseconds.
pub const GRACE: u64 = 10_000_000_000;

/// Why a response is not counted.
pub type FailureReason = &'static str;

/// Connects to `target`.
pub async fn connect(target: SocketAddr) -> Result<TcpStream, FailureReason> {
    let socket = TcpStream::connect(target).await.map_err(|_| "cannot connect")?;
    socket.set_nodelay(true).map_err(|_| "cannot set nodelay")?;
    Ok(socket)
}

/// Appends received bytes to `buffer` and returns their number; 0 at the end of the connection.
pub async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, FailureReason> {
    socket.read_buf(buffer).await.map_err(|_| "cannot read")
}

/// Like [`read`], but the end of the connection is a failure.
pub async fn read_more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), FailureReason> {
    match read(socket, buffer).await? {
        0 => Err("ended early"),
        _ => Ok(()),
    }
}

/// Checks that response headers announce a stream.
pub fn check_headers(head: &[u8]) -> Result<(), FailureReason> {
    let head = head.to_ascii_lowercase();
    if !head.starts_with(b"http/1.1 200 ") {
        return Err("the status is not 200");
    }
    if memmem::find(&head, b"transfer-encoding: chunked").is_none() {
        return Err("the response is not chunked");
    }
    Ok(())
}
