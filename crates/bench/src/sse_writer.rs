//! Writes a stream in the format of vLLM, one event per HTTP chunk.

use std::io::Write as _;

use serde_json::json;

/// Texts of content chunks, in the size of real tokens, with an escape and non-ASCII letters.
const WORDS: [&str; 16] = [
    " the", " model", " is", " a", " server", ",", " und", " über", "\\n\\n", " of", " token", "s",
    " stream", ".", " which", " 学习",
];

/// Writer of the events of one response, which counts them.
#[derive(Debug)]
pub struct SseWriter {
    /// Chunk from `data: ` to the opening bracket of `choices`.
    prefix: String,
    event: Vec<u8>,
    /// Number of content chunks so far.
    tokens: u64,
    /// Number of body bytes so far, without HTTP framing.
    bytes: u64,
    /// Start and end of the write of each token, if recorded.
    writes: Option<Vec<(u64, u64)>>,
}

impl SseWriter {
    /// Creates the writer of response `id`. With `account`, the end of the response reports the [`writes`](Self::written).
    pub fn new(id: u64, account: bool) -> Self {
        Self {
            prefix: format!(
                r#"data: {{"id":"chatcmpl-{id:032x}","object":"chat.completion.chunk","created":1767225600,"model":"bench/model-8b","choices":["#
            ),
            event: Vec::with_capacity(384),
            tokens: 0,
            bytes: 0,
            writes: account.then(Vec::new),
        }
    }

    /// Number of content chunks so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Writes the response headers and the event that opens the choice.
    pub fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: bench\r\n\
              content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        self.event(
            out,
            format_args!(
                r#"{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}]}}"#
            ),
        );
    }

    /// Writes a content chunk with the timestamp `at` in its text, the only part in which the events of a real server
    /// differ.
    pub fn token(&mut self, out: &mut Vec<u8>, at: u64) {
        let index = self.tokens;
        let word = WORDS[(index % WORDS.len() as u64) as usize];
        self.tokens += 1;
        self.event(
            out,
            format_args!(
                r#"{{"index":0,"delta":{{"content":"{word} t={at} i={index}"}},"logprobs":null,"finish_reason":null}}]}}"#
            ),
        );
    }

    /// Records that the last event was written from `from` to `to`.
    pub fn written(&mut self, from: u64, to: u64) {
        let Some(writes) = &mut self.writes else { return };
        // The first write contains the headers, before any token.
        if (writes.len() as u64) < self.tokens {
            writes.push((from, to));
        }
    }

    /// Writes the events that end a response: finish, usage (with recorded writes and the number of preceding bytes, for the
    /// client to compare), terminator.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.event(
            out,
            format_args!(
                r#"{{"index":0,"delta":{{"content":""}},"logprobs":null,"finish_reason":"length","stop_reason":null}}]}}"#
            ),
        );
        let (tokens, bytes) = (self.tokens, self.bytes);
        let total = tokens + 5;
        let account = self
            .writes
            .as_ref()
            .map_or_else(String::new, |writes| format!(r#","writes":{}"#, json!(writes)));
        self.event(
            out,
            format_args!(
                r#"],"usage":{{"prompt_tokens":5,"total_tokens":{total},"completion_tokens":{tokens}}}{account},"bytes_before":{bytes}}}"#
            ),
        );
        self.event.clear();
        self.event.extend_from_slice(b"data: [DONE]\n\n");
        self.chunk(out);
        out.extend_from_slice(b"0\r\n\r\n");
    }

    fn event(&mut self, out: &mut Vec<u8>, rest: std::fmt::Arguments<'_>) {
        self.event.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.event, "{}{rest}\n\n", self.prefix);
        self.chunk(out);
    }

    fn chunk(&mut self, out: &mut Vec<u8>) {
        let _ = write!(out, "{:x}\r\n", self.event.len());
        out.extend_from_slice(&self.event);
        out.extend_from_slice(b"\r\n");
        self.bytes += self.event.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn all_events_except_the_last_are_json() {
        let mut writer = SseWriter::new(7, true);
        let mut out = Vec::new();
        writer.open(&mut out);
        for at in 0..20 {
            writer.written(at, at + 1);
            writer.token(&mut out, at);
        }
        writer.close(&mut out);
        let text = String::from_utf8(out).unwrap();
        let events: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let (last, events) = events.split_last().unwrap();
        assert_eq!(*last, "[DONE]");
        let events: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert_eq!(events.len(), 23);
        let text = events[3]["choices"][0]["delta"]["content"].as_str().unwrap();
        assert!(text.ends_with(" t=2 i=2"), "{text}");
        assert_eq!(events[22]["usage"]["completion_tokens"], 20);
        // The first write contained the headers.
        assert_eq!(events[22]["writes"][0], json!([1, 2]));
        assert_eq!(events[22]["writes"].as_array().unwrap().len(), 19);
    }
}
