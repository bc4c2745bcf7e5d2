#![no_main]

use fuzz::{CollectedItem, EventLog, agree};
use libfuzzer_sys::fuzz_target;
use streamgauge_core::wire::coding::windows_in_use;
use streamgauge_core::wire::{FrameEvent, websocket::WebSocketFramer};

fuzz_target!(|input: &[u8]| {
    let read = |mode: u8, pieces: &[&[u8]]| {
        let (mut framer, mut account) = (WebSocketFramer::new(mode & 1 == 1), EventLog::default());
        let mut sink = |piece: FrameEvent<'_>| account.add(piece);
        pieces.iter().for_each(|piece| framer.push(piece, &mut sink));
        framer.end(&mut sink);
        (mode & 1 == 1, normal(account))
    };
    let Some((stream, (deflate, account))) = agree(input, read) else { return };
    if !deflate {
        account.check(stream);
    }
    let close = CollectedItem::End(b"close".to_vec());
    let over =
        account.told.iter().position(|told| *told == CollectedItem::Broken || *told == close);
    let behind = over.and_then(|at| account.told.get(at + 1..)).unwrap_or_default();
    assert!(behind.is_empty() || behind == [close], "not silent: {behind:?}");
    assert_eq!(windows_in_use(), 0);
});

/// How much is inflated of what turns out to be broken depends on the split: it is left out.
fn normal(mut account: EventLog) -> EventLog {
    let broken = account.told.iter().position(|told| *told == CollectedItem::Broken);
    if let Some(before) = broken.and_then(|at| at.checked_sub(1))
        && matches!(account.told.get(before), Some(CollectedItem::Data(_)))
    {
        account.told.remove(before);
    }
    account
}
