#![no_main]

use fuzz::{EventLog, agree};
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::{FrameEvent, sse::SseFramer};

fuzz_target!(|input: &[u8]| {
    let read = |_, pieces: &[&[u8]]| {
        let (mut framer, mut account) = (SseFramer::default(), EventLog::default());
        let mut sink = |piece: FrameEvent<'_>| account.add(piece);
        pieces.iter().for_each(|piece| framer.push(piece, &mut sink));
        framer.end(&mut sink);
        account
    };
    if let Some((stream, account)) = agree(input, read) {
        account.check(stream);
    }
});
