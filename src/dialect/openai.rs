//! OpenAI's chat completions and text completions, streamed and whole, in the variants that servers
//! really send.
//!
//! Streamed, an event is one chunk; whole, the body is one event. Output is what
//! `choices[].delta` (or `message`, or `text`) carries: `content` as text or as a list of typed
//! parts, `refusal`, `audio`, `tool_calls` and `function_call`, and reasoning under any of its names
//! (`reasoning_content`, `reasoning`, `thinking`, `reasoning_details`, parts of type `thinking`).
//! Where a server sends the same text in two fields, it counts once.

use super::{
    ChoiceFacts, Facts, FinishReason, MAX_CHOICES, TokenCounts, Unparsed, finish_reason,
    request::count,
};
use crate::wire::json::{Malformed, Node, Token};
use crate::wire::memo::{Memo, MemoScanner};
use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Tag {
    /// An object or array that only leads to others.
    Path,
    Model,
    Error,
    Choice,
    Index,
    Finish,
    /// `choices[].text` of a text completion.
    Text,
    /// `choices[].delta`, `choices[].message`: whose body the following tags belong to.
    Delta,
    Message,
    Content,
    Refusal,
    Audio,
    ToolName,
    ToolArguments,
    /// Reasoning text, by the field that it stands in: two fields of one event repeat each other.
    Reasoning(usize),
    Input,
    Output,
    Total,
    Cached,
    ReasoningTokens,
    Usage,
    EngineInput,
    EngineOutput,
    EngineCached,
}

type N = Node<Tag>;

const REASONING_FIELDS: usize = 5;

static CONTENT: N = N::scalar(Tag::Content);
static REFUSAL: N = N::scalar(Tag::Refusal);
static AUDIO: N = N::scalar(Tag::Audio);
static SOUND: N = N::object(Tag::Path, &[("data", &AUDIO), ("transcript", &AUDIO)]);
static PART_THOUGHT: N = N::scalar(Tag::Reasoning(0));
static PART_THINKING: N = Node {
    tag: Tag::Reasoning(0),
    keep: false,
    keys: &[("text", &PART_THOUGHT)],
    items: Some(&Node::object(Tag::Path, &[("text", &PART_THOUGHT)])),
};
static CONTENT_PART: N = Node {
    tag: Tag::Content,
    keep: false,
    keys: &[("text", &CONTENT), ("refusal", &REFUSAL), ("thinking", &PART_THINKING)],
    items: None,
};
static CONTENT_OR_PARTS: N =
    Node { tag: Tag::Content, keep: false, keys: &[], items: Some(&CONTENT_PART) };
static FUNCTION: N = N::object(
    Tag::Path,
    &[
        ("name", &N::scalar(Tag::ToolName)),
        ("arguments", &N::scalar(Tag::ToolArguments)),
        ("input", &N::scalar(Tag::ToolArguments)),
    ],
);
static TOOL_CALL: N = N::object(Tag::Path, &[("function", &FUNCTION), ("custom", &FUNCTION)]);
/// `reasoning` is text with most servers, an object with `content` with some.
static REASONING: N = Node {
    tag: Tag::Reasoning(2),
    keep: false,
    keys: &[("content", &N::scalar(Tag::Reasoning(2)))],
    items: None,
};
static REASONING_DETAIL: N = N::object(
    Tag::Path,
    &[("text", &N::scalar(Tag::Reasoning(4))), ("summary", &N::scalar(Tag::Reasoning(4)))],
);

const BODY: &[(&str, &N)] = &[
    ("content", &CONTENT_OR_PARTS),
    ("reasoning_content", &N::scalar(Tag::Reasoning(1))),
    ("reasoning", &REASONING),
    ("thinking", &N::scalar(Tag::Reasoning(3))),
    ("reasoning_details", &N::array(Tag::Path, &REASONING_DETAIL)),
    ("refusal", &REFUSAL),
    ("tool_calls", &N::array(Tag::Path, &TOOL_CALL)),
    ("function_call", &FUNCTION),
    ("audio", &SOUND),
];
static CHOICE: N = N::object(
    Tag::Choice,
    &[
        ("index", &N::scalar(Tag::Index)),
        ("delta", &N::object(Tag::Delta, BODY)),
        ("message", &N::object(Tag::Message, BODY)),
        ("text", &N::scalar(Tag::Text)),
        ("finish_reason", &N::text(Tag::Finish)),
    ],
);
static USAGE: N = N::object(
    Tag::Usage,
    &[
        ("prompt_tokens", &N::scalar(Tag::Input)),
        ("completion_tokens", &N::scalar(Tag::Output)),
        ("total_tokens", &N::scalar(Tag::Total)),
        ("prompt_cache_hit_tokens", &N::scalar(Tag::Cached)),
        ("cache_read_input_tokens", &N::scalar(Tag::Cached)),
        ("cached_tokens", &N::scalar(Tag::Cached)),
        ("reasoning_tokens", &N::scalar(Tag::ReasoningTokens)),
        (
            "prompt_tokens_details",
            &N::object(Tag::Path, &[("cached_tokens", &N::scalar(Tag::Cached))]),
        ),
        (
            "completion_tokens_details",
            &N::object(Tag::Path, &[("reasoning_tokens", &N::scalar(Tag::ReasoningTokens))]),
        ),
    ],
);
static ERROR: N = N::scalar(Tag::Error);
static ROOT: N = N::object(
    Tag::Path,
    &[
        ("choices", &N::array(Tag::Path, &CHOICE)),
        ("model", &N::text(Tag::Model)),
        ("usage", &USAGE),
        ("error", &ERROR),
        ("x_groq", &N::object(Tag::Path, &[("usage", &USAGE), ("error", &ERROR)])),
        (
            "timings",
            &N::object(
                Tag::Path,
                &[
                    ("prompt_n", &N::scalar(Tag::EngineInput)),
                    ("cache_n", &N::scalar(Tag::EngineCached)),
                    ("predicted_n", &N::scalar(Tag::EngineOutput)),
                ],
            ),
        ),
    ],
);

/// The output in one `delta`, `message` or `text`.
#[derive(Debug, Clone, Copy, Default)]
struct Body {
    seen: bool,
    answer: u64,
    tool: u64,
    /// Output without text: a tool's name, audio, arguments that are no string.
    wordless: bool,
    reasoning: [u64; REASONING_FIELDS],
}

/// The choice that is being read.
#[derive(Debug, Default)]
struct Draft {
    index: Option<u64>,
    delta: Body,
    message: Body,
    in_message: bool,
    text: u64,
    finish: Option<FinishReason>,
}

/// The state of the event that is being read.
#[derive(Debug, Default)]
struct Event {
    facts: Facts,
    draft: Draft,
    usage: TokenCounts,
    total: Option<u64>,
    /// An event of this stream has told the model; each one does.
    knows_model: bool,
    /// Bytes of data, and the first of them: enough to know `[DONE]`.
    len: usize,
    head: [u8; 8],
}

/// What reads one event at a time. It holds nothing of a stream between two events, so streams hand
/// it on to each other, and it stays in the processor's cache.
#[derive(Debug)]
struct Reader {
    scanner: MemoScanner<Tag>,
    event: Event,
}

thread_local! {
    /// The reader that was used last, ready for the next event of any stream.
    static SPARE: Cell<Option<Box<Reader>>> = const { Cell::new(None) };
}

impl Reader {
    fn spare() -> Box<Self> {
        let new = || Self { scanner: MemoScanner::new(&ROOT), event: Event::default() };
        SPARE.take().unwrap_or_else(|| Box::new(new()))
    }
}

/// Reads one event after another.
#[derive(Debug, Default)]
pub struct OpenAi {
    memo: Memo<Tag>,
    knows_model: bool,
    /// While an event is being read.
    reader: Option<Box<Reader>>,
}

impl OpenAi {
    /// Reads the next part of the current event's data.
    pub fn data(&mut self, bytes: &[u8]) {
        let Reader { scanner, event } = &mut **self.reader.get_or_insert_with(Reader::spare);
        if let Some(free) = event.head.get_mut(event.len..) {
            free.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        }
        event.len = event.len.saturating_add(bytes.len());
        event.knows_model = self.knows_model;
        let sink = &mut |tag, token: Token<'_>| event.note(tag, token);
        scanner.push(&mut self.memo, bytes, sink);
    }

    /// The event has an `error` field of its own, whatever its data.
    pub fn error_field(&mut self) {
        self.reader.get_or_insert_with(Reader::spare).event.facts.error = true;
    }

    /// The event is complete. `name` is its `event` field.
    pub fn end(&mut self, name: &[u8]) -> &Facts {
        let Reader { scanner, event } = &mut **self.reader.get_or_insert_with(Reader::spare);
        let end = scanner.end(&mut |tag, token| event.note(tag, token));
        let data = event.head.get(..event.len).unwrap_or_default().trim_ascii();
        if data == b"[DONE]" {
            event.facts.clear();
            event.facts.done = true;
        } else {
            if name == b"error" {
                event.facts.error = true;
            }
            if let Err(why) = end {
                event.skip(why);
            }
        }
        self.knows_model |= event.facts.model.is_some();
        &event.facts
    }

    /// Forgets the last event.
    pub fn next(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            reader.event.facts.clear();
            reader.event.len = 0;
            SPARE.set(Some(reader));
        }
    }
}

impl Event {
    /// What could not be scanned to its end says nothing, except that it is an error: those come in
    /// plain words too.
    fn skip(&mut self, why: Malformed) {
        let error = self.facts.error;
        self.facts.clear();
        self.facts.error = error;
        if !error {
            let reason = if why == Malformed::TooDeep { Unparsed::Depth } else { Unparsed::Json };
            self.facts.unparsed = Some(reason);
        }
    }

    fn note(&mut self, tag: Tag, token: Token<'_>) {
        if tag == Tag::Path {
            return;
        }
        if let Token::Text { valid: false, .. } = token {
            self.facts.unparsed = Some(Unparsed::Utf8);
        }
        let body =
            if self.draft.in_message { &mut self.draft.message } else { &mut self.draft.delta };
        match (tag, token) {
            (Tag::Choice, Token::Open) => self.draft = Draft::default(),
            (Tag::Choice, Token::Close) => self.end_choice(),
            (Tag::Delta | Tag::Message, Token::Open) => {
                self.draft.in_message = tag == Tag::Message;
                let body = if self.draft.in_message {
                    &mut self.draft.message
                } else {
                    &mut self.draft.delta
                };
                body.seen = true;
            }
            (Tag::Index, Token::Number(n)) => self.draft.index = count(n),
            (Tag::Finish, Token::Text { text, .. }) if !text.is_empty() => {
                self.draft.finish = Some(finish_reason(text));
            }
            (Tag::Text, Token::Text { chars, .. }) => self.draft.text = chars,
            (Tag::Content | Tag::Refusal, Token::Text { chars, .. }) => body.answer += chars,
            (Tag::Audio | Tag::ToolName, Token::Text { chars, .. }) => body.wordless |= chars > 0,
            (Tag::ToolArguments, Token::Text { chars, .. }) => body.tool += chars,
            (Tag::ToolArguments, Token::Open) => body.wordless = true,
            (Tag::Reasoning(field), Token::Text { chars, .. }) => {
                if let Some(reasoning) = body.reasoning.get_mut(field) {
                    *reasoning += chars;
                }
            }
            (Tag::Model, Token::Text { text, .. }) if !text.is_empty() && !self.knows_model => {
                self.knows_model = true;
                self.facts.model = Some(String::from_utf8_lossy(text).into_owned());
            }
            (
                Tag::Error,
                Token::Text { .. } | Token::Open | Token::Bool(true) | Token::Number(_),
            ) => {
                self.facts.error = true;
            }
            (Tag::Usage, Token::Open) => {
                self.usage = TokenCounts::default();
                self.total = None;
            }
            (Tag::Usage, Token::Close) => self.end_usage(),
            (Tag::Input, Token::Number(n)) => self.usage.input = count(n),
            (Tag::Output, Token::Number(n)) => self.usage.output = count(n),
            (Tag::Total, Token::Number(n)) => self.total = count(n),
            (Tag::Cached, Token::Number(n)) => self.usage.cached = count(n),
            (Tag::ReasoningTokens, Token::Number(n)) => self.usage.reasoning = count(n),
            (Tag::EngineInput, Token::Number(n)) => {
                // llama.cpp counts what it had to process; what its cache held comes apart.
                let engine = self.facts.engine.get_or_insert_default();
                engine.input = count(n).map(|fresh| fresh + engine.cached.unwrap_or(0));
            }
            (Tag::EngineCached, Token::Number(n)) => {
                let engine = self.facts.engine.get_or_insert_default();
                engine.cached = count(n);
                engine.input = engine.input.map(|fresh| fresh + engine.cached.unwrap_or(0));
            }
            (Tag::EngineOutput, Token::Number(n)) => {
                self.facts.engine.get_or_insert_default().output = count(n);
            }
            _ => {}
        }
    }

    fn end_choice(&mut self) {
        let Draft { index, delta, message, text, finish, .. } = &mut self.draft;
        // Some servers repeat the whole message beside each delta.
        let body = if delta.seen { delta } else { message };
        let answer_chars = body.answer.max(*text);
        let facts = ChoiceFacts {
            index: 0,
            answer_chars,
            reasoning_chars: body.reasoning.into_iter().max().unwrap_or(0),
            tool_chars: body.tool,
            answers: answer_chars > 0 || body.tool > 0 || body.wordless,
            finish: finish.take(),
        };
        match index.unwrap_or(0).try_into() {
            Ok(index) if self.facts.choices.len() < MAX_CHOICES => {
                self.facts.choices.push(ChoiceFacts { index, ..facts });
            }
            _ => self.facts.unparsed = Some(Unparsed::Choice),
        }
    }

    fn end_usage(&mut self) {
        let mut usage = self.usage;
        // A total of 0 is what a server writes that has not counted.
        if usage.input.unwrap_or(0) == 0 && usage.output.unwrap_or(0) == 0 {
            return;
        }
        if let (Some(input), Some(output), Some(reasoning), Some(total)) =
            (usage.input, usage.output, usage.reasoning, self.total)
            && reasoning > 0
            && total != input + output
            && total == input + output + reasoning
        {
            // xAI leaves reasoning out of the completion.
            usage.output = Some(output + reasoning);
        }
        self.facts.usage.get_or_insert_default().update(usage);
    }
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
