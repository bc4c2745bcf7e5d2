//! The model of an inference engine: a discrete-event simulation on virtual time.
//!
//! Pure: the caller passes the time as a [`Duration`] since the start; there is no clock, thread or socket. The same
//! spec, seed and calls give the same emissions, to the nanosecond, on every machine.
//!
//! # The model
//!
//! Job `j` arrives at `a_j` with `p_j` prompt tokens and `n_j = reasoning_j + output_j` tokens to generate.
//!
//! 1. **Queue.** First come, first served, into `slots` slots; a job takes one slot for all its choices. With
//!    a model that is loaded, the job starts at
//!    `s_j = max(a_j, the earliest instant at which a slot is free and every earlier job has started)`.
//!    For one slot this is Lindley's recursion `s_j = max(a_j, f_(j-1))`, with `f` the finish.
//!    A job that would have to wait while `queue_limit` jobs are waiting is rejected.
//! 2. **Prefill.** The first token is ready at
//!    `t_j1 = s_j + (prefill_base + prefill_per_token * p_j * (1 - cached_share * H_j)) * J`, with `H_j = 1` for
//!    the share `cache_hits` of the jobs (a cached prefix), sampled from a separate random stream, else 0. No response
//!    reports it. The prefill of one slot does **not** hold up the decoding of others, as it
//!    would without chunked prefill, but a slot in prefill counts as running in 3.
//! 3. **Decode.** `t_jk = t_j(k-1) + (decode_base + decode_per_running * R + decode_per_prefilling * P) * J`,
//!    with `R` the number of taken slots at `t_j(k-1)`, this job's included, and `P` the number of those in
//!    prefill: a step gets slower as the batch grows, and slower still by the chunks of prompts that share it.
//!    Once a step is scheduled it is not changed. All choices of a job make their token `k` at the same instant.
//! 4. **ScriptedFinish.** `f_j = t_jn`; the slot is free at that instant. With `n_j = 0`, at the end of the prefill.
//! 5. **Jitter.** Each `J = 1 + jitter * Z`, with `Z` near normal and within 3.47, and `J` kept in
//!    `[0.05, 20]`; drawn from a stream of numbers of the job's own (seed, job number).
//! 6. **ModelLoad.** The model is loading from 0 to `load_time`. After `idle_unload` without a job in a slot or in
//!    the queue it is unloaded, and the next arrival starts a load of `load_time`. A job that arrives before
//!    the model is ready is held (`load_wait = ready - a_j`), or refused if `reject_while_loading`; a refused
//!    one starts the load all the same.
//!
//! So `s_j - a_j = load_wait + queue_wait`, and without jitter and alone on the engine
//! `TTFT = prefill_base + prefill_per_token * p` and `TPOT = decode_base + decode_per_running`.

mod engine;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use engine::SimEngine;

/// One simulated engine: one model and its slots. The formulas are in the [module docs](self).
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// Model id, as in `/v1/models` and in the `model` field of requests.
    pub name: String,
    /// Number of jobs that run at a time; 0 counts as 1.
    pub slots: usize,
    /// Maximum number of jobs that wait for a slot or a load. Further ones are rejected. `None`: no limit.
    pub queue_limit: Option<usize>,
    /// OutputPart of the prefill that does not depend on the prompt.
    pub prefill_base: Duration,
    /// OutputPart of the prefill for each prompt token.
    pub prefill_per_token: Duration,
    /// OutputPart of a decode step that does not depend on the batch.
    pub decode_base: Duration,
    /// OutputPart of a decode step for each running job.
    pub decode_per_running: Duration,
    /// OutputPart of a decode step for each job in prefill: chunked prefill steals decode time.
    pub decode_per_prefilling: Duration,
    /// Share of jobs with a cached prompt prefix, 0 to 1.
    pub cache_hits: f64,
    /// Share of such a prompt that is cached, 0 to 1.
    pub cached_share: f64,
    /// Relative standard deviation of each prefill and each step; 0 for none.
    pub jitter: f64,
    /// Seed of the jitter and of the texts.
    pub seed: u64,
    /// Time to load the model, at the start and after each unload.
    pub load_time: Duration,
    /// Idle time after which the model is unloaded; `None`: never.
    pub idle_unload: Option<Duration>,
    /// Whether requests are rejected while loading, as by llama.cpp (503), or held, as by Ollama.
    pub reject_while_loading: bool,
}

impl EngineSpec {
    /// A plain engine: 4 slots, no queue limit, prefill 20 ms + 50 us per token, decode 10 ms + 0.5 ms per running job, no
    /// jitter, no cache, no load time.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            slots: 4,
            queue_limit: None,
            prefill_base: Duration::from_millis(20),
            prefill_per_token: Duration::from_micros(50),
            decode_base: Duration::from_millis(10),
            decode_per_running: Duration::from_micros(500),
            decode_per_prefilling: Duration::ZERO,
            cache_hits: 0.0,
            cached_share: 0.0,
            jitter: 0.0,
            seed: 1,
            load_time: Duration::ZERO,
            idle_unload: None,
            reject_while_loading: false,
        }
    }
}

/// Work for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of reasoning generated before the answer, per choice.
    pub reasoning_tokens: u32,
    /// Tokens of the answer, per choice.
    pub output_tokens: u32,
    /// Choices generated in parallel; 0 counts as 1.
    pub choices: u32,
}

/// Number of a job on its engine, in the order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Why a job was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRejected {
    /// `queue_limit` jobs are waiting.
    QueueFull,
    /// The model is loading and the engine rejects jobs meanwhile.
    Loading,
}

/// An event of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The job.
    pub job: JobId,
    /// Instant since the start of the engine.
    pub at: Duration,
    /// Kind of the event.
    pub kind: EmissionKind,
}

/// Kind of an event of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmissionKind {
    /// It took a slot, after these waits; their sum is the time since its arrival.
    Started {
        /// Wait for a slot, with the model loaded.
        queue_wait: Duration,
        /// Wait for the model to load; zero if it was loaded at the arrival.
        load_wait: Duration,
    },
    /// A token is ready.
    Token {
        /// Choice, from 0.
        choice: u32,
        /// Number of the token within its choice, from 0; reasoning comes first.
        index: u32,
    },
    /// All tokens are out and the slot is free.
    Finished,
}

/// Summary of the emissions of one job. Instants are since the start of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobTruth {
    /// Arrival at the engine.
    pub arrival: Duration,
    /// Slot taken.
    pub started: Option<Duration>,
    /// Wait for a slot.
    pub queue_wait: Option<Duration>,
    /// Wait for a load; zero if the job did not wait for one.
    pub load_wait: Option<Duration>,
    /// First token of any choice.
    pub first_token: Option<Duration>,
    /// Last token so far.
    pub last_token: Option<Duration>,
    /// Slot given back after the last token; `None` for a job that was cancelled.
    pub finished: Option<Duration>,
    /// Tokens so far, of all choices.
    pub tokens: u32,
}

impl JobTruth {
    /// A job that has just arrived.
    pub fn arrived(arrival: Duration) -> Self {
        Self {
            arrival,
            started: None,
            queue_wait: None,
            load_wait: None,
            first_token: None,
            last_token: None,
            finished: None,
            tokens: 0,
        }
    }

    /// Takes in one emission of this job.
    pub fn note(&mut self, emission: &Emission) {
        let at = Some(emission.at);
        match emission.kind {
            EmissionKind::Started { queue_wait, load_wait } => {
                self.started = at;
                self.queue_wait = Some(queue_wait);
                self.load_wait = Some(load_wait);
            }
            EmissionKind::Token { .. } => {
                self.first_token = self.first_token.or(at);
                self.last_token = at;
                self.tokens += 1;
            }
            EmissionKind::Finished => self.finished = at,
        }
    }
}
