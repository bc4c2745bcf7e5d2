//! Vocabulary of the dialects: the tag of a field is the meaning of its value.
//!
//! A dialect is a tree of fields, a [`JsonShape`] or a [`ProtobufShape`], whose tags are [`Tag`]s. The scanner reports
//! each tagged value, and [`EventBuilder`](super::event_builder::EventBuilder) adds them up.
//!
//! Constructors of a [`JsonShape`]:
//!
//! | constructor | place in the document | reported |
//! |---|---|---|
//! | `path(members)`, `list(elements)` | object, array | only the members or elements |
//! | `object(tag, members)`, `array(tag, elements)` | object, array | its start and end too |
//! | `scalar(tag)`, `constant(tag)` | string, number or boolean | the value; of a string only the length |
//! | `text(tag)` | the same | the value; a string with its text |
//! | `raw(tag)` | any value, also an object or array | only its length |

use super::custom::{EndTexts, PartTypes};
use super::engine::Engine;
use crate::wire::json::JsonNode;
use crate::wire::protobuf::ProtobufField;

/// Fields of a JSON document, each with the meaning of its value.
pub type JsonShape = JsonNode<Tag>;

/// Fields of a protobuf message, each with the meaning of its value.
pub type ProtobufShape = ProtobufField<Tag>;

/// Meaning of a field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tag {
    /// Type of the event, in the API's words. The dialect's `finish_event` reads it.
    EventType,
    /// Type of the [`Item`](Self::Item).
    PartType,
    /// Model that generated the response.
    Model,
    /// An error, unless the value is `null`, `false`, 0 or empty.
    Error,
    /// Description of an error, if the event has nothing else.
    ErrorDetail,
    /// The same, if there is an [`ErrorCode`](Self::ErrorCode) too. Only text counts.
    ErrorMessage,
    /// Code of an error, unless it is 0, 200 or empty.
    ErrorCode,
    /// An error if the value is `false`.
    Success,
    /// Status of the response. `failed` and `error` are an error.
    Status,
    /// The stream is complete if the value is `true`.
    Done,
    /// The stream is complete, unless the value is `null`, `false` or an empty string.
    End,
    /// The stream is complete if the value is one of these texts. The value is also a [`PartType`](Self::PartType).
    EndText(&'static EndTexts),

    /// One of several choices; tags inside of it belong to that choice. Tags outside of any choice belong to choice 0.
    Choice,
    /// Index of the choice.
    Index,
    /// Finish reason of the choice.
    FinishReason,
    /// Output that is new with this event.
    Delta,
    /// The whole message so far. It counts only where the event has no delta: some servers send both.
    Message,

    /// Generated text.
    Answer,
    /// Generated text of a text completion. Some servers repeat it as the content of a chat delta.
    CompletionText,
    /// Reasoning text, with the number of the field that holds it. Two such fields of one event repeat each other.
    Reasoning(usize),
    /// Summary of the reasoning, with the number of the field that holds it.
    ReasoningSummary(usize),
    /// Name of a tool that the model calls.
    ToolName,
    /// Tool call of a choice with [`CallName`](Self::CallName) and [`CallIndex`](Self::CallIndex). Some servers repeat
    /// the name in each chunk.
    ToolCall,
    /// The only tool call of a choice, in the first version of OpenAI's API.
    FunctionCall,
    /// Index of the tool call in its message.
    CallIndex,
    /// Name of the tool, inside of [`ToolCall`](Self::ToolCall).
    CallName,
    /// Arguments of a tool call, as text or as JSON.
    ToolArguments,
    /// One argument that is a number, a boolean or null. Its length as JSON counts.
    ArgumentValue,
    /// Output that is not text: audio or an image.
    Media,
    /// A content part with [`PartText`](Self::PartText), which is reasoning or not as [`Thought`](Self::Thought) says.
    Part,
    /// A content part with [`PartText`](Self::PartText), whose [`PartType`](Self::PartType) decides what the text is.
    TypedPart(&'static PartTypes),
    /// Text of the part.
    PartText,
    /// The part is reasoning if the value is `true`, or the name of a reasoning type.
    Thought,
    /// Text whose meaning depends on the event's type. The dialect's `finish_event` decides.
    EventText,
    /// Text that repeats what earlier events carried. It counts only where there was no earlier event.
    RepeatedText,
    /// An output item. Its [`PartType`](Self::PartType) decides whether it is output.
    Item,
    /// Author of the item. Items of users are not output.
    Role,
    /// Text of this field. Each event may have all text so far, or only new text. The dialect's `finish_event` decides. The
    /// value must be read with its text.
    SoFar(TextField),
    /// Input of a tool call in an item: arguments, code, actions. The dialect's `finish_event` adds it.
    CallInput,
    /// Result of an item. That of image generation is an image.
    CallResult,
    /// Kind of the content of all choices. Text is base64 if this is not `text`.
    Modality,
    /// Name of an output item. It is output if the event adds the item.
    ItemName,
    /// Type of the session. One for transcription counts the transcript of the client's audio as output.
    SessionType,
    /// Identity of the response, which every genuine chunk has: its id or its object type.
    Identity,
    /// A number with a meaning of the dialect's own, in this slot of [`EventBuilder::numbers`].
    ///
    /// [`EventBuilder::numbers`]: super::event_builder::EventBuilder::numbers
    Number(usize),
    /// Id of a token that came with the event.
    TokenId,
    /// [`EventText`](Self::EventText) is the text of a special token, and not output, if the value is `true`.
    SpecialToken,
    /// The event has this format, on a route that several APIs share.
    Api(ApiFormat),

    /// Object with token counts that the API defines.
    Usage,
    /// Token count inside of [`Usage`](Self::Usage).
    Count(TokenKind),
    /// Token count in a field that only this engine has.
    EngineCount(TokenKind),
    /// The same in one element of a document, to be added to the counts of the other elements.
    ElementCount(TokenKind),
    /// Duration of a stage, as the server reports it.
    Duration(ServerStage, TimeUnit),

    /// A field that only this engine or vendor writes, unless its value is `null`.
    WrittenBy(Engine),
    /// `system_fingerprint`.
    Fingerprint,
}

/// Field with output text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextField {
    Answer,
    Reasoning,
    ToolArguments,
}

impl TextField {
    /// Number of fields.
    pub const COUNT: usize = 3;

    /// Tag of a field whose text is new with each event.
    pub fn tag(self) -> Tag {
        match self {
            Self::Answer => Tag::Answer,
            Self::Reasoning => Tag::Reasoning(0),
            Self::ToolArguments => Tag::ToolArguments,
        }
    }
}

/// Format of an event on a route that several APIs share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiFormat {
    Tgi,
    Sglang,
    OpenAi,
    Cohere,
}

/// Kind of tokens in a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Input,
    /// Input, except what was read from a cache or written to it.
    UncachedInput,
    Output,
    /// Output, except reasoning.
    VisibleOutput,
    /// Input and output together.
    Total,
    /// Input that was read from a cache.
    CacheRead,
    /// Input that was written to a cache.
    CacheWritten,
    Reasoning,
}

/// Stage of a request in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStage {
    /// Wait in the server's queue.
    Queue,
    /// Processing of the prompt, up to the first token.
    Prefill,
    /// Generation, from the first token on.
    Decode,
    /// Load of the model.
    Load,
    /// From the request to the first token.
    FirstToken,
    /// The whole request.
    Total,
}

/// Unit of a duration on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Millis,
    Nanos,
}

impl TimeUnit {
    /// Converts a number in this unit to seconds; `None` if it is negative or not finite.
    pub fn seconds(self, number: f64) -> Option<f64> {
        let seconds = match self {
            Self::Seconds => number,
            Self::Millis => number / 1e3,
            Self::Nanos => number / 1e9,
        };
        (seconds >= 0.0 && seconds.is_finite()).then_some(seconds)
    }
}

/// Field with the duration of a stage.
pub const fn duration(stage: ServerStage, unit: TimeUnit) -> JsonShape {
    JsonShape::scalar(Tag::Duration(stage, unit))
}

/// Field with a token count, inside of [`Tag::Usage`].
pub const fn token_count(kind: TokenKind) -> JsonShape {
    JsonShape::scalar(Tag::Count(kind))
}
