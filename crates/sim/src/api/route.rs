//! Maps paths to APIs.

use hyper::{Method, Uri};

use super::{DocumentKind, SimApi};
use crate::request::SimRequest;

/// API of a request, and other information from its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimRoute {
    pub(crate) api: SimApi,
    /// The model, if the path contains it.
    pub(crate) model: Option<String>,
    /// Whether the response is streamed, if the path decides it.
    pub(crate) stream: Option<bool>,
    /// The query, without its question mark.
    pub(crate) query: String,
}

impl SimRoute {
    /// Returns the route of an inference request; `None` for other requests.
    pub(crate) fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let path = uri.path();
        let (api, model, stream) = match by_whole_path(path).or_else(|| by_ids_in_path(path)) {
            Some((api, stream)) => (api, None, stream),
            None => {
                let (api, model, stream) = by_model_in_path(path)?;
                (api, Some(unescaped(model)), Some(stream))
            }
        };
        let expected = if api == SimApi::Replicate { Method::GET } else { Method::POST };
        let query = uri.query().unwrap_or_default().to_owned();
        (*method == expected).then_some(Self { api, model, stream, query })
    }

    /// Returns the body for a request without one: the script in the query parameter `sim`.
    pub(crate) fn body(&self) -> Option<String> {
        let script = self.query.split('&').find_map(|pair| pair.strip_prefix("sim="));
        let script = script.map_or_else(|| "{}".to_owned(), unescaped);
        (self.api == SimApi::Replicate).then(|| format!(r#"{{"sim":{script}}}"#))
    }

    /// Selects the API by the body: three servers have a `/generate`.
    pub(crate) fn settle(&mut self, request: &SimRequest) {
        let has = |field| request.get(field).is_some();
        if self.api == SimApi::Tgi && self.stream == Some(false) && !has("/inputs") {
            if has("/text") || has("/input_ids") {
                (self.api, self.stream) = (SimApi::Sglang, None);
            } else if has("/prompt") {
                (self.api, self.stream) = (SimApi::VllmLegacy, None);
            }
        }
    }
}

/// Returns the API and, if the path decides it, whether the response is streamed.
fn by_whole_path(path: &str) -> Option<(SimApi, Option<bool>)> {
    let api = match path {
        "/v1/chat/completions" => SimApi::Chat,
        "/v1/completions" => SimApi::Completions,
        "/v1/responses" => SimApi::Responses,
        "/v1/audio/transcriptions" => SimApi::Transcriptions,
        "/v1/audio/speech" => return Some((SimApi::Speech, Some(true))),
        "/v1/embeddings" => SimApi::Document(DocumentKind::Embeddings),
        "/rerank" | "/v1/rerank" | "/v2/rerank" => SimApi::Document(DocumentKind::Rerank),
        "/score" | "/v1/score" => SimApi::Document(DocumentKind::Score),
        "/classify" | "/v1/classify" => SimApi::Document(DocumentKind::Classify),
        "/tokenize" => SimApi::Document(DocumentKind::Tokenize),
        "/v1/moderations" => SimApi::Document(DocumentKind::Moderations),
        "/v1/images/generations" => SimApi::Document(DocumentKind::Images),
        "/v1/messages" => SimApi::Messages,
        "/v1/messages/count_tokens" => SimApi::Document(DocumentKind::CountTokens),
        "/v1/complete" => SimApi::Complete,
        "/api/chat" => SimApi::OllamaChat,
        "/api/generate" => SimApi::OllamaGenerate,
        "/api/embed" => SimApi::OllamaEmbed,
        "/" => SimApi::Tgi,
        "/generate" => return Some((SimApi::Tgi, Some(false))),
        "/generate_stream" => return Some((SimApi::Tgi, Some(true))),
        "/completion" | "/infill" => SimApi::LlamaCpp,
        "/inference/v1/generate" => SimApi::VllmTokens,
        "/v1/chat" => SimApi::CohereV1,
        "/v2/embed" => SimApi::Document(DocumentKind::CohereEmbeddings),
        "/v2/chat" | "/cohere/v2/chat" => SimApi::CohereV2,
        _ => return None,
    };
    Some((api, None))
}

/// The same for paths with an id. These responses are always streamed.
fn by_ids_in_path(path: &str) -> Option<(SimApi, Option<bool>)> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let api = match parts.as_slice() {
        ["v1", "threads", "runs"] | ["v1", "threads", _, "runs"] => SimApi::Assistants,
        ["v1beta", "interactions"] => SimApi::Interactions,
        ["v1", "streams", _] => SimApi::Replicate,
        ["agents", _, "agentAliases", _, "sessions", _, "text"] => SimApi::Agent,
        _ => return None,
    };
    Some((api, Some(true)))
}

/// Returns the API, the model in the path, and whether the response is streamed.
fn by_model_in_path(path: &str) -> Option<(SimApi, &str, bool)> {
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        let (model, verb) = rest.rsplit_once('/')?;
        let model = model.split_once("/versions/").map_or(model, |(model, _)| model);
        let stream = match verb {
            "generate" => false,
            "generate_stream" => true,
            _ => return None,
        };
        return Some((SimApi::Triton, model, stream));
    }
    if let Some(rest) = path.strip_prefix("/model/") {
        let (model, verb) = rest.rsplit_once('/')?;
        let (api, stream) = match verb {
            "converse" => (SimApi::Converse, false),
            "converse-stream" => (SimApi::Converse, true),
            "invoke" => (SimApi::Invoke, false),
            "invoke-with-response-stream" => (SimApi::Invoke, true),
            _ => return None,
        };
        return Some((api, model, stream));
    }
    let (path, verb) = path.rsplit_once(':')?;
    let (_, model) = path.split_once("/models/")?;
    match verb {
        "generateContent" => Some((SimApi::Gemini, model, false)),
        "streamGenerateContent" => Some((SimApi::Gemini, model, true)),
        _ => None,
    }
}

/// Decodes percent-encoding: a model id can contain a colon.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (rest, _) = match code {
            Some(code) => (after.get(2..).unwrap_or_default(), bytes.push(code)),
            None => (after, bytes.push(b'%')),
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_read_from_paths() {
        let table = [
            ("/v2/models/m/generate", SimApi::Triton, "m", false),
            ("/v2/models/m/versions/3/generate_stream", SimApi::Triton, "m", true),
            ("/model/us.x%3A0%/converse", SimApi::Converse, "us.x:0%", false),
            ("/model/m/invoke-with-response-stream", SimApi::Invoke, "m", true),
            ("/v1beta/models/g-1.5:streamGenerateContent", SimApi::Gemini, "g-1.5", true),
            ("/v1/projects/p/models/g:generateContent", SimApi::Gemini, "g", false),
        ];
        for (path, api, model, stream) in table {
            let route = SimRoute::of(&Method::POST, &path.parse().unwrap()).unwrap();
            assert_eq!((route.api, route.stream), (api, Some(stream)), "{path}");
            assert_eq!(route.model.as_deref(), Some(model), "{path}");
        }
        for path in ["/v2/models/m", "/model/m", "/v1/models", "/a:b"] {
            assert_eq!(SimRoute::of(&Method::POST, &path.parse().unwrap()), None, "{path}");
        }
        assert_eq!(SimRoute::of(&Method::GET, &"/v1/completions".parse().unwrap()), None);
    }

    #[test]
    fn only_streams_of_predictions_have_no_body() {
        let of = |method, path: &str| SimRoute::of(&method, &path.parse().unwrap());
        let streams = of(Method::GET, "/v1/streams/p?a=1&sim=%7B%22no_done%22:true%7D").unwrap();
        assert_eq!((streams.api, streams.stream), (SimApi::Replicate, Some(true)));
        assert_eq!(streams.body().as_deref(), Some(r#"{"sim":{"no_done":true}}"#));
        let streams = of(Method::GET, "/v1/streams/p").unwrap();
        assert_eq!(streams.body().as_deref(), Some(r#"{"sim":{}}"#));
        assert_eq!(of(Method::POST, "/v1/streams/p"), None);
        assert_eq!(of(Method::POST, "/v1/threads/t/runs?sim=1").unwrap().body(), None);
        assert_eq!(of(Method::GET, "/v1/threads/t/runs"), None);
        assert_eq!(of(Method::POST, "/v1/threads/t/messages"), None);
    }

    #[test]
    fn generate_is_routed_by_its_body() {
        let table = [
            (r#"{"inputs":"x"}"#, SimApi::Tgi, Some(false)),
            (r#"{"text":"x"}"#, SimApi::Sglang, None),
            (r#"{"input_ids":[1]}"#, SimApi::Sglang, None),
            (r#"{"prompt":"x"}"#, SimApi::VllmLegacy, None),
        ];
        for (body, api, stream) in table {
            let mut route = SimRoute::of(&Method::POST, &"/generate".parse().unwrap()).unwrap();
            route.settle(&SimRequest::read(body.as_bytes(), None).unwrap());
            assert_eq!((route.api, route.stream), (api, stream), "{body}");
        }
    }
}
