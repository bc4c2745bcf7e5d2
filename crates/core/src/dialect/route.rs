//! Which request is which operation, and in which dialect it is answered.

use super::request::MAX_MODEL;
use super::{
    Dialect, anthropic, bedrock, cohere, gemini, gemini_interactions, generate, grpc, llamacpp,
    ollama, openai_assistants, openai_chat, openai_media, openai_pooling, openai_responses,
    realtime, replicate, sglang, tgi, triton, vllm_generate,
};
use crate::wire::framing::DeclaredFraming;
use std::borrow::Cow;
use strum::VariantArray;

/// What a request asks for. The names are OpenTelemetry's for `gen_ai.operation.name` where it has
/// one, with `other` for all that is not inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
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
pub enum ResponseParsing {
    /// Its events in a dialect, framed as the content type says.
    Dialect(&'static Dialect),
    /// The same, if the content type announces a framing that is read; else not at all: sound, subtitles.
    IfAnnounced(&'static Dialect),
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
    pub response: ResponseParsing,
}

/// All that is no known route.
pub static OTHER: Route = Route {
    method: "",
    ends: "",
    path: "other",
    operation: Operation::Other,
    response: ResponseParsing::Opaque,
};

/// A POST to a path that ends like this, after the prefix that it usually has; its answer is not read
/// unless a dialect is named.
macro_rules! post {
    ($prefix:literal, $ends:literal, $operation:ident) => {
        Route {
            method: "POST",
            ends: $ends,
            path: concat!($prefix, $ends),
            operation: Operation::$operation,
            response: ResponseParsing::Opaque,
        }
    };
    ($prefix:literal, $ends:literal, $operation:ident, $dialect:expr) => {
        Route { response: ResponseParsing::Dialect($dialect), ..post!($prefix, $ends, $operation) }
    };
}

/// The same, where the answer may also be of a kind that no dialect reads.
macro_rules! post_if_announced {
    ($prefix:literal, $ends:literal, $operation:ident, $dialect:expr) => {
        Route {
            response: ResponseParsing::IfAnnounced($dialect),
            ..post!($prefix, $ends, $operation)
        }
    };
}

/// Every known route. The first that fits counts.
pub static ROUTES: &[Route] = &[
    // OpenAI's.
    post!("/openai", "/deployments/{model}/chat/completions", Chat, &openai_chat::CHAT),
    post!("/openai", "/deployments/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/openai", "/deployments/{model}/embeddings", Embeddings, &openai_pooling::EMBEDDINGS),
    post!("/v1", "/chat/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/agents/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/models/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/engines/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/completions", TextCompletion, &llamacpp::OR_OPENAI),
    // OpenAI's sessions over a WebSocket; the second is Azure's.
    Route {
        method: "GET",
        ends: "/v1/realtime",
        path: "/v1/realtime",
        operation: Operation::Realtime,
        response: ResponseParsing::Dialect(&realtime::REALTIME),
    },
    Route {
        method: "GET",
        ends: "/openai/realtime",
        path: "/openai/realtime",
        operation: Operation::Realtime,
        response: ResponseParsing::Dialect(&realtime::REALTIME),
    },
    // Amazon Bedrock's.
    post!("", "/model/{model}/converse-stream", Chat, &bedrock::CONVERSE),
    post!("", "/model/{model}/converse", Chat, &bedrock::CONVERSE),
    post!("", "/model/{model}/invoke-with-response-stream", Infer, &bedrock::INVOKE),
    post!("", "/model/{model}/invoke", Infer, &bedrock::INVOKE),
    post!("", "/agents/*/agentAliases/*/sessions/*/text", Chat, &bedrock::AGENT),
    post!("", "/model/{model}/count-tokens", Tokenize),
    // Anthropic's. OpenAI has a path that ends in `messages` too, so these are longer.
    post!("/v1", "/messages/count_tokens", Tokenize),
    post!("", "/v1/messages", Chat, &anthropic::MESSAGES),
    post!("", "/v1/complete", TextCompletion, &anthropic::COMPLETE),
    // The same on Vertex AI, where other publishers answer like OpenAI.
    post!("", "/publishers/anthropic/models/count-tokens:rawPredict", Tokenize),
    post!("", "/publishers/anthropic/models/{model}:rawPredict", Chat, &anthropic::MESSAGES),
    post!("", "/publishers/anthropic/models/{model}:streamRawPredict", Chat, &anthropic::MESSAGES),
    post!("", "/publishers/*/models/{model}:rawPredict", Chat, &openai_chat::CHAT),
    post!("", "/publishers/*/models/{model}:streamRawPredict", Chat, &openai_chat::CHAT),
    // Gemini's, on Google AI and on Vertex AI.
    post!("/models", "/{model}:streamGenerateContent", GenerateContent, &gemini::STREAM),
    post!("/models", "/{model}:generateContent", GenerateContent, &gemini::WHOLE),
    post!("/models", "/{model}:embedContent", Embeddings, &gemini::WHOLE),
    post!("/models", "/{model}:batchEmbedContents", Embeddings, &gemini::WHOLE),
    post!("/models", "/{model}:countTokens", Tokenize),
    post!("/models", "/{model}:computeTokens", Tokenize),
    post!("/models", "/{model}:predict", Infer),
    post!("/v1beta", "/interactions", GenerateContent, &gemini_interactions::INTERACTIONS),
    // Cohere's.
    post!("", "/v2/chat", Chat, &cohere::V2),
    post!("", "/v1/chat", Chat, &cohere::V1),
    post!("", "/v2/embed", Embeddings, &cohere::V2),
    post!("", "/v1/embed", Embeddings, &cohere::V1),
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
    post!("", "/v2/models/{model}/versions/*/infer", Infer),
    post!("", "/v2/models/{model}/infer", Infer),
    // llama.cpp's, beside `/completions` above.
    post!("", "/completion", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/infill", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/embedding", Embeddings),
    // vLLM's, SGLang's and TGI's.
    post!("", "/inference/v1/generate", TextCompletion, &vllm_generate::VLLM_GENERATE),
    post!("", "/generate_stream", TextCompletion, &tgi::TGI),
    post!("", "/generate", TextCompletion, &generate::GENERATE),
    post!("", "/serving-endpoints/{model}/invocations", Infer, &openai_chat::CHAT),
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
    post!("/v1", "/responses", Chat, &openai_responses::RESPONSES),
    post!("/v1", "/responses/compact", Chat, &openai_responses::RESPONSES),
    post!("/v1", "/responses/input_tokens", Tokenize),
    post!("/v1", "/threads/runs", Chat, &openai_assistants::RUNS),
    post!("/v1", "/threads/*/runs", Chat, &openai_assistants::RUNS),
    post!("/v1", "/threads/*/runs/*/submit_tool_outputs", Chat, &openai_assistants::RUNS),
    post!("/v1", "/embeddings", Embeddings, &openai_pooling::EMBEDDINGS),
    post!("/v1", "/moderations", Moderation, &openai_pooling::POOLING),
    post_if_announced!("/v1", "/audio/transcriptions", Transcription, &openai_media::TRANSCRIPTION),
    post_if_announced!("/v1", "/audio/translations", Transcription, &openai_media::TRANSCRIPTION),
    post_if_announced!("/v1", "/audio/speech", Speech, &openai_media::SPEECH),
    post!("/v1", "/images/generations", Image, &openai_media::IMAGES),
    post!("/v1", "/images/edits", Image, &openai_media::IMAGES),
    post!("/v1", "/images/variations", Image, &openai_media::IMAGES),
    // In OpenAI's shape, of others: watsonx, SageMaker's and Databricks' endpoints.
    post!("/ml/v1", "/text/chat", Chat, &openai_chat::CHAT),
    post!("/ml/v1", "/text/chat_stream", Chat, &openai_chat::CHAT),
    // Models that do not generate.
    post!("/v1", "/rerank", Rerank, &openai_pooling::POOLING),
    post!("/v1", "/reranking", Rerank, &openai_pooling::POOLING),
    post!("/v1", "/score", Score, &openai_pooling::POOLING),
    post!("", "/generative_scoring", Score, &openai_pooling::POOLING),
    post!("/v1", "/classify", Classify, &openai_pooling::POOLING),
    post!("", "/pooling", Embeddings, &openai_pooling::POOLING),
    post!("", "/tokenize", Tokenize),
    post!("", "/detokenize", Tokenize),
    // Replicate's.
    Route { method: "GET", ..post!("/v1", "/streams/*", Infer, &replicate::STREAM) },
];

impl Route {
    /// The route of a request.
    pub fn find(method: &str, path: &str) -> &'static Self {
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let fits = |route: &&Self| route.method == method && matches(route.ends, path).is_some();
        ROUTES.iter().find(fits).unwrap_or(&OTHER)
    }

    /// The model that a path of this route names.
    pub fn model(&self, path: &str) -> Option<String> {
        if !self.ends.contains('{') {
            return None;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let model = matches(self.ends, path)??;
        Some(cut(percent_decoded(model)))
    }

    /// The model that the query of a session's request names: there is no body that could.
    pub fn model_from_query(&self, query: Option<&str>) -> Option<String> {
        let mut pairs = query.filter(|_| self.operation == Operation::Realtime)?.split('&');
        let value = |pair: &'_ str| {
            let (key, value) = pair.split_once('=')?;
            let is_model = matches!(key, "model" | "deployment") && !value.is_empty();
            is_model.then(|| cut(percent_decoded(value)))
        };
        pairs.find_map(value)
    }

    /// Whether its answer is a stream if the request's body does not say: the path does, or it is Ollama's.
    pub fn streams_by_default(&self) -> bool {
        let is_ollama = [&ollama::CHAT, &ollama::GENERATE].map(Some).contains(&self.dialect());
        is_ollama || self.ends.contains("stream") || self.ends.contains("Stream")
    }

    /// The dialect of its answers; `None` if they are not read.
    pub fn dialect(&self) -> Option<&'static Dialect> {
        match self.response {
            ResponseParsing::Dialect(dialect) | ResponseParsing::IfAnnounced(dialect) => {
                Some(dialect)
            }
            ResponseParsing::Opaque => None,
        }
    }

    /// The dialect in which an answer is to be read whose content type announces this, if it is.
    pub fn dialect_for(&self, announced: DeclaredFraming) -> Option<&'static Dialect> {
        match (self.response, announced) {
            (
                ResponseParsing::IfAnnounced(_),
                DeclaredFraming::Unspecified | DeclaredFraming::Unsupported,
            ) => None,
            _ => self.dialect(),
        }
    }
}

/// Whether the path ends as the pattern says, and what stands for its `{model}`.
fn matches<'a>(mut pattern: &str, mut path: &'a str) -> Option<Option<&'a str>> {
    if pattern == "/" {
        return (path == "/").then_some(None);
    }
    if !pattern.bytes().any(|byte| matches!(byte, b'{' | b'*')) {
        return path.ends_with(pattern).then_some(None);
    }
    let mut model = None;
    loop {
        // From the end, up to a wildcard.
        let is_same = |(wanted, byte): &(u8, u8)| wanted == byte && !matches!(wanted, b'}' | b'*');
        let same = pattern.bytes().rev().zip(path.bytes().rev()).take_while(is_same).count();
        pattern = pattern.get(..pattern.len() - same)?;
        path = path.get(..path.len() - same)?;
        if pattern.is_empty() {
            return Some(model);
        }
        // The wildcard stands for what is left of its segment.
        let is_model = pattern.ends_with("{model}");
        pattern = pattern.strip_suffix("{model}").or_else(|| pattern.strip_suffix('*'))?;
        let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
        path = path.get(..path.len() - name.len())?;
        if is_model {
            model = Some(name);
        }
    }
}

/// A model's name, cut to what is kept.
fn cut(name: Cow<'_, str>) -> String {
    name.get(..name.floor_char_boundary(MAX_MODEL)).unwrap_or(&name).to_owned()
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
#[path = "route_tests.rs"]
mod tests;
