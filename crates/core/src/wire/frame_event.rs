//! What the framers tell of a stream.

/// Longest name of a message that is kept; real ones have at most about 50 bytes.
const MAX_NAME: usize = 64;

/// What a framer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEvent<'a> {
    /// A part of the current message's data.
    Data(&'a [u8]),
    /// The current message has an `error` field (SSE), or is an exception (AWS).
    ErrorField,
    /// The current message is complete. `name`: its `event` field (SSE), `:event-type` or
    /// `:exception-type` (AWS), or kind (WebSocket), cut to 64 bytes; empty if it has none.
    End { name: &'a [u8] },
    /// What was handed over of the current message is to be thrown away: it is not what it says (a
    /// wrong checksum, too long, ...), or broke off in a format that has no unfinished messages. If no
    /// message follows that can be found, the framer says this once and nothing after it.
    Broken,
}

/// A message's name as it comes in, cut to what is kept.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct EventName {
    // Before the bytes, which most streams never touch.
    length: usize,
    bytes: [u8; MAX_NAME],
}

impl Default for EventName {
    fn default() -> Self {
        Self { bytes: [0; MAX_NAME], length: 0 }
    }
}

impl EventName {
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let Some(slot) = self.bytes.get_mut(self.length) else { return };
            *slot = byte;
            self.length += 1;
        }
    }

    pub(super) fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
