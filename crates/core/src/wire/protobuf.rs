//! Picks wanted values out of a protobuf message that arrives in pieces, without its schema.
//!
//! A [`Field`] tree names the numbers that matter; all else is stepped over by its wire type
//! (protobuf's encoding: varint, fixed, length-delimited). What is found is told in the scanner's words
//! for JSON ([`Token`]), so that the same dialects can read both. A message field opens and closes, as an
//! object does; a repeated one does so each time.

use super::json::{MAX_TEXT, Malformed, Token};
use super::utf8::ScalarCount;

/// Deepest nesting of wanted messages; all wanted ones are shallower.
const MAX_DEPTH: usize = 8;

/// A place in a message.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// What the reports call this place; of one that only leads to others, nothing is reported.
    pub tag: Option<T>,
    pub kind: Kind,
    /// The wanted fields, if a message stands here.
    pub fields: &'static [(u64, &'static Self)],
}

/// What stands at a place: the wire does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An integer, an enum or a bool, or many of them (packed).
    Number,
    /// A bool, told as one.
    Bool,
    /// A string; its text is told.
    Text,
    /// Bytes, of which the length is told ([`Token::Raw`]).
    Bytes,
    Message,
}

impl<T: Copy> Field<T> {
    /// An integer, or many.
    pub const fn number(tag: T) -> Self {
        Self { tag: Some(tag), kind: Kind::Number, fields: &[] }
    }

    /// A bool.
    pub const fn bool(tag: T) -> Self {
        Self { tag: Some(tag), kind: Kind::Bool, fields: &[] }
    }

    /// A string.
    pub const fn text(tag: T) -> Self {
        Self { tag: Some(tag), kind: Kind::Text, fields: &[] }
    }

    /// Bytes.
    pub const fn bytes(tag: T) -> Self {
        Self { tag: Some(tag), kind: Kind::Bytes, fields: &[] }
    }

    /// A message with wanted fields.
    pub const fn message(tag: T, fields: &'static [(u64, &'static Self)]) -> Self {
        Self { tag: Some(tag), ..Self::path(fields) }
    }

    /// A message that only leads to its fields.
    pub const fn path(fields: &'static [(u64, &'static Self)]) -> Self {
        Self { tag: None, kind: Kind::Message, fields }
    }

    /// Reports what stands here.
    fn tell(&self, token: Token<'_>, sink: &mut impl FnMut(T, Token<'_>)) {
        if let Some(tag) = self.tag {
            sink(tag, token);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a field's number and wire type.
    Key,
    Varint,
    /// Bytes left of a number of fixed width.
    Fixed(u64),
    /// At the length of what is delimited by it.
    Length,
    /// Up to this place.
    Skip(u64),
    Text(u64),
    Packed(u64),
    Failed(Malformed),
}

/// A message that is open, and where it ends.
#[derive(Debug)]
struct Level<T: 'static> {
    field: &'static Field<T>,
    end: u64,
}

/// The scanner of one message after another.
#[derive(Debug)]
pub struct Scanner<T: Copy + 'static> {
    root: &'static Field<T>,
    state: State,
    /// Bytes of the message so far.
    at: u64,
    open: Vec<Level<T>>,
    /// The field whose value is being read, if it is wanted.
    field: Option<&'static Field<T>>,
    /// The varint that is being read.
    value: u64,
    shift: u32,
    text: Vec<u8>,
    count: ScalarCount,
}

impl<T: Copy + 'static> Scanner<T> {
    /// A scanner for messages of this shape.
    pub fn new(root: &'static Field<T>) -> Self {
        Self {
            root,
            state: State::Key,
            at: 0,
            open: Vec::with_capacity(MAX_DEPTH),
            field: None,
            value: 0,
            shift: 0,
            text: Vec::new(),
            count: ScalarCount::default(),
        }
    }

    /// The next message has this shape. To be told between two messages.
    pub fn begin(&mut self, root: &'static Field<T>) {
        self.root = root;
        self.open.clear();
        (self.state, self.at, self.value, self.shift) = (State::Key, 0, 0, 0);
    }

    /// Scans the next bytes of the message.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                State::Failed(_) => return,
                State::Skip(end) | State::Text(end) => self.take(end, bytes, sink),
                State::Fixed(left) => {
                    self.at += 1;
                    self.state = State::Fixed(left - 1);
                    if left == 1 {
                        self.end_value(sink);
                    }
                    rest
                }
                State::Key | State::Varint | State::Length | State::Packed(_) => {
                    self.at += 1;
                    self.digit(byte, sink);
                    rest
                }
            };
        }
    }

    /// The message ends here. Ready for the next one afterwards.
    ///
    /// # Errors
    /// Says why the message could not be scanned; what was reported before that stands.
    pub fn end(&mut self) -> Result<(), Malformed> {
        let is_whole = self.state == State::Key && self.shift == 0 && self.open.is_empty();
        let state = self.state;
        self.begin(self.root);
        match state {
            State::Failed(why) => Err(why),
            _ if is_whole => Ok(()),
            _ => Err(Malformed::Incomplete),
        }
    }

    /// The next seven bits of a varint.
    fn digit(&mut self, byte: u8, sink: &mut impl FnMut(T, Token<'_>)) {
        if self.shift > 63 {
            self.state = State::Failed(Malformed::Syntax);
            return;
        }
        self.value |= u64::from(byte & 0x7F) << self.shift;
        self.shift += 7;
        if byte & 0x80 == 0 {
            self.shift = 0;
            let value = std::mem::take(&mut self.value);
            self.varint(value, sink);
        }
    }

    fn varint(&mut self, value: u64, sink: &mut impl FnMut(T, Token<'_>)) {
        match self.state {
            State::Key => self.key(value),
            State::Length => self.length(value, sink),
            State::Packed(end) => {
                self.number(value, sink);
                if self.at > end {
                    self.state = State::Failed(Malformed::Syntax);
                } else if self.at == end {
                    self.end_value(sink);
                }
            }
            _ => {
                self.number(value, sink);
                self.end_value(sink);
            }
        }
    }

    fn number(&self, value: u64, sink: &mut impl FnMut(T, Token<'_>)) {
        match self.field {
            Some(field) if field.kind == Kind::Bool => field.tell(Token::Bool(value != 0), sink),
            Some(field) if field.kind == Kind::Number => {
                field.tell(Token::Number(value as f64), sink);
            }
            _ => {}
        }
    }

    fn key(&mut self, key: u64) {
        let number = key >> 3;
        let wanted = self.open.last().map_or(self.root, |level| level.field).fields;
        self.field = wanted.iter().find(|(known, _)| *known == number).map(|(_, field)| *field);
        self.state = match key & 7 {
            _ if number == 0 => State::Failed(Malformed::Syntax),
            0 => State::Varint,
            1 => State::Fixed(8),
            2 => State::Length,
            5 => State::Fixed(4),
            // Groups are long gone.
            _ => State::Failed(Malformed::Syntax),
        };
    }

    fn length(&mut self, length: u64, sink: &mut impl FnMut(T, Token<'_>)) {
        let room = self.open.last().map_or(u64::MAX, |level| level.end);
        let Some(end) = self.at.checked_add(length).filter(|end| *end <= room) else {
            self.state = State::Failed(Malformed::Syntax);
            return;
        };
        if let Some(field) = self.field.filter(|field| field.kind == Kind::Bytes) {
            field.tell(Token::Raw { chars: length }, sink);
        }
        match self.field {
            Some(field) if field.kind == Kind::Message => {
                if self.open.len() == MAX_DEPTH {
                    self.state = State::Failed(Malformed::TooDeep);
                    return;
                }
                field.tell(Token::Open, sink);
                self.open.push(Level { field, end });
                self.end_value(sink);
            }
            Some(Field { kind: Kind::Text, .. }) => {
                self.text.clear();
                self.count = ScalarCount::default();
                self.state = State::Text(end);
                if length == 0 {
                    self.end_text(sink);
                }
            }
            Some(Field { kind: Kind::Number, .. }) if length > 0 => self.state = State::Packed(end),
            _ if length > 0 => self.state = State::Skip(end),
            _ => self.end_value(sink),
        }
    }

    /// Takes what is here of a text or of what is stepped over; gives the rest.
    fn take<'a>(
        &mut self,
        end: u64,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, Token<'_>),
    ) -> &'a [u8] {
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let (part, rest) = bytes.split_at(left.min(bytes.len()));
        self.at += part.len() as u64;
        if let State::Text(_) = self.state {
            self.count.push(part);
            let room = MAX_TEXT.saturating_sub(self.text.len());
            self.text.extend_from_slice(part.get(..room).unwrap_or(part));
        }
        if self.at == end {
            match self.state {
                State::Text(_) => self.end_text(sink),
                _ => self.end_value(sink),
            }
        }
        rest
    }

    fn end_text(&mut self, sink: &mut impl FnMut(T, Token<'_>)) {
        self.count.end();
        if let Some(field) = self.field {
            let (chars, valid) = (self.count.chars(), !self.count.invalid());
            field.tell(Token::Text { chars, text: &self.text, valid }, sink);
        }
        self.end_value(sink);
    }

    /// A value is over, and with it each message that ends here.
    fn end_value(&mut self, sink: &mut impl FnMut(T, Token<'_>)) {
        self.state = State::Key;
        while let Some(Level { field, end }) = self.open.last() {
            if self.at < *end {
                return;
            }
            if self.at > *end {
                self.state = State::Failed(Malformed::Syntax);
                return;
            }
            field.tell(Token::Close, sink);
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static ID: Field<u8> = Field::number(1);
    static NAME: Field<u8> = Field::text(2);
    static INNER: Field<u8> = Field::message(3, &[(1, &ID), (2, &NAME), (4, &INNER)]);
    static ROOT: Field<u8> = Field::message(
        0,
        &[(1, &ID), (2, &NAME), (4, &INNER), (5, &Field::bool(5)), (6, &Field::bytes(6))],
    );

    fn scan(pieces: &[&[u8]]) -> (String, Result<(), Malformed>) {
        let mut scanner = Scanner::new(&ROOT);
        let mut found = Vec::new();
        for piece in pieces {
            scanner.push(piece, &mut |tag, token| {
                found.push(match token {
                    Token::Text { chars, text, .. } => {
                        format!("{tag}={chars}:{}", String::from_utf8_lossy(text))
                    }
                    Token::Number(number) => format!("{tag}={number}"),
                    token => format!("{tag}={token:?}"),
                });
            });
        }
        (found.join(" "), scanner.end())
    }

    #[test]
    fn what_is_wanted() {
        let cases: [(&[u8], &str); 10] = [
            (b"", ""),
            // protobuf.dev/programming-guides/encoding: field 1 is 150.
            (b"\x08\x96\x01", "1=150"),
            (b"\x12\x07testing", "2=7:testing"),
            (b"\x12\x00", "2=0:"),
            // A message with a number, a text and an empty message in it.
            (b"\x22\x08\x08\x05\x12\x02hi\x22\x00", "3=Open 1=5 2=2:hi 3=Open 3=Close 3=Close"),
            // Packed numbers, the same one by one.
            (b"\x0a\x03\x01\x96\x01", "1=1 1=150"),
            (b"\x08\x01\x08\x02", "1=1 1=2"),
            (b"\x28\x01\x28\x00", "5=Bool(true) 5=Bool(false)"),
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
    fn what_is_no_message() {
        let cases: [(&[u8], Malformed); 7] = [
            (b"\x08", Malformed::Incomplete),
            (b"\x12\x05ab", Malformed::Incomplete),
            (b"\x22\x02\x12\x05", Malformed::Syntax),
            (b"\x0b", Malformed::Syntax),
            (b"\x00\x01", Malformed::Syntax),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Malformed::Syntax),
            (b"\x0a\x01\x96\x01", Malformed::Syntax),
        ];
        for (message, expected) in cases {
            assert_eq!(scan(&[message]).1, Err(expected), "{}", message.escape_ascii());
        }
        let mut deep = Vec::new();
        for _ in 0..12 {
            deep = [&[0x22, deep.len() as u8], &deep[..]].concat();
        }
        assert_eq!(scan(&[&deep]).1, Err(Malformed::TooDeep));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(bytes in prop::collection::vec(
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
