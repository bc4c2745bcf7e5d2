//! Events that all framers report.

/// Longest message name that is kept. Names in use have at most about 50 bytes.
const MAX_NAME: usize = 64;

/// Event of a framed stream. A message is any number of [`Data`](Self::Data) parts, then
/// [`End`](Self::End) or [`Broken`](Self::Broken).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEvent<'a> {
    /// Part of the current message's data. Never empty.
    Data(&'a [u8]),
    /// The current message is an error: it has an `error` field (SSE) or is an exception (AWS).
    ErrorField,
    /// The current message is complete.
    End {
        /// The `event` field (SSE), `:event-type` or `:exception-type` (AWS), or `text`, `binary` or
        /// `close` (WebSocket), cut to 64 bytes. Empty if the message has no name.
        name: &'a [u8],
    },
    /// The current message must be discarded: it is malformed (wrong checksum, too long) or was cut
    /// off. A framer that cannot find the start of the next message reports this once and then
    /// ignores all further bytes.
    Broken,
}

/// Name of a message, received in parts and cut to [`MAX_NAME`] bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct EventName {
    // Placed first: most streams have no names and never read the bytes after it.
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

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
