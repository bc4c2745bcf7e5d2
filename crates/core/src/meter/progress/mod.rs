//! Whether an engine makes progress: for how long output was due while none came, over all requests of an upstream.
//!
//! A health check can pass while the engine behind it hangs. The only sign is then that no output comes although output is
//! due. Output is due:
//!
//! | in flight | due |
//! |---|---|
//! | a stream that has had output and whose client takes it | since the latest output of the engine, plus the part of the time to process the longest prompt for which such prompts hold up the streams: nearly nothing if the engine processes prompts in chunks |
//! | only streams without output | since the first of them was sent, or since the latest output if that is later; plus the time to process the longest prompt, plus the time to load a model where a load is possible |
//! | only responses that are not streamed, or those before waiting streams | as above, plus the longest time that such a response took |
//! | no stream with output but some whose clients pause: the engine may work for them unseen; or nothing | not at all |
//!
//! Nothing is due while a time in this table is unknown: a new process has to learn it first.
//!
//! The time is counted while output is due, and starts again with each output. A client that gives up and tries again
//! does not start it again.
//!
//! The engine is stuck when the time, with what was allowed for the prompt, exceeds twice the usual longest silence of the
//! engine, twice what was allowed, and 10 s. Example: four streams generate, and the engine hangs at 100.0 s. The prompt of
//! a waiting request takes 1.5 s, so output is due from 101.5 s on. The usual longest silence is 2 s. The engine is stuck
//! from 110 s on.

mod usual;

use std::time::Duration;
use usual::{MinuteMaxima, RecentValues};

/// An engine is never called stuck before output was due for this long.
const MIN_LIMIT: Duration = Duration::from_secs(10);
/// An engine is stuck beyond the usual longest time by this factor.
const LIMIT_FACTOR: u32 = 2;
/// Time that is allowed to load a model while fewer than `MIN_LOADS` possible loads were seen. Afterwards it is the longest
/// of them, up to `MAX_LOAD`. A server that keeps its model shows so.
const UNKNOWN_LOAD: Duration = Duration::from_secs(120);
const MAX_LOAD: Duration = Duration::from_secs(900);
const MIN_LOADS: usize = 8;
/// Time without output after which a server may have unloaded its model. Ollama's default is 5 minutes.
const UNLOADED_AFTER: Duration = Duration::from_secs(300);
/// Number of documents, and of loads, whose longest time is the usual one.
const RECENT_DOCUMENTS: usize = 64;
const RECENT_LOADS: usize = 16;
/// With fewer documents, their usual time is unknown.
const MIN_DOCUMENTS: usize = 8;
/// A prompt that takes this time or longer shows whether the engine generates meanwhile.
const LONG_PROMPT: Duration = Duration::from_secs(2);
/// With fewer minutes in which such a prompt waited, prompts may hold up the streams for all of their time.
const MIN_PROMPT_MINUTES: usize = 3;

/// Requests in flight of one upstream. Requests whose operation generates no text are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EngineView {
    /// Latest output of any request, of those that have ended, too.
    pub latest_output: Option<Duration>,
    /// A stream has had output and expects more, and its client accepts it.
    pub is_streaming: bool,
    /// The client of a stream that has had output does not accept more.
    pub is_pausing: bool,
    /// When the oldest stream without output was completely sent.
    pub oldest_waiting: Option<Duration>,
    /// Longest time that a prompt without output takes to be processed. `None` if unknown. Zero if no stream waits.
    pub prefill: Option<Duration>,
    /// A stream without output is for another model than the latest output.
    pub is_other_model: bool,
    /// When the oldest request for a response that is not streamed was completely sent.
    pub oldest_document: Option<Duration>,
}

/// When the next output of an engine is expected.
#[derive(Debug, Clone, Copy)]
struct NextOutput {
    /// Since when the engine works on it.
    since: Duration,
    /// Time that it can take: for a prompt, for a response that is not streamed, or to load a model.
    allowed: Duration,
}

/// Progress of one engine. Has a fixed size, below 8 KiB.
#[derive(Debug, Default)]
pub struct EngineProgress {
    /// When the engine was observed last, and its latest output and what was expected then.
    observed: Duration,
    latest_output: Option<Duration>,
    next: Option<NextOutput>,
    /// Time for which output was due since the latest output.
    due_time: Duration,
    is_due: bool,
    /// Since when a stream has expected output, and since when a model may be loaded.
    streaming_since: Option<Duration>,
    loading_since: Option<Duration>,
    /// Times between outputs, and the part of the time of long prompts for which streams had no output, in per mille.
    silences: MinuteMaxima<Duration>,
    prompt_parts: MinuteMaxima<u32>,
    /// Time of the longest prompt at the latest observation, if streams expected output.
    streaming_prefill: Option<Duration>,
    documents: RecentValues<Duration, RECENT_DOCUMENTS>,
    loads: RecentValues<Duration, RECENT_LOADS>,
}

impl EngineProgress {
    /// Records the state of the engine. Call it several times a second.
    pub fn observe(&mut self, now: Duration, view: &EngineView) {
        if let Some(at) = view.latest_output.filter(|at| self.latest_output < Some(*at)) {
            self.on_output(now, at);
        }
        self.streaming_since = view.is_streaming.then(|| self.streaming_since.unwrap_or(now));
        self.next = self.next_output(view);
        self.streaming_prefill = view.prefill.filter(|_| view.is_streaming);
        let due = self.next.map(|next| next.since + next.allowed).filter(|due| *due < now);
        self.is_due = due.is_some();
        if let Some(due) = due {
            self.due_time += now.saturating_sub(due.max(self.observed));
        }
        self.observed = self.observed.max(now);
    }

    /// Records the time that a response without a stream took, from the request completely sent to its end.
    pub fn on_document(&mut self, time: Duration) {
        self.documents.push(time);
    }

    /// Time for which output was due and none came. Zero if none is due.
    pub fn silence(&self) -> Duration {
        if self.is_due { self.due_time } else { Duration::ZERO }
    }

    /// Longest silence that is usual, with the time that prompts take.
    pub fn usual_silence(&self) -> Duration {
        self.silences.usual()
    }

    /// [`silence`](Self::silence) beyond which the engine is stuck.
    pub fn limit(&self) -> Duration {
        let allowed = self.next.map(|next| next.allowed).unwrap_or_default();
        let usual = self.usual_silence().max(allowed);
        MIN_LIMIT.max(LIMIT_FACTOR * usual).saturating_sub(allowed)
    }

    /// Whether output was due for longer than the limit.
    pub fn is_stuck(&self) -> bool {
        self.silence() > self.limit()
    }

    /// Output came at `at`, between two observations.
    fn on_output(&mut self, now: Duration, at: Duration) {
        if let Some(next) = self.next {
            let overdue =
                if self.due_time.is_zero() { Duration::ZERO } else { self.due_time + next.allowed };
            self.silences.push(now, at.saturating_sub(next.since).max(overdue));
        }
        if let Some((next, prefill)) = self.next.zip(self.streaming_prefill)
            && prefill >= LONG_PROMPT
        {
            let part = at.saturating_sub(next.since).as_secs_f64() / prefill.as_secs_f64();
            self.prompt_parts.push(now, (part.min(1.0) * 1000.0) as u32);
        }
        if let Some(since) = self.loading_since.take() {
            self.loads.push(at.saturating_sub(since));
        }
        (self.due_time, self.latest_output) = (Duration::ZERO, Some(at));
    }

    /// `None` if no output is expected, or if it is unknown when.
    fn next_output(&mut self, view: &EngineView) -> Option<NextOutput> {
        let EngineView { latest_output, oldest_waiting, oldest_document, .. } = *view;
        let open = oldest_waiting.into_iter().chain(oldest_document).min();
        if open.is_none() {
            self.loading_since = None;
        }
        // Before the first output of all, nothing is known.
        let latest = latest_output?;
        if let Some(since) = self.streaming_since {
            let part = self.prompt_parts.largest(MIN_PROMPT_MINUTES).unwrap_or(1000);
            return Some(NextOutput {
                // The clients of all streams may have paused until then.
                since: since.max(latest),
                allowed: view.prefill? * part / 1000,
            });
        }
        // The engine may work for a client that pauses, which nobody can see.
        let open = open.filter(|_| !view.is_pausing)?;
        let since = open.max(latest);
        let mut allowed = Duration::ZERO;
        if oldest_waiting.is_some() {
            allowed += view.prefill?;
            let was_idle = open.saturating_sub(latest) > UNLOADED_AFTER;
            if view.is_other_model || was_idle {
                self.loading_since.get_or_insert(since);
                allowed += self.load_time();
            }
        }
        if oldest_document.is_some() {
            allowed += self.documents.largest(MIN_DOCUMENTS)?;
        }
        Some(NextOutput { since, allowed })
    }

    fn load_time(&self) -> Duration {
        self.loads.largest(MIN_LOADS).map_or(UNKNOWN_LOAD, |longest| longest.min(MAX_LOAD))
    }
}

#[cfg(test)]
mod tests;
