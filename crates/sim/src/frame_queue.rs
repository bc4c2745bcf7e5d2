//! Queue of the frames of a stream that are not yet sent. Each frame is one HTTP chunk.

use std::collections::VecDeque;

use bytes::Bytes;

use super::content::OutputPart;
use super::truth::ReportedValues;

/// Content of one frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameContent {
    pub(super) tokens: u32,
    pub(super) reasoning_tokens: u32,
    pub(super) answer_chars: u64,
    pub(super) reasoning_chars: u64,
    pub(super) tool_chars: u64,
    /// Whether the tokens are visible as output. Token ids alone are not.
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

    /// The same content, shown as token ids only.
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

/// One frame, with what is recorded when it is sent.
#[derive(Debug)]
pub(super) struct QueuedFrame {
    pub(super) bytes: Bytes,
    pub(super) carried: FrameContent,
    pub(super) reported: Option<ReportedValues>,
}

/// The frames of one response, in order.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    queue: VecDeque<QueuedFrame>,
    /// Output that no frame contains yet, because some APIs hold it back.
    held: FrameContent,
    /// Values that the next frame reports.
    reported: Option<ReportedValues>,
    no_done: bool,
}

impl FrameQueue {
    /// With `no_done`, the terminator is omitted.
    pub(super) fn new(no_done: bool) -> Self {
        Self { no_done, ..Self::default() }
    }

    /// Adds a frame without output.
    pub(super) fn plain(&mut self, bytes: impl Into<Bytes>) {
        self.push(bytes.into(), FrameContent::default());
    }

    /// Adds a frame with all output since the previous one.
    pub(super) fn output(&mut self, bytes: impl Into<Bytes>) {
        let carried = FrameContent { visible: true, ..std::mem::take(&mut self.held) };
        self.push(bytes.into(), carried);
    }

    /// Adds a frame with token ids only.
    pub(super) fn numbers(&mut self, bytes: impl Into<Bytes>) {
        let carried = std::mem::take(&mut self.held).numbers();
        self.push(bytes.into(), carried);
    }

    /// Adds the terminator of the stream.
    pub(super) fn done(&mut self, bytes: impl Into<Bytes>) {
        if !self.no_done {
            self.plain(bytes);
        }
    }

    /// Sets values that the next frame reports.
    pub(super) fn report(&mut self, reported: ReportedValues) {
        self.reported.get_or_insert_default().update(&reported);
    }

    /// Adds output for the next frame.
    pub(super) fn hold(&mut self, carried: &FrameContent) {
        self.held.merge(carried);
    }

    /// Returns the next frame to send.
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
