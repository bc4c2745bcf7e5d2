//! Output that repeats what earlier events of the response carried, in APIs with choices.
//!
//! | repeat | example |
//! |---|---|
//! | the whole message after its deltas | MiniMax ends a stream with a `chat.completion` |
//! | the name of a tool in each chunk of its arguments | NVIDIA NIM |
//! | all arguments of a call in one more chunk | some gateways |
//!
//! A whole message counts for each kind of output that no delta of its choice had.

use super::event_builder::EventBuilder;
use super::facts::{ChoiceFacts, MAX_CHOICES};

/// Most tool calls that are tracked, of one event and of one response.
pub(super) const MAX_CALLS: usize = 64;
/// Smallest repeat of arguments that is recognised, in Unicode scalar values. The next part of the arguments may by
/// chance be as long as all parts before it: of 184 recorded streams with calls, that happens in one, with 4 characters.
const MIN_REPEAT: u64 = 8;

/// One tool call in an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolCallChunk {
    /// Position of its choice in the event.
    pub choice: usize,
    /// Index of the call in the message.
    pub index: Option<u64>,
    /// The chunk has the name of the tool.
    pub has_name: bool,
    /// Arguments, in Unicode scalar values.
    pub arguments: u64,
}

/// Kinds of output that a choice had.
#[derive(Debug, Clone, Copy, Default)]
struct OutputKinds {
    answer: bool,
    reasoning: bool,
    tool: bool,
    nontext: bool,
}

impl OutputKinds {
    #[inline]
    fn add(&mut self, choice: &ChoiceFacts) {
        self.answer |= choice.answer_chars > 0;
        self.reasoning |= choice.reasoning_chars > 0;
        self.tool |= choice.tool_chars > 0;
        self.nontext |= choice.has_nontext;
    }

    /// Removes these kinds of output from a choice.
    fn remove_from(self, choice: &mut ChoiceFacts) {
        for (chars, is_repeat) in [
            (&mut choice.answer_chars, self.answer),
            (&mut choice.reasoning_chars, self.reasoning),
            (&mut choice.tool_chars, self.tool),
        ] {
            if is_repeat {
                *chars = 0;
            }
        }
        choice.has_nontext &= !self.nontext;
        choice.update_has_answer();
    }
}

/// Output of a tool call so far.
#[derive(Debug)]
struct ToolCallSoFar {
    choice: u32,
    index: u64,
    arguments: u64,
    chunks: u32,
}

/// Output of a response so far, as far as later events may repeat it.
#[derive(Debug, Default)]
pub struct SeenOutput {
    /// Kinds of output that the deltas of choice 0 had.
    first_choice: OutputKinds,
    /// The same of other choices, with their indexes.
    other_choices: Vec<(u32, OutputKinds)>,
    calls: Vec<ToolCallSoFar>,
}

impl SeenOutput {
    /// Removes the repeated output of an event.
    #[inline(always)]
    pub fn drop_repeats(&mut self, event: &mut EventBuilder) {
        if !event.tool_calls.is_empty() {
            self.drop_repeated_calls(event);
        }
        if event.has_whole_message {
            self.drop_repeated_messages(event);
            return;
        }
        for choice in &event.facts.choices {
            self.note(choice);
        }
    }

    #[inline(always)]
    fn note(&mut self, choice: &ChoiceFacts) {
        if choice.index == 0 {
            self.first_choice.add(choice);
        } else {
            self.note_other(choice);
        }
    }

    #[inline(never)]
    fn note_other(&mut self, choice: &ChoiceFacts) {
        let is_full = self.other_choices.len() >= MAX_CHOICES;
        match self.other_choices.iter_mut().find(|(index, _)| *index == choice.index) {
            Some((_, kinds)) => kinds.add(choice),
            None if !is_full => {
                let mut kinds = OutputKinds::default();
                kinds.add(choice);
                self.other_choices.push((choice.index, kinds));
            }
            None => {}
        }
    }

    fn streamed(&self, index: u32) -> OutputKinds {
        let other = self.other_choices.iter().find(|(other, _)| *other == index);
        if index == 0 {
            self.first_choice
        } else {
            other.map(|(_, kinds)| *kinds).unwrap_or_default()
        }
    }

    #[inline(never)]
    fn drop_repeated_messages(&mut self, event: &mut EventBuilder) {
        for choice in event.facts.choices.iter_mut().filter(|choice| choice.is_whole) {
            self.streamed(choice.index).remove_from(choice);
        }
        for choice in event.facts.choices.iter().filter(|choice| !choice.is_whole) {
            self.note(choice);
        }
    }

    fn drop_repeated_calls(&mut self, event: &mut EventBuilder) {
        for chunk in &event.tool_calls {
            let Some(choice) = event.facts.choices.get_mut(chunk.choice) else { continue };
            let is_new = match chunk.index {
                Some(index) => self.add_chunk(choice, index, chunk),
                // Without an index, each call arrives whole.
                None => true,
            };
            choice.has_nontext |= chunk.has_name && is_new;
            choice.update_has_answer();
        }
    }

    /// Adds a chunk of a call. Returns whether the chunk begins the call.
    fn add_chunk(&mut self, choice: &mut ChoiceFacts, index: u64, chunk: &ToolCallChunk) -> bool {
        let is_full = self.calls.len() >= MAX_CALLS;
        match self.calls.iter_mut().find(|call| call.choice == choice.index && call.index == index)
        {
            Some(call) => {
                let is_whole = chunk.arguments == call.arguments && chunk.arguments >= MIN_REPEAT;
                if is_whole && call.chunks >= 2 {
                    choice.tool_chars = choice.tool_chars.saturating_sub(chunk.arguments);
                } else {
                    call.arguments += chunk.arguments;
                    call.chunks += u32::from(chunk.arguments > 0);
                }
                false
            }
            None if !is_full && (chunk.has_name || chunk.arguments > 0) => {
                self.calls.push(ToolCallSoFar {
                    choice: choice.index,
                    index,
                    arguments: chunk.arguments,
                    chunks: u32::from(chunk.arguments > 0),
                });
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
#[path = "repeats_tests.rs"]
mod tests;
