//! Messages of one direction of a WebSocket connection (RFC 6455).
//!
//! Fragments are joined and masks are removed. Pings and pongs are skipped, also between fragments.
//! With permessage-deflate (RFC 7692), compressed messages are decompressed. A protocol violation
//! ends the parsing, because the start of the next frame is then unknown.

use super::coding::{DecodedSink, ExpansionLimit, InflateProgress, Inflater, WINDOWS};
use super::frame_event::FrameEvent;

/// Size of the buffer for unmasking, in bytes.
const UNMASKED: usize = 4096;
/// Longest payload of a control frame, in bytes.
const MAX_CONTROL: u64 = 125;
/// Bytes that a sender omits at the end of a compressed message (RFC 7692, section 7.2.2).
const DEFLATE_END: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Message whose fragments are being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FragmentedMessage {
    text: bool,
    compressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WebSocketState {
    /// Number of bytes of the frame's header seen so far.
    Header(usize),
    Payload,
    /// After a close frame or a protocol violation.
    Finished,
}

/// Incremental parser of one direction.
#[derive(Debug)]
pub struct WebSocketFramer {
    state: WebSocketState,
    /// Header of the frame: at most two bytes, eight of length and four of mask.
    header: [u8; 14],
    left: u64,
    mask: [u8; 4],
    /// Number of payload bytes of the frame so far, modulo the mask's length.
    mask_offset: usize,
    /// The current message, if one is incomplete.
    message: Option<FragmentedMessage>,
    deflate: bool,
    /// Kept from the first compressed message on: later messages may refer to earlier ones.
    inflater: Option<Inflater>,
    expansion: ExpansionLimit,
}

/// Violation of the protocol.
struct ProtocolViolation;

impl WebSocketFramer {
    /// Returns a parser. `deflate`: permessage-deflate was negotiated.
    pub fn new(deflate: bool) -> Self {
        Self {
            state: WebSocketState::Header(0),
            header: [0; 14],
            left: 0,
            mask: [0; 4],
            mask_offset: 0,
            message: None,
            deflate,
            inflater: None,
            expansion: ExpansionLimit::default(),
        }
    }

    /// Parses the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            let step = match self.state {
                WebSocketState::Finished => return,
                WebSocketState::Header(seen) => {
                    bytes = rest;
                    self.push_header(seen, byte, sink)
                }
                WebSocketState::Payload => {
                    let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                    let (payload, rest) = bytes.split_at(here);
                    bytes = rest;
                    self.left -= here as u64;
                    let step = self.push_payload(payload, sink);
                    if step.is_ok() && self.left == 0 { self.end_frame(sink) } else { step }
                }
            };
            if step.is_err() {
                self.state = WebSocketState::Finished;
                self.inflater = None;
                sink(FrameEvent::Broken);
            }
        }
    }

    /// Ends the stream: an incomplete message is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        let unfinished = self.state != WebSocketState::Header(0) || self.message.is_some();
        if unfinished && self.state != WebSocketState::Finished {
            sink(FrameEvent::Broken);
        }
        self.state = WebSocketState::Finished;
    }

    fn push_header(
        &mut self,
        seen: usize,
        byte: u8,
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        if let Some(slot) = self.header.get_mut(seen) {
            *slot = byte;
        }
        self.state = WebSocketState::Header(seen + 1);
        let [first, second, rest @ ..] = self.header;
        match seen + 1 {
            1 => return self.check_first_byte(first),
            2 if self.is_control() && u64::from(second & !MASKED) > MAX_CONTROL => {
                return Err(ProtocolViolation);
            }
            _ => {}
        }
        let (length, extended) = match (second & !MASKED, rest) {
            (126, [l0, l1, ..]) => (u64::from(u16::from_be_bytes([l0, l1])), 2),
            (127, [l0, l1, l2, l3, l4, l5, l6, l7, ..]) => {
                (u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7]), 8)
            }
            (length, _) => (u64::from(length), 0),
        };
        let mask = if second & MASKED == 0 { 0 } else { 4 };
        if seen + 1 < 2 + extended + mask {
            return Ok(());
        }
        // A length must be encoded in as few bytes as possible.
        let fewest = if length > u64::from(u16::MAX) { 8 } else { 2 * usize::from(length > 125) };
        if extended != fewest || length > i64::MAX as u64 {
            return Err(ProtocolViolation);
        }
        self.left = length;
        self.mask_offset = 0;
        self.mask = [0; 4];
        if let (4, Some(mask)) = (mask, rest.get(extended..extended + 4)) {
            self.mask.copy_from_slice(mask);
        }
        self.state = WebSocketState::Payload;
        if length == 0 { self.end_frame(sink) } else { Ok(()) }
    }

    fn check_first_byte(&mut self, first: u8) -> Result<(), ProtocolViolation> {
        let compressed = first & COMPRESSED != 0;
        let allowed = match (first & 0x0f, self.message) {
            (CONTINUATION, Some(_)) => !compressed,
            (TEXT | BINARY, None) => self.deflate || !compressed,
            (CLOSE | PING | PONG, _) => !compressed && first & FIN != 0,
            _ => false,
        };
        if !allowed || first & RESERVED != 0 {
            return Err(ProtocolViolation);
        }
        if let opcode @ (TEXT | BINARY) = first & 0x0f {
            self.message = Some(FragmentedMessage { text: opcode == TEXT, compressed });
            self.expansion = ExpansionLimit::default();
        }
        Ok(())
    }

    fn opcode(&self) -> u8 {
        let [first, ..] = self.header;
        first & 0x0f
    }

    fn is_control(&self) -> bool {
        self.opcode() >= CLOSE
    }

    fn push_payload(
        &mut self,
        payload: &[u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        let Some(FragmentedMessage { compressed, .. }) =
            self.message.filter(|_| !self.is_control())
        else {
            return Ok(());
        };
        if self.mask == [0; 4] {
            return self.push_data(payload, compressed, sink);
        }
        let mut unmasked = [0; UNMASKED];
        for part in payload.chunks(UNMASKED) {
            let mask = self.mask.iter().cycle().skip(self.mask_offset);
            for ((byte, masked), mask) in unmasked.iter_mut().zip(part).zip(mask) {
                *byte = masked ^ mask;
            }
            self.mask_offset = (self.mask_offset + part.len()) % self.mask.len();
            self.push_data(unmasked.get(..part.len()).unwrap_or_default(), compressed, sink)?;
        }
        Ok(())
    }

    fn push_data(
        &mut self,
        data: &[u8],
        compressed: bool,
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        if compressed {
            return self.inflate(data, sink);
        }
        sink(FrameEvent::Data(data));
        Ok(())
    }

    fn inflate(
        &mut self,
        mut data: &[u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        let Self { inflater, expansion, .. } = self;
        let inflater = match inflater {
            Some(inflater) => inflater,
            None => inflater.insert(Inflater::new(false, &WINDOWS).map_err(|_| ProtocolViolation)?),
        };
        expansion.add_input(data);
        let sink: &mut DecodedSink<'_> = &mut |part| {
            expansion.add_output(part)?;
            sink(FrameEvent::Data(part));
            Ok(())
        };
        // A sender may end its DEFLATE stream within a message and begin another (RFC 7692, section
        // 7.2.3.5).
        while let InflateProgress::End(consumed) =
            inflater.push(data, sink).map_err(|_| ProtocolViolation)?
        {
            inflater.reset(false);
            data = data.get(consumed..).unwrap_or_default();
        }
        Ok(())
    }

    fn end_frame(
        &mut self,
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        self.state = WebSocketState::Header(0);
        let [first, ..] = self.header;
        match self.opcode() {
            PING | PONG => {}
            CLOSE => {
                self.state = WebSocketState::Finished;
                self.inflater = None;
                if self.message.take().is_some() {
                    sink(FrameEvent::Broken);
                }
                sink(FrameEvent::End { name: b"close" });
            }
            _ if first & FIN == 0 => {}
            _ => {
                if let Some(FragmentedMessage { compressed: true, .. }) = self.message {
                    self.inflate(&DEFLATE_END, sink)?;
                }
                if let Some(FragmentedMessage { text, .. }) = self.message.take() {
                    sink(FrameEvent::End { name: if text { b"text" } else { b"binary" } });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
