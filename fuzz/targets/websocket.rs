#![no_main]

use fuzz::{CollectedItem, EventLog, assert_splits_agree};
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::coding::windows_in_use;
use streamgauge_core::wire::{FrameEvent, websocket::WebSocketFramer};

fuzz_target!(|input: &[u8]| {
    let read = |mode: u8, parts: &[&[u8]]| {
        let (mut framer, mut log) = (WebSocketFramer::new(mode & 1 == 1), EventLog::default());
        let mut sink = |event: FrameEvent<'_>| log.add(event);
        parts.iter().for_each(|part| framer.push(part, &mut sink));
        framer.end(&mut sink);
        (mode & 1 == 1, without_broken_data(log))
    };
    let Some((stream, (deflate, log))) = assert_splits_agree(input, read) else { return };
    if !deflate {
        log.check(stream);
    }
    let close = CollectedItem::End(b"close".to_vec());
    let end = log.items.iter().position(|item| *item == CollectedItem::Broken || *item == close);
    let after = end.and_then(|at| log.items.get(at + 1..)).unwrap_or_default();
    assert!(after.is_empty() || after == [close], "events after the end: {after:?}");
    assert_eq!(windows_in_use(), 0);
});

/// Removes the data before a broken message: how much of it is decompressed depends on the split.
fn without_broken_data(mut log: EventLog) -> EventLog {
    let broken = log.items.iter().position(|item| *item == CollectedItem::Broken);
    if let Some(before) = broken.and_then(|at| at.checked_sub(1))
        && matches!(log.items.get(before), Some(CollectedItem::Data(_)))
    {
        log.items.remove(before);
    }
    log
}
