//! The frames of `application/vnd.amazon.eventstream`: lengths, headers, payload, and two checksums.

/// Builds one frame with text headers.
pub(super) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    const TEXT: u8 = 7;
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        head.extend_from_slice(name.as_bytes());
        head.push(TEXT);
        head.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    // Two lengths and a checksum before the headers, a checksum after the payload.
    let mut frame = Vec::with_capacity(16 + head.len() + payload.len());
    frame.extend_from_slice(&length(16 + head.len() + payload.len()));
    frame.extend_from_slice(&length(head.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// Builds an event frame.
pub(super) fn event(kind: &str, json: &str) -> Vec<u8> {
    let headers =
        [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, json.as_bytes())
}

/// Builds an error frame.
pub(super) fn exception(kind: &str, json: &str) -> Vec<u8> {
    let headers = [
        (":exception-type", kind),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    frame(&headers, json.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first frame of a recorded response of Amazon Nova.
    #[test]
    fn frame_equals_a_recorded_one() {
        let recorded = b"\x00\x00\x00\x90\x00\x00\x00R1A\xc8\xa1\x0b:event-type\x07\x00\x0cmessageStart\r:content-type\x07\x00\x10application/json\r:message-type\x07\x00\x05event{\"p\":\"abcdefghijklmnopqrs\",\"role\":\"assistant\"}\x11v\xea\xb0";
        let json = r#"{"p":"abcdefghijklmnopqrs","role":"assistant"}"#;
        assert_eq!(event("messageStart", json), recorded);
    }
}
