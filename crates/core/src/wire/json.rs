//! Picks wanted values out of a JSON document that arrives in pieces.
//!
//! A [`JsonNode`] tree, usually a `static`, names the paths that matter. The scanner walks the document
//! once, keeps a state of a few hundred bytes whatever the document's size, and reports the wanted
//! values; all else is stepped over. Where a member of an object lies in one piece, one step takes it
//! whole; where a piece ends within, the state says how to go on. It checks the grammar as far as that
//! walk needs it: brackets, commas, colons and strings must be right, the inside of numbers and
//! literals that nobody wants is not looked at (Python's `NaN` and `-Infinity` pass).

pub(super) mod scan;
mod text;

use super::utf8::ScalarCount;

pub use super::shape::{JsonNode, ScanError, ScanEvent, Strings};

/// Longest text that is kept of one string.
pub const MAX_TEXT: usize = 4096;
/// Deepest nesting that is followed; deeper documents are reported as [`ScanError::TooDeep`].
const MAX_DEPTH: usize = 128;
/// Longest wanted path.
const MAX_PATH: usize = 12;
/// Longest key, number or literal that is looked at; all wanted ones are shorter.
const MAX_WORD: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
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
    Failed(ScanError),
}

/// Where in a document the scanner is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position<T: Copy + 'static> {
    state: JsonState,
    /// One bit per open container: set for objects.
    objects: u128,
    depth: usize,
    /// How deep the inside of a container is that is counted as a whole; 0 outside of any.
    raw_depth: usize,
    /// The nodes of the open containers, as deep as any is wanted.
    path: [Option<&'static JsonNode<T>>; MAX_PATH],
    /// The node of the value that comes next or is being read.
    node: Option<&'static JsonNode<T>>,
}

impl<T: Copy + 'static> PartialEq for Position<T> {
    /// Nodes are the same if they are the same place of the tree.
    fn eq(&self, other: &Self) -> bool {
        let node = |node: Option<&'static JsonNode<T>>| node.map(std::ptr::from_ref);
        let Self { state, objects, depth, raw_depth, .. } = *self;
        (state, objects, depth, raw_depth)
            == (other.state, other.objects, other.depth, other.raw_depth)
            && node(self.node) == node(other.node)
            && self.path.iter().zip(&other.path).all(|(one, two)| node(*one) == node(*two))
    }
}

/// The scanner of one document after another.
#[derive(Debug)]
pub struct JsonScanner<T: Copy + 'static> {
    root: &'static JsonNode<T>,
    at: Position<T>,
    /// The current key, number or literal, as far as it came in pieces that are gone.
    word: [u8; MAX_WORD],
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
    fn start(root: &'static JsonNode<T>) -> Self {
        Self {
            state: JsonState::Value,
            objects: 0,
            depth: 0,
            raw_depth: 0,
            path: [None; MAX_PATH],
            node: Some(root),
        }
    }

    /// Whether the document is complete here.
    pub(super) fn is_done(&self) -> bool {
        self.state == JsonState::Done
    }
}

impl<T: Copy + 'static> JsonScanner<T> {
    /// A scanner for documents of this shape.
    pub fn new(root: &'static JsonNode<T>) -> Self {
        Self {
            root,
            at: Position::start(root),
            word: [0; MAX_WORD],
            word_len: 0,
            count: ScalarCount::default(),
            raw_chars: 0,
            text: Vec::new(),
            unicode: 0,
            high_surrogate: None,
        }
    }

    /// The next document has this shape. To be told between two documents.
    pub fn begin(&mut self, root: &'static JsonNode<T>) {
        self.root = root;
        self.at = Position::start(root);
    }

    /// Scans the next bytes of the document.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        while !bytes.is_empty() {
            bytes = self.advance(bytes, sink);
        }
    }

    /// Scans until a wanted string begins that changes from document to document. Gives what follows its quote;
    /// empty if there is none.
    pub(super) fn push_until_text<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        while !bytes.is_empty() && !self.is_in_text() {
            bytes = self.advance(bytes, sink);
        }
        bytes
    }

    /// Whether the scanner is at the first byte of a wanted string that changes from document to document.
    pub(super) fn is_in_text(&self) -> bool {
        let changes = |node: &JsonNode<T>| node.strings == Strings::Counted;
        self.at.state == JsonState::InString && self.at.node.is_some_and(changes)
    }

    pub(super) fn position(&self) -> &Position<T> {
        &self.at
    }

    /// Goes to a position where no value is half read, or a string begins.
    pub(super) fn jump(&mut self, to: &Position<T>) {
        self.at = *to;
        self.begin_string();
    }

    /// Scans some of the bytes, at least one; gives the rest. Stops before the first byte of a wanted string and
    /// behind its last quote. Each state's function ends with the call of another or with what it gives, so
    /// that a step is a few jumps.
    #[inline(always)]
    fn advance<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        match self.at.state {
            JsonState::Value | JsonState::ValueOrEnd => self.push_value(bytes, sink),
            JsonState::Key | JsonState::KeyOrEnd => self.push_key_or_end(bytes, sink),
            JsonState::InKey => self.push_key(bytes, sink),
            JsonState::InKeyEscape => self.push_key_escape(bytes),
            JsonState::Colon => self.push_colon(bytes, sink),
            JsonState::AfterValue => self.push_after_value(bytes, sink),
            JsonState::InString | JsonState::InEscape | JsonState::InUnicode(_) => {
                self.push_text(bytes, sink)
            }
            JsonState::InLiteral => self.push_literal(bytes, sink),
            JsonState::Done => self.push_blanks(bytes),
            JsonState::Failed(_) => &[],
        }
    }

    /// The document ends here. Ready for the next one afterwards.
    ///
    /// # Errors
    /// Says why the document could not be scanned; what was reported before that stands.
    pub fn end(&mut self, sink: &mut impl FnMut(T, ScanEvent<'_>)) -> Result<(), ScanError> {
        if self.at.state == JsonState::InLiteral && self.at.depth == 0 {
            self.end_literal(&[], sink);
        }
        let state = std::mem::replace(&mut self.at, Position::start(self.root)).state;
        match state {
            JsonState::Done => Ok(()),
            JsonState::Failed(why) => Err(why),
            _ => Err(ScanError::Incomplete),
        }
    }

    /// Only blanks may stand here: all else that may was looked for before.
    fn push_blanks<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let end = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
        if end == 0 {
            self.at.state = JsonState::Failed(ScanError::Syntax);
        }
        bytes.split_at(end).1
    }

    fn push_value<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return bytes };
        match byte {
            b'"' => {
                self.at.state = JsonState::InString;
                if !self.is_counted() {
                    return self.push_text(rest, sink);
                }
                self.begin_string();
            }
            b'{' => return self.open(true, rest, sink),
            b'[' => return self.open(false, rest, sink),
            b'-' | b'+' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.at.state = JsonState::InLiteral;
                self.word_len = 0;
                return self.push_literal(bytes, sink);
            }
            b']' if self.at.state == JsonState::ValueOrEnd => return self.close(rest, sink),
            _ => return self.push_blanks(bytes),
        }
        rest
    }

    fn push_after_value<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return bytes };
        match byte {
            b',' if self.in_object() => {
                self.raw_chars += 1;
                self.at.state = JsonState::Key;
                if let [b'"', ..] = rest { self.push_key_or_end(rest, sink) } else { rest }
            }
            b',' => {
                self.raw_chars += 1;
                self.at.state = JsonState::Value;
                self.at.node = self.container().and_then(|node| node.items);
                rest
            }
            b'}' if self.in_object() => self.close(rest, sink),
            b']' if !self.in_object() => self.close(rest, sink),
            _ => self.push_blanks(bytes),
        }
    }

    fn push_key_or_end<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return bytes };
        match byte {
            b'"' => {
                self.word_len = 0;
                if self.at.raw_depth > 0 {
                    self.begin_string();
                }
                self.at.state = JsonState::InKey;
                self.push_key(rest, sink)
            }
            b'}' if self.at.state == JsonState::KeyOrEnd => self.close(rest, sink),
            _ => self.push_blanks(bytes),
        }
    }

    fn push_key<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let (part, rest) = bytes.split_at(scan::plain_len(bytes));
        let wanted = self.container().map_or(&[][..], |node| node.keys);
        if wanted.is_empty() && self.at.raw_depth > 0 {
            self.count.push(part);
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                self.at.node = self.word(part).and_then(|key| {
                    wanted.iter().find(|(name, _)| name.as_bytes() == key).map(|(_, node)| *node)
                });
                if self.at.raw_depth > 0 {
                    self.raw_chars += self.count.chars() + 2;
                }
                self.at.state = JsonState::Colon;
                // It follows at once, as a rule.
                if let [b':', ..] = rest { self.push_colon(rest, sink) } else { rest }
            }
            Some((_, rest)) => {
                self.at.state = JsonState::InKeyEscape;
                rest
            }
            None => {
                self.keep_word(part);
                rest
            }
        }
    }

    fn push_key_escape<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        // A wanted key written with escapes is not recognised: no server does that.
        self.word_len = MAX_WORD + 1;
        self.raw_chars += 2;
        self.at.state = JsonState::InKey;
        bytes.split_first().map_or(bytes, |(_, rest)| rest)
    }

    fn push_colon<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let Some(rest) = bytes.strip_prefix(b":") else { return self.push_blanks(bytes) };
        self.raw_chars += 1;
        self.at.state = JsonState::Value;
        self.push_value(rest, sink)
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

    // Apart from what calls it, which then has little to save on the stack.
    #[inline(never)]
    fn open<'a>(
        &mut self,
        object: bool,
        rest: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        if self.at.depth == MAX_DEPTH {
            self.at.state = JsonState::Failed(ScanError::TooDeep);
            return rest;
        }
        if let Some(node) = self.at.node {
            node.tell(ScanEvent::Open, sink);
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
            self.at.state = JsonState::KeyOrEnd;
        } else {
            self.at.state = JsonState::ValueOrEnd;
            self.at.node = self.container().and_then(|node| node.items);
        }
        rest
    }

    #[inline(never)]
    fn close<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(T, ScanEvent<'_>)) -> &'a [u8] {
        self.raw_chars += 1;
        if let Some(node) = self.container() {
            if self.at.raw_depth == self.at.depth {
                self.at.raw_depth = 0;
                node.tell(ScanEvent::Raw { chars: self.raw_chars }, sink);
            }
            node.tell(ScanEvent::Close, sink);
        }
        self.at.depth -= 1;
        self.at.objects >>= 1;
        self.end_value();
        rest
    }

    fn end_value(&mut self) {
        self.at.state = if self.at.depth == 0 { JsonState::Done } else { JsonState::AfterValue };
    }

    fn in_object(&self) -> bool {
        self.at.objects & 1 == 1
    }

    /// The node of the innermost open container.
    fn container(&self) -> Option<&'static JsonNode<T>> {
        self.at.path.get(self.at.depth.checked_sub(1)?).copied().flatten()
    }

    /// Appends to the current word; one that grows too long is none.
    fn keep_word(&mut self, part: &[u8]) {
        let end = self.word_len.saturating_add(part.len());
        if let Some(slot) = self.word.get_mut(self.word_len..end) {
            slot.copy_from_slice(part);
        }
        self.word_len = end;
    }

    /// The current word, of which `part` is the last; `None` if it is too long. One that came in a single
    /// piece is not copied.
    fn word<'a>(&'a mut self, part: &'a [u8]) -> Option<&'a [u8]> {
        if self.word_len == 0 {
            return (part.len() <= MAX_WORD).then_some(part);
        }
        self.keep_word(part);
        self.word.get(..self.word_len)
    }

    fn push_literal<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let is_inside = |byte: &u8| LITERAL.get(usize::from(*byte)) == Some(&true);
        match bytes.iter().position(|byte| !is_inside(byte)) {
            Some(end) => {
                let (part, rest) = bytes.split_at(end);
                self.end_literal(part, sink);
                rest
            }
            None => {
                self.keep_word(bytes);
                &[]
            }
        }
    }

    fn end_literal(&mut self, part: &[u8], sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        self.end_value();
        self.raw_chars += (self.word_len + part.len()) as u64;
        if let Some(node) = self.at.node {
            // What is longer is no count.
            let token = self.word(part).map_or(ScanEvent::Null, literal);
            node.tell(token, sink);
        }
    }
}

/// Whether a number or literal goes on with this byte.
#[allow(clippy::indexing_slicing, reason = "beyond the end, it would not compile")]
const LITERAL: [bool; 256] = {
    let mut inside = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        inside[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        byte += 1;
    }
    inside
};

/// What a number or literal means.
fn literal(word: &[u8]) -> ScanEvent<'static> {
    if let Some(number) = whole_number(word) {
        return ScanEvent::Number(number);
    }
    match word {
        b"null" => ScanEvent::Null,
        b"true" => ScanEvent::Bool(true),
        b"false" => ScanEvent::Bool(false),
        _ => match std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()) {
            Some(number) if f64::is_finite(number) => ScanEvent::Number(number),
            // Python's NaN.
            _ => ScanEvent::Null,
        },
    }
}

/// A number of digits only, as counts are, and so few that it is exact; the parser of all numbers gives
/// the same, but takes longer.
fn whole_number(word: &[u8]) -> Option<f64> {
    const MAX_DIGITS: usize = 15;
    if word.len() > MAX_DIGITS {
        return None;
    }
    let mut number = 0_u64;
    for byte in word {
        number = number * 10 + u64::from(char::from(*byte).to_digit(10)?);
    }
    Some(number as f64)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
