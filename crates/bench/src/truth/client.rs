//! Requests a stream and records its true timing.

use std::collections::HashMap;
use std::net::SocketAddr;

use memchr::memmem;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::kernel_timestamp;
use super::time_span::TimeSpan;
use crate::BoxError;
use crate::connection::check_headers;
use crate::dechunk::Dechunker;
use crate::received_events::ReceivedEvents;
use crate::traffic::SendPattern;

/// True timing of one stream.
#[derive(Debug)]
pub struct StreamTruth {
    /// When the client wrote the request.
    pub requested: TimeSpan,
    /// When the server wrote each token.
    pub tokens: Vec<TimeSpan>,
    /// Wall-clock time at which the client's kernel received a token, for tokens that were read alone.
    pub received: HashMap<usize, u64>,
}

/// Form of the requested streams.
#[derive(Clone, Copy, Debug)]
pub struct StreamShape {
    /// Tokens of a stream.
    pub tokens: u64,
    /// Tokens per second.
    pub rate: f64,
}

impl StreamShape {
    /// Returns the duration of a stream, in seconds.
    pub fn length(self) -> f64 {
        self.tokens as f64 / self.rate
    }
}

/// A connection with consecutive streams.
pub struct TruthClient {
    target: SocketAddr,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl TruthClient {
    /// Connects to the proxy or to the server.
    pub async fn connect(target: SocketAddr) -> Result<Self, BoxError> {
        let socket = TcpStream::connect(target).await?;
        socket.set_nodelay(true)?;
        kernel_timestamp::enable(&socket)?;
        Ok(Self { target, socket, buffer: vec![0; 64 * 1024] })
    }

    /// Runs one stream with this trace id.
    pub async fn run_stream(
        &mut self,
        id: u64,
        shape: StreamShape,
    ) -> Result<StreamTruth, BoxError> {
        let request = self.request(id, shape);
        self.socket.writable().await?;
        let (written, requested) = TimeSpan::around(|| self.socket.try_write(&request));
        if written? != request.len() {
            return Err("the socket does not accept a request in one write".into());
        }

        let (mut head, mut in_body) = (Vec::new(), false);
        let (mut framing, mut body, mut received) = (Dechunker::new(), Vec::new(), HashMap::new());
        while !framing.is_done() {
            let (length, stamp) = kernel_timestamp::receive(&self.socket, &mut self.buffer).await?;
            let mut bytes = &self.buffer[..length];
            if length == 0 {
                return Err("the connection ended within a stream".into());
            }
            if !in_body {
                head.extend_from_slice(bytes);
                let Some(end) = memmem::find(&head, b"\r\n\r\n") else { continue };
                check_headers(&head[..end])?;
                bytes = &bytes[bytes.len() - (head.len() - end - 4)..];
                in_body = true;
            }
            let before = body.len();
            framing.feed(bytes, &mut body)?;
            if let Some((number, stamp)) = lone_token(&body[before..]).zip(stamp) {
                received.insert(number, stamp);
            }
        }
        check_complete(&body, shape.tokens)?;
        let tokens = parse_writes(&body).ok_or("the server does not report its writes")?;
        Ok(StreamTruth { requested, tokens, received })
    }

    fn request(&self, id: u64, shape: StreamShape) -> Vec<u8> {
        let body = json!({
            "model": "bench/model-8b",
            "messages": [{"role": "user", "content": "When was it?"}],
            "stream": true,
            "stream_options": {"include_usage": true},
            "tokens": shape.tokens,
            "rate": shape.rate,
            "pattern": SendPattern::Spread.name(),
            "account": true,
        })
        .to_string();
        let (target, length) = (self.target, body.len());
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\n\
             traceparent: 00-{id:032x}-00000000000000ff-01\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Returns the number of the token in `data`, if it is exactly one token.
fn lone_token(data: &[u8]) -> Option<usize> {
    let event = data.strip_suffix(b"\n\n")?;
    if memmem::find(event, b"\n\n").is_some() {
        return None;
    }
    let event: Value = serde_json::from_slice(event.strip_prefix(b"data: ")?).ok()?;
    let content = event["choices"][0]["delta"]["content"].as_str()?;
    content.rsplit_once(" i=")?.1.parse().ok()
}

/// Whether the stream is complete.
fn check_complete(body: &[u8], tokens: u64) -> Result<(), &'static str> {
    let mut events = ReceivedEvents::default();
    events.buffer().extend_from_slice(body);
    events.read(|_| ())?;
    events.finish(tokens)
}

/// Returns the writes reported by the server, in the last event before the terminator.
fn parse_writes(body: &[u8]) -> Option<Vec<TimeSpan>> {
    let text = std::str::from_utf8(body).ok()?;
    let last = text.trim_end().rsplit("\n\n").nth(1)?.strip_prefix("data: ")?;
    let last: Value = serde_json::from_str(last).ok()?;
    let writes = last["writes"].as_array()?.iter();
    writes
        .map(|write| Some(TimeSpan { low: write[0].as_u64()?, high: write[1].as_u64()? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse_writer::SseWriter;

    /// The body of a response with two tokens, and the ends of its events.
    fn body() -> (Vec<u8>, Vec<usize>) {
        let (mut writer, mut raw, mut body) = (SseWriter::new(1, true), Vec::new(), Vec::new());
        writer.open(&mut raw);
        let head = memmem::find(&raw, b"\r\n\r\n").unwrap() + 4;
        for at in [10, 20] {
            writer.token(&mut raw, at);
            writer.written(at, at + 3);
        }
        writer.close(&mut raw);
        Dechunker::new().feed(&raw[head..], &mut body).unwrap();
        let ends = memmem::find_iter(&body, b"\n\n").map(|at| at + 2).collect();
        (body, ends)
    }

    #[test]
    fn reported_writes_are_parsed() {
        let (body, _) = body();
        assert_eq!(check_complete(&body, 2), Ok(()));
        let spans = [TimeSpan { low: 10, high: 13 }, TimeSpan { low: 20, high: 23 }];
        assert_eq!(parse_writes(&body).unwrap(), spans);
        assert_eq!(parse_writes(b"data: {}\n\ndata: [DONE]\n\n"), None);
    }

    #[test]
    fn timestamps_count_for_single_tokens_only() {
        let (body, ends) = body();
        let piece = |from: usize, to: usize| lone_token(&body[ends[from]..ends[to]]);
        assert_eq!(piece(0, 1), Some(0));
        assert_eq!(piece(1, 2), Some(1));
        assert_eq!(piece(0, 2), None);
        assert_eq!(piece(1, 3), None);
        assert_eq!(piece(2, 3), None, "the finish is not a token");
        assert_eq!(lone_token(&body[ends[0]..ends[1] - 1]), None);
    }
}
