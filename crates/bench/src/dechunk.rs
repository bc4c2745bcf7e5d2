//! HTTP's chunked framing, undone: proxies may cut the body where they like.

/// Reads chunked framing, however it is split over reads.
#[derive(Debug)]
pub struct Dechunker {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the line of a size: the size so far.
    Size(u64),
    /// Behind the size, up to the end of its line.
    Extension(u64),
    /// In the data: bytes left.
    Data(u64),
    /// In the end of line behind the data.
    DataEnd,
    /// Behind the last chunk; whether the line so far is empty.
    Trailer(bool),
    Done,
}

impl Dechunker {
    /// At the start of a body.
    pub fn new() -> Self {
        Self { state: State::Size(0) }
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends to `out` the data that is in `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Data(left) = self.state {
                let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let (data, behind) = bytes.split_at(here);
                out.extend_from_slice(data);
                bytes = behind;
                self.state = match left - here as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
                continue;
            }
            self.state = self.next(byte)?;
            bytes = rest;
        }
        Ok(())
    }

    /// The state behind a byte of framing.
    fn next(&self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size(size) | State::Extension(size), b'\n') => match size {
                0 => State::Trailer(true),
                size => State::Data(size),
            },
            (State::Size(size), b';' | b'\r') => State::Extension(size),
            (State::Size(size), digit) => {
                let value = (digit as char).to_digit(16).ok_or("not a chunk size")?;
                let size = size.checked_mul(16).ok_or("a chunk size without end")?;
                State::Size(size + u64::from(value))
            }
            (State::Extension(size), _) => State::Extension(size),
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size(0),
            (State::DataEnd, _) => return Err("a chunk longer than its size"),
            (State::Trailer(true), b'\n') => State::Done,
            (State::Trailer(_), b'\n') => State::Trailer(true),
            (State::Trailer(empty), b'\r') => State::Trailer(empty),
            (State::Trailer(_), _) => State::Trailer(false),
            (State::Data(_) | State::Done, _) => return Err("bytes behind the end of the body"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"5\r\nhello\r\n1;x=y\r\n \r\n00C\r\nwide\r\n\r\nworl\r\n1\r\nd\r\n0\r\na: b\r\n\r\n";

    #[test]
    fn any_split_gives_the_same() {
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
    fn refuses_what_is_wrong() {
        for wrong in ["x\r\n", "1\r\nab", "0\r\n\r\nx", "fffffffffffffffff\r\n"] {
            let (mut dechunker, mut out) = (Dechunker::new(), Vec::new());
            assert!(dechunker.feed(wrong.as_bytes(), &mut out).is_err(), "{wrong:?}");
        }
    }
}
