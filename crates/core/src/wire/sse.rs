//! Server-sent events, split at any byte.
//!
//! Follows the event-stream parser of the HTML standard (section 9.2.6): lines end in LF, CRLF or CR,
//! one leading byte order mark and one blank after a field's colon are dropped, a line that begins
//! with a colon is a comment, several `data` lines are joined with LF, and a blank line dispatches the
//! message if it had data. Two differences, both because a meter must not lose what was sent: a last
//! message without its blank line is dispatched at the end of the stream, and an `error` field, which
//! some servers write in place of `data`, is reported.
//!
//! Nothing is buffered: data is handed on in the pieces in which it arrives, whatever its size.

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
    /// Inside the byte order mark, which may only open the stream: bytes of it seen so far.
    Mark(u8),
    /// At the first byte of a line.
    LineStart,
    /// Inside a field's name.
    Name,
    /// Right behind the colon, where one blank is dropped.
    ValueStart(SseField),
    Value(SseField),
}

const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// An incremental parser of one event stream. The name, which is long and seldom there, comes last.
#[derive(Debug)]
#[repr(C)]
pub struct SseFramer {
    state: SseState,
    /// The last byte was a CR, so an LF right behind it belongs to the same line ending.
    after_cr: bool,
    has_data: bool,
    has_error: bool,
    /// The start of the current line's field name; longer ones are no field that matters.
    field: [u8; 8],
    field_len: u8,
    name: EventName,
}

impl Default for SseFramer {
    fn default() -> Self {
        Self {
            state: SseState::Mark(0),
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
                SseState::Mark(seen) => {
                    if MARK.get(usize::from(seen)) == Some(&byte) {
                        self.state =
                            if seen == 2 { SseState::LineStart } else { SseState::Mark(seen + 1) };
                        bytes = rest;
                    } else if seen == 0 {
                        self.state = SseState::LineStart;
                    } else {
                        // Part of a mark and then something else: an unknown field's name.
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
                        // As nearly all lines begin.
                        self.begin_value(SseField::Data, sink);
                        self.state = SseState::Value(SseField::Data);
                        bytes = value;
                    } else {
                        self.begin_name();
                    }
                }
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

    /// The stream has ended: dispatches a last message that lacks its blank line.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self.state {
            SseState::Name => self.end_bare_name(sink),
            SseState::ValueStart(field) => self.begin_value(field, sink),
            SseState::Mark(_) | SseState::LineStart | SseState::Value(_) => {}
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
            // An empty name is a comment, which is a field that nobody asks for.
            self.state = SseState::ValueStart(self.field());
        } else {
            self.end_bare_name(sink);
            self.end_line(stop);
        }
        rest
    }

    /// A line that is only a field's name: the field with an empty value.
    fn end_bare_name(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
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

    fn end_line(&mut self, stop: u8) {
        self.state = SseState::LineStart;
        self.after_cr = stop == b'\r';
    }

    fn dispatch(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if self.has_data || self.has_error {
            sink(FrameEvent::End { name: self.name.get() });
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

    fn parse(pieces: &[&[u8]]) -> Vec<CollectedEvent> {
        let (mut framer, mut messages) = (SseFramer::default(), FrameCollector::default());
        let mut sink = |piece: FrameEvent<'_>| messages.add(piece);
        pieces.iter().for_each(|piece| framer.push(piece, &mut sink));
        framer.end(&mut sink);
        messages.done()
    }

    fn datas(stream: &[u8]) -> Vec<String> {
        let data = |message| match message {
            CollectedEvent::Whole(_, data) | CollectedEvent::Error(_, data) => data,
            CollectedEvent::Broken(_) => panic!("{message:?}"),
        };
        parse(&[stream]).into_iter().map(data).collect()
    }

    #[test]
    fn table() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"data: a\n\ndata: b\n\n", &["a", "b"]),
            (b"data:a\n\n", &["a"]),
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
            assert_eq!(&datas(stream), expected, "{:?}", String::from_utf8_lossy(stream));
        }
    }

    #[test]
    fn names_and_error_fields() {
        let found = parse(&[b"event: error\ndata: {}\n\nerror: boom\n\ndata: x\n\n"]);
        let error = CollectedEvent::Whole("error".into(), "{}".into());
        assert_eq!(found, [error, CollectedEvent::Error("".into(), "".into()), plain("x")]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let stream = format!("event: {}\ndata: x\n\n", "n".repeat(1000));
        assert_eq!(
            parse(&[stream.as_bytes()]),
            [CollectedEvent::Whole("n".repeat(64), "x".into())]
        );
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("data: {\"a\":1}"), Just("data:"), Just("data"), Just(""), Just(""),
                    Just(": c"), Just("event: e"), Just("error: x"), Just("dat"), Just("data:  b"),
                ], 0..30),
            endings in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 30),
            mark in any::<bool>(),
            cuts in cuts(),
        ) {
            let mut stream = if mark { MARK.to_vec() } else { Vec::new() };
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
