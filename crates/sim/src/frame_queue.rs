//! The frames of a stream that are made and not yet handed over. Each is one HTTP chunk.

use std::collections::VecDeque;

use bytes::Bytes;

use super::content::OutputPart;
use super::truth::ReportedValues;

/// What one frame carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameContent {
    pub(super) tokens: u32,
    pub(super) reasoning_tokens: u32,
    pub(super) answer_chars: u64,
    pub(super) reasoning_chars: u64,
    pub(super) tool_chars: u64,
    /// Whether the tokens can be seen as output: not if there are only their numbers.
    pub(super) visible: bool,
}

impl FrameContent {
    pub(super) fn add(&mut self, part: OutputPart, chars: u32) {
        self.tokens += 1;
        match part {
            OutputPart::Reasoning => {
                self.reasoning_tokens += 1;
                self.reasoning_chars += u64::from(chars);
            }
            OutputPart::Text => self.answer_chars += u64::from(chars),
            OutputPart::ToolArguments => self.tool_chars += u64::from(chars),
            OutputPart::ToolName => {}
        }
    }

    /// The same with nothing to be seen but the tokens' numbers.
    pub(super) fn numbers(self) -> Self {
        let Self { tokens, reasoning_tokens, .. } = self;
        Self { tokens, reasoning_tokens, ..Self::default() }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.answer_chars += other.answer_chars;
        self.reasoning_chars += other.reasoning_chars;
        self.tool_chars += other.tool_chars;
    }
}

/// One frame, and what is to be noted when it is handed over.
#[derive(Debug)]
pub(super) struct QueuedFrame {
    pub(super) bytes: Bytes,
    pub(super) carried: FrameContent,
    pub(super) reported: Option<ReportedValues>,
}

/// The frames, in order.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    queue: VecDeque<QueuedFrame>,
    /// Of output that no frame has carried yet: some APIs hold it back.
    held: FrameContent,
    /// What the next frame tells.
    reported: Option<ReportedValues>,
    no_done: bool,
}

impl FrameQueue {
    /// With `no_done`, what ends a stream in good order is left out.
    pub(super) fn new(no_done: bool) -> Self {
        Self { no_done, ..Self::default() }
    }

    /// Something that carries no output.
    pub(super) fn plain(&mut self, bytes: impl Into<Bytes>) {
        self.push(bytes.into(), FrameContent::default());
    }

    /// OutputChunk: all of it since the last frame of this kind.
    pub(super) fn output(&mut self, bytes: impl Into<Bytes>) {
        let carried = FrameContent { visible: true, ..std::mem::take(&mut self.held) };
        self.push(bytes.into(), carried);
    }

    /// VllmTokens that show nothing but their numbers.
    pub(super) fn numbers(&mut self, bytes: impl Into<Bytes>) {
        let carried = std::mem::take(&mut self.held).numbers();
        self.push(bytes.into(), carried);
    }

    /// What ends the stream.
    pub(super) fn done(&mut self, bytes: impl Into<Bytes>) {
        if !self.no_done {
            self.plain(bytes);
        }
    }

    /// The next frame tells this.
    pub(super) fn report(&mut self, reported: ReportedValues) {
        self.reported.get_or_insert_default().update(&reported);
    }

    /// OutputChunk that the next frame of output carries.
    pub(super) fn hold(&mut self, carried: &FrameContent) {
        self.held.merge(carried);
    }

    /// The next frame to hand over.
    pub(super) fn pop(&mut self) -> Option<QueuedFrame> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, bytes: Bytes, carried: FrameContent) {
        self.queue.push_back(QueuedFrame { bytes, carried, reported: self.reported.take() });
    }
}
