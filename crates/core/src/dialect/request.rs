//! Reads the model and the `stream` flag in the body of an inference request.

use super::multipart::MultipartReader;
use crate::wire::ScanEvent;
use crate::wire::json::{JsonNode, JsonScanner};
use std::sync::Arc;

/// Longest model name that is kept, in bytes. Label values are cut further.
pub(super) const MAX_MODEL: usize = 256;

/// Facts from the body of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// Requested model.
    pub model: Option<Arc<str>>,
    /// Whether the client requested a stream; `None` if the body has no such field.
    pub stream: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
enum RequestTag {
    Model,
    Stream,
}

static ROOT: JsonNode<RequestTag> = JsonNode::path(&[
    ("model", &JsonNode::text(RequestTag::Model)),
    ("stream", &JsonNode::scalar(RequestTag::Stream)),
]);

/// Reader of a request body, JSON or multipart form, in any split of its bytes.
#[derive(Debug, Default)]
pub struct RequestBodyReader {
    body: BodyFormat,
    facts: RequestFacts,
}

#[derive(Debug, Default)]
enum BodyFormat {
    /// No byte yet; the first one decides.
    #[default]
    Unknown,
    Json(Box<JsonScanner<RequestTag>>),
    Multipart(Box<MultipartReader>),
    /// The body ended. The parser is dropped, because the facts are kept for the whole response.
    Ended,
}

impl RequestBodyReader {
    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { body, facts } = self;
        if let (BodyFormat::Unknown, Some(first)) = (&*body, bytes.trim_ascii_start().first()) {
            *body = match first {
                b'-' => BodyFormat::Multipart(Box::default()),
                _ => BodyFormat::Json(Box::new(JsonScanner::new(&ROOT))),
            };
        }
        match body {
            BodyFormat::Unknown | BodyFormat::Ended => {}
            BodyFormat::Json(scanner) => {
                scanner.push(bytes, &mut |tag, token| record(facts, tag, token))
            }
            BodyFormat::Multipart(reader) => reader.push(bytes, &mut |name, value| match name {
                b"model" => facts.model = model_name(value),
                b"stream" => facts.stream = Some(value.eq_ignore_ascii_case(b"true")),
                _ => {}
            }),
        }
    }

    /// Ends the body and drops the parser.
    pub fn end(&mut self) {
        self.body = BodyFormat::Ended;
    }

    /// Facts so far. A malformed or truncated body keeps the facts before the fault.
    pub fn facts(&self) -> &RequestFacts {
        &self.facts
    }
}

/// Name of a model, cut to [`MAX_MODEL`] bytes; `None` if the text is empty.
fn model_name(text: &[u8]) -> Option<Arc<str>> {
    let text = text.get(..MAX_MODEL).unwrap_or(text);
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into())
}

fn record(facts: &mut RequestFacts, tag: RequestTag, token: ScanEvent<'_>) {
    match (tag, token) {
        (RequestTag::Model, ScanEvent::Text { text, .. }) if !text.is_empty() => {
            facts.model = model_name(text)
        }
        (RequestTag::Stream, ScanEvent::Bool(stream)) => facts.stream = Some(stream),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> RequestFacts {
        let mut reader = RequestBodyReader::default();
        body.as_bytes().chunks(3).for_each(|part| reader.push(part));
        reader.facts().clone()
    }

    #[test]
    fn model_and_stream_are_read_at_the_top_level() {
        let facts = read(
            r#"{"messages":[{"role":"user","content":"\"model\":\"no\"","model":"no"}],
                "model":"m\u0031","stream":true,"max_completion_tokens":64,"n":2}"#,
        );
        let expected = RequestFacts { model: Some("m1".into()), stream: Some(true) };
        assert_eq!(facts, expected);
    }

    #[test]
    fn facts_outlast_the_body() {
        let mut reader = RequestBodyReader::default();
        reader.push(br#"{"model":"m","stream":true}"#);
        reader.end();
        reader.push(br#"{"model":"other"}"#);
        let expected = RequestFacts { model: Some("m".into()), stream: Some(true) };
        assert_eq!(*reader.facts(), expected);
    }

    #[test]
    fn odd_bodies_have_no_facts() {
        for body in ["", "not json", "[]", r#"{"model":7,"stream":"yes"}"#] {
            assert_eq!(read(body), RequestFacts::default(), "{body}");
        }
        assert_eq!(
            read(&format!(r#"{{"model":"{}"}}"#, "x".repeat(5000))).model.map(|m| m.len()),
            Some(256)
        );
    }
}
