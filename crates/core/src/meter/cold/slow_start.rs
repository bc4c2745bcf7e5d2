//! Requests that were so slow that their model must have been loaded for them.
//!
//! Only a request that had the server for itself is judged ([`LoneWait`]): a lone request cannot queue, so its wait is the
//! time for its prompt, or a load. It is suspect if its model may have been unloaded: after an idle time, or if another
//! model was used since.
//!
//! | the server | a suspect request waited for a load if |
//! |---|---|
//! | reports the time for the prompt | the rest of its wait is longer than that of a loaded model |
//! | does not | its wait is far above the expectation, and above all [usual](LoneTimes::residuals) ones |
//!
//! Without a report, a long prompt whose cached prefix was evicted looks like a load. A suspect request is not judged if
//! its prompt could have taken the time.

use super::load_times::WarmLoadTimes;
use super::lone_times::{LoneTimes, MIN_SAMPLES, ResponseShape, UsualResiduals};
use super::requests_in_flight::RequestsInFlight;
use super::types::{ColdReason, FirstOutput, ReportedTimes, RequestId};
use crate::meter::bounded::push_bounded;
use std::collections::VecDeque;
use std::time::Duration;

/// A load makes a request take this many times as long as expected,
const MIN_RATIO: f64 = 5.0;
/// and longer by this, in seconds.
const MIN_EXCESS: f64 = 0.5;
/// The end of a response is waited for if it can show a load of at least this, in seconds.
const MIN_LOAD: f64 = 0.25;
/// If too few lone requests show what is usual: a load exceeds the expectation by this many standard deviations of
/// `ln(TTFT)`.
const MIN_SPREADS: f64 = 8.0;
/// A slow request is warm if the server reports that the prompt took at least this part of its wait: the rest may belong to
/// the prompt, too. Beside llama.cpp, what a long prompt needs besides its processing is below a tenth of its time.
const MIN_PREFILL_PART: f64 = 0.8;
/// Longest time for an uncached prompt, in times per output token for each byte. A token has about four bytes, and a
/// server processes at least three tokens of a prompt in the time in which it generates one: it processes them side by
/// side. Published results of llama.cpp's `llama-bench` are 3 to 5 on CPUs, and 16 to 46 on GPUs.
const PREFILL_PER_BYTE: f64 = 1.0 / 12.0;
/// Number of slow requests that are remembered because their prompts could have taken the time.
const MAX_PROMPT_LIKE: usize = 8;
/// Smallest number of them, and smallest ratio of their sizes, that show that the time does not depend on the size.
const MIN_PROMPT_LIKE: usize = 3;
const MIN_SIZE_RATIO: f64 = 2.0;
/// Weight of the newest time per token, if it is longer than the ones before.
const NEWEST_WEIGHT: f64 = 0.1;

/// Wait of a request that had the server for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoneWait {
    /// Why its model may have been unloaded; `None` if it was in use.
    suspect: Option<ColdReason>,
    /// From the request completely sent, and no earlier one in flight, to its first output or first body byte, in seconds.
    /// Without the time that later requests added.
    seconds: f64,
    /// Later requests may have added to the wait, so it is no sample of what is usual.
    has_company: bool,
    /// The request found the server idle.
    found_idle: bool,
    /// Size of the request body.
    bytes: u64,
    shape: ResponseShape,
}

impl LoneWait {
    /// Whether it shows how long a lone request takes.
    fn is_sample(&self) -> bool {
        self.found_idle && !self.has_company
    }
}

/// Judgement of a lone wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum WaitVerdict {
    /// As of a loaded model, or not suspect.
    Warm,
    /// The model was loaded. `after_output`: time between its first output and the first body byte, in seconds.
    Loaded { reason: ColdReason, after_output: f64 },
    /// Far slower than expected, but nothing shows whether the model was loaded.
    Undecided,
}

/// Judges the slow requests of one model.
#[derive(Debug)]
pub(super) struct SlowStartJudge {
    streams: LoneTimes,
    documents: LoneTimes,
    /// Waits for a loaded model, minus the reported time for the prompt.
    unexplained: WarmLoadTimes,
    /// Usual time per output token, in seconds, if nothing slows it down.
    per_token: Option<f64>,
    /// Bytes, and seconds above the expectation, of slow requests whose prompts could have taken the time.
    prompt_like: VecDeque<(f64, f64)>,
    /// The latest slow request, if it could not be judged, and its size.
    undecided: Option<(LoneWait, f64)>,
}

impl Default for SlowStartJudge {
    fn default() -> Self {
        Self {
            streams: LoneTimes::new(ResponseShape::Stream),
            documents: LoneTimes::new(ResponseShape::Document),
            unexplained: WarmLoadTimes::default(),
            per_token: None,
            prompt_like: VecDeque::new(),
            undecided: None,
        }
    }
}

impl SlowStartJudge {
    /// The wait of a request that has its first output, if it had the server for itself. `suspect`: why its model may have
    /// been unloaded.
    pub fn lone_wait(
        &self,
        request: RequestId,
        output: &FirstOutput<'_>,
        suspect: Option<ColdReason>,
        in_flight: &RequestsInFlight,
    ) -> Option<LoneWait> {
        let found_idle = request.idle.is_some();
        if !found_idle && suspect.is_none() {
            return None;
        }
        // Like the baseline: the time for which the client sends its request is not the model's.
        let from = in_flight.alone_since(request.id)?.max(output.sent?);
        let seconds = output.at.checked_sub(from)?.as_secs_f64();
        let shape = if output.is_stream { ResponseShape::Stream } else { ResponseShape::Document };
        let usual = self.lone_times(shape).usual();
        let alone = usual.map_or(0.0, |(usual, _)| usual.seconds(output.bytes as f64));
        let alone = Duration::try_from_secs_f64(alone).unwrap_or_default();
        let added = in_flight.added_by_others(request.id, from, alone).as_secs_f64();
        Some(LoneWait {
            suspect,
            seconds: seconds - added,
            has_company: added > 0.0,
            found_idle,
            bytes: output.bytes,
            shape,
        })
    }

    /// Whether a request that has its first output `seconds` after a port opened again was held until the server was ready.
    pub fn was_held(&self, seconds: f64, output: &FirstOutput<'_>) -> bool {
        let Some(expected) = output.expected else { return false };
        let warm = expected.ttft.as_secs_f64();
        let spread = MIN_RATIO.ln().max(MIN_SPREADS * expected.log_spread);
        let is_usual = || {
            let (usual, UsualResiduals { limit, .. }) = self.streams.usual()?;
            Some(usual.residual(output.bytes as f64, seconds) <= limit)
        };
        expected.samples >= MIN_SAMPLES
            && seconds - warm >= MIN_EXCESS
            && (seconds / warm).ln() > spread
            && is_usual() != Some(true)
    }

    /// Whether only the end of the response can show what the request waited for. `reports_prefill`: the server reports
    /// there how long the prompt took.
    pub fn needs_end(wait: &LoneWait, reports_prefill: bool) -> bool {
        let is_long = wait.suspect.is_some() && wait.seconds >= MIN_LOAD;
        wait.shape == ResponseShape::Document || (reports_prefill && is_long)
    }

    /// Judges a stream when its first output arrives.
    pub fn judge_stream(&mut self, wait: LoneWait) -> WaitVerdict {
        self.judge(wait, wait.bytes as f64)
    }

    /// Judges a response at its end, by its reported times. `is_judged`: as a stream it already was, as far as it could be.
    pub fn judge_end(
        &mut self,
        wait: LoneWait,
        reported: ReportedTimes,
        is_judged: bool,
    ) -> WaitVerdict {
        match (reported.prefill, wait.shape) {
            (Some(prefill), _) => self.judge_by_prefill(wait, prefill, reported),
            (None, ResponseShape::Stream) if is_judged => WaitVerdict::Warm,
            (None, ResponseShape::Stream) => self.judge_stream(wait),
            (None, ResponseShape::Document) => self.judge(wait, document_size(wait, reported)),
        }
    }

    /// Records the times that the end of a response reports.
    pub fn learn(&mut self, reported: ReportedTimes) {
        if let Some(newest) = reported.per_token.filter(|seconds| *seconds > 0.0) {
            let old = self.per_token.unwrap_or(newest);
            self.per_token = Some(newest.min(old + NEWEST_WEIGHT * (newest - old)));
        }
    }

    /// Whether the latest slow request could not be judged, and would not be now.
    pub fn is_suspended(&self) -> bool {
        self.undecided
            .is_some_and(|(wait, size)| self.verdict(&wait, size) == WaitVerdict::Undecided)
    }

    /// The server reports the time for the prompt, so the rest of the wait is known.
    fn judge_by_prefill(
        &mut self,
        wait: LoneWait,
        prefill: f64,
        reported: ReportedTimes,
    ) -> WaitVerdict {
        let after_output = match (wait.shape, reported.decode, self.documents.usual()) {
            (ResponseShape::Stream, ..) => 0.0,
            (_, Some(decode), _) => decode,
            (_, None, usual) => {
                usual.map_or(0.0, |(usual, _)| usual.after_output(document_size(wait, reported)))
            }
        };
        let waited = wait.seconds - after_output;
        let unexplained = waited - prefill;
        let is_load = self.unexplained.is_load(unexplained) && prefill < MIN_PREFILL_PART * waited;
        match wait.suspect.filter(|_| is_load) {
            Some(reason) => WaitVerdict::Loaded { reason, after_output },
            None => {
                self.unexplained.push(unexplained.max(0.0));
                WaitVerdict::Warm
            }
        }
    }

    /// Judges a wait, and remembers it.
    fn judge(&mut self, wait: LoneWait, size: f64) -> WaitVerdict {
        if wait.seconds <= 0.0 {
            return WaitVerdict::Warm;
        }
        let verdict = self.verdict(&wait, size);
        match verdict {
            WaitVerdict::Undecided => self.undecided = Some((wait, size)),
            WaitVerdict::Loaded { .. } => self.undecided = None,
            WaitVerdict::Warm => {}
        }
        if verdict != WaitVerdict::Warm
            && let Some((usual, _)) = self.lone_times(wait.shape).usual()
        {
            let excess = usual.until_output(size, wait.seconds) - usual.seconds(size);
            self.remember_prompt_like(&wait, excess);
        }
        if wait.is_sample() || matches!(verdict, WaitVerdict::Loaded { .. }) {
            let times = match wait.shape {
                ResponseShape::Stream => &mut self.streams,
                ResponseShape::Document => &mut self.documents,
            };
            times.push(size, wait.seconds, wait.suspect.is_some());
        }
        verdict
    }

    fn verdict(&self, wait: &LoneWait, size: f64) -> WaitVerdict {
        let Some(reason) = wait.suspect.filter(|_| wait.seconds >= MIN_EXCESS) else {
            return WaitVerdict::Warm;
        };
        let times = self.lone_times(wait.shape);
        // Without usual times, nothing shows whether this one is slow.
        let Some((usual, UsualResiduals { center, limit })) = times.usual() else {
            return WaitVerdict::Undecided;
        };
        let residual = usual.residual(size, wait.seconds);
        let excess = usual.until_output(size, wait.seconds) - usual.seconds(size) * center.exp();
        if residual - center <= MIN_RATIO.ln() || excess < MIN_EXCESS {
            return WaitVerdict::Warm;
        }
        // A pause can cost a prompt its cached prefix. A request for another model cannot, so if enough requests for the
        // same model as before show no such prompts, this one is none either.
        let keeps_prefix = reason == ColdReason::Swapped && times.has_unsuspected();
        let may_be_prompt = self.is_prompt_like(wait, excess)
            && !keeps_prefix
            && !self.is_independent_of_size(wait, excess);
        if residual > limit && !may_be_prompt {
            WaitVerdict::Loaded { reason, after_output: usual.after_output(size) }
        } else {
            WaitVerdict::Undecided
        }
    }

    fn lone_times(&self, shape: ResponseShape) -> &LoneTimes {
        match shape {
            ResponseShape::Stream => &self.streams,
            ResponseShape::Document => &self.documents,
        }
    }

    fn remember_prompt_like(&mut self, wait: &LoneWait, excess: f64) {
        if self.is_prompt_like(wait, excess) {
            let one = (wait.bytes as f64, excess);
            push_bounded(&mut self.prompt_like, one, MAX_PROMPT_LIKE);
        }
    }

    /// Whether the prompt could have taken this much longer than expected, if it had no cached prefix.
    fn is_prompt_like(&self, wait: &LoneWait, excess: f64) -> bool {
        self.per_token
            .is_some_and(|seconds| excess <= wait.bytes as f64 * seconds * PREFILL_PER_BYTE)
    }

    /// Whether slow requests of different sizes, of which this is the latest, took about the same time, as loads do. Prompts
    /// take at least proportionally longer.
    fn is_independent_of_size(&self, wait: &LoneWait, excess: f64) -> bool {
        let all = || self.prompt_like.iter().copied().chain([(wait.bytes as f64, excess)]);
        let ratio = |of: fn((f64, f64)) -> f64| {
            let (least, most) =
                all().map(of).fold((f64::INFINITY, 0.0f64), |(least, most), one| {
                    (least.min(one), most.max(one))
                });
            most / least
        };
        let sizes = ratio(|one| one.0);
        all().count() >= MIN_PROMPT_LIKE
            && sizes >= MIN_SIZE_RATIO
            && ratio(|one| one.1) <= sizes.sqrt()
    }
}

/// Size of a document, which its time depends on.
fn document_size(wait: LoneWait, reported: ReportedTimes) -> f64 {
    reported.output_tokens.unwrap_or(wait.bytes) as f64
}
