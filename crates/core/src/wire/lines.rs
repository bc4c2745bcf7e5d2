//! Newline-delimited messages: NDJSON and the older delimiters of JSON streams.
//!
//! A line ends in LF, or in NUL, which vLLM's first streaming API wrote between its documents. A CR
//! before either is dropped, and so is white space at the start of a line; a line of white space is
//! not a message. The last line needs no delimiter.

use super::frame_event::FrameEvent;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// At the start of a line, of which only white space has arrived.
    #[default]
    Start,
    Line,
    /// Inside a line, after a CR that may belong to the line ending.
    Cr,
}

/// Incremental parser of one stream of lines.
#[derive(Debug, Default)]
pub struct LineFramer {
    state: LineState,
}

impl LineFramer {
    /// Parses the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match (self.state, byte) {
                (LineState::Start, b'\n' | b'\r' | b'\0' | b' ' | b'\t') => bytes = rest,
                (LineState::Cr | LineState::Line, b'\n' | b'\0') => {
                    self.state = LineState::Start;
                    sink(FrameEvent::End { name: b"" });
                    bytes = rest;
                }
                (LineState::Line, b'\r') => {
                    self.state = LineState::Cr;
                    bytes = rest;
                }
                (LineState::Cr, _) => {
                    self.state = LineState::Line;
                    sink(FrameEvent::Data(b"\r"));
                }
                (LineState::Start | LineState::Line, _) => {
                    self.state = LineState::Line;
                    let end = memchr::memchr3(b'\n', b'\r', b'\0', bytes).unwrap_or(bytes.len());
                    let (data, rest) = bytes.split_at(end);
                    sink(FrameEvent::Data(data));
                    bytes = rest;
                }
            }
        }
    }

    /// Ends the stream: dispatches a last line that lacks its delimiter.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if self.state != LineState::Start {
            self.state = LineState::Start;
            sink(FrameEvent::End { name: b"" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_messages::*;
    use super::*;
    use proptest::prelude::*;

    fn parse(parts: &[&[u8]]) -> Vec<CollectedEvent> {
        let (mut framer, mut messages) = (LineFramer::default(), FrameCollector::default());
        let mut sink = |event: FrameEvent<'_>| messages.add(event);
        parts.iter().for_each(|part| framer.push(part, &mut sink));
        framer.end(&mut sink);
        messages.finish()
    }

    #[test]
    fn messages_of_sample_streams() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]),
            (b"a\nb", &["a", "b"]),
            (b"a\r\nb\r\n", &["a", "b"]),
            (b"a\r", &["a"]),
            (b"a\r\r\nb\rc\n", &["a\r", "b\rc"]),
            // vllm.entrypoints.api_server before 03f86117: `json.dumps(ret) + "\0"`.
            (
                b"{\"text\": [\"a\"]}\0{\"text\": [\"ab\"]}\0",
                &["{\"text\": [\"a\"]}", "{\"text\": [\"ab\"]}"],
            ),
            (b"\n\r\n \t\n\0a\n\n", &["a"]),
            (b"  a b \n", &["a b "]),
            (b"", &[]),
            (b" \r\n\t", &[]),
        ];
        for (stream, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|data| plain(data)).collect();
            assert_eq!(parse(&[stream]), expected, "{:?}", String::from_utf8_lossy(stream));
        }
    }

    #[test]
    fn recorded_streams_have_the_labelled_number_of_messages() {
        for (id, body, messages) in recorded("ndjson") {
            assert_eq!(parse(&[&body]).len() as u64, messages, "{id}");
        }
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_messages(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{\"a\":1}"), Just("b"), Just("\n"), Just("\r\n"), Just("\r"), Just("\0"),
                    Just(" "), Just("\t"), Just("\u{e9}"),
                ], 0..40),
            cuts in cuts(),
        ) {
            let stream = parts.concat().into_bytes();
            let whole = parse(&[&stream]);
            prop_assert_eq!(&parse(&cut(&stream, &cuts)), &whole);
            prop_assert_eq!(&parse(&stream.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }
}
