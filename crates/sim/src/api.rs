//! The APIs that are spoken: what each asks of a request, and how each writes an answer.
//!
//! One file per API. [`SimApi`] is the table of them; a [`ResponseWriter`] writes one response. The shapes are those of
//! the real servers, as read in their source or in what was recorded of them.

mod agent;
mod anthropic;
mod assistants;
mod audio;
mod bedrock;
mod chat;
mod cohere;
mod documents;
mod event_stream;
mod flavored;
mod gemini;
mod interactions;
mod llamacpp;
mod ollama;
mod replicate;
mod responses;
mod route;
mod sglang;
mod tgi;
mod triton;
mod vllm;

use bytes::Bytes;
use serde_json::{Value, json};

pub(super) use documents::DocumentKind;
pub(super) use route::SimRoute;

use super::content::{ChoiceTexts, OutputPart};
use super::frame_queue::FrameQueue;
use super::request::{RequestFields, ResponsePlan, SimRequest, SimScript};
use super::template::TemplateValues;
use super::truth::ReportedValues;

/// An API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SimApi {
    /// OpenAI `/v1/chat/completions`, by default in vLLM's manner.
    Chat,
    /// OpenAI `/v1/completions`, in vLLM's manner.
    Completions,
    /// OpenAI `/v1/responses`.
    Responses,
    /// OpenAI `/v1/threads/runs`, `/v1/threads/ID/runs`.
    Assistants,
    /// OpenAI `/v1/audio/transcriptions`.
    Transcriptions,
    /// OpenAI `/v1/audio/speech`.
    Speech,
    /// OpenAI `/v1/embeddings` and its like.
    Document(DocumentKind),
    /// Anthropic `/v1/messages`.
    Messages,
    /// Anthropic `/v1/complete`.
    Complete,
    /// Ollama `/api/chat`.
    OllamaChat,
    /// Ollama `/api/generate`.
    OllamaGenerate,
    /// Ollama `/api/embed`.
    OllamaEmbed,
    /// TGI `/generate`, `/generate_stream`, `/`.
    Tgi,
    /// llama.cpp `/completion`, `/infill`.
    LlamaCpp,
    /// SGLang `/generate`.
    Sglang,
    /// vLLM `/inference/v1/generate`.
    VllmTokens,
    /// The `/generate` of vLLM's first server.
    VllmLegacy,
    /// Triton `/v2/models/NAME/generate`, `/generate_stream`.
    Triton,
    /// Cohere `/v1/chat`.
    CohereV1,
    /// Cohere `/v2/chat`.
    CohereV2,
    /// Gemini `:generateContent`, `:streamGenerateContent`.
    Gemini,
    /// Gemini `/v1beta/interactions`.
    Interactions,
    /// Replicate `/v1/streams/ID`.
    Replicate,
    /// Bedrock `/model/ID/converse`, `/converse-stream`.
    Converse,
    /// Bedrock `/model/ID/invoke`, `/invoke-with-response-stream`.
    Invoke,
    /// Bedrock `/agents/ID/agentAliases/ID/sessions/ID/text`.
    Agent,
}

/// All that a writer may want to know of the request that it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseContext<'a> {
    pub(super) route: &'a SimRoute,
    pub(super) ask: &'a SimRequest,
    pub(super) plan: &'a ResponsePlan,
    /// Of the response, without the API's prefix.
    pub(super) id: &'a str,
    /// When it was made, in Unix seconds.
    pub(super) created: u64,
    pub(super) model: &'a str,
}

/// One or more tokens that are told together.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputChunk<'a> {
    pub(super) choice: u32,
    pub(super) part: OutputPart,
    /// As it stands inside the quotes of a JSON string.
    pub(super) json: &'a str,
    /// Index of the first of them within the choice.
    pub(super) first: u32,
    pub(super) tokens: u32,
}

/// When a server sends the head of a streamed response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadersAt {
    /// As soon as the request is accepted.
    Admission,
    /// When the job takes its slot.
    Start,
    /// With the first token.
    FirstToken,
}

/// How one response is written. A stream asks in the order of the methods; a response that is not streamed asks
/// only for [`whole`](Self::whole).
pub(super) trait ResponseWriter: Send {
    fn head_at(&self) -> HeadersAt {
        HeadersAt::Admission
    }

    /// Of a stream.
    fn content_type(&self) -> &'static str {
        EVENT_STREAM
    }

    /// Of a stream, beside the content type.
    fn headers(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// At once, before the engine has done anything.
    fn admitted(&mut self, _out: &mut FrameQueue) {}

    /// The job has taken its slot.
    fn started(&mut self, _account: &TemplateValues, _out: &mut FrameQueue) {}

    /// The first token is about to be written.
    fn opened(&mut self, _account: &TemplateValues, _out: &mut FrameQueue) {}

    /// OutputChunk; `account` counts it already.
    fn output(&mut self, output: &OutputChunk<'_>, account: &TemplateValues, out: &mut FrameQueue);

    /// All is said.
    fn finish(&mut self, account: &TemplateValues, out: &mut FrameQueue);

    /// It goes wrong in the middle.
    fn fail(&mut self, out: &mut FrameQueue);

    /// The response that is not streamed, from the texts of all choices.
    fn whole(&mut self, choices: &[ChoiceTexts], account: &TemplateValues) -> WholeResponse;
}

/// A response that is not streamed.
#[derive(Debug, Default)]
pub(super) struct WholeResponse {
    pub(super) bytes: Bytes,
    /// Beside the content type, which is JSON's.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) reported: ReportedValues,
}

impl From<(String, ReportedValues)> for WholeResponse {
    fn from((text, reported): (String, ReportedValues)) -> Self {
        Self { bytes: Bytes::from(text), headers: Vec::new(), reported }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum ApiError {
    Malformed(String),
    NoModel(String),
    QueueFull,
    Loading,
    /// By the script.
    Failed,
}

pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
pub(super) const FAILURE: &str = "scripted error";

impl SimApi {
    /// Where it keeps what the model needs to know.
    pub(super) fn fields(self) -> RequestFields {
        match self {
            Self::Chat => chat::CHAT,
            Self::Completions => chat::COMPLETIONS,
            Self::Responses => responses::FIELDS,
            Self::Assistants => assistants::FIELDS,
            Self::Transcriptions => audio::TRANSCRIPTIONS,
            Self::Speech => audio::SPEECH,
            Self::Document(document) => document.fields(),
            Self::Messages | Self::Invoke => anthropic::MESSAGES,
            Self::Complete => anthropic::COMPLETE,
            Self::OllamaChat => ollama::CHAT,
            Self::OllamaGenerate => ollama::GENERATE,
            Self::OllamaEmbed => RequestFields::DOCUMENT,
            Self::Tgi => tgi::FIELDS,
            Self::LlamaCpp => llamacpp::FIELDS,
            Self::Sglang => sglang::FIELDS,
            Self::VllmTokens => vllm::TOKENS,
            Self::VllmLegacy => vllm::LEGACY,
            Self::Triton => triton::FIELDS,
            Self::CohereV1 => cohere::V1,
            Self::CohereV2 => cohere::V2,
            Self::Gemini => gemini::FIELDS,
            Self::Interactions => interactions::FIELDS,
            Self::Replicate => replicate::FIELDS,
            Self::Converse => bedrock::CONVERSE,
            Self::Agent => agent::FIELDS,
        }
    }

    /// The name that the gauge's request log has for it; `None` for what is not measured by events or counts.
    pub(super) fn dialect(self) -> Option<&'static str> {
        Some(match self {
            Self::Chat => "openai-chat",
            Self::Completions => "openai-completions",
            Self::Responses => "openai-responses",
            Self::Assistants => "openai-assistants",
            Self::Document(DocumentKind::Embeddings) => "openai-embeddings",
            Self::Messages => "anthropic-messages",
            Self::Complete => "anthropic-complete",
            Self::OllamaChat => "ollama-chat",
            Self::OllamaGenerate => "ollama-generate",
            Self::Tgi => "tgi",
            Self::LlamaCpp => "llamacpp",
            Self::Sglang => "sglang",
            Self::VllmTokens | Self::VllmLegacy => "vllm-generate",
            Self::Triton => "triton",
            Self::CohereV1 => "cohere-v1",
            Self::CohereV2 => "cohere-v2",
            Self::Gemini => "gemini",
            Self::Interactions => "gemini-interactions",
            Self::Replicate => "replicate",
            Self::Converse => "bedrock-converse",
            Self::Invoke => "bedrock-invoke",
            Self::Agent => "bedrock-agent",
            Self::Transcriptions | Self::Speech | Self::Document(_) | Self::OllamaEmbed => {
                return None;
            }
        })
    }

    pub(super) fn writer(self, case: &ResponseContext<'_>) -> Box<dyn ResponseWriter> {
        match self {
            Self::Chat => match flavor(&case.plan.script) {
                Some(flavor) => Box::new(flavored::FlavoredChat::new(flavor, case)),
                None => Box::new(chat::OpenAiChat::new(case)),
            },
            Self::Completions => Box::new(chat::OpenAiChat::new(case)),
            Self::Responses => Box::new(responses::OpenAiResponses::new(case)),
            Self::Assistants => Box::new(assistants::Assistants::new(case)),
            Self::Transcriptions => Box::new(audio::AudioTranscription::default()),
            Self::Speech => Box::new(audio::AudioSpeech::new(case)),
            Self::Document(document) => Box::new(documents::DocumentWriter::new(document, case)),
            Self::Messages => Box::new(anthropic::AnthropicMessages::new(case)),
            Self::Complete => Box::new(anthropic::AnthropicCompletion::new(case)),
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => {
                Box::new(ollama::Ollama::new(case))
            }
            Self::Tgi => Box::new(tgi::Tgi::new(case)),
            Self::LlamaCpp => Box::new(llamacpp::LlamaCpp::new(case)),
            Self::Sglang => Box::new(sglang::Sglang::new(case)),
            Self::VllmTokens => Box::new(vllm::VllmTokens::new(case)),
            Self::VllmLegacy => Box::new(vllm::VllmLegacy::new(case)),
            Self::Triton => Box::new(triton::Triton::new(case)),
            Self::CohereV1 => Box::new(cohere::CohereV1::new(case)),
            Self::CohereV2 => Box::new(cohere::Cohere::new(case)),
            Self::Gemini => Box::new(gemini::Gemini::new(case)),
            Self::Interactions => Box::new(interactions::GeminiInteractions::new(case)),
            Self::Replicate => Box::new(replicate::Replicate::new(case)),
            Self::Converse => Box::new(bedrock::BedrockConverse::new(case)),
            Self::Invoke => Box::new(bedrock::BedrockInvoke::new(case)),
            Self::Agent => Box::new(agent::BedrockAgent::new(case)),
        }
    }

    /// Status and body of a refusal.
    pub(super) fn refuse(self, refusal: &ApiError) -> (u16, Value) {
        match self {
            Self::Messages | Self::Complete => anthropic::refusal(refusal),
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => ollama::refusal(refusal),
            Self::Tgi => tgi::refusal(refusal),
            Self::Triton => triton::refusal(refusal),
            Self::CohereV1 | Self::CohereV2 => cohere::refusal(refusal),
            Self::Gemini | Self::Interactions => gemini::refusal(refusal),
            Self::Replicate => replicate::refusal(refusal),
            Self::Converse | Self::Invoke | Self::Agent => bedrock::refusal(refusal),
            _ => openai_refusal(refusal),
        }
    }

    /// The refusal of a stream as its only event, by a server that has its 200 out before it knows.
    pub(super) fn refuse_in_stream(self, refusal: &ApiError, ask: &SimRequest) -> Option<String> {
        let sglang = self == Self::Sglang
            || self == Self::Chat && ask.script.flavor.as_deref() == Some("sglang");
        match refusal {
            _ if self == Self::Tgi => Some(tgi::refusal_event(refusal)),
            ApiError::QueueFull if sglang => {
                Some(sglang::error_event(503, "The request queue is full."))
            }
            _ => None,
        }
    }
}

/// The manner of a chat; `None` for vLLM's.
fn flavor(script: &SimScript) -> Option<&'static flavored::Flavor> {
    script.flavor.as_deref().and_then(flavored::find)
}

/// Whether a script asks for the manner of a server that nobody knows.
pub(super) fn has_strange_flavor(script: &SimScript) -> bool {
    script.flavor.as_deref().is_some_and(|name| name != "vllm") && flavor(script).is_none()
}

/// In the shape of OpenAI's API, with vLLM's words; while loading, with llama.cpp's, which a proxy may look for.
pub(super) fn openai_refusal(refusal: &ApiError) -> (u16, Value) {
    let (status, kind, message, param) = match refusal {
        ApiError::Malformed(message) => (400, "BadRequestError", message.clone(), None),
        ApiError::NoModel(name) => {
            let message = format!("The model `{name}` does not exist.");
            (404, "NotFoundError", message, Some("model"))
        }
        ApiError::QueueFull => {
            let message = "The waiting queue is full, try again later.";
            (503, "QueueOverflowError", message.to_owned(), None)
        }
        ApiError::Loading => {
            let error =
                json!({"message": "Loading model", "type": "unavailable_error", "code": 503});
            return (503, json!({"error": error}));
        }
        ApiError::Failed => (500, "InternalServerError", FAILURE.to_owned(), None),
    };
    let error = json!({"message": message, "type": kind, "param": param, "code": status});
    (status, json!({"error": error}))
}
