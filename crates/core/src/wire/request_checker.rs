//! Checks all requests of an HTTP/1.1 connection, and follows where each of them ends.

use super::chunked::{ChunkStep, ChunkedDecoder};
use super::reject_reason::RejectReason;
use super::request_head::{BodyFraming, HeadChecker, HeadLimits};

/// Part of a connection's bytes that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedBytes {
    /// Number of bytes that are valid: complete heads, and bodies. The bytes after them are the start of an incomplete
    /// head, or invalid.
    pub valid: usize,
    /// Why the bytes after the valid ones are rejected.
    pub rejected: Option<RejectReason>,
}

#[derive(Debug)]
enum MessageState {
    /// In a head.
    Head(HeadChecker),
    /// In a body with this many bytes left.
    Length(u64),
    Chunked(ChunkedDecoder),
    Rejected(RejectReason),
}

impl Default for MessageState {
    fn default() -> Self {
        Self::Head(HeadChecker::default())
    }
}

/// Incremental check of a client's HTTP/1.1 connection. It keeps no bytes.
#[derive(Debug)]
pub struct RequestChecker {
    limits: HeadLimits,
    state: MessageState,
}

impl RequestChecker {
    /// A checker for a connection at the start of a request.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, state: MessageState::default() }
    }

    /// Whether the next byte is in a head, or is the first one of a request.
    pub fn is_in_head(&self) -> bool {
        matches!(self.state, MessageState::Head(_))
    }

    /// Checks the next bytes of the connection. The next call starts with those that were not reported as valid.
    pub fn push(&mut self, bytes: &[u8]) -> CheckedBytes {
        let mut valid = 0;
        loop {
            let rest = bytes.get(valid..).unwrap_or_default();
            if rest.is_empty() {
                return CheckedBytes { valid, rejected: None };
            }
            match self.step(rest) {
                Ok(0) => return CheckedBytes { valid, rejected: None },
                Ok(length) => valid += length,
                Err(reason) => {
                    self.state = MessageState::Rejected(reason);
                    return CheckedBytes { valid, rejected: Some(reason) };
                }
            }
        }
    }

    /// Returns how many bytes at the start of `bytes` are valid. 0 means that a head is incomplete.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, RejectReason> {
        let (length, next) = match &mut self.state {
            MessageState::Head(head) => match head.push(bytes, &self.limits)? {
                None => return Ok(0),
                Some(head) => {
                    let next = match head.body {
                        BodyFraming::Length(0) => MessageState::default(),
                        BodyFraming::Length(length) => MessageState::Length(length),
                        BodyFraming::Chunked => MessageState::Chunked(ChunkedDecoder::default()),
                    };
                    (head.length, next)
                }
            },
            MessageState::Length(left) => {
                let length =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= length as u64;
                if *left > 0 {
                    return Ok(length);
                }
                (length, MessageState::default())
            }
            MessageState::Chunked(chunked) => {
                match chunked.next(bytes).map_err(|_| RejectReason::Chunk)? {
                    (framing, ChunkStep::Data(data)) => return Ok(framing + data),
                    (framing, ChunkStep::More) => return Ok(framing),
                    (framing, ChunkStep::End) => (framing, MessageState::default()),
                }
            }
            MessageState::Rejected(reason) => return Err(*reason),
        };
        self.state = next;
        Ok(length)
    }
}

#[cfg(test)]
#[path = "request_checker_tests.rs"]
mod tests;
