//! Formats of the APIs: the facts about tokens, text and errors in an event.
//!
//! A [`Dialect`] describes how one API writes its responses. It is a tree of the fields to read, plus one short function
//! for the rules that a tree cannot express. Each field has a `Tag` for its meaning. [`ResponseReader`] parses the events
//! of one response in a dialect, in any split of their bytes, and returns [`EventFacts`].
//!
//! | module | content |
//! |---|---|
//! | [`route`] | which method and path have which operation and dialect |
//! | [`request`] | model and `stream` flag in a request body |
//! | [`response_headers`] | token counts and durations in response headers |
//! | [`engine`] | detection of the server from its responses |
//! | [`loading`] | detection of "the model is loading" in the body of a 503 |
//! | `anthropic`, `bedrock`, ... | one module per API: its dialects |
//! | [`custom`] | dialects that a configuration describes |
//! | `definition` | [`Dialect`] and its parts |
//! | `tag` | meanings of fields, and how to write the tree of a dialect |
//! | `response_reader` | parses the events of a response ([`ResponseReader`]) |
//! | `event_builder`, `choice_counts`, `items`, `usage_counts` | add up the fields of an event |
//! | `kept_bytes` | the first bytes of a string or an event |
//! | `error_fields` | places of an error in a body |
//! | `repeats` | drops output that repeats earlier events |
//! | `signature` | recognises the dialect of an event by its shape |
//! | `facts` | the result: [`EventFacts`] |
//! | `multipart` | parses form data, for [`request`] |

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod cloudflare;
pub(crate) mod cohere;
pub(crate) mod dashscope;
pub(crate) mod gemini;
pub(crate) mod gemini_interactions;
pub(crate) mod generate;
pub(crate) mod grpc;
pub(crate) mod koboldcpp;
pub(crate) mod llamacpp;
pub(crate) mod lmstudio;
pub(crate) mod minimax;
pub(crate) mod mistral_conversations;
pub(crate) mod ollama;
pub(crate) mod openai_assistants;
pub(crate) mod openai_chat;
pub(crate) mod openai_media;
pub(crate) mod openai_pooling;
pub(crate) mod openai_responses;
pub(crate) mod realtime;
pub(crate) mod replicate;
pub(crate) mod sap;
pub(crate) mod sglang;
pub(crate) mod tgi;
pub(crate) mod triton;
pub(crate) mod vllm_generate;
pub(crate) mod watsonx;
pub(crate) mod writer;

pub mod custom;
pub mod engine;
pub mod loading;
pub mod request;
pub mod response_headers;
pub mod route;

mod choice_counts;
mod definition;
mod error_fields;
mod event_builder;
mod facts;
mod items;
mod kept_bytes;
mod multipart;
mod repeats;
mod response_reader;
mod signature;
mod tag;
#[cfg(test)]
mod test_support;
mod text_start;
mod usage_counts;

pub use definition::{Dialect, SessionKind, StreamEnd};
pub use facts::{
    ChoiceFacts, EventFacts, FinishClass, FinishReason, KNOWN_FINISH_REASONS, MAX_CHOICES,
    ServerTimings, TokenCounts, UnparsedReason, finish_reason,
};
pub use response_reader::{Recognition, ResponseReader};
pub use signature::UNKNOWN;

use definition::{EventFormat, finish_plain};
use route::{Operation, ResponseParsing, Route, get, get_if_streamed, post, post_if_parsable};

/// Every known route: usual prefix of the path, end of the path, operation, dialect.
///
/// A route matches the end of a path; the prefix is only for display. The first match counts, so `/a/b` must come before
/// `/b`. `{model}` matches the name of a model, and `*` any text, within one segment of the path; `{model...}` at the
/// end matches several segments. A route without a dialect counts requests, durations and bytes; its responses are not parsed.
pub static ROUTES: &[Route] = &[
    // OpenAI: chat and text completions. The first three paths are Azure's.
    post!("/openai", "/deployments/{model}/chat/completions", Chat, &openai_chat::CHAT),
    post!("/openai", "/deployments/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/openai", "/deployments/{model}/embeddings", Embeddings, &openai_pooling::EMBEDDINGS),
    post!("/v1", "/chat/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/agents/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/chat/completions/batch", Chat, &openai_chat::CHAT),
    post!("/v1", "/models/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/engines/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/completions", TextCompletion, &llamacpp::OPENAI_OR_LLAMACPP),
    // OpenAI: sessions over a WebSocket. `/openai/realtime` is Azure's.
    get!("/v1", "/responses", Realtime, &openai_responses::RESPONSES),
    get!("/v1", "/realtime/translations", Realtime, &realtime::TRANSLATION),
    get!("", "/v1/realtime", Realtime, &realtime::REALTIME),
    get!("", "/openai/realtime", Realtime, &realtime::REALTIME),
    // Replays of earlier streams. The second is llama.cpp's.
    get_if_streamed!("/v1", "/responses/*", Replay, &openai_responses::RESPONSES),
    get!("/v1", "/stream/*", Replay, &openai_chat::CHAT),
    // Amazon Bedrock.
    post!("", "/model/{model}/converse-stream", Chat, &bedrock::CONVERSE),
    post!("", "/model/{model}/converse", Chat, &bedrock::CONVERSE),
    post!("", "/model/{model}/invoke-with-response-stream", Infer, &bedrock::INVOKE),
    post!("", "/model/{model}/invoke", Infer, &bedrock::INVOKE),
    post!("", "/agents/*/agentAliases/*/sessions/*/text", Chat, &bedrock::AGENT),
    post!("", "/model/{model}/count-tokens", Tokenize),
    // The same APIs in SAP AI Core.
    post!("/v2/inference", "/deployments/{model}/converse-stream", Chat, &bedrock::CONVERSE),
    post!("/v2/inference", "/deployments/{model}/converse", Chat, &bedrock::CONVERSE),
    post!(
        "/v2/inference",
        "/deployments/{model}/invoke-with-response-stream",
        Infer,
        &bedrock::INVOKE
    ),
    post!("/v2/inference", "/deployments/{model}/invoke", Infer, &bedrock::INVOKE),
    // Anthropic. The suffixes include `/v1`, because a path of OpenAI's assistants ends in `/messages` too.
    post!("/v1", "/messages/count_tokens", Tokenize),
    post!("", "/v1/messages", Chat, &anthropic::MESSAGES),
    post!("", "/v1/complete", TextCompletion, &anthropic::COMPLETE),
    // Vertex AI: Anthropic's models use Anthropic's API; all other models use OpenAI's.
    post!("", "/publishers/anthropic/models/count-tokens:rawPredict", Tokenize),
    post!("", "/publishers/anthropic/models/{model}:rawPredict", Chat, &anthropic::MESSAGES),
    post!("", "/publishers/anthropic/models/{model}:streamRawPredict", Chat, &anthropic::MESSAGES),
    post!("", "/publishers/*/models/{model}:rawPredict", Chat, &openai_chat::CHAT),
    post!("", "/publishers/*/models/{model}:streamRawPredict", Chat, &openai_chat::CHAT),
    // Gemini, on Google AI and on Vertex AI.
    // The first two paths are those of Gemini Code Assist.
    post!("", "/v1internal:streamGenerateContent", GenerateContent, &gemini::STREAM),
    post!("", "/v1internal:generateContent", GenerateContent, &gemini::WHOLE),
    post!("", "/v1internal:countTokens", Tokenize),
    post!("/models", "/{model}:streamGenerateContent", GenerateContent, &gemini::STREAM),
    post!("/models", "/{model}:generateContent", GenerateContent, &gemini::WHOLE),
    post!("/models", "/{model}:embedContent", Embeddings, &gemini::WHOLE),
    post!("/models", "/{model}:batchEmbedContents", Embeddings, &gemini::WHOLE),
    post!("/models", "/{model}:countTokens", Tokenize),
    post!("/models", "/{model}:computeTokens", Tokenize),
    post!("/models", "/{model}:predict", Infer),
    post!("/v1beta", "/interactions", GenerateContent, &gemini_interactions::INTERACTIONS),
    post!("/v1beta", "/interactions/*/cancel", Other),
    // LM Studio.
    post!("", "/api/v1/chat", Chat, &lmstudio::LMSTUDIO),
    // Cohere.
    post!("", "/v2/chat", Chat, &cohere::V2),
    post!("", "/v1/chat", Chat, &cohere::V1),
    post!("", "/v2/embed", Embeddings, &cohere::V2),
    post!("", "/v1/embed", Embeddings, &cohere::V1),
    // Ollama.
    post!("", "/api/chat", Chat, &ollama::CHAT),
    post!("", "/api/generate", TextCompletion, &ollama::GENERATE),
    post!("", "/api/pull", Other),
    post!("", "/api/push", Other),
    post!("", "/api/create", Other),
    // KoboldCpp.
    post!("", "/api/v1/generate", TextCompletion, &koboldcpp::KOBOLDCPP),
    post!("", "/api/latest/generate", TextCompletion, &koboldcpp::KOBOLDCPP),
    post!("", "/api/extra/generate/stream", TextCompletion, &koboldcpp::KOBOLDCPP),
    post!("", "/api/embed", Embeddings, &ollama::EMBED),
    post!("", "/api/embeddings", Embeddings, &ollama::EMBED),
    // Triton.
    post!("", "/v2/models/{model}/versions/*/generate", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/versions/*/generate_stream", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/generate", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/generate_stream", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/versions/*/infer", Infer),
    post!("", "/v2/models/{model}/infer", Infer),
    // SAP AI Core and DashScope's applications, whose paths end in `/completion` as llama.cpp's do.
    post!("/v2/inference", "/deployments/*/v2/completion", Chat, &sap::ORCHESTRATION),
    post!("/v2/inference", "/deployments/*/completion", Chat, &sap::ORCHESTRATION),
    post!("/v2/inference", "/deployments/*/v2/embeddings", Embeddings, &sap::ORCHESTRATION),
    post!("/api/v1", "/apps/*/completion", Chat, &dashscope::DASHSCOPE),
    // watsonx: embeddings and ranks, before the paths of other servers that end the same.
    post!("/ml/v1", "/text/embeddings", Embeddings, &watsonx::GENERATION),
    post!("/ml/v1", "/text/rerank", Rerank, &watsonx::GENERATION),
    // llama.cpp. Its `/completions` matches `/v1/completions` above.
    post!("", "/completion", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/infill", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/embedding", Embeddings),
    // vLLM, SGLang, TGI, Cohere, Databricks and SageMaker.
    post!("", "/inference/v1/generate", TextCompletion, &vllm_generate::VLLM_GENERATE),
    post!("", "/generate_stream", TextCompletion, &tgi::TGI),
    post!("", "/v1/generate", TextCompletion, &generate::GENERATE),
    post!("", "/generate", TextCompletion, &generate::GENERATE),
    post!("", "/serving-endpoints/{model}/invocations", Infer, &openai_chat::CHAT),
    post!("", "/endpoints/{model}/invocations", Infer, &generate::INVOCATIONS),
    post!("", "/endpoints/{model}/invocations-response-stream", Infer, &generate::INVOCATIONS),
    post!("", "/invocations", Infer, &generate::INVOCATIONS),
    post!("", "/encode", Embeddings, &sglang::SGLANG),
    post!("", "/", TextCompletion, &tgi::TGI),
    // gRPC services.
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
    // OpenAI: responses, assistants, embeddings, audio and images.
    post!("/v1", "/responses", Chat, &openai_responses::RESPONSES),
    post!("/v1", "/responses/compact", Chat, &openai_responses::RESPONSES),
    post!("/v1", "/responses/input_tokens", Tokenize),
    post!("/v1", "/responses/*/cancel", Other),
    post!("/v1", "/chat/completions/*", Other),
    post!("/v1", "/threads/runs", Chat, &openai_assistants::RUNS),
    post!("/v1", "/threads/*/runs", Chat, &openai_assistants::RUNS),
    post!("/v1", "/threads/*/runs/*/submit_tool_outputs", Chat, &openai_assistants::RUNS),
    post!("/v1", "/embeddings", Embeddings, &openai_pooling::EMBEDDINGS),
    post!("/v1", "/moderations", Moderation, &openai_pooling::POOLING),
    post_if_parsable!("/v1", "/audio/transcriptions", Transcription, &openai_media::TRANSCRIPTION),
    post_if_parsable!("/v1", "/audio/translations", Transcription, &openai_media::TRANSCRIPTION),
    post_if_parsable!("/v1", "/audio/speech", Speech, &openai_media::SPEECH),
    post!("/v1", "/images/generations", Image, &openai_media::IMAGES),
    post!("/v1", "/images/edits", Image, &openai_media::IMAGES),
    post!("/v1", "/images/variations", Image, &openai_media::IMAGES),
    // Mistral. OpenAI's requests that manage conversations have the same paths, but generate nothing.
    post!("", "/v1/conversations", Chat, &mistral_conversations::CONVERSATIONS),
    post!("", "/v1/conversations/*", Chat, &mistral_conversations::CONVERSATIONS),
    post!("", "/v1/conversations/*/restart", Chat, &mistral_conversations::CONVERSATIONS),
    // watsonx. Its chat has OpenAI's format.
    post!("/ml/v1", "/deployments/{model}/text/chat", Chat, &openai_chat::CHAT),
    post!("/ml/v1", "/deployments/{model}/text/chat_stream", Chat, &openai_chat::CHAT),
    post!("/ml/v1", "/deployments/{model}/text/generation", TextCompletion, &watsonx::GENERATION),
    post!(
        "/ml/v1",
        "/deployments/{model}/text/generation_stream",
        TextCompletion,
        &watsonx::GENERATION
    ),
    post!("/ml/v1", "/text/chat", Chat, &openai_chat::CHAT),
    post!("/ml/v1", "/text/chat_stream", Chat, &openai_chat::CHAT),
    post!("/ml/v1", "/text/generation", TextCompletion, &watsonx::GENERATION),
    post!("/ml/v1", "/text/generation_stream", TextCompletion, &watsonx::GENERATION),
    post!("/ml/v1", "/text/tokenization", Tokenize),
    // DashScope.
    post!("/api/v1/services/aigc", "/text-generation/generation", Chat, &dashscope::DASHSCOPE),
    post!(
        "/api/v1/services/aigc",
        "/multimodal-generation/generation",
        GenerateContent,
        &dashscope::DASHSCOPE
    ),
    post!(
        "/api/v1/services/embeddings",
        "/text-embedding/text-embedding",
        Embeddings,
        &dashscope::POOLING
    ),
    post!(
        "/api/v1/services/embeddings",
        "/multimodal-embedding/multimodal-embedding",
        Embeddings,
        &dashscope::POOLING
    ),
    post!("/api/v1/services/rerank", "/text-rerank/text-rerank", Rerank, &dashscope::POOLING),
    // OpenAI's format on the paths of Perplexity and Pollinations.
    post!("", "/v1/sonar", Chat, &openai_chat::CHAT),
    post!("", "/openai", Chat, &openai_chat::CHAT),
    // MiniMax.
    post!("/v1", "/text/chatcompletion_v2", Chat, &minimax::MINIMAX),
    post!("/v1", "/text/chatcompletion_pro", Chat, &minimax::MINIMAX),
    // Writer. Its chat and text completions have paths of Cohere and OpenAI.
    post!("", "/v1/applications/*", Chat, &writer::WRITER),
    post!("", "/v1/graphs/question", Chat, &writer::WRITER),
    // Scores, classes and embeddings, mostly of models that do not generate text.
    post!("/v1", "/rerank", Rerank, &openai_pooling::POOLING),
    post!("/v1", "/reranking", Rerank, &openai_pooling::POOLING),
    post!("/v1", "/score", Score, &openai_pooling::POOLING),
    post!("", "/generative_scoring", Score, &openai_pooling::POOLING),
    post!("/v1", "/classify", Classify, &openai_pooling::POOLING),
    post!("", "/pooling", Embeddings, &openai_pooling::POOLING),
    post!("", "/embed", Embeddings, &openai_pooling::POOLING),
    post!("", "/embed_all", Embeddings, &openai_pooling::POOLING),
    post!("", "/embed_sparse", Embeddings, &openai_pooling::POOLING),
    post!("", "/similarity", Score, &openai_pooling::POOLING),
    post!("", "/predict", Infer, &openai_pooling::POOLING),
    post!("", "/tokenize", Tokenize),
    post!("", "/detokenize", Tokenize),
    // Replicate.
    get!("/v1", "/streams/*", Infer, &replicate::STREAM),
    // Cloudflare Workers AI, directly and through AI Gateway. They come last: paths of other APIs can follow the prefix.
    post_if_parsable!("", "/ai/run/{model...}", Infer, &cloudflare::WORKERS_AI),
    post_if_parsable!("", "/ai/run", Infer, &cloudflare::WORKERS_AI),
    post_if_parsable!("", "/workers-ai/{model...}", Infer, &cloudflare::WORKERS_AI),
];
