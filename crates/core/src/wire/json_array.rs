//! One JSON array whose elements are the messages.
//!
//! Gemini streams this way unless the client requests SSE. Everything between elements (brackets,
//! commas, white space, a byte order mark) is dropped; an element is reported as it arrives and is
//! not checked to be valid JSON. An object in place of the array is one message: servers report
//! errors this way.

use super::frame_event::FrameEvent;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArrayState {
    /// Before the array or object: number of bytes of a byte order mark seen so far.
    Start(u8),
    /// In the array, between two elements.
    Between,
    /// In an element that is an object or an array.
    Nested,
    /// In a string; `whole`: its closing quote ends the element.
    Text { whole: bool },
    /// After a backslash in a string.
    Escape { whole: bool },
    /// In a number or a literal.
    Scalar,
    /// After the array or object; all that follows is ignored.
    Finished,
}

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Incremental parser of one array.
#[derive(Debug)]
pub struct JsonArrayFramer {
    state: ArrayState,
    /// Number of brackets that are open within the element.
    depth: u64,
    /// The document is an object instead of an array.
    is_single_object: bool,
}

impl Default for JsonArrayFramer {
    fn default() -> Self {
        Self { state: ArrayState::Start(0), depth: 0, is_single_object: false }
    }
}

impl JsonArrayFramer {
    /// Parses the next bytes of the document.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                ArrayState::Finished => return,
                ArrayState::Start(0 | 3) | ArrayState::Between if byte.is_ascii_whitespace() => {
                    rest
                }
                ArrayState::Start(seen) => {
                    self.push_start(seen, byte, sink);
                    if self.is_single_object { bytes } else { rest }
                }
                ArrayState::Between => {
                    if self.push_between(byte, sink) {
                        rest
                    } else {
                        bytes
                    }
                }
                ArrayState::Nested
                | ArrayState::Text { .. }
                | ArrayState::Escape { .. }
                | ArrayState::Scalar => {
                    let (data, rest) = bytes.split_at(self.scan_element(bytes));
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

    /// Ends the stream: an incomplete element is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if !matches!(self.state, ArrayState::Start(_) | ArrayState::Between | ArrayState::Finished)
        {
            sink(FrameEvent::Broken);
        }
        self.state = ArrayState::Finished;
    }

    fn push_start(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match (seen, byte) {
            (0 | 3, b'[') => self.state = ArrayState::Between,
            (0 | 3, b'{') => {
                self.is_single_object = true;
                self.state = ArrayState::Nested;
            }
            _ if BYTE_ORDER_MARK.get(usize::from(seen)) == Some(&byte) => {
                self.state = ArrayState::Start(seen + 1)
            }
            _ => self.fail(sink),
        }
    }

    /// Handles a byte between two elements. Returns whether it was consumed; if not, it begins an
    /// element.
    fn push_between(&mut self, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) -> bool {
        match byte {
            b',' => return true,
            b']' => self.state = ArrayState::Finished,
            b'}' => self.fail(sink),
            b'{' | b'[' | b'"' => {
                // The element's first byte is consumed with its data.
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

    /// Scans to the end of the element or of `bytes`. Returns the number of bytes that belong to
    /// the element.
    fn scan_element(&mut self, bytes: &[u8]) -> usize {
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
                ArrayState::Start(_) | ArrayState::Between | ArrayState::Finished => return at,
            };
            let Some(found) = found else { return bytes.len() };
            let Some(&byte) = rest.get(found) else { return bytes.len() };
            at += found;
            self.state = match (self.state, byte) {
                (ArrayState::Scalar, _) => {
                    // The byte that ends a scalar is not part of it.
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
        if self.is_single_object {
            self.state = ArrayState::Finished;
        }
    }

    fn fail(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        self.state = ArrayState::Finished;
        sink(FrameEvent::Broken);
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_messages::*;
    use super::*;
    use proptest::prelude::*;

    fn parse(parts: &[&[u8]]) -> Vec<CollectedEvent> {
        let (mut framer, mut messages) = (JsonArrayFramer::default(), FrameCollector::default());
        let mut sink = |event: FrameEvent<'_>| messages.add(event);
        parts.iter().for_each(|part| framer.push(part, &mut sink));
        framer.end(&mut sink);
        messages.finish()
    }

    #[test]
    fn elements_of_sample_documents() {
        // A `streamGenerateContent` response of Gemini without `alt=sse`: pretty-printed, with a
        // comma at the start of a line between two elements.
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
    fn invalid_and_truncated_documents_are_broken() {
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
    fn recorded_streams_have_the_labelled_number_of_messages() {
        for (id, body, messages) in recorded("json-array") {
            for size in [1, 7, body.len()] {
                let found = parse(&body.chunks(size).collect::<Vec<_>>());
                assert_eq!(found.len() as u64, messages, "{id} in parts of {size}");
                let broken = found.iter().find(|one| !matches!(one, CollectedEvent::Whole(..)));
                assert_eq!(broken, None, "{id}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_messages(
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
