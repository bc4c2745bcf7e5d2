//! The bodies of responses. Each stamps the truth at the moment it hands a frame to hyper.

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
use super::template::TemplateValues;
use super::truth::{ReportedValues, TruthEnd};

/// hyper drops what it has not flushed when a body fails; the pause lets the frames before it go out.
const BREAK_PAUSE: Duration = Duration::from_millis(20);

/// Any body that this server sends.
pub(super) enum SimBody {
    /// An answer that nothing is measured of.
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

/// The error that makes hyper break the connection off.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "scripted break of the connection")
}

/// The answer to a request that is not streamed.
pub(super) struct DocumentBody {
    rest: Bytes,
    carried: FrameContent,
    reported: ReportedValues,
    ticket: PendingRecord,
    break_off: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl DocumentBody {
    /// With `break_off`, only the first half is sent.
    pub(super) fn new(
        bytes: Bytes,
        carried: FrameContent,
        reported: ReportedValues,
        ticket: PendingRecord,
        break_off: bool,
    ) -> Self {
        Self { rest: bytes, carried, reported, ticket, break_off, pause: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.ticket.finish(TruthEnd::Broken);
            return Poll::Ready(Some(Err(broken())));
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.ticket.sent(&self.carried);
        if self.break_off {
            self.pause = Some(Box::pin(sleep(BREAK_PAUSE)));
            let half = self.rest.split_to(self.rest.len() / 2);
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        self.ticket.told(&self.reported);
        self.ticket.finish(TruthEnd::Finished);
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
    }
}

/// A stream of events, one to an HTTP chunk.
pub(super) struct EventStreamBody {
    emissions: UnboundedReceiver<Emission>,
    plan: ResponsePlan,
    answer: ResponseContent,
    writer: Box<dyn ResponseWriter>,
    ticket: PendingRecord,
    /// VllmTokens not yet in an event, by choice.
    gathered: Vec<PendingTokens>,
    /// All that is in events, handed over or not.
    made: FrameContent,
    frames: FrameQueue,
    opened: bool,
    /// VllmTokens made into events or gathered, of all choices.
    tokens: u32,
    /// How it will end once `frames` is empty; no emission counts any more.
    ending: Option<TruthEnd>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// VllmTokens of one choice that wait to be sent as one event.
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
        ticket: PendingRecord,
        emissions: UnboundedReceiver<Emission>,
    ) -> Self {
        let choices = plan.job.choices;
        let mut body = Self {
            emissions,
            answer,
            writer,
            ticket,
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

    /// Waits until this has happened to the job, or it is over. A client that leaves meanwhile has got no head.
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

    /// The head of the response goes out.
    pub(super) fn head(&mut self) -> (&'static str, Vec<(&'static str, String)>) {
        self.ticket.status(200);
        (self.writer.content_type(), self.writer.headers())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(frame) = self.frames.pop() {
                self.ticket.sent(&frame.carried);
                if let Some(reported) = &frame.reported {
                    self.ticket.told(reported);
                }
                if self.frames.is_empty()
                    && let Some(end) = self.ending
                    && end != TruthEnd::Broken
                {
                    self.ticket.finish(end);
                }
                return Poll::Ready(Some(Ok(Frame::data(frame.bytes))));
            }
            match self.ending {
                None => {}
                Some(TruthEnd::Broken) => {
                    let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(BREAK_PAUSE)));
                    ready!(pause.as_mut().poll(cx));
                    self.ticket.finish(TruthEnd::Broken);
                    return Poll::Ready(Some(Err(broken())));
                }
                Some(end) => {
                    // Only a script that leaves nothing to send gets here with the record still open.
                    self.ticket.finish(end);
                    return Poll::Ready(None);
                }
            }
            match ready!(self.emissions.poll_recv(cx)) {
                Some(emission) => self.absorb(&emission),
                // The engine is gone: the server is being shut down.
                None => return Poll::Ready(Some(Err(broken()))),
            }
        }
    }

    fn absorb(&mut self, emission: &Emission) {
        self.ticket.note(emission);
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
        let said = self.answer.token(choice, index);
        let whole = self.plan.script.tokens_per_event.unwrap_or(1).max(1);
        if self.gathered(choice).is_some_and(|held| held.part.is_some_and(|part| part != said.part))
        {
            self.send_gathered(choice);
        }
        let Some(held) = self.gathered(choice) else {
            return;
        };
        if held.part.is_none() {
            held.first = index;
        }
        held.part = Some(said.part);
        held.json.push_str(&said.json);
        held.carried.add(said.part, said.chars);
        if held.carried.tokens >= whole {
            self.send_gathered(choice);
        }
        self.tokens += 1;
        self.check_script();
    }

    fn gathered(&mut self, choice: u32) -> Option<&mut PendingTokens> {
        self.gathered.get_mut(choice as usize)
    }

    /// Ends the stream if the script says so at this many tokens.
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
        let account = self.ticket.account(&self.made);
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

    /// The account up to the last event that was made.
    fn account(&self) -> TemplateValues {
        self.ticket.account(&self.made)
    }
}
