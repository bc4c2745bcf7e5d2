#![no_main]

use fuzz::agree;
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::chunked::{ChunkError, ChunkStep, ChunkedDecoder};

/// What came out of a body, whether it is over, and how many bytes it took.
type Decoded = (Vec<u8>, Vec<u8>, bool, usize);

fuzz_target!(|input: &[u8]| {
    let Some((stream, decoded)) = agree(input, |_, pieces| decode(pieces)) else { return };
    if let Ok((data, trailers, over, taken)) = decoded {
        assert!(data.len() + trailers.len() <= taken && taken <= stream.len());
        assert!(over || taken == stream.len());
    }
});

fn decode(pieces: &[&[u8]]) -> Result<Decoded, ChunkError> {
    let (mut chunked, mut data, mut taken) = (ChunkedDecoder::default(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (framing, step) = chunked.next(rest)?;
            taken += framing;
            rest = &rest[framing..];
            match step {
                ChunkStep::Data(length) => {
                    assert!(length > 0);
                    data.extend_from_slice(&rest[..length]);
                    taken += length;
                    rest = &rest[length..];
                }
                ChunkStep::More => assert!(rest.is_empty()),
                ChunkStep::End => return Ok((data, chunked.trailers().to_vec(), true, taken)),
            }
        }
    }
    Ok((data, chunked.trailers().to_vec(), false, taken))
}
