//! Picks wanted values out of a JSON document that arrives in pieces.
//!
//! A [`Node`] tree, usually a `static`, names the paths that matter. The scanner walks the document
//! once, byte by byte or faster, keeps a state of a few hundred bytes whatever the document's size,
//! and reports the wanted values; all else is stepped over. It checks the grammar as far as that
//! walk needs it: brackets, commas, colons and strings must be right, the inside of numbers and
//! literals that nobody wants is not looked at (Python's `NaN` and `-Infinity` pass).

mod text;

use super::utf8::ScalarCount;

pub use super::shape::{Malformed, Node, Strings, Token};

/// Longest text that is kept of one string.
pub const MAX_TEXT: usize = 4096;
/// Deepest nesting that is followed; deeper documents are reported as [`Malformed::TooDeep`].
const MAX_DEPTH: usize = 128;
/// Longest wanted path.
const MAX_PATH: usize = 12;
/// Longest key that is compared; all wanted ones are shorter.
const MAX_KEY: usize = 40;
/// Longest number or literal that is parsed.
const MAX_LITERAL: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    InKey,
    InKeyEscape,
    Colon,
    AfterValue,
    InString,
    InEscape,
    /// Hexadecimal digits still expected of a `\u` escape.
    InUnicode(u8),
    InLiteral,
    Done,
    Failed(Malformed),
}

/// Where in a document the scanner is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position<T: Copy + 'static> {
    state: State,
    /// One bit per open container: set for objects.
    objects: u128,
    depth: usize,
    /// How deep the inside of a container is that is counted as a whole; 0 outside of any.
    raw_depth: usize,
    /// The nodes of the open containers, as deep as any is wanted.
    path: [Option<&'static Node<T>>; MAX_PATH],
    /// The node of the value that comes next or is being read.
    node: Option<&'static Node<T>>,
}

impl<T: Copy + 'static> PartialEq for Position<T> {
    /// Nodes are the same if they are the same place of the tree.
    fn eq(&self, other: &Self) -> bool {
        let node = |node: Option<&'static Node<T>>| node.map(std::ptr::from_ref);
        let Self { state, objects, depth, raw_depth, .. } = *self;
        (state, objects, depth, raw_depth)
            == (other.state, other.objects, other.depth, other.raw_depth)
            && node(self.node) == node(other.node)
            && self.path.iter().zip(&other.path).all(|(one, two)| node(*one) == node(*two))
    }
}

/// The scanner of one document after another.
#[derive(Debug)]
pub struct Scanner<T: Copy + 'static> {
    root: &'static Node<T>,
    at: Position<T>,
    /// The current key, number or literal.
    word: [u8; MAX_KEY],
    word_len: usize,
    count: ScalarCount,
    /// Length so far of what is counted as a whole.
    raw_chars: u64,
    text: Vec<u8>,
    unicode: u16,
    /// The previous escape was the first half of a surrogate pair.
    high_surrogate: Option<u16>,
}

impl<T: Copy + 'static> Position<T> {
    fn start(root: &'static Node<T>) -> Self {
        Self {
            state: State::Value,
            objects: 0,
            depth: 0,
            raw_depth: 0,
            path: [None; MAX_PATH],
            node: Some(root),
        }
    }

    /// Whether the document is complete here.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

impl<T: Copy + 'static> Scanner<T> {
    /// A scanner for documents of this shape.
    pub fn new(root: &'static Node<T>) -> Self {
        Self {
            root,
            at: Position::start(root),
            word: [0; MAX_KEY],
            word_len: 0,
            count: ScalarCount::default(),
            raw_chars: 0,
            text: Vec::new(),
            unicode: 0,
            high_surrogate: None,
        }
    }

    /// The next document has this shape. To be told between two documents.
    pub fn begin(&mut self, root: &'static Node<T>) {
        self.root = root;
        self.at = Position::start(root);
    }

    /// Scans the next bytes of the document.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        while !bytes.is_empty() {
            bytes = self.advance(bytes, sink);
        }
    }

    /// Scans until a wanted string begins that changes from document to document. Gives what follows its quote;
    /// empty if there is none.
    pub(super) fn push_until_text<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(T, Token<'_>),
    ) -> &'a [u8] {
        while !bytes.is_empty() && !self.is_in_text() {
            bytes = self.advance(bytes, sink);
        }
        bytes
    }

    /// Scans to the end of the string that the scanner is in. Gives what follows; empty if the
    /// string goes on.
    pub(super) fn push_text<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(T, Token<'_>),
    ) -> &'a [u8] {
        let in_text =
            |state| matches!(state, State::InString | State::InEscape | State::InUnicode(_));
        while !bytes.is_empty() && in_text(self.at.state) {
            bytes = self.advance(bytes, sink);
        }
        bytes
    }

    /// Whether the scanner is at the first byte of a wanted string that changes from document to document.
    pub(super) fn is_in_text(&self) -> bool {
        let changes = |node: &Node<T>| node.strings == Strings::Counted;
        self.at.state == State::InString && self.at.node.is_some_and(changes)
    }

    pub(super) fn position(&self) -> &Position<T> {
        &self.at
    }

    /// Goes to a position where no value is half read, or a string begins.
    pub(super) fn jump(&mut self, to: &Position<T>) {
        self.at = *to;
        self.begin_string();
    }

    /// Scans some of the bytes, at least one; gives the rest.
    fn advance<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(T, Token<'_>)) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        match self.at.state {
            State::InString => self.push_string(bytes, sink),
            State::InKey => self.push_key(bytes),
            State::InLiteral => self.push_literal(bytes, sink),
            State::Failed(_) => &[],
            _ => {
                self.step(byte, sink);
                rest
            }
        }
    }

    /// The document ends here. Ready for the next one afterwards.
    ///
    /// # Errors
    /// Says why the document could not be scanned; what was reported before that stands.
    pub fn end(&mut self, sink: &mut impl FnMut(T, Token<'_>)) -> Result<(), Malformed> {
        if self.at.state == State::InLiteral && self.at.depth == 0 {
            self.end_literal(sink);
        }
        let state = std::mem::replace(&mut self.at, Position::start(self.root)).state;
        match state {
            State::Done => Ok(()),
            State::Failed(why) => Err(why),
            _ => Err(Malformed::Incomplete),
        }
    }

    fn step(&mut self, byte: u8, sink: &mut impl FnMut(T, Token<'_>)) {
        match (self.at.state, byte) {
            (State::InEscape, _) => self.escape(byte),
            (State::InUnicode(left), _) => self.unicode_digit(left, byte),
            (State::InKeyEscape, _) => {
                // A wanted key written with escapes is not recognised: no server does that.
                self.word_len = MAX_KEY + 1;
                self.raw_chars += 2;
                self.at.state = State::InKey;
            }
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => self.close(sink),
            (State::Value | State::ValueOrEnd, _) => self.begin_value(byte, sink),
            (State::KeyOrEnd | State::Key, b'"') => {
                self.word_len = 0;
                if self.at.raw_depth > 0 {
                    self.begin_string();
                }
                self.at.state = State::InKey;
            }
            (State::Colon, b':') => {
                self.raw_chars += 1;
                self.at.state = State::Value;
            }
            (State::AfterValue, b',') => {
                self.raw_chars += 1;
                self.at.state = if self.in_object() { State::Key } else { State::Value };
                self.at.node = self.container().and_then(|node| node.items);
            }
            (State::AfterValue, b'}') if self.in_object() => self.close(sink),
            (State::AfterValue, b']') if !self.in_object() => self.close(sink),
            _ => self.at.state = State::Failed(Malformed::Syntax),
        }
    }

    fn begin_value(&mut self, byte: u8, sink: &mut impl FnMut(T, Token<'_>)) {
        match byte {
            b'{' => self.open(true, sink),
            b'[' => self.open(false, sink),
            b'"' => {
                self.at.state = State::InString;
                if self.is_counted() {
                    self.begin_string();
                }
            }
            b'-' | b'+' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.at.state = State::InLiteral;
                self.word_len = 0;
                self.keep_word(&[byte]);
            }
            _ => self.at.state = State::Failed(Malformed::Syntax),
        }
    }

    /// Whether strings are counted here.
    fn is_counted(&self) -> bool {
        self.at.node.is_some() || self.at.raw_depth > 0
    }

    fn begin_string(&mut self) {
        self.count = ScalarCount::default();
        self.text.clear();
        self.high_surrogate = None;
    }

    fn open(&mut self, object: bool, sink: &mut impl FnMut(T, Token<'_>)) {
        if self.at.depth == MAX_DEPTH {
            self.at.state = State::Failed(Malformed::TooDeep);
            return;
        }
        if let Some(node) = self.at.node {
            node.tell(Token::Open, sink);
        }
        if let Some(slot) = self.at.path.get_mut(self.at.depth) {
            *slot = self.at.node;
        }
        self.at.objects = self.at.objects << 1 | u128::from(object);
        self.at.depth += 1;
        if self.at.raw_depth > 0 {
            self.raw_chars += 1;
        } else if self.at.node.is_some_and(|node| node.raw) {
            self.at.raw_depth = self.at.depth;
            self.raw_chars = 1;
        }
        if object {
            self.at.state = State::KeyOrEnd;
        } else {
            self.at.state = State::ValueOrEnd;
            self.at.node = self.container().and_then(|node| node.items);
        }
    }

    fn close(&mut self, sink: &mut impl FnMut(T, Token<'_>)) {
        self.raw_chars += 1;
        if let Some(node) = self.container() {
            if self.at.raw_depth == self.at.depth {
                self.at.raw_depth = 0;
                node.tell(Token::Raw { chars: self.raw_chars }, sink);
            }
            node.tell(Token::Close, sink);
        }
        self.at.depth -= 1;
        self.at.objects >>= 1;
        self.end_value();
    }

    fn end_value(&mut self) {
        self.at.state = if self.at.depth == 0 { State::Done } else { State::AfterValue };
    }

    fn in_object(&self) -> bool {
        self.at.objects & 1 == 1
    }

    /// The node of the innermost open container.
    fn container(&self) -> Option<&'static Node<T>> {
        self.at.path.get(self.at.depth.checked_sub(1)?).copied().flatten()
    }

    fn push_key<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        // So short that a loop finds it sooner.
        let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let wanted = self.container().map_or(&[][..], |node| node.keys);
        if !wanted.is_empty() {
            self.keep_word(part);
        } else if self.at.raw_depth > 0 {
            self.count.push(part);
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                if self.at.raw_depth > 0 {
                    self.raw_chars += self.count.chars() + 2;
                }
                let key = self.word.get(..self.word_len);
                self.at.node = key.and_then(|key| {
                    wanted.iter().find(|(name, _)| name.as_bytes() == key).map(|(_, node)| *node)
                });
                self.at.state = State::Colon;
                rest
            }
            Some((_, rest)) => {
                self.at.state = State::InKeyEscape;
                rest
            }
            None => rest,
        }
    }

    /// Appends to the current word; one that grows too long matches nothing.
    fn keep_word(&mut self, part: &[u8]) {
        let end = self.word_len.saturating_add(part.len());
        if let Some(slot) = self.word.get_mut(self.word_len..end) {
            slot.copy_from_slice(part);
        }
        self.word_len = end;
    }

    fn push_literal<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, Token<'_>),
    ) -> &'a [u8] {
        let inside = |byte: &u8| matches!(byte, b'-' | b'+' | b'.') || byte.is_ascii_alphanumeric();
        let end = bytes.iter().position(|byte| !inside(byte));
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.keep_word(part);
        if end.is_some() {
            self.end_literal(sink);
        }
        rest
    }

    fn end_literal(&mut self, sink: &mut impl FnMut(T, Token<'_>)) {
        self.end_value();
        self.raw_chars += self.word_len as u64;
        let Some(node) = self.at.node else { return };
        let word = self.word.get(..self.word_len.min(MAX_LITERAL)).unwrap_or_default();
        let token = match word {
            b"null" => Token::Null,
            b"true" => Token::Bool(true),
            b"false" => Token::Bool(false),
            _ => match std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()) {
                Some(number) if f64::is_finite(number) => Token::Number(number),
                // Python's NaN, or a number too long to be a count.
                _ => Token::Null,
            },
        };
        node.tell(token, sink);
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
