//! The bodies of responses. Each stamps the truth at the moment it hands a frame to hyper.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Sleep, sleep};

use super::answer::{Answer, Part};
use super::model::{Emission, EmissionKind};
use super::openai::{ChunkWriter, DONE, Usage};
use super::request::{Api, Plan};
use super::ticket::{Carried, Ticket};
use super::truth::End;

/// hyper drops what it has not flushed when a body fails; the pause lets the frames before it go out.
const BREAK_PAUSE: Duration = Duration::from_millis(20);

/// Any body that this server sends.
pub(super) enum SimBody {
    /// An answer that nothing is measured of.
    Fixed(Option<Bytes>),
    Whole(Box<WholeBody>),
    Stream(Box<StreamBody>),
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
pub(super) struct WholeBody {
    rest: Bytes,
    carried: Carried,
    ticket: Ticket,
    break_off: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl WholeBody {
    /// With `break_off`, only the first half is sent.
    pub(super) fn new(bytes: Bytes, carried: Carried, ticket: Ticket, break_off: bool) -> Self {
        Self { rest: bytes, carried, ticket, break_off, pause: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.ticket.finish(End::Broken);
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
        self.ticket.finish(End::Finished);
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
    }
}

/// A stream of server-sent events, one to an HTTP chunk.
pub(super) struct StreamBody {
    emissions: UnboundedReceiver<Emission>,
    plan: Plan,
    answer: Answer,
    writer: ChunkWriter,
    ticket: Ticket,
    /// Tokens not yet in an event, by choice.
    gathered: Vec<Gathered>,
    /// Counts of the events that are made and not yet handed over.
    queued: Carried,
    out: VecDeque<(Bytes, Carried)>,
    role_sent: bool,
    /// Tokens made into events or gathered, of all choices.
    tokens: u32,
    /// How it will end once `out` is empty; no emission counts any more.
    ending: Option<End>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Tokens of one choice that wait to be sent as one event.
#[derive(Debug, Default)]
struct Gathered {
    part: Option<Part>,
    json: String,
    carried: Carried,
}

impl StreamBody {
    pub(super) fn new(
        plan: Plan,
        answer: Answer,
        writer: ChunkWriter,
        ticket: Ticket,
        emissions: UnboundedReceiver<Emission>,
    ) -> Self {
        let choices = plan.job.choices;
        let mut body = Self {
            emissions,
            answer,
            writer,
            ticket,
            gathered: (0..choices).map(|_| Gathered::default()).collect(),
            queued: Carried::default(),
            out: VecDeque::new(),
            role_sent: false,
            tokens: 0,
            ending: None,
            pause: None,
            plan,
        };
        if body.plan.script.role_first {
            body.send_roles();
        }
        body.check_script();
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some((bytes, carried)) = self.out.pop_front() {
                self.ticket.sent(&carried);
                self.queued.tokens -= carried.tokens;
                self.queued.reasoning_tokens -= carried.reasoning_tokens;
                if self.out.is_empty()
                    && let Some(end) = self.ending
                    && end != End::Broken
                {
                    self.ticket.finish(end);
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match self.ending {
                None => {}
                Some(End::Broken) => {
                    let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(BREAK_PAUSE)));
                    ready!(pause.as_mut().poll(cx));
                    self.ticket.finish(End::Broken);
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
            EmissionKind::Started { .. } => {}
            EmissionKind::Token { choice, index } => self.token(choice, index),
            EmissionKind::Finished => self.close(),
        }
    }

    fn token(&mut self, choice: u32, index: u32) {
        self.send_roles();
        let said = self.answer.token(choice, index);
        let whole = self.plan.script.tokens_per_event.unwrap_or(1).max(1);
        if self.gathered(choice).is_some_and(|held| held.part.is_some_and(|part| part != said.part))
        {
            self.send_gathered(choice);
        }
        let Some(held) = self.gathered(choice) else {
            return;
        };
        held.part = Some(said.part);
        held.json.push_str(&said.json);
        held.carried.add(said.part, said.chars);
        if held.carried.tokens >= whole {
            self.send_gathered(choice);
        }
        self.tokens += 1;
        self.check_script();
    }

    fn gathered(&mut self, choice: u32) -> Option<&mut Gathered> {
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
            self.push(ChunkWriter::error("scripted error"));
            self.push_done();
        }
        self.end(if fails { End::Errored } else { End::Broken });
    }

    fn close(&mut self) {
        self.send_roles();
        self.send_all_gathered();
        let choices = self.plan.job.choices;
        for choice in 0..choices {
            let in_last = self.plan.usage.in_finish() && choice + 1 == choices;
            let usage = (in_last || self.plan.continuous_usage).then(|| self.usage());
            let reason = self.plan.finish_reason;
            let chunk = self.writer.finish(choice, reason, usage.as_ref());
            self.push(chunk);
        }
        if self.plan.usage.trails() {
            let chunk = self.writer.usage(&self.usage());
            self.push(chunk);
        }
        self.push_done();
        self.end(End::Finished);
    }

    fn end(&mut self, end: End) {
        self.ending = Some(end);
        self.emissions.close();
    }

    fn send_roles(&mut self) {
        if self.role_sent || self.plan.api != Api::Chat {
            return;
        }
        self.role_sent = true;
        for choice in 0..self.plan.job.choices {
            let usage = self.plan.continuous_usage.then(|| self.usage());
            let chunk = self.writer.role(choice, usage.as_ref());
            self.push(chunk);
        }
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
        self.queued.tokens += carried.tokens;
        self.queued.reasoning_tokens += carried.reasoning_tokens;
        let usage = self.plan.continuous_usage.then(|| self.ticket.usage_with(&self.queued));
        let chunk = self.writer.output(choice, part, &held.json, usage.as_ref());
        // Keeps its memory for the next token.
        held.json.clear();
        self.out.push_back((chunk, carried));
    }

    /// Usage up to the last event that was made.
    fn usage(&self) -> Usage {
        self.ticket.usage_with(&self.queued)
    }

    fn push(&mut self, bytes: Bytes) {
        self.out.push_back((bytes, Carried::default()));
    }

    fn push_done(&mut self) {
        if !self.plan.script.no_done {
            self.push(DONE);
        }
    }
}
