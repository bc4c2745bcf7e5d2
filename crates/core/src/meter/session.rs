//! A session of many responses, over a WebSocket: each response is measured for itself.
//!
//! A session is silent while its user is, for minutes, so the time from the request that opened it to
//! the first output would say nothing of the server. A response's time to its first output begins when
//! it was asked for: when the client's last message before it arrived that asks for one
//! (`response.create`, or `input_audio_buffer.commit`), or, where the server decided by itself, when it
//! said that a response begins. Where neither came, as when audio is transcribed while it arrives, the
//! response has gaps but no time to its first output.
//!
//! Output of two responses at a time is told apart by nothing that is read here. While they overlap no
//! time is told; what they generate is counted.

use super::arrivals::Arrival;
use super::tally::{LiveSample, ResponseTally};
use crate::dialect::realtime::ClientMessageReader;
use crate::dialect::{ChoiceFacts, EventFacts};
use crate::wire::FrameEvent;
use crate::wire::websocket::WebSocketFramer;
use std::time::Duration;

/// What is known of a session beside its tally.
#[derive(Debug)]
pub struct RealtimeSession {
    framer: WebSocketFramer,
    messages: ClientMessageReader,
    /// When the response was asked for that has not begun yet.
    asked: Option<Duration>,
    /// Responses under way.
    running: u32,
    /// More than one is, or was since there was none.
    overlap: bool,
    /// The one under way was announced.
    announced: bool,
    /// It is known when the one under way was asked for.
    timed: bool,
    /// The client has closed the session.
    closed: bool,
}

impl RealtimeSession {
    /// A session; `deflate`: permessage-deflate was agreed on.
    pub fn new(deflate: bool) -> Self {
        Self {
            framer: WebSocketFramer::new(deflate),
            messages: ClientMessageReader::default(),
            asked: None,
            running: 0,
            overlap: false,
            announced: false,
            timed: false,
            closed: false,
        }
    }

    /// Whether a response is under way.
    pub fn is_running(&self) -> bool {
        self.running > 0
    }

    /// Bytes of the client's arrived; gives whether it has closed the session.
    pub fn client(&mut self, at: Duration, bytes: &[u8]) -> bool {
        let Self { framer, messages, asked, running, .. } = self;
        let mut closed = false;
        framer.push(bytes, &mut |piece| match piece {
            FrameEvent::Data(data) => messages.push(data),
            FrameEvent::ErrorField => {}
            FrameEvent::End { name } => {
                // Servers refuse to begin another meanwhile.
                if messages.finish_message() && name == b"text" && *running == 0 {
                    *asked = Some(at);
                }
                closed |= name == b"close";
            }
            FrameEvent::Broken => {
                messages.finish_message();
            }
        });
        self.closed |= closed;
        closed
    }

    /// An event of the server's arrived.
    pub fn event(
        &mut self,
        arrival: Arrival,
        facts: &EventFacts,
        tally: &mut ResponseTally,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        let is_output = facts.choices.iter().any(ChoiceFacts::has_output);
        if facts.response_started || is_output && self.running == 0 {
            self.begin(arrival, facts.response_started, sink);
        }
        // Other errors answer the client's other messages, and the session goes on.
        let ends_unannounced = facts.error && self.running > 0 && !self.announced;
        let failed = facts.error && (facts.done || self.asked.is_some()) || ends_unannounced;
        let had_failed = tally.has_error;
        let (overlap, timed) = (self.overlap, self.timed);
        let told = &mut |sample: LiveSample<'_>| match sample {
            LiveSample::FirstOutput(_) | LiveSample::FirstAnswer(_) if overlap || !timed => {}
            LiveSample::ChunkGap(_) | LiveSample::TokenGap { .. } if overlap => {}
            sample => sink(sample),
        };
        tally.event(arrival, facts, told);
        // It was a response that ended, and not the session.
        (tally.done, tally.has_error) = (self.closed, had_failed || failed);
        if facts.error || facts.done && self.running == 0 {
            self.asked = None;
        }
        if facts.done || ends_unannounced {
            self.running = self.running.saturating_sub(1);
            if self.running == 0 {
                tally.turn(told);
                self.overlap = false;
            }
        }
    }

    fn begin(&mut self, arrival: Arrival, announced: bool, sink: &mut impl FnMut(LiveSample<'_>)) {
        self.running += 1;
        let asked = self.asked.take().or(announced.then_some(arrival.at));
        if self.running > 1 {
            self.overlap = true;
            return;
        }
        (self.announced, self.timed) = (announced, asked.is_some());
        if let Some(asked) = asked {
            sink(LiveSample::ResponseRequested(asked));
        }
    }

    /// The session has ended, maybe within a response.
    pub fn end(&mut self, tally: &mut ResponseTally, sink: &mut impl FnMut(LiveSample<'_>)) {
        let overlap = self.overlap;
        tally.turn(&mut |sample: LiveSample<'_>| match sample {
            LiveSample::TokenGap { .. } if overlap => {}
            sample => sink(sample),
        });
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
