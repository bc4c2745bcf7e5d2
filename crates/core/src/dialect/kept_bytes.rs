//! The first bytes of a string or an event, without an allocation.

/// Up to `N` bytes; more are cut off.
#[derive(Debug)]
pub struct KeptBytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for KeptBytes<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> KeptBytes<N> {
    /// Returns the kept bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Replaces the bytes.
    pub fn set(&mut self, bytes: &[u8]) {
        self.clear();
        self.push(bytes);
    }

    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(N - self.len);
        if let (Some(free), Some(bytes)) =
            (self.bytes.get_mut(self.len..self.len + count), bytes.get(..count))
        {
            free.copy_from_slice(bytes);
            self.len += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept() {
        let mut kept = KeptBytes::<4>::default();
        for (part, expected) in
            [("", ""), ("ab", "ab"), ("c", "abc"), ("def", "abcd"), ("g", "abcd")]
        {
            kept.push(part.as_bytes());
            assert_eq!(kept.as_bytes(), expected.as_bytes(), "{part}");
        }
        kept.set(b"xy");
        assert_eq!(kept.as_bytes(), b"xy");
        kept.clear();
        assert_eq!(kept.as_bytes(), b"");
    }
}
