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
pub enum Found {
    /// There is none, or it is no string.
    Absent,
    /// It was handed on, to its end.
    Whole,
    /// It broke off, or is no base64: what was handed on is not all of it.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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
    Over(Found),
}

/// What the last top-level token leads up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
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
    state: State,
    depth: u64,
    member: Member,
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
            state: State::Outside,
            depth: 0,
            member: Member::Key,
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
                State::Over(_) => return,
                State::Outside => {
                    self.outside(byte);
                    rest
                }
                State::Text => self.text(bytes),
                State::Escape => {
                    self.state = State::Text;
                    rest
                }
                State::Value | State::ValueEscape | State::Unicode(..) => self.value(bytes, sink),
            };
        }
    }

    /// The object is over: tells what became of the member, and begins anew.
    pub fn end(&mut self) -> Found {
        let found = match self.state {
            State::Over(found) => found,
            State::Outside | State::Text | State::Escape => Found::Absent,
            State::Value | State::ValueEscape | State::Unicode(..) => Found::Broken,
        };
        *self = Self::default();
        found
    }

    fn outside(&mut self, byte: u8) {
        match (byte, self.depth) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b'"', 1) if self.member == Member::Value => self.state = State::Value,
            (b'"', _) => {
                self.agree = 0;
                self.state = State::Text;
            }
            (b':', 1) if self.member == Member::Colon => self.member = Member::Value,
            (b',', 1) => self.member = Member::Key,
            (b'{' | b'[', _) => {
                // Only an object has members.
                self.member =
                    if self.depth == 0 && byte == b'{' { Member::Key } else { Member::Other };
                self.depth = self.depth.saturating_add(1);
            }
            (b'}' | b']', 0 | 1) => self.state = State::Over(Found::Absent),
            (b'}' | b']', _) => self.depth -= 1,
            (_, 1) => self.member = Member::Other,
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
                self.state = State::Outside;
                if self.depth == 1 {
                    let wanted = self.member == Member::Key && self.agree == MEMBER.len();
                    self.member = if wanted { Member::Colon } else { Member::Other };
                }
                rest
            }
            Some((_, rest)) => {
                // The wanted key needs no escape.
                self.agree = MEMBER.len() + 1;
                self.state = State::Escape;
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
                (State::Value, b'"') => {
                    self.end_value();
                    break;
                }
                (State::Value, b'\\') => {
                    self.state = State::ValueEscape;
                    continue;
                }
                (State::ValueEscape, b'u') => {
                    self.state = State::Unicode(0, 0);
                    continue;
                }
                (State::ValueEscape, b'n' | b'r') => b'\n',
                (State::ValueEscape, b'/') => b'/',
                (State::ValueEscape, _) => 0,
                (State::Unicode(seen, code), _) => {
                    let digit = char::from(byte).to_digit(16).unwrap_or(u32::from(u16::MAX));
                    let code = code.saturating_mul(16).saturating_add(digit);
                    if seen < 3 {
                        self.state = State::Unicode(seen + 1, code);
                        continue;
                    }
                    u8::try_from(code).unwrap_or_default()
                }
                _ => byte,
            };
            self.state = State::Value;
            if let Some(byte) = self.letter(letter) {
                *slot = byte;
                length += 1;
            }
            if self.state != State::Value {
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
                self.state = State::Over(Found::Broken);
                return None;
            }
        };
        if self.padded {
            self.state = State::Over(Found::Broken);
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
        self.state = State::Over(if whole { Found::Whole } else { Found::Broken });
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::*;
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> (Found, Vec<u8>) {
        let (mut member, mut decoded) = (Base64Member::default(), Vec::new());
        // What came before must not matter.
        member.push(b"{\"bytes\":\"QQ", &mut |_| {});
        assert_eq!(member.end(), Found::Broken);
        for piece in pieces {
            member.push(piece, &mut |part| decoded.extend_from_slice(part));
        }
        (member.end(), decoded)
    }

    #[test]
    fn table() {
        let whole: &[(&str, &str)] = &[
            // The test vectors of RFC 4648, section 10.
            (r#"{"bytes":"","p":"abc"}"#, ""),
            (r#"{"bytes":"Zg==","p":"abc"}"#, "f"),
            (r#"{"bytes":"Zm8=","p":"abc"}"#, "fo"),
            (r#"{"p":"abc","bytes":"Zm9v"}"#, "foo"),
            (r#" { "bytes" : "Zm9vYg==" } "#, "foob"),
            (r#"{"p":{"bytes":"QQ=="},"bytes":"Zm9vYmE="}"#, "fooba"),
            (r#"{"p":["bytes","bytes"],"bytes":"Zm9vYmFy"}"#, "foobar"),
            (r#"{"p":"bytes","bytes":"Zm9v","bytes":"QQ=="}"#, "foo"),
            (r#"{"x\"bytes":1,"p":"\\","bytes":"Zm9v"}"#, "foo"),
            (r#"{"byte":1,"bytess":2,"bytes":"Zm9v"}"#, "foo"),
            (r#"{"bytes":null,"bytes":"Zm9v"}"#, "foo"),
            (r#"{"bytes":"Zg\u003d\u003D"}"#, "f"),
            (r#"{"bytes":"Pz8\/"}"#, "???"),
            (r#"{"bytes":"Pz8_"}"#, "???"),
            (r#"{"bytes":"Zg"}"#, "f"),
            (r#"{"bytes":"Zm9v\nYmFy\r\n"}"#, "foobar"),
        ];
        for (object, expected) in whole {
            let expected = (Found::Whole, expected.as_bytes().to_vec());
            assert_eq!(decode(&[object.as_bytes()]), expected, "{object}");
        }
        let absent = [
            "",
            "{}",
            "[]",
            "{\"p\":\"abc\"}",
            "{\"bytes\":1}",
            "{\"bytes\":[\"QQ==\"]}",
            "[\"bytes\",\"QQ==\"]",
            "[{\"bytes\":\"QQ==\"}]",
            "{\"bytes\",\"QQ==\"}",
            "{\"a\":\"bytes\":\"QQ==\"}",
            "}{\"bytes\":\"QQ==\"}",
            "{} {\"bytes\":\"QQ==\"}",
            "\"bytes\":\"QQ==\"",
        ];
        for object in absent {
            assert_eq!(decode(&[object.as_bytes()]), (Found::Absent, vec![]), "{object}");
        }
        let broken = [
            (r#"{"bytes":"Zm9v"#, "foo"),
            (r#"{"bytes":"Zm9vY"}"#, "foo"),
            (r#"{"bytes":"Zm9vYh"}"#, "foob"),
            (r#"{"bytes":"Zm9v.Zm9v"}"#, "foo"),
            (r#"{"bytes":"Zg==Zg=="}"#, "f"),
            (r#"{"bytes":"Zm9v\u0"#, "foo"),
            (r#"{"bytes":"Zm9v\u00xx"}"#, "foo"),
            (r#"{"bytes":"Zm9v\u0141"}"#, "foo"),
            (r#"{"bytes":"Zm9v\"}"#, "foo"),
            (r#"{"bytes":"Zm9v\tbtA"}"#, "foo"),
        ];
        for (object, expected) in broken {
            let expected = (Found::Broken, expected.as_bytes().to_vec());
            assert_eq!(decode(&[object.as_bytes()]), expected, "{object}");
        }
    }

    #[test]
    fn the_recorded_chunks_hold_whole_documents() {
        use crate::wire::Piece;
        use crate::wire::aws_event_stream::AwsEventStreamFramer;
        let mut chunks = 0;
        for (id, body, _) in recorded("aws-eventstream") {
            let mut framer = AwsEventStreamFramer::default();
            let (mut member, mut document) = (Base64Member::default(), Vec::new());
            framer.push(&body, &mut |piece| match piece {
                Piece::Data(data) => {
                    member.push(data, &mut |part| document.extend_from_slice(part))
                }
                Piece::End { name: b"chunk" } if id.starts_with("bedrock-invoke") => {
                    assert_eq!(member.end(), Found::Whole, "{id}");
                    serde_json::from_slice::<serde_json::Value>(&std::mem::take(&mut document))
                        .unwrap_or_else(|error| panic!("{id}: {error}"));
                    chunks += 1;
                }
                _ => drop(member.end()),
            });
        }
        assert!(chunks > 100 || std::env::var_os("STREAMGAUGE_CORPUS").is_none(), "{chunks}");
    }

    /// The base64 of `bytes`, without padding.
    fn encode(bytes: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let letters = bytes.chunks(3).flat_map(|three| {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - three.len()));
            (0..=three.len()).map(move |at| alphabet[(bits >> (18 - 6 * at)) as usize & 63])
        });
        letters.map(char::from).collect()
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_out_in_any_split(
            before in r#"("[a-z]{0,8}":("[a-z]{0,8}"|[0-9]|\{\}|\["bytes"\]),){0,3}"#,
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            cuts in cuts(),
        ) {
            prop_assume!(!before.contains("\"bytes\":"));
            let object = format!("{{{before}\"bytes\":\"{}\"}}", encode(&bytes)).into_bytes();
            let expected = (Found::Whole, bytes);
            prop_assert_eq!(&decode(&cut(&object, &cuts)), &expected);
            prop_assert_eq!(&decode(&object.chunks(1).collect::<Vec<_>>()), &expected);
        }

        #[test]
        fn any_split_gives_the_same(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just("\""), Just("\\"), Just(","),
                    Just(":"), Just("bytes"), Just("\"bytes\":\""), Just("Zm9v"), Just("="),
                    Just("\\u003d"), Just("\\/"), Just(" "), Just("x"),
                ], 0..40),
            cuts in cuts(),
        ) {
            let object = ("{".to_owned() + &parts.concat()).into_bytes();
            let whole = decode(&[&object]);
            prop_assert_eq!(&decode(&cut(&object, &cuts)), &whole);
            prop_assert_eq!(&decode(&object.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }
}
