//! One JSON array whose elements are the messages, split at any byte.
//!
//! Gemini streams this way where it is not asked for events. What stands between the elements (the
//! brackets, commas, blanks, a byte order mark) is dropped, what an element consists of is handed on as it comes; whether
//! it is proper JSON is for its reader to say. An object in the array's place is one message: that is
//! how a server tells an error.

use super::piece::Piece;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the array or the object: bytes of a byte order mark seen so far.
    Start(u8),
    /// In the array, between two elements.
    Between,
    /// In an element that is an object or an array.
    Nested,
    /// In a string, and whether its quote ends the element.
    Text { whole: bool },
    /// Behind a backslash in a string.
    Escape { whole: bool },
    /// In a number or a literal.
    Scalar,
    /// Behind the array or object; what follows is not looked at.
    Over,
}

const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// An incremental parser of one array.
#[derive(Debug)]
pub struct JsonArrayFramer {
    state: State,
    /// Brackets that are open within the element.
    depth: u64,
    /// The element is the document itself.
    lone: bool,
}

impl Default for JsonArrayFramer {
    fn default() -> Self {
        Self { state: State::Start(0), depth: 0, lone: false }
    }
}

impl JsonArrayFramer {
    /// Parses the next bytes of the document.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Piece<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                State::Over => return,
                State::Start(0 | 3) | State::Between if byte.is_ascii_whitespace() => rest,
                State::Start(seen) => {
                    self.start(seen, byte, sink);
                    if self.lone { bytes } else { rest }
                }
                State::Between => {
                    if self.between(byte, sink) {
                        rest
                    } else {
                        bytes
                    }
                }
                State::Nested | State::Text { .. } | State::Escape { .. } | State::Scalar => {
                    let (data, rest) = bytes.split_at(self.element(bytes));
                    if !data.is_empty() {
                        sink(Piece::Data(data));
                    }
                    if self.state == State::Between {
                        self.end_element(sink);
                    }
                    rest
                }
            };
        }
    }

    /// The stream has ended: an element that is not complete is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        if !matches!(self.state, State::Start(_) | State::Between | State::Over) {
            sink(Piece::Broken);
        }
        self.state = State::Over;
    }

    fn start(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(Piece<'_>)) {
        match (seen, byte) {
            (0 | 3, b'[') => self.state = State::Between,
            (0 | 3, b'{') => {
                self.lone = true;
                self.state = State::Nested;
            }
            _ if MARK.get(usize::from(seen)) == Some(&byte) => self.state = State::Start(seen + 1),
            _ => self.fail(sink),
        }
    }

    /// Looks at a byte between two elements. Whether it is no part of one.
    fn between(&mut self, byte: u8, sink: &mut impl FnMut(Piece<'_>)) -> bool {
        match byte {
            b',' => return true,
            b']' => self.state = State::Over,
            b'}' => self.fail(sink),
            b'{' | b'[' | b'"' => {
                // The element's first byte is taken when its data is.
                self.depth = 0;
                self.state = State::Nested;
                return false;
            }
            _ => {
                self.state = State::Scalar;
                return false;
            }
        }
        true
    }

    /// Goes through the element, to its end or that of `bytes`. How many bytes it has of these.
    fn element(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let found = match self.state {
                State::Nested => {
                    rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))
                }
                State::Text { .. } => memchr::memchr2(b'"', b'\\', rest),
                State::Scalar => rest.iter().position(|byte| {
                    matches!(byte, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
                }),
                State::Escape { .. } => Some(0),
                State::Start(_) | State::Between | State::Over => return at,
            };
            let Some(found) = found else { return bytes.len() };
            let Some(&byte) = rest.get(found) else { return bytes.len() };
            at += found;
            self.state = match (self.state, byte) {
                (State::Scalar, _) => {
                    // What ends a scalar is not of it.
                    self.state = State::Between;
                    return at;
                }
                (State::Nested, b'"') => State::Text { whole: self.depth == 0 },
                (State::Nested, b'{' | b'[') => {
                    self.depth = self.depth.saturating_add(1);
                    State::Nested
                }
                (State::Nested, _) => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 { State::Between } else { State::Nested }
                }
                (State::Text { whole }, b'\\') => State::Escape { whole },
                (State::Text { whole: true }, _) => State::Between,
                (State::Text { whole: false }, _) => State::Nested,
                (State::Escape { whole }, _) => State::Text { whole },
                (state, _) => state,
            };
            at += 1;
        }
        bytes.len()
    }

    fn end_element(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        sink(Piece::End { name: b"" });
        if self.lone {
            self.state = State::Over;
        }
    }

    fn fail(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        self.state = State::Over;
        sink(Piece::Broken);
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::*;
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Message> {
        let (mut framer, mut messages) = (JsonArrayFramer::default(), Messages::default());
        let mut sink = |piece: Piece<'_>| messages.add(piece);
        pieces.iter().for_each(|piece| framer.push(piece, &mut sink));
        framer.end(&mut sink);
        messages.done()
    }

    #[test]
    fn table() {
        // The shape of Gemini's `streamGenerateContent` without `alt=sse`: pretty printed, a comma at
        // the start of a line between two elements.
        let gemini =
            "[{\n  \"candidates\": [\n    {\"a\": \"x\"}\n  ]\n}\n,\r\n{\n  \"b\": {}\n}\n]\n";
        let cases: &[(&str, &[&str])] = &[
            (gemini, &["{\n  \"candidates\": [\n    {\"a\": \"x\"}\n  ]\n}", "{\n  \"b\": {}\n}"]),
            ("\u{feff}[{}]", &["{}"]),
            ("[]", &[]),
            ("", &[]),
            (" [ ] x", &[]),
            ("[{},{}]", &["{}", "{}"]),
            ("[{}, {}", &["{}", "{}"]),
            (r#"[{"a":"]}\"\\"},"b,]",[[1],2]]"#, &[r#"{"a":"]}\"\\"}"#, r#""b,]""#, "[[1],2]"]),
            ("[1, true,null ,-2e3]", &["1", "true", "null", "-2e3"]),
            ("\n{\"error\": {\"code\": 400}}\n", &["{\"error\": {\"code\": 400}}"]),
            ("{} {}", &["{}"]),
            ("[{}][{}]", &["{}"]),
        ];
        for (stream, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|data| plain(data)).collect();
            assert_eq!(parse(&[stream.as_bytes()]), expected, "{stream:?}");
        }
    }

    #[test]
    fn what_is_no_array_and_what_broke_off() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("hello [1]", &[], ""),
            ("<html>", &[], ""),
            ("\u{feff}\u{feff}[1]", &[], ""),
            ("\"[1]\"", &[], ""),
            ("[{},}{}]", &["{}"], ""),
            ("[{},{\"a\":", &["{}"], "{\"a\":"),
            ("{\"a\":1", &[], "{\"a\":1"),
            ("[\"a", &[], "\"a"),
            ("[\"\\", &[], "\"\\"),
            ("[12", &[], "12"),
        ];
        for (stream, whole, broken) in cases {
            let mut expected: Vec<_> = whole.iter().map(|data| plain(data)).collect();
            expected.push(Message::Broken((*broken).into()));
            assert_eq!(parse(&[stream.as_bytes()]), expected, "{stream:?}");
        }
    }

    #[test]
    fn recorded_streams_have_as_many_messages_as_their_label_says() {
        for (id, body, messages) in recorded("json-array") {
            for size in [1, 7, body.len()] {
                let found = parse(&body.chunks(size).collect::<Vec<_>>());
                assert_eq!(found.len() as u64, messages, "{id} in pieces of {size}");
                let broken = found.iter().find(|one| !matches!(one, Message::Whole(..)));
                assert_eq!(broken, None, "{id}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("["), Just("]"), Just("{"), Just("}"), Just("\""), Just("\\"), Just(","),
                    Just(" "), Just("\n"), Just("a"), Just("12"), Just(":"), Just("{\"a\":\"]\"}"), Just("\u{feff}"),
                ], 0..40),
            array in any::<bool>(),
            cuts in cuts(),
        ) {
            let stream = (if array { "[" } else { "" }.to_owned() + &parts.concat()).into_bytes();
            let whole = parse(&[&stream]);
            prop_assert_eq!(&parse(&cut(&stream, &cuts)), &whole);
            prop_assert_eq!(&parse(&stream.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }
}
