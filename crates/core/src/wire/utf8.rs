//! Counts Unicode scalar values in UTF-8 that arrives in parts.

use super::json::scan::EightBytes;

/// Running count of the Unicode scalar values in a UTF-8 text, in any split of its bytes.
///
/// Invalid bytes count as one replacement character per maximal invalid part, as the Unicode
/// standard recommends (section 3.9), and set [`invalid`](Self::invalid).
#[derive(Debug, Default, Clone)]
pub struct ScalarCount {
    chars: u64,
    /// Number of continuation bytes still expected.
    pending: u8,
    /// Range of the next continuation byte. After some lead bytes it is narrower than 0x80..=0xBF.
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
            // A quote or backslash too close to the end for the loop above.
            self.add(1);
            bytes = rest;
        }
    }

    /// Counts the scalar values of a JSON string up to a quote or backslash. Returns the bytes from
    /// there on.
    ///
    /// `escape_len` is called at a quote or backslash. If it returns the length of an escape of one
    /// character, that is counted and the scan goes on; the number of such escapes is returned too.
    /// It is not called within the last eight bytes.
    pub(super) fn push_string<'a>(
        &mut self,
        mut bytes: &'a [u8],
        escape_len: impl Fn(&[u8]) -> Option<usize>,
    ) -> (&'a [u8], u64) {
        let mut all_escapes = 0;
        loop {
            if self.pending == 0 {
                let BulkCount { rest, chars, escapes } = count_bulk(bytes, &escape_len);
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

    /// Adds scalar values that were not written as UTF-8, such as JSON's `\u` escapes.
    pub fn add(&mut self, chars: u64) {
        self.end_sequence();
        self.chars += chars;
    }

    /// Returns the number of scalar values so far.
    pub fn chars(&self) -> u64 {
        self.chars
    }

    /// Returns whether any byte was invalid. A sequence that the end of the text truncates counts
    /// only after [`end`](Self::end).
    pub fn invalid(&self) -> bool {
        self.invalid
    }

    /// Ends the text.
    pub fn end(&mut self) {
        self.end_sequence();
    }

    fn end_sequence(&mut self) {
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
            self.end_sequence();
        }
        // A scalar is counted at its lead byte.
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

/// Result of counting eight bytes at a time.
struct BulkCount<'a> {
    rest: &'a [u8],
    chars: usize,
    escapes: u64,
}

/// Counts while at least eight bytes are left and characters are complete and valid.
fn count_bulk<'a>(bytes: &'a [u8], escape_len: impl Fn(&[u8]) -> Option<usize>) -> BulkCount<'a> {
    let mut rest = bytes;
    // Number of bytes that are not the first of their character.
    let mut continuation_bytes = 0;
    let mut escapes = 0;
    while let Some((word, after)) = rest.split_first_chunk() {
        let Some(plain) = EightBytes::new(*word).first_special_or_non_ascii() else {
            rest = after;
            continue;
        };
        rest = rest.split_at(plain).1;
        if rest.first().is_some_and(u8::is_ascii) {
            let Some(length) = escape_len(rest) else { break };
            escapes += 1;
            continuation_bytes += length - 1;
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let from = rest.len();
        while let Some(length) = non_ascii_len(rest) {
            continuation_bytes += length - 1;
            rest = rest.split_at(length).1;
        }
        if rest.len() == from {
            break;
        }
    }
    BulkCount { rest, chars: bytes.len() - rest.len() - continuation_bytes, escapes }
}

/// Returns the length of the non-ASCII character that begins here, or `None` if it is invalid or
/// may be truncated. (Unicode standard, table 3-7; common cases first.)
fn non_ascii_len(bytes: &[u8]) -> Option<usize> {
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

    fn count(parts: &[&[u8]]) -> (u64, bool) {
        let mut count = ScalarCount::default();
        parts.iter().for_each(|part| count.push(part));
        count.end();
        (count.chars(), count.invalid())
    }

    #[test]
    fn every_split_counts_as_std_does() {
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
        fn any_bytes_count_as_std_does(
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
    fn an_escape_ends_an_incomplete_sequence() {
        let mut count = ScalarCount::default();
        count.push(b"\xe2\x82");
        count.add(1);
        count.push(b"a");
        count.end();
        assert_eq!((count.chars(), count.invalid()), (3, true));
    }
}
