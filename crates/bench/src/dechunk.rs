//! Decodes HTTP's chunked coding, because proxies may split the body anywhere.

/// Decoder of the chunked coding, for any split over reads.
#[derive(Debug)]
pub struct Dechunker {
    state: DechunkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DechunkState {
    /// In the size line, with the size so far.
    Size(u64),
    /// After the size, up to the end of its line.
    Extension(u64),
    /// In the data, with the remaining bytes.
    Data(u64),
    /// In the line end after the data.
    DataEnd,
    /// After the last chunk; whether the line is empty so far.
    Trailer(bool),
    Done,
}

impl Dechunker {
    /// Creates a decoder at the start of a body.
    pub fn new() -> Self {
        Self { state: DechunkState::Size(0) }
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        self.state == DechunkState::Done
    }

    /// Appends the data in `bytes` to `out`.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let DechunkState::Data(left) = self.state {
                let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let (data, behind) = bytes.split_at(here);
                out.extend_from_slice(data);
                bytes = behind;
                self.state = match left - here as u64 {
                    0 => DechunkState::DataEnd,
                    left => DechunkState::Data(left),
                };
                continue;
            }
            self.state = self.next(byte)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Returns the state after a byte of framing.
    fn next(&self, byte: u8) -> Result<DechunkState, &'static str> {
        Ok(match (self.state, byte) {
            (DechunkState::Size(size) | DechunkState::Extension(size), b'\n') => match size {
                0 => DechunkState::Trailer(true),
                size => DechunkState::Data(size),
            },
            (DechunkState::Size(size), b';' | b'\r') => DechunkState::Extension(size),
            (DechunkState::Size(size), digit) => {
                let value = (digit as char).to_digit(16).ok_or("not a chunk size")?;
                let size = size.checked_mul(16).ok_or("the chunk size is too large")?;
                DechunkState::Size(size + u64::from(value))
            }
            (DechunkState::Extension(size), _) => DechunkState::Extension(size),
            (DechunkState::DataEnd, b'\r') => DechunkState::DataEnd,
            (DechunkState::DataEnd, b'\n') => DechunkState::Size(0),
            (DechunkState::DataEnd, _) => return Err("a chunk is longer than its size"),
            (DechunkState::Trailer(true), b'\n') => DechunkState::Done,
            (DechunkState::Trailer(_), b'\n') => DechunkState::Trailer(true),
            (DechunkState::Trailer(empty), b'\r') => DechunkState::Trailer(empty),
            (DechunkState::Trailer(_), _) => DechunkState::Trailer(false),
            (DechunkState::Data(_) | DechunkState::Done, _) => {
                return Err("bytes after the end of the body");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"5\r\nhello\r\n1;x=y\r\n \r\n00C\r\nwide\r\n\r\nworl\r\n1\r\nd\r\n0\r\na: b\r\n\r\n";

    #[test]
    fn every_split_gives_the_same_data() {
        for at in 0..BODY.len() {
            let (first, second) = BODY.split_at(at);
            let (mut dechunker, mut out) = (Dechunker::new(), Vec::new());
            dechunker.feed(first, &mut out).unwrap();
            assert!(!dechunker.is_done());
            dechunker.feed(second, &mut out).unwrap();
            assert!(dechunker.is_done());
            assert_eq!(out, b"hello wide\r\n\r\nworld");
        }
    }

    #[test]
    fn invalid_chunks_are_errors() {
        for wrong in ["x\r\n", "1\r\nab", "0\r\n\r\nx", "fffffffffffffffff\r\n"] {
            let (mut dechunker, mut out) = (Dechunker::new(), Vec::new());
            assert!(dechunker.feed(wrong.as_bytes(), &mut out).is_err(), "{wrong:?}");
        }
    }
}
