//! The simulated APIs: which fields each reads from a request, and how each writes a response.
//!
//! One file per API. [`SimApi`] is the table of them; a [`ResponseWriter`] writes one response. The formats are
//! those of the real servers, from their source or from recordings.

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
use super::template::ResponseNumbers;
use super::truth::ReportedValues;

/// An API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SimApi {
    /// OpenAI `/v1/chat/completions`, by default as vLLM.
    Chat,
    /// OpenAI `/v1/completions`, as vLLM.
    Completions,
    /// OpenAI `/v1/responses`.
    Responses,
    /// OpenAI `/v1/threads/runs`, `/v1/threads/ID/runs`.
    Assistants,
    /// OpenAI `/v1/audio/transcriptions`.
    Transcriptions,
    /// OpenAI `/v1/audio/speech`.
    Speech,
    /// OpenAI `/v1/embeddings` and similar routes.
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

/// The request for which a writer writes the response.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseContext<'a> {
    pub(super) route: &'a SimRoute,
    pub(super) request: &'a SimRequest,
    pub(super) plan: &'a ResponsePlan,
    /// Id of the response, without the API's prefix.
    pub(super) id: &'a str,
    /// Creation time of the response, in Unix seconds.
    pub(super) created: u64,
    pub(super) model: &'a str,
}

/// One or more tokens that are sent together.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputChunk<'a> {
    pub(super) choice: u32,
    pub(super) part: OutputPart,
    /// Text as inside of a JSON string, with escapes.
    pub(super) json: &'a str,
    /// Index of the first token within the choice.
    pub(super) first: u32,
    pub(super) tokens: u32,
}

/// When a server sends the headers of a streamed response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadersAt {
    /// As soon as the request is accepted.
    Admission,
    /// When the job takes its slot.
    Start,
    /// With the first token.
    FirstToken,
}

/// Writes one response. A stream calls the methods in their order; a response that is not streamed calls only
/// [`whole`](Self::whole).
pub(super) trait ResponseWriter: Send {
    fn head_at(&self) -> HeadersAt {
        HeadersAt::Admission
    }

    /// Content type of a stream.
    fn content_type(&self) -> &'static str {
        EVENT_STREAM
    }

    /// Further headers of a stream.
    fn headers(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Called when the request is accepted, before the engine does anything.
    fn admitted(&mut self, _out: &mut FrameQueue) {}

    /// Called when the job has taken its slot.
    fn started(&mut self, _account: &ResponseNumbers, _out: &mut FrameQueue) {}

    /// Called before the first token is written.
    fn opened(&mut self, _account: &ResponseNumbers, _out: &mut FrameQueue) {}

    /// Writes output, which `account` already includes.
    fn output(&mut self, output: &OutputChunk<'_>, account: &ResponseNumbers, out: &mut FrameQueue);

    /// Writes the end of a complete stream.
    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue);

    /// Writes an error in the middle of a stream.
    fn fail(&mut self, out: &mut FrameQueue);

    /// Writes the response that is not streamed, from the texts of all choices.
    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse;
}

/// A response that is not streamed.
#[derive(Debug, Default)]
pub(super) struct WholeResponse {
    pub(super) bytes: Bytes,
    /// Headers besides the content type, which is JSON.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) reported: ReportedValues,
}

impl From<(String, ReportedValues)> for WholeResponse {
    fn from((text, reported): (String, ReportedValues)) -> Self {
        Self { bytes: Bytes::from(text), headers: Vec::new(), reported }
    }
}

/// Why a request is rejected.
#[derive(Clone, Debug)]
pub(super) enum ApiError {
    Malformed(String),
    NoModel(String),
    QueueFull,
    Loading,
    /// Failure required by the script.
    Failed,
}

pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
pub(super) const FAILURE: &str = "scripted error";

impl SimApi {
    /// Returns the fields that the engine needs.
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

    /// Returns the dialect as in Streamgauge's request log; `None` for APIs without events and token counts.
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

    /// Returns status and body of a rejection.
    pub(super) fn reject(self, error: &ApiError) -> (u16, Value) {
        match self {
            Self::Messages | Self::Complete => anthropic::error(error),
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => ollama::error(error),
            Self::Tgi => tgi::error(error),
            Self::Triton => triton::error(error),
            Self::CohereV1 | Self::CohereV2 => cohere::error(error),
            Self::Gemini | Self::Interactions => gemini::error(error),
            Self::Replicate => replicate::error(error),
            Self::Converse | Self::Invoke | Self::Agent => bedrock::error(error),
            _ => openai_refusal(error),
        }
    }

    /// Returns the rejection as the only event of a stream, for servers that send their 200 before they check.
    pub(super) fn reject_in_stream(self, error: &ApiError, request: &SimRequest) -> Option<String> {
        let sglang = self == Self::Sglang
            || self == Self::Chat && request.script.flavor.as_deref() == Some("sglang");
        match error {
            _ if self == Self::Tgi => Some(tgi::refusal_event(error)),
            ApiError::QueueFull if sglang => {
                Some(sglang::error_event(503, "The request queue is full."))
            }
            _ => None,
        }
    }
}

/// Returns the server to imitate; `None` for vLLM.
fn flavor(script: &SimScript) -> Option<&'static flavored::Flavor> {
    script.flavor.as_deref().and_then(flavored::find)
}

/// Whether a script names an unknown server.
pub(super) fn has_unknown_flavor(script: &SimScript) -> bool {
    script.flavor.as_deref().is_some_and(|name| name != "vllm") && flavor(script).is_none()
}

/// Error body of OpenAI's API, with the text of vLLM, or of llama.cpp while loading, which a proxy may detect.
pub(super) fn openai_refusal(error: &ApiError) -> (u16, Value) {
    let (status, kind, message, param) = match error {
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
