//! Finds the operation and the dialect of a request from its method and path.

use super::request::MAX_MODEL;
use super::{Dialect, ROUTES};
use std::borrow::Cow;
use strum::VariantArray;

/// Operation of a request: the values of `gen_ai.operation.name`.
///
/// OpenTelemetry defines some of them. Requests to unknown paths are `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Operation {
    /// Chat completion.
    Chat,
    /// Completion of a text.
    TextCompletion,
    /// Multimodal generation (Gemini).
    GenerateContent,
    /// Embeddings.
    Embeddings,
    /// Ranking of documents.
    Rerank,
    /// Scores of text pairs.
    Score,
    /// Classification.
    Classify,
    /// Tokenization.
    Tokenize,
    /// Moderation.
    Moderation,
    /// Speech to text.
    Transcription,
    /// Text to speech.
    Speech,
    /// Image generation.
    Image,
    /// A session over a WebSocket.
    Realtime,
    /// Inference on a model server whose path does not show the kind.
    Infer,
    /// Stream of a response that an earlier request started.
    Replay,
    /// A path that is not known.
    Other,
}

impl Operation {
    /// Value of the label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Classify => "classify",
            Self::Tokenize => "tokenize",
            Self::Moderation => "moderation",
            Self::Transcription => "transcription",
            Self::Speech => "speech",
            Self::Image => "image",
            Self::Realtime => "realtime",
            Self::Infer => "infer",
            Self::Replay => "replay",
            Self::Other => "other",
        }
    }

    /// Whether the operation is inference: a model works for the request. Other requests count in requests and bytes only,
    /// because their times would look like those of a very fast model.
    pub fn is_inference(self) -> bool {
        !matches!(self, Self::Tokenize | Self::Replay | Self::Other)
    }

    /// Whether [`label`](Self::label) of an operation that is inference is this text.
    pub fn is_inference_label(label: &str) -> bool {
        Self::VARIANTS.iter().any(|one| one.is_inference() && one.label() == label)
    }
}

/// How the body of a successful response is parsed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResponseParsing {
    /// In this dialect. The framing depends on the content type.
    Dialect(&'static Dialect),
    /// In this dialect if the body is JSON or events. Other responses, such as audio and subtitles, are not parsed.
    IfParsable(&'static Dialect),
    /// Not at all. Only headers, first byte, duration and bytes are measured.
    Opaque,
}

/// Method and path of a known kind of request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Route {
    /// Method of the request, in capitals.
    pub method: &'static str,
    /// End of the path, in whole segments, so that prefixes (`/openai/v1`, `/api/v1`) do not matter. `{model}` matches
    /// the name of a model and `*` anything, up to the text that follows in the same segment. `{model...}` at the end
    /// matches a name of several segments.
    pub(super) path_suffix: &'static str,
    /// Part of `path_suffix` after its last wildcard. It identifies most paths.
    pub(super) literal_tail: &'static str,
    /// Path to report. It replaces the path of the request in all output, which may hold secrets.
    pub path: &'static str,
    /// Operation of the request.
    pub operation: Operation,
    /// How the response is parsed.
    pub response: ResponseParsing,
    /// Only a request with `stream=true` in its query matches.
    pub(super) needs_stream_query: bool,
}

/// Route of all requests that match no other.
pub static OTHER: Route = Route {
    method: "",
    path_suffix: "",
    literal_tail: "",
    path: "other",
    operation: Operation::Other,
    response: ResponseParsing::Opaque,
    needs_stream_query: false,
};

/// Route of a POST request: usual prefix of the path, end of the path, operation and dialect. Without a dialect, the
/// response is not parsed.
macro_rules! post {
    ($prefix:literal, $path_suffix:literal, $operation:ident) => {
        Route {
            method: "POST",
            path_suffix: $path_suffix,
            literal_tail: crate::dialect::route::literal_tail($path_suffix),
            path: concat!($prefix, $path_suffix),
            operation: Operation::$operation,
            response: ResponseParsing::Opaque,
            needs_stream_query: false,
        }
    };
    ($prefix:literal, $path_suffix:literal, $operation:ident, $dialect:expr) => {
        Route {
            response: ResponseParsing::Dialect($dialect),
            ..post!($prefix, $path_suffix, $operation)
        }
    };
}

/// Route of a POST request whose response may also be audio or subtitles, which are not parsed.
macro_rules! post_if_parsable {
    ($prefix:literal, $path_suffix:literal, $operation:ident, $dialect:expr) => {
        Route {
            response: ResponseParsing::IfParsable($dialect),
            ..post!($prefix, $path_suffix, $operation)
        }
    };
}

/// Route of a GET request.
macro_rules! get {
    ($prefix:literal, $path_suffix:literal, $operation:ident, $dialect:expr) => {
        Route { method: "GET", ..post!($prefix, $path_suffix, $operation, $dialect) }
    };
}

/// Route of a GET request with `stream=true` in its query.
macro_rules! get_if_streamed {
    ($prefix:literal, $path_suffix:literal, $operation:ident, $dialect:expr) => {
        Route { needs_stream_query: true, ..get!($prefix, $path_suffix, $operation, $dialect) }
    };
}

pub(super) use {get, get_if_streamed, post, post_if_parsable};

impl Route {
    /// Returns the route of a request, like [`find_with`](Self::find_with), or [`OTHER`] if its query lacks what the route
    /// needs.
    pub fn find_with_query(
        configured: &'static [Self],
        method: &str,
        path: &str,
        query: Option<&str>,
    ) -> &'static Self {
        let route = Self::find_with(configured, method, path);
        let is_streamed = || {
            let mut pairs = query.unwrap_or_default().split('&');
            pairs.any(|pair| {
                let value = pair.strip_prefix("stream=");
                value.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
            })
        };
        if route.needs_stream_query && !is_streamed() { &OTHER } else { route }
    }

    /// Creates the route of a configured API.
    ///
    /// # Errors
    /// If no path can match the pattern.
    pub fn configured(
        method: &'static str,
        path: &'static str,
        operation: Operation,
        dialect: &'static Dialect,
    ) -> Result<Self, PathPatternError> {
        check_pattern(path)?;
        let response = ResponseParsing::Dialect(dialect);
        Ok(Self {
            method,
            path_suffix: path,
            literal_tail: literal_tail(path),
            path,
            operation,
            response,
            needs_stream_query: false,
        })
    }

    /// Returns the first route that matches a request, else [`OTHER`].
    pub fn find(method: &str, path: &str) -> &'static Self {
        Self::find_with(&[], method, path)
    }

    /// Returns the first route that matches a request: one of these configured routes, else one of [`ROUTES`], else
    /// [`OTHER`].
    pub fn find_with(configured: &'static [Self], method: &str, path: &str) -> &'static Self {
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let is_match = |route: &&Self| route.method == method && route.match_path(path).is_some();
        let find = |routes: &'static [Self]| routes.iter().find(is_match);
        find(configured).or_else(|| find(ROUTES)).unwrap_or(&OTHER)
    }

    /// Matches a path without a slash at its end. Returns `Some` on a match, with the text of `{model}` in the path.
    fn match_path<'a>(&self, path: &'a str) -> Option<Option<&'a str>> {
        if self.path_suffix == "/" {
            return (path == "/").then_some(None);
        }
        let rest = path.strip_suffix(self.literal_tail)?;
        let before = self.path_suffix.strip_suffix(self.literal_tail)?;
        if before.is_empty() { Some(None) } else { match_wildcards(before, rest) }
    }

    /// Returns the model in a path of this route, percent-decoded and cut to 256 bytes; `None` if the route has none.
    pub fn model(&self, path: &str) -> Option<String> {
        if !self.path_suffix.contains('{') {
            return None;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let model = self.match_path(path)??;
        Some(truncate(percent_decoded(model)))
    }

    /// Returns the model in the query of a realtime session. Its request has no body that could name the model.
    pub fn model_from_query(&self, query: Option<&str>) -> Option<String> {
        let mut pairs = query.filter(|_| self.operation == Operation::Realtime)?.split('&');
        let value = |pair: &'_ str| {
            let (key, value) = pair.split_once('=')?;
            let is_model = matches!(key, "model" | "deployment") && !value.is_empty();
            is_model.then(|| truncate(percent_decoded(value)))
        };
        pairs.find_map(value)
    }

    /// Whether the path or the query requests a stream.
    pub fn streams_by_path(&self) -> bool {
        self.needs_stream_query
            || self.path_suffix.contains("stream")
            || self.path_suffix.contains("Stream")
    }

    /// Whether the response is a stream if the request body has no `stream` flag. The path or the API decides.
    pub fn streams_by_default(&self) -> bool {
        self.streams_by_path() || self.dialect().is_some_and(|dialect| dialect.streams_by_default)
    }

    /// Dialect of the responses; `None` if they are not parsed.
    pub fn dialect(&self) -> Option<&'static Dialect> {
        match self.response {
            ResponseParsing::Dialect(dialect) | ResponseParsing::IfParsable(dialect) => {
                Some(dialect)
            }
            ResponseParsing::Opaque => None,
        }
    }

    /// Whether a response may also be audio or plain text, which is not read.
    pub fn may_be_media(&self) -> bool {
        matches!(self.response, ResponseParsing::IfParsable(_))
    }

    /// Whether the path is not known. Requests that are known not to be inference have routes of their own.
    pub fn is_unknown(&self) -> bool {
        self.method.is_empty()
    }
}

/// Reason why no path can match a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// It does not begin with a slash.
    #[error("the path must begin with /")]
    NoSlash,
    /// It contains a query or a fragment.
    #[error("the path must not contain ? or #; only the path of a URL is compared")]
    Query,
    /// It has wildcards only, so it matches requests of other APIs.
    #[error("the path needs a part without wildcards; otherwise it matches every request")]
    Everything,
    /// It ends with a slash, which is removed from the path of a request.
    #[error("remove the / at the end; it also matches paths with a / at the end")]
    TrailingSlash,
    /// A wildcard is not at the start of its segment, or there are two in one segment.
    #[error("* and {{model}} must be at the start of a segment, such as /models/{{model}}:run")]
    Wildcard,
    /// Braces around another word than `model`.
    #[error("the only word in braces is {{model}}; use * for any other text")]
    Brace,
}

/// Checks that some path can match a pattern.
fn check_pattern(pattern: &str) -> Result<(), PathPatternError> {
    let segments = pattern.strip_prefix('/').ok_or(PathPatternError::NoSlash)?;
    if pattern.contains(['?', '#']) {
        return Err(PathPatternError::Query);
    }
    if segments.ends_with('/') {
        return Err(PathPatternError::TrailingSlash);
    }
    if pattern != "/" && segments.split('/').all(|part| matches!(part, "" | "*" | "{model}")) {
        return Err(PathPatternError::Everything);
    }
    for segment in segments.split('/') {
        let wildcard = segment.strip_prefix("{model}").or_else(|| segment.strip_prefix('*'));
        let rest = wildcard.unwrap_or(segment);
        if rest.contains('*') || rest.contains("{model}") {
            return Err(PathPatternError::Wildcard);
        }
        if rest.contains(['{', '}']) {
            return Err(PathPatternError::Brace);
        }
    }
    Ok(())
}

/// Part of a pattern after its last wildcard.
pub(super) const fn literal_tail(pattern: &str) -> &str {
    let bytes = pattern.as_bytes();
    let mut start = bytes.len();
    while start > 0 {
        let (before, _) = bytes.split_at(start);
        if let Some(b'}' | b'*') = before.last() {
            break;
        }
        start -= 1;
    }
    pattern.split_at(start).1
}

/// Matches a pattern that ends in a wildcard against the end of a path. Returns `Some` on a match, with the text of
/// `{model}` in it.
fn match_wildcards<'a>(mut pattern: &str, mut path: &'a str) -> Option<Option<&'a str>> {
    if let Some(before) = pattern.strip_suffix("{model...}") {
        let (_, name) = path.split_once(before)?;
        return (!name.is_empty()).then_some(Some(name));
    }
    let mut model = None;
    loop {
        // Compare from the end, up to a wildcard.
        let is_same = |(wanted, byte): &(u8, u8)| wanted == byte && !matches!(wanted, b'}' | b'*');
        let same = pattern.bytes().rev().zip(path.bytes().rev()).take_while(is_same).count();
        pattern = pattern.get(..pattern.len() - same)?;
        path = path.get(..path.len() - same)?;
        if pattern.is_empty() {
            return Some(model);
        }
        // The wildcard takes the rest of its segment.
        let is_model = pattern.ends_with("{model}");
        pattern = pattern.strip_suffix("{model}").or_else(|| pattern.strip_suffix('*'))?;
        let start = path.bytes().rposition(|byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (before, name) = path.split_at_checked(start).filter(|(_, name)| !name.is_empty())?;
        path = before;
        if is_model {
            model = Some(name);
        }
    }
}

/// Cuts the name of a model to [`MAX_MODEL`] bytes, at a character boundary.
fn truncate(name: Cow<'_, str>) -> String {
    name.get(..name.floor_char_boundary(MAX_MODEL)).unwrap_or(&name).to_owned()
}

/// Decodes the percent-encoding of a path segment (RFC 3986, section 2.1).
fn percent_decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
