//! What the places of an event mean: the vocabulary in which dialects are written.
//!
//! A dialect is a tree of places ([`Shape`]) whose tags are these; [`Draft`](super::draft::Draft) adds
//! up what stands there.

use super::engine::Engine;
use crate::wire::json::JsonNode;
use crate::wire::protobuf::ProtobufField;

/// A place's meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tag {
    /// What kind of event it is, in the API's words (`type`); kept for the dialect's conclusion.
    Kind,
    /// The same of the part that the event is about, where it has one.
    PartKind,
    Model,
    /// An error, if anything stands here but `null`, `false` and the empty string.
    Error,
    /// The stream is over, if `true` stands here.
    Done,
    /// The stream is over, if a text stands here, empty ones too.
    DoneText,

    /// One choice of several; what stands in it is of that choice. What stands in none is of choice 0.
    Choice,
    Index,
    Finish,
    /// Whose body the following tags belong to: some servers repeat the whole message beside a delta.
    Delta,
    Message,

    /// Generated text.
    Answer,
    /// Text of a text completion, which some servers repeat as a chat's.
    Text,
    /// Reasoning text, by the field that it stands in: two fields of one event repeat each other.
    Reasoning(usize),
    ToolName,
    /// A tool call's arguments, as text or as JSON.
    ToolArguments,
    /// Output that is no text: audio, an image.
    Media,
    /// A part that says of itself what it is: [`PartText`](Self::PartText) is reasoning if
    /// [`Thought`](Self::Thought) is `true`, or names a kind of reasoning.
    Part,
    PartText,
    Thought,
    /// Text that the event's kind tells the meaning of.
    Piece,
    /// Text that repeats what was streamed before; the event's kind tells the meaning.
    Echo,
    /// A number that tells which part of the response is meant, by its rank.
    Place(usize),
    /// One of the ids of the tokens that came with the event.
    TokenId,
    /// The piece is a special token's, which is no text, if `true` stands here.
    Special,
    /// Whatever stands here, the event has this form, of several that share a route.
    Form(Form),

    /// Counts that the API defines, told together.
    Usage,
    Count(Count),
    /// A count in a field of the engine's own.
    EngineCount(Count),
    /// The same of one of the document's elements: they add up.
    ElementCount(Count),
    /// What the server says that a stage took.
    Time(Stage, Unit),

    /// Whoever has this place is this engine, whatever stands there.
    Sign(Engine),
    /// `system_fingerprint`.
    Fingerprint,
}

/// The forms of events that share a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Tgi,
    Sglang,
    OpenAi,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Input,
    /// Input without what came from a cache or went to it.
    FreshInput,
    Output,
    /// Output without reasoning.
    VisibleOutput,
    Total,
    Cached,
    Written,
    Reasoning,
}

/// A stage of a request, in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Queue,
    Prefill,
    Decode,
    Load,
    FirstToken,
    Total,
}

/// What a duration is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Millis,
    Nanos,
}

impl Unit {
    /// A number of this unit in seconds; `None` for what is no duration.
    pub fn seconds(self, number: f64) -> Option<f64> {
        let seconds = match self {
            Self::Seconds => number,
            Self::Millis => number / 1e3,
            Self::Nanos => number / 1e9,
        };
        (seconds >= 0.0 && seconds.is_finite()).then_some(seconds)
    }
}

/// A place in an event.
pub type Shape = JsonNode<Tag>;

/// A place in an event that is a protobuf message.
pub type Message = ProtobufField<Tag>;

/// A number that says how long a stage took.
pub const fn time(stage: Stage, unit: Unit) -> Shape {
    Shape::scalar(Tag::Time(stage, unit))
}

/// A number that is a count of tokens.
pub const fn counted(count: Count) -> Shape {
    Shape::scalar(Tag::Count(count))
}
