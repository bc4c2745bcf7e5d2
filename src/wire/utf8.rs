//! Counts Unicode scalar values in UTF-8 that arrives in pieces.

/// The bits of eight bytes that none of ASCII has.
const NOT_ASCII: u64 = 0x8080_8080_8080_8080;

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
    pub fn push(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            // Eight bytes of ASCII are eight characters.
            if self.pending == 0 && u64::from_ne_bytes(*word) & NOT_ASCII == 0 {
                self.chars += 8;
            } else {
                word.iter().for_each(|byte| self.push_byte(*byte));
            }
        }
        rest.iter().for_each(|byte| self.push_byte(*byte));
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

#[cfg(test)]
mod tests {
    use super::*;

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
