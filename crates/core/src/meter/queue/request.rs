//! Requests as the estimator remembers them, and the slots that they hold.

use super::open::RankAtOutput;
use strum::VariantArray;

/// Time for which a request holds a slot of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum SlotSpan {
    /// Until its first output: the server processes prompts one after the other, and generates side by side.
    Prefill,
    /// Until the end of its response.
    Response,
}

impl SlotSpan {
    /// Value of the label `held`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Response => "response",
        }
    }
}

/// First sign that the turn of a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnSign {
    /// Its first output.
    FirstOutput,
    /// Its end: the response is not streamed.
    End,
}

/// One value for each [`SlotSpan`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PerSpan<T> {
    pub prefill: T,
    pub response: T,
}

impl<T> PerSpan<T> {
    pub fn get(&self, span: SlotSpan) -> &T {
        match span {
            SlotSpan::Prefill => &self.prefill,
            SlotSpan::Response => &self.response,
        }
    }

    pub fn get_mut(&mut self, span: SlotSpan) -> &mut T {
        match span {
            SlotSpan::Prefill => &mut self.prefill,
            SlotSpan::Response => &mut self.response,
        }
    }
}

/// Position of a request in the order in which the server takes requests.
///
/// Requests that are sent within half a millisecond share the position of the first of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrivalPosition {
    /// Instant at which the request was sent completely (`a_j`), in seconds.
    pub sent: f64,
    /// Running number in the order of sending.
    pub number: u64,
    /// Number of earlier requests that still held their slots at `sent` (`N_j`).
    pub earlier_when_sent: PerSpan<usize>,
    /// Number of all releases before `sent`.
    pub releases_before: PerSpan<u64>,
    /// Number of requests that had ended without a response before `sent`.
    pub abandoned_before: u64,
}

/// Handle of a request that is in the queue or in service.
#[derive(Debug, Clone)]
pub struct QueueEntry {
    pub(super) position: ArrivalPosition,
    pub(super) bytes: u64,
    /// Place in the order of sending, also among requests that share a position.
    pub(super) sequence: u64,
    /// Instant of the first output (`t_j`), once it has arrived.
    pub(super) first_output: Option<f64>,
    /// Rank at the first output.
    pub(super) rank: RankAtOutput,
    /// Number of requests that were sent after it and before its first output.
    pub(super) sent_meanwhile: usize,
    /// Number of requests that ended without a response before the first output, since the request was sent.
    pub(super) abandoned: u64,
    /// The turn that the slots of that time explain.
    pub(super) turn: Option<f64>,
}

impl QueueEntry {
    /// The request, which ended at this instant.
    pub(super) fn ended(&self, at: f64) -> ObservedRequest {
        let Self { position, bytes, first_output, abandoned, .. } = *self;
        let ArrivalPosition { sent, number, earlier_when_sent, releases_before, .. } = position;
        ObservedRequest {
            number,
            sent,
            first_output,
            ended: at.max(sent),
            bytes,
            tokens: None,
            earlier_when_sent,
            releases_before,
            earlier_at_output: PerSpan::default(),
            abandoned,
        }
    }
}

/// Facts about a request that the server has responded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedRequest {
    /// Tokens of the prompt that were not cached, as the server counted them.
    pub prompt_tokens: Option<u64>,
    /// Whether the server and its model were ready. A cold request shows nothing about the next one.
    pub is_warm: bool,
}

/// One finished request. Instants are in seconds on the caller's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObservedRequest {
    /// Number of its [`ArrivalPosition`].
    pub number: u64,
    /// Sent completely (`a_j`).
    pub sent: f64,
    /// First output (`t_j`); `None` if the response is not streamed.
    pub first_output: Option<f64>,
    /// Left the server (`f_j`): the response ended, or the client disconnected.
    pub ended: f64,
    /// Size of the request body.
    pub bytes: u64,
    /// Tokens of the prompt that were not cached, if the server counted them.
    pub tokens: Option<u64>,
    /// As in its [`ArrivalPosition`]. Requests with the same position that had output before this one count as earlier.
    pub earlier_when_sent: PerSpan<usize>,
    /// As in its [`ArrivalPosition`].
    pub releases_before: PerSpan<u64>,
    /// Number of earlier requests that still held their slots at the first output, or at the end of a request without
    /// output.
    pub earlier_at_output: PerSpan<usize>,
    /// Number of requests that ended without a response between `sent` and `first_output`.
    pub abandoned: u64,
}

impl ObservedRequest {
    /// Whether no other request was in flight when it was sent.
    pub fn is_lone(&self) -> bool {
        self.earlier_when_sent.response == 0
    }

    /// Instant by which the turn of the request must have come.
    pub fn latest_turn(&self) -> f64 {
        self.first_output.unwrap_or(self.ended)
    }

    pub fn turn_sign(&self) -> TurnSign {
        if self.first_output.is_some() { TurnSign::FirstOutput } else { TurnSign::End }
    }

    /// Size of the prompt, in tokens or in bytes.
    pub fn size(&self, in_tokens: bool) -> Option<f64> {
        let size = if in_tokens { self.tokens } else { Some(self.bytes) };
        size.map(|size| size as f64)
    }
}

/// Whether the server counted the tokens of at least nine in ten requests.
pub(super) fn have_token_counts(tokens: impl Iterator<Item = Option<u64>>) -> bool {
    let (mut counted, mut all) = (0, 0);
    for tokens in tokens {
        all += 1;
        counted += usize::from(tokens.is_some());
    }
    counted * 10 >= all * 9
}
