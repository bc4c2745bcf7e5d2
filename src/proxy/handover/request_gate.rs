//! Checks a client's requests before hyper's server reads them, and replaces one that is rejected.
//!
//! hyper hides what was sent ([`request_head`](streamgauge_core::wire::request_head)), and answers a head that it rejects
//! itself, without a body and without calling the service. Here hyper gets only valid requests. Instead of a rejected
//! one, it gets a request that only this module can make. The service answers it like any other request that cannot be
//! forwarded: after all responses before it, with an outcome, and hyper closes the connection.

use bytes::{Buf, Bytes, BytesMut};
use hyper::http::request;
use hyper::rt::ReadBufCursor;
use hyper::{Uri, Version};
use std::io;
use streamgauge_core::wire::reject_reason::RejectReason;
use streamgauge_core::wire::request_checker::RequestChecker;
use streamgauge_core::wire::request_head::HeadLimits;

/// Scheme of the replacement's target. From a client, the checker rejects it.
const SCHEME: &str = "rejected";

/// Bytes of one client on their way to hyper's server.
#[derive(Debug)]
pub(super) struct RequestGate {
    /// `None` in HTTP/2.
    checker: Option<RequestChecker>,
    /// Bytes that hyper has not received.
    held: BytesMut,
    /// Number of held bytes that hyper may receive.
    valid: usize,
    rejected: Option<RejectReason>,
    /// Part of the replacement that hyper has not received.
    replacement: Bytes,
    /// Length of the part that hyper has received.
    replaced: usize,
}

impl RequestGate {
    /// A gate for HTTP/1.1. `read` was read earlier, and starts with a request.
    pub fn http1(read: Bytes, limits: HeadLimits) -> Self {
        Self::new(Some(RequestChecker::new(limits)), read)
    }

    /// A gate that passes everything.
    pub fn http2(read: Bytes) -> Self {
        Self::new(None, read)
    }

    fn new(checker: Option<RequestChecker>, read: Bytes) -> Self {
        let mut gate = Self {
            checker,
            held: BytesMut::from(read),
            valid: 0,
            rejected: None,
            replacement: Bytes::new(),
            replaced: 0,
        };
        gate.check_held();
        gate
    }

    pub fn is_http1(&self) -> bool {
        self.checker.is_some()
    }

    /// Receives bytes that were just read. Valid ones go to `buf`, which has room for all of them.
    pub fn receive(&mut self, bytes: &[u8], buf: &mut ReadBufCursor<'_>) {
        if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            return self.check_held();
        }
        let valid = self.check(bytes);
        let (passed, rest) = bytes.split_at(valid.min(bytes.len()));
        buf.put_slice(passed);
        self.held.extend_from_slice(rest);
    }

    fn check_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.valid += self.check(held.get(self.valid..).unwrap_or_default());
        self.held = held;
    }

    /// Returns how many bytes at the start are valid.
    fn check(&mut self, bytes: &[u8]) -> usize {
        let Some(checker) = &mut self.checker else { return bytes.len() };
        if self.rejected.is_some() {
            return 0;
        }
        let checked = checker.push(bytes);
        self.rejected = checked.rejected;
        if let Some(reason) = self.rejected
            && reason != RejectReason::Chunk
        {
            self.replacement = replacement(reason).into();
        }
        checked.valid
    }

    /// Moves held bytes that are valid, or a replacement, to `buf`. Returns whether there were any.
    pub fn release(&mut self, buf: &mut ReadBufCursor<'_>) -> bool {
        let room = buf.remaining();
        if self.valid > 0 {
            let passed = self.held.split_to(self.valid.min(room));
            buf.put_slice(&passed);
            self.valid -= passed.len();
            return true;
        }
        if self.replacement.is_empty() {
            return false;
        }
        let length = self.replacement.len().min(room);
        buf.put_slice(self.replacement.get(..length).unwrap_or_default());
        self.replacement.advance(length);
        self.replaced += length;
        length > 0
    }

    /// Whether hyper has received everything that it may receive.
    ///
    /// # Errors
    /// If a chunk of the current request's body is invalid.
    pub fn is_closed(&self) -> io::Result<bool> {
        match self.rejected {
            Some(RejectReason::Chunk) => Err(io::ErrorKind::InvalidData.into()),
            rejected => Ok(rejected.is_some()),
        }
    }

    /// Returns what the client sent after the current request, of which hyper returned `unused` bytes.
    pub fn into_rest(self, unused: &[u8]) -> BytesMut {
        let sent = unused.len().saturating_sub(self.replaced);
        // A copy: a few bytes must not keep hyper's large buffer alive.
        let mut rest = BytesMut::from(unused.get(..sent).unwrap_or_default());
        rest.extend_from_slice(&self.held);
        rest
    }
}

/// Request that hyper gets instead of one that is rejected for this reason.
fn replacement(reason: RejectReason) -> String {
    let reason = reason.label();
    format!("GET {SCHEME}://{reason} HTTP/1.1\r\nHost: {reason}\r\nConnection: close\r\n\r\n")
}

/// Why the client's request was rejected, if this is the head of its replacement.
pub(crate) fn reject_reason(head: &request::Parts) -> Option<RejectReason> {
    if head.uri.scheme_str()? != SCHEME || head.version == Version::HTTP_2 {
        return None;
    }
    RejectReason::from_label(head.uri.host()?)
}

/// Whether hyper's parser accepts a target.
pub(super) fn is_target(target: &[u8]) -> bool {
    Uri::try_from(target).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use strum::VariantArray;

    #[test]
    fn a_replacement_carries_its_reason_and_cannot_be_forged() {
        for reason in RejectReason::VARIANTS.iter().copied() {
            let text = replacement(reason);
            let target = text.split(' ').nth(1).unwrap();
            let head = |version| Request::get(target).version(version).body(()).unwrap();
            let found = |version| reject_reason(&head(version).into_parts().0);
            assert_eq!(found(Version::HTTP_11), Some(reason));
            assert_eq!(found(Version::HTTP_2), None);
            let limits = HeadLimits { max_bytes: 1000, max_lines: 9, is_target };
            let checked = RequestChecker::new(limits).push(text.as_bytes());
            assert_eq!(checked.rejected, Some(RejectReason::Target), "from a client");
        }
        let head = Request::get("http://host/").body(()).unwrap();
        assert_eq!(reject_reason(&head.into_parts().0), None);
    }
}
