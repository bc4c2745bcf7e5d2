#![no_main]

use fuzz::{EventLog, assert_splits_agree};
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::{FrameEvent, length_prefixed::LengthPrefixedFramer};

fuzz_target!(|input: &[u8]| {
    let read = |_, parts: &[&[u8]]| {
        let (mut framer, mut log) = (LengthPrefixedFramer::default(), EventLog::default());
        let mut sink = |event: FrameEvent<'_>| log.add(event);
        parts.iter().for_each(|part| framer.push(part, &mut sink));
        framer.end(&mut sink);
        log
    };
    if let Some((stream, log)) = assert_splits_agree(input, read) {
        log.check_nothing_after_broken(stream);
    }
});
