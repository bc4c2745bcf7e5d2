//! The gzip format (RFC 1952): members, each with a header, DEFLATE data, a checksum and a length.
//!
//! `flate2::write::MultiGzDecoder` does not replace this decoder. It fails on padding after the
//! last member, which gzip ignores. It also buffers 32 KiB of output and up to 64 KiB of each
//! header field per stream; this decoder holds only the window.

use super::inflate::{InflateProgress, Inflater};
use super::window::WindowBudget;
use super::{CodingError, DecodedSink};

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GzipState {
    /// Number of bytes of the fixed header seen so far.
    Header(u8),
    /// At the length of the extra field: number of bytes seen, and the first byte.
    ExtraLength(u8, u8),
    /// In the extra field: number of bytes left.
    Extra(u16),
    /// In the file name, which ends in NUL.
    Name,
    /// In the comment, which ends in NUL.
    Comment,
    /// Number of bytes of the header's checksum seen so far.
    HeaderCrc(u8),
    Data,
    /// Number of bytes of the trailer seen so far.
    Trailer(u8),
    /// After a member. Another one may follow.
    Between,
    /// After the last member: padding, which is ignored as gzip does.
    Ignored,
}

/// Incremental decoder of one gzip file.
#[derive(Debug)]
pub(super) struct GzipDecoder {
    state: GzipState,
    flags: u8,
    inflater: Inflater,
    crc: crc32fast::Hasher,
    length: u32,
    trailer: [u8; 8],
    /// No byte has arrived.
    empty: bool,
}

impl GzipDecoder {
    pub(super) fn new(budget: &'static WindowBudget) -> Result<Self, CodingError> {
        Ok(Self {
            state: GzipState::Header(0),
            flags: 0,
            inflater: Inflater::new(false, budget)?,
            crc: crc32fast::Hasher::new(),
            length: 0,
            trailer: [0; 8],
            empty: true,
        })
    }

    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), CodingError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            self.empty = false;
            bytes = match self.state {
                GzipState::Ignored => return Ok(()),
                GzipState::Data => self.push_data(bytes, sink)?,
                _ => {
                    self.push_byte(byte)?;
                    rest
                }
            };
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.empty || matches!(self.state, GzipState::Between | GzipState::Ignored)
    }

    /// Reads a byte of a header or trailer.
    fn push_byte(&mut self, byte: u8) -> Result<(), CodingError> {
        self.state = match self.state {
            GzipState::Between if byte != 0x1f => GzipState::Ignored,
            GzipState::Header(0) | GzipState::Between => {
                Self::check(byte == 0x1f, GzipState::Header(1))?
            }
            GzipState::Header(1) => Self::check(byte == 0x8b, GzipState::Header(2))?,
            // DEFLATE, the only method.
            GzipState::Header(2) => Self::check(byte == 8, GzipState::Header(3))?,
            GzipState::Header(3) => {
                self.flags = byte;
                Self::check(byte & RESERVED == 0, GzipState::Header(4))?
            }
            // Modification time, compression level and operating system.
            GzipState::Header(seen @ 4..=8) => GzipState::Header(seen + 1),
            GzipState::Header(_) => self.after_header(),
            GzipState::ExtraLength(0, _) => GzipState::ExtraLength(1, byte),
            GzipState::ExtraLength(_, low) => match u16::from_le_bytes([low, byte]) {
                0 => self.after_extra(),
                length => GzipState::Extra(length),
            },
            GzipState::Extra(1) => self.after_extra(),
            GzipState::Extra(left) => GzipState::Extra(left - 1),
            GzipState::Name if byte == 0 => self.after_name(),
            GzipState::Comment if byte == 0 => self.after_comment(),
            GzipState::HeaderCrc(0) => GzipState::HeaderCrc(1),
            GzipState::HeaderCrc(_) => self.begin_data(),
            GzipState::Trailer(seen) => self.push_trailer(seen, byte)?,
            other => other,
        };
        Ok(())
    }

    fn check(is_valid: bool, next: GzipState) -> Result<GzipState, CodingError> {
        if is_valid { Ok(next) } else { Err(CodingError::Malformed) }
    }

    fn after_header(&mut self) -> GzipState {
        if self.flags & EXTRA != 0 { GzipState::ExtraLength(0, 0) } else { self.after_extra() }
    }

    fn after_extra(&mut self) -> GzipState {
        if self.flags & NAME != 0 { GzipState::Name } else { self.after_name() }
    }

    fn after_name(&mut self) -> GzipState {
        if self.flags & COMMENT != 0 { GzipState::Comment } else { self.after_comment() }
    }

    fn after_comment(&mut self) -> GzipState {
        if self.flags & HEADER_CRC != 0 { GzipState::HeaderCrc(0) } else { self.begin_data() }
    }

    fn begin_data(&mut self) -> GzipState {
        self.inflater.reset(false);
        self.crc = crc32fast::Hasher::new();
        self.length = 0;
        GzipState::Data
    }

    fn push_data<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<&'a [u8], CodingError> {
        let Self { inflater, crc, length, state, .. } = self;
        let progress = inflater.push(bytes, &mut |part| {
            crc.update(part);
            // The trailer has the length modulo 2^32.
            *length = length.wrapping_add(part.len() as u32);
            sink(part)
        })?;
        Ok(match progress {
            InflateProgress::More => &[],
            InflateProgress::End(consumed) => {
                *state = GzipState::Trailer(0);
                bytes.get(consumed..).unwrap_or_default()
            }
        })
    }

    fn push_trailer(&mut self, seen: u8, byte: u8) -> Result<GzipState, CodingError> {
        if let Some(slot) = self.trailer.get_mut(usize::from(seen)) {
            *slot = byte;
        }
        if seen < 7 {
            return Ok(GzipState::Trailer(seen + 1));
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3] = self.trailer;
        let crc = self.crc.clone().finalize() == u32::from_le_bytes([c0, c1, c2, c3]);
        let length = self.length == u32::from_le_bytes([l0, l1, l2, l3]);
        Self::check(crc && length, GzipState::Between)
    }
}
