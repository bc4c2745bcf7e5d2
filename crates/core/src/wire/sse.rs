//! Server-sent events.
//!
//! Follows the event-stream parser of the HTML standard (section 9.2.6):
//!
//! - A line ends in LF, CRLF or CR.
//! - A byte order mark at the start and one space after a field's colon are dropped.
//! - A line that begins with a colon is a comment.
//! - Several `data` lines of a message are joined with LF.
//! - A blank line dispatches the message if it has data.
//!
//! Four differences keep data that was sent but that the standard drops:
//!
//! - A last message without its blank line is dispatched at the end of the stream.
//! - An `error` field, which some servers write instead of `data`, is reported.
//! - A message named `error` is dispatched even if it has no data.
//! - A line that begins with `{` starts a message of its own, which ends with the JSON document.
//!   Servers that fail within a stream write such an error document without a field.
//!
//! Nothing is buffered: data is reported in the parts in which it arrives.

use super::frame_event::{EventName, FrameEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SseField {
    Data,
    Event,
    Error,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SseState {
    /// Number of bytes of the byte order mark seen; it can only stand at the start of the stream.
    ByteOrderMark(u8),
    /// At the first byte of a line.
    LineStart,
    /// Inside the name of a field.
    Name,
    /// After the colon of a field, where one space is dropped.
    ValueStart(SseField),
    Value(SseField),
    /// Inside a JSON document without a field.
    BareJson(JsonNesting),
}

/// Nesting at one place of a JSON document: enough to find its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct JsonNesting {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
}

impl JsonNesting {
    /// Reads bytes of a document. Returns the number of bytes up to its end, if it ends in them.
    fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        for (length, byte) in (1..).zip(bytes) {
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' => self.after_backslash = self.in_string,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth = self.depth.saturating_add(1),
                b'}' | b']' if !self.in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(length);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Incremental parser of one SSE stream. `name` comes last: it is long and rarely used.
#[derive(Debug)]
#[repr(C)]
pub struct SseFramer {
    state: SseState,
    /// The last byte was a CR; an LF that follows belongs to the same line ending.
    after_cr: bool,
    has_data: bool,
    has_error: bool,
    /// Start of the current field's name. Longer names are unknown fields.
    field: [u8; 8],
    field_len: u8,
    name: EventName,
}

impl Default for SseFramer {
    fn default() -> Self {
        Self {
            state: SseState::ByteOrderMark(0),
            after_cr: false,
            has_data: false,
            has_error: false,
            field: [0; 8],
            field_len: 0,
            name: EventName::default(),
        }
    }
}

impl SseFramer {
    /// Parses the next bytes of the stream.
    #[inline(always)]
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.after_cr {
                self.after_cr = false;
                if byte == b'\n' {
                    bytes = rest;
                    continue;
                }
            }
            match self.state {
                SseState::ByteOrderMark(seen) => {
                    if BYTE_ORDER_MARK.get(usize::from(seen)) == Some(&byte) {
                        self.state = if seen == 2 {
                            SseState::LineStart
                        } else {
                            SseState::ByteOrderMark(seen + 1)
                        };
                        bytes = rest;
                    } else if seen == 0 {
                        self.state = SseState::LineStart;
                    } else {
                        // An incomplete byte order mark is the start of an unknown field's name.
                        self.begin_name();
                        self.field_len = u8::MAX;
                    }
                }
                SseState::LineStart => {
                    if byte == b'\n' || byte == b'\r' {
                        self.dispatch(sink);
                        self.after_cr = byte == b'\r';
                        bytes = rest;
                    } else if let Some(value) = bytes.strip_prefix(b"data: ") {
                        // Fast path for nearly all lines.
                        self.begin_value(SseField::Data, sink);
                        self.state = SseState::Value(SseField::Data);
                        bytes = value;
                    } else if byte == b'{' {
                        self.dispatch(sink);
                        self.state = SseState::BareJson(JsonNesting::default());
                    } else {
                        self.begin_name();
                    }
                }
                SseState::BareJson(nesting) => bytes = self.push_bare_json(nesting, bytes, sink),
                SseState::Name => bytes = self.push_name(bytes, sink),
                SseState::ValueStart(field) => {
                    self.begin_value(field, sink);
                    self.state = SseState::Value(field);
                    if byte == b' ' {
                        bytes = rest;
                    }
                }
                SseState::Value(field) => bytes = self.push_value(field, bytes, sink),
            }
        }
    }

    /// Ends the stream: dispatches a last message that lacks its blank line.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self.state {
            SseState::Name => self.end_name_without_colon(sink),
            SseState::ValueStart(field) => self.begin_value(field, sink),
            SseState::ByteOrderMark(_)
            | SseState::LineStart
            | SseState::Value(_)
            | SseState::BareJson(_) => {}
        }
        self.state = SseState::LineStart;
        self.dispatch(sink);
    }

    fn begin_name(&mut self) {
        self.state = SseState::Name;
        self.field_len = 0;
    }

    fn push_name<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> &'a [u8] {
        let end = bytes.iter().position(|b| matches!(b, b':' | b'\n' | b'\r'));
        let (name, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        for &byte in name {
            if let Some(slot) = self.field.get_mut(usize::from(self.field_len)) {
                *slot = byte;
            }
            self.field_len = self.field_len.saturating_add(1);
        }
        let Some((&stop, rest)) = rest.split_first() else {
            return rest;
        };
        if stop == b':' {
            // A comment has an empty name and is ignored like any unknown field.
            self.state = SseState::ValueStart(self.field());
        } else {
            self.end_name_without_colon(sink);
            self.end_line(stop);
        }
        rest
    }

    /// A line without a colon is a field with an empty value.
    fn end_name_without_colon(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        self.begin_value(self.field(), sink);
    }

    fn field(&self) -> SseField {
        match self.field.get(..usize::from(self.field_len)) {
            Some(b"data") => SseField::Data,
            Some(b"event") => SseField::Event,
            Some(b"error") => SseField::Error,
            _ => SseField::Other,
        }
    }

    fn begin_value(&mut self, field: SseField, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match field {
            SseField::Data => {
                if self.has_data {
                    sink(FrameEvent::Data(b"\n"));
                }
                self.has_data = true;
            }
            SseField::Event => self.name.clear(),
            SseField::Error => {
                self.has_error = true;
                sink(FrameEvent::ErrorField);
            }
            SseField::Other => {}
        }
    }

    fn push_value<'a>(
        &mut self,
        field: SseField,
        bytes: &'a [u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> &'a [u8] {
        let end = memchr::memchr2(b'\n', b'\r', bytes);
        let (value, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        match field {
            SseField::Data if !value.is_empty() => sink(FrameEvent::Data(value)),
            SseField::Event => self.name.push(value),
            _ => {}
        }
        match rest.split_first() {
            Some((&stop, rest)) => {
                self.end_line(stop);
                rest
            }
            None => rest,
        }
    }

    /// Reads a JSON document without a field. It is one message.
    fn push_bare_json<'a>(
        &mut self,
        mut nesting: JsonNesting,
        bytes: &'a [u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> &'a [u8] {
        let end = nesting.push(bytes);
        let (document, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        sink(FrameEvent::Data(document));
        self.has_data = true;
        self.state = SseState::BareJson(nesting);
        if end.is_some() {
            self.dispatch(sink);
            // The rest of the line is ignored.
            self.state = SseState::Value(SseField::Other);
        }
        rest
    }

    fn end_line(&mut self, stop: u8) {
        self.state = SseState::LineStart;
        self.after_cr = stop == b'\r';
    }

    fn dispatch(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if self.has_data || self.has_error || self.name.as_bytes() == b"error" {
            sink(FrameEvent::End { name: self.name.as_bytes() });
        }
        self.has_data = false;
        self.has_error = false;
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_messages::*;
    use super::*;
    use proptest::prelude::*;

    fn parse(parts: &[&[u8]]) -> Vec<CollectedEvent> {
        let (mut framer, mut messages) = (SseFramer::default(), FrameCollector::default());
        let mut sink = |event: FrameEvent<'_>| messages.add(event);
        parts.iter().for_each(|part| framer.push(part, &mut sink));
        framer.end(&mut sink);
        messages.finish()
    }

    fn data_of_messages(stream: &[u8]) -> Vec<String> {
        let data = |message| match message {
            CollectedEvent::Whole(_, data) | CollectedEvent::Error(_, data) => data,
            CollectedEvent::Broken(_) => panic!("{message:?}"),
        };
        parse(&[stream]).into_iter().map(data).collect()
    }

    #[test]
    fn an_error_needs_no_data() {
        let errors: &[(&[u8], usize)] = &[
            (b"event: error\n: boom\n\n", 1),
            (b": boom\r\nevent: error\r\n\r\n", 1),
            (b"event: error", 1),
            (b"event: error\ndata: x\n\n", 1),
            (b"event: ping\n: error\n\n", 0),
            (b"event: errors\n\n", 0),
            (b"event: error\nevent: ping\n\n", 0),
            (b": error\n\n", 0),
        ];
        for (stream, expected) in errors {
            let shown = String::from_utf8_lossy(stream);
            assert_eq!(parse(&[stream]).len(), *expected, "{shown}");
        }
    }

    #[test]
    fn messages_of_sample_streams() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"data: a\n\ndata: b\n\n", &["a", "b"]),
            (b"data:a\n\n", &["a"]),
            (b"event: error\n: no data\n\ndata: b\n\n", &["", "b"]),
            (b"event: ping\n\ndata: b\n\n", &["b"]),
            (b"data: a\n\n{\"error\":\"}\\\"{\"}\n\n", &["a", "{\"error\":\"}\\\"{\"}"]),
            (b"data: a\n{\"e\":\n [1]\n}\ndata: b\n\n", &["a", "{\"e\":\n [1]\n}", "b"]),
            (b"{\"a\":1} {\"b\":2}\n\n{\"c\":", &["{\"a\":1}", "{\"c\":"]),
            (b"data:  a \n\n", &[" a "]),
            (b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            (b"data: a\r\rdata: b\r\r", &["a", "b"]),
            (b"\xef\xbb\xbfdata: a\n\n", &["a"]),
            (b"\xef\xbbdata: a\n\ndata: b\n\n", &["b"]),
            (b"data: a\ndata: b\n\n", &["a\nb"]),
            (b"data\ndata\n\n", &["\n"]),
            (b"data:\n\n", &[""]),
            (b": ping\n\ndata: a\n\n:\n\n", &["a"]),
            (b"event: ping\n\ndata: a\n\n", &["a"]),
            (b"id: 7\nretry: 10\ndata: a\n\n", &["a"]),
            (b"database: x\n\ndat: y\n\n", &[]),
            (b"data: unterminated", &["unterminated"]),
            (b"data: a\n\ndata: b\n", &["a", "b"]),
            (b"\n\n\n", &[]),
            (b"data: a\xe2\x80\xa8b\n\n", &["a\u{2028}b"]),
        ];
        for (stream, expected) in cases {
            assert_eq!(
                &data_of_messages(stream),
                expected,
                "{:?}",
                String::from_utf8_lossy(stream)
            );
        }
    }

    #[test]
    fn event_names_and_error_fields_are_reported() {
        let found = parse(&[b"event: error\ndata: {}\n\nerror: boom\n\ndata: x\n\n"]);
        let error = CollectedEvent::Whole("error".into(), "{}".into());
        assert_eq!(found, [error, CollectedEvent::Error("".into(), "".into()), plain("x")]);
    }

    #[test]
    fn a_long_event_name_is_truncated() {
        let stream = format!("event: {}\ndata: x\n\n", "n".repeat(1000));
        assert_eq!(
            parse(&[stream.as_bytes()]),
            [CollectedEvent::Whole("n".repeat(64), "x".into())]
        );
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_messages(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("data: {\"a\":1}"), Just("data:"), Just("data"), Just(""), Just(""),
                    Just(": c"), Just("event: e"), Just("error: x"), Just("dat"), Just("data:  b"),
                ], 0..30),
            endings in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 30),
            has_byte_order_mark in any::<bool>(),
            cuts in cuts(),
        ) {
            let mut stream = if has_byte_order_mark { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
            for (line, ending) in lines.iter().zip(&endings) {
                stream.extend_from_slice(line.as_bytes());
                stream.extend_from_slice(ending.as_bytes());
            }
            let whole = parse(&[&stream]);
            prop_assert_eq!(&parse(&cut(&stream, &cuts)), &whole);
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(&parse(&bytes), &whole);
        }
    }
}
