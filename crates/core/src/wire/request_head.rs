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
    /// Length of the bytes that were searched for the end of a line and for control characters.
    searched: usize,
    /// Number of control characters in them.
    controls: usize,
    /// Number of those that end a line: line feeds, and the carriage returns before them.
    line_ends: usize,
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
        let unsearched = self.searched;
        let found = self.check_lines(bytes, limits);
        // Any error of a line may come from a control character in it.
        let end = if matches!(found, Ok(None)) { bytes.len() } else { self.checked };
        self.searched = end;
        let end = end.min(limits.max_bytes);
        self.controls += count_control_characters(bytes.get(unsearched..end).unwrap_or_default());
        // The line feed may follow.
        let last_ends_line = bytes.get(..end).is_some_and(|searched| searched.ends_with(b"\r"));
        if self.controls > self.line_ends + usize::from(last_ends_line) {
            return Err(RejectReason::ControlCharacter);
        }
        if let Ok(None) = found
            && bytes.len() >= limits.max_bytes
        {
            return Err(RejectReason::HeadSize);
        }
        found
    }

    /// Checks the lines that are complete.
    fn check_lines(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<CheckedHead>, RejectReason> {
        let unsearched = bytes.get(self.searched..).unwrap_or_default();
        let searched = self.searched;
        for at in memchr::memchr_iter(b'\n', unsearched) {
            let line_feed = searched + at;
            let line = bytes.get(self.checked..line_feed).unwrap_or_default();
            let content = line.strip_suffix(b"\r").unwrap_or(line);
            self.checked = line_feed + 1;
            if self.checked > limits.max_bytes {
                return Err(RejectReason::HeadSize);
            }
            self.line_ends += 1 + line.len() - content.len();
            let line = content;
            if !line.is_empty() {
                self.check_line(line, limits)?;
            } else if self.has_request_line {
                let body = self.body_framing()?;
                return Ok(Some(CheckedHead { length: self.checked, body }));
            }
        }
        Ok(None)
    }

    fn check_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), RejectReason> {
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
        let (rest, version) = line.split_last_chunk().ok_or(RejectReason::RequestLine)?;
        self.is_http_1_0 = match version {
            b" HTTP/1.1" => false,
            b" HTTP/1.0" => true,
            _ => return Err(RejectReason::RequestLine),
        };
        let (method, rest) = split_token(rest);
        let Some((b' ', target)) = rest.split_first() else {
            return Err(RejectReason::RequestLine);
        };
        if method.is_empty() || target.is_empty() {
            return Err(RejectReason::RequestLine);
        }
        if method == b"CONNECT" {
            return Err(RejectReason::Connect);
        }
        if target.len() > MAX_TARGET {
            return Err(RejectReason::TargetSize);
        }
        if target.starts_with(b"/") && target.iter().all(is_usual_in_path) {
            return Ok(());
        }
        if memchr::memchr2(b' ', b'\t', target).is_some() {
            return Err(RejectReason::RequestLine);
        }
        let is_valid = match target {
            b"*" => method == b"OPTIONS",
            // A fragment is not part of a target (RFC 9112, section 3.2). Parsers cut it off.
            _ => {
                (target.starts_with(b"/") || is_http_url(target))
                    && memchr::memchr(b'#', target).is_none()
                    && (limits.is_target)(target)
            }
        };
        if is_valid { Ok(()) } else { Err(RejectReason::Target) }
    }

    fn check_header(&mut self, line: &[u8]) -> Result<(), RejectReason> {
        let (name, rest) = split_token(line);
        let Some((b':', value)) = rest.split_first() else {
            return Err(match line.first() {
                Some(b' ' | b'\t') => RejectReason::LineFolding,
                _ => RejectReason::HeaderName,
            });
        };
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(RejectReason::HeaderName);
        }
        if is_named(name, b"Content-Length", b"content-length") {
            // Even an equal one: a server behind this proxy may read only one of them.
            if self.content_length.is_some() {
                return Err(RejectReason::ContentLength);
            }
            self.content_length = Some(content_length(value).ok_or(RejectReason::ContentLength)?);
        } else if is_named(name, b"Transfer-Encoding", b"transfer-encoding") {
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

/// Splits a token off the start of `bytes`: a method, or the name of a header (RFC 9110, section 5.6.2).
fn split_token(bytes: &[u8]) -> (&[u8], &[u8]) {
    // Four bytes at a time cost less than single ones.
    let (blocks, _) = bytes.as_chunks::<4>();
    let whole = 4 * blocks.iter().take_while(|block| block.iter().all(is_token)).count();
    let rest = bytes.get(whole..).unwrap_or_default();
    bytes.split_at(whole + rest.iter().take_while(|byte| is_token(byte)).count())
}

/// Whether a header has this name. The two usual spellings are compared first, because that costs least.
fn is_named<const N: usize>(name: &[u8], usual: &[u8; N], lower: &[u8; N]) -> bool {
    name.len() == N && (name == usual || name == lower || name.eq_ignore_ascii_case(lower))
}

/// Whether the target has the start of an absolute form that this proxy forwards.
fn is_http_url(target: &[u8]) -> bool {
    let has_prefix = |prefix: &[u8]| {
        target.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    has_prefix(b"http://") || has_prefix(b"https://")
}

fn is_token(byte: &u8) -> bool {
    is_in(byte, &TOKEN)
}

fn is_usual_in_path(byte: &u8) -> bool {
    is_in(byte, &USUAL_IN_PATH)
}

fn is_in(byte: &u8, set: &[bool; 256]) -> bool {
    set.get(usize::from(*byte)).is_some_and(|is_in| *is_in)
}

/// Bytes of a method or header name. Tables are the cheapest check of names, which most heads consist of.
static TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
/// Bytes that RFC 3986 allows in a path or query. Parsers agree on these.
static USUAL_IN_PATH: [bool; 256] = letters_digits_and(b"/?%-._~!$&'()*+,;=:@");

#[allow(
    clippy::indexing_slicing,
    reason = "the compiler evaluates it, and reports an index out of range"
)]
const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < set.len() {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

/// Number of control characters, without tabs. Small counters let the compiler count many bytes at once.
fn count_control_characters(bytes: &[u8]) -> usize {
    let add = |count: u8, byte: &u8| count + u8::from(is_control(*byte));
    bytes.chunks(usize::from(u8::MAX)).map(|part| usize::from(part.iter().fold(0, add))).sum()
}

fn is_control(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') | (byte == 0x7f)
}

/// Returns a length, if the value is one decimal number below 2^63.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    let mut length = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        length = length.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    Some(length.unsigned_abs())
}

#[cfg(test)]
#[path = "request_head_tests.rs"]
mod tests;
