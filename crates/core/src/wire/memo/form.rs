//! Runs of bytes that come again and again, and what is found in them.

use super::MAX_BYTES;
use crate::wire::json::{Position, ScanEvent};
use std::sync::Arc;

/// Most reports that are remembered of one run.
const MAX_TOKENS: usize = 32;

/// A report without a borrowed text: that stands in the findings' own buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Plain(ScanEvent<'static>),
    Text { chars: u64, start: usize, len: usize, valid: bool },
}

/// What was found in a run of bytes, and where it led.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Findings<T: Copy + PartialEq + 'static> {
    found: Vec<(T, Found)>,
    texts: Vec<u8>,
    end: Position<T>,
    /// There was too much to remember.
    overflown: bool,
}

impl<T: Copy + PartialEq + 'static> Findings<T> {
    pub fn new(end: Position<T>) -> Self {
        Self { found: Vec::new(), texts: Vec::new(), end, overflown: false }
    }

    pub fn clear(&mut self) {
        self.found.clear();
        self.texts.clear();
        self.overflown = false;
    }

    pub fn note(&mut self, tag: T, token: ScanEvent<'_>) {
        if self.found.len() == MAX_TOKENS {
            self.overflown = true;
            return;
        }
        let found = match token {
            ScanEvent::Text { chars, text, valid } => {
                let start = self.texts.len();
                self.texts.extend_from_slice(text);
                self.overflown |= self.texts.len() > MAX_BYTES;
                Found::Text { chars, start, len: text.len(), valid }
            }
            ScanEvent::Open => Found::Plain(ScanEvent::Open),
            ScanEvent::Close => Found::Plain(ScanEvent::Close),
            ScanEvent::Raw { chars } => Found::Plain(ScanEvent::Raw { chars }),
            ScanEvent::Number(number) => Found::Plain(ScanEvent::Number(number)),
            ScanEvent::Bool(yes) => Found::Plain(ScanEvent::Bool(yes)),
            ScanEvent::Null => Found::Plain(ScanEvent::Null),
        };
        self.found.push((tag, found));
    }

    /// The run ends here. Whether it was little enough to remember.
    pub fn conclude(&mut self, end: Position<T>) -> bool {
        self.end = end;
        !self.overflown
    }

    /// Where the run led.
    pub fn end(&self) -> &Position<T> {
        &self.end
    }

    pub fn replay(&self, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        for (tag, found) in &self.found {
            match *found {
                Found::Plain(token) => sink(*tag, token),
                Found::Text { chars, start, len, valid } => {
                    let text = self.texts.get(start..start + len).unwrap_or_default();
                    sink(*tag, ScanEvent::Text { chars, text, valid });
                }
            }
        }
    }
}

/// A run of bytes as the streams of a server have it: the same, but for a word here and there that each has of
/// its own.
#[derive(Debug)]
pub(super) struct Form<T: Copy + PartialEq + 'static> {
    /// The run of the stream that had it first.
    sample: Box<[u8]>,
    parts: Box<[Part]>,
    /// How many bytes of a run are of its stream's own.
    own: usize,
    findings: Arc<Findings<T>>,
}

/// How many bytes all streams share, and how many behind them each has of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    shared: usize,
    own: usize,
}

impl<T: Copy + PartialEq + 'static> Form<T> {
    /// The form of a run in which this was found, all of it shared.
    pub fn new(run: &[u8], findings: Arc<Findings<T>>) -> Self {
        let parts = [Part { shared: run.len(), own: 0 }].into();
        Self { sample: run.into(), parts, own: 0, findings }
    }

    /// What is found in a run of this form.
    pub fn findings(&self) -> &Findings<T> {
        &self.findings
    }

    /// How many bytes of a run are of its stream's own.
    pub fn own_len(&self) -> usize {
        self.own
    }

    /// What follows the run of this form and these own bytes that `bytes` begins with, if they do.
    pub fn strip_from<'a>(&self, bytes: &'a [u8], mut own: &[u8]) -> Option<&'a [u8]> {
        let (mut sample, mut rest) = (&*self.sample, bytes);
        for part in &self.parts {
            let (shared, behind) = sample.split_at_checked(part.shared)?;
            let (mine, others) = own.split_at_checked(part.own)?;
            rest = rest.strip_prefix(shared)?.strip_prefix(mine)?;
            sample = behind.get(part.own..)?;
            own = others;
        }
        Some(rest)
    }

    /// The own bytes of a run, if it is of this form.
    pub fn own_of(&self, run: &[u8]) -> Option<Vec<u8>> {
        let (mut sample, mut rest) = (&*self.sample, run);
        let mut own = Vec::with_capacity(self.own_len());
        for part in &self.parts {
            let (shared, behind) = sample.split_at_checked(part.shared)?;
            let (mine, others) = rest.strip_prefix(shared)?.split_at_checked(part.own)?;
            own.extend_from_slice(mine);
            (sample, rest) = (behind.get(part.own..)?, others);
        }
        rest.is_empty().then_some(own)
    }

    /// A form for this run, in which the same was found, and its own bytes: where it differs from this form,
    /// streams of the new one may differ. If it is of another length, it is a form of its own.
    pub fn widened(&self, run: &[u8]) -> (Self, Vec<u8>) {
        let findings = Arc::clone(&self.findings);
        if run.len() != self.sample.len() {
            return (Self::new(run, findings), Vec::new());
        }
        let mut is_own = self.own_places();
        for (is_own, (one, other)) in is_own.iter_mut().zip(self.sample.iter().zip(run)) {
            *is_own |= one != other;
        }
        widen_to_words(run, &mut is_own);
        let own = is_own.iter().filter(|is_own| **is_own).count();
        let form = Self { sample: run.into(), parts: parts(&is_own), own, findings };
        let own = form.own_of(run).unwrap_or_default();
        (form, own)
    }

    /// Of each byte of the run, whether it is a stream's own.
    fn own_places(&self) -> Vec<bool> {
        let of_part = |part: &Part| {
            let shared = std::iter::repeat_n(false, part.shared);
            shared.chain(std::iter::repeat_n(true, part.own))
        };
        self.parts.iter().flat_map(of_part).collect()
    }
}

/// A byte of an id, a number or a word.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Where a byte of a word is a stream's own, all of the word is: two ids have a letter in common by chance.
fn widen_to_words(run: &[u8], is_own: &mut [bool]) {
    let mut begin = 0;
    for word in run.split_inclusive(|byte| !is_of_word(*byte)) {
        let letters = begin..begin + word.iter().take_while(|byte| is_of_word(**byte)).count();
        if let Some(places) = is_own.get_mut(letters)
            && places.contains(&true)
        {
            places.fill(true);
        }
        begin += word.len();
    }
}

fn parts(is_own: &[bool]) -> Box<[Part]> {
    let mut parts = vec![Part::default()];
    let mut was_own = false;
    for is_own in is_own.iter().copied() {
        if was_own && !is_own {
            parts.push(Part::default());
        }
        was_own = is_own;
        if let Some(part) = parts.last_mut() {
            if is_own { part.own += 1 } else { part.shared += 1 }
        }
    }
    parts.into()
}

#[cfg(test)]
mod tests {
    use super::super::super::json::{JsonNode, JsonScanner};
    use super::*;
    use proptest::prelude::*;

    static ROOT: JsonNode<u8> = JsonNode::scalar(1);

    fn form(run: &str) -> Form<u8> {
        let findings = Findings::new(*JsonScanner::new(&ROOT).position());
        Form::new(run.as_bytes(), Arc::new(findings))
    }

    #[test]
    fn streams_share_all_but_their_own_words() {
        let one = form(r#"{"id":"cmpl-a1b2","at":17001,"text":""#);
        let run = r#"{"id":"cmpl-a9c2","at":17001,"text":""#.as_bytes();
        let (two, own) = one.widened(run);
        assert_eq!(own, b"cmpl-a9c2");
        assert_eq!(two.own_of(run), Some(own.clone()));
        let third = r#"{"id":"cmpl-ffff","at":17002,"text":""#.as_bytes();
        assert_eq!(two.own_of(third), None, "its time is another one");
        let (three, own_of_third) = two.widened(third);
        assert_eq!(own_of_third, b"cmpl-ffff17002");
        assert_eq!(three.own_of(run).as_deref(), Some(&b"cmpl-a9c217001"[..]));
        let document = [third, b"new"].concat();
        assert_eq!(three.strip_from(&document, &own_of_third), Some(&b"new"[..]));
        assert_eq!(three.strip_from(&document, b"cmpl-a9c217001"), None);
        assert_eq!(three.strip_from(third.split_last().unwrap().1, &own_of_third), None);
        let (other, own) = three.widened(b"shorter");
        assert_eq!((other.own_len(), own.len()), (0, 0));
    }

    proptest! {
        /// Whatever a form takes for its own is exactly the run that it was learned from.
        #[test]
        fn a_form_fits_the_run_and_no_other(
            runs in prop::collection::vec("[ab\",]{0,6}", 1..8),
            probe in "[ab\",]{0,8}",
        ) {
            let (first, others) = runs.split_first().unwrap();
            let (mut form, mut run, mut own) = (form(first), first.as_str(), Vec::new());
            for other in others {
                (form, own) = form.widened(other.as_bytes());
                run = other;
            }
            prop_assert_eq!(form.own_of(run.as_bytes()), Some(own.clone()));
            let rest = form.strip_from(probe.as_bytes(), &own);
            prop_assert_eq!(rest, probe.strip_prefix(run).map(str::as_bytes));
        }
    }
}
