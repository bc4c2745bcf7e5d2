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
//! What is reported is exactly what [`JsonScanner`] reports.
//!
//! All that streams have in common is kept once for them, in the [`MemoScanner`] (see `Form`): what is found in
//! the events of a server, and nearly all of their bytes. A stream's [`Memo`] is little more than what only its
//! own events have: an id, a time. Streams can share a scanner as long as each brings whole documents.

mod form;

use super::json::{JsonNode, JsonScanner, ScanError, ScanEvent};
use form::{Findings, Form};
use std::sync::Arc;

/// Longest run of bytes that is remembered.
const MAX_BYTES: usize = 512;
/// After this many documents that were not like the one before, in a row, no more are remembered.
const PATIENCE: u8 = 16;
/// Most forms that are kept to be shared; streams may hold on to others.
const MAX_KNOWN: usize = 32;

/// What one stream remembers of its documents.
#[derive(Debug)]
pub struct Memo<T: Copy + PartialEq + 'static> {
    /// What only this stream's runs have, of the one before and then of the one behind.
    own: Box<[u8]>,
    /// From the document's start to the first string that changes, its quote included.
    before: Option<Arc<Form<T>>>,
    /// From the end of that string to the document's end.
    behind: Option<Arc<Form<T>>>,
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
            own: Box::default(),
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
        (self.before, self.behind) = (None, None);
    }

    /// Its own bytes, of the run before and of the one behind.
    fn own(&self) -> (&[u8], &[u8]) {
        let before = self.before.as_ref().map_or(0, |form| form.own_len());
        self.own.split_at_checked(before).unwrap_or_default()
    }

    /// Remembers this form of the run before, in place of all else.
    fn keep_before(&mut self, form: Arc<Form<T>>, own: &[u8]) {
        (self.own, self.before, self.behind) = (own.into(), Some(form), None);
    }

    /// Remembers this form of the run behind.
    fn keep_behind(&mut self, form: Arc<Form<T>>, own: &[u8]) {
        let (before, _) = self.own();
        (self.own, self.behind) = ([before, own].concat().into(), Some(form));
    }
}

/// A [`JsonScanner`] that uses memos. One document after the other is scanned with it, each with the memo
/// of its stream.
#[derive(Debug)]
pub struct MemoScanner<T: Copy + PartialEq + 'static> {
    scanner: JsonScanner<T>,
    /// Nothing of the document was seen yet.
    at_start: bool,
    /// What is being found.
    draft: Findings<T>,
    known: Vec<Arc<Form<T>>>,
}

impl<T: Copy + PartialEq + 'static> MemoScanner<T> {
    /// A scanner; the first document has this shape.
    pub fn new(root: &'static JsonNode<T>) -> Self {
        let scanner = JsonScanner::new(root);
        let draft = Findings::new(*scanner.position());
        Self { scanner, at_start: true, draft, known: Vec::new() }
    }

    /// The next document has this shape. To be told between two documents.
    pub fn begin(&mut self, root: &'static JsonNode<T>) {
        self.scanner.begin(root);
    }

    /// Scans the next bytes of the document.
    pub fn push(
        &mut self,
        memo: &mut Memo<T>,
        bytes: &[u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) {
        if !std::mem::take(&mut self.at_start) {
            self.scanner.push(bytes, sink);
        } else if let Some(before) = &memo.before
            && let Some(rest) = before.strip_from(bytes, memo.own().0)
        {
            memo.misses = 0;
            let findings = before.findings();
            findings.replay(sink);
            self.scanner.jump(findings.end());
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
    /// As [`JsonScanner::end`].
    pub fn end(&mut self, sink: &mut impl FnMut(T, ScanEvent<'_>)) -> Result<(), ScanError> {
        self.at_start = true;
        self.scanner.end(sink)
    }

    /// Scans a document, and remembers it as far as it is here.
    fn learn(&mut self, memo: &mut Memo<T>, bytes: &[u8], sink: &mut impl FnMut(T, ScanEvent<'_>)) {
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
        if let Some((form, own)) = self.form(run) {
            memo.keep_before(form, &own);
        }
        self.push_behind(memo, rest, sink);
    }

    /// Scans on from the start of the string that changes.
    fn push_behind(
        &mut self,
        memo: &mut Memo<T>,
        bytes: &[u8],
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) {
        let Self { scanner, draft, .. } = self;
        let rest = scanner.push_text(bytes, sink);
        if rest.is_empty() {
            return;
        }
        if let Some(behind) = &memo.behind
            && behind.strip_from(rest, memo.own().1).is_some_and(<[u8]>::is_empty)
        {
            memo.misses_behind = 0;
            let findings = behind.findings();
            findings.replay(sink);
            scanner.jump(findings.end());
            return;
        }
        memo.behind = None;
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
            if let Some((form, own)) = self.form(rest) {
                memo.keep_behind(form, &own);
            }
        }
    }

    /// The form to keep of this run, in which the draft was found, and what of the run is not in it; `None` if
    /// it is too much.
    fn form(&mut self, run: &[u8]) -> Option<(Arc<Form<T>>, Vec<u8>)> {
        let Self { scanner, draft, known, .. } = self;
        if run.len() > MAX_BYTES || !draft.conclude(*scanner.position()) {
            return None;
        }
        // The latest are those that know best in what the streams of today differ.
        let mut alike = known.iter().rev().filter(|form| *form.findings() == *draft).peekable();
        let latest = alike.peek().copied();
        if let Some(fit) = alike.find_map(|form| Some((Arc::clone(form), form.own_of(run)?))) {
            return Some(fit);
        }
        let (form, own) = match latest {
            Some(latest) => latest.widened(run),
            None => (Form::new(run, Arc::new(draft.clone())), Vec::new()),
        };
        let form = Arc::new(form);
        if known.len() == MAX_KNOWN {
            known.remove(0);
        }
        known.push(Arc::clone(&form));
        Some((form, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static TEXT: JsonNode<u8> = JsonNode::scalar(1);
    static KEPT: JsonNode<u8> = JsonNode::text(2);
    static ITEM: JsonNode<u8> =
        JsonNode::object(3, &[("t", &TEXT), ("k", &KEPT), ("n", &JsonNode::scalar(4))]);
    static ID: JsonNode<u8> = JsonNode::constant(6);
    static ROOT: JsonNode<u8> = JsonNode::object(
        0,
        &[("i", &ID), ("l", &JsonNode::array(5, &ITEM)), ("t", &TEXT), ("k", &KEPT)],
    );

    type Reports = (Vec<String>, Result<(), ScanError>);

    fn plain(documents: &[String], size: usize) -> Vec<Reports> {
        let mut scanner = JsonScanner::new(&ROOT);
        let scan = |document: &String| {
            let mut found = Vec::new();
            let mut sink = |tag: u8, token: ScanEvent<'_>| found.push(format!("{tag} {token:?}"));
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
            let mut sink = |tag: u8, token: ScanEvent<'_>| found.push(format!("{tag} {token:?}"));
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
        // What is before the text with and without a place for the id, and what is behind.
        assert_eq!(scanner.known.len(), 3);
        let [one, two] = &streams;
        assert!(one.own.is_empty(), "it was alone when it learned");
        assert_eq!(&*two.own, b"two");
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
            known.push(memo.behind.is_some());
        }
        let (first, known) = known.split_first().unwrap();
        assert!(!first, "what comes alone is not worth it");
        let patience = usize::from(PATIENCE);
        assert!(known[..patience].iter().all(|is_kept| *is_kept));
        assert!(known[patience..].iter().all(|is_kept| !is_kept));
        assert!(scanner.known.len() <= 1 + patience);
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
