//! The chunked transfer coding (RFC 9112, section 7.1).

/// Most bytes of chunk extensions that a body may have, all together.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Most digits of a size that is read at a glance.
const MAX_DIGITS: usize = 8;
/// Most bytes of trailer fields.
const MAX_TRAILERS: usize = 64 * 1024;

/// What comes next in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkStep {
    /// This many bytes are data.
    Data(usize),
    /// All bytes were framing, and there is more to come.
    More,
    /// The body is over.
    End,
}

/// A body that is not chunked as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk has no valid size")]
    Size,
    #[error("a chunk is not followed by the end of a line")]
    LineEnd,
    #[error("the chunk extensions are longer than {MAX_EXTENSIONS} bytes")]
    Extensions,
    #[error("the trailers are longer than {MAX_TRAILERS} bytes")]
    Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkedState {
    /// At a chunk's size; whether a digit of it was seen.
    Size(bool),
    /// Blanks between the size and what follows it.
    Blank,
    Extension,
    /// At the line feed that ends the size's line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line behind the last chunk.
    LastLine,
    /// At the line feed of the empty line that ends the body.
    LastLf,
    Trailer,
    Over,
}

/// Finds the data in a chunked body, in any split.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: ChunkedState,
    /// What is left of the current chunk, once its size is read.
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
    /// Looks at the next bytes of the body: how many of them are framing, and what follows those. Data
    /// counts as taken, and must not be shown again.
    ///
    /// # Errors
    /// If this is no chunked coding.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, ChunkStep), ChunkError> {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            let at = bytes.len() - rest.len();
            match self.state {
                ChunkedState::Data => return Ok((at, ChunkStep::Data(self.take(rest.len())))),
                ChunkedState::Over => return Ok((at, ChunkStep::End)),
                _ => {}
            }
            rest = match self.plain_framing(rest) {
                Some(behind) => behind,
                None => {
                    self.framing(byte)?;
                    behind
                }
            };
        }
        let step = if self.state == ChunkedState::Over { ChunkStep::End } else { ChunkStep::More };
        Ok((bytes.len(), step))
    }

    /// The trailer fields as they came, each line with its end. Complete once the body is over.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn take(&mut self, most: usize) -> usize {
        let taken = usize::try_from(self.left).map_or(most, |left| left.min(most));
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = ChunkedState::DataCr;
        }
        taken
    }

    /// Takes a size or the end of a chunk that is here as a whole and has nothing else, as nearly all are. Gives
    /// what follows it.
    fn plain_framing<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.state {
            ChunkedState::Size(false) => {
                let (size, behind) = plain_size(bytes)?;
                (self.state, self.left) = (ChunkedState::Data, size);
                Some(behind)
            }
            ChunkedState::DataCr => {
                let behind = bytes.strip_prefix(b"\r\n")?;
                self.state = ChunkedState::Size(false);
                Some(behind)
            }
            _ => None,
        }
    }

    fn framing(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (ChunkedState::Size(_), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let left = self.left.checked_mul(16).ok_or(ChunkError::Size)?;
                self.left = left + u64::from(digit);
                ChunkedState::Size(true)
            }
            (ChunkedState::Size(true) | ChunkedState::Blank, b' ' | b'\t') => ChunkedState::Blank,
            (ChunkedState::Size(true) | ChunkedState::Blank, b';') => ChunkedState::Extension,
            (ChunkedState::Size(true) | ChunkedState::Blank | ChunkedState::Extension, b'\r') => {
                ChunkedState::SizeLf
            }
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
            (ChunkedState::LastLf, b'\n') => ChunkedState::Over,
            (ChunkedState::LastLine | ChunkedState::Trailer, byte) => {
                if self.trailers.len() == MAX_TRAILERS {
                    return Err(ChunkError::Trailers);
                }
                self.trailers.push(byte);
                if byte == b'\n' { ChunkedState::LastLine } else { ChunkedState::Trailer }
            }
            (ChunkedState::DataCr | ChunkedState::DataLf | ChunkedState::LastLf, _) => {
                return Err(ChunkError::LineEnd);
            }
            _ => return Err(ChunkError::Size),
        };
        Ok(())
    }
}

/// The size of a chunk with data whose line is here to its end, and has nothing else; and what follows it.
fn plain_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0;
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        let Some(digit) = char::from(byte).to_digit(16) else { break };
        // As many digits as have room; longer ones take the long way.
        if bytes.len() - rest.len() == MAX_DIGITS {
            return None;
        }
        size = size << 4 | u64::from(digit);
        rest = behind;
    }
    Some((size, rest.strip_prefix(b"\r\n")?)).filter(|(size, _)| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Data, trailers, and the bytes left behind the end.
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
    fn what_is_chunked_and_what_is_not() {
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
        ] {
            assert_eq!(text(wrong), Err(ChunkError::Size), "{wrong:?}");
        }
        assert_eq!(text("5\r\nhello!"), Err(ChunkError::LineEnd));
        assert_eq!(text("5\r\nhello\rx"), Err(ChunkError::LineEnd));
        assert_eq!(text("0\r\n\rx"), Err(ChunkError::LineEnd));
        assert_eq!(text(&format!("5;{}", "x".repeat(20_000))), Err(ChunkError::Extensions));
        assert_eq!(text(&format!("0\r\n{}", "x".repeat(70_000))), Err(ChunkError::Trailers));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
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
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&body, &[]);
        }
    }
}
