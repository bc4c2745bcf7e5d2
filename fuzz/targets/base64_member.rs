#![no_main]

use fuzz::assert_splits_agree;
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::base64_member::{Base64Member, Base64Outcome};

fuzz_target!(|input: &[u8]| {
    let read = |_, parts: &[&[u8]]| {
        let (mut member, mut decoded) = (Base64Member::default(), Vec::new());
        for part in parts {
            member.push(part, &mut |output| {
                assert!(!output.is_empty(), "empty output");
                decoded.extend_from_slice(output);
            });
        }
        let outcome = member.end();
        assert_eq!(member.end(), Base64Outcome::Absent, "the decoder is not reset");
        (outcome, decoded)
    };
    if let Some((stream, (outcome, decoded))) = assert_splits_agree(input, read) {
        assert!(decoded.len() <= stream.len() * 3 / 4);
        assert!(outcome != Base64Outcome::Absent || decoded.is_empty());
    }
});
