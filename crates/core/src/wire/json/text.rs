//! Scanning of strings: counts characters, keeps text that is selected, decodes escapes.

use super::{JsonNode, JsonScanner, JsonState, MAX_TEXT, ScanError, ScanEvent, StringMode, scan};

impl<T: Copy + 'static> JsonScanner<T> {
    /// Scans to the end of the current string. Returns the bytes after it; empty if the string goes
    /// on.
    pub(in super::super) fn push_text<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let is_counted = self.is_counted();
        while !bytes.is_empty() {
            bytes = match self.at.state {
                JsonState::InString => {
                    let rest =
                        if is_counted { self.push_counted(bytes) } else { skip_plain(bytes) };
                    match rest.split_first() {
                        Some((b'"', rest)) => {
                            self.end_string(sink);
                            return rest;
                        }
                        Some((_, rest)) => {
                            self.at.state = JsonState::InEscape;
                            rest
                        }
                        None => rest,
                    }
                }
                JsonState::InEscape => self.push_escape(bytes),
                JsonState::InUnicode(left) => self.push_unicode(left, bytes),
                _ => return bytes,
            }
        }
        bytes
    }

    /// Counts, and keeps if selected, the text before the quote. Returns the rest, which may begin
    /// with an escape.
    fn push_counted<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let rest = match self.at.node {
            Some(node) if node.strings == StringMode::Keep => {
                let (rest, _) = self.count.push_string(bytes, |_| None);
                let (part, _) = bytes.split_at(bytes.len() - rest.len());
                self.keep_text(node, part);
                rest
            }
            _ => {
                let short = |bytes: &[u8]| is_short_escape(bytes).then_some(2);
                let (rest, escapes) = self.count.push_string(bytes, short);
                self.raw_chars += escapes;
                rest
            }
        };
        if rest.len() < bytes.len() {
            self.high_surrogate = None;
        }
        rest
    }

    fn end_string(&mut self, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        if self.at.raw_depth > 0 {
            self.count.end();
            self.raw_chars += self.count.chars() + 2;
        } else if let Some(node) = self.at.node {
            self.count.end();
            let (chars, valid) = (self.count.chars(), !self.count.invalid());
            node.report(ScanEvent::Text { chars, text: &self.text, valid }, sink);
        }
        self.end_value();
    }

    fn keep_text(&mut self, node: &JsonNode<T>, part: &[u8]) {
        if node.strings == StringMode::Keep {
            let room = MAX_TEXT.saturating_sub(self.text.len());
            self.text.extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    fn push_escape<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return bytes };
        let plain = match byte {
            b'u' => {
                self.unicode = 0;
                self.at.state = JsonState::InUnicode(4);
                return rest;
            }
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'"' | b'\\' | b'/' => *byte,
            _ => {
                self.at.state = JsonState::Failed(ScanError::Syntax);
                return rest;
            }
        };
        self.at.state = JsonState::InString;
        self.high_surrogate = None;
        // All of these except the slash need an escape when written again.
        self.raw_chars += u64::from(*byte != b'/');
        self.push_unescaped(&[plain], 1);
        rest
    }

    /// Reads the digits of a `\u` escape; `left` of them are still expected.
    fn push_unicode<'a>(&mut self, left: u8, bytes: &'a [u8]) -> &'a [u8] {
        let mut bytes = bytes.iter();
        for left in (1..=left).rev() {
            let Some(byte) = bytes.next() else {
                self.at.state = JsonState::InUnicode(left);
                return &[];
            };
            let Some(digit) = char::from(*byte).to_digit(16) else {
                self.at.state = JsonState::Failed(ScanError::Syntax);
                return &[];
            };
            self.unicode = self.unicode << 4 | u16::try_from(digit).unwrap_or_default();
        }
        self.at.state = JsonState::InString;
        self.end_unicode();
        bytes.as_slice()
    }

    fn end_unicode(&mut self) {
        let (high, unit) = (self.high_surrogate.take(), self.unicode);
        let mut utf8 = [0; 4];
        match (high, unit) {
            // The second half of a surrogate pair; the pair was counted at its first half.
            (Some(high), 0xDC00..=0xDFFF) => {
                let pair = char::decode_utf16([high, unit]).flatten().next();
                self.push_unescaped(
                    pair.unwrap_or('\u{FFFD}').encode_utf8(&mut utf8).as_bytes(),
                    0,
                );
            }
            (_, 0xD800..=0xDBFF) => {
                self.high_surrogate = Some(unit);
                self.push_unescaped(&[], 1);
            }
            _ => {
                self.raw_chars += extra_escape_len(unit);
                let scalar = char::from_u32(u32::from(unit)).unwrap_or('\u{FFFD}');
                self.push_unescaped(scalar.encode_utf8(&mut utf8).as_bytes(), 1);
            }
        }
    }

    fn push_unescaped(&mut self, utf8: &[u8], chars: u64) {
        self.count.add(chars);
        if let Some(node) = self.at.node {
            self.keep_text(node, utf8);
        }
    }
}

/// Returns whether `bytes` begin with an escape of one letter that is also the shortest way to
/// write the character. (The slash needs no escape.)
fn is_short_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\\', b'n' | b'"' | b'\\' | b't' | b'r' | b'b' | b'f', ..])
}

/// Returns the bytes from the quote on, or from an escape that is not a short one.
fn skip_plain(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = bytes.split_at(scan::plain_len(bytes)).1;
        if !is_short_escape(bytes) {
            return bytes;
        }
        bytes = bytes.get(2..).unwrap_or_default();
    }
}

/// Returns by how many characters the JSON escape of a character is longer than the character.
fn extra_escape_len(unit: u16) -> u64 {
    match unit {
        0x08 | 0x09 | 0x0A | 0x0C | 0x0D | 0x22 | 0x5C => 1,
        0..=0x1F => 5,
        _ => 0,
    }
}
