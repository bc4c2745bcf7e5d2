//! Decoder of the chunked transfer coding (RFC 9112, section 7.1).

/// Limit on the chunk extensions of a body, all together, in bytes.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Longest size that the fast path reads, in digits.
const MAX_DIGITS: usize = 8;
/// Largest size of a chunk. Other servers read larger ones as negative numbers.
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();
/// Limit on the trailer fields, in bytes.
const MAX_TRAILERS: usize = 64 * 1024;

/// Step of reading a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkStep {
    /// This many bytes of data follow.
    Data(usize),
    /// All bytes were framing, and the body goes on.
    More,
    /// The body is complete.
    End,
}

/// Error in the framing of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The size of a chunk is not a hexadecimal number, or is too large.
    #[error("a chunk has no valid size")]
    Size,
    /// A chunk or the body does not end in CRLF.
    #[error("a chunk is not followed by the end of a line")]
    LineEnd,
    /// The chunk extensions are too long.
    #[error("the chunk extensions are longer than {MAX_EXTENSIONS} bytes")]
    Extensions,
    /// The trailers are too long.
    #[error("the trailers are longer than {MAX_TRAILERS} bytes")]
    Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkedState {
    /// At a chunk's size; whether a digit of it was seen.
    Size(bool),
    /// White space between the size and what follows it.
    WhiteSpace,
    Extension,
    /// At the line feed that ends the size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    LastLine,
    /// At the line feed of the empty line that ends the body.
    LastLf,
    Trailer,
    /// At the line feed that ends a trailer line.
    TrailerLf,
    Finished,
}

/// Incremental decoder of one chunked body. It copies no data: it returns where data is.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: ChunkedState,
    /// Number of bytes left of the current chunk, once its size is read.
    left: u64,
    extensions: usize,
    trailers: Vec<u8>,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: ChunkedState::Size(false), left: 0, extensions: 0, trailers: Vec::new() }
    }
}

impl ChunkedDecoder {
    /// Reads the framing at the start of `bytes`. Returns its length in bytes, and what follows it.
    /// Data that follows counts as consumed: the caller skips it before the next call.
    ///
    /// # Errors
    /// If the bytes are not a valid chunked coding.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, ChunkStep), ChunkError> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let at = bytes.len() - rest.len();
            match self.state {
                ChunkedState::Data => return Ok((at, ChunkStep::Data(self.take_data(rest.len())))),
                ChunkedState::Finished => return Ok((at, ChunkStep::End)),
                _ => {}
            }
            rest = match self.simple_framing(rest) {
                Some(after) => after,
                None => {
                    self.push_framing(byte)?;
                    after
                }
            };
        }
        let step =
            if self.state == ChunkedState::Finished { ChunkStep::End } else { ChunkStep::More };
        Ok((bytes.len(), step))
    }

    /// Returns the trailer fields as received, each line with its line ending. They are complete
    /// once the body is.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn take_data(&mut self, most: usize) -> usize {
        let consumed = usize::try_from(self.left).map_or(most, |left| left.min(most));
        self.left -= consumed as u64;
        if self.left == 0 {
            self.state = ChunkedState::DataCr;
        }
        consumed
    }

    /// Fast path for a size line or chunk end that is complete in `bytes` and has nothing unusual.
    /// Returns the bytes after it.
    fn simple_framing<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.state {
            ChunkedState::Size(false) => {
                let (size, after) = simple_size_line(bytes)?;
                (self.state, self.left) = (ChunkedState::Data, size);
                Some(after)
            }
            ChunkedState::DataCr => {
                let after = bytes.strip_prefix(b"\r\n")?;
                self.state = ChunkedState::Size(false);
                Some(after)
            }
            _ => None,
        }
    }

    fn push_framing(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (ChunkedState::Size(_), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let left = self.left.checked_mul(16).ok_or(ChunkError::Size)?;
                self.left = left + u64::from(digit);
                if self.left > MAX_SIZE {
                    return Err(ChunkError::Size);
                }
                ChunkedState::Size(true)
            }
            (ChunkedState::Size(true) | ChunkedState::WhiteSpace, b' ' | b'\t') => {
                ChunkedState::WhiteSpace
            }
            (ChunkedState::Size(true) | ChunkedState::WhiteSpace, b';') => ChunkedState::Extension,
            (
                ChunkedState::Size(true) | ChunkedState::WhiteSpace | ChunkedState::Extension,
                b'\r',
            ) => ChunkedState::SizeLf,
            (ChunkedState::Extension, byte) if byte != b'\n' => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(ChunkError::Extensions);
                }
                ChunkedState::Extension
            }
            (ChunkedState::SizeLf, b'\n') if self.left == 0 => ChunkedState::LastLine,
            (ChunkedState::SizeLf, b'\n') => ChunkedState::Data,
            (ChunkedState::DataCr, b'\r') => ChunkedState::DataLf,
            (ChunkedState::DataLf, b'\n') => ChunkedState::Size(false),
            (ChunkedState::LastLine, b'\r') => ChunkedState::LastLf,
            (ChunkedState::LastLf, b'\n') => ChunkedState::Finished,
            // Where a line feed alone ends the body, servers disagree.
            (ChunkedState::LastLine | ChunkedState::Trailer, b'\n')
            | (ChunkedState::DataCr | ChunkedState::DataLf | ChunkedState::LastLf, _) => {
                return Err(ChunkError::LineEnd);
            }
            (ChunkedState::LastLine | ChunkedState::Trailer | ChunkedState::TrailerLf, byte) => {
                if self.trailers.len() == MAX_TRAILERS {
                    return Err(ChunkError::Trailers);
                }
                self.trailers.push(byte);
                match (self.state, byte) {
                    (ChunkedState::TrailerLf, b'\n') => ChunkedState::LastLine,
                    (ChunkedState::TrailerLf, _) => return Err(ChunkError::LineEnd),
                    (_, b'\r') => ChunkedState::TrailerLf,
                    _ => ChunkedState::Trailer,
                }
            }
            _ => return Err(ChunkError::Size),
        };
        Ok(())
    }
}

/// Parses a complete size line of a chunk with data and without extensions. Returns the size and
/// the bytes after the line.
fn simple_size_line(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let Some(digit) = char::from(byte).to_digit(16) else { break };
        // A longer size takes the slow path, which checks for overflow.
        if bytes.len() - rest.len() == MAX_DIGITS {
            return None;
        }
        size = size << 4 | u64::from(digit);
        rest = after;
    }
    Some((size, rest.strip_prefix(b"\r\n")?)).filter(|(size, _)| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Data, trailers, and the number of bytes after the end of the body.
    type DecodedBody = (Vec<u8>, Vec<u8>, Option<usize>);

    /// Decodes `body`, cut at these places.
    fn decode(body: &[u8], cuts: &[usize]) -> Result<DecodedBody, ChunkError> {
        let mut chunked = ChunkedDecoder::default();
        let mut data = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([body.len()]) {
            let mut bytes = &body[from.min(to)..to];
            loop {
                let (framing, step) = chunked.next(bytes)?;
                bytes = &bytes[framing..];
                match step {
                    ChunkStep::Data(length) => {
                        data.extend_from_slice(&bytes[..length]);
                        bytes = &bytes[length..];
                    }
                    ChunkStep::More => break,
                    ChunkStep::End => {
                        let left = bytes.len() + body.len() - to;
                        return Ok((data, chunked.trailers().to_vec(), Some(left)));
                    }
                }
            }
            from = to;
        }
        Ok((data, chunked.trailers().to_vec(), None))
    }

    #[test]
    fn valid_bodies_decode_and_invalid_ones_fail() {
        let text = |body: &str| {
            decode(body.as_bytes(), &[]).map(|(data, trailers, left)| {
                (String::from_utf8(data).unwrap(), String::from_utf8(trailers).unwrap(), left)
            })
        };
        let is = |data: &str, trailers: &str, left| Ok((data.into(), trailers.into(), left));
        assert_eq!(text("5\r\nhello\r\n0\r\n\r\n"), is("hello", "", Some(0)));
        assert_eq!(text("5\r\nhello\r\n0\r\n\r\nHTTP"), is("hello", "", Some(4)));
        assert_eq!(text("05\r\nhello\r\n6 ;a=\"b\"\r\n world\r\n"), is("hello world", "", None));
        assert_eq!(text("A\r\n0123456789\r\n000\r\n\r\n"), is("0123456789", "", Some(0)));
        assert_eq!(text("0\r\na: b\r\nc: d\r\n\r\n"), is("", "a: b\r\nc: d\r\n", Some(0)));
        assert_eq!(text("3\r\nab"), is("ab", "", None));
        assert_eq!(text("0\r\n"), is("", "", None));
        for wrong in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            " 5\r\n",
            "5\nhello",
            "5;a\nb",
            "5 5\r\n",
            "11111111111111111\r\n",
            "8000000000000000\r\n",
        ] {
            assert_eq!(text(wrong), Err(ChunkError::Size), "{wrong:?}");
        }
        assert_eq!(text("5\r\nhello!"), Err(ChunkError::LineEnd));
        assert_eq!(text("5\r\nhello\rx"), Err(ChunkError::LineEnd));
        assert_eq!(text("7fffffffffffffff\r\nab"), is("ab", "", None));
        for wrong in ["0\r\n\rx", "0\r\n\n", "0\r\na: b\n\r\n", "0\r\na: b\rc\r\n"] {
            assert_eq!(text(wrong), Err(ChunkError::LineEnd), "{wrong:?}");
        }
        assert_eq!(text(&format!("5;{}", "x".repeat(20_000))), Err(ChunkError::Extensions));
        assert_eq!(text(&format!("0\r\n{}", "x".repeat(70_000))), Err(ChunkError::Trailers));
    }

    proptest! {
        #[test]
        fn every_split_decodes_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            trailer in "([a-z]{1,8}: [a-z]{0,8}\r\n){0,3}",
            rest in prop::collection::vec(any::<u8>(), 0..10),
            mut cuts in prop::collection::vec(0usize..400, 0..12),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            body.extend_from_slice(&rest);
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(body.len()));
            cuts.sort_unstable();
            let found = decode(&body, &cuts);
            prop_assert_eq!(found, Ok((chunks.concat(), trailer.into_bytes(), Some(rest.len()))));
        }

        #[test]
        fn no_input_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&body, &[]);
        }
    }
}
