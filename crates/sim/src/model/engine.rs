//! The engine: an agenda with one entry per running job, a queue, and the state of the model load.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::{Emission, EmissionKind, EngineSpec, Job, JobId, JobRejected};
use crate::rng::SplitMix64;

/// One engine on virtual time. The [module docs](super) have the formulas.
///
/// The caller supplies the time: call [`advance`](Self::advance) to `now` before [`submit`](Self::submit) or
/// [`cancel`](Self::cancel) at `now`. Time never goes back: an earlier `now` counts as the latest one so far.
#[derive(Debug)]
pub struct SimEngine {
    spec: EngineSpec,
    now: Duration,
    load: ModelLoad,
    /// When the model will be unloaded, while it is loaded and idle.
    unload_at: Option<Duration>,
    running: usize,
    /// Number of them without a token yet.
    prefilling: usize,
    jobs: HashMap<JobId, RunningJob>,
    waiting: VecDeque<JobId>,
    /// The next event of each running job. The serial number orders events at the same instant by their scheduling.
    /// Entries of cancelled jobs stay until they reach the top.
    agenda: BinaryHeap<Reverse<(Duration, u64, JobId)>>,
    serial: u64,
    next_job: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelLoad {
    Unloaded,
    Loading { until: Duration },
    Ready,
}

#[derive(Debug)]
struct RunningJob {
    job: Job,
    rng: SplitMix64,
    arrival: Duration,
    load_wait: Duration,
    /// Whether the job holds a slot.
    running: bool,
    /// Whether its start was emitted.
    announced: bool,
    /// Whether its first token is still to come.
    in_prefill: bool,
    /// Number of finished decode steps.
    steps: u32,
}

impl SimEngine {
    /// Creates an engine at time 0, where it starts to load.
    pub fn new(spec: EngineSpec) -> Self {
        let mut engine = Self {
            load: ModelLoad::Unloaded,
            now: Duration::ZERO,
            unload_at: None,
            running: 0,
            prefilling: 0,
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            agenda: BinaryHeap::new(),
            serial: 0,
            next_job: 0,
            spec,
        };
        engine.begin_load();
        engine
    }

    /// Submits a job at `now`. [`advance`](Self::advance) returns its emissions, its start included.
    pub fn submit(&mut self, now: Duration, job: Job) -> Result<JobId, JobRejected> {
        self.now = self.now.max(now);
        if self.load == ModelLoad::Unloaded {
            self.begin_load();
        }
        let load_wait = match self.load {
            ModelLoad::Loading { .. } if self.spec.reject_while_loading => {
                return Err(JobRejected::Loading);
            }
            ModelLoad::Loading { until } => until.saturating_sub(self.now),
            ModelLoad::Unloaded | ModelLoad::Ready => Duration::ZERO,
        };
        let must_wait = self.load != ModelLoad::Ready || self.running >= self.slots();
        if must_wait && self.spec.queue_limit.is_some_and(|limit| self.waiting.len() >= limit) {
            return Err(JobRejected::QueueFull);
        }
        let id = JobId(self.next_job);
        self.next_job += 1;
        let live = RunningJob {
            job,
            rng: SplitMix64::for_item(self.spec.seed, id.0),
            arrival: self.now,
            load_wait,
            running: false,
            announced: false,
            in_prefill: true,
            steps: 0,
        };
        self.jobs.insert(id, live);
        self.waiting.push_back(id);
        self.settle();
        Ok(id)
    }

    /// Cancels a job at `now`, waiting or running. Its slot is free at once. Returns false if the job does not exist.
    pub fn cancel(&mut self, now: Duration, id: JobId) -> bool {
        self.now = self.now.max(now);
        let Some(live) = self.jobs.remove(&id) else {
            return false;
        };
        if live.running {
            self.running -= 1;
            self.prefilling -= usize::from(live.in_prefill);
        } else {
            self.waiting.retain(|waiting| *waiting != id);
        }
        self.settle();
        self.drop_stale();
        true
    }

    /// Returns the instant of the next event, unless a job is submitted or cancelled before.
    pub fn next_event(&self) -> Option<Duration> {
        let agenda = self.agenda.peek().map(|Reverse((at, _, _))| *at);
        [self.ready_at(), agenda, self.unload_at].into_iter().flatten().min()
    }

    /// Advances time to `to`, inclusive, and returns the emissions in order.
    pub fn advance(&mut self, to: Duration, emit: &mut impl FnMut(Emission)) {
        while let Some(at) = self.next_event().filter(|at| *at <= to) {
            self.now = self.now.max(at);
            if self.ready_at() == Some(at) {
                self.load = ModelLoad::Ready;
                self.settle();
            } else if self.agenda.peek().is_some_and(|Reverse((due, _, _))| *due == at) {
                if let Some(Reverse((_, _, id))) = self.agenda.pop() {
                    self.step(at, id, emit);
                }
            } else {
                self.load = ModelLoad::Unloaded;
                self.unload_at = None;
            }
            self.drop_stale();
        }
        self.now = self.now.max(to);
    }

    /// Number of jobs in slots.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Number of jobs that wait for a slot or a load.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the model is loading. An engine that was unloaded when idle is not loading.
    pub fn is_loading(&self) -> bool {
        self.ready_at().is_some()
    }

    fn ready_at(&self) -> Option<Duration> {
        match self.load {
            ModelLoad::Loading { until } => Some(until),
            ModelLoad::Unloaded | ModelLoad::Ready => None,
        }
    }

    fn slots(&self) -> usize {
        self.spec.slots.max(1)
    }

    fn begin_load(&mut self) {
        if self.spec.load_time.is_zero() {
            self.load = ModelLoad::Ready;
        } else {
            let until = self.now + self.spec.load_time;
            self.load = ModelLoad::Loading { until };
        }
        self.settle();
    }

    /// Assigns free slots to waiting jobs, and sets or clears the idle timer.
    fn settle(&mut self) {
        if self.load == ModelLoad::Ready {
            while self.running < self.slots() {
                let Some(id) = self.waiting.pop_front() else {
                    break;
                };
                if let Some(live) = self.jobs.get_mut(&id) {
                    live.running = true;
                    self.running += 1;
                    self.prefilling += 1;
                    self.schedule(self.now, id);
                }
            }
        }
        let idle = self.load == ModelLoad::Ready && self.running == 0 && self.waiting.is_empty();
        self.unload_at = match (idle, self.unload_at) {
            // A running timer continues: cancelling an unknown job must not prolong the idle time.
            (true, Some(at)) => Some(at),
            (true, None) => self.spec.idle_unload.map(|after| self.now + after),
            (false, _) => None,
        };
    }

    fn schedule(&mut self, at: Duration, id: JobId) {
        self.agenda.push(Reverse((at, self.serial, id)));
        self.serial += 1;
    }

    /// Handles the event of one job: its start, or one decode step of all its choices (the first is the prefill's).
    fn step(&mut self, at: Duration, id: JobId, emit: &mut impl FnMut(Emission)) {
        let Some(live) = self.jobs.get_mut(&id) else {
            return;
        };
        if !live.announced {
            live.announced = true;
            let wait = at.saturating_sub(live.arrival);
            emit(Emission {
                job: id,
                at,
                kind: EmissionKind::Started {
                    queue_wait: wait.saturating_sub(live.load_wait),
                    load_wait: live.load_wait,
                },
            });
            let prompt = self.spec.prefill_per_token * live.job.prompt_tokens;
            let prefill = self.spec.prefill_base + prompt - prompt.mul_f64(cached(&self.spec, id));
            let first = at + prefill.mul_f64(factor(&mut live.rng, self.spec.jitter));
            self.schedule(first, id);
            return;
        }
        self.prefilling -= usize::from(std::mem::take(&mut live.in_prefill));
        let total = live.job.reasoning_tokens.saturating_add(live.job.output_tokens);
        if live.steps < total {
            let index = live.steps;
            live.steps += 1;
            for choice in 0..live.job.choices.max(1) {
                let kind = EmissionKind::Token { choice, index };
                emit(Emission { job: id, at, kind });
            }
        }
        if live.steps < total {
            let batch = u32::try_from(self.running).unwrap_or(u32::MAX);
            let prompts = u32::try_from(self.prefilling).unwrap_or(u32::MAX);
            let decode = self.spec.decode_base
                + self.spec.decode_per_running * batch
                + self.spec.decode_per_prefilling * prompts;
            let next = at + decode.mul_f64(factor(&mut live.rng, self.spec.jitter));
            self.schedule(next, id);
        } else {
            self.jobs.remove(&id);
            self.running -= 1;
            emit(Emission { job: id, at, kind: EmissionKind::Finished });
            self.settle();
        }
    }

    /// Removes entries of cancelled jobs from the top, so that [`next_event`](Self::next_event) returns a real event.
    fn drop_stale(&mut self) {
        while let Some(Reverse((_, _, id))) = self.agenda.peek() {
            if self.jobs.contains_key(id) {
                break;
            }
            self.agenda.pop();
        }
    }
}

/// Returns the cached share of a job's prompt.
fn cached(spec: &EngineSpec, id: JobId) -> f64 {
    // A separate random stream, so that the cache does not change the jitter.
    let hit =
        spec.cache_hits > 0.0 && SplitMix64::for_item(!spec.seed, id.0).unit() < spec.cache_hits;
    if hit { spec.cached_share.clamp(0.0, 1.0) } else { 0.0 }
}

/// Returns the jitter factor of one interval.
fn factor(rng: &mut SplitMix64, jitter: f64) -> f64 {
    if jitter == 0.0 {
        return 1.0;
    }
    let factor = 1.0 + jitter * rng.normal();
    if factor.is_finite() { factor.clamp(0.05, 20.0) } else { 1.0 }
}
