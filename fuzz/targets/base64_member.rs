#![no_main]

use fuzz::agree;
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::base64::{Base64Member, Base64Outcome};

fuzz_target!(|input: &[u8]| {
    let read = |_, pieces: &[&[u8]]| {
        let (mut member, mut decoded) = (Base64Member::default(), Vec::new());
        for piece in pieces {
            member.push(piece, &mut |part| {
                assert!(!part.is_empty(), "an empty piece");
                decoded.extend_from_slice(part);
            });
        }
        let found = member.end();
        assert_eq!(member.end(), Base64Outcome::Absent, "what came before is not forgotten");
        (found, decoded)
    };
    if let Some((stream, (found, decoded))) = agree(input, read) {
        assert!(decoded.len() <= stream.len() * 3 / 4);
        assert!(found != Base64Outcome::Absent || decoded.is_empty());
    }
});
