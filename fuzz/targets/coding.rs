#![no_main]

use fuzz::agree;
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::coding::{CodingError, ContentDecoder, windows_in_use};

const NAMES: [&[u8]; 8] = [
    b"gzip",
    b"deflate",
    b"br",
    b"zstd",
    b"gzip, br",
    b"zstd, gzip",
    b"deflate, deflate",
    b"br, zstd",
];
/// One window, its slack and the tables, for each of two codings.
const MAX_WINDOWS: usize = 2 * (5 << 20);
/// What is given before a bomb is one, and a decoder's piece.
const MAX_OUTPUT: usize = (64 << 20) + (16 << 10);

fuzz_target!(|input: &[u8]| {
    agree(input, |mode, pieces| {
        let decoded = decode(NAMES[usize::from(mode) % NAMES.len()], pieces);
        assert_eq!(windows_in_use(), 0);
        decoded
    });
});

/// What came out (its length and checksum) and whether the end was proper. Of what fails only that it
/// does, since what comes out before depends on the split.
fn decode(names: &[u8], pieces: &[&[u8]]) -> Option<(usize, u32, bool)> {
    let mut decoder = ContentDecoder::new(names).unwrap().unwrap();
    let (mut length, mut checksum, mut taken) = (0, crc32fast::Hasher::new(), 0);
    for piece in pieces {
        taken += piece.len();
        let done = decoder.push(piece, &mut |part| {
            length += part.len();
            checksum.update(part);
        });
        assert!(windows_in_use() <= MAX_WINDOWS, "{}", windows_in_use());
        assert!(length <= MAX_OUTPUT.max(taken * 200), "{length} bytes of {taken}");
        if let Err(error) = done {
            assert!(!matches!(error, CodingError::Unknown | CodingError::Budget));
            assert_eq!(decoder.push(b"x", &mut |_| panic!("not silent")), Err(error));
            assert!(!decoder.end());
            return None;
        }
    }
    Some((length, checksum.finalize(), decoder.end()))
}
