//! Detects the framing of a response body from its first bytes.
//!
//! The `Content-Type` is not enough: proxies send server-sent events as `application/json` or `text/html`, and servers
//! send one JSON document as `text/event-stream`. So the first bytes decide wherever they are clear:
//!
//! | first bytes after white space and a byte order mark | framing |
//! |---|---|
//! | `{`, `[` | JSON: lines if the type declares lines, else a document or an array, as the API has it |
//! | `data:`, `event:`, `id:`, `retry:`, `error:`, a comment | server-sent events |
//! | a prelude with the right checksum | Amazon's event stream |
//! | anything else | as declared; unreadable if the type declares none of the framings |

use super::framing::{DeclaredFraming, Framing};

/// Bytes of the prelude of Amazon's event stream: two lengths and their checksum.
const PRELUDE: usize = 12;
/// Fields that a stream of server-sent events may begin with. `error` is not in the standard.
const SSE_FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b"error"];
const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Result of looking at the first bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// More bytes are needed.
    Undecided,
    /// The body has this framing.
    Framing(Framing),
    /// The body has no known framing.
    Unreadable,
}

/// Looks at the first bytes of one body, in any split.
#[derive(Debug, Clone, Copy)]
pub struct FramingDetector {
    declared: DeclaredFraming,
    /// Framing of a JSON body of this API.
    json: Framing,
    /// Whether the declaration may be trusted if the first bytes are not clear.
    is_declaration_trusted: bool,
    start: [u8; PRELUDE],
    len: usize,
    /// Length of the start before the latest part.
    held: usize,
}

impl FramingDetector {
    /// Returns a detector for a body with this declared framing. `json` is the framing of a body of this API that
    /// begins with JSON.
    pub fn new(declared: DeclaredFraming, json: Framing) -> Self {
        Self { declared, json, is_declaration_trusted: true, start: [0; PRELUDE], len: 0, held: 0 }
    }

    /// Accepts only a framing that the first bytes show. For a body that may be encoded in an unknown way.
    pub fn without_trust(self) -> Self {
        Self { is_declaration_trusted: false, ..self }
    }

    /// Whether the declared type is that of a stream of events.
    pub fn declares_stream(&self) -> bool {
        self.declared.is_stream()
    }

    /// Whether the declared type is none of the framings.
    pub fn is_undeclared(&self) -> bool {
        !matches!(self.declared, DeclaredFraming::Known(_))
    }

    /// Framing of a body whose first part begins as declared: nearly every body. `None` if [`push`](Self::push) has to
    /// look closer.
    pub fn confirm(&self, bytes: &[u8]) -> Option<Framing> {
        let DeclaredFraming::Known(framing) = self.declared else { return None };
        let is_usual = matches!(
            (framing, bytes.first()?),
            (Framing::Sse, b'd' | b'e' | b'i' | b'r' | b':')
                | (Framing::Document | Framing::Lines, b'{')
                // Every byte may begin a gRPC message.
                | (Framing::LengthPrefixed, _)
        );
        (is_usual && self.is_declaration_trusted && self.len == 0).then_some(framing)
    }

    /// Looks at the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) -> Detection {
        let bytes = if self.len == 0 { bytes.trim_ascii_start() } else { bytes };
        self.held = self.len;
        let free = self.start.get_mut(self.len..).unwrap_or_default();
        free.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        self.len = PRELUDE.min(self.len + bytes.len());
        self.decide(self.start.get(..self.len).unwrap_or_default())
    }

    /// The bytes so far that no framer has received: those of earlier parts, and those of `latest`, the part that was
    /// pushed last. White space and a byte order mark at the start are no part of an event.
    pub fn unread<'a>(&'a self, latest: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let latest = if self.held == 0 { latest.trim_ascii_start() } else { latest };
        let held = self.start.get(..self.held).unwrap_or_default();
        let start = self.start.get(..self.len).unwrap_or_default();
        let mark = if start.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let in_held = mark.min(held.len());
        let after = |bytes: &'a [u8], mark| bytes.get(mark..).unwrap_or_default();
        (after(held, in_held), after(latest, mark - in_held))
    }

    /// Whether any byte but white space has arrived.
    pub fn has_data(&self) -> bool {
        self.len > 0
    }

    /// Whether the body begins with the type or the data of a server-sent event.
    pub fn begins_with_event(&self) -> bool {
        let start = self.start.get(..self.len).unwrap_or_default();
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
        start.starts_with(b"data:") || start.starts_with(b"event:")
    }

    fn decide(&self, start: &[u8]) -> Detection {
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
        let Some(first) = start.first() else { return Detection::Undecided };
        let declared = match self.declared {
            DeclaredFraming::Known(framing) if self.is_declaration_trusted => Some(framing),
            _ => None,
        };
        match first {
            b'{' | b'[' => return Detection::Framing(self.json_framing(*first)),
            0xEF if BYTE_ORDER_MARK.starts_with(start) => return Detection::Undecided,
            b'd' | b'e' | b'i' | b'r' | b':' if declared != Some(Framing::Sse) => {
                match starts_with_sse(start) {
                    Some(true) => return Detection::Framing(Framing::Sse),
                    Some(false) => {}
                    None => return Detection::Undecided,
                }
            }
            // The length of a message is below 16 MiB.
            0 if declared != Some(Framing::AwsEventStream) => match starts_with_prelude(start) {
                Some(true) => return Detection::Framing(Framing::AwsEventStream),
                Some(false) => {}
                None => return Detection::Undecided,
            },
            _ => {}
        }
        declared.map_or(Detection::Unreadable, Detection::Framing)
    }

    fn json_framing(&self, first: u8) -> Framing {
        let is_declared_lines = self.declared == DeclaredFraming::Known(Framing::Lines);
        match (first, self.json) {
            (b'[', Framing::JsonArray) => Framing::JsonArray,
            (b'{', _) if is_declared_lines => Framing::Lines,
            (b'{', Framing::Lines) if self.is_undeclared() => Framing::Lines,
            _ => Framing::Document,
        }
    }
}

/// Whether a body with this start is a stream of server-sent events. `None` if that takes more bytes.
fn starts_with_sse(start: &[u8]) -> Option<bool> {
    if start.starts_with(b":") {
        return Some(true);
    }
    let end = start.iter().position(|byte| !byte.is_ascii_lowercase());
    let word = start.get(..end.unwrap_or(start.len())).unwrap_or_default();
    match end.and_then(|end| start.get(end)) {
        Some(stop) => Some(matches!(stop, b':' | b'\n' | b'\r') && SSE_FIELDS.contains(&word)),
        None if SSE_FIELDS.iter().any(|field| field.starts_with(word)) => None,
        None => Some(false),
    }
}

/// Whether these bytes are the prelude of Amazon's event stream. `None` if that takes more bytes.
fn starts_with_prelude(start: &[u8]) -> Option<bool> {
    let (lengths, checksum) = start.split_at_checked(8)?;
    let checksum: [u8; 4] = checksum.get(..4)?.try_into().ok()?;
    Some(crc32fast::hash(lengths) == u32::from_be_bytes(checksum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeclaredFraming::{Known, Unspecified, Unsupported};

    /// A prelude with the lengths 0x60 and 0x20.
    fn prelude() -> Vec<u8> {
        let lengths = [0, 0, 0, 0x60, 0, 0, 0, 0x20];
        [&lengths[..], &crc32fast::hash(&lengths).to_be_bytes()].concat()
    }

    #[test]
    fn first_bytes_decide_the_framing() {
        use Framing::*;
        let aws = prelude();
        let cases: [(&[u8], DeclaredFraming, Detection); 23] = [
            (b"data: x", Known(Sse), Detection::Framing(Sse)),
            (b"<html>", Known(Sse), Detection::Framing(Sse)),
            (b"data: x", Known(Document), Detection::Framing(Sse)),
            (b"\n\n  event: x", Known(Lines), Detection::Framing(Sse)),
            (b": hi\n", Unsupported, Detection::Framing(Sse)),
            (b"\xEF\xBB\xBFdata: x", Unsupported, Detection::Framing(Sse)),
            (b"\xEF\xBB", Unsupported, Detection::Undecided),
            (b"\xEF\xBB\xBF[", Unspecified, Detection::Framing(JsonArray)),
            (b"id:1\n", Unspecified, Detection::Framing(Sse)),
            (b"retry\n", Unspecified, Detection::Framing(Sse)),
            (b"dat", Known(Document), Detection::Undecided),
            (b"date: x", Known(Document), Detection::Framing(Document)),
            (b"database is down", Unsupported, Detection::Unreadable),
            (b"<html>", Unsupported, Detection::Unreadable),
            (b"<html>", Known(Document), Detection::Framing(Document)),
            (b"", Known(Sse), Detection::Undecided),
            (b"{", Known(Sse), Detection::Framing(Document)),
            (b"{", Known(Lines), Detection::Framing(Lines)),
            (b"[", Known(Document), Detection::Framing(Document)),
            (b"{", Unspecified, Detection::Framing(Document)),
            (b"\0\0\0", Known(Document), Detection::Undecided),
            (&aws, Known(Document), Detection::Framing(AwsEventStream)),
            (b"\0\0\0\x60\0\0\0\x20\0\0\0\0", Unsupported, Detection::Unreadable),
        ];
        for (start, declared, expected) in cases {
            let json = if declared == Unspecified { JsonArray } else { Document };
            let mut whole = FramingDetector::new(declared, json);
            assert_eq!(whole.push(start), expected, "{}", start.escape_ascii());
            // The same byte by byte.
            let mut parts = FramingDetector::new(declared, json);
            let mut steps = start.iter().map(|byte| parts.push(&[*byte]));
            let first = steps.find(|step| *step != Detection::Undecided);
            assert_eq!(first.unwrap_or(Detection::Undecided), expected, "{}", start.escape_ascii());
        }
    }

    #[test]
    fn an_array_of_events_is_framed_as_the_api_has_it() {
        for (json, expected) in [
            (Framing::JsonArray, Framing::JsonArray),
            (Framing::Document, Framing::Document),
            (Framing::Lines, Framing::Document),
        ] {
            let mut detector = FramingDetector::new(Known(Framing::Document), json);
            assert_eq!(detector.push(b"[{"), Detection::Framing(expected));
        }
    }

    #[test]
    fn an_untrusted_declaration_needs_clear_bytes() {
        let of = |start: &[u8]| {
            FramingDetector::new(Known(Framing::Sse), Framing::Document).without_trust().push(start)
        };
        assert_eq!(of(b"data: x"), Detection::Framing(Framing::Sse));
        assert_eq!(of(b"{\"a\":1}"), Detection::Framing(Framing::Document));
        assert_eq!(of(b"\x1f\x8b\x08"), Detection::Unreadable);
    }

    #[test]
    fn bytes_of_earlier_parts_are_held() {
        let mut detector = FramingDetector::new(Unsupported, Framing::Document);
        assert_eq!(detector.push(b" \n da"), Detection::Undecided);
        assert_eq!(detector.push(b"ta: a long first event"), Detection::Framing(Framing::Sse));
        assert_eq!(detector.unread(b"ta: x"), (&b"da"[..], &b"ta: x"[..]));

        let mut detector = FramingDetector::new(Unsupported, Framing::Document);
        assert_eq!(detector.push(b"\n\xEF"), Detection::Undecided);
        assert_eq!(detector.push(b"\xBB\xBF{}"), Detection::Framing(Framing::Document));
        assert_eq!(detector.unread(b"\xBB\xBF{}"), (&b""[..], &b"{}"[..]));
    }
}
