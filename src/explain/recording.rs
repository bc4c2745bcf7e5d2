//! A recorded response: the body alone, or after its status line and headers, as `curl -i` writes it.

/// Recorded response.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecordedResponse {
    /// Status and headers, if they are recorded.
    pub head: Option<RecordedHead>,
    /// Body, without transfer coding.
    pub body: Vec<u8>,
}

/// Status line and headers of a recorded response.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecordedHead {
    /// HTTP status; 0 if the status line has none.
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RecordedResponse {
    /// Parses a recording. The last head counts, if there are several, such as those of redirects.
    pub fn parse(bytes: &[u8]) -> Self {
        let (mut head, mut rest) = (None, bytes);
        while rest.starts_with(b"HTTP/") {
            let (lines, body) = split_head(rest);
            head = Some(RecordedHead::parse(&String::from_utf8_lossy(lines)));
            rest = body;
        }
        Self { head, body: rest.to_vec() }
    }

    /// The recorded status, if it is not that of a success. The body of such a response is not read.
    pub fn failed_status(&self) -> Option<u16> {
        let status = self.head.as_ref()?.status;
        (!(200..300).contains(&status)).then_some(status)
    }

    /// Values of a header, joined by commas. Empty if there is none.
    pub fn header(&self, name: &str) -> String {
        let headers = self.head.iter().flat_map(|head| &head.headers);
        let values = headers.filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        values.collect::<Vec<_>>().join(",")
    }
}

impl RecordedHead {
    fn parse(lines: &str) -> Self {
        let mut lines = lines.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        Self {
            status: status.and_then(|status| status.parse().ok()).unwrap_or(0),
            headers: lines.filter_map(header).collect(),
        }
    }
}

/// Splits a response at the empty line after its headers. Lines end with LF or CRLF.
fn split_head(response: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 0;
    for line in response.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if line.trim_ascii().is_empty() {
            break;
        }
    }
    response.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_and_the_body_are_found() {
        let recording = RecordedResponse::parse(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 200 \r\nContent-Type: text/event-stream\r\n\
              Via: a\r\nvia: b\r\n\r\ndata: 1\n\n",
        );
        assert_eq!(recording.head.as_ref().map(|head| head.status), Some(200));
        assert_eq!(recording.header("content-type"), "text/event-stream");
        assert_eq!((recording.header("via").as_str(), recording.header("x").as_str()), ("a,b", ""));
        assert_eq!(recording.body, b"data: 1\n\n");
    }

    #[test]
    fn a_body_alone_has_no_head() {
        for body in ["", "data: 1\n\n", "{}"] {
            let expected = RecordedResponse { head: None, body: body.into() };
            assert_eq!(RecordedResponse::parse(body.as_bytes()), expected);
        }
    }

    #[test]
    fn odd_heads_do_not_hide_the_body() {
        let recording = RecordedResponse::parse(b"HTTP/1.1 200 OK\nx\n\n{}");
        assert_eq!((recording.header("x").as_str(), recording.body.as_slice()), ("", &b"{}"[..]));
        let recording = RecordedResponse::parse(b"HTTP/9");
        assert_eq!(recording.head, Some(RecordedHead::default()));
        assert_eq!(recording.body, b"");
    }
}
