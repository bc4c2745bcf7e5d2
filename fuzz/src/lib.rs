//! Shared by the fuzz targets: splits of an input, and collected frame events.
//!
//! The first byte of an input selects an option of the target, the next two select how the rest is
//! split. Every target reads the rest three times: whole, in these parts, and byte by byte.

use std::fmt::Debug;
use streamgauge_core::wire::FrameEvent;

/// Number of bytes of an input before the stream itself.
pub const HEAD: usize = 3;

/// Reads the input's stream in three splits and checks that all give the same result. Returns the
/// stream and the result, or `None` if the input is too short to have a stream.
pub fn assert_splits_agree<T: PartialEq + Debug>(
    input: &[u8],
    read: impl Fn(u8, &[&[u8]]) -> T,
) -> Option<(&[u8], T)> {
    let (&[mode, s0, s1], stream) = input.split_first_chunk::<HEAD>()?;
    let whole = read(mode, &[stream]);
    let parts = read(mode, &split(stream, u16::from_le_bytes([s0, s1])));
    assert_eq!(whole, parts, "in parts");
    let bytes = read(mode, &stream.chunks(1).collect::<Vec<_>>());
    assert_eq!(whole, bytes, "byte by byte");
    Some((stream, whole))
}

/// Splits the stream into parts, some empty. The lowest bits of the seed determine the longest one.
fn split(stream: &[u8], seed: u16) -> Vec<&[u8]> {
    let longest = 2 << (seed & 7);
    let mut state = u32::from(seed) | 1 << 16;
    let mut rest = stream;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (part, after) = rest.split_at(rest.len().min((state % longest) as usize));
        parts.push(part);
        rest = after;
    }
    parts
}

/// One frame event; consecutive parts of data are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectedItem {
    /// Data of the current message.
    Data(Vec<u8>),
    /// The current message is an error.
    Error,
    /// The end of a message, with its name.
    End(Vec<u8>),
    /// The current message is broken.
    Broken,
}

/// All events of a framer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    /// The events, in order.
    pub items: Vec<CollectedItem>,
}

impl EventLog {
    /// Adds an event.
    pub fn add(&mut self, event: FrameEvent<'_>) {
        let item = match event {
            FrameEvent::Data(data) => {
                assert!(!data.is_empty(), "an empty part");
                if let Some(CollectedItem::Data(before)) = self.items.last_mut() {
                    return before.extend_from_slice(data);
                }
                CollectedItem::Data(data.to_vec())
            }
            FrameEvent::ErrorField => CollectedItem::Error,
            FrameEvent::End { name } => {
                assert!(name.len() <= 64, "a long name");
                CollectedItem::End(name.to_vec())
            }
            FrameEvent::Broken => {
                // How much of a broken message is reported may depend on the split.
                self.items.pop_if(|item| matches!(item, CollectedItem::Data(_)));
                CollectedItem::Broken
            }
        };
        self.items.push(item);
    }

    /// Checks that every message has an end, and that there is not more of anything than there are
    /// bytes.
    pub fn check(&self, stream: &[u8]) {
        let length = |item: &CollectedItem| {
            if let CollectedItem::Data(data) = item { data.len() } else { 0 }
        };
        let data: usize = self.items.iter().map(length).sum();
        assert!(data <= stream.len(), "more data than bytes");
        assert!(self.items.len() <= stream.len() + 1, "more events than bytes");
        let last = self.items.last();
        assert!(
            matches!(last, None | Some(CollectedItem::End(_) | CollectedItem::Broken)),
            "no end: {last:?}"
        );
    }

    /// Checks also that nothing is reported after a broken message, for a framer that cannot
    /// continue.
    pub fn check_nothing_after_broken(&self, stream: &[u8]) {
        self.check(stream);
        let broken = self.items.iter().filter(|item| **item == CollectedItem::Broken).count();
        assert!(broken == 0 || (broken == 1 && self.items.last() == Some(&CollectedItem::Broken)));
    }
}
