//! `application/vnd.amazon.eventstream`, Amazon's binary event stream.
//!
//! A message consists of its length, the length of its headers, a CRC32 of both, the headers, the
//! payload, and a CRC32 of everything before it (Amazon Transcribe documentation, "Event stream
//! encoding").
//!
//! The payload is reported as it arrives, so a wrong checksum is only detected at the end of a
//! message. The message is then reported as broken, and the next one is read. After a wrong
//! checksum of the lengths, or a length over the limit, no further message can be found.

use super::frame_event::{EventName, FrameEvent};

/// Bytes of a message besides its headers and payload.
const OVERHEAD: u32 = 16;
/// Longest accepted message, in bytes.
const MAX_MESSAGE: u32 = 24 * 1024 * 1024;
/// Longest accepted headers of a message, in bytes.
const MAX_HEADERS: u32 = 128 * 1024;

/// Role of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderRole {
    /// The message type: event, exception or error.
    MessageType,
    /// The name of the event or exception.
    EventName,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AwsState {
    /// Number of bytes of the prelude seen so far.
    Prelude(u8),
    /// At the length of a header's name.
    NameLength,
    /// In a header's name: number of bytes left.
    Name(u8),
    /// At the type of a header's value.
    ValueType(HeaderRole),
    /// At the first byte of a value's length.
    LengthHigh(HeaderRole),
    /// At the second byte of a value's length, and the first byte.
    LengthLow(HeaderRole, u8),
    /// In a header's value: number of bytes left.
    Value(HeaderRole, u16),
    /// In malformed headers. Their total length is known, so the rest of the message can be
    /// skipped.
    BadHeaders,
    Payload,
    /// Number of bytes of the message's checksum seen so far.
    Checksum(u8),
    Failed,
}

/// Incremental parser of one event stream.
#[derive(Debug)]
pub struct AwsEventStreamFramer {
    state: AwsState,
    crc: crc32fast::Hasher,
    /// Bytes of the prelude, then of the message's checksum.
    word: [u8; 12],
    headers_left: u32,
    payload_left: u32,
    /// Name of the current header, then its value if that is the message type.
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
                    self.push_prelude(seen, byte, sink);
                    rest
                }
                AwsState::Payload => self.push_payload(bytes, sink),
                AwsState::Checksum(seen) => {
                    self.push_checksum(seen, byte, sink);
                    rest
                }
                _ => self.push_headers(bytes, sink),
            };
        }
    }

    /// Ends the stream: an incomplete message is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        if !matches!(self.state, AwsState::Prelude(0) | AwsState::Failed) {
            sink(FrameEvent::Broken);
        }
        self.state = AwsState::Failed;
    }

    fn push_prelude(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
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
        let payload = total.checked_sub(OVERHEAD).and_then(|inside| inside.checked_sub(headers));
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
                    self.end_headers(sink);
                }
            }
            _ => {
                self.state = AwsState::Failed;
                sink(FrameEvent::Broken);
            }
        }
    }

    /// Reads headers, as far as they are in `bytes`, and gives what follows.
    fn push_headers<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> &'a [u8] {
        let here = usize::try_from(self.headers_left).unwrap_or(usize::MAX).min(bytes.len());
        let (mut headers, rest) = bytes.split_at(here);
        self.crc.update(headers);
        self.headers_left -= u32::try_from(here).unwrap_or(self.headers_left);
        while let Some((&byte, after)) = headers.split_first() {
            headers = match self.state {
                AwsState::Name(left) => {
                    let (name, after) = headers.split_at(headers.len().min(left.into()));
                    self.header.push(name);
                    let left = left - u8::try_from(name.len()).unwrap_or(left);
                    self.state = if left == 0 {
                        AwsState::ValueType(self.header_role())
                    } else {
                        AwsState::Name(left)
                    };
                    after
                }
                AwsState::Value(role, left) => {
                    let (value, after) = headers.split_at(headers.len().min(left.into()));
                    match role {
                        HeaderRole::MessageType => self.header.push(value),
                        HeaderRole::EventName => self.name.push(value),
                        HeaderRole::Other => {}
                    }
                    self.set_value_left(role, left - u16::try_from(value.len()).unwrap_or(left));
                    after
                }
                _ => {
                    self.push_header_byte(byte);
                    after
                }
            };
        }
        if self.headers_left == 0 {
            self.end_headers(sink);
        }
        rest
    }

    fn push_header_byte(&mut self, byte: u8) {
        match self.state {
            AwsState::NameLength => {
                self.header.clear();
                self.state = if byte == 0 { AwsState::BadHeaders } else { AwsState::Name(byte) };
            }
            AwsState::ValueType(role) => {
                self.header.clear();
                match byte {
                    // True and false have no value bytes.
                    0 | 1 => self.state = AwsState::NameLength,
                    // Integers of one, two and four bytes.
                    2 => self.set_value_left(HeaderRole::Other, 1),
                    3 => self.set_value_left(HeaderRole::Other, 2),
                    4 => self.set_value_left(HeaderRole::Other, 4),
                    // Integers and timestamps of eight bytes.
                    5 | 8 => self.set_value_left(HeaderRole::Other, 8),
                    6 => self.state = AwsState::LengthHigh(HeaderRole::Other),
                    // Only strings are read.
                    7 => self.state = AwsState::LengthHigh(role),
                    // A UUID.
                    9 => self.set_value_left(HeaderRole::Other, 16),
                    _ => self.state = AwsState::BadHeaders,
                }
            }
            AwsState::LengthHigh(role) => {
                if role == HeaderRole::EventName {
                    self.name.clear();
                }
                self.state = AwsState::LengthLow(role, byte);
            }
            AwsState::LengthLow(role, high) => {
                self.set_value_left(role, u16::from_be_bytes([high, byte]))
            }
            _ => self.state = AwsState::BadHeaders,
        }
    }

    /// Sets the number of bytes that are left of the current value.
    fn set_value_left(&mut self, role: HeaderRole, left: u16) {
        self.state = AwsState::Value(role, left);
        if left == 0 {
            if role == HeaderRole::MessageType {
                self.error = matches!(self.header.as_bytes(), b"exception" | b"error");
            }
            self.state = AwsState::NameLength;
        }
    }

    fn header_role(&self) -> HeaderRole {
        match self.header.as_bytes() {
            b":message-type" => HeaderRole::MessageType,
            b":event-type" | b":exception-type" | b":error-code" => HeaderRole::EventName,
            _ => HeaderRole::Other,
        }
    }

    fn end_headers(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        // The headers must end where the last header ends.
        self.bad_headers = self.state != AwsState::NameLength;
        // An error is reported before its payload: the payload of other messages may be parts of a stream.
        if self.error && !self.bad_headers {
            sink(FrameEvent::ErrorField);
        }
        self.state = if self.payload_left == 0 { AwsState::Checksum(0) } else { AwsState::Payload };
    }

    fn push_payload<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> &'a [u8] {
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

    fn push_checksum(&mut self, seen: u8, byte: u8, sink: &mut impl FnMut(FrameEvent<'_>)) {
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
        sink(FrameEvent::End { name: self.name.as_bytes() });
    }
}

#[cfg(test)]
#[path = "aws_event_stream_tests.rs"]
mod tests;
