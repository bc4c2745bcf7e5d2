//! Connections of the server: parses requests, sends short responses, and passes streams to the [pacer](crate::stream_pacer).

use std::net::SocketAddr;

use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::sse_writer::SseWriter;
use crate::stream_pacer::{PacedStream, StreamPacer};
use crate::traffic::SendPattern;
use crate::{BoxError, clock, listener, short_response};

/// Maximum size of a request.
const REQUEST_LIMIT: usize = 1 << 20;
/// Maximum number of tokens and rate of a stream.
const TOKEN_LIMIT: u64 = 100_000_000;
const RATE_LIMIT: f64 = 100_000.0;

/// Serves until the process ends.
pub async fn serve(listen: SocketAddr) -> Result<(), BoxError> {
    let listener = listener::listen(listen)?;
    let (streams, incoming) = mpsc::unbounded_channel();
    tokio::spawn(StreamPacer::new()?.run(incoming));
    for number in 0.. {
        let (socket, _) = listener.accept().await?;
        let streams = streams.clone();
        tokio::spawn(async move {
            // A disconnected client is not an error of the server.
            let _ = connection(socket, number, &streams).await;
        });
    }
    Ok(())
}

async fn connection(
    mut socket: TcpStream,
    number: u64,
    streams: &mpsc::UnboundedSender<PacedStream>,
) -> Result<(), BoxError> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut socket, &mut buffer).await? {
        if !head.starts_with("POST /v1/chat/completions ") {
            // A health check of a proxy.
            let response =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            socket.write_all(response).await?;
            continue;
        }
        let body: Value = serde_json::from_slice(&body)?;
        if body["stream"] == false {
            let number = body["number"].as_u64().ok_or("the request has no response number")?;
            socket.write_all(&short_response::response(&short_response::body(number))).await?;
            if has_connection_close(&head) {
                return Ok(());
            }
            continue;
        }
        let (on_end, returned) = oneshot::channel();
        streams.send(stream(socket, number, &body, on_end)?)?;
        // Fails if the client disconnected; the stream is dropped then.
        socket = returned.await?;
    }
    // The peer has closed the connection. A reset avoids ten thousands of sockets in TIME_WAIT with short connections.
    socket.set_zero_linger()?;
    Ok(())
}

fn stream(
    socket: TcpStream,
    number: u64,
    body: &Value,
    on_end: oneshot::Sender<TcpStream>,
) -> Result<PacedStream, BoxError> {
    let tokens = body["tokens"].as_u64().unwrap_or(16).min(TOKEN_LIMIT);
    let rate = body["rate"].as_f64().unwrap_or(20.0).clamp(0.001, RATE_LIMIT);
    let pattern = body["pattern"].as_str().map_or(Ok(SendPattern::Spread), str::parse)?;
    let period = clock::seconds(1.0 / rate);
    let due = pattern.first_token_at(clock::now(), number, period);
    let writer = SseWriter::new(number, body["account"] == true);
    Ok(PacedStream::new(socket, writer, tokens, period, due, on_end))
}

/// Reads the next request's headers and body; `None` at the end of the connection. Further bytes stay in `buffer`.
async fn request(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<(String, Vec<u8>)>, BoxError> {
    let mut headers_length = None;
    loop {
        if headers_length.is_none() {
            headers_length = memmem::find(buffer, b"\r\n\r\n").map(|at| at + 4);
        }
        if let Some(length) = headers_length {
            let head = std::str::from_utf8(&buffer[..length])?.to_owned();
            let total = length + content_length(&head)?;
            if buffer.len() >= total {
                let body = buffer[length..total].to_vec();
                buffer.drain(..total);
                return Ok(Some((head, body)));
            }
        }
        if buffer.len() > REQUEST_LIMIT {
            return Err("the request is too large".into());
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Whether the connection ends with this request.
fn has_connection_close(head: &str) -> bool {
    head.lines().any(|line| line.eq_ignore_ascii_case("connection: close"))
}

/// Returns the length of the body, in the forms that the load generator and the proxies send.
fn content_length(head: &str) -> Result<usize, BoxError> {
    for line in head.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a request body must have a content-length".into());
        }
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(value.trim().parse::<usize>()?.min(REQUEST_LIMIT));
        }
    }
    Ok(0)
}
