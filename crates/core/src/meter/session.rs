//! WebSocket session with many responses (OpenAI's Realtime and Responses APIs). Each response is measured separately.
//!
//! Example: the client sends `response.create` at 60.0 s, and the first audio arrives at 60.2 s. The TTFT of this response
//! is 0.2 s. The time since the start of the session does not count: it depends on the user, who may be silent for
//! minutes.
//!
//! | start of a response, for its TTFT | condition |
//! |---|---|
//! | the client's last `response.create`, or `input_audio_buffer.commit`, before the response | the client requested it |
//! | the server's event that begins the response (`response.created`) | the server started it by itself |
//! | none: the response has gaps but no TTFT | neither arrived, as when audio is transcribed while it arrives |
//!
//! A session of the Responses API works on the client's requests in their order, so each response starts at its own
//! `response.create`, however many wait.
//!
//! The events of two responses that overlap cannot be separated. While they overlap, no time is recorded; tokens and
//! characters are counted. The same holds for a translation session, which has no responses.

use super::arrivals::Arrival;
use super::tally::{LiveSample, ResponseTally};
use crate::dialect::realtime::ClientMessageReader;
use crate::dialect::{ChoiceFacts, EventFacts, SessionKind};
use crate::wire::FrameEvent;
use crate::wire::websocket::WebSocketFramer;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Most requests of one session that are remembered until their responses begin. Later ones have no start.
const MAX_REQUESTS: usize = 64;

/// State of a session, in addition to its tally.
#[derive(Debug)]
pub struct RealtimeSession {
    kind: SessionKind,
    framer: WebSocketFramer,
    messages: ClientMessageReader,
    /// Arrivals of the messages that requested responses that have not begun yet, the oldest first. At most one, unless
    /// the session is a [sequence](SessionKind::Sequence).
    requests: VecDeque<Duration>,
    /// The client has sent a complete message.
    has_client_message: bool,
    /// Number of responses in progress.
    running: u32,
    /// Several responses are in progress, or were since none was.
    has_overlap: bool,
    /// An event announced the start of the response in progress.
    is_announced: bool,
    /// The start of the response in progress is known.
    has_start: bool,
    /// The client has closed the session.
    is_closed: bool,
}

impl RealtimeSession {
    /// Creates a session. `deflate`: permessage-deflate was negotiated.
    pub fn new(kind: SessionKind, deflate: bool) -> Self {
        Self {
            kind,
            framer: WebSocketFramer::new(deflate),
            messages: ClientMessageReader::default(),
            requests: VecDeque::new(),
            has_client_message: false,
            running: 0,
            has_overlap: false,
            is_announced: false,
            has_start: false,
            is_closed: false,
        }
    }

    /// Whether a response is in progress.
    pub fn is_running(&self) -> bool {
        self.running > 0
    }

    /// Model that the client requested in its messages.
    pub fn requested_model(&self) -> Option<&Arc<str>> {
        self.messages.model()
    }

    /// Whether the client has sent a complete message.
    pub fn has_client_message(&self) -> bool {
        self.has_client_message
    }

    /// Reads bytes from the client. Returns whether they close the session.
    pub fn push_client(&mut self, at: Duration, bytes: &[u8]) -> bool {
        let Self { kind, framer, messages, requests, has_client_message, running, .. } = self;
        let mut is_closed = false;
        framer.push(bytes, &mut |frame| match frame {
            FrameEvent::Data(data) => messages.push(data),
            FrameEvent::ErrorField => {}
            FrameEvent::End { name } => {
                let is_request = messages.finish_message() && name == b"text";
                *has_client_message |= name == b"text";
                match kind {
                    SessionKind::Sequence if is_request && requests.len() < MAX_REQUESTS => {
                        requests.push_back(at);
                    }
                    // Servers reject a request for a response while another one is in progress.
                    SessionKind::Conversation if is_request && *running == 0 => {
                        requests.clear();
                        requests.push_back(at);
                    }
                    _ => {}
                }
                is_closed |= name == b"close";
            }
            FrameEvent::Broken => {
                messages.finish_message();
            }
        });
        self.is_closed |= is_closed;
        is_closed
    }

    /// Records an event from the server.
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
        // Other errors are replies to other messages of the client, and the session continues.
        let is_in_sequence = self.kind == SessionKind::Sequence;
        let ends_by_error =
            facts.error && self.running > 0 && (is_in_sequence || !self.is_announced);
        let has_failed = facts.error && (facts.done || !self.requests.is_empty()) || ends_by_error;
        let had_error = tally.has_error;
        let (has_overlap, has_start) = (self.has_overlap, self.has_start);
        let filtered = &mut |sample: LiveSample<'_>| match sample {
            LiveSample::FirstOutput(_) | LiveSample::FirstAnswer(_)
                if has_overlap || !has_start => {}
            LiveSample::ChunkGap(_) | LiveSample::TokenGap { .. } if has_overlap => {}
            sample => sink(sample),
        };
        tally.event(arrival, facts, filtered);
        // An event that ends a response does not end the session.
        (tally.done, tally.has_error) = (self.is_closed, had_error || has_failed);
        let ends_waiting = (facts.error || facts.done) && self.running == 0;
        if is_in_sequence && ends_waiting {
            self.requests.pop_front();
        } else if !is_in_sequence && (facts.error || ends_waiting) {
            self.requests.clear();
        }
        if facts.done || ends_by_error || self.kind == SessionKind::Continuous {
            self.running = self.running.saturating_sub(1);
            if self.running == 0 {
                tally.end_response(filtered);
                self.has_overlap = false;
            }
        }
    }

    fn begin(
        &mut self,
        arrival: Arrival,
        is_announced: bool,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        self.running += 1;
        let start = self.requests.pop_front().or(is_announced.then_some(arrival.at));
        if self.running > 1 {
            self.has_overlap = true;
            return;
        }
        (self.is_announced, self.has_start) = (is_announced, start.is_some());
        if let Some(start) = start {
            sink(LiveSample::ResponseRequested(start));
        }
    }

    /// Ends the session, possibly within a response.
    pub fn end(&mut self, tally: &mut ResponseTally, sink: &mut impl FnMut(LiveSample<'_>)) {
        let has_overlap = self.has_overlap;
        tally.end_response(&mut |sample: LiveSample<'_>| match sample {
            LiveSample::TokenGap { .. } if has_overlap => {}
            sample => sink(sample),
        });
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
