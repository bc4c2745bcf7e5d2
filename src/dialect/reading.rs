//! Reads the events of a response.

use super::draft::Draft;
use super::tag::{Shape, Tag};
use super::{Dialect, Facts};
use crate::wire::json::Token;
use crate::wire::memo::{Memo, MemoScanner};
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
    scanner: MemoScanner<Tag>,
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
    fn spare(shape: &'static Shape) -> Box<Self> {
        let new = || Self {
            scanner: MemoScanner::new(shape),
            draft: Draft::default(),
            len: 0,
            head: [0; 8],
        };
        let mut reader = SPARE.take().unwrap_or_else(|| Box::new(new()));
        reader.scanner.begin(shape);
        reader
    }

    fn data(&mut self, memo: &mut Memo<Tag>, bytes: &[u8]) {
        let Self { scanner, draft, len, head } = self;
        if let Some(free) = head.get_mut(*len..) {
            free.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        }
        *len = len.saturating_add(bytes.len());
        scanner.push(memo, bytes, &mut |tag, token: Token<'_>| draft.note(tag, token));
    }
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
        let has_words = self.has_words();
        self.reader();
        if let Some(reader) = &mut self.reader {
            reader.data(&mut self.memo, bytes);
            if has_words {
                // Every character has one byte that continues none.
                let chars = bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
                reader.draft.piece += chars as u64;
            }
        }
    }

    /// Whether the events hold text, and JSON only beside.
    fn has_words(&self) -> bool {
        self.dialect.shape.tag == Tag::Words
    }

    /// The event says outside of its data that it is an error.
    pub fn error_field(&mut self) {
        self.reader().draft.facts.error = true;
    }

    /// The event is complete. `name` is its `event` field.
    pub fn end(&mut self, name: &[u8]) -> &Facts {
        self.reader();
        let has_words = self.has_words();
        let Self { dialect, memory, reader, .. } = self;
        // There is always one here.
        let reader = reader.get_or_insert_with(|| Reader::spare(dialect.shape));
        let Reader { scanner, draft, len, head } = &mut **reader;
        let end = scanner.end(&mut |tag, token| draft.note(tag, token));
        if head.get(..*len).unwrap_or_default().trim_ascii() == b"[DONE]" {
            draft.clear();
            draft.facts.done = true;
        } else {
            draft.facts.error |= name == b"error";
            match end {
                Err(why) if !has_words => draft.skip(why),
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

    fn reader(&mut self) -> &mut Reader {
        let Self { dialect, memory, reader, .. } = self;
        reader.get_or_insert_with(|| {
            let mut reader = Reader::spare(dialect.shape);
            reader.draft.knows_model = memory.knows_model;
            reader
        })
    }
}
