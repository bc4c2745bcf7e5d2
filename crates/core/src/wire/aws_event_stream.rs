//! `application/vnd.amazon.eventstream`, the binary framing of Amazon's streams, split at any byte.
//!
//! A message is its length, the length of its headers and a CRC32 of both, then the headers, the
//! payload, and a CRC32 of all before it (as documented for Amazon Transcribe, "Event stream
//! encoding"). The payload is handed on as it comes, so a message whose checksum is wrong is known to
//! be so only at its end: it is told as broken, and the next one is read. If the first checksum is
//! wrong, or a length is out of reason, no further message can be found.

use super::frame_event::{EventName, FrameEvent};

/// Bytes of a message around its headers and payload.
const AROUND: u32 = 16;
/// Longest message.
const MAX_MESSAGE: u32 = 24 * 1024 * 1024;
/// Longest headers of a message.
const MAX_HEADERS: u32 = 128 * 1024;

/// A header that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderRole {
    /// What the message is: an event, an exception or an error.
    MessageType,
    /// What it is called.
    EventName,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AwsState {
    /// Bytes of the prelude seen so far.
    Prelude(u8),
    /// At the length of a header's name.
    NameLength,
    /// In a header's name: bytes still to come.
    Name(u8),
    ValueType(HeaderRole),
    /// At the first byte of the length of a value.
    LengthHigh(HeaderRole),
    LengthLow(HeaderRole, u8),
    Value(HeaderRole, u16),
    /// In headers that are not what the format says; their end is known all the same.
    BadHeaders,
    Payload,
    /// Bytes of the message's checksum seen so far.
    Checksum(u8),
    Failed,
}

/// An incremental parser of one event stream.
#[derive(Debug)]
pub struct AwsEventStreamFramer {
    state: AwsState,
    crc: crc32fast::Hasher,
    /// The prelude, then the message's checksum.
    word: [u8; 12],
    headers_left: u32,
    payload_left: u32,
    /// The current header's name or kind.
    header: EventName,
    name: EventName,
    error: bool,
    bad_headers: bool,
}

impl Default for AwsEventStreamFramer {
    fn default() -> Self {
        Self {
            state: AwsState::Prelude(0),
            crc: crc32fast::Hasher::new(),
            word: [0; 12],
            headers_left: 0,
            payload_left: 0,
            header: EventName::default(),
            name: EventName::default(),
            error: false,
            bad_headers: false,
        }
    }
}

impl AwsEventStreamFramer {
    /// Parses the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.state {
                AwsState::Failed => return,
                AwsState::Prelude(seen) => {
                    self.prelude(seen, byte, sink);
                    rest
                }
                AwsState::Payload => self.payload(bytes, sink),
                AwsState::Checksum(seen) => {
                    self.checksum(seen, byte, sink);
                    rest
                }
                _ => self.headers(bytes),
            };
        }
    }

    /// The stream has ended: a message that is not complete is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if !matches!(self.state, AwsState::Prelude(0) | AwsState::Failed) {
            sink(FrameEvent::Broken);
        }
        self.state = AwsState::Failed;
    }

    fn prelude(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if let Some(slot) = self.word.get_mut(usize::from(seen)) {
            *slot = byte;
        }
        self.state = AwsState::Prelude(seen + 1);
        if seen + 1 < 12 {
            return;
        }
        let [t0, t1, t2, t3, h0, h1, h2, h3, c0, c1, c2, c3] = self.word;
        let total = u32::from_be_bytes([t0, t1, t2, t3]);
        let headers = u32::from_be_bytes([h0, h1, h2, h3]);
        self.crc = crc32fast::Hasher::new();
        self.crc.update(&[t0, t1, t2, t3, h0, h1, h2, h3]);
        let payload = total.checked_sub(AROUND).and_then(|inside| inside.checked_sub(headers));
        let right = self.crc.clone().finalize() == u32::from_be_bytes([c0, c1, c2, c3]);
        match payload {
            Some(payload) if right && total <= MAX_MESSAGE && headers <= MAX_HEADERS => {
                self.crc.update(&[c0, c1, c2, c3]);
                self.name.clear();
                self.error = false;
                self.bad_headers = false;
                self.headers_left = headers;
                self.payload_left = payload;
                self.state = AwsState::NameLength;
                if headers == 0 {
                    self.end_headers();
                }
            }
            _ => {
                self.state = AwsState::Failed;
                sink(FrameEvent::Broken);
            }
        }
    }

    /// Reads headers, as far as they are in `bytes`, and gives what follows.
    fn headers<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(self.headers_left).unwrap_or(usize::MAX).min(bytes.len());
        let (mut headers, rest) = bytes.split_at(here);
        self.crc.update(headers);
        self.headers_left -= u32::try_from(here).unwrap_or(self.headers_left);
        while let Some((&byte, behind)) = headers.split_first() {
            headers = match self.state {
                AwsState::Name(left) => {
                    let (name, behind) = headers.split_at(headers.len().min(left.into()));
                    self.header.push(name);
                    let left = left - u8::try_from(name.len()).unwrap_or(left);
                    self.state = if left == 0 {
                        AwsState::ValueType(self.wanted())
                    } else {
                        AwsState::Name(left)
                    };
                    behind
                }
                AwsState::Value(wanted, left) => {
                    let (value, behind) = headers.split_at(headers.len().min(left.into()));
                    match wanted {
                        HeaderRole::MessageType => self.header.push(value),
                        HeaderRole::EventName => self.name.push(value),
                        HeaderRole::Other => {}
                    }
                    self.value(wanted, left - u16::try_from(value.len()).unwrap_or(left));
                    behind
                }
                _ => {
                    self.header_byte(byte);
                    behind
                }
            };
        }
        if self.headers_left == 0 {
            self.end_headers();
        }
        rest
    }

    fn header_byte(&mut self, byte: u8) {
        match self.state {
            AwsState::NameLength => {
                self.header.clear();
                self.state = if byte == 0 { AwsState::BadHeaders } else { AwsState::Name(byte) };
            }
            AwsState::ValueType(wanted) => {
                self.header.clear();
                match byte {
                    // True and false.
                    0 | 1 => self.state = AwsState::NameLength,
                    // A byte, and integers of two, four and eight bytes.
                    2 => self.value(HeaderRole::Other, 1),
                    3 => self.value(HeaderRole::Other, 2),
                    4 => self.value(HeaderRole::Other, 4),
                    // A timestamp is the other one of eight.
                    5 | 8 => self.value(HeaderRole::Other, 8),
                    6 => self.state = AwsState::LengthHigh(HeaderRole::Other),
                    // Only a string says what is asked for.
                    7 => self.state = AwsState::LengthHigh(wanted),
                    // A UUID.
                    9 => self.value(HeaderRole::Other, 16),
                    _ => self.state = AwsState::BadHeaders,
                }
            }
            AwsState::LengthHigh(wanted) => {
                if wanted == HeaderRole::EventName {
                    self.name.clear();
                }
                self.state = AwsState::LengthLow(wanted, byte);
            }
            AwsState::LengthLow(wanted, high) => {
                self.value(wanted, u16::from_be_bytes([high, byte]))
            }
            _ => self.state = AwsState::BadHeaders,
        }
    }

    /// So much of a value is still to come.
    fn value(&mut self, wanted: HeaderRole, left: u16) {
        self.state = AwsState::Value(wanted, left);
        if left == 0 {
            if wanted == HeaderRole::MessageType {
                self.error = matches!(self.header.get(), b"exception" | b"error");
            }
            self.state = AwsState::NameLength;
        }
    }

    fn wanted(&self) -> HeaderRole {
        match self.header.get() {
            b":message-type" => HeaderRole::MessageType,
            b":event-type" | b":exception-type" | b":error-code" => HeaderRole::EventName,
            _ => HeaderRole::Other,
        }
    }

    fn end_headers(&mut self) {
        // The last header must be complete where the headers end.
        self.bad_headers = self.state != AwsState::NameLength;
        self.state = if self.payload_left == 0 { AwsState::Checksum(0) } else { AwsState::Payload };
    }

    fn payload<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(FrameEvent<'_>)) -> &'a [u8] {
        let here = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at(here);
        self.crc.update(payload);
        sink(FrameEvent::Data(payload));
        self.payload_left -= u32::try_from(here).unwrap_or(self.payload_left);
        if self.payload_left == 0 {
            self.state = AwsState::Checksum(0);
        }
        rest
    }

    fn checksum(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if let Some(slot) = self.word.get_mut(usize::from(seen)) {
            *slot = byte;
        }
        self.state = AwsState::Checksum(seen + 1);
        if seen + 1 < 4 {
            return;
        }
        self.state = AwsState::Prelude(0);
        let [c0, c1, c2, c3, ..] = self.word;
        let right = self.crc.clone().finalize() == u32::from_be_bytes([c0, c1, c2, c3]);
        if !right || self.bad_headers {
            return sink(FrameEvent::Broken);
        }
        if self.error {
            sink(FrameEvent::ErrorField);
        }
        sink(FrameEvent::End { name: self.name.get() });
    }
}

#[cfg(test)]
#[path = "aws_event_stream_tests.rs"]
mod tests;
