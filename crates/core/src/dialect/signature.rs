//! Recognises the dialect of an event by its shape.
//!
//! A path can lie: several APIs end in `/v1/chat`, and gateways serve known formats on paths of their own. So a
//! dialect has a signature: types of events that only this API sends, and sets of members that only its events have.
//! If an event has nothing of the dialect of the path, [`recognise`] looks for a dialect whose signature the event has.

use super::route::Operation;
use super::tag::JsonShape;
use super::{
    Dialect, StreamEnd, anthropic, bedrock, cloudflare, cohere, dashscope, finish_plain, gemini,
    gemini_interactions, koboldcpp, llamacpp, lmstudio, minimax, mistral_conversations, ollama,
    openai_assistants, openai_chat, openai_media, openai_responses, sap, sglang, tgi, triton,
    vllm_generate, watsonx,
};
use crate::wire::ScanEvent;
use crate::wire::framing::Framing;
use crate::wire::json::{JsonNode, JsonScanner};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Distinctive parts of the events of a dialect. One of the types or one of the sets is enough.
struct Signature {
    dialect: &'static Dialect,
    /// Operation on a path that is not known.
    operation: Operation,
    /// Starts of the type of an event: the value of `type`, `event_type` or `event`, or the event's name in its framing.
    event_types: &'static [&'static str],
    /// Sets of members that occur together. A member is a path such as `choices/*/delta`, where `*` is any element of an
    /// array; `object=chat.` needs a text that starts so, and `object=` any text. A member that is `null` does not count.
    members: &'static [&'static [&'static str]],
}

impl Signature {
    fn has_type(&self, event_type: &[u8]) -> bool {
        self.event_types.iter().any(|start| event_type.starts_with(start.as_bytes()))
    }
}

macro_rules! signature {
    ($operation:ident, $dialect:expr, [$($event_type:literal),*], [$([$($member:literal),+]),*]) => {
        Signature {
            dialect: &$dialect,
            operation: Operation::$operation,
            event_types: &[$($event_type),*],
            members: &[$(&[$($member),+]),*],
        }
    };
}

/// The signatures of all dialects that have one. They exclude each other, except for APIs that one tree reads.
static SIGNATURES: &[Signature] = &[
    signature!(
        Chat,
        openai_chat::CHAT,
        [],
        [
            ["choices/*/delta"],
            ["choices/*/message"],
            ["object=chat.completion"],
            ["choices", "prompt_filter_results"]
        ]
    ),
    signature!(
        TextCompletion,
        openai_chat::COMPLETIONS,
        [],
        [
            ["choices/*/text", "choices/*/index"],
            ["choices/*/text", "choices/*/finish_reason"],
            ["object=text_completion"]
        ]
    ),
    signature!(
        Chat,
        openai_responses::RESPONSES,
        ["response.", "keepalive"],
        [["object=response"], ["response/output"]]
    ),
    signature!(
        Chat,
        anthropic::MESSAGES,
        ["message_start", "content_block_", "message_delta", "message_stop", "ping"],
        [["type=message", "role=assistant", "content", "model"]]
    ),
    signature!(
        TextCompletion,
        anthropic::COMPLETE,
        [],
        [["completion", "stop_reason"], ["completion", "type=completion"]]
    ),
    signature!(
        GenerateContent,
        gemini::STREAM,
        [],
        [
            ["candidates/*/content"],
            ["candidates/*/finishReason"],
            ["usageMetadata"],
            ["promptFeedback"]
        ]
    ),
    signature!(
        GenerateContent,
        gemini_interactions::INTERACTIONS,
        ["interaction.", "step.", "content.start", "content.delta", "content.stop"],
        [["object=interaction"]]
    ),
    signature!(
        Chat,
        cohere::V2,
        [
            "message-start",
            "content-start",
            "content-delta",
            "tool-plan-",
            "tool-call-",
            "message-end"
        ],
        [["message/role", "usage/tokens"]]
    ),
    signature!(
        Chat,
        cohere::V1,
        [
            "stream-start",
            "text-generation",
            "search-queries-generation",
            "tool-calls-",
            "stream-end"
        ],
        [["generation_id", "text"]]
    ),
    signature!(Chat, ollama::CHAT, [], [["created_at", "message/role", "done"]]),
    signature!(TextCompletion, ollama::GENERATE, [], [["created_at", "response", "done"]]),
    signature!(
        TextCompletion,
        llamacpp::LLAMACPP,
        [],
        [["content", "stop", "tokens_predicted"], ["content", "stop", "id_slot"]]
    ),
    signature!(
        TextCompletion,
        tgi::TGI,
        [],
        [["token/text", "token/special"], ["token/text", "token/logprob"], ["generated_text"]]
    ),
    signature!(TextCompletion, sglang::SGLANG, [], [["meta_info/id"]]),
    signature!(TextCompletion, triton::TRITON, [], [["text_output", "model_name"]]),
    signature!(
        Chat,
        bedrock::CONVERSE,
        ["messageStart", "contentBlockStart", "contentBlockDelta", "messageStop"],
        [["messageStart/role"], ["contentBlockDelta/delta"], ["output/message", "stopReason"]]
    ),
    signature!(
        Chat,
        mistral_conversations::CONVERSATIONS,
        ["conversation.response", "message.output", "function.call.", "tool.execution."],
        [["object=conversation.response"]]
    ),
    signature!(
        Chat,
        lmstudio::LMSTUDIO,
        ["chat.start", "chat.end", "model_load.", "prompt_processing."],
        [["model_instance_id", "stats"]]
    ),
    signature!(
        Chat,
        dashscope::DASHSCOPE,
        [],
        [["output/choices", "request_id"], ["output/text=", "request_id"]]
    ),
    signature!(Chat, sap::ORCHESTRATION, [], [["final_result"], ["orchestration_result"]]),
    signature!(Chat, cloudflare::WORKERS_AI, [], [["response=", "p="]]),
    signature!(
        TextCompletion,
        watsonx::GENERATION,
        [],
        [["results/*/generated_text", "results/*/stop_reason"]]
    ),
    signature!(Chat, openai_assistants::RUNS, ["thread."], []),
    signature!(Transcription, openai_media::TRANSCRIPTION, ["transcript.text."], []),
    signature!(Speech, openai_media::SPEECH, ["speech.audio."], []),
    signature!(Image, openai_media::IMAGES, ["image_generation.", "image_edit."], []),
];

static NO_SHAPE: JsonShape = JsonShape::path(&[]);
/// Dialect of a response whose path is not known. It reads nothing: the first events select another dialect.
pub static UNKNOWN: Dialect = Dialect::sse("unknown", &NO_SHAPE, finish_plain, StreamEnd::Body)
    .with_json_framing(Framing::JsonArray);

/// Generative dialects without a signature: others share their members.
static OTHER_GENERATIVE: [&Dialect; 4] = [
    &llamacpp::OPENAI_OR_LLAMACPP,
    &minimax::MINIMAX,
    &koboldcpp::KOBOLDCPP,
    &vllm_generate::VLLM_GENERATE,
];

/// Dialects whose paths also return documents that are no generation: embeddings, classes, or the state of a task.
static MIXED: [&Dialect; 5] = [
    &cloudflare::WORKERS_AI,
    &dashscope::DASHSCOPE,
    &openai_assistants::RUNS,
    &mistral_conversations::CONVERSATIONS,
    &triton::TRITON,
];

/// Whether every stream of the dialect is a generation. A generation has output, a finish reason or a token count; a
/// transcript of silence can be empty, and on Triton, the model defines the outputs.
pub(super) fn is_generative(dialect: &Dialect) -> bool {
    use Operation::{Chat, GenerateContent, TextCompletion};
    let has_generative_signature = |signature: &Signature| {
        signature.dialect == dialect
            && matches!(signature.operation, Chat | GenerateContent | TextCompletion)
    };
    *dialect != triton::TRITON
        && (SIGNATURES.iter().any(has_generative_signature) || OTHER_GENERATIVE.contains(&dialect))
}

/// Whether a document that has nothing of the dialect may still be one of its paths.
pub(super) fn may_be_empty(dialect: &Dialect) -> bool {
    !is_generative(dialect) || MIXED.contains(&dialect)
}

/// Whether only this dialect has events of this type.
pub(super) fn is_type_of(dialect: &Dialect, event_type: &[u8]) -> bool {
    SIGNATURES
        .iter()
        .any(|signature| signature.dialect == dialect && signature.has_type(event_type))
}

/// Members that hold the type of an event.
const TYPES: [&str; 3] = ["type", "event_type", "event"];

/// The fields of an event that the signatures take.
struct Recogniser {
    shape: &'static JsonNode<u16>,
    /// Paths of the fields, by the number in the shape.
    fields: Vec<&'static str>,
}

static RECOGNISER: LazyLock<Recogniser> = LazyLock::new(Recogniser::new);

/// Splits `object=chat.` into the path and the start of the text.
fn parse_member(member: &'static str) -> (&'static str, Option<&'static str>) {
    member.split_once('=').map_or((member, None), |(path, start)| (path, Some(start)))
}

impl Recogniser {
    fn new() -> Self {
        let members = SIGNATURES.iter().flat_map(|signature| signature.members);
        let paths = members.flat_map(|set| set.iter()).map(|member| parse_member(member).0);
        let mut fields: Vec<&'static str> = TYPES.into_iter().chain(paths).collect();
        fields.sort_unstable();
        fields.dedup();
        let mut tree = FieldTree::default();
        for (field, number) in fields.iter().zip(0..) {
            tree.insert(field.split('/'), number);
        }
        Self { shape: tree.leak(), fields }
    }

    /// Reads the fields of an event that are present and not `null`, with the text of those that have one.
    fn read(&self, data: &[u8]) -> BTreeMap<&'static str, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut sink = |number: u16, value: ScanEvent<'_>| {
            let Some(field) = self.fields.get(usize::from(number)) else { return };
            match value {
                ScanEvent::Null | ScanEvent::Close => {}
                ScanEvent::Text { text, .. } => drop(found.insert(*field, Some(text.to_vec()))),
                _ => drop(found.entry(*field).or_default()),
            }
        };
        let mut scanner = JsonScanner::new(self.shape);
        scanner.push(data, &mut sink);
        // An incomplete event has the fields that were read so far.
        let _ = scanner.end(&mut sink);
        found
    }
}

/// Fields of a document as a tree, to build a [`JsonNode`] from.
#[derive(Default)]
struct FieldTree {
    number: Option<u16>,
    members: BTreeMap<&'static str, Self>,
}

impl FieldTree {
    fn insert(&mut self, mut path: std::str::Split<'static, char>, number: u16) {
        match path.next() {
            Some(name) => self.members.entry(name).or_default().insert(path, number),
            None => self.number = Some(number),
        }
    }

    /// Builds the node. Its memory is never freed: it is built once for the process.
    fn leak(self) -> &'static JsonNode<u16> {
        let (mut keys, mut items) = (Vec::new(), None);
        for (name, member) in self.members {
            match name {
                "*" => items = Some(member.leak()),
                _ => keys.push((name, member.leak())),
            }
        }
        let node = JsonNode { tag: self.number, keys: keys.leak(), items, ..JsonNode::text(0) };
        Box::leak(Box::new(node))
    }
}

/// The dialect that an event seems to be of.
pub(super) struct Recognised {
    pub dialect: &'static Dialect,
    /// Operation that the dialect is usually used for.
    pub operation: Operation,
    /// Members of the event show the dialect. If not, only its type does. Other APIs may have an event of this type, so
    /// the event must have facts of the dialect too.
    pub has_members: bool,
}

/// Returns the dialect whose signature an event has. `name` is the event's type in its framing.
pub(super) fn recognise(data: &[u8], name: &[u8]) -> Option<Recognised> {
    let found = RECOGNISER.read(data);
    let types = TYPES.iter().filter_map(|field| found.get(field)?.as_deref());
    let types: Vec<&[u8]> = types.chain([name]).collect();
    let has_member = |member: &'static str| {
        let (path, start) = parse_member(member);
        match (found.get(path), start) {
            (Some(Some(text)), Some(start)) => text.starts_with(start.as_bytes()),
            (Some(_), None) => true,
            _ => false,
        }
    };
    SIGNATURES.iter().find_map(|signature| {
        let Signature { dialect, operation, .. } = *signature;
        let has_members =
            signature.members.iter().any(|set| set.iter().all(|member| has_member(member)));
        let has_type = types.iter().any(|event_type| signature.has_type(event_type));
        (has_type || has_members).then_some(Recognised { dialect, operation, has_members })
    })
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
