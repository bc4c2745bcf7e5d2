//! Finds quotes and backslashes in JSON strings, eight bytes at a time.

/// Number of eight-byte words to test before switching to `memchr`, which is faster but starts
/// slower.
const SHORT_WORDS: usize = 2;
/// Highest bit of each byte; it is 0 in ASCII.
const HIGH: u64 = repeat(0x80);

/// Returns a word of eight times the same byte.
const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Eight bytes of text.
#[derive(Debug, Clone, Copy)]
pub struct EightBytes(u64);

impl EightBytes {
    pub fn new(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Returns the index of the first quote or backslash.
    pub fn first_special(self) -> Option<usize> {
        first_set_byte(self.borrows() & !self.0 & HIGH)
    }

    /// Returns the index of the first byte that is a quote, a backslash or not ASCII.
    pub fn first_special_or_non_ascii(self) -> Option<usize> {
        first_set_byte((self.borrows() | self.0) & HIGH)
    }

    /// Sets the high bit of each quote and backslash, by the borrow of subtracting 1 from 0. The
    /// bit may also be set in non-ASCII bytes and anywhere after a quote or backslash.
    fn borrows(self) -> u64 {
        let borrow = |byte: u8| (self.0 ^ repeat(byte)).wrapping_sub(repeat(1));
        borrow(b'"') | borrow(b'\\')
    }
}

/// Returns the index of the first byte that has a bit set.
fn first_set_byte(bits: u64) -> Option<usize> {
    (bits != 0).then(|| (bits.trailing_zeros() / u8::BITS) as usize)
}

/// Returns the number of bytes before the first quote or backslash.
pub fn plain_len(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks();
    // Keys and many strings are short.
    for (at, word) in words.iter().take(SHORT_WORDS).enumerate() {
        if let Some(index) = EightBytes::new(*word).first_special() {
            return at * word.len() + index;
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
        fn the_first_quote_or_backslash_is_found(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(b"\"\\#]a\xa2\xdc\xa3".to_vec())],
                0..40,
            ),
        ) {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
            let expected = bytes.iter().position(is_special).unwrap_or(bytes.len());
            prop_assert_eq!(plain_len(&bytes), expected);
            if let Some(word) = bytes.first_chunk() {
                let either = word.iter().position(|byte| is_special(byte) || !byte.is_ascii());
                prop_assert_eq!(EightBytes::new(*word).first_special(), word.iter().position(is_special));
                prop_assert_eq!(EightBytes::new(*word).first_special_or_non_ascii(), either);
            }
        }
    }
}
