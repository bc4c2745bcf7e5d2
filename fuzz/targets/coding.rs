#![no_main]

use fuzz::assert_splits_agree;
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
/// One window, its slack and its tables, for each of two codings.
const MAX_WINDOWS: usize = 2 * (5 << 20);
/// Output before a bomb is detected, and the largest part that is reported at once.
const MAX_OUTPUT: usize = (64 << 20) + (16 << 10);

fuzz_target!(|input: &[u8]| {
    assert_splits_agree(input, |mode, parts| {
        let decoded = decode(NAMES[usize::from(mode) % NAMES.len()], parts);
        assert_eq!(windows_in_use(), 0);
        decoded
    });
});

/// Returns the length and checksum of the output, and whether the body is complete. `None` if
/// decoding fails: the output before the error depends on the split.
fn decode(names: &[u8], parts: &[&[u8]]) -> Option<(usize, u32, bool)> {
    let mut decoder = ContentDecoder::new(names).unwrap().unwrap();
    let (mut length, mut checksum, mut input_len) = (0, crc32fast::Hasher::new(), 0);
    for part in parts {
        input_len += part.len();
        let done = decoder.push(part, &mut |output| {
            length += output.len();
            checksum.update(output);
        });
        assert!(windows_in_use() <= MAX_WINDOWS, "{}", windows_in_use());
        assert!(length <= MAX_OUTPUT.max(input_len * 200), "{length} bytes from {input_len}");
        if let Err(error) = done {
            assert!(!matches!(error, CodingError::Unknown | CodingError::Budget));
            assert_eq!(decoder.push(b"x", &mut |_| panic!("output after an error")), Err(error));
            assert!(!decoder.is_complete());
            return None;
        }
    }
    Some((length, checksum.finalize(), decoder.is_complete()))
}
