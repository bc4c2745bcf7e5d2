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
//! | `event_builder`, `choice_counts` | add up the fields of an event |
//! | `facts` | the result: [`EventFacts`] |
//! | `multipart` | parses form data, for [`request`] |

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod cohere;
pub(crate) mod gemini;
pub(crate) mod gemini_interactions;
pub(crate) mod generate;
pub(crate) mod grpc;
pub(crate) mod llamacpp;
pub(crate) mod ollama;
pub(crate) mod openai_assistants;
pub(crate) mod openai_chat;
pub(crate) mod openai_media;
pub(crate) mod openai_pooling;
pub(crate) mod openai_responses;
pub(crate) mod realtime;
pub(crate) mod replicate;
pub(crate) mod sglang;
pub(crate) mod tgi;
pub(crate) mod triton;
pub(crate) mod vllm_generate;

pub mod custom;
pub mod engine;
pub mod loading;
pub mod request;
pub mod response_headers;
pub mod route;

mod choice_counts;
mod definition;
mod event_builder;
mod facts;
mod multipart;
mod response_reader;
mod tag;
#[cfg(test)]
mod test_support;

pub use definition::{Dialect, StreamEnd};
pub use facts::{
    ChoiceFacts, EventFacts, FinishReason, KNOWN_FINISH_REASONS, MAX_CHOICES, ServerTimings,
    TokenCounts, UnparsedReason, finish_reason,
};
pub use response_reader::ResponseReader;

use definition::{EventFormat, finish_plain};
use route::{Operation, ResponseParsing, Route, get, post, post_if_parsable};

/// Every known route: usual prefix of the path, end of the path, operation, dialect.
///
/// A route matches the end of a path; the prefix is only for display. The first match counts, so `/a/b` must come before
/// `/b`. `{model}` matches the name of a model, and `*` any text, within one segment of the path. A route without a
/// dialect counts requests, durations and bytes; its responses are not parsed.
pub static ROUTES: &[Route] = &[
    // OpenAI: chat and text completions. The first three paths are Azure's.
    post!("/openai", "/deployments/{model}/chat/completions", Chat, &openai_chat::CHAT),
    post!("/openai", "/deployments/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/openai", "/deployments/{model}/embeddings", Embeddings, &openai_pooling::EMBEDDINGS),
    post!("/v1", "/chat/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/agents/completions", Chat, &openai_chat::CHAT),
    post!("/v1", "/models/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/engines/{model}/completions", TextCompletion, &openai_chat::COMPLETIONS),
    post!("/v1", "/completions", TextCompletion, &llamacpp::OPENAI_OR_LLAMACPP),
    // OpenAI: sessions over a WebSocket. The second path is Azure's.
    get!("", "/v1/realtime", Realtime, &realtime::REALTIME),
    get!("", "/openai/realtime", Realtime, &realtime::REALTIME),
    // Amazon Bedrock.
    post!("", "/model/{model}/converse-stream", Chat, &bedrock::CONVERSE),
    post!("", "/model/{model}/converse", Chat, &bedrock::CONVERSE),
    post!("", "/model/{model}/invoke-with-response-stream", Infer, &bedrock::INVOKE),
    post!("", "/model/{model}/invoke", Infer, &bedrock::INVOKE),
    post!("", "/agents/*/agentAliases/*/sessions/*/text", Chat, &bedrock::AGENT),
    post!("", "/model/{model}/count-tokens", Tokenize),
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
    post!("/models", "/{model}:streamGenerateContent", GenerateContent, &gemini::STREAM),
    post!("/models", "/{model}:generateContent", GenerateContent, &gemini::WHOLE),
    post!("/models", "/{model}:embedContent", Embeddings, &gemini::WHOLE),
    post!("/models", "/{model}:batchEmbedContents", Embeddings, &gemini::WHOLE),
    post!("/models", "/{model}:countTokens", Tokenize),
    post!("/models", "/{model}:computeTokens", Tokenize),
    post!("/models", "/{model}:predict", Infer),
    post!("/v1beta", "/interactions", GenerateContent, &gemini_interactions::INTERACTIONS),
    // Cohere.
    post!("", "/v2/chat", Chat, &cohere::V2),
    post!("", "/v1/chat", Chat, &cohere::V1),
    post!("", "/v2/embed", Embeddings, &cohere::V2),
    post!("", "/v1/embed", Embeddings, &cohere::V1),
    // Ollama.
    post!("", "/api/chat", Chat, &ollama::CHAT),
    post!("", "/api/generate", TextCompletion, &ollama::GENERATE),
    post!("", "/api/embed", Embeddings, &ollama::EMBED),
    post!("", "/api/embeddings", Embeddings, &ollama::EMBED),
    // Triton.
    post!("", "/v2/models/{model}/versions/*/generate", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/versions/*/generate_stream", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/generate", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/generate_stream", TextCompletion, &triton::TRITON),
    post!("", "/v2/models/{model}/versions/*/infer", Infer),
    post!("", "/v2/models/{model}/infer", Infer),
    // llama.cpp. Its `/completions` matches `/v1/completions` above.
    post!("", "/completion", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/infill", TextCompletion, &llamacpp::LLAMACPP),
    post!("", "/embedding", Embeddings),
    // vLLM, SGLang, TGI, Databricks and SageMaker.
    post!("", "/inference/v1/generate", TextCompletion, &vllm_generate::VLLM_GENERATE),
    post!("", "/generate_stream", TextCompletion, &tgi::TGI),
    post!("", "/generate", TextCompletion, &generate::GENERATE),
    post!("", "/serving-endpoints/{model}/invocations", Infer, &openai_chat::CHAT),
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
    // watsonx, in OpenAI's format.
    post!("/ml/v1", "/text/chat", Chat, &openai_chat::CHAT),
    post!("/ml/v1", "/text/chat_stream", Chat, &openai_chat::CHAT),
    // Scores, classes and embeddings, mostly of models that do not generate text.
    post!("/v1", "/rerank", Rerank, &openai_pooling::POOLING),
    post!("/v1", "/reranking", Rerank, &openai_pooling::POOLING),
    post!("/v1", "/score", Score, &openai_pooling::POOLING),
    post!("", "/generative_scoring", Score, &openai_pooling::POOLING),
    post!("/v1", "/classify", Classify, &openai_pooling::POOLING),
    post!("", "/pooling", Embeddings, &openai_pooling::POOLING),
    post!("", "/tokenize", Tokenize),
    post!("", "/detokenize", Tokenize),
    // Replicate.
    get!("/v1", "/streams/*", Infer, &replicate::STREAM),
];
