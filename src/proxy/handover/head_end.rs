//! Finds the end of a response head in bytes that arrive in any split.

/// Scanner for the end of a response head (status line and headers): the empty line after it.
///
/// Interim responses (1xx) count as part of the head. 101 is the exception: the protocol changes right after it.
#[derive(Debug, Default)]
pub(super) struct HeadEndScanner {
    /// Start of the status line, up to the status code.
    status_line: [u8; STATUS_LINE],
    /// The status line is complete; header lines follow.
    in_headers: bool,
    /// Length of the current line so far.
    line: usize,
    /// The last byte of the current line is a CR.
    after_cr: bool,
    complete: bool,
    /// Number of interim responses (1xx) so far.
    interim: usize,
}

/// Length of `HTTP/1.1 101`.
const STATUS_LINE: usize = 12;

impl HeadEndScanner {
    /// Whether the end of the head was found.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Number of interim responses (1xx) before the response.
    pub fn interim_responses(&self) -> usize {
        self.interim
    }

    /// Scans the next bytes and returns how many of them belong to the head.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            self.extend_line(line);
            self.end_line();
            if self.complete {
                return bytes.len() - rest.len();
            }
        }
        self.extend_line(rest);
        bytes.len()
    }

    fn extend_line(&mut self, part: &[u8]) {
        if !self.in_headers
            && let Some(free) = self.status_line.get_mut(self.line..)
        {
            free.iter_mut().zip(part).for_each(|(slot, byte)| *slot = *byte);
        }
        self.line += part.len();
        self.after_cr = part.last().map_or(self.after_cr, |last| *last == b'\r');
    }

    fn end_line(&mut self) {
        let is_empty = self.line == usize::from(self.after_cr);
        (self.line, self.after_cr) = (0, false);
        if !self.in_headers {
            // Empty lines before a status line are skipped.
            self.in_headers = !is_empty;
        } else if is_empty {
            let is_interim =
                self.status_line.get(9) == Some(&b'1') && self.status_line.get(9..) != Some(b"101");
            let interim = self.interim + usize::from(is_interim);
            *self = Self { complete: !is_interim, interim, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head that the scanner finds in `text`, fed in parts of `size` bytes.
    fn head(text: &str, size: usize) -> Option<&str> {
        let mut scanner = HeadEndScanner::default();
        let mut length = 0;
        for part in text.as_bytes().chunks(size) {
            length += scanner.push(part);
            if scanner.is_complete() {
                return Some(&text[..length]);
            }
        }
        None
    }

    #[test]
    fn head_ends_at_its_empty_line() {
        let ok = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let cases = [
            (ok.to_owned(), ok.to_owned()),
            (format!("{ok}body\r\n\r\n"), ok.to_owned()),
            (format!("\r\n{ok}\r\n"), format!("\r\n{ok}")),
            ("HTTP/1.0 200\n\nbody".into(), "HTTP/1.0 200\n\n".into()),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: x\r\n\r\n".to_owned() + ok + "b",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: x\r\n\r\n".to_owned() + ok,
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n\x01".into(), "HTTP/1.1 101 Switching\r\n\r\n".into()),
        ];
        for (text, expected) in cases {
            for size in 1..text.len() + 1 {
                assert_eq!(head(&text, size), Some(&*expected), "{text:?} by {size}");
            }
        }
        assert_eq!(head("HTTP/1.1 200 OK\r\nA: b\r\n", 3), None);
        assert_eq!(head("HTTP/1.1 200 OK\r\nA: b\r\n\r\r\n", 3), None);
        assert_eq!(head("HTTP/1.1 100 Continue\r\n\r\n", 3), None);
    }
}
