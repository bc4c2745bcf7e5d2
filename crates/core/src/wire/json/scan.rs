//! Finds the marks that end what is plain in a JSON string, quotes and backslashes, eight bytes at a time.

/// Words that are looked at before a search that is faster, but not so soon under way.
const SHORT: usize = 2;
/// The highest bit of each byte, which none of ASCII has.
const HIGH: u64 = eight(0x80);

/// The same byte eight times.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Eight bytes of text.
#[derive(Debug, Clone, Copy)]
pub struct Word(u64);

impl Word {
    pub fn new(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Where its first mark is.
    pub fn mark(self) -> Option<usize> {
        first(self.borrows() & !self.0 & HIGH)
    }

    /// Where its first byte is that is a mark or beyond ASCII.
    pub fn mark_or_beyond_ascii(self) -> Option<usize> {
        first((self.borrows() | self.0) & HIGH)
    }

    /// Has the high bit of each mark set, as 1 was taken from 0 there. It may be set in a byte beyond
    /// ASCII too, and anywhere behind a mark.
    fn borrows(self) -> u64 {
        let taken = |mark: u8| (self.0 ^ eight(mark)).wrapping_sub(eight(1));
        taken(b'"') | taken(b'\\')
    }
}

/// The first byte with a bit set.
fn first(bits: u64) -> Option<usize> {
    (bits != 0).then(|| (bits.trailing_zeros() / u8::BITS) as usize)
}

/// How many bytes there are before the first mark.
pub fn plain_len(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks();
    // Keys are short, and many strings.
    for (at, word) in words.iter().take(SHORT).enumerate() {
        if let Some(mark) = Word::new(*word).mark() {
            return at * word.len() + mark;
        }
    }
    memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_mark_is_found_among_any_bytes(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(b"\"\\#]a\xa2\xdc\xa3".to_vec())],
                0..40,
            ),
        ) {
            let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\');
            let expected = bytes.iter().position(is_mark).unwrap_or(bytes.len());
            prop_assert_eq!(plain_len(&bytes), expected);
            if let Some(word) = bytes.first_chunk() {
                let either = word.iter().position(|byte| is_mark(byte) || !byte.is_ascii());
                prop_assert_eq!(Word::new(*word).mark(), word.iter().position(is_mark));
                prop_assert_eq!(Word::new(*word).mark_or_beyond_ascii(), either);
            }
        }
    }
}
