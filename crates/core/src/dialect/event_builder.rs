//! Builds the facts of one event from its tagged values.

use super::custom::{PartText, PartTypes};
use super::engine::{self, Engine};
use super::error_fields::ErrorSigns;
use super::facts::{
    ChoiceFacts, EventFacts, FinishReason, MAX_CHOICES, TokenCounts, UnparsedReason, finish_reason,
    is_unfinished,
};
use super::items::{self, CallInputs, ItemBuilder};
use super::kept_bytes::KeptBytes;
use super::repeats::{MAX_CALLS, ToolCallChunk};
use super::tag::{ApiFormat, ServerStage, Tag, TextField, TokenKind};
use super::text_start::TextStart;
use super::usage_counts;
use crate::wire::{ScanError, ScanEvent};

/// Number of fields that servers put reasoning text in.
pub const REASONING_FIELDS: usize = 5;
/// Slots for [`Tag::Number`].
const NUMBER_SLOTS: usize = 3;
/// Longest event type that is kept, in bytes; real ones have at most about 50.
const MAX_TYPE: usize = 64;
/// Longest data that can be `[DONE]`, with white space.
pub const MAX_DONE: usize = 8;
/// Number of bytes of the event's data that are kept.
const DATA_START: usize = 64;
/// Index of [`Tag::FunctionCall`] among the tool calls of a choice.
const FUNCTION_CALL: u64 = u64::MAX;

/// Output in one `delta`, `message` or event, in Unicode scalar values.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputCounts {
    /// The event has this `delta` or `message`.
    pub is_present: bool,
    /// Answer text.
    pub answer: u64,
    /// Arguments of tool calls.
    pub tool: u64,
    /// There is output without text: a tool's name, audio, token ids.
    pub has_nontext: bool,
    /// There is reasoning without text.
    pub has_reasoning_media: bool,
    /// Reasoning text, by field.
    pub reasoning: [u64; REASONING_FIELDS],
}

impl OutputCounts {
    /// Reasoning counts of one text.
    pub fn of_reasoning(chars: u64) -> [u64; REASONING_FIELDS] {
        let mut reasoning = [0; REASONING_FIELDS];
        reasoning[0] = chars;
        reasoning
    }

    pub fn is_empty(&self) -> bool {
        self.answer == 0
            && self.tool == 0
            && !self.has_nontext
            && !self.has_reasoning_media
            && self.reasoning.iter().all(|chars| *chars == 0)
    }
}

/// Facts of the current choice, so far.
#[derive(Debug, Default)]
pub struct ChoiceBuilder {
    pub index: Option<u64>,
    pub delta: OutputCounts,
    pub message: OutputCounts,
    in_message: bool,
    /// Unicode scalar values of [`Tag::CompletionText`].
    pub completion_text: u64,
    pub token_ids: u64,
    pub finish: Option<FinishReason>,
}

impl ChoiceBuilder {
    /// Counts of the `delta` or `message` that the scanner is in.
    pub fn output(&mut self) -> &mut OutputCounts {
        if self.in_message { &mut self.message } else { &mut self.delta }
    }

    /// Marks the output as a whole message, which may repeat earlier events.
    pub fn set_whole(&mut self) {
        self.message = std::mem::take(&mut self.delta);
        self.message.is_present = true;
    }
}

/// Facts of the current event, so far.
#[derive(Debug, Default)]
pub struct EventBuilder {
    pub facts: EventFacts,
    /// The current choice; outside of any, choice 0.
    pub choice: ChoiceBuilder,
    /// Unicode scalar values of [`Tag::EventText`].
    pub text: u64,
    /// Number of strings that `text` adds up.
    pub text_count: u32,
    /// Unicode scalar values of [`Tag::RepeatedText`].
    pub repeated_text: u64,
    /// Tool calls of the choices.
    pub tool_calls: Vec<ToolCallChunk>,
    /// Position of a choice, and its arguments up to the end of its latest call.
    counted_calls: (usize, u64),
    /// Inputs of the calls in output items.
    pub call_inputs: CallInputs,
    /// Whether there is a [`Tag::ItemName`].
    pub has_item_name: bool,
    /// Whether there is a [`Tag::Identity`].
    pub has_identity: bool,
    /// Whether [`Tag::Modality`] says that text is base64.
    pub has_base64_text: bool,
    /// [`Tag::SpecialToken`].
    pub is_special_token: bool,
    /// Whether [`Tag::SessionType`] says that the session is for transcription.
    pub is_transcription_session: bool,
    pub api_format: Option<ApiFormat>,
    /// Starts of the texts with [`Tag::SoFar`], by field.
    pub text_starts: [TextStart; TextField::COUNT],
    /// Values of [`Tag::Number`].
    pub numbers: [Option<u64>; NUMBER_SLOTS],
    /// A choice of the event had an index.
    pub has_index: bool,
    /// The first bytes of this event's data are kept.
    pub keeps_start: bool,
    /// A choice of the event has a whole message.
    pub has_whole_message: bool,
    /// An event of this stream had the model. Servers repeat it in each event.
    pub has_model: bool,
    tool_call: ToolCallChunk,
    item: ItemBuilder,
    errors: ErrorSigns,
    part_text: u64,
    is_thought: bool,
    is_summary: bool,
    /// There was output without text before the part.
    had_nontext: bool,
    /// Text and type of the parts around the current [`Tag::TypedPart`].
    outer_parts: Vec<(u64, KeptBytes<MAX_TYPE>)>,
    usage: TokenCounts,
    total_tokens: Option<u64>,
    event_type: KeptBytes<MAX_TYPE>,
    /// Type of the current item, from [`Tag::PartType`].
    part_type: KeptBytes<MAX_TYPE>,
    data_start: KeptBytes<DATA_START>,
}

/// Converts a JSON number to a count; `None` if it is negative, fractional or above 2^53.
pub fn parse_count(number: f64) -> Option<u64> {
    // Numbers above 2^53 are not exact as f64. No token count comes near.
    const MAX: f64 = 9_007_199_254_740_992.0;
    let is_count = (0.0..=MAX).contains(&number) && number.fract() == 0.0;
    is_count.then_some(number as u64)
}

impl EventBuilder {
    /// Resets the builder for the next event.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.choice = ChoiceBuilder::default();
        (self.text, self.repeated_text, self.part_text) = (0, 0, 0);
        self.event_type.clear();
        self.part_type.clear();
        self.data_start.clear();
        self.tool_calls.clear();
        self.counted_calls = (0, 0);
        (self.call_inputs, self.errors) = (CallInputs::default(), ErrorSigns::default());
        (self.text_count, self.api_format) = (0, None);
        self.outer_parts.clear();
        self.numbers = [None; NUMBER_SLOTS];
        self.text_starts = Default::default();
        (self.is_thought, self.is_special_token, self.is_transcription_session) =
            (false, false, false);
        (self.has_index, self.has_item_name, self.has_identity) = (false, false, false);
        (self.has_base64_text, self.has_whole_message) = (false, false);
    }

    /// Adds bytes of the event's data.
    #[inline]
    pub fn push_data(&mut self, bytes: &[u8]) {
        if self.keeps_start || bytes.len() <= MAX_DONE {
            self.data_start.push(bytes);
        }
    }

    /// First 64 bytes of the event's data, if [`keeps_start`](Self::keeps_start); else the data if it is short.
    pub fn data_start(&self) -> &[u8] {
        self.data_start.as_bytes()
    }

    /// Type of the event, from [`Tag::EventType`]; empty if it has none.
    pub fn event_type(&self) -> &[u8] {
        self.event_type.as_bytes()
    }

    /// Whether the event has anything that only an event of the dialect has.
    pub fn has_own_facts(&self) -> bool {
        let EventFacts { choices, usage, engine_counts, timings, .. } = &self.facts;
        let EventFacts { detected_engine, response_started, loading, .. } = &self.facts;
        !choices.is_empty()
            || usage.is_some()
            || engine_counts.is_some()
            || timings.is_some()
            || detected_engine.is_some()
            || *response_started
            || *loading
    }

    /// Type of the current item, from [`Tag::PartType`]; empty if it has none.
    pub fn part_type(&self) -> &[u8] {
        self.part_type.as_bytes()
    }

    /// Drops the values of an event that is malformed, and reports it as unparsed. An error stays an error, since
    /// servers send errors as plain text too.
    pub fn set_malformed(&mut self, why: ScanError) {
        let error = self.facts.error;
        self.clear();
        self.facts.error = error;
        if !error {
            let is_too_deep = why == ScanError::TooDeep;
            let reason = if is_too_deep { UnparsedReason::Depth } else { UnparsedReason::Json };
            self.facts.unparsed = Some(reason);
        }
    }

    /// Counts an event that cannot be decoded as output, and reports it as unparsed.
    pub fn set_unreadable(&mut self) {
        self.choice.delta.has_nontext = true;
        self.finish();
        self.facts.unparsed = Some(UnparsedReason::Encoding);
    }

    /// Records a tagged value.
    pub fn record(&mut self, tag: Tag, token: ScanEvent<'_>) {
        match (tag, token) {
            // Nearly every event has these, so they are compared first.
            (Tag::Choice, ScanEvent::Open) => self.choice = ChoiceBuilder::default(),
            (Tag::Choice, ScanEvent::Close) => self.end_choice(),
            (Tag::Delta, ScanEvent::Open) => self.choice.delta.is_present = true,
            (Tag::Delta, ScanEvent::Close) | (Tag::FinishReason, ScanEvent::Null) => {}
            (Tag::Index, ScanEvent::Number(n)) => {
                (self.choice.index, self.has_index) = (parse_count(n), true);
            }
            (Tag::Identity, ScanEvent::Text { chars, text, valid: true }) => {
                self.has_identity |= chars > 0;
                self.errors.has_code |= text == b"error";
            }
            (Tag::Answer, ScanEvent::Text { chars, valid: true, .. }) => {
                self.choice.output().answer += chars;
            }
            _ => self.record_rare(tag, token),
        }
    }

    #[inline(never)]
    fn record_rare(&mut self, tag: Tag, token: ScanEvent<'_>) {
        if let ScanEvent::Text { valid: false, .. } = token {
            self.facts.unparsed = Some(UnparsedReason::Utf8);
        }
        match (tag, token) {
            // Each event of a stream may have these.
            (Tag::Reasoning(_) | Tag::ToolArguments, _) => self.record_output(tag, token),
            (Tag::ToolCall | Tag::FunctionCall, ScanEvent::Open) => {
                self.tool_call = ToolCallChunk::default();
            }
            (Tag::ToolCall | Tag::FunctionCall, ScanEvent::Close) => self.end_call(tag),
            (Tag::CallIndex, ScanEvent::Number(n)) => self.tool_call.index = parse_count(n),
            (Tag::CallName, ScanEvent::Text { chars, .. }) => self.tool_call.has_name |= chars > 0,
            (Tag::Message, ScanEvent::Open) => {
                (self.choice.in_message, self.choice.message.is_present) = (true, true);
            }
            (Tag::Message, ScanEvent::Close) => self.choice.in_message = false,
            (Tag::FinishReason, ScanEvent::Text { text, .. }) if !is_unfinished(text) => {
                self.choice.finish = Some(finish_reason(text));
            }
            // The number of an enum's value.
            (Tag::FinishReason, ScanEvent::Number(n)) => {
                self.choice.finish = parse_count(n).map(|number| number.to_string().into());
            }
            (Tag::CompletionText, ScanEvent::Text { chars, .. }) => {
                self.choice.completion_text = chars;
            }
            (Tag::TokenId, ScanEvent::Number(_)) => self.choice.token_ids += 1,
            (Tag::Part, ScanEvent::Open) => self.begin_part(),
            (Tag::Part, ScanEvent::Close) => self.end_part(),
            (Tag::TypedPart(_), ScanEvent::Open) => {
                let outer =
                    (std::mem::take(&mut self.part_text), std::mem::take(&mut self.part_type));
                self.outer_parts.push(outer);
            }
            (Tag::TypedPart(types), ScanEvent::Close) => self.end_typed_part(types),
            (Tag::PartText, ScanEvent::Text { chars, .. }) => self.part_text += chars,
            (Tag::Thought, ScanEvent::Bool(yes)) => self.is_thought = yes,
            (Tag::Thought, ScanEvent::Text { text, .. }) => {
                self.is_summary = text == b"summary_text";
                self.is_thought =
                    self.is_summary || matches!(text, b"reasoning_text" | b"reasoning");
            }
            (Tag::EventText, ScanEvent::Text { chars, .. } | ScanEvent::Raw { chars }) => {
                self.text += chars;
                self.text_count += 1;
            }
            // Text that looks like JSON, which Cloudflare does not quote.
            (Tag::EventText, ScanEvent::Bool(value)) => self.text += value.to_string().len() as u64,
            (Tag::EventText, ScanEvent::Number(n)) => self.text += n.to_string().len() as u64,
            (Tag::SpecialToken, ScanEvent::Bool(yes)) => self.is_special_token = yes,
            (Tag::Api(format), _) => self.api_format = Some(format),
            (Tag::RepeatedText, ScanEvent::Text { chars, .. }) => self.repeated_text += chars,
            (Tag::Modality, ScanEvent::Text { text, .. }) => {
                self.has_base64_text = !matches!(text, b"" | b"text");
            }
            (Tag::ItemName, ScanEvent::Text { chars, .. }) => self.has_item_name |= chars > 0,
            (Tag::Identity, ScanEvent::Text { chars, .. }) => self.has_identity |= chars > 0,
            (Tag::SessionType, ScanEvent::Text { text, .. }) => {
                self.is_transcription_session = text == b"transcription";
            }
            (Tag::Number(slot), ScanEvent::Number(n)) => {
                if let Some(number) = self.numbers.get_mut(slot) {
                    *number = parse_count(n);
                }
            }
            (Tag::EventType, ScanEvent::Text { text, .. }) => self.event_type.set(text),
            (Tag::PartType, ScanEvent::Text { text, .. }) => self.part_type.set(text),
            (Tag::Model, ScanEvent::Text { text, .. }) => {
                if !text.is_empty() && !self.has_model {
                    self.has_model = true;
                    self.facts.model = Some(String::from_utf8_lossy(text).into_owned());
                }
            }
            (Tag::Done, ScanEvent::Bool(yes)) => self.facts.done |= yes,
            (Tag::End, ScanEvent::Text { chars, .. }) => self.facts.done |= chars > 0,
            (Tag::End, ScanEvent::Open | ScanEvent::Bool(true) | ScanEvent::Number(_)) => {
                self.facts.done = true;
            }
            (Tag::EndText(ends), ScanEvent::Text { text, .. }) => {
                self.facts.done |= ends.contains(text);
                self.part_type.set(text);
            }
            (Tag::Usage, ScanEvent::Open) => {
                self.usage = TokenCounts::default();
                self.total_tokens = None;
            }
            (Tag::Usage, ScanEvent::Close) => self.end_usage(),
            (Tag::Count(TokenKind::Total), ScanEvent::Number(n)) => {
                self.total_tokens = parse_count(n)
            }
            (Tag::Count(kind), ScanEvent::Number(n)) => {
                usage_counts::set(&mut self.usage, kind, parse_count(n));
            }
            (Tag::EngineCount(kind), ScanEvent::Number(n)) => {
                let counts = self.facts.engine_counts.get_or_insert_default();
                usage_counts::set(counts, kind, parse_count(n));
            }
            (Tag::ElementCount(kind), ScanEvent::Number(n)) => {
                let counts = self.facts.engine_counts.get_or_insert_default();
                usage_counts::add(counts, kind, parse_count(n));
            }
            (Tag::Duration(stage, unit), ScanEvent::Number(n)) => {
                self.set_duration(stage, unit.seconds(n));
            }
            // Other servers send the fields of a vendor too, as null.
            (Tag::WrittenBy(_), ScanEvent::Null) => {}
            (Tag::WrittenBy(engine), _) => self.facts.detected_engine = Some(engine),
            (Tag::Fingerprint, ScanEvent::Text { text, .. }) => {
                if let Some(engine) = Engine::from_fingerprint(text) {
                    self.facts.detected_engine = Some(engine);
                }
                self.facts.headers_at_slot =
                    engine::headers_at_slot(text).or(self.facts.headers_at_slot);
            }
            _ if self.errors.record(tag, token) => self.facts.error |= self.errors.is_certain,
            _ => self.record_item(tag, token),
        }
    }

    /// Records output items.
    #[inline(never)]
    fn record_item(&mut self, tag: Tag, token: ScanEvent<'_>) {
        match (tag, token) {
            (Tag::Item, ScanEvent::Open) => {
                self.item = ItemBuilder { before: *self.choice.output(), ..ItemBuilder::default() };
                self.part_type.clear();
            }
            (Tag::Item, ScanEvent::Close) => self.end_item(),
            (Tag::Role, ScanEvent::Text { text, .. }) => {
                self.item.is_input = matches!(text, b"user" | b"system" | b"developer");
            }
            (Tag::CallInput, ScanEvent::Text { chars, .. }) => self.item.text += chars,
            // The empty object or list is a placeholder.
            (Tag::CallInput, ScanEvent::Raw { chars }) if chars > 2 => {
                self.item.structured += chars;
            }
            (Tag::CallResult, ScanEvent::Text { chars, .. }) => self.item.has_result = chars > 0,
            _ => self.record_output(tag, token),
        }
    }

    /// Ends a tool call of a choice.
    #[inline(never)]
    fn end_call(&mut self, tag: Tag) {
        let choice = self.facts.choices.len();
        let total = self.choice.output().tool;
        let (counted_choice, counted) = std::mem::replace(&mut self.counted_calls, (choice, total));
        let before = if counted_choice == choice { counted } else { 0 };
        if self.tool_calls.len() == MAX_CALLS {
            return;
        }
        let ToolCallChunk { index, has_name, .. } = self.tool_call;
        self.tool_calls.push(ToolCallChunk {
            choice,
            index: if tag == Tag::FunctionCall { Some(FUNCTION_CALL) } else { index },
            has_name,
            arguments: total.saturating_sub(before),
        });
    }

    fn record_output(&mut self, tag: Tag, token: ScanEvent<'_>) {
        let tag = match (tag, token) {
            (Tag::SoFar(field), ScanEvent::Text { text, .. }) => {
                if let Some(start) = self.text_starts.get_mut(field as usize) {
                    start.set_if_empty(text);
                }
                field.tag()
            }
            _ => tag,
        };
        let output = self.choice.output();
        match (tag, token) {
            (Tag::Answer, ScanEvent::Text { chars, .. }) => output.answer += chars,
            (Tag::Media | Tag::ToolName, ScanEvent::Text { chars, .. }) => {
                output.has_nontext |= chars > 0;
            }
            // A tensor.
            (Tag::Media, ScanEvent::Open) => output.has_nontext = true,
            (Tag::Media, ScanEvent::Raw { chars }) => output.has_nontext |= chars > 0,
            (Tag::ToolArguments, ScanEvent::Text { chars, .. }) => output.tool += chars,
            // The length of an object without whitespace; the empty object `{}` is no output.
            (Tag::ToolArguments, ScanEvent::Raw { chars }) if chars > 2 => output.tool += chars,
            (Tag::Reasoning(field), ScanEvent::Text { chars, .. }) => {
                if let Some(reasoning) = output.reasoning.get_mut(field) {
                    *reasoning += chars;
                }
            }
            (Tag::ReasoningSummary(field), ScanEvent::Text { chars, .. }) => {
                if let Some(reasoning) = output.reasoning.get_mut(field) {
                    *reasoning += chars;
                }
                self.facts.has_reasoning_summary |= chars > 0;
            }
            (Tag::ArgumentValue, value) => output.tool += items::json_length(value),
            _ => {}
        }
    }

    fn set_duration(&mut self, stage: ServerStage, seconds: Option<f64>) {
        let timings = self.facts.timings.get_or_insert_default();
        let slot = match stage {
            ServerStage::Queue => &mut timings.queue,
            ServerStage::Prefill => &mut timings.prefill,
            ServerStage::Decode => &mut timings.decode,
            ServerStage::Load => &mut timings.load,
            ServerStage::FirstToken => &mut timings.first_token,
            ServerStage::Total => &mut timings.total,
        };
        *slot = seconds.or(*slot);
    }

    fn begin_part(&mut self) {
        (self.part_text, self.is_thought, self.is_summary) = (0, false, false);
        self.had_nontext = std::mem::take(&mut self.choice.output().has_nontext);
    }

    fn end_part(&mut self) {
        let (chars, is_thought, had_nontext) = (self.part_text, self.is_thought, self.had_nontext);
        self.facts.has_reasoning_summary |= self.is_summary && chars > 0;
        let output = self.choice.output();
        if is_thought {
            output.has_reasoning_media |= output.has_nontext;
            output.has_nontext = had_nontext;
            if let Some(reasoning) = output.reasoning.first_mut() {
                *reasoning += chars;
            }
        } else {
            output.has_nontext |= had_nontext;
            output.answer += chars;
        }
    }

    fn end_item(&mut self) {
        if self.item.is_input || !items::is_generated(self.part_type.as_bytes()) {
            *self.choice.output() = self.item.before;
        } else {
            self.call_inputs.add(&self.item, self.part_type.as_bytes());
        }
    }

    fn end_typed_part(&mut self, types: &PartTypes) {
        let text = types.find(self.part_type());
        let chars = self.part_text;
        (self.part_text, self.part_type) = self.outer_parts.pop().unwrap_or_default();
        let output = self.choice.output();
        match text {
            Some(PartText::Answer) => output.answer += chars,
            Some(PartText::Reasoning) => output.reasoning[0] += chars,
            None => {}
        }
    }

    fn end_choice(&mut self) {
        let ChoiceBuilder { index, delta, message, completion_text, token_ids, finish, .. } =
            &mut self.choice;
        // Some servers repeat the whole message beside each delta.
        let is_whole = message.is_present && !delta.is_present;
        let output = if is_whole { message } else { delta };
        let answer_chars = output.answer.max(*completion_text);
        self.has_whole_message |= is_whole;
        match index.unwrap_or(0).try_into() {
            Ok(index) if self.facts.choices.len() < MAX_CHOICES => {
                self.facts.choices.push(ChoiceFacts {
                    index,
                    answer_chars,
                    reasoning_chars: output.reasoning.into_iter().max().unwrap_or(0),
                    tool_chars: output.tool,
                    has_answer: answer_chars > 0 || output.tool > 0 || output.has_nontext,
                    has_nontext: output.has_nontext,
                    has_reasoning_media: output.has_reasoning_media,
                    is_whole,
                    token_ids: *token_ids,
                    finish: finish.take(),
                });
            }
            _ => self.facts.unparsed = Some(UnparsedReason::Choice),
        }
        self.choice = ChoiceBuilder::default();
    }

    /// Ends the event. Values outside of any choice become choice 0, if there are any.
    pub fn finish(&mut self) {
        let ChoiceBuilder { delta, message, completion_text, token_ids, finish, .. } = &self.choice;
        let is_empty = delta.is_empty()
            && message.is_empty()
            && *completion_text == 0
            && *token_ids == 0
            && finish.is_none()
            && !self.has_named_call();
        if !is_empty {
            self.end_choice();
        }
        if self.errors.is_error() {
            self.facts.error |= self.facts.choices.is_empty() && self.facts.usage.is_none();
        }
    }

    /// Whether a tool call outside of any choice has a name.
    fn has_named_call(&self) -> bool {
        let position = self.facts.choices.len();
        !self.tool_calls.is_empty()
            && self.tool_calls.iter().any(|call| call.choice == position && call.has_name)
    }

    /// Numbers the elements of a document by position where none of them has an index.
    pub fn number_choices(&mut self) {
        let choices = &mut self.facts.choices;
        if choices.iter().all(|choice| choice.index == 0) {
            choices.iter_mut().zip(0..).for_each(|(choice, position)| choice.index = position);
        }
    }

    fn end_usage(&mut self) {
        if let Some(usage) = usage_counts::resolve(self.usage, self.total_tokens) {
            self.facts.usage.get_or_insert_default().update(usage);
        }
    }
}
