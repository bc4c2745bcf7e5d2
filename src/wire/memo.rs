//! A scanner that remembers what does not change from one document to the next.
//!
//! The events of a stream differ in one string, most often: the new text. What stands before and
//! behind it is the same, byte for byte, event after event, and scanning it again finds the same. So
//! the bytes up to the first counted string are kept with what was found in them and where that led,
//! and so are those behind it; a document that begins (or ends) with the same bytes is compared in
//! place of being scanned. A document that does not is scanned, and remembered in its place.
//!
//! What is reported is exactly what [`Scanner`] reports.

use super::json::{Malformed, Node, Position, Scanner, Token};

/// Longest run of bytes that is remembered.
const MAX_BYTES: usize = 512;
/// Most reports that are remembered of one run.
const MAX_TOKENS: usize = 32;
/// After this many documents that were not like the one before, in a row, no more are remembered.
const PATIENCE: u8 = 16;

/// A report without a borrowed text: that stands in the run's own buffer.
#[derive(Debug, Clone, Copy)]
enum Found {
    Plain(Token<'static>),
    Text { chars: u64, start: usize, len: usize, valid: bool },
}

/// Bytes, what was found in them, and where they led.
#[derive(Debug)]
struct Run<T: Copy + 'static> {
    bytes: Vec<u8>,
    found: Vec<(T, Found)>,
    texts: Vec<u8>,
    end: Position<T>,
    /// There was too much to remember.
    overflown: bool,
}

impl<T: Copy + 'static> Run<T> {
    fn new(at: Position<T>) -> Self {
        Self { bytes: Vec::new(), found: Vec::new(), texts: Vec::new(), end: at, overflown: false }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.found.clear();
        self.texts.clear();
        self.overflown = false;
    }

    fn note(&mut self, tag: T, token: Token<'_>) {
        if self.found.len() == MAX_TOKENS {
            self.overflown = true;
            return;
        }
        let found = match token {
            Token::Text { chars, text, valid } => {
                let start = self.texts.len();
                self.texts.extend_from_slice(text);
                self.overflown |= self.texts.len() > MAX_BYTES;
                Found::Text { chars, start, len: text.len(), valid }
            }
            Token::Open => Found::Plain(Token::Open),
            Token::Close => Found::Plain(Token::Close),
            Token::Number(number) => Found::Plain(Token::Number(number)),
            Token::Bool(yes) => Found::Plain(Token::Bool(yes)),
            Token::Null => Found::Plain(Token::Null),
        };
        self.found.push((tag, found));
    }

    /// The run is complete. One that is too long is not remembered.
    fn keep(&mut self, bytes: &[u8], end: Position<T>) {
        if self.overflown || bytes.len() > MAX_BYTES {
            self.clear();
        } else {
            self.bytes.extend_from_slice(bytes);
            self.end = end;
        }
    }

    fn is_known(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn replay(&self, sink: &mut impl FnMut(T, Token<'_>)) {
        for (tag, found) in &self.found {
            match *found {
                Found::Plain(token) => sink(*tag, token),
                Found::Text { chars, start, len, valid } => {
                    let text = self.texts.get(start..start + len).unwrap_or_default();
                    sink(*tag, Token::Text { chars, text, valid });
                }
            }
        }
    }
}

/// A [`Scanner`] with a memory. It is used in the same way.
#[derive(Debug)]
pub struct MemoScanner<T: Copy + 'static> {
    scanner: Scanner<T>,
    /// From the document's start to the first counted string, its quote included.
    before: Run<T>,
    /// From the end of that string to the document's end.
    behind: Run<T>,
    /// Nothing of the document was seen yet.
    at_start: bool,
    /// Documents in a row that began unlike the one before.
    misses: u8,
}

impl<T: Copy + 'static> MemoScanner<T> {
    /// A scanner for documents of this shape.
    pub fn new(root: &'static Node<T>) -> Self {
        let scanner = Scanner::new(root);
        let (before, behind) = (Run::new(scanner.position()), Run::new(scanner.position()));
        Self { scanner, before, behind, at_start: true, misses: 0 }
    }

    /// Scans the next bytes of the document.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        if !std::mem::take(&mut self.at_start) {
            self.scanner.push(bytes, sink);
        } else if self.before.is_known()
            && let Some(rest) = bytes.strip_prefix(self.before.bytes.as_slice())
        {
            self.misses = 0;
            self.before.replay(sink);
            self.scanner.jump(self.before.end);
            self.push_behind(rest, sink);
        } else if self.misses < PATIENCE {
            self.misses += 1;
            self.learn(bytes, sink);
        } else {
            self.scanner.push(bytes, sink);
        }
    }

    /// The document ends here. Ready for the next one afterwards.
    ///
    /// # Errors
    /// As [`Scanner::end`].
    pub fn end(&mut self, sink: &mut impl FnMut(T, Token<'_>)) -> Result<(), Malformed> {
        self.at_start = true;
        self.scanner.end(sink)
    }

    /// Scans a document, and remembers it as far as it is here.
    fn learn(&mut self, bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        let Self { scanner, before, behind, .. } = self;
        before.clear();
        behind.clear();
        let rest = scanner.push_until_text(bytes, &mut |tag, token| {
            before.note(tag, token);
            sink(tag, token);
        });
        if !scanner.is_in_text() {
            before.clear();
            return;
        }
        let (run, _) = bytes.split_at(bytes.len() - rest.len());
        before.keep(run, scanner.position());
        self.push_behind(rest, sink);
    }

    /// Scans on from the start of the counted string.
    fn push_behind(&mut self, bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        let Self { scanner, before, behind, .. } = self;
        let rest = scanner.push_text(bytes, sink);
        if rest.is_empty() {
            return;
        }
        if behind.is_known() && rest == behind.bytes {
            behind.replay(sink);
            scanner.jump(behind.end);
            return;
        }
        behind.clear();
        scanner.push(rest, &mut |tag, token| {
            behind.note(tag, token);
            sink(tag, token);
        });
        // What goes on in another piece would not be compared as a whole.
        if before.is_known() && scanner.position().is_done() {
            behind.keep(rest, scanner.position());
        } else {
            behind.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static TEXT: Node<u8> = Node::scalar(1);
    static KEPT: Node<u8> = Node::text(2);
    static ITEM: Node<u8> = Node::object(3, &[("t", &TEXT), ("k", &KEPT), ("n", &Node::scalar(4))]);
    static ROOT: Node<u8> =
        Node::object(0, &[("l", &Node::array(5, &ITEM)), ("t", &TEXT), ("k", &KEPT)]);

    type Reports = (Vec<String>, Result<(), Malformed>);

    fn plain(documents: &[String], size: usize) -> Vec<Reports> {
        let mut scanner = Scanner::new(&ROOT);
        let scan = |document: &String| {
            let mut found = Vec::new();
            let mut sink = |tag: u8, token: Token<'_>| found.push(format!("{tag} {token:?}"));
            document.as_bytes().chunks(size).for_each(|part| scanner.push(part, &mut sink));
            let end = scanner.end(&mut sink);
            (found, end)
        };
        documents.iter().map(scan).collect()
    }

    fn memo(documents: &[String], size: usize) -> Vec<Reports> {
        let mut scanner = MemoScanner::new(&ROOT);
        let scan = |document: &String| {
            let mut found = Vec::new();
            let mut sink = |tag: u8, token: Token<'_>| found.push(format!("{tag} {token:?}"));
            document.as_bytes().chunks(size).for_each(|part| scanner.push(part, &mut sink));
            let end = scanner.end(&mut sink);
            (found, end)
        };
        documents.iter().map(scan).collect()
    }

    #[test]
    fn remembers_both_sides_and_reports_the_same() {
        let document = |text: &str, tail: &str| {
            format!(r#"{{"k":"model","l":[{{"n":0,"t":"{text}","k":null}}],"x":[1,{{}}]}}{tail}"#)
        };
        let documents: Vec<String> = [
            document("a", ""),
            document("b\\n\\u00e9", ""),
            document("", " "),
            document("c", "}"),
            document("unterminated", "").split_at(50).0.to_owned(),
            document("d", ""),
            document("d", ""),
        ]
        .to_vec();
        for size in [usize::MAX, 40, 1] {
            assert_eq!(memo(&documents, size), plain(&documents, size), "in pieces of {size}");
        }
        let mut scanner = MemoScanner::new(&ROOT);
        for _ in 0..2 {
            scanner.push(documents[0].as_bytes(), &mut |_, _| {});
            scanner.end(&mut |_, _| {}).unwrap();
        }
        assert!(scanner.before.is_known() && scanner.behind.is_known());
        assert_eq!(scanner.misses, 0);
    }

    fn any_document() -> impl Strategy<Value = String> {
        let text =
            prop_oneof![Just("".to_owned()), "[a-z\u{e9}]{1,3}", Just("\\u00e9\\\"".to_owned())];
        let shape = prop_oneof![
            Just(r#"{"l":[{"n":0,"t":"@"}]}"#),
            Just(r#"{"l":[{"n":0,"t":"@","k":"@"}],"k":"same"}"#),
            Just(r#"{"k":"@","l":[{"t":null,"k":"x"}],"t":"@"}"#),
            Just(r#"{"t":"@"},"#),
            Just(r#"{"t":"@"#),
            Just(r#"["@"]"#),
            Just(r#""@""#),
        ];
        (shape, text).prop_map(|(shape, text)| shape.replace('@', &text))
    }

    proptest! {
        #[test]
        fn any_documents_in_any_pieces(documents in proptest::collection::vec(any_document(), 1..40), size in 1usize..60) {
            prop_assert_eq!(memo(&documents, size), plain(&documents, size));
            prop_assert_eq!(memo(&documents, usize::MAX), plain(&documents, usize::MAX));
        }
    }
}
