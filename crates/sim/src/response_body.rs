//! Bodies of responses. Each records the time at which it passes a frame to hyper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Sleep, sleep};

use super::api::{OutputChunk, ResponseWriter};
use super::content::{OutputPart, ResponseContent};
use super::frame_queue::{FrameContent, FrameQueue};
use super::model::{Emission, EmissionKind};
use super::pending_record::PendingRecord;
use super::request::ResponsePlan;
use super::template::ResponseNumbers;
use super::truth::{ReportedValues, TruthEnd};

/// hyper drops unflushed frames when a body fails. This pause lets it send the earlier ones.
const BREAK_PAUSE: Duration = Duration::from_millis(20);

/// Body of a response.
pub(super) enum SimBody {
    /// A body that is not recorded.
    Fixed(Option<Bytes>),
    Whole(Box<DocumentBody>),
    Stream(Box<EventStreamBody>),
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Whole(body) => body.poll(cx),
            Self::Stream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Fixed(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Fixed(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, length)),
            Self::Whole(body) => SizeHint::with_exact(length(&body.rest)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

fn length(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}

/// Error that makes hyper abort the connection.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "scripted break of the connection")
}

/// Body of a response that is not streamed.
pub(super) struct DocumentBody {
    rest: Bytes,
    carried: FrameContent,
    reported: ReportedValues,
    record: PendingRecord,
    break_off: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl DocumentBody {
    /// With `break_off`, only the first half is sent.
    pub(super) fn new(
        bytes: Bytes,
        carried: FrameContent,
        reported: ReportedValues,
        record: PendingRecord,
        break_off: bool,
    ) -> Self {
        Self { rest: bytes, carried, reported, record, break_off, pause: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.record.finish(TruthEnd::Broken);
            return Poll::Ready(Some(Err(broken())));
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.record.sent(&self.carried);
        if self.break_off {
            self.pause = Some(Box::pin(sleep(BREAK_PAUSE)));
            let half = self.rest.split_to(self.rest.len() / 2);
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        self.record.reported(&self.reported);
        self.record.finish(TruthEnd::Finished);
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
    }
}

/// Body of a stream: one event per HTTP chunk.
pub(super) struct EventStreamBody {
    emissions: UnboundedReceiver<Emission>,
    plan: ResponsePlan,
    answer: ResponseContent,
    writer: Box<dyn ResponseWriter>,
    record: PendingRecord,
    /// Tokens not yet in an event, by choice.
    gathered: Vec<PendingTokens>,
    /// Content in events, sent or not.
    made: FrameContent,
    frames: FrameQueue,
    opened: bool,
    /// Number of tokens of all choices, in events or pending.
    tokens: u32,
    /// How the stream ends once `frames` is empty. Further emissions are ignored.
    ending: Option<TruthEnd>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Tokens of one choice that will be sent as one event.
#[derive(Debug, Default)]
struct PendingTokens {
    part: Option<OutputPart>,
    json: String,
    first: u32,
    carried: FrameContent,
}

impl EventStreamBody {
    pub(super) fn new(
        plan: ResponsePlan,
        answer: ResponseContent,
        writer: Box<dyn ResponseWriter>,
        record: PendingRecord,
        emissions: UnboundedReceiver<Emission>,
    ) -> Self {
        let choices = plan.job.choices;
        let mut body = Self {
            emissions,
            answer,
            writer,
            record,
            gathered: (0..choices).map(|_| PendingTokens::default()).collect(),
            made: FrameContent::default(),
            frames: FrameQueue::new(plan.script.no_done),
            opened: false,
            tokens: 0,
            ending: None,
            pause: None,
            plan,
        };
        body.writer.admitted(&mut body.frames);
        if body.plan.script.role_first {
            body.open();
        }
        body.check_script();
        body
    }

    /// Waits for an emission of the job, or its end. A client that disconnects meanwhile gets no headers.
    pub(super) async fn wait_for(&mut self, happened: impl Fn(EmissionKind) -> bool) {
        while self.ending.is_none() {
            let Some(emission) = self.emissions.recv().await else {
                return;
            };
            self.absorb(&emission);
            if happened(emission.kind) {
                return;
            }
        }
    }

    /// Sends the response headers.
    pub(super) fn head(&mut self) -> (&'static str, Vec<(&'static str, String)>) {
        self.record.status(200);
        (self.writer.content_type(), self.writer.headers())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(frame) = self.frames.pop() {
                self.record.sent(&frame.carried);
                if let Some(reported) = &frame.reported {
                    self.record.reported(reported);
                }
                if self.frames.is_empty()
                    && let Some(end) = self.ending
                    && end != TruthEnd::Broken
                {
                    self.record.finish(end);
                }
                return Poll::Ready(Some(Ok(Frame::data(frame.bytes))));
            }
            match self.ending {
                None => {}
                Some(TruthEnd::Broken) => {
                    let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(BREAK_PAUSE)));
                    ready!(pause.as_mut().poll(cx));
                    self.record.finish(TruthEnd::Broken);
                    return Poll::Ready(Some(Err(broken())));
                }
                Some(end) => {
                    // Reached with an open record only if a script omits everything.
                    self.record.finish(end);
                    return Poll::Ready(None);
                }
            }
            match ready!(self.emissions.poll_recv(cx)) {
                Some(emission) => self.absorb(&emission),
                // The engine has ended: the server is shutting down.
                None => return Poll::Ready(Some(Err(broken()))),
            }
        }
    }

    fn absorb(&mut self, emission: &Emission) {
        self.record.note(emission);
        match emission.kind {
            EmissionKind::Started { .. } => {
                let account = self.account();
                self.writer.started(&account, &mut self.frames);
            }
            EmissionKind::Token { choice, index } => self.token(choice, index),
            EmissionKind::Finished => self.close(),
        }
    }

    fn token(&mut self, choice: u32, index: u32) {
        self.open();
        let text_of = self.answer.token(choice, index);
        let whole = self.plan.script.tokens_per_event.unwrap_or(1).max(1);
        if self
            .gathered(choice)
            .is_some_and(|held| held.part.is_some_and(|part| part != text_of.part))
        {
            self.send_gathered(choice);
        }
        let Some(held) = self.gathered(choice) else {
            return;
        };
        if held.part.is_none() {
            held.first = index;
        }
        held.part = Some(text_of.part);
        held.json.push_str(&text_of.json);
        held.carried.add(text_of.part, text_of.chars);
        if held.carried.tokens >= whole {
            self.send_gathered(choice);
        }
        self.tokens += 1;
        self.check_script();
    }

    fn gathered(&mut self, choice: u32) -> Option<&mut PendingTokens> {
        self.gathered.get_mut(choice as usize)
    }

    /// Ends the stream if the script ends it after this number of tokens.
    fn check_script(&mut self) {
        let due = |after: Option<u32>| after.is_some_and(|after| self.tokens >= after);
        let (fails, breaks) =
            (due(self.plan.script.error_after), due(self.plan.script.break_after));
        if !fails && !breaks {
            return;
        }
        self.send_all_gathered();
        if fails {
            self.writer.fail(&mut self.frames);
        }
        self.end(if fails { TruthEnd::Errored } else { TruthEnd::Broken });
    }

    fn close(&mut self) {
        self.open();
        self.send_all_gathered();
        let account = self.account();
        self.writer.finish(&account, &mut self.frames);
        self.end(TruthEnd::Finished);
    }

    fn end(&mut self, end: TruthEnd) {
        self.ending = Some(end);
        self.emissions.close();
    }

    fn open(&mut self) {
        if self.opened {
            return;
        }
        self.opened = true;
        let account = self.account();
        self.writer.opened(&account, &mut self.frames);
    }

    fn send_all_gathered(&mut self) {
        for choice in 0..self.plan.job.choices {
            self.send_gathered(choice);
        }
    }

    fn send_gathered(&mut self, choice: u32) {
        let Some(held) = self.gathered.get_mut(choice as usize) else {
            return;
        };
        let Some(part) = held.part.take() else {
            return;
        };
        let carried = std::mem::take(&mut held.carried);
        self.made.merge(&carried);
        self.frames.hold(&carried);
        let account = self.record.account(&self.made);
        let output = OutputChunk {
            choice,
            part,
            json: &held.json,
            first: held.first,
            tokens: carried.tokens,
        };
        self.writer.output(&output, &account, &mut self.frames);
        // Keeps its memory for the next token.
        held.json.clear();
    }

    /// Returns the values up to the last event.
    fn account(&self) -> ResponseNumbers {
        self.record.account(&self.made)
    }
}
