//! Incremental decoder of the base64 in one member of a JSON object.
//!
//! Bedrock wraps each chunk of a model's own stream this way: `{"bytes":"<base64>","p":"abc"}`,
//! where `p` is padding. The first top-level member `bytes` that is a string is decoded and
//! reported as it arrives; all else is skipped.
//!
//! The `base64` crate needs its input in one slice, without JSON escapes, or a reader to pull from.
//! Here the input is pushed, can be split at any byte, and can contain escapes.

/// Name of the member that is decoded.
const MEMBER: &[u8] = b"bytes";
/// Largest part of decoded data that is reported at once, in bytes.
const MAX_OUTPUT: usize = 768;

/// Result of decoding the member of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base64Outcome {
    /// The object has no such member, or it is not a string.
    Absent,
    /// All of it was decoded and reported.
    Complete,
    /// It is truncated or is not valid base64; only a part was reported.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base64State {
    /// Outside of strings.
    Outside,
    /// In a string that is not the member's value.
    Text,
    Escape,
    /// In the member's value.
    Value,
    ValueEscape,
    /// In a `\u` escape of the value: number of digits so far, and their value.
    Unicode(u8, u32),
    /// The result is final; further bytes are ignored.
    Finished(Base64Outcome),
}

/// Position within the top-level object, after its last token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemberPosition {
    /// Before a key.
    Key,
    /// After the key `bytes`: a colon must follow.
    Colon,
    /// Before the value of `bytes`.
    Value,
    /// In another member.
    Other,
}

/// Incremental decoder of one such object after another.
#[derive(Debug)]
pub struct Base64Member {
    state: Base64State,
    depth: u64,
    member: MemberPosition,
    /// Number of bytes of the current string that match [`MEMBER`]; more than its length after a
    /// mismatch.
    matched: usize,
    /// Bits that do not make up a byte yet, and their number.
    bits: u32,
    bit_count: u8,
    /// An equals sign was seen: only more of them may follow.
    padded: bool,
}

impl Default for Base64Member {
    fn default() -> Self {
        Self {
            state: Base64State::Outside,
            depth: 0,
            member: MemberPosition::Key,
            matched: 0,
            bits: 0,
            bit_count: 0,
            padded: false,
        }
    }
}

impl Base64Member {
    /// Decodes the next bytes of the object.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                Base64State::Finished(_) => return,
                Base64State::Outside => {
                    self.push_outside(byte);
                    rest
                }
                Base64State::Text => self.skip_string(bytes),
                Base64State::Escape => {
                    self.state = Base64State::Text;
                    rest
                }
                Base64State::Value | Base64State::ValueEscape | Base64State::Unicode(..) => {
                    self.decode_value(bytes, sink)
                }
            };
        }
    }

    /// Ends the object and returns the result. The decoder is then ready for the next object.
    pub fn end(&mut self) -> Base64Outcome {
        let found = match self.state {
            Base64State::Finished(found) => found,
            Base64State::Outside | Base64State::Text | Base64State::Escape => Base64Outcome::Absent,
            Base64State::Value | Base64State::ValueEscape | Base64State::Unicode(..) => {
                Base64Outcome::Broken
            }
        };
        *self = Self::default();
        found
    }

    fn push_outside(&mut self, byte: u8) {
        match (byte, self.depth) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b'"', 1) if self.member == MemberPosition::Value => self.state = Base64State::Value,
            (b'"', _) => {
                self.matched = 0;
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
            (b'}' | b']', 0 | 1) => self.state = Base64State::Finished(Base64Outcome::Absent),
            (b'}' | b']', _) => self.depth -= 1,
            (_, 1) => self.member = MemberPosition::Other,
            _ => {}
        }
    }

    /// Skips a string that is not the member's value, comparing it with [`MEMBER`].
    fn skip_string<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        if MEMBER.get(self.matched..).is_some_and(|left| left.starts_with(text)) {
            self.matched += text.len();
        } else {
            self.matched = MEMBER.len() + 1;
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                self.state = Base64State::Outside;
                if self.depth == 1 {
                    let is_wanted =
                        self.member == MemberPosition::Key && self.matched == MEMBER.len();
                    self.member =
                        if is_wanted { MemberPosition::Colon } else { MemberPosition::Other };
                }
                rest
            }
            Some((_, rest)) => {
                // A key with an escape is not recognised as `bytes`.
                self.matched = MEMBER.len() + 1;
                self.state = Base64State::Escape;
                rest
            }
            None => rest,
        }
    }

    /// Decodes the value until it ends, `bytes` end, or the output buffer is full. Returns the rest
    /// of `bytes`.
    fn decode_value<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let mut decoded = [0; MAX_OUTPUT];
        let mut length = 0;
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let Some(slot) = decoded.get_mut(length) else { break };
            rest = after;
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
            if let Some(byte) = self.decode_letter(letter) {
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

    /// Decodes one base64 letter. Returns a byte if that completes one.
    fn decode_letter(&mut self, letter: u8) -> Option<u8> {
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
                self.state = Base64State::Finished(Base64Outcome::Broken);
                return None;
            }
        };
        if self.padded {
            self.state = Base64State::Finished(Base64Outcome::Broken);
            return None;
        }
        self.bits = self.bits << 6 | u32::from(bits);
        self.bit_count += 6;
        if self.bit_count < 8 {
            return None;
        }
        self.bit_count -= 8;
        let byte = self.bits >> self.bit_count;
        self.bits &= (1 << self.bit_count) - 1;
        u8::try_from(byte).ok()
    }

    fn end_value(&mut self) {
        // Six bits left over are a letter too many. Fewer are padding, which must be zero.
        let whole = self.bit_count < 6 && self.bits == 0;
        self.state = Base64State::Finished(if whole {
            Base64Outcome::Complete
        } else {
            Base64Outcome::Broken
        });
    }
}

#[cfg(test)]
#[path = "base64_member_tests.rs"]
mod tests;
