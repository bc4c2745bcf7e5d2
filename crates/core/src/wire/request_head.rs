//! Checks the raw head of an HTTP/1.1 request (request line and headers) before an HTTP parser reads it.
//!
//! A parser returns what it understood, not what was sent: it merges equal `Content-Length` headers, ignores one next
//! to `Transfer-Encoding`, and cuts a fragment off. Another server can understand the same bytes differently, and then
//! the two disagree where a request ends (request smuggling). Therefore such heads are rejected.

use super::reject_reason::RejectReason;

/// Maximum length of a request target.
const MAX_TARGET: usize = 65_534;
/// Maximum length of a header name.
const MAX_NAME: usize = 8 * 1024;

/// Limits of a request head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Maximum size in bytes, of the request line and all headers together.
    pub max_bytes: usize,
    /// Maximum number of header lines.
    pub max_lines: usize,
    /// Whether the parser accepts a target with unusual characters, or in the absolute form.
    pub is_target: fn(&[u8]) -> bool,
}

/// Framing of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// This many bytes. 0 without a body.
    Length(u64),
    /// Chunked coding.
    Chunked,
}

/// A complete head that violates no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHead {
    /// Length in bytes, with the empty lines before the request line and the one at the end.
    pub length: usize,
    /// Framing of the body that follows.
    pub body: BodyFraming,
}

/// Incremental check of one request head. It checks each line once, as soon as the line is complete.
#[derive(Debug, Default)]
pub struct HeadChecker {
    /// Length of the lines that were checked.
    checked: usize,
    /// Length of the bytes that were searched for the end of a line.
    searched: usize,
    has_request_line: bool,
    is_http_1_0: bool,
    header_lines: usize,
    content_length: Option<u64>,
    is_chunked: bool,
}

impl HeadChecker {
    /// Checks `bytes`, which start where the head starts and may end anywhere. Returns `None` while the head is
    /// incomplete. The next call gets the same bytes, followed by more.
    ///
    /// # Errors
    /// If the head violates a rule or limit.
    pub fn push(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<CheckedHead>, RejectReason> {
        while let Some(at) = memchr::memchr(b'\n', bytes.get(self.searched..).unwrap_or_default()) {
            let line_feed = self.searched + at;
            let line = bytes.get(self.checked..line_feed).unwrap_or_default();
            self.checked = line_feed + 1;
            self.searched = self.checked;
            if self.checked > limits.max_bytes {
                return Err(RejectReason::HeadSize);
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                self.check_line(line, limits)?;
            } else if self.has_request_line {
                let body = self.body_framing()?;
                return Ok(Some(CheckedHead { length: self.checked, body }));
            }
        }
        let unsearched = bytes.get(self.searched..).unwrap_or_default();
        // Data of another protocol may have no line. A CR at the end may belong to the end of a line.
        let without_cr = unsearched.strip_suffix(b"\r").unwrap_or(unsearched);
        if !self.has_request_line && has_control_character(without_cr) {
            return Err(RejectReason::ControlCharacter);
        }
        if bytes.len() >= limits.max_bytes {
            return Err(RejectReason::HeadSize);
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn check_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), RejectReason> {
        if has_control_character(line) {
            return Err(RejectReason::ControlCharacter);
        }
        if !self.has_request_line {
            self.has_request_line = true;
            return self.check_request_line(line, limits);
        }
        self.header_lines += 1;
        if self.header_lines > limits.max_lines {
            return Err(RejectReason::HeaderCount);
        }
        self.check_header(line)
    }

    fn check_request_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), RejectReason> {
        let (method, target, version) =
            split_request_line(line).ok_or(RejectReason::RequestLine)?;
        self.is_http_1_0 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(RejectReason::RequestLine),
        };
        if method.is_empty() || !method.iter().all(is_token) {
            return Err(RejectReason::RequestLine);
        }
        if method == b"CONNECT" {
            return Err(RejectReason::Connect);
        }
        if target.len() > MAX_TARGET {
            return Err(RejectReason::TargetSize);
        }
        let is_valid = match target.first() {
            Some(b'/') => target.iter().all(is_usual_in_path) || is_unusual_target(target, limits),
            Some(b'*') => target.len() == 1 && method == b"OPTIONS",
            _ => is_http_url(target) && is_unusual_target(target, limits),
        };
        if is_valid { Ok(()) } else { Err(RejectReason::Target) }
    }

    fn check_header(&mut self, line: &[u8]) -> Result<(), RejectReason> {
        if let Some(b' ' | b'\t') = line.first() {
            return Err(RejectReason::LineFolding);
        }
        let colon = memchr::memchr(b':', line).ok_or(RejectReason::HeaderName)?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() || name.len() > MAX_NAME || !name.iter().all(is_token) {
            return Err(RejectReason::HeaderName);
        }
        let value = value.get(1..).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            // Even an equal one: a server behind this proxy may read only one of them.
            if self.content_length.is_some() {
                return Err(RejectReason::ContentLength);
            }
            self.content_length = Some(content_length(value).ok_or(RejectReason::ContentLength)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.check_transfer_encoding(value)?;
        }
        Ok(())
    }

    fn check_transfer_encoding(&mut self, value: &[u8]) -> Result<(), RejectReason> {
        for coding in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if coding.is_empty() || self.is_http_1_0 {
                return Err(RejectReason::TransferEncoding);
            }
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(RejectReason::UnknownCoding);
            }
            if self.is_chunked {
                return Err(RejectReason::TransferEncoding);
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn body_framing(&self) -> Result<BodyFraming, RejectReason> {
        match (self.content_length, self.is_chunked) {
            (Some(_), true) => Err(RejectReason::ConflictingLength),
            (None, true) => Ok(BodyFraming::Chunked),
            (length, false) => Ok(BodyFraming::Length(length.unwrap_or(0))),
        }
    }
}

/// Returns method, target and version, if one space separates them.
fn split_request_line(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let is_space = |byte: &u8| *byte == b' ';
    let mut ends = line.splitn(2, is_space);
    let (method, rest) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
    let mut ends = rest.rsplitn(2, is_space);
    let (version, target) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
    let is_one_word = !target.is_empty() && memchr::memchr2(b' ', b'\t', target).is_none();
    is_one_word.then_some((method, target, version))
}

/// Whether the target has the start of an absolute form that this proxy forwards.
fn is_http_url(target: &[u8]) -> bool {
    let has_prefix = |prefix: &[u8]| {
        target.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    has_prefix(b"http://") || has_prefix(b"https://")
}

/// A fragment is not part of a target (RFC 9112, section 3.2). Parsers cut it off.
fn is_unusual_target(target: &[u8], limits: &HeadLimits) -> bool {
    memchr::memchr(b'#', target).is_none() && (limits.is_target)(target)
}

/// Whether RFC 3986 allows the byte in a path or query. Parsers agree on these.
fn is_usual_in_path(byte: &u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'?' | b'%' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    )
}

/// Whether the byte is allowed in a method or header name (RFC 9110, section 5.6.2).
fn is_token(byte: &u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-'
            | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    )
}

/// Whether a control character other than the tab is in `bytes`.
fn has_control_character(bytes: &[u8]) -> bool {
    // Without an early exit, the compiler checks many bytes at a time.
    bytes.iter().fold(false, |found, byte| found | (byte.is_ascii_control() & (*byte != b'\t')))
}

/// Returns a length, if the value is one decimal number below 2^63.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    let length = digits.iter().try_fold(0u64, |length, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        length.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    (length <= i64::MAX.unsigned_abs()).then_some(length)
}

#[cfg(test)]
#[path = "request_head_tests.rs"]
mod tests;
