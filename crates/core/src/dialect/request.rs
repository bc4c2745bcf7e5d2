//! What is wanted of an inference request: a peek at its body as it passes.

use super::multipart::MultipartReader;
use crate::wire::ScanEvent;
use crate::wire::json::{JsonNode, JsonScanner};
use std::sync::Arc;

/// Longest model name that is kept, in bytes; it is cut again where it becomes a label.
pub(super) const MAX_MODEL: usize = 256;

/// What a request's body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// Whether a stream was asked for; `None` if the body does not say.
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

/// Reads a request body in any split: JSON, or a form.
#[derive(Debug, Default)]
pub struct RequestBodyReader {
    body: BodyFormat,
    facts: RequestFacts,
}

#[derive(Debug, Default)]
enum BodyFormat {
    /// The first byte will tell.
    #[default]
    Unseen,
    Json(Box<JsonScanner<RequestTag>>),
    ApiFormat(Box<MultipartReader>),
    /// Nothing of it is read any more: what it said may be kept for long.
    Over,
}

impl RequestBodyReader {
    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { body, facts } = self;
        if let (BodyFormat::Unseen, Some(first)) = (&*body, bytes.trim_ascii_start().first()) {
            *body = match first {
                b'-' => BodyFormat::ApiFormat(Box::default()),
                _ => BodyFormat::Json(Box::new(JsonScanner::new(&ROOT))),
            };
        }
        match body {
            BodyFormat::Unseen | BodyFormat::Over => {}
            BodyFormat::Json(scanner) => {
                scanner.push(bytes, &mut |tag, token| note(facts, tag, token))
            }
            BodyFormat::ApiFormat(form) => form.push(bytes, &mut |name, value| match name {
                b"model" => facts.model = name_in(value),
                b"stream" => facts.stream = Some(value.eq_ignore_ascii_case(b"true")),
                _ => {}
            }),
        }
    }

    /// The body is over.
    pub fn end(&mut self) {
        self.body = BodyFormat::Over;
    }

    /// What the body has said so far. A body that is broken or cut short has said what came before.
    pub fn facts(&self) -> &RequestFacts {
        &self.facts
    }
}

/// The name of a model in this text, cut to what is kept; none if it is empty.
fn name_in(text: &[u8]) -> Option<Arc<str>> {
    let text = text.get(..MAX_MODEL).unwrap_or(text);
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into())
}

fn note(facts: &mut RequestFacts, tag: RequestTag, token: ScanEvent<'_>) {
    match (tag, token) {
        (RequestTag::Model, ScanEvent::Text { text, .. }) if !text.is_empty() => {
            facts.model = name_in(text)
        }
        (RequestTag::Stream, ScanEvent::Bool(stream)) => facts.stream = Some(stream),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peek(body: &str) -> RequestFacts {
        let mut peek = RequestBodyReader::default();
        body.as_bytes().chunks(3).for_each(|part| peek.push(part));
        peek.facts().clone()
    }

    #[test]
    fn reads_what_is_wanted() {
        let facts = peek(
            r#"{"messages":[{"role":"user","content":"\"model\":\"no\"","model":"no"}],
                "model":"m\u0031","stream":true,"max_completion_tokens":64,"n":2}"#,
        );
        let expected = RequestFacts { model: Some("m1".into()), stream: Some(true) };
        assert_eq!(facts, expected);
    }

    #[test]
    fn what_was_said_outlasts_the_body() {
        let mut peek = RequestBodyReader::default();
        peek.push(br#"{"model":"m","stream":true}"#);
        peek.end();
        peek.push(br#"{"model":"other"}"#);
        let expected = RequestFacts { model: Some("m".into()), stream: Some(true) };
        assert_eq!(*peek.facts(), expected);
    }

    #[test]
    fn odd_bodies_say_nothing() {
        for body in ["", "not json", "[]", r#"{"model":7,"stream":"yes"}"#] {
            assert_eq!(peek(body), RequestFacts::default(), "{body}");
        }
        assert_eq!(
            peek(&format!(r#"{{"model":"{}"}}"#, "x".repeat(5000))).model.map(|m| m.len()),
            Some(256)
        );
    }
}
