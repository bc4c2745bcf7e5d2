//! Checks one response: every token must arrive once and in order.

use memchr::memmem;

/// Send timestamp of a token, in nanoseconds.
pub type SendTime = u64;

/// The events of one response.
#[derive(Debug, Default)]
pub struct ReceivedEvents {
    /// Data that is not yet a complete event.
    rest: Vec<u8>,
    /// Number of content chunks so far.
    tokens: u64,
    /// Number of event bytes so far.
    bytes: u64,
    /// Whether the server's usage equals the received tokens.
    confirmed: bool,
    done: bool,
}

impl ReceivedEvents {
    /// Number of content chunks so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Number of body bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the buffer to append data to, for [`read`](Self::read).
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.rest
    }

    /// Reads the complete events in the buffer; `on_token` receives the send timestamp of each token.
    pub fn read(&mut self, mut on_token: impl FnMut(SendTime)) -> Result<(), &'static str> {
        let rest = std::mem::take(&mut self.rest);
        let mut begin = 0;
        while let Some(length) = memmem::find(&rest[begin..], b"\n\n") {
            let end = begin + length + 2;
            if let Some(stamp) = self.event(&rest[begin..end])? {
                on_token(stamp);
            }
            begin = end;
        }
        self.rest = rest;
        self.rest.drain(..begin);
        Ok(())
    }

    /// Checks that the response was complete: all `tokens`, all bytes, and the terminator.
    pub fn finish(&self, tokens: u64) -> Result<(), &'static str> {
        if self.tokens != tokens {
            return Err("tokens are missing");
        }
        if !self.confirmed || !self.done || !self.rest.is_empty() {
            return Err("the end of the stream is missing");
        }
        Ok(())
    }

    fn event(&mut self, event: &[u8]) -> Result<Option<SendTime>, &'static str> {
        if self.done {
            return Err("an event after the terminator");
        }
        let before = self.bytes;
        self.bytes += event.len() as u64;
        if let Some(stamp) = number_after(event, b" t=") {
            if number_after(event, b" i=") != Some(self.tokens) {
                return Err("tokens out of order");
            }
            self.tokens += 1;
            return Ok(Some(stamp));
        }
        if let Some(sent) = number_after(event, b"\"bytes_before\":") {
            let tokens = number_after(event, b"\"completion_tokens\":");
            if tokens != Some(self.tokens) || sent != before {
                return Err("the server sent another number of bytes");
            }
            self.confirmed = true;
        }
        self.done = event == b"data: [DONE]\n\n";
        Ok(None)
    }
}

/// Returns the number after `key`.
fn number_after(event: &[u8], key: &[u8]) -> Option<u64> {
    // The searched fields are the last ones of an event.
    let begin = memmem::rfind(event, key)? + key.len();
    let digits = event[begin..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number, digit| {
        Some(number.unwrap_or(0_u64).wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dechunk::Dechunker;
    use crate::sse_writer::SseWriter;

    /// A response of three tokens, without headers.
    fn body() -> Vec<u8> {
        let (mut writer, mut out) = (SseWriter::new(1, false), Vec::new());
        writer.open(&mut out);
        (10..13).for_each(|at| writer.token(&mut out, at));
        writer.close(&mut out);
        let head = memmem::find(&out, b"\r\n\r\n").unwrap() + 4;
        let mut body = Vec::new();
        Dechunker::new().feed(&out[head..], &mut body).unwrap();
        body
    }

    fn check(pieces: &[&[u8]]) -> Result<Vec<SendTime>, &'static str> {
        let (mut events, mut stamps) = (ReceivedEvents::default(), Vec::new());
        for piece in pieces {
            events.buffer().extend_from_slice(piece);
            events.read(|stamp| stamps.push(stamp))?;
        }
        events.finish(3).map(|()| stamps)
    }

    #[test]
    fn complete_response_passes_with_every_split() {
        let body = body();
        for at in 0..body.len() {
            let (first, second) = body.split_at(at);
            assert_eq!(check(&[first, second]), Ok(vec![10, 11, 12]), "{at}");
        }
    }

    #[test]
    fn missing_or_additional_bytes_or_events_are_errors() {
        let body = body();
        let events: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
        for missing in 0..events.len() {
            let mut rest = events.clone();
            rest.remove(missing);
            assert!(check(&rest).is_err(), "{missing}");
        }
        assert!(check(&[&body, b"x"]).is_err());
        let shorter = body.iter().position(|byte| *byte == b'7').unwrap();
        assert!(check(&[&body[..shorter], &body[shorter + 1..]]).is_err());
    }
}
