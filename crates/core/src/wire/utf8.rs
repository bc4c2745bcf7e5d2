//! Counts Unicode scalar values in UTF-8 that arrives in pieces.

use super::json::scan::Word;

/// A running count of the scalar values in a UTF-8 text, in any split of its bytes.
///
/// Bytes that are no UTF-8 are counted as one replacement character per maximal broken part (the
/// Unicode standard's recommendation, section 3.9) and remembered in [`invalid`](Self::invalid).
#[derive(Debug, Default, Clone)]
pub struct ScalarCount {
    chars: u64,
    /// Continuation bytes still expected.
    pending: u8,
    /// What the next continuation byte may be: narrower than 0x80..=0xBF after some lead bytes.
    low: u8,
    high: u8,
    invalid: bool,
}

impl ScalarCount {
    /// Counts the scalar values that begin in `bytes`.
    pub fn push(&mut self, mut bytes: &[u8]) {
        loop {
            (bytes, _) = self.push_string(bytes, |_| Some(1));
            let Some((_, rest)) = bytes.split_first() else { return };
            // A quote or backslash that was too near to the end.
            self.add(1);
            bytes = rest;
        }
    }

    /// Counts the scalar values of a JSON string up to a quote or backslash. Gives the bytes from there on.
    ///
    /// `escaped` is asked what begins at such a mark. It may give the length of what is one character: then
    /// it goes on, and tells how often it did. It is not asked near the end of the bytes.
    pub(super) fn push_string<'a>(
        &mut self,
        mut bytes: &'a [u8],
        escaped: impl Fn(&[u8]) -> Option<usize>,
    ) -> (&'a [u8], u64) {
        let mut all_escapes = 0;
        loop {
            if self.pending == 0 {
                let Whole { rest, chars, escapes } = whole(bytes, &escaped);
                self.chars += chars as u64;
                all_escapes += escapes;
                bytes = rest;
            }
            match bytes.split_first() {
                None | Some((b'"' | b'\\', _)) => return (bytes, all_escapes),
                Some((byte, rest)) => {
                    self.push_byte(*byte);
                    bytes = rest;
                }
            }
        }
    }

    /// Adds scalar values that were written in another way, as JSON's `\u` escapes are.
    pub fn add(&mut self, chars: u64) {
        self.break_off();
        self.chars += chars;
    }

    /// Scalar values seen so far.
    pub fn chars(&self) -> u64 {
        self.chars
    }

    /// Whether any byte was not UTF-8. Ask at the end of the text: a sequence cut short by the end
    /// is known to be broken only once [`end`](Self::end) was called.
    pub fn invalid(&self) -> bool {
        self.invalid
    }

    /// The text ends here.
    pub fn end(&mut self) {
        self.break_off();
    }

    fn break_off(&mut self) {
        if self.pending > 0 {
            self.pending = 0;
            self.invalid = true;
        }
    }

    fn push_byte(&mut self, byte: u8) {
        if self.pending > 0 {
            if (self.low..=self.high).contains(&byte) {
                self.pending -= 1;
                (self.low, self.high) = (0x80, 0xBF);
                return;
            }
            self.break_off();
        }
        // Each lead byte counts, so the scalar is counted when it begins.
        self.chars += 1;
        (self.pending, self.low, self.high) = match byte {
            0x00..=0x7F => return,
            0xC2..=0xDF => (1, 0x80, 0xBF),
            0xE0 => (2, 0xA0, 0xBF),
            0xED => (2, 0x80, 0x9F),
            0xE1..=0xEF => (2, 0x80, 0xBF),
            0xF0 => (3, 0x90, 0xBF),
            0xF4 => (3, 0x80, 0x8F),
            0xF1..=0xF3 => (3, 0x80, 0xBF),
            _ => {
                self.invalid = true;
                return;
            }
        }
    }
}

/// What could be counted without a look at each byte.
struct Whole<'a> {
    rest: &'a [u8],
    chars: usize,
    escapes: u64,
}

/// Counts as long as there are eight bytes, and characters are whole and sound.
fn whole<'a>(bytes: &'a [u8], escaped: impl Fn(&[u8]) -> Option<usize>) -> Whole<'a> {
    let mut rest = bytes;
    // Bytes that are not the first of their character.
    let mut behind_first = 0;
    let mut escapes = 0;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let Some(plain) = Word::new(*word).mark_or_beyond_ascii() else {
            rest = behind;
            continue;
        };
        rest = rest.split_at(plain).1;
        if rest.first().is_some_and(u8::is_ascii) {
            let Some(length) = escaped(rest) else { break };
            escapes += 1;
            behind_first += length - 1;
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let from = rest.len();
        while let Some(length) = character(rest) {
            behind_first += length - 1;
            rest = rest.split_at(length).1;
        }
        if rest.len() == from {
            break;
        }
    }
    Whole { rest, chars: bytes.len() - rest.len() - behind_first, escapes }
}

/// The length of the character beyond ASCII that begins here; `None` if it is broken or may be cut. (The
/// Unicode standard, table 3-7; what is common comes first.)
fn character(bytes: &[u8]) -> Option<usize> {
    match bytes.first_chunk()? {
        [0x00..=0x7F, _, _, _] => None,
        [0xE1..=0xEC, 0x80..=0xBF, 0x80..=0xBF, _] => Some(3),
        [0xC2..=0xDF, 0x80..=0xBF, _, _] => Some(2),
        [0xE0, 0xA0..=0xBF, 0x80..=0xBF, _]
        | [0xED, 0x80..=0x9F, 0x80..=0xBF, _]
        | [0xEE..=0xEF, 0x80..=0xBF, 0x80..=0xBF, _] => Some(3),
        [0xF0, 0x90..=0xBF, 0x80..=0xBF, 0x80..=0xBF]
        | [0xF1..=0xF3, 0x80..=0xBF, 0x80..=0xBF, 0x80..=0xBF]
        | [0xF4, 0x80..=0x8F, 0x80..=0xBF, 0x80..=0xBF] => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(pieces: &[&[u8]]) -> (u64, bool) {
        let mut count = ScalarCount::default();
        pieces.iter().for_each(|piece| count.push(piece));
        count.end();
        (count.chars(), count.invalid())
    }

    #[test]
    fn agrees_with_std_in_every_split() {
        let texts: &[&[u8]] = &[
            b"",
            b"plain",
            "h\u{e9}llo w\u{f6}rld".as_bytes(),
            "\u{65e5}\u{672c}\u{8a9e} \u{1f600}\u{1f680}".as_bytes(),
            b"\xff\xfeok",
            b"cut \xe2\x82",
            b"\xed\xa0\x80 surrogate",
            b"\xf0\x82\x82\xac overlong",
            b"\xf4\x90\x80\x80",
            b"\xc3(",
        ];
        for text in texts {
            let lossy = String::from_utf8_lossy(text);
            let expected = (lossy.chars().count() as u64, std::str::from_utf8(text).is_err());
            for cut in 0..=text.len() {
                assert_eq!(count(&[&text[..cut], &text[cut..]]), expected, "{text:?} at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_std_on_any_bytes(
            parts in proptest::collection::vec(
                prop_oneof![
                    any::<char>().prop_map(|char| char.to_string().into_bytes()),
                    "[ -~]{1,12}".prop_map(String::into_bytes),
                    any::<u8>().prop_map(|byte| vec![byte]),
                ],
                0..20,
            ),
            size in 1usize..30,
        ) {
            let text = parts.concat();
            let lossy = String::from_utf8_lossy(&text);
            let expected = (lossy.chars().count() as u64, std::str::from_utf8(&text).is_err());
            prop_assert_eq!(count(&[&text]), expected);
            prop_assert_eq!(count(&text.chunks(size).collect::<Vec<_>>()), expected);
        }
    }

    #[test]
    fn an_escape_breaks_off_a_sequence() {
        let mut count = ScalarCount::default();
        count.push(b"\xe2\x82");
        count.add(1);
        count.push(b"a");
        count.end();
        assert_eq!((count.chars(), count.invalid()), (3, true));
    }
}
