//! Reads selected values from a protobuf message that arrives in parts, without its schema.
//!
//! A [`ProtobufField`] tree names the field numbers to read; all others are skipped by their wire
//! type (protobuf encoding: varint, fixed, length-delimited). Values are reported as
//! [`ScanEvent`]s, as the JSON scanner does, so that one dialect can read both. A message field
//! opens and closes as a JSON object does; a repeated one does so for each element.

use super::json::MAX_TEXT;
use super::scan_event::{ScanError, ScanEvent};
use super::utf8::ScalarCount;

/// Deepest nesting of messages that are read. More is [`ScanError::TooDeep`].
const MAX_DEPTH: usize = 8;

/// Field of a message that is read.
#[derive(Debug)]
pub struct ProtobufField<T: 'static> {
    /// Tag of the reported events. `None` for a message that only leads to its fields.
    pub tag: Option<T>,
    /// Type of the field's value.
    pub field_type: ProtobufType,
    /// Fields to read, by number, if the field is a message.
    pub fields: &'static [(u64, &'static Self)],
}

/// Type of a field; the wire format does not distinguish all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtobufType {
    /// An integer, enum or bool, or a packed list of them.
    Number,
    /// A string; its text is reported.
    Text,
    /// Bytes; their length is reported ([`ScanEvent::Raw`]).
    Bytes,
    /// A message.
    Message,
}

impl<T: Copy> ProtobufField<T> {
    /// Returns a field that is an integer or a packed list of integers.
    pub const fn number(tag: T) -> Self {
        Self { tag: Some(tag), field_type: ProtobufType::Number, fields: &[] }
    }

    /// Returns a field that is a string.
    pub const fn text(tag: T) -> Self {
        Self { tag: Some(tag), field_type: ProtobufType::Text, fields: &[] }
    }

    /// Returns a field of bytes.
    pub const fn bytes(tag: T) -> Self {
        Self { tag: Some(tag), field_type: ProtobufType::Bytes, fields: &[] }
    }

    /// Returns a message field that is reported when it opens and closes.
    pub const fn message(tag: T, fields: &'static [(u64, &'static Self)]) -> Self {
        Self { tag: Some(tag), ..Self::path(fields) }
    }

    /// Returns a message field that is not reported itself, only its fields.
    pub const fn path(fields: &'static [(u64, &'static Self)]) -> Self {
        Self { tag: None, field_type: ProtobufType::Message, fields }
    }

    /// Reports an event of this field.
    fn report(&self, token: ScanEvent<'_>, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        if let Some(tag) = self.tag {
            sink(tag, token);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProtobufState {
    /// At a field's number and wire type.
    Key,
    Varint,
    /// Number of bytes left of a fixed-width number.
    Fixed(u64),
    /// At the length of a length-delimited value.
    Length,
    /// In a skipped value, which ends at this offset.
    Skip(u64),
    /// In a text, which ends at this offset.
    Text(u64),
    /// In a packed list, which ends at this offset.
    Packed(u64),
    Failed(ScanError),
}

/// Open message, and the offset at which it ends.
#[derive(Debug)]
struct OpenMessage<T: 'static> {
    field: &'static ProtobufField<T>,
    end: u64,
}

/// Incremental scanner of one message after another.
#[derive(Debug)]
pub struct ProtobufScanner<T: Copy + 'static> {
    root: &'static ProtobufField<T>,
    state: ProtobufState,
    /// Number of bytes of the message so far.
    at: u64,
    open: Vec<OpenMessage<T>>,
    /// The field whose value is being read, if it is selected.
    field: Option<&'static ProtobufField<T>>,
    /// The varint that is being read.
    value: u64,
    shift: u32,
    text: Vec<u8>,
    count: ScalarCount,
}

impl<T: Copy + 'static> ProtobufScanner<T> {
    /// Returns a scanner for messages with these fields.
    pub fn new(root: &'static ProtobufField<T>) -> Self {
        Self {
            root,
            state: ProtobufState::Key,
            at: 0,
            open: Vec::with_capacity(MAX_DEPTH),
            field: None,
            value: 0,
            shift: 0,
            text: Vec::new(),
            count: ScalarCount::default(),
        }
    }

    /// Selects the fields of the next message. Must be called between two messages.
    pub fn begin(&mut self, root: &'static ProtobufField<T>) {
        self.root = root;
        self.open.clear();
        (self.state, self.at, self.value, self.shift) = (ProtobufState::Key, 0, 0, 0);
    }

    /// Scans the next bytes of the message and reports the values in them.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                ProtobufState::Failed(_) => return,
                ProtobufState::Skip(end) | ProtobufState::Text(end) => {
                    self.push_delimited(end, bytes, sink)
                }
                ProtobufState::Fixed(left) => {
                    self.at += 1;
                    self.state = ProtobufState::Fixed(left - 1);
                    if left == 1 {
                        self.end_value(sink);
                    }
                    rest
                }
                ProtobufState::Key
                | ProtobufState::Varint
                | ProtobufState::Length
                | ProtobufState::Packed(_) => {
                    self.at += 1;
                    self.push_varint(byte, sink);
                    rest
                }
            };
        }
    }

    /// Ends the message. The scanner is then ready for the next one.
    ///
    /// # Errors
    ///
    /// If the message is malformed or incomplete. Values that were reported before remain valid.
    pub fn end(&mut self) -> Result<(), ScanError> {
        let is_whole = self.state == ProtobufState::Key && self.shift == 0 && self.open.is_empty();
        let state = self.state;
        self.begin(self.root);
        match state {
            ProtobufState::Failed(why) => Err(why),
            _ if is_whole => Ok(()),
            _ => Err(ScanError::Incomplete),
        }
    }

    /// Reads the next seven bits of a varint.
    fn push_varint(&mut self, byte: u8, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        if self.shift > 63 {
            self.state = ProtobufState::Failed(ScanError::Syntax);
            return;
        }
        self.value |= u64::from(byte & 0x7F) << self.shift;
        self.shift += 7;
        if byte & 0x80 == 0 {
            self.shift = 0;
            let value = std::mem::take(&mut self.value);
            self.end_varint(value, sink);
        }
    }

    fn end_varint(&mut self, value: u64, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        match self.state {
            ProtobufState::Key => self.end_key(value),
            ProtobufState::Length => self.end_length(value, sink),
            ProtobufState::Packed(end) => {
                self.report_number(value, sink);
                if self.at > end {
                    self.state = ProtobufState::Failed(ScanError::Syntax);
                } else if self.at == end {
                    self.end_value(sink);
                }
            }
            _ => {
                self.report_number(value, sink);
                self.end_value(sink);
            }
        }
    }

    fn report_number(&self, value: u64, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        match self.field {
            Some(field) if field.field_type == ProtobufType::Number => {
                field.report(ScanEvent::Number(value as f64), sink);
            }
            _ => {}
        }
    }

    fn end_key(&mut self, key: u64) {
        let number = key >> 3;
        let selected = self.open.last().map_or(self.root, |level| level.field).fields;
        self.field =
            selected.iter().find(|(selected, _)| *selected == number).map(|(_, field)| *field);
        self.state = match key & 7 {
            _ if number == 0 => ProtobufState::Failed(ScanError::Syntax),
            0 => ProtobufState::Varint,
            1 => ProtobufState::Fixed(8),
            2 => ProtobufState::Length,
            5 => ProtobufState::Fixed(4),
            // Groups are deprecated and not supported.
            _ => ProtobufState::Failed(ScanError::Syntax),
        };
    }

    fn end_length(&mut self, length: u64, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        let room = self.open.last().map_or(u64::MAX, |level| level.end);
        let Some(end) = self.at.checked_add(length).filter(|end| *end <= room) else {
            self.state = ProtobufState::Failed(ScanError::Syntax);
            return;
        };
        if let Some(field) = self.field.filter(|field| field.field_type == ProtobufType::Bytes) {
            field.report(ScanEvent::Raw { chars: length }, sink);
        }
        match self.field {
            Some(field) if field.field_type == ProtobufType::Message => {
                if self.open.len() == MAX_DEPTH {
                    self.state = ProtobufState::Failed(ScanError::TooDeep);
                    return;
                }
                field.report(ScanEvent::Open, sink);
                self.open.push(OpenMessage { field, end });
                self.end_value(sink);
            }
            Some(ProtobufField { field_type: ProtobufType::Text, .. }) => {
                self.text.clear();
                self.count = ScalarCount::default();
                self.state = ProtobufState::Text(end);
                if length == 0 {
                    self.end_text(sink);
                }
            }
            Some(ProtobufField { field_type: ProtobufType::Number, .. }) if length > 0 => {
                self.state = ProtobufState::Packed(end)
            }
            _ if length > 0 => self.state = ProtobufState::Skip(end),
            _ => self.end_value(sink),
        }
    }

    /// Consumes the part of a text or skipped value that is in `bytes`. Returns the rest.
    fn push_delimited<'a>(
        &mut self,
        end: u64,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let (part, rest) = bytes.split_at(left.min(bytes.len()));
        self.at += part.len() as u64;
        if let ProtobufState::Text(_) = self.state {
            self.count.push(part);
            let room = MAX_TEXT.saturating_sub(self.text.len());
            self.text.extend_from_slice(part.get(..room).unwrap_or(part));
        }
        if self.at == end {
            match self.state {
                ProtobufState::Text(_) => self.end_text(sink),
                _ => self.end_value(sink),
            }
        }
        rest
    }

    fn end_text(&mut self, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        self.count.end();
        if let Some(field) = self.field {
            let (chars, valid) = (self.count.chars(), !self.count.invalid());
            field.report(ScanEvent::Text { chars, text: &self.text, valid }, sink);
        }
        self.end_value(sink);
    }

    /// Ends a value, and each message that ends with it.
    fn end_value(&mut self, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        self.state = ProtobufState::Key;
        while let Some(OpenMessage { field, end }) = self.open.last() {
            if self.at < *end {
                return;
            }
            if self.at > *end {
                self.state = ProtobufState::Failed(ScanError::Syntax);
                return;
            }
            field.report(ScanEvent::Close, sink);
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static ID: ProtobufField<u8> = ProtobufField::number(1);
    static NAME: ProtobufField<u8> = ProtobufField::text(2);
    static INNER: ProtobufField<u8> =
        ProtobufField::message(3, &[(1, &ID), (2, &NAME), (4, &INNER)]);
    static ROOT: ProtobufField<u8> = ProtobufField::message(
        0,
        &[(1, &ID), (2, &NAME), (4, &INNER), (6, &ProtobufField::bytes(6))],
    );

    fn scan(parts: &[&[u8]]) -> (String, Result<(), ScanError>) {
        let mut scanner = ProtobufScanner::new(&ROOT);
        let mut found = Vec::new();
        for part in parts {
            scanner.push(part, &mut |tag, token| {
                found.push(match token {
                    ScanEvent::Text { chars, text, .. } => {
                        format!("{tag}={chars}:{}", String::from_utf8_lossy(text))
                    }
                    ScanEvent::Number(number) => format!("{tag}={number}"),
                    token => format!("{tag}={token:?}"),
                });
            });
        }
        (found.join(" "), scanner.end())
    }

    #[test]
    fn selected_fields_are_reported() {
        let cases: [(&[u8], &str); 9] = [
            (b"", ""),
            // Field 1 is 150 (protobuf.dev/programming-guides/encoding).
            (b"\x08\x96\x01", "1=150"),
            (b"\x12\x07testing", "2=7:testing"),
            (b"\x12\x00", "2=0:"),
            // A message that contains a number, a text and an empty message.
            (b"\x22\x08\x08\x05\x12\x02hi\x22\x00", "3=Open 1=5 2=2:hi 3=Open 3=Close 3=Close"),
            // Packed numbers, then the same field twice.
            (b"\x0a\x03\x01\x96\x01", "1=1 1=150"),
            (b"\x08\x01\x08\x02", "1=1 1=2"),
            (b"\x32\x02\xff\x00", "6=Raw { chars: 2 }"),
            // Unknown fields of each wire type.
            (
                b"\x50\x01\x51\x01\x02\x03\x04\x05\x06\x07\x08\x52\x03abc\x55\x01\x02\x03\x04\x08\x07",
                "1=7",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(
                scan(&[message]),
                (expected.to_owned(), Ok(())),
                "{}",
                message.escape_ascii()
            );
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        let cases: [(&[u8], ScanError); 7] = [
            (b"\x08", ScanError::Incomplete),
            (b"\x12\x05ab", ScanError::Incomplete),
            (b"\x22\x02\x12\x05", ScanError::Syntax),
            (b"\x0b", ScanError::Syntax),
            (b"\x00\x01", ScanError::Syntax),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ScanError::Syntax),
            (b"\x0a\x01\x96\x01", ScanError::Syntax),
        ];
        for (message, expected) in cases {
            assert_eq!(scan(&[message]).1, Err(expected), "{}", message.escape_ascii());
        }
        let mut deep = Vec::new();
        for _ in 0..12 {
            deep = [&[0x22, deep.len() as u8], &deep[..]].concat();
        }
        assert_eq!(scan(&[&deep]).1, Err(ScanError::TooDeep));
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_events(bytes in prop::collection::vec(
            prop_oneof![Just(0x08), Just(0x12), Just(0x22), Just(0x0a), Just(1), Just(2), Just(3), any::<u8>()], 0..60,
        ), cut in 0usize..60) {
            let whole = scan(&[&bytes]);
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(&scan(&[front, back]), &whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&scan(&single), &whole);
        }
    }
}
