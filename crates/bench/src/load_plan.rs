//! The load that one load generator sends.

use std::net::SocketAddr;

use serde_json::json;

use crate::clock;
use crate::traffic::SendPattern;

/// Time in nanoseconds for which streams continue after the window, so that all are open at its end.
const RUN_ON: u64 = 500_000_000;

/// The load to send.
#[derive(Debug)]
pub struct LoadPlan {
    /// Address of the proxy, or of the server.
    pub target: SocketAddr,
    /// Start of the measured window, on [`clock::now`].
    pub from: u64,
    /// End of the measured window.
    pub until: u64,
    /// Time before the window in which the connections open, in nanoseconds.
    pub warmup: u64,
    /// Number of concurrent connections.
    pub streams: u64,
    /// Tokens per second of each stream.
    pub rate: f64,
    /// Tokens of a stream; 0 lasts to the end of the window.
    pub tokens: u64,
    /// How the tokens of different streams are distributed in time.
    pub pattern: SendPattern,
}

impl LoadPlan {
    /// Returns when connection `number` opens: evenly spread over the first half of the warm-up.
    pub fn opening_time(&self, number: u64) -> u64 {
        self.from - self.warmup + self.warmup / 2 * number / self.streams
    }

    /// Returns the time between two tokens of a stream.
    pub fn period(&self) -> u64 {
        clock::seconds(1.0 / self.rate)
    }

    /// Returns the tokens of each stream of a connection that opens at `opens`.
    pub fn tokens_per_stream(&self, opens: u64) -> u64 {
        match self.tokens {
            // One more, because the first token is sent at once.
            0 => (self.until + RUN_ON - opens).div_ceil(self.period()) + 1,
            tokens => tokens,
        }
    }

    /// Returns the bytes of a request.
    pub fn request(&self, tokens: u64) -> Vec<u8> {
        let body = json!({
            "model": "bench/model-8b",
            "messages": [{"role": "user", "content": "What does it cost?"}],
            "stream": true,
            "stream_options": {"include_usage": true},
            "tokens": tokens,
            "rate": self.rate,
            "pattern": self.pattern.name(),
        })
        .to_string();
        let (target, length) = (self.target, body.len());
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\naccept: text/event-stream\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
