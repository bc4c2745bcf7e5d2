//! Reads short fields of a `multipart/form-data` request body (RFC 7578), the format of audio uploads.
//!
//! The wanted fields are short lines. Everything else, such as the audio itself, is skipped. The reader buffers at most
//! one line of 512 bytes.

/// Longest line that is read, in bytes. Real boundaries and names have less than 100.
const MAX_LINE: usize = 512;

/// Reader of a form's short fields, in any split of its bytes.
#[derive(Debug)]
pub struct MultipartReader {
    line: Vec<u8>,
    /// The current line is too long and is skipped.
    is_long: bool,
    state: MultipartState,
}

/// Position of the next line in a part of the form.
#[derive(Debug, PartialEq)]
enum MultipartState {
    /// In the value, or before the first part.
    Value,
    /// In the headers, with the name of the field if it came already.
    Headers(Vec<u8>),
    /// At the first line of the value of this field.
    FirstLine(Vec<u8>),
}

impl Default for MultipartReader {
    fn default() -> Self {
        Self { line: Vec::new(), is_long: false, state: MultipartState::Value }
    }
}

impl MultipartReader {
    /// Reads the next bytes. Calls `sink` with the name and value of each field whose value is one short line.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8], &[u8])) {
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            if self.line.len() + part.len() > MAX_LINE {
                self.is_long = true;
                self.line.clear();
            } else if !self.is_long {
                self.line.extend_from_slice(part);
            }
            if end.is_some() {
                self.end_line(sink);
            }
            bytes = rest;
        }
    }

    fn end_line(&mut self, sink: &mut impl FnMut(&[u8], &[u8])) {
        let is_long = std::mem::take(&mut self.is_long);
        let line = self.line.trim_ascii_end();
        let state = std::mem::replace(&mut self.state, MultipartState::Value);
        self.state = match state {
            _ if is_long => match state {
                MultipartState::Headers(name) => MultipartState::Headers(name),
                _ => MultipartState::Value,
            },
            MultipartState::Headers(name) if line.is_empty() => MultipartState::FirstLine(name),
            MultipartState::Headers(name) => {
                MultipartState::Headers(name_of(line).map_or(name, <[u8]>::to_vec))
            }
            // A boundary. A value may start with `--` too, but then no headers follow.
            _ if line.starts_with(b"--") => MultipartState::Headers(Vec::new()),
            MultipartState::FirstLine(name) => {
                if !name.is_empty() {
                    sink(&name, line);
                }
                MultipartState::Value
            }
            MultipartState::Value => MultipartState::Value,
        };
        self.line.clear();
    }
}

/// Name in a line like `Content-Disposition: form-data; name="model"`; `None` for a file.
fn name_of(line: &[u8]) -> Option<&[u8]> {
    const HEADER: &[u8] = b"content-disposition:";
    let (header, rest) = line.split_at_checked(HEADER.len())?;
    if !header.eq_ignore_ascii_case(HEADER) || memchr::memmem::find(rest, b"filename=").is_some() {
        return None;
    }
    let at = memchr::memmem::find(rest, b" name=\"")? + 7;
    let name = rest.get(at..)?;
    name.get(..memchr::memchr(b'"', name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_fields_are_read_in_any_split() {
        // A transcription request of the `openai` SDK.
        let body = [
            &b"--b1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n"[..],
            b"--b1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n",
            b"Content-Type: audio/wav\r\n\r\nRIFF\n--\n\nname=\"model\"\r\n",
            &[7; 5000],
            b"\r\n--b1\r\ncontent-disposition: form-data; name=\"stream\"\r\nX: y\r\n\r\ntrue\r\n--b1--\r\n",
        ]
        .concat();
        for size in [1, 3, 100, body.len()] {
            let mut found = Vec::new();
            let mut reader = MultipartReader::default();
            body.chunks(size).for_each(|part| {
                reader.push(part, &mut |name, value| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    found.push((text(name), text(value)));
                });
            });
            let expected = [("model", "whisper-1"), ("stream", "true")];
            let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            assert_eq!(found, expected, "in chunks of {size}");
            assert!(reader.line.capacity() <= 2 * MAX_LINE);
        }
    }
}
