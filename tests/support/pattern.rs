//! Large bodies that need no memory: a block of prime length, repeated, so that lost, doubled or moved bytes
//! are found.

use super::connection::chunk;
use std::io::{Read, Write};

const PERIOD: usize = 65_521;

/// The block, twice, so that a slice can start anywhere in it.
pub struct PatternBody(Vec<u8>);

impl Default for PatternBody {
    fn default() -> Self {
        let block = (0..PERIOD).map(|i| ((i * 2_654_435_761) >> 16) as u8).collect::<Vec<_>>();
        Self(block.repeat(2))
    }
}

impl PatternBody {
    fn at(&self, offset: u64, length: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize;
        &self.0[start..start + length.min(PERIOD)]
    }

    /// Writes the first `length` bytes without framing.
    pub fn write(&self, to: &mut impl Write, length: u64) {
        let mut offset = 0;
        while offset < length {
            let piece = self.at(offset, (length - offset).min(PERIOD as u64) as usize);
            to.write_all(piece).unwrap();
            offset += piece.len() as u64;
        }
    }

    /// Writes the first `length` bytes in chunks, and the last chunk.
    pub fn write_chunked(&self, to: &mut impl Write, length: u64) {
        let mut offset = 0;
        while offset < length {
            let piece = self.at(offset, (length - offset).min(PERIOD as u64) as usize);
            to.write_all(&chunk(piece)).unwrap();
            offset += piece.len() as u64;
        }
        to.write_all(b"0\r\n\r\n").unwrap();
    }

    /// Reads `length` bytes and compares each.
    pub fn expect(&self, from: &mut impl Read, length: u64) {
        let (mut offset, mut piece) = (0, vec![0; 256 * 1024]);
        while offset < length {
            let most = piece.len().min((length - offset) as usize);
            let count = from.read(&mut piece[..most]).unwrap();
            assert!(count > 0, "it ended after {offset} of {length} bytes");
            for part in piece[..count].chunks(PERIOD) {
                assert!(part == self.at(offset, part.len()), "wrong bytes after {offset}");
                offset += part.len() as u64;
            }
        }
    }
}
