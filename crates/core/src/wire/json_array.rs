//! One JSON array whose elements are the messages, split at any byte.
//!
//! Gemini streams this way where it is not asked for events. What stands between the elements (the
//! brackets, commas, blanks, a byte order mark) is dropped, what an element consists of is handed on as it comes; whether
//! it is proper JSON is for its reader to say. An object in the array's place is one message: that is
//! how a server tells an error.

use super::frame_event::FrameEvent;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArrayState {
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
    state: ArrayState,
    /// Brackets that are open within the element.
    depth: u64,
    /// The element is the document itself.
    lone: bool,
}

impl Default for JsonArrayFramer {
    fn default() -> Self {
        Self { state: ArrayState::Start(0), depth: 0, lone: false }
    }
}

impl JsonArrayFramer {
    /// Parses the next bytes of the document.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                ArrayState::Over => return,
                ArrayState::Start(0 | 3) | ArrayState::Between if byte.is_ascii_whitespace() => {
                    rest
                }
                ArrayState::Start(seen) => {
                    self.start(seen, byte, sink);
                    if self.lone { bytes } else { rest }
                }
                ArrayState::Between => {
                    if self.between(byte, sink) {
                        rest
                    } else {
                        bytes
                    }
                }
                ArrayState::Nested
                | ArrayState::Text { .. }
                | ArrayState::Escape { .. }
                | ArrayState::Scalar => {
                    let (data, rest) = bytes.split_at(self.element(bytes));
                    if !data.is_empty() {
                        sink(FrameEvent::Data(data));
                    }
                    if self.state == ArrayState::Between {
                        self.end_element(sink);
                    }
                    rest
                }
            };
        }
    }

    /// The stream has ended: an element that is not complete is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if !matches!(self.state, ArrayState::Start(_) | ArrayState::Between | ArrayState::Over) {
            sink(FrameEvent::Broken);
        }
        self.state = ArrayState::Over;
    }

    fn start(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match (seen, byte) {
            (0 | 3, b'[') => self.state = ArrayState::Between,
            (0 | 3, b'{') => {
                self.lone = true;
                self.state = ArrayState::Nested;
            }
            _ if MARK.get(usize::from(seen)) == Some(&byte) => {
                self.state = ArrayState::Start(seen + 1)
            }
            _ => self.fail(sink),
        }
    }

    /// Looks at a byte between two elements. Whether it is no part of one.
    fn between(&mut self, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) -> bool {
        match byte {
            b',' => return true,
            b']' => self.state = ArrayState::Over,
            b'}' => self.fail(sink),
            b'{' | b'[' | b'"' => {
                // The element's first byte is taken when its data is.
                self.depth = 0;
                self.state = ArrayState::Nested;
                return false;
            }
            _ => {
                self.state = ArrayState::Scalar;
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
                ArrayState::Nested => {
                    rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))
                }
                ArrayState::Text { .. } => memchr::memchr2(b'"', b'\\', rest),
                ArrayState::Scalar => rest.iter().position(|byte| {
                    matches!(byte, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
                }),
                ArrayState::Escape { .. } => Some(0),
                ArrayState::Start(_) | ArrayState::Between | ArrayState::Over => return at,
            };
            let Some(found) = found else { return bytes.len() };
            let Some(&byte) = rest.get(found) else { return bytes.len() };
            at += found;
            self.state = match (self.state, byte) {
                (ArrayState::Scalar, _) => {
                    // What ends a scalar is not of it.
                    self.state = ArrayState::Between;
                    return at;
                }
                (ArrayState::Nested, b'"') => ArrayState::Text { whole: self.depth == 0 },
                (ArrayState::Nested, b'{' | b'[') => {
                    self.depth = self.depth.saturating_add(1);
                    ArrayState::Nested
                }
                (ArrayState::Nested, _) => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 { ArrayState::Between } else { ArrayState::Nested }
                }
                (ArrayState::Text { whole }, b'\\') => ArrayState::Escape { whole },
                (ArrayState::Text { whole: true }, _) => ArrayState::Between,
                (ArrayState::Text { whole: false }, _) => ArrayState::Nested,
                (ArrayState::Escape { whole }, _) => ArrayState::Text { whole },
                (state, _) => state,
            };
            at += 1;
        }
        bytes.len()
    }

    fn end_element(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        sink(FrameEvent::End { name: b"" });
        if self.lone {
            self.state = ArrayState::Over;
        }
    }

    fn fail(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        self.state = ArrayState::Over;
        sink(FrameEvent::Broken);
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_messages::*;
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> Vec<CollectedEvent> {
        let (mut framer, mut messages) = (JsonArrayFramer::default(), FrameCollector::default());
        let mut sink = |piece: FrameEvent<'_>| messages.add(piece);
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
            expected.push(CollectedEvent::Broken((*broken).into()));
            assert_eq!(parse(&[stream.as_bytes()]), expected, "{stream:?}");
        }
    }

    #[test]
    fn recorded_streams_have_as_many_messages_as_their_label_says() {
        for (id, body, messages) in recorded("json-array") {
            for size in [1, 7, body.len()] {
                let found = parse(&body.chunks(size).collect::<Vec<_>>());
                assert_eq!(found.len() as u64, messages, "{id} in pieces of {size}");
                let broken = found.iter().find(|one| !matches!(one, CollectedEvent::Whole(..)));
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
