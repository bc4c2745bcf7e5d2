#![no_main]

use fuzz::assert_splits_agree;
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::reject_reason::RejectReason;
use streamgauge_core::wire::request_checker::{CheckedBytes, RequestChecker};
use streamgauge_core::wire::request_head::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 512, max_lines: 16, is_target: |_| true };

fuzz_target!(|input: &[u8]| {
    let Some((stream, found)) = assert_splits_agree(input, |_, parts| check(parts)) else {
        return;
    };
    // The start of an invalid chunk passes, if it arrives before the rest of it.
    assert!(found.valid <= stream.len());
});

fn check(parts: &[&[u8]]) -> CheckedBytes {
    let mut checker = RequestChecker::new(LIMITS);
    let (mut unchecked, mut valid) = (Vec::new(), 0);
    for part in parts {
        unchecked.extend_from_slice(part);
        let found = checker.push(&unchecked);
        unchecked.drain(..found.valid);
        valid += found.valid;
        if let Some(reason) = found.rejected {
            let valid = if reason == RejectReason::Chunk { 0 } else { valid };
            return CheckedBytes { valid, rejected: Some(reason) };
        }
        assert!(unchecked.len() <= LIMITS.max_bytes, "an incomplete head is bounded");
    }
    CheckedBytes { valid, rejected: None }
}
