//! What the targets share: how an input is split, and what a framer told.
//!
//! An input's first byte chooses among what the target can be told to do, the next two say how the rest
//! is split. Every target reads that rest three times: whole, in these pieces, and byte by byte.

use std::fmt::Debug;
use streamgauge_core::wire::FrameEvent;

/// Bytes of an input before the stream itself.
pub const HEAD: usize = 3;

/// Reads the input's stream in three splits. All must give the same, which is returned with the stream;
/// `None` if the input is too short to have one.
pub fn agree<T: PartialEq + Debug>(
    input: &[u8],
    read: impl Fn(u8, &[&[u8]]) -> T,
) -> Option<(&[u8], T)> {
    let (&[mode, s0, s1], stream) = input.split_first_chunk::<HEAD>()?;
    let whole = read(mode, &[stream]);
    let pieces = read(mode, &split(stream, u16::from_le_bytes([s0, s1])));
    assert_eq!(whole, pieces, "in pieces");
    let bytes = read(mode, &stream.chunks(1).collect::<Vec<_>>());
    assert_eq!(whole, bytes, "byte by byte");
    Some((stream, whole))
}

/// The stream in pieces of up to as many bytes as the seed's lowest bits say, empty ones included.
fn split(stream: &[u8], seed: u16) -> Vec<&[u8]> {
    let longest = 2 << (seed & 7);
    let mut state = u32::from(seed) | 1 << 16;
    let mut rest = stream;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (piece, behind) = rest.split_at(rest.len().min((state % longest) as usize));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// One thing that a framer told; the pieces of data are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectedItem {
    Data(Vec<u8>),
    Error,
    End(Vec<u8>),
    Broken,
}

/// All that a framer told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    pub told: Vec<CollectedItem>,
}

impl EventLog {
    /// Notes a piece.
    pub fn add(&mut self, piece: FrameEvent<'_>) {
        let told = match piece {
            FrameEvent::Data(data) => {
                assert!(!data.is_empty(), "an empty piece");
                if let Some(CollectedItem::Data(before)) = self.told.last_mut() {
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
                // How much was handed over of what is thrown away may depend on the split.
                self.told.pop_if(|told| matches!(told, CollectedItem::Data(_)));
                CollectedItem::Broken
            }
        };
        self.told.push(told);
    }

    /// Every message must have had its end, and there can't be more of anything than there were bytes.
    pub fn check(&self, stream: &[u8]) {
        let length = |told: &CollectedItem| {
            if let CollectedItem::Data(data) = told { data.len() } else { 0 }
        };
        let data: usize = self.told.iter().map(length).sum();
        assert!(data <= stream.len(), "more data than there was");
        assert!(self.told.len() <= stream.len() + 1, "more was told than there was");
        let last = self.told.last();
        assert!(
            matches!(last, None | Some(CollectedItem::End(_) | CollectedItem::Broken)),
            "no end: {last:?}"
        );
    }

    /// The same, of a framer that can't go on after what is broken.
    pub fn check_silence(&self, stream: &[u8]) {
        self.check(stream);
        let broken = self.told.iter().filter(|told| **told == CollectedItem::Broken).count();
        assert!(broken == 0 || (broken == 1 && self.told.last() == Some(&CollectedItem::Broken)));
    }
}
