//! Reads the model and the `stream` flag in the body of an inference request.

use super::UnparsedReason;
use super::event_builder::parse_count;
use super::multipart::MultipartReader;
use crate::wire::ScanEvent;
use crate::wire::coding::ContentDecoder;
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
    /// Number of choices that the client requested for each prompt; `None` if the body has no such field.
    pub choices: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum RequestTag {
    Model,
    Stream,
    Choices,
}

static CHOICES: JsonNode<RequestTag> = JsonNode::scalar(RequestTag::Choices);
static ROOT: JsonNode<RequestTag> = JsonNode::path(&[
    ("model", &JsonNode::text(RequestTag::Model)),
    ("stream", &JsonNode::scalar(RequestTag::Stream)),
    ("n", &CHOICES),
    // llama.cpp's own name.
    ("n_cmpl", &CHOICES),
]);

/// Reader of a request body, JSON or multipart form, in any split of its bytes. A compressed body is decoded in a copy.
#[derive(Debug, Default)]
pub struct RequestBodyReader {
    coding: BodyCoding,
    body: BodyFormat,
    facts: RequestFacts,
    is_whole: bool,
}

/// Content coding of the body.
#[derive(Debug, Default)]
enum BodyCoding {
    /// None.
    #[default]
    Plain,
    Coded(Box<ContentDecoder>),
    Unsupported,
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
    /// Returns a reader for a body with this `Content-Encoding`.
    pub fn with_encoding(content_encoding: &[u8]) -> Self {
        if content_encoding.is_empty() {
            return Self::default();
        }
        let coding = match ContentDecoder::for_request(content_encoding) {
            Ok(None) => BodyCoding::Plain,
            Ok(Some(decoder)) => BodyCoding::Coded(Box::new(decoder)),
            Err(_) => BodyCoding::Unsupported,
        };
        Self { coding, ..Self::default() }
    }

    /// Returns a reader that ignores the body.
    pub fn ignoring() -> Self {
        Self { body: BodyFormat::Ended, ..Self::default() }
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// If they cannot be decoded. The error is returned once, and the rest of the body is ignored.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), UnparsedReason> {
        if matches!(self.body, BodyFormat::Ended) {
            return Ok(());
        }
        match std::mem::take(&mut self.coding) {
            BodyCoding::Plain => {
                self.push_decoded(bytes);
                Ok(())
            }
            BodyCoding::Unsupported => Err(self.fail()),
            BodyCoding::Coded(mut decoder) => {
                match decoder.push(bytes, &mut |part| self.push_decoded(part)) {
                    Ok(()) => {
                        self.coding = BodyCoding::Coded(decoder);
                        Ok(())
                    }
                    Err(_) => Err(self.fail()),
                }
            }
        }
    }

    fn push_decoded(&mut self, bytes: &[u8]) {
        let Self { body, facts, .. } = self;
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

    fn fail(&mut self) -> UnparsedReason {
        self.body = BodyFormat::Ended;
        UnparsedReason::RequestEncoding
    }

    /// Ends the body and drops the parser.
    ///
    /// # Errors
    /// If the body is compressed and incomplete.
    pub fn end(&mut self) -> Result<(), UnparsedReason> {
        if matches!(self.body, BodyFormat::Ended) {
            return Ok(());
        }
        self.body = BodyFormat::Ended;
        match std::mem::take(&mut self.coding) {
            BodyCoding::Coded(decoder) if !decoder.is_complete() => {
                Err(UnparsedReason::RequestEncoding)
            }
            _ => {
                self.is_whole = true;
                Ok(())
            }
        }
    }

    /// Whether the whole body was read, so that a missing fact is missing in the body.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Sets the model of a request that names it outside of its body.
    pub fn set_model(&mut self, model: &Arc<str>) {
        self.facts.model = Some(Arc::clone(model));
    }

    /// Facts so far. A malformed or truncated body keeps the facts before the fault.
    pub fn facts(&self) -> &RequestFacts {
        &self.facts
    }
}

/// Name of a model, cut to [`MAX_MODEL`] bytes; `None` if the text is empty.
pub(super) fn model_name(text: &[u8]) -> Option<Arc<str>> {
    let text = text.get(..MAX_MODEL).unwrap_or(text);
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into())
}

fn record(facts: &mut RequestFacts, tag: RequestTag, token: ScanEvent<'_>) {
    match (tag, token) {
        (RequestTag::Model, ScanEvent::Text { text, .. }) if !text.is_empty() => {
            facts.model = model_name(text)
        }
        (RequestTag::Stream, ScanEvent::Bool(stream)) => facts.stream = Some(stream),
        (RequestTag::Choices, ScanEvent::Number(n)) => facts.choices = parse_count(n),
        _ => {}
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
