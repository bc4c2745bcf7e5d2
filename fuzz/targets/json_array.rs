#![no_main]

use streamgauge_core::wire::{Piece, json_array::JsonArrayFramer};
use fuzz::{Account, agree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let read = |_, pieces: &[&[u8]]| {
        let (mut framer, mut account) = (JsonArrayFramer::default(), Account::default());
        let mut sink = |piece: Piece<'_>| account.add(piece);
        pieces.iter().for_each(|piece| framer.push(piece, &mut sink));
        framer.end(&mut sink);
        account
    };
    if let Some((stream, account)) = agree(input, read) {
        account.check_silence(stream);
    }
});
