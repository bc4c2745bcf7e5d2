//! Start of a text, to find out whether the text of one event repeats that of another.

/// Number of bytes that are compared: two Chinese characters, or a short word.
const LENGTH: usize = 7;

/// The first bytes of a text, as a number that fits into a counter of [`StreamState`]. 0 is an empty text.
///
/// [`StreamState`]: super::response_reader::StreamState
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextStart(u64);

impl TextStart {
    /// Start that a counter holds.
    pub fn from_counter(counter: u64) -> Self {
        Self(counter)
    }

    /// Value for a counter.
    pub fn counter(self) -> u64 {
        self.0
    }

    /// Sets the start to that of `text`, unless there is one already.
    pub fn set_if_empty(&mut self, text: &[u8]) {
        if self.0 == 0 {
            let text = text.get(..LENGTH).unwrap_or(text);
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(text).for_each(|(slot, byte)| *slot = *byte);
            // The last byte is the length.
            self.0 = u64::from_be_bytes(bytes) | text.len() as u64;
        }
    }

    /// Whether all bytes of this start are those of `later`.
    pub fn is_start_of(self, later: Self) -> bool {
        let (length, later_length) = (self.0 & 0xff, later.0 & 0xff);
        let different = (self.0 ^ later.0) & !0xff;
        length <= later_length && different.leading_zeros() >= 8 * length as u32
    }

    /// Whether the text was long enough that another one rarely begins the same by accident.
    pub fn is_full(self) -> bool {
        self.0 & 0xff == LENGTH as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(text: &str) -> TextStart {
        let mut start = TextStart::default();
        start.set_if_empty(text.as_bytes());
        start
    }

    #[test]
    fn starts_are_compared_byte_by_byte() {
        let cases = [
            ("", "", true),
            ("", "a", true),
            ("a", "", false),
            ("ab", "abc", true),
            ("ab", "ac", false),
            ("abc", "ab", false),
            ("a\0", "a", false),
            ("a long text", "a long one", true),
            ("a long text", "a lung text", false),
            ("\u{4f60}\u{597d}", "\u{4f60}\u{597d}\u{ff01}", true),
        ];
        for (text, later, expected) in cases {
            assert_eq!(start(text).is_start_of(start(later)), expected, "{text:?} {later:?}");
        }
        assert!(start("a long ").is_full() && !start("a long").is_full());
    }

    #[test]
    fn only_the_first_text_counts() {
        let mut first = start("one");
        first.set_if_empty(b"two");
        assert_eq!(first, start("one"));
        assert_eq!(TextStart::from_counter(first.counter()), first);
    }
}
