//! gRPC's length-prefixed messages.
//!
//! A message is one byte for "compressed", four bytes of length, and its data (gRPC over HTTP/2,
//! "Length-Prefixed-Message"). Compressed messages are not decompressed: they are reported without
//! data and with the name `compressed`.

use super::frame_event::FrameEvent;

/// Longest accepted message, in bytes.
const MAX_MESSAGE: u32 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrefixState {
    /// Number of bytes of the prefix seen so far.
    Prefix(u8),
    Data {
        left: u32,
        compressed: bool,
    },
    Failed,
}

/// Incremental parser of one direction of a gRPC call.
#[derive(Debug)]
pub struct LengthPrefixedFramer {
    state: PrefixState,
    prefix: [u8; 5],
}

impl Default for LengthPrefixedFramer {
    fn default() -> Self {
        Self { state: PrefixState::Prefix(0), prefix: [0; 5] }
    }
}

impl LengthPrefixedFramer {
    /// Parses the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                PrefixState::Failed => return,
                PrefixState::Prefix(seen) => {
                    self.push_prefix(seen, byte, sink);
                    bytes = rest;
                }
                PrefixState::Data { left, compressed } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(here);
                    if !compressed {
                        sink(FrameEvent::Data(data));
                    }
                    self.set_data_left(
                        left - u32::try_from(here).unwrap_or(left),
                        compressed,
                        sink,
                    );
                    bytes = rest;
                }
            }
        }
    }

    /// Ends the stream: an incomplete message is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if !matches!(self.state, PrefixState::Prefix(0) | PrefixState::Failed) {
            sink(FrameEvent::Broken);
        }
        self.state = PrefixState::Failed;
    }

    fn push_prefix(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if let Some(slot) = self.prefix.get_mut(usize::from(seen)) {
            *slot = byte;
        }
        self.state = PrefixState::Prefix(seen + 1);
        if seen + 1 < 5 {
            return;
        }
        let [flag, l0, l1, l2, l3] = self.prefix;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if flag > 1 || length > MAX_MESSAGE {
            self.state = PrefixState::Failed;
            return sink(FrameEvent::Broken);
        }
        self.set_data_left(length, flag == 1, sink);
    }

    /// Sets the number of bytes that are left of the current message's data.
    fn set_data_left(
        &mut self,
        left: u32,
        compressed: bool,
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) {
        self.state = PrefixState::Data { left, compressed };
        if left == 0 {
            self.state = PrefixState::Prefix(0);
            sink(FrameEvent::End { name: if compressed { b"compressed" } else { b"" } });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_messages::*;
    use super::*;
    use proptest::prelude::*;

    fn parse(parts: &[&[u8]]) -> Vec<CollectedEvent> {
        let (mut framer, mut messages) =
            (LengthPrefixedFramer::default(), FrameCollector::default());
        let mut sink = |event: FrameEvent<'_>| messages.add(event);
        parts.iter().for_each(|part| framer.push(part, &mut sink));
        framer.end(&mut sink);
        messages.finish()
    }

    fn message(flag: u8, data: &[u8]) -> Vec<u8> {
        [&[flag], &(data.len() as u32).to_be_bytes()[..], data].concat()
    }

    fn broken(data: &str) -> CollectedEvent {
        CollectedEvent::Broken(data.into())
    }

    #[test]
    fn messages_of_sample_streams() {
        let compressed = CollectedEvent::Whole("compressed".into(), "".into());
        let stream = [message(0, b"one"), message(0, b""), message(1, b"zzz"), message(0, b"two")];
        let expected = [plain("one"), plain(""), compressed, plain("two")];
        assert_eq!(parse(&[&stream.concat()]), expected);
        assert_eq!(parse(&[]), []);
        let short = [&message(0, b"one")[..], &[0, 0, 0, 0, 9, b'x']].concat();
        assert_eq!(parse(&[&short]), [plain("one"), broken("x")]);
        assert_eq!(parse(&[&[0, 0]]), [broken("")]);
        let long = (MAX_MESSAGE + 1).to_be_bytes();
        for wrong in [[&[0], &long[..]].concat(), [&[1], &long[..]].concat(), message(2, b"")] {
            let stream = [message(0, b"one"), wrong, message(0, b"two")].concat();
            assert_eq!(parse(&[&stream]), [plain("one"), broken("")]);
        }
        let mut framer = LengthPrefixedFramer::default();
        let longest = [&[0], &MAX_MESSAGE.to_be_bytes()[..]].concat();
        framer.push(&longest, &mut |event| panic!("{event:?}"));
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_messages(
            messages in prop::collection::vec((0u8..2, "[a-z]{0,20}"), 0..8),
            rest in prop::collection::vec(any::<u8>(), 0..10),
            cuts in cuts(),
        ) {
            let written = messages.iter().map(|(flag, data)| message(*flag, data.as_bytes()));
            let mut stream = written.collect::<Vec<_>>().concat();
            stream.extend(rest);
            let whole = parse(&[&stream]);
            prop_assert!(whole.len() >= messages.len());
            prop_assert_eq!(&parse(&cut(&stream, &cuts)), &whole);
            prop_assert_eq!(&parse(&stream.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }
}
