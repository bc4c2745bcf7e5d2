//! Dialects that a configuration describes by the places of the values in an event.
//!
//! A place is a JSON pointer (RFC 6901). All places of an API become one [`JsonShape`] tree, as in the dialects of this
//! crate, so the same code reads both.

use super::definition::finish_plain;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind};
use super::{Dialect, StreamEnd};
use crate::wire::json::{MAX_PATH, MAX_WORD, StringMode};
use std::collections::BTreeMap;
use strum::VariantArray;

/// Value that a configured API has in its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum ApiValue {
    /// Text of the answer.
    Text,
    /// Reasoning text.
    Reasoning,
    /// Arguments of a tool call: a text, or a JSON value of any type.
    ToolArguments,
    /// Name of a tool that the model calls.
    ToolName,
    /// Tokens of the request.
    InputTokens,
    /// Tokens of the response.
    OutputTokens,
    /// Input tokens that were read from a cache.
    CachedTokens,
    /// Output tokens of reasoning.
    ReasoningTokens,
    /// Model that generated the response.
    Model,
    /// Reason why the response ended. It completes the response.
    FinishReason,
    /// An error, unless the value is `null`, `false` or an empty text.
    Error,
    /// End of the stream, unless the value is `null`, `false` or an empty text.
    End,
}

impl ApiValue {
    /// Name of the configuration key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Reasoning => "reasoning",
            Self::ToolArguments => "tool_arguments",
            Self::ToolName => "tool_name",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::CachedTokens => "cached_tokens",
            Self::ReasoningTokens => "reasoning_tokens",
            Self::Model => "model",
            Self::FinishReason => "finish_reason",
            Self::Error => "error",
            Self::End => "end",
        }
    }

    /// Shape of a place with this value.
    fn shape(self) -> JsonShape {
        let count = |kind| JsonShape::scalar(Tag::EngineCount(kind));
        match self {
            Self::Text => JsonShape::scalar(Tag::Answer),
            Self::Reasoning => JsonShape::scalar(Tag::Reasoning(0)),
            Self::ToolArguments => JsonShape::raw(Tag::ToolArguments),
            Self::ToolName => JsonShape::scalar(Tag::ToolName),
            Self::InputTokens => count(TokenKind::Input),
            Self::OutputTokens => count(TokenKind::Output),
            Self::CachedTokens => count(TokenKind::CacheRead),
            Self::ReasoningTokens => count(TokenKind::Reasoning),
            Self::Model => JsonShape::text(Tag::Model),
            Self::FinishReason => JsonShape::text(Tag::FinishReason),
            Self::Error => JsonShape::scalar(Tag::Error),
            Self::End => JsonShape::scalar(Tag::End),
        }
    }
}

/// Texts that end a stream at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndTexts(Vec<String>);

impl EndTexts {
    /// Whether this text ends the stream.
    pub fn contains(&self, text: &[u8]) -> bool {
        self.0.iter().any(|end| end.as_bytes() == text)
    }
}

/// Reason why a place cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The pointer does not begin with a slash.
    #[error("a JSON pointer begins with /, such as /choices/0/delta/content")]
    NoSlash,
    /// A tilde is not part of an escape.
    #[error("in a JSON pointer, ~ must be written ~0, and / within a name ~1")]
    Escape,
    /// The pointer has too many steps.
    #[error("the pointer has {0} steps; at most {MAX_STEPS} are allowed")]
    TooDeep(usize),
    /// A name is too long for the scanner.
    #[error("the name {0:?} is longer than {MAX_WORD} bytes; choose a place with shorter names")]
    LongName(String),
    /// A name that JSON writes with an escape, which the scanner does not decode.
    #[error("the name {0:?} has a character that JSON escapes; choose a place without it")]
    EscapedName(String),
    /// The place has another value already.
    #[error("this place is already used for {0}; each place can have one meaning")]
    Taken(&'static str),
    /// The place is inside of a value that is counted as a whole, or contains another place.
    #[error(
        "tool_arguments takes the whole value of its place, so no other place can be inside of it"
    )]
    InsideArguments,
}

/// Longest pointer. An object at the last step is reported too, so one step less than the scanner has.
const MAX_STEPS: usize = MAX_PATH - 1;

/// Builder of the dialect of a configured API.
#[derive(Debug, Default)]
pub struct CustomDialect {
    root: PlaceTree,
    has_end: bool,
    is_cumulative: bool,
}

/// Place of a document, with the places inside of it.
#[derive(Debug, Default)]
struct PlaceTree {
    value: Option<ApiValue>,
    /// For [`ApiValue::End`]: only these texts end the stream. Empty if every value does.
    end_texts: Vec<String>,
    members: BTreeMap<String, PlaceTree>,
    elements: Option<Box<PlaceTree>>,
}

impl CustomDialect {
    /// Creates a dialect without any place. `is_cumulative`: each event repeats the text of all earlier ones.
    pub fn new(is_cumulative: bool) -> Self {
        Self { is_cumulative, ..Self::default() }
    }

    /// Adds a place of a value. A number, `*` or `-` in the pointer is any element of a list. The place of an end can be
    /// followed by `=TEXT`: then only this text ends the stream.
    ///
    /// # Errors
    /// If the pointer is malformed, or its place cannot have this value too.
    pub fn add(&mut self, value: ApiValue, place: &str) -> Result<(), PlaceError> {
        let (pointer, end_text) = match (value, place.split_once('=')) {
            (ApiValue::End, Some((pointer, text))) => (pointer, Some(text)),
            _ => (place, None),
        };
        self.has_end |= value == ApiValue::End;
        self.root.find(&steps(pointer)?)?.set(value, end_text)
    }

    /// Returns the dialect.
    ///
    /// It is never freed: dialects are `static`, and a configuration adds a few nodes to them once per process.
    pub fn leak(self, name: &str) -> &'static Dialect {
        let stream_end = if self.has_end { StreamEnd::Event } else { StreamEnd::Body };
        let finish_event = if self.is_cumulative { finish_cumulative } else { finish_deltas };
        let (name, shape) = (leak_text(name), self.root.leak());
        Box::leak(Box::new(Dialect::json_lines(name, shape, finish_event, stream_end)))
    }
}

impl Dialect {
    /// Returns this dialect under another name. It is never freed, as [`CustomDialect::leak`] explains.
    pub fn leak_renamed(&self, name: &str) -> &'static Self {
        Box::leak(Box::new(self.with_name(leak_text(name))))
    }
}

fn leak_text(text: &str) -> &'static str {
    Box::leak(text.into())
}

/// One step of a pointer.
#[derive(Debug, PartialEq, Eq)]
enum PointerStep {
    Member(String),
    Element,
}

/// Steps of a JSON pointer.
fn steps(pointer: &str) -> Result<Vec<PointerStep>, PlaceError> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let names = pointer.strip_prefix('/').ok_or(PlaceError::NoSlash)?;
    let steps: Vec<PointerStep> = names.split('/').map(step).collect::<Result<_, _>>()?;
    if steps.len() > MAX_STEPS {
        return Err(PlaceError::TooDeep(steps.len()));
    }
    Ok(steps)
}

fn step(name: &str) -> Result<PointerStep, PlaceError> {
    let is_index = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_index || matches!(name, "*" | "-") {
        return Ok(PointerStep::Element);
    }
    if name.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return Err(PlaceError::Escape);
    }
    // In this order, as RFC 6901 requires.
    let name = name.replace("~1", "/").replace("~0", "~");
    if name.len() > MAX_WORD {
        return Err(PlaceError::LongName(name));
    }
    if name.contains(|c: char| matches!(c, '"' | '\\') || c.is_control()) {
        return Err(PlaceError::EscapedName(name));
    }
    Ok(PointerStep::Member(name))
}

impl PlaceTree {
    /// Returns the place after these steps, which is added if new.
    fn find(&mut self, steps: &[PointerStep]) -> Result<&mut Self, PlaceError> {
        let Some((step, rest)) = steps.split_first() else { return Ok(self) };
        if self.value == Some(ApiValue::ToolArguments) {
            return Err(PlaceError::InsideArguments);
        }
        let next = match step {
            PointerStep::Element => self.elements.get_or_insert_default(),
            PointerStep::Member(name) => self.members.entry(name.clone()).or_default(),
        };
        next.find(rest)
    }

    /// Gives the place a value.
    fn set(&mut self, value: ApiValue, end_text: Option<&str>) -> Result<(), PlaceError> {
        let has_places_inside = !self.members.is_empty() || self.elements.is_some();
        if value == ApiValue::ToolArguments && has_places_inside {
            return Err(PlaceError::InsideArguments);
        }
        match self.value {
            None => {
                self.value = Some(value);
                self.end_texts.extend(end_text.map(str::to_owned));
                Ok(())
            }
            // Texts are added to texts. A place that ends the stream with every value needs none.
            Some(ApiValue::End) if value == ApiValue::End => {
                match end_text.filter(|_| !self.end_texts.is_empty()) {
                    Some(text) => self.end_texts.push(text.to_owned()),
                    None => self.end_texts.clear(),
                }
                Ok(())
            }
            Some(known) if known == value => Ok(()),
            // A finish reason completes the response, so it is an end too.
            Some(ApiValue::FinishReason) if value == ApiValue::End && end_text.is_none() => Ok(()),
            Some(ApiValue::End) if value == ApiValue::FinishReason && self.end_texts.is_empty() => {
                self.value = Some(value);
                Ok(())
            }
            Some(known) => Err(PlaceError::Taken(known.key())),
        }
    }

    /// Converts the tree to the form that the scanner reads. It is never freed.
    fn leak(self) -> &'static JsonShape {
        let own = self.value.map_or(const { JsonShape::path(&[]) }, ApiValue::shape);
        let own = match self.end_texts {
            texts if texts.is_empty() => own,
            texts => JsonShape {
                tag: Some(Tag::EndText(Box::leak(Box::new(EndTexts(texts))))),
                strings: StringMode::Keep,
                ..own
            },
        };
        let leak_member = |(name, place): (String, Self)| (leak_text(&name), place.leak());
        let members: Vec<(&'static str, &'static JsonShape)> =
            self.members.into_iter().map(leak_member).collect();
        let elements = self.elements.map(|place| place.leak());
        Box::leak(Box::new(JsonShape { keys: members.leak(), items: elements, ..own }))
    }
}

/// Ends an event with new text only.
fn finish_deltas(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    set_usage(event);
    finish_plain(event, stream, name);
}

/// Ends an event whose texts repeat those of earlier events.
fn finish_cumulative(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    // Counters of the output so far.
    const ANSWER: u64 = 0;
    const REASONING: u64 = 1;
    const ARGUMENTS: u64 = 2;
    const NONTEXT: u64 = 3;
    let output = event.choice.output();
    let mut nontext = u64::from(output.has_nontext);
    for (counter, count) in [
        (ANSWER, &mut output.answer),
        (REASONING, &mut output.reasoning[0]),
        (ARGUMENTS, &mut output.tool),
        (NONTEXT, &mut nontext),
    ] {
        if let Some(before) = stream.counter(counter) {
            let new = count.saturating_sub(*before);
            *before += new;
            *count = new;
        }
    }
    output.has_nontext = nontext > 0;
    finish_deltas(event, stream, name);
}

/// Makes the token counts the usage of the event: their places are those that the API defines.
fn set_usage(event: &mut EventBuilder) {
    // Servers that do not count send zeros.
    let is_counted = |count: Option<u64>| count.unwrap_or(0) > 0;
    event.facts.usage =
        event.facts.engine_counts.take().filter(|counts| {
            [counts.input, counts.output, counts.cached].into_iter().any(is_counted)
        });
}

#[cfg(test)]
#[path = "custom_tests.rs"]
mod tests;
