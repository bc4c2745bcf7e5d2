//! Which request is which operation, and in which dialect it is answered.

use super::{
    Dialect, generate, grpc, llamacpp, ollama, openai_chat, sglang, tgi, triton, vllm_generate,
};
use std::borrow::Cow;

/// What a request asks for. The names are OpenTelemetry's for `gen_ai.operation.name` where it has
/// one, with `other` for all that is not inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Chat,
    TextCompletion,
    GenerateContent,
    Embeddings,
    Rerank,
    Score,
    Classify,
    Tokenize,
    Moderation,
    Transcription,
    Speech,
    Image,
    /// A session over a WebSocket.
    Realtime,
    /// Inference of any kind, of a model server that does not say.
    Infer,
    Other,
}

impl Operation {
    /// Every operation, each at its own index.
    pub const ALL: [Self; 15] = [
        Self::Chat,
        Self::TextCompletion,
        Self::GenerateContent,
        Self::Embeddings,
        Self::Rerank,
        Self::Score,
        Self::Classify,
        Self::Tokenize,
        Self::Moderation,
        Self::Transcription,
        Self::Speech,
        Self::Image,
        Self::Realtime,
        Self::Infer,
        Self::Other,
    ];

    /// The label's value.
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
            Self::Other => "other",
        }
    }

    /// Whether the operation is inference, and so feeds more than requests and bytes.
    pub fn is_inference(self) -> bool {
        self != Self::Other
    }
}

/// How the body of a successful answer is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// Its events in a dialect, framed as the content type says.
    Dialect(&'static Dialect),
    /// Not at all: its head, first byte, duration and bytes are what there is to know.
    Opaque,
}

/// A known kind of request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Route {
    pub method: &'static str,
    /// The end of its path, by whole segments, so that prefixes (`/openai/v1`, `/api/v1`) do not matter.
    /// `{model}` is a model's name and `*` anything, up to what follows in the same segment.
    ends: &'static str,
    /// What stands for the request's path wherever one is shown; raw paths never are.
    pub path: &'static str,
    pub operation: Operation,
    pub answer: Answer,
}

/// All that is no known route.
pub static OTHER: Route = Route {
    method: "",
    ends: "",
    path: "other",
    operation: Operation::Other,
    answer: Answer::Opaque,
};

/// A POST to a path that ends like this, after the prefix that it usually has.
macro_rules! post {
    ($prefix:literal, $ends:literal, $operation:ident, $dialect:expr) => {
        Route {
            method: "POST",
            ends: $ends,
            path: concat!($prefix, $ends),
            operation: Operation::$operation,
            answer: Answer::Dialect($dialect),
        }
    };
}

/// The same, of an answer that is not read.
macro_rules! opaque {
    ($prefix:literal, $ends:literal, $operation:ident) => {
        Route {
            method: "POST",
            ends: $ends,
            path: concat!($prefix, $ends),
            operation: Operation::$operation,
            answer: Answer::Opaque,
        }
    };
}

/// Every known route. The first that fits counts.
pub static ROUTES: &[Route] = &[
    // OpenAI's.
    post!("/openai", "/deployments/{model}/chat/completions", Chat, &openai_chat::CHAT),
    post!("/openai", "/deployments/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/chat/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/completions", TextCompletion, &llamacpp::OR_OPENAI),
    // Ollama's.
    post!("", "/api/chat", Chat, &ollama::CHAT),
    post!("", "/api/generate", TextCompletion, &ollama::GENERATE),
    post!("", "/api/embed", Embeddings, &ollama::EMBED),
    post!("", "/api/embeddings", Embeddings, &ollama::EMBED),
    // Triton's.
    post!("", "/v2/models/{model}/versions/*/generate", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/versions/*/generate_stream", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/generate", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/generate_stream", TextCompletion, &triton::TRITON),
    opaque!("", "/v2/models/{model}/versions/*/infer", Infer),
    opaque!("", "/v2/models/{model}/infer", Infer),
    // llama.cpp's, beside `/completions` above.
    post!("", "/completion", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/infill", TextCompletion, &llamacpp::LLAMACPP),
    opaque!("", "/embedding", Embeddings),
    // vLLM's, SGLang's and TGI's.
    post!("", "/inference/v1/generate", TextCompletion, &vllm_generate::VLLM_GENERATE),
    post!("", "/generate_stream", TextCompletion, &tgi::TGI),
    post!("", "/generate", TextCompletion, &generate::GENERATE),
    post!("", "/invocations", Infer, &generate::INVOCATIONS),
    post!("", "/encode", Embeddings, &sglang::SGLANG),
    post!("", "/", TextCompletion, &tgi::TGI),
    // gRPC's services.
    post!("", "/inference.GRPCInferenceService/ModelStreamInfer", Infer, &grpc::KSERVE_STREAM),
    post!("", "/inference.GRPCInferenceService/ModelInfer", Infer, &grpc::KSERVE),
    post!("", "/vllm.grpc.engine.VllmEngine/Generate", TextCompletion, &grpc::VLLM),
    post!("", "/vllm.grpc.engine.VllmEngine/Embed", Embeddings, &grpc::VLLM_EMBED),
    post!("", "/sglang.grpc.scheduler.SglangScheduler/Generate", TextCompletion, &grpc::SGLANG),
    post!("", "/sglang.grpc.scheduler.SglangScheduler/Embed", Embeddings, &grpc::SGLANG_EMBED),
    post!("", "/trtllm.TrtllmService/Generate", TextCompletion, &grpc::TRTLLM),
    post!(
        "",
        "/tokenspeed.grpc.scheduler.TokenSpeedScheduler/Generate",
        TextCompletion,
        &grpc::TOKENSPEED
    ),
    post!("", "/mlx.grpc.engine.MlxEngine/Generate", TextCompletion, &grpc::MLX),
];

/// The dialect of this name, if any route has it.
pub fn dialect(name: &str) -> Option<&'static Dialect> {
    ROUTES.iter().filter_map(Route::dialect).find(|dialect| dialect.name == name)
}

impl Route {
    /// The route of a request.
    pub fn of(method: &str, path: &str) -> &'static Self {
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let fits = |route: &&Self| route.method == method && matches(route.ends, path).is_some();
        ROUTES.iter().find(fits).unwrap_or(&OTHER)
    }

    /// The model that a path of this route names.
    pub fn model(&self, path: &str) -> Option<String> {
        if !self.ends.contains("{model}") {
            return None;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let model = matches(self.ends, path)??;
        Some(percent_decoded(model).into_owned())
    }

    /// The dialect of its answers; `None` if they are not read.
    pub fn dialect(&self) -> Option<&'static Dialect> {
        match self.answer {
            Answer::Dialect(dialect) => Some(dialect),
            Answer::Opaque => None,
        }
    }
}

/// Whether the path ends as the pattern says, and what stands for its `{model}`.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    if pattern == "/" {
        return (path == "/").then_some(None);
    }
    let mut model = None;
    let mut segments = path.rsplit('/');
    // The pattern begins with a slash: what is before it is empty, and any prefix fits.
    for wanted in pattern.trim_start_matches('/').rsplit('/') {
        let segment = segments.next()?;
        if let Some(suffix) = wanted.strip_prefix("{model}") {
            model = Some(segment.strip_suffix(suffix).filter(|name| !name.is_empty())?);
        } else if let Some(suffix) = wanted.strip_prefix('*') {
            segment.strip_suffix(suffix).filter(|name| !name.is_empty())?;
        } else if wanted != segment {
            return None;
        }
    }
    // A segment begins where its slash is.
    segments.next().map(|_| model)
}

/// The text that a path's segment stands for (RFC 3986, section 2.1).
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
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases = [
            ("POST", "/v1/chat/completions", "/v1/chat/completions"),
            ("POST", "/chat/completions", "/v1/chat/completions"),
            (
                "POST",
                "/openai/deployments/gpt/chat/completions/",
                "/openai/deployments/{model}/chat/completions",
            ),
            ("POST", "/api/v1/completions", "/v1/completions"),
            ("GET", "/v1/chat/completions", "other"),
            ("POST", "/xcompletions", "other"),
            ("POST", "/completions.html", "other"),
            ("GET", "/v1/models", "other"),
            ("POST", "/ollama/api/chat", "/api/chat"),
            ("POST", "/api/generate", "/api/generate"),
            ("POST", "/generate", "/generate"),
            ("POST", "/inference/v1/generate", "/inference/v1/generate"),
            ("POST", "/v2/models/llama/generate", "/v2/models/{model}/generate"),
            (
                "POST",
                "/v2/models/llama/versions/1/generate_stream",
                "/v2/models/{model}/versions/*/generate_stream",
            ),
            ("POST", "/v2/models/llama/infer", "/v2/models/{model}/infer"),
            ("POST", "/completion", "/completion"),
            ("POST", "/completions", "/v1/completions"),
            ("GET", "/", "other"),
            ("POST", "/", "/"),
            ("POST", "", "other"),
            ("OPTIONS", "*", "other"),
        ];
        for (method, path, expected) in cases {
            assert_eq!(Route::of(method, path).path, expected, "{method} {path}");
        }
    }

    #[test]
    fn no_route_hides_another() {
        for (at, route) in ROUTES.iter().enumerate() {
            let path = format!("/x{}", route.ends.replace("{model}", "m").replace('*', "x"));
            let path = if route.ends == "/" { "/" } else { &path };
            let found = Route::of(route.method, path);
            assert_eq!(found, route, "{} is never reached ({at})", route.path);
        }
    }

    #[test]
    fn a_model_in_the_path() {
        let model = |path: &str| Route::of("POST", path).model(path);
        assert_eq!(model("/openai/deployments/gpt%2D4/chat/completions").as_deref(), Some("gpt-4"));
        assert_eq!(model("/v1/chat/completions"), None);
        assert_eq!(percent_decoded("a%3Ab%zz%"), "a:b%zz%");
    }
}
