//! Parses forms (`multipart/form-data`, RFC 7578), used for audio, into a JSON object of their fields.

use serde_json::{Map, Value};

/// Returns the boundary in a content type; `None` if it is not a form.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.strip_prefix("multipart/form-data")?;
    let (_, value) = parameters.split_once("boundary=")?;
    let value = value.split(';').next()?.trim();
    Some(value.trim_matches('"'))
}

/// Parses the fields. A file becomes its size, and so counts as one token of prompt.
pub(super) fn read(bytes: &[u8], boundary: &str) -> Value {
    let mut fields = Map::new();
    // Only files are not UTF-8, and only their size matters.
    let text = String::from_utf8_lossy(bytes);
    for part in text.split(&format!("--{boundary}")) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let Some((_, name)) = head.split_once("; name=\"") else {
            continue;
        };
        let name = name.split('"').next().unwrap_or_default();
        let value = value.strip_suffix("\r\n").unwrap_or(value);
        let value = if head.contains("; filename=") {
            Value::from(value.len())
        } else {
            Value::from(value)
        };
        fields.insert(name.to_owned(), value);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_and_files() {
        let kind = "multipart/form-data; charset=utf-8; boundary=\"-xy\"";
        let boundary = boundary(kind).unwrap();
        assert_eq!(super::boundary("application/json"), None);
        let body = b"---xy\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n---xy\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\
            \r\nRIFF\r\n---xy--\r\n";
        assert_eq!(read(body, boundary), json!({"model": "m", "file": 4}));
    }
}
