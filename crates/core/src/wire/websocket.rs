//! The messages of one direction of a WebSocket (RFC 6455), split at any byte.
//!
//! Fragments are joined and masks are taken off. Pings and pongs are stepped over, also those between
//! fragments. With permessage-deflate (RFC 7692) compressed messages are inflated. What breaks the
//! protocol ends the reading: where the next frame begins can't be known then.

use super::coding::{DecodedSink, ExpansionLimit, InflateProgress, Inflater, WINDOWS};
use super::frame_event::FrameEvent;

/// Bytes that are unmasked at once.
const UNMASKED: usize = 4096;
/// Longest payload of a control frame.
const MAX_CONTROL: u64 = 125;
/// What a sender leaves out at the end of a compressed message (RFC 7692, section 7.2.2).
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

/// A message that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FragmentedMessage {
    text: bool,
    compressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WebSocketState {
    /// Bytes of the frame's head seen so far.
    Head(usize),
    Payload,
    /// Behind a close, or lost.
    Over,
}

/// An incremental parser of one direction.
#[derive(Debug)]
pub struct WebSocketFramer {
    state: WebSocketState,
    /// The longest head: two bytes, eight of length, four of mask.
    head: [u8; 14],
    left: u64,
    mask: [u8; 4],
    /// Payload bytes of the frame so far, modulo the mask's length.
    masked: usize,
    /// The message whose fragments come.
    open: Option<FragmentedMessage>,
    deflate: bool,
    /// From the first compressed message on, as one may refer to those before it.
    inflater: Option<Inflater>,
    growth: ExpansionLimit,
}

/// Something that the protocol does not allow.
struct ProtocolViolation;

impl WebSocketFramer {
    /// A parser; `deflate`: permessage-deflate was agreed on.
    pub fn new(deflate: bool) -> Self {
        Self {
            state: WebSocketState::Head(0),
            head: [0; 14],
            left: 0,
            mask: [0; 4],
            masked: 0,
            open: None,
            deflate,
            inflater: None,
            growth: ExpansionLimit::default(),
        }
    }

    /// Parses the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            let step = match self.state {
                WebSocketState::Over => return,
                WebSocketState::Head(seen) => {
                    bytes = rest;
                    self.head(seen, byte, sink)
                }
                WebSocketState::Payload => {
                    let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                    let (payload, rest) = bytes.split_at(here);
                    bytes = rest;
                    self.left -= here as u64;
                    let step = self.payload(payload, sink);
                    if step.is_ok() && self.left == 0 { self.end_frame(sink) } else { step }
                }
            };
            if step.is_err() {
                self.state = WebSocketState::Over;
                self.inflater = None;
                sink(FrameEvent::Broken);
            }
        }
    }

    /// The stream has ended: a message that is not complete is broken.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        let unfinished = self.state != WebSocketState::Head(0) || self.open.is_some();
        if unfinished && self.state != WebSocketState::Over {
            sink(FrameEvent::Broken);
        }
        self.state = WebSocketState::Over;
    }

    fn head(
        &mut self,
        seen: usize,
        byte: u8,
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        if let Some(slot) = self.head.get_mut(seen) {
            *slot = byte;
        }
        self.state = WebSocketState::Head(seen + 1);
        let [first, second, rest @ ..] = self.head;
        match seen + 1 {
            1 => return self.first_byte(first),
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
        // A length must be written in as few bytes as it needs.
        let fewest = if length > u64::from(u16::MAX) { 8 } else { 2 * usize::from(length > 125) };
        if extended != fewest || length > i64::MAX as u64 {
            return Err(ProtocolViolation);
        }
        self.left = length;
        self.masked = 0;
        self.mask = [0; 4];
        if let (4, Some(mask)) = (mask, rest.get(extended..extended + 4)) {
            self.mask.copy_from_slice(mask);
        }
        self.state = WebSocketState::Payload;
        if length == 0 { self.end_frame(sink) } else { Ok(()) }
    }

    fn first_byte(&mut self, first: u8) -> Result<(), ProtocolViolation> {
        let compressed = first & COMPRESSED != 0;
        let allowed = match (first & 0x0f, self.open) {
            (CONTINUATION, Some(_)) => !compressed,
            (TEXT | BINARY, None) => self.deflate || !compressed,
            (CLOSE | PING | PONG, _) => !compressed && first & FIN != 0,
            _ => false,
        };
        if !allowed || first & RESERVED != 0 {
            return Err(ProtocolViolation);
        }
        if let opcode @ (TEXT | BINARY) = first & 0x0f {
            self.open = Some(FragmentedMessage { text: opcode == TEXT, compressed });
            self.growth = ExpansionLimit::default();
        }
        Ok(())
    }

    fn opcode(&self) -> u8 {
        let [first, ..] = self.head;
        first & 0x0f
    }

    fn is_control(&self) -> bool {
        self.opcode() >= CLOSE
    }

    fn payload(
        &mut self,
        payload: &[u8],
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        let Some(FragmentedMessage { compressed, .. }) = self.open.filter(|_| !self.is_control())
        else {
            return Ok(());
        };
        if self.mask == [0; 4] {
            return self.data(payload, compressed, sink);
        }
        let mut unmasked = [0; UNMASKED];
        for part in payload.chunks(UNMASKED) {
            let mask = self.mask.iter().cycle().skip(self.masked);
            for ((byte, masked), mask) in unmasked.iter_mut().zip(part).zip(mask) {
                *byte = masked ^ mask;
            }
            self.masked = (self.masked + part.len()) % self.mask.len();
            self.data(unmasked.get(..part.len()).unwrap_or_default(), compressed, sink)?;
        }
        Ok(())
    }

    fn data(
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
        let Self { inflater, growth, .. } = self;
        let inflater = match inflater {
            Some(inflater) => inflater,
            None => inflater.insert(Inflater::new(false, &WINDOWS).map_err(|_| ProtocolViolation)?),
        };
        growth.add_input(data);
        let sink: &mut DecodedSink<'_> = &mut |part| {
            growth.add_output(part)?;
            sink(FrameEvent::Data(part));
            Ok(())
        };
        // A sender may end its stream within a message, and then begins another (section 7.2.3.5).
        while let InflateProgress::Over(taken) =
            inflater.push(data, sink).map_err(|_| ProtocolViolation)?
        {
            inflater.reset(false);
            data = data.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn end_frame(
        &mut self,
        sink: &mut impl FnMut(FrameEvent<'_>),
    ) -> Result<(), ProtocolViolation> {
        self.state = WebSocketState::Head(0);
        let [first, ..] = self.head;
        match self.opcode() {
            PING | PONG => {}
            CLOSE => {
                self.state = WebSocketState::Over;
                self.inflater = None;
                if self.open.take().is_some() {
                    sink(FrameEvent::Broken);
                }
                sink(FrameEvent::End { name: b"close" });
            }
            _ if first & FIN == 0 => {}
            _ => {
                if let Some(FragmentedMessage { compressed: true, .. }) = self.open {
                    self.inflate(&DEFLATE_END, sink)?;
                }
                if let Some(FragmentedMessage { text, .. }) = self.open.take() {
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
