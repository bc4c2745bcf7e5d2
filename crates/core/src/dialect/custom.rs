//! Dialects that a configuration describes by the places of the values in an event.
//!
//! A place is a JSON pointer (RFC 6901). All places of an API become one `JsonShape` tree, as in the dialects of this
//! crate, so the same code reads both.

use super::definition::finish_plain;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind};
use super::{Dialect, StreamEnd};
use crate::wire::json::{MAX_PATH, MAX_WORD};
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
            Self::Error => JsonShape { raw: true, ..JsonShape::text(Tag::Error) },
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

/// Meaning of the text of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartText {
    /// Text of the answer.
    Answer,
    /// Reasoning text.
    Reasoning,
}

/// Types of the parts at one place, and what their text is. The text of other parts is not output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartTypes(Vec<(String, PartText)>);

impl PartTypes {
    /// Meaning of the text of a part of this type; `None` if it is not output.
    pub fn find(&self, part_type: &[u8]) -> Option<PartText> {
        let found = self.0.iter().find(|(known, _)| known.as_bytes() == part_type);
        found.map(|(_, text)| *text)
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
    /// A condition is malformed.
    #[error("a condition is written [NAME=TEXT] after a name, such as /content[type=message]")]
    Condition,
    /// The value cannot have a condition.
    #[error("only the places of text and reasoning can have a condition")]
    NotConditional,
    /// An object has places with different conditions.
    #[error(
        "all places with a condition in one object must have the same name and test the same member"
    )]
    Conditions,
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
    value: Option<PlaceUse>,
    /// The text in this object depends on its type.
    typed: Option<TypedObject>,
    /// For [`ApiValue::End`]: only these texts end the stream. Empty if every value does.
    end_texts: Vec<String>,
    members: BTreeMap<String, PlaceTree>,
    elements: Option<Box<PlaceTree>>,
}

/// Use of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceUse {
    Value(ApiValue),
    /// Text whose object has a type.
    TypedText,
    /// The type of an object.
    ObjectType,
}

/// Object with a text that is used by its type.
#[derive(Debug)]
struct TypedObject {
    text: PointerStep,
    type_name: PointerStep,
    types: Vec<(String, PartText)>,
}

/// Condition of a place: a member of the same object has this text.
#[derive(Debug)]
struct PlaceCondition<'a> {
    name: &'a str,
    text: &'a str,
}

impl CustomDialect {
    /// Creates a dialect without any place. `is_cumulative`: each event repeats the text of all earlier ones.
    pub fn new(is_cumulative: bool) -> Self {
        Self { is_cumulative, ..Self::default() }
    }

    /// Adds a place of a value. A number, `*` or `-` in the pointer is any element of a list. The place of an end can be
    /// followed by `=TEXT`: then only this text ends the stream. A place of text can be followed by `[NAME=TEXT]`: then it
    /// is used only if the member with this name, in the same object, has this text.
    ///
    /// # Errors
    /// If the pointer is malformed, or its place cannot have this value too.
    pub fn add(&mut self, value: ApiValue, place: &str) -> Result<(), PlaceError> {
        let (pointer, end_text) = match (value, place.split_once('=')) {
            (ApiValue::End, Some((pointer, text))) => (pointer, Some(text)),
            _ => (place, None),
        };
        let (pointer, condition) = split_condition(pointer)?;
        let steps = steps(pointer)?;
        let Some(condition) = condition else {
            self.has_end |= value == ApiValue::End;
            return self.root.find(&steps)?.set(value, end_text);
        };
        let text = match value {
            ApiValue::Text => PartText::Answer,
            ApiValue::Reasoning => PartText::Reasoning,
            _ => return Err(PlaceError::NotConditional),
        };
        let (name, object) = steps.split_last().ok_or(PlaceError::Condition)?;
        self.root.find(object)?.set_typed(name, &condition, text)
    }

    /// Returns the dialect.
    ///
    /// It is never freed: dialects are `static`, and a configuration adds a few nodes to them once per process.
    pub fn leak(self, name: &str) -> &'static Dialect {
        let stream_end = if self.has_end { StreamEnd::Event } else { StreamEnd::Body };
        let finish_event = if self.is_cumulative { finish_cumulative } else { finish_deltas };
        let (name, shape) = (leak_text(name), self.root.leak());
        let dialect = Dialect::json_lines(name, shape, finish_event, stream_end);
        Box::leak(Box::new(dialect.configured(name)))
    }
}

impl Dialect {
    /// Returns this dialect under another name. It is never freed, as [`CustomDialect::leak`] explains.
    pub fn leak_renamed(&self, name: &str) -> &'static Self {
        Box::leak(Box::new(self.configured(leak_text(name))))
    }
}

fn leak_text(text: &str) -> &'static str {
    Box::leak(text.into())
}

/// Splits the condition from a pointer.
fn split_condition(place: &str) -> Result<(&str, Option<PlaceCondition<'_>>), PlaceError> {
    let Some(conditional) = place.strip_suffix(']') else { return Ok((place, None)) };
    let (pointer, condition) = conditional.rsplit_once('[').ok_or(PlaceError::Condition)?;
    let (name, text) = condition.split_once('=').ok_or(PlaceError::Condition)?;
    Ok((pointer, Some(PlaceCondition { name, text })))
}

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl PlaceUse {
    fn shape(self) -> JsonShape {
        match self {
            Self::Value(value) => value.shape(),
            Self::TypedText => JsonShape::scalar(Tag::PartText),
            Self::ObjectType => JsonShape::text(Tag::PartType),
        }
    }

    /// Error for another use of this place.
    fn taken(self) -> PlaceError {
        PlaceError::Taken(match self {
            Self::Value(value) => value.key(),
            Self::TypedText => "text with a condition",
            Self::ObjectType => "a condition",
        })
    }
}

impl PlaceTree {
    /// Returns the place after these steps, which is added if new.
    fn find(&mut self, steps: &[PointerStep]) -> Result<&mut Self, PlaceError> {
        let Some((step, rest)) = steps.split_first() else { return Ok(self) };
        if self.value == Some(PlaceUse::Value(ApiValue::ToolArguments)) {
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
                self.value = Some(PlaceUse::Value(value));
                self.end_texts.extend(end_text.map(str::to_owned));
                Ok(())
            }
            // Texts are added to texts. A place that ends the stream with every value needs none.
            Some(PlaceUse::Value(ApiValue::End)) if value == ApiValue::End => {
                match end_text.filter(|_| !self.end_texts.is_empty()) {
                    Some(text) => self.end_texts.push(text.to_owned()),
                    None => self.end_texts.clear(),
                }
                Ok(())
            }
            Some(PlaceUse::Value(known)) if known == value => Ok(()),
            // A finish reason completes the response, so it is an end too.
            Some(PlaceUse::Value(ApiValue::FinishReason))
                if value == ApiValue::End && end_text.is_none() =>
            {
                Ok(())
            }
            Some(PlaceUse::Value(ApiValue::End))
                if value == ApiValue::FinishReason && self.end_texts.is_empty() =>
            {
                self.value = Some(PlaceUse::Value(value));
                Ok(())
            }
            // The type of an event can be its end.
            Some(PlaceUse::ObjectType) if value == ApiValue::End && end_text.is_some() => {
                self.value = Some(PlaceUse::Value(value));
                self.end_texts.extend(end_text.map(str::to_owned));
                Ok(())
            }
            Some(known) => Err(known.taken()),
        }
    }

    /// Uses a text of this object if another member has the text of the condition.
    fn set_typed(
        &mut self,
        name: &PointerStep,
        condition: &PlaceCondition<'_>,
        text: PartText,
    ) -> Result<(), PlaceError> {
        let type_name = step(condition.name)?;
        if *name == PointerStep::Element || type_name == PointerStep::Element || *name == type_name
        {
            return Err(PlaceError::Condition);
        }
        if let Some(known) = self.value {
            return Err(known.taken());
        }
        let rule = (condition.text.to_owned(), text);
        if let Some(typed) = &mut self.typed {
            if (&typed.text, &typed.type_name) != (name, &type_name) {
                return Err(PlaceError::Conditions);
            }
            typed.types.push(rule);
            return Ok(());
        }
        let place = self.find(std::slice::from_ref(name))?;
        match place.value {
            None => place.value = Some(PlaceUse::TypedText),
            Some(known) => return Err(known.taken()),
        }
        let place = self.find(std::slice::from_ref(&type_name))?;
        match place.value {
            None => place.value = Some(PlaceUse::ObjectType),
            Some(PlaceUse::Value(ApiValue::End)) if !place.end_texts.is_empty() => {}
            Some(known) => return Err(known.taken()),
        }
        self.typed = Some(TypedObject { text: name.clone(), type_name, types: vec![rule] });
        Ok(())
    }

    /// Converts the tree to the form that the scanner reads. It is never freed.
    fn leak(self) -> &'static JsonShape {
        let own = match (self.typed, self.value) {
            (Some(typed), _) => {
                let types: &'static PartTypes = Box::leak(Box::new(PartTypes(typed.types)));
                JsonShape::scalar(Tag::TypedPart(types))
            }
            (None, _) if !self.end_texts.is_empty() => {
                let texts: &'static EndTexts = Box::leak(Box::new(EndTexts(self.end_texts)));
                JsonShape::text(Tag::EndText(texts))
            }
            (None, Some(place_use)) => place_use.shape(),
            (None, None) => JsonShape::path(&[]),
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
