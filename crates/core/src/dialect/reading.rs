//! Reads the events of a response.

use super::draft::Draft;
use super::tag::{Message, Shape, Tag};
use super::{Dialect, Events, Facts};
use crate::wire::json::{ScanError, ScanEvent};
use crate::wire::memo::{Memo, MemoScanner};
use crate::wire::protobuf::ProtobufScanner;
use crate::wire::utf8::ScalarCount;
use std::cell::Cell;

/// Most parts of one response that are told apart.
const MAX_PARTS: usize = 256;

/// What of a stream is remembered from one event to the next, beside the tally.
#[derive(Debug, Default)]
pub struct Memory {
    knows_model: bool,
    /// The dialect that the stream turned out to be in, where its route left that open.
    pub spoken: Option<&'static str>,
    /// Characters that were streamed of each part, by what the dialect tells parts by.
    parts: Vec<(u64, u64)>,
}

impl Memory {
    /// Characters that were streamed of this part so far; of parts beyond the 256th, none.
    pub fn part(&mut self, key: u64) -> Option<&mut u64> {
        let at = match self.parts.iter().position(|(part, _)| *part == key) {
            Some(at) => at,
            None if self.parts.len() < MAX_PARTS => {
                self.parts.push((key, 0));
                self.parts.len() - 1
            }
            None => return None,
        };
        self.parts.get_mut(at).map(|(_, chars)| chars)
    }

    /// Whether `teller`, a kind of event that is not 0, is the one to be heard of this part: where
    /// several kinds tell the same text one after the other, the first one that did. A dialect keeps
    /// either characters of a part or this.
    pub fn hears(&mut self, part: u64, teller: u64) -> bool {
        self.part(part).is_some_and(|heard| {
            if *heard == 0 {
                *heard = teller;
            }
            *heard == teller
        })
    }
}

/// What reads one event at a time. It holds nothing of a stream between two events, so streams hand
/// it on to each other, and it stays in the processor's cache.
#[derive(Debug)]
struct Reader {
    json: MemoScanner<Tag>,
    protobuf: ProtobufScanner<Tag>,
    text: ScalarCount,
    draft: Draft,
    /// Bytes of data, and the first of them: enough to know `[DONE]`.
    len: usize,
    head: [u8; 8],
}

thread_local! {
    /// The reader that was used last, ready for the next event of any stream.
    static SPARE: Cell<Option<Box<Reader>>> = const { Cell::new(None) };
}

impl Reader {
    fn spare(events: Events) -> Box<Self> {
        static NO_SHAPE: Shape = Shape::path(&[]);
        static NO_MESSAGE: Message = Message::path(&[]);
        let new = || Self {
            json: MemoScanner::new(&NO_SHAPE),
            protobuf: ProtobufScanner::new(&NO_MESSAGE),
            text: ScalarCount::default(),
            draft: Draft::default(),
            len: 0,
            head: [0; 8],
        };
        let mut reader = SPARE.take().unwrap_or_else(|| Box::new(new()));
        match events {
            Events::Json(shape) => reader.json.begin(shape),
            Events::Protobuf(message) => reader.protobuf.begin(message),
            Events::Text(shape) => {
                reader.text = ScalarCount::default();
                reader.json.begin(shape);
            }
        }
        reader
    }

    fn data(&mut self, events: Events, memo: &mut Memo<Tag>, bytes: &[u8]) {
        let Self { json, protobuf, text, draft, len, head } = self;
        if let Some(free) = head.get_mut(*len..) {
            free.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        }
        *len = len.saturating_add(bytes.len());
        let sink = &mut |tag, token: ScanEvent<'_>| draft.note(tag, token);
        match events {
            Events::Json(_) => json.push(memo, bytes, sink),
            Events::Protobuf(_) => protobuf.push(bytes, sink),
            Events::Text(_) => {
                text.push(bytes);
                json.push(memo, bytes, sink);
            }
        }
    }

    /// The event is over; whether it was whole.
    fn end(&mut self, events: Events) -> Result<(), ScanError> {
        let Self { json, protobuf, text, draft, .. } = self;
        match events {
            Events::Json(_) => json.end(&mut |tag, token| draft.note(tag, token)),
            Events::Protobuf(_) => protobuf.end(),
            Events::Text(_) => {
                // Whether it is JSON too or not: it is text.
                let _ = json.end(&mut |tag, token| draft.note(tag, token));
                text.end();
                let (chars, valid) = (text.chars(), !text.invalid());
                draft.note(Tag::Piece, ScanEvent::Text { chars, text: b"", valid });
                Ok(())
            }
        }
    }
}

/// Whether the event is a message of gRPC's that is compressed, which is not undone.
fn is_compressed(events: Events, name: &[u8]) -> bool {
    matches!(events, Events::Protobuf(_)) && name == b"compressed"
}

/// The reader of the current event.
fn at_hand<'a>(
    reader: &'a mut Option<Box<Reader>>,
    dialect: &Dialect,
    memory: &Memory,
) -> &'a mut Reader {
    reader.get_or_insert_with(|| {
        let mut reader = Reader::spare(dialect.events);
        reader.draft.knows_model = memory.knows_model;
        reader
    })
}

/// The events of one response, read one after the other.
#[derive(Debug)]
pub struct Reading {
    dialect: &'static Dialect,
    memo: Memo<Tag>,
    memory: Memory,
    /// While an event is being read.
    reader: Option<Box<Reader>>,
}

impl Reading {
    /// Of a response in this dialect.
    pub fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, memo: Memo::default(), memory: Memory::default(), reader: None }
    }

    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// The name of the dialect, the one that the response turned out to be in where its route leaves
    /// that open.
    pub fn name(&self) -> &'static str {
        self.memory.spoken.unwrap_or(self.dialect.name)
    }

    /// Reads the next part of the current event's data.
    pub fn data(&mut self, bytes: &[u8]) {
        let Self { dialect, memo, memory, reader } = self;
        at_hand(reader, dialect, memory).data(dialect.events, memo, bytes);
    }

    /// The event says outside of its data that it is an error.
    pub fn error_field(&mut self) {
        let Self { dialect, memory, reader, .. } = self;
        at_hand(reader, dialect, memory).draft.facts.error = true;
    }

    /// The event is complete. `name` is its `event` field.
    pub fn end(&mut self, name: &[u8]) -> &Facts {
        let Self { dialect, memory, reader, .. } = self;
        let reader = at_hand(reader, dialect, memory);
        let end = reader.end(dialect.events);
        let Reader { draft, len, head, .. } = reader;
        if head.get(..*len).unwrap_or_default().trim_ascii() == b"[DONE]" {
            draft.clear();
            draft.facts.done = true;
        } else {
            draft.facts.error |= name == b"error";
            match end {
                Err(why) if *len > 0 => draft.skip(why),
                Ok(()) if is_compressed(dialect.events, name) => draft.unreadable(),
                // A message without data may say enough by its name.
                _ => (dialect.conclude)(draft, memory, name),
            }
        }
        memory.knows_model |= draft.facts.model.is_some();
        &draft.facts
    }

    /// Forgets the last event, or what was read of it.
    pub fn next(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            reader.draft.clear();
            reader.len = 0;
            SPARE.set(Some(reader));
        }
    }
}
