//! The base64 in one member of a JSON object, split at any byte.
//!
//! Bedrock wraps each chunk of a model's own stream this way: `{"bytes":"<base64>","p":"abc"}`, where
//! `p` is padding. The first top-level member `bytes` that is a string is decoded and handed on as it
//! comes; all else is stepped over.

/// The member that is decoded.
const MEMBER: &[u8] = b"bytes";
/// Most decoded bytes that are handed on at once.
const PIECE: usize = 768;

/// What became of the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base64Outcome {
    /// There is none, or it is no string.
    Absent,
    /// It was handed on, to its end.
    Complete,
    /// It broke off, or is no base64: what was handed on is not all of it.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base64State {
    /// Outside of strings.
    Outside,
    /// In a string that matters only if it becomes the member's key.
    Text,
    Escape,
    /// In the member's value.
    Value,
    ValueEscape,
    /// In the value's `\u`: its digits so far, and what they make.
    Unicode(u8, u32),
    /// Nothing more is wanted.
    Over(Base64Outcome),
}

/// What the last top-level token leads up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemberPosition {
    /// A key, or nothing of interest.
    Key,
    /// Right behind the wanted key: a colon must follow.
    Colon,
    /// Its value follows.
    Value,
    /// In the value of another member.
    Other,
}

/// An incremental decoder of one such object after another.
#[derive(Debug)]
pub struct Base64Member {
    state: Base64State,
    depth: u64,
    member: MemberPosition,
    /// Bytes of the current string that agree with [`MEMBER`], or more than it has if one does not.
    agree: usize,
    /// Bits that make no byte yet, and how many they are.
    bits: u32,
    held: u8,
    /// An equals sign has come: nothing but these may follow.
    padded: bool,
}

impl Default for Base64Member {
    fn default() -> Self {
        Self {
            state: Base64State::Outside,
            depth: 0,
            member: MemberPosition::Key,
            agree: 0,
            bits: 0,
            held: 0,
            padded: false,
        }
    }
}

impl Base64Member {
    /// Reads the next bytes of the object.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                Base64State::Over(_) => return,
                Base64State::Outside => {
                    self.outside(byte);
                    rest
                }
                Base64State::Text => self.text(bytes),
                Base64State::Escape => {
                    self.state = Base64State::Text;
                    rest
                }
                Base64State::Value | Base64State::ValueEscape | Base64State::Unicode(..) => {
                    self.value(bytes, sink)
                }
            };
        }
    }

    /// The object is over: tells what became of the member, and begins anew.
    pub fn end(&mut self) -> Base64Outcome {
        let found = match self.state {
            Base64State::Over(found) => found,
            Base64State::Outside | Base64State::Text | Base64State::Escape => Base64Outcome::Absent,
            Base64State::Value | Base64State::ValueEscape | Base64State::Unicode(..) => {
                Base64Outcome::Broken
            }
        };
        *self = Self::default();
        found
    }

    fn outside(&mut self, byte: u8) {
        match (byte, self.depth) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b'"', 1) if self.member == MemberPosition::Value => self.state = Base64State::Value,
            (b'"', _) => {
                self.agree = 0;
                self.state = Base64State::Text;
            }
            (b':', 1) if self.member == MemberPosition::Colon => {
                self.member = MemberPosition::Value
            }
            (b',', 1) => self.member = MemberPosition::Key,
            (b'{' | b'[', _) => {
                // Only an object has members.
                self.member = if self.depth == 0 && byte == b'{' {
                    MemberPosition::Key
                } else {
                    MemberPosition::Other
                };
                self.depth = self.depth.saturating_add(1);
            }
            (b'}' | b']', 0 | 1) => self.state = Base64State::Over(Base64Outcome::Absent),
            (b'}' | b']', _) => self.depth -= 1,
            (_, 1) => self.member = MemberPosition::Other,
            _ => {}
        }
    }

    /// Goes through a string that is not the wanted value.
    fn text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        if MEMBER.get(self.agree..).is_some_and(|left| left.starts_with(text)) {
            self.agree += text.len();
        } else {
            self.agree = MEMBER.len() + 1;
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                self.state = Base64State::Outside;
                if self.depth == 1 {
                    let wanted = self.member == MemberPosition::Key && self.agree == MEMBER.len();
                    self.member =
                        if wanted { MemberPosition::Colon } else { MemberPosition::Other };
                }
                rest
            }
            Some((_, rest)) => {
                // The wanted key needs no escape.
                self.agree = MEMBER.len() + 1;
                self.state = Base64State::Escape;
                rest
            }
            None => rest,
        }
    }

    /// Decodes the value, to its end, that of `bytes`, or as much as one piece holds.
    fn value<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let mut decoded = [0; PIECE];
        let mut length = 0;
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            let Some(slot) = decoded.get_mut(length) else { break };
            rest = behind;
            let letter = match (self.state, byte) {
                (Base64State::Value, b'"') => {
                    self.end_value();
                    break;
                }
                (Base64State::Value, b'\\') => {
                    self.state = Base64State::ValueEscape;
                    continue;
                }
                (Base64State::ValueEscape, b'u') => {
                    self.state = Base64State::Unicode(0, 0);
                    continue;
                }
                (Base64State::ValueEscape, b'n' | b'r') => b'\n',
                (Base64State::ValueEscape, b'/') => b'/',
                (Base64State::ValueEscape, _) => 0,
                (Base64State::Unicode(seen, code), _) => {
                    let digit = char::from(byte).to_digit(16).unwrap_or(u32::from(u16::MAX));
                    let code = code.saturating_mul(16).saturating_add(digit);
                    if seen < 3 {
                        self.state = Base64State::Unicode(seen + 1, code);
                        continue;
                    }
                    u8::try_from(code).unwrap_or_default()
                }
                _ => byte,
            };
            self.state = Base64State::Value;
            if let Some(byte) = self.letter(letter) {
                *slot = byte;
                length += 1;
            }
            if self.state != Base64State::Value {
                break;
            }
        }
        if let Some(decoded) = decoded.get(..length).filter(|decoded| !decoded.is_empty()) {
            sink(decoded);
        }
        rest
    }

    /// Takes one letter of the base64, which may complete a byte.
    fn letter(&mut self, letter: u8) -> Option<u8> {
        let bits = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                self.padded = true;
                return None;
            }
            // Some encoders break lines.
            b'\n' => return None,
            _ => {
                self.state = Base64State::Over(Base64Outcome::Broken);
                return None;
            }
        };
        if self.padded {
            self.state = Base64State::Over(Base64Outcome::Broken);
            return None;
        }
        self.bits = self.bits << 6 | u32::from(bits);
        self.held += 6;
        if self.held < 8 {
            return None;
        }
        self.held -= 8;
        let byte = self.bits >> self.held;
        self.bits &= (1 << self.held) - 1;
        u8::try_from(byte).ok()
    }

    fn end_value(&mut self) {
        // Six bits over are a letter of which nothing can be made, and others are padding only if zero.
        let whole = self.held < 6 && self.bits == 0;
        self.state =
            Base64State::Over(if whole { Base64Outcome::Complete } else { Base64Outcome::Broken });
    }
}

#[cfg(test)]
#[path = "base64_tests.rs"]
mod tests;
