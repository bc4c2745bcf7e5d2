//! WebSocket frames (RFC 6455), written and read one by one.

use super::RawConnection;
use std::io::{Read, Write};

/// A frame, as one side sends it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocketFrame {
    /// The last frame of its message.
    pub is_last: bool,
    /// 0: continuation, 1: text, 2: binary, 8: close, 9: ping, 10: pong.
    pub opcode: u8,
    /// Clients mask their frames.
    pub mask: Option<[u8; 4]>,
    /// The payload without the mask.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for WebSocketFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { is_last, opcode, mask, payload } = self;
        write!(f, "opcode {opcode}, last {is_last}, mask {mask:?}, {} bytes", payload.len())
    }
}

impl WebSocketFrame {
    /// A close frame.
    pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Self {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        Self { is_last: true, opcode: 8, mask, payload }
    }

    fn apply_mask(mask: Option<[u8; 4]>, payload: &mut [u8]) {
        let Some(mask) = mask else { return };
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }

    /// Writes the frame.
    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let length = self.payload.len();
        let mut bytes = vec![u8::from(self.is_last) << 7 | self.opcode];
        let masked = u8::from(self.mask.is_some()) << 7;
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => bytes.push(masked | short),
            (_, Ok(medium)) => {
                bytes.push(masked | 126);
                bytes.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| &mask[..]));
        let start = bytes.len();
        bytes.extend_from_slice(&self.payload);
        Self::apply_mask(self.mask, &mut bytes[start..]);
        to.write_all(&bytes)
    }

    /// Reads the next frame. Returns `None` at the end of the connection.
    pub fn read(from: &mut RawConnection) -> Option<Self> {
        let mut start = [0; 2];
        from.read_exact(&mut start).ok()?;
        let mut take = |count: usize| {
            let mut bytes = vec![0; count];
            from.read_exact(&mut bytes).ok()?;
            Some(bytes)
        };
        let length = match start[1] & 127 {
            126 => u64::from(u16::from_be_bytes(take(2)?.try_into().ok()?)),
            127 => u64::from_be_bytes(take(8)?.try_into().ok()?),
            short => u64::from(short),
        };
        let mask = match start[1] >> 7 {
            1 => Some(take(4)?.try_into().ok()?),
            _ => None,
        };
        let mut payload = take(length as usize)?;
        Self::apply_mask(mask, &mut payload);
        Some(Self { is_last: start[0] >> 7 == 1, opcode: start[0] & 127, mask, payload })
    }
}
