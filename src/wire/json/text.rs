//! The inside of strings: counted, and kept where they are wanted; escapes undone.

use super::{MAX_TEXT, Malformed, Node, Scanner, State, Strings, Token};

impl<T: Copy + 'static> Scanner<T> {
    pub(super) fn push_string<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, Token<'_>),
    ) -> &'a [u8] {
        let end = memchr::memchr2(b'"', b'\\', bytes);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if self.is_counted() && !part.is_empty() {
            self.high_surrogate = None;
            self.count.push(part);
            if let Some(node) = self.at.node {
                self.keep_text(node, part);
            }
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                if self.at.raw_depth > 0 {
                    self.count.end();
                    self.raw_chars += self.count.chars() + 2;
                } else if let Some(node) = self.at.node {
                    self.count.end();
                    let (chars, valid) = (self.count.chars(), !self.count.invalid());
                    node.tell(Token::Text { chars, text: &self.text, valid }, sink);
                }
                self.end_value();
                rest
            }
            Some((_, rest)) => {
                self.at.state = State::InEscape;
                rest.split_first().map_or(rest, |(byte, rest)| {
                    self.escape(*byte);
                    rest
                })
            }
            None => rest,
        }
    }

    fn keep_text(&mut self, node: &Node<T>, part: &[u8]) {
        if node.strings == Strings::Kept {
            let room = MAX_TEXT.saturating_sub(self.text.len());
            self.text.extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    pub(super) fn escape(&mut self, byte: u8) {
        let plain = match byte {
            b'u' => {
                self.unicode = 0;
                self.at.state = State::InUnicode(4);
                return;
            }
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'"' | b'\\' | b'/' => byte,
            _ => {
                self.at.state = State::Failed(Malformed::Syntax);
                return;
            }
        };
        self.at.state = State::InString;
        self.high_surrogate = None;
        // All of these but the slash are written with an escape again.
        self.raw_chars += u64::from(byte != b'/');
        self.unescaped(&[plain], 1);
    }

    pub(super) fn unicode_digit(&mut self, left: u8, byte: u8) {
        let Some(digit) = char::from(byte).to_digit(16) else {
            self.at.state = State::Failed(Malformed::Syntax);
            return;
        };
        self.unicode = self.unicode << 4 | u16::try_from(digit).unwrap_or_default();
        if left > 1 {
            self.at.state = State::InUnicode(left - 1);
            return;
        }
        self.at.state = State::InString;
        let (high, unit) = (self.high_surrogate.take(), self.unicode);
        let mut utf8 = [0; 4];
        match (high, unit) {
            // The second half of a pair: the pair was counted with its first half.
            (Some(high), 0xDC00..=0xDFFF) => {
                let pair = char::decode_utf16([high, unit]).flatten().next();
                self.unescaped(pair.unwrap_or('\u{FFFD}').encode_utf8(&mut utf8).as_bytes(), 0);
            }
            (_, 0xD800..=0xDBFF) => {
                self.high_surrogate = Some(unit);
                self.unescaped(&[], 1);
            }
            _ => {
                self.raw_chars += escaped(unit);
                let scalar = char::from_u32(u32::from(unit)).unwrap_or('\u{FFFD}');
                self.unescaped(scalar.encode_utf8(&mut utf8).as_bytes(), 1);
            }
        }
    }

    fn unescaped(&mut self, utf8: &[u8], chars: u64) {
        if self.is_counted() {
            self.count.add(chars);
            if let Some(node) = self.at.node {
                self.keep_text(node, utf8);
            }
        }
    }
}

/// How much longer a character is written in JSON than it is, in characters.
fn escaped(unit: u16) -> u64 {
    match unit {
        0x08 | 0x09 | 0x0A | 0x0C | 0x0D | 0x22 | 0x5C => 1,
        0..=0x1F => 5,
        _ => 0,
    }
}
