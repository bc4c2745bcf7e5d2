//! A scanner that remembers what does not change from one document to the next.
//!
//! The events of a stream differ in one string, most often: the new text. What stands before and
//! behind it is the same, byte for byte, event after event, and scanning it again finds the same. So
//! the bytes up to the first string that changes are kept, with what was found in them and where that led,
//! and so are those behind it; a document that begins (or ends) with the same bytes is compared in
//! place of being scanned. A document that does not is scanned, and remembered in its place. The first
//! one is only scanned: an answer that is no stream has no other, and streams often begin with one unlike
//! the rest.
//!
//! What is reported is exactly what [`Scanner`] reports.
//!
//! A stream keeps a [`Memo`], which is little more than those bytes. All else is in the
//! [`MemoScanner`], which streams can share as long as each brings whole documents: what was found is
//! the same for all streams of a server, and kept once.

use super::json::{Malformed, Node, Position, Scanner, Token};
use std::sync::Arc;

/// Longest run of bytes that is remembered.
const MAX_BYTES: usize = 512;
/// Most reports that are remembered of one run.
const MAX_TOKENS: usize = 32;
/// After this many documents that were not like the one before, in a row, no more are remembered.
const PATIENCE: u8 = 16;
/// Most findings that are kept to be shared; streams may hold on to others.
const MAX_KNOWN: usize = 32;

/// A report without a borrowed text: that stands in the findings' own buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Plain(Token<'static>),
    Text { chars: u64, start: usize, len: usize, valid: bool },
}

/// What was found in a run of bytes, and where it led.
#[derive(Debug, Clone, PartialEq)]
struct Findings<T: Copy + PartialEq + 'static> {
    found: Vec<(T, Found)>,
    texts: Vec<u8>,
    end: Position<T>,
    /// There was too much to remember.
    overflown: bool,
}

impl<T: Copy + PartialEq + 'static> Findings<T> {
    fn clear(&mut self) {
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
            Token::Raw { chars } => Found::Plain(Token::Raw { chars }),
            Token::Number(number) => Found::Plain(Token::Number(number)),
            Token::Bool(yes) => Found::Plain(Token::Bool(yes)),
            Token::Null => Found::Plain(Token::Null),
        };
        self.found.push((tag, found));
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

/// What one stream remembers of its documents.
#[derive(Debug)]
pub struct Memo<T: Copy + PartialEq + 'static> {
    /// The first `split` bytes go from the document's start to the first string that changes, its quote
    /// included; the rest from the end of that string to the document's end.
    bytes: Vec<u8>,
    split: usize,
    before: Option<Arc<Findings<T>>>,
    behind: Option<Arc<Findings<T>>>,
    /// A document was there.
    has_begun: bool,
    /// Documents in a row that began unlike the one before.
    misses: u8,
    /// The same of those that ended unlike it.
    misses_behind: u8,
}

impl<T: Copy + PartialEq + 'static> Default for Memo<T> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            split: 0,
            before: None,
            behind: None,
            has_begun: false,
            misses: 0,
            misses_behind: 0,
        }
    }
}

impl<T: Copy + PartialEq + 'static> Memo<T> {
    fn forget(&mut self) {
        (self.before, self.split) = (None, 0);
        self.forget_behind();
    }

    fn forget_behind(&mut self) {
        self.bytes.truncate(self.split);
        self.behind = None;
    }

    /// Adds bytes to those of the memo, with no more room than they need.
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }
}

/// A [`Scanner`] that uses memos. One document after the other is scanned with it, each with the memo
/// of its stream.
#[derive(Debug)]
pub struct MemoScanner<T: Copy + PartialEq + 'static> {
    scanner: Scanner<T>,
    /// Nothing of the document was seen yet.
    at_start: bool,
    /// What is being found.
    draft: Findings<T>,
    known: Vec<Arc<Findings<T>>>,
}

impl<T: Copy + PartialEq + 'static> MemoScanner<T> {
    /// A scanner; the first document has this shape.
    pub fn new(root: &'static Node<T>) -> Self {
        let scanner = Scanner::new(root);
        let end = *scanner.position();
        let draft = Findings { found: Vec::new(), texts: Vec::new(), end, overflown: false };
        Self { scanner, at_start: true, draft, known: Vec::new() }
    }

    /// The next document has this shape. To be told between two documents.
    pub fn begin(&mut self, root: &'static Node<T>) {
        self.scanner.begin(root);
    }

    /// Scans the next bytes of the document.
    pub fn push(&mut self, memo: &mut Memo<T>, bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        if !std::mem::take(&mut self.at_start) {
            self.scanner.push(bytes, sink);
        } else if let Some(before) = &memo.before
            && let Some(rest) = memo.bytes.get(..memo.split).and_then(|run| bytes.strip_prefix(run))
        {
            memo.misses = 0;
            before.replay(sink);
            self.scanner.jump(&before.end);
            self.push_behind(memo, rest, sink);
        } else if std::mem::replace(&mut memo.has_begun, true) && memo.misses < PATIENCE {
            memo.misses += 1;
            self.learn(memo, bytes, sink);
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
    fn learn(&mut self, memo: &mut Memo<T>, bytes: &[u8], sink: &mut impl FnMut(T, Token<'_>)) {
        let Self { scanner, draft, .. } = self;
        memo.forget();
        draft.clear();
        let rest = scanner.push_until_text(bytes, &mut |tag, token| {
            draft.note(tag, token);
            sink(tag, token);
        });
        if !scanner.is_in_text() {
            return;
        }
        let (run, _) = bytes.split_at(bytes.len() - rest.len());
        if let Some(before) = self.found(run) {
            memo.keep(run);
            (memo.before, memo.split) = (Some(before), run.len());
        }
        self.push_behind(memo, rest, sink);
    }

    /// Scans on from the start of the string that changes.
    fn push_behind(
        &mut self,
        memo: &mut Memo<T>,
        bytes: &[u8],
        sink: &mut impl FnMut(T, Token<'_>),
    ) {
        let Self { scanner, draft, .. } = self;
        let rest = scanner.push_text(bytes, sink);
        if rest.is_empty() {
            return;
        }
        if let Some(behind) = &memo.behind
            && memo.bytes.get(memo.split..) == Some(rest)
        {
            memo.misses_behind = 0;
            behind.replay(sink);
            scanner.jump(&behind.end);
            return;
        }
        memo.forget_behind();
        // Some servers count up behind the text: there is nothing to remember.
        if memo.misses_behind == PATIENCE {
            scanner.push(rest, sink);
            return;
        }
        draft.clear();
        scanner.push(rest, &mut |tag, token| {
            draft.note(tag, token);
            sink(tag, token);
        });
        // What goes on in another piece would not be compared as a whole.
        if memo.before.is_some() && scanner.position().is_done() {
            memo.misses_behind += 1;
            memo.behind = self.found(rest);
            if memo.behind.is_some() {
                memo.keep(rest);
            }
        }
    }

    /// What was found in this run, to be kept; `None` if it is too much.
    fn found(&mut self, run: &[u8]) -> Option<Arc<Findings<T>>> {
        let Self { scanner, draft, known, .. } = self;
        if draft.overflown || run.len() > MAX_BYTES {
            return None;
        }
        draft.end = *scanner.position();
        if let Some(same) = known.iter().find(|one| ***one == *draft) {
            return Some(Arc::clone(same));
        }
        if known.len() == MAX_KNOWN {
            known.remove(0);
        }
        let new = Arc::new(draft.clone());
        known.push(Arc::clone(&new));
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static TEXT: Node<u8> = Node::scalar(1);
    static KEPT: Node<u8> = Node::text(2);
    static ITEM: Node<u8> = Node::object(3, &[("t", &TEXT), ("k", &KEPT), ("n", &Node::scalar(4))]);
    static ID: Node<u8> = Node::constant(6);
    static ROOT: Node<u8> =
        Node::object(0, &[("i", &ID), ("l", &Node::array(5, &ITEM)), ("t", &TEXT), ("k", &KEPT)]);

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
        let mut memo = Memo::default();
        let scan = |document: &String| {
            let mut found = Vec::new();
            let mut sink = |tag: u8, token: Token<'_>| found.push(format!("{tag} {token:?}"));
            document
                .as_bytes()
                .chunks(size)
                .for_each(|part| scanner.push(&mut memo, part, &mut sink));
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
    }

    #[test]
    fn what_two_streams_found_is_kept_once() {
        let mut scanner = MemoScanner::new(&ROOT);
        let mut streams = [Memo::default(), Memo::default()];
        for (memo, id) in [(0, "one"), (1, "two")].repeat(3) {
            let document = format!(r#"{{"i":"{id}","k":"same","l":[{{"t":"new","n":0}}]}}"#);
            scanner.push(&mut streams[memo], document.as_bytes(), &mut |_, _| {});
            scanner.end(&mut |_, _| {}).unwrap();
        }
        for memo in &streams {
            assert!(memo.before.is_some() && memo.behind.is_some());
            assert_eq!(memo.misses, 0);
        }
        assert_eq!(scanner.known.len(), 2);
    }

    #[test]
    fn what_always_changes_is_not_remembered() {
        let document =
            |text: &str, number: u8| format!(r#"{{"l":[{{"t":"{text}","n":{number}}}]}}"#);
        let changing: Vec<String> = (0..40).map(|at| document("a", at)).collect();
        assert_eq!(memo(&changing, usize::MAX), plain(&changing, usize::MAX));
        let mut scanner = MemoScanner::new(&ROOT);
        let mut memo = Memo::default();
        let mut known = Vec::new();
        for document in &changing {
            scanner.push(&mut memo, document.as_bytes(), &mut |_, _| {});
            scanner.end(&mut |_, _| {}).unwrap();
            known.push((memo.behind.is_some(), scanner.known.len()));
        }
        let (first, known) = known.split_first().unwrap();
        assert_eq!(*first, (false, 0), "what comes alone is not worth it");
        let patience = usize::from(PATIENCE);
        assert!(known[..patience].iter().all(|(is_kept, _)| *is_kept));
        assert!(known[patience..].iter().all(|rest| *rest == (false, 1 + patience)));
        assert!(memo.before.is_some(), "what does not change still is");
    }

    fn any_document() -> impl Strategy<Value = String> {
        let text =
            prop_oneof![Just("".to_owned()), "[a-z\u{e9}]{1,3}", Just("\\u00e9\\\"".to_owned())];
        let shape = prop_oneof![
            Just(r#"{"l":[{"n":0,"t":"@"}]}"#),
            Just(r#"{"l":[{"n":0,"t":"@","k":"@"}],"k":"same"}"#),
            Just(r#"{"k":"@","l":[{"t":null,"k":"x"}],"t":"@"}"#),
            Just(r#"{"i":"@","k":"same","t":"@"}"#),
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
