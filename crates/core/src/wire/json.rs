//! Reads selected values from a JSON document that arrives in parts.
//!
//! A [`JsonNode`] tree, usually a `static`, names the paths to read. The scanner reads the document
//! once, with a state of a few hundred bytes whatever the document's size, and reports the selected
//! values; all else is skipped. A member of an object that lies within one part is read in one
//! step; otherwise the state records where to continue.
//!
//! The grammar is checked as far as that needs: brackets, commas, colons and strings. Numbers and
//! literals that are not selected are not checked, so Python's `NaN` and `-Infinity` are accepted.

mod node;
pub(super) mod scan;
mod text;

use super::scan_event::{ScanError, ScanEvent};
use super::utf8::ScalarCount;

pub use node::{JsonNode, StringMode};

/// Longest text that is kept of one string, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Deepest accepted nesting; more is [`ScanError::TooDeep`].
const MAX_DEPTH: usize = 128;
/// Longest path that can be selected.
pub const MAX_PATH: usize = 12;
/// Longest key, number or literal that is read, in bytes. All selected ones are shorter.
pub const MAX_WORD: usize = 40;

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
    /// In a `\u` escape: number of hexadecimal digits left.
    InUnicode(u8),
    InLiteral,
    Done,
    Failed(ScanError),
}

/// Position of the scanner in a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonPosition<T: Copy + 'static> {
    state: JsonState,
    /// One bit per open container: 1 for objects, 0 for arrays.
    objects: u128,
    depth: usize,
    /// Depth within the container that is counted as a whole; 0 outside of one.
    raw_depth: usize,
    /// Nodes of the open containers, up to the longest path.
    path: [Option<&'static JsonNode<T>>; MAX_PATH],
    /// Node of the value that comes next or is being read.
    node: Option<&'static JsonNode<T>>,
}

impl<T: Copy + 'static> PartialEq for JsonPosition<T> {
    /// Nodes are compared by address: equal nodes are the same place of the tree.
    fn eq(&self, other: &Self) -> bool {
        let node = |node: Option<&'static JsonNode<T>>| node.map(std::ptr::from_ref);
        let Self { state, objects, depth, raw_depth, .. } = *self;
        (state, objects, depth, raw_depth)
            == (other.state, other.objects, other.depth, other.raw_depth)
            && node(self.node) == node(other.node)
            && self.path.iter().zip(&other.path).all(|(one, two)| node(*one) == node(*two))
    }
}

/// Incremental scanner of one document after another.
#[derive(Debug)]
pub struct JsonScanner<T: Copy + 'static> {
    root: &'static JsonNode<T>,
    at: JsonPosition<T>,
    /// The part of the current key, number or literal that arrived in previous parts.
    word: [u8; MAX_WORD],
    word_len: usize,
    count: ScalarCount,
    /// Length so far of the container that is counted as a whole.
    raw_chars: u64,
    text: Vec<u8>,
    unicode: u16,
    /// First half of a surrogate pair, if the previous escape was one.
    high_surrogate: Option<u16>,
}

impl<T: Copy + 'static> JsonPosition<T> {
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

    /// Returns whether the document is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == JsonState::Done
    }
}

impl<T: Copy + 'static> JsonScanner<T> {
    /// Returns a scanner for documents of this shape.
    pub fn new(root: &'static JsonNode<T>) -> Self {
        Self {
            root,
            at: JsonPosition::start(root),
            word: [0; MAX_WORD],
            word_len: 0,
            count: ScalarCount::default(),
            raw_chars: 0,
            text: Vec::new(),
            unicode: 0,
            high_surrogate: None,
        }
    }

    /// Sets the shape of the next document. Must be called between two documents.
    pub fn begin(&mut self, root: &'static JsonNode<T>) {
        self.root = root;
        self.at = JsonPosition::start(root);
    }

    /// Scans the next bytes of the document and reports the values in them.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        while !bytes.is_empty() {
            bytes = self.advance(bytes, sink);
        }
    }

    /// Scans the next bytes of the document up to its end. Returns the bytes after it.
    pub(super) fn push_document<'a>(
        &mut self,
        mut bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        while !bytes.is_empty() && !self.at.is_done() {
            bytes = self.advance(bytes, sink);
        }
        bytes
    }

    /// Scans until a selected string begins that differs between documents. Returns the bytes after
    /// its opening quote; empty if there is none.
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

    /// Returns whether the scanner is at the first byte of a selected string that differs between
    /// documents.
    pub(super) fn is_in_text(&self) -> bool {
        let changes = |node: &JsonNode<T>| node.strings == StringMode::Count;
        self.at.state == JsonState::InString && self.at.node.is_some_and(changes)
    }

    pub(super) fn position(&self) -> &JsonPosition<T> {
        &self.at
    }

    /// Moves to a position at the start of a string or between values.
    pub(super) fn jump(&mut self, to: &JsonPosition<T>) {
        self.at = *to;
        self.begin_string();
    }

    /// Scans at least one of the bytes and returns the rest. Stops before the first byte of a
    /// selected string and after its closing quote. The function of each state ends with a call of
    /// another or with its result, so that a step compiles to a few jumps.
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
            JsonState::Done => self.skip_white_space(bytes),
            JsonState::Failed(_) => &[],
        }
    }

    /// Ends the document. The scanner is then ready for the next one.
    ///
    /// # Errors
    ///
    /// If the document is malformed or incomplete. Values that were reported before remain valid.
    pub fn end(&mut self, sink: &mut impl FnMut(T, ScanEvent<'_>)) -> Result<(), ScanError> {
        if self.at.state == JsonState::InLiteral && self.at.depth == 0 {
            self.end_literal(&[], sink);
        }
        let state = std::mem::replace(&mut self.at, JsonPosition::start(self.root)).state;
        match state {
            JsonState::Done => Ok(()),
            JsonState::Failed(why) => Err(why),
            _ => Err(ScanError::Incomplete),
        }
    }

    /// Skips white space, which is all that is allowed here: callers have handled everything else.
    fn skip_white_space<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let is_white_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let end = bytes.iter().position(|byte| !is_white_space(byte)).unwrap_or(bytes.len());
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
            _ => return self.skip_white_space(bytes),
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
            _ => self.skip_white_space(bytes),
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
            _ => self.skip_white_space(bytes),
        }
    }

    fn push_key<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) -> &'a [u8] {
        let (part, rest) = bytes.split_at(scan::plain_len(bytes));
        let selected = self.container().map_or(&[][..], |node| node.keys);
        if selected.is_empty() && self.at.raw_depth > 0 {
            self.count.push(part);
        }
        match rest.split_first() {
            Some((b'"', rest)) => {
                self.at.node = self.word(part).and_then(|key| {
                    // The first byte differs nearly always, which saves the call that compares all.
                    let is_key = |name: &str| {
                        name.len() == key.len()
                            && name.as_bytes().first() == key.first()
                            && name.as_bytes() == key
                    };
                    selected.iter().find(|(name, _)| is_key(name)).map(|(_, node)| *node)
                });
                if self.at.raw_depth > 0 {
                    self.raw_chars += self.count.chars() + 2;
                }
                self.at.state = JsonState::Colon;
                // The colon usually follows directly.
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
        // A selected key that is written with escapes is not recognised. No server does that.
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
        let Some(rest) = bytes.strip_prefix(b":") else { return self.skip_white_space(bytes) };
        self.raw_chars += 1;
        self.at.state = JsonState::Value;
        self.push_value(rest, sink)
    }

    /// Returns whether strings are counted here.
    fn is_counted(&self) -> bool {
        self.at.node.is_some() || self.at.raw_depth > 0
    }

    fn begin_string(&mut self) {
        self.count = ScalarCount::default();
        self.text.clear();
        self.high_surrogate = None;
    }

    // Not inlined, so that its callers save fewer registers on the stack.
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
            node.report(ScanEvent::Open, sink);
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
                node.report(ScanEvent::Raw { chars: self.raw_chars }, sink);
            }
            node.report(ScanEvent::Close, sink);
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

    /// Returns the node of the innermost open container.
    fn container(&self) -> Option<&'static JsonNode<T>> {
        self.at.path.get(self.at.depth.checked_sub(1)?).copied().flatten()
    }

    /// Appends to the current word. Too long a word is dropped.
    fn keep_word(&mut self, part: &[u8]) {
        let end = self.word_len.saturating_add(part.len());
        if let Some(slot) = self.word.get_mut(self.word_len..end) {
            slot.copy_from_slice(part);
        }
        self.word_len = end;
    }

    /// Returns the current word, whose last part is `part`; `None` if it is too long. A word that
    /// arrived in a single part is not copied.
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
            // A longer number or literal is reported as null.
            let token = self.word(part).map_or(ScanEvent::Null, parse_literal);
            node.report(token, sink);
        }
    }
}

/// Bytes that continue a number or literal.
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

/// Parses a number or literal.
fn parse_literal(word: &[u8]) -> ScanEvent<'static> {
    if let Some(number) = parse_whole_number(word) {
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

/// Parses a number of at most 15 digits, such as a count. Exact, and faster than the general
/// parser.
fn parse_whole_number(word: &[u8]) -> Option<f64> {
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
