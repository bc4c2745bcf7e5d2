#![no_main]

use fuzz::assert_splits_agree;
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::chunked::{ChunkError, ChunkStep, ChunkedDecoder};

/// Data, trailers, whether the body is complete, and the number of bytes consumed.
type DecodedChunks = (Vec<u8>, Vec<u8>, bool, usize);

fuzz_target!(|input: &[u8]| {
    let Some((stream, decoded)) = assert_splits_agree(input, |_, parts| decode(parts)) else {
        return;
    };
    if let Ok((data, trailers, is_complete, consumed)) = decoded {
        assert!(data.len() + trailers.len() <= consumed && consumed <= stream.len());
        assert!(is_complete || consumed == stream.len());
    }
});

fn decode(parts: &[&[u8]]) -> Result<DecodedChunks, ChunkError> {
    let (mut chunked, mut data, mut consumed) = (ChunkedDecoder::default(), Vec::new(), 0);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (framing, step) = chunked.next(rest)?;
            consumed += framing;
            rest = &rest[framing..];
            match step {
                ChunkStep::Data(length) => {
                    assert!(length > 0);
                    data.extend_from_slice(&rest[..length]);
                    consumed += length;
                    rest = &rest[length..];
                }
                ChunkStep::More => assert!(rest.is_empty()),
                ChunkStep::End => return Ok((data, chunked.trailers().to_vec(), true, consumed)),
            }
        }
    }
    Ok((data, chunked.trailers().to_vec(), false, consumed))
}
