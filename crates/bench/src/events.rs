//! What a client checks of one response: that each token came, once and in order, and when.

use memchr::memmem;

/// A token as it arrived: its send stamp, nanoseconds.
pub type Stamp = u64;

/// The events of one response.
#[derive(Debug, Default)]
pub struct Events {
    /// Data that is not yet an event.
    rest: Vec<u8>,
    /// Content chunks so far.
    tokens: u64,
    /// Bytes of the events so far.
    bytes: u64,
    /// The server's usage agreed with what came.
    confirmed: bool,
    done: bool,
}

impl Events {
    /// Content chunks so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Bytes of the body so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the next data is to be appended; [`read`](Self::read) reads it then.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.rest
    }

    /// Reads the complete events in the buffer; `on_token` gets the stamp of each token.
    pub fn read(&mut self, mut on_token: impl FnMut(Stamp)) -> Result<(), &'static str> {
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

    /// Whether the response was complete: all `tokens`, all bytes, and the terminator at the end.
    pub fn finish(&self, tokens: u64) -> Result<(), &'static str> {
        if self.tokens != tokens {
            return Err("tokens are missing");
        }
        if !self.confirmed || !self.done || !self.rest.is_empty() {
            return Err("the end of the stream is missing");
        }
        Ok(())
    }

    fn event(&mut self, event: &[u8]) -> Result<Option<Stamp>, &'static str> {
        if self.done {
            return Err("an event behind the terminator");
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
                return Err("the server sent more or less");
            }
            self.confirmed = true;
        }
        self.done = event == b"data: [DONE]\n\n";
        Ok(None)
    }
}

/// The number that follows `key`.
fn number_after(event: &[u8], key: &[u8]) -> Option<u64> {
    // The fields looked for are the last of an event.
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
    use crate::sse::Writer;

    /// A response of three tokens, without its head.
    fn body() -> Vec<u8> {
        let (mut writer, mut out) = (Writer::new(1, false), Vec::new());
        writer.open(&mut out);
        (10..13).for_each(|at| writer.token(&mut out, at));
        writer.close(&mut out);
        let head = memmem::find(&out, b"\r\n\r\n").unwrap() + 4;
        let mut body = Vec::new();
        Dechunker::new().feed(&out[head..], &mut body).unwrap();
        body
    }

    fn check(pieces: &[&[u8]]) -> Result<Vec<Stamp>, &'static str> {
        let (mut events, mut stamps) = (Events::default(), Vec::new());
        for piece in pieces {
            events.buffer().extend_from_slice(piece);
            events.read(|stamp| stamps.push(stamp))?;
        }
        events.finish(3).map(|()| stamps)
    }

    #[test]
    fn a_whole_response_passes_however_it_is_cut() {
        let body = body();
        for at in 0..body.len() {
            let (first, second) = body.split_at(at);
            assert_eq!(check(&[first, second]), Ok(vec![10, 11, 12]), "{at}");
        }
    }

    #[test]
    fn one_byte_or_event_less_or_more_does_not_pass() {
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
