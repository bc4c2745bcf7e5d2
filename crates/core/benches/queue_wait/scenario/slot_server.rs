//! A server with slots. The speed of its requests may depend on the load and on the time.
//!
//! Work is measured in seconds at full speed. Between two events, each request progresses at a constant speed.

use super::traffic::{RequestSource, ScenarioRequest, ServedTruth};
use std::collections::{BTreeSet, VecDeque};
use streamgauge_sim::rng::SplitMix64;

/// Order in which the server takes queued requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOrder {
    FirstInFirstOut,
    LastInFirstOut,
    /// Shortest response first.
    ShortestFirst,
    /// Urgent requests first.
    ByPriority,
    /// Any of them, like a semaphore without a fair queue.
    Random,
}

/// Until when a request holds its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotRelease {
    End,
    FirstOutput,
    /// When all requests of its batch have ended. The next batch begins then.
    BatchEnd,
}

/// Speed of the requests in service.
#[derive(Debug, Clone, Copy)]
pub enum SpeedModel {
    Constant,
    /// Each further request in service makes all of them slower by this part.
    Load(f64),
    /// The time for a piece of work swings by this part around its mean.
    Oscillating {
        part: f64,
        period: f64,
    },
}

/// Something that happens when request number `request` is sent.
#[derive(Debug, Clone, Copy)]
pub struct ServerIncident {
    pub request: usize,
    pub kind: IncidentKind,
}

#[derive(Debug, Clone, Copy)]
pub enum IncidentKind {
    /// The server does nothing for this many seconds.
    Hang(f64),
    /// The number of slots changes.
    Slots(usize),
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct SlotServer {
    /// Number of slots of each replica.
    pub slots: usize,
    /// Replicas behind one address. The n-th request goes to replica n modulo their number.
    pub replicas: usize,
    pub order: TurnOrder,
    pub release: SlotRelease,
    pub speed: SpeedModel,
    /// Fixed time for a prompt, in seconds.
    pub prompt_base: f64,
    /// Additional time for each token of a prompt.
    pub prompt_per_token: f64,
    /// Additional time for each square of 1,000 tokens of a prompt.
    pub prompt_per_square: f64,
    /// Relative standard deviation of the time for a prompt.
    pub jitter: f64,
    /// Time for a token of a response, in seconds.
    pub per_token: f64,
    /// Standard deviation of the logarithm of that time, from request to request (speculative decoding).
    pub per_token_sigma: f64,
    /// Each prompt in work makes responses slower by this part (chunked prefill).
    pub slowed_by_prompts: f64,
    /// Whether the server stops to work for a client that has disconnected.
    pub notices_disconnects: bool,
    pub incident: Option<ServerIncident>,
}

/// A request in service.
struct RequestInService {
    id: usize,
    /// Whether the work left is that for the prompt.
    is_prompt: bool,
    work_left: f64,
    response_work: f64,
    holds_slot: bool,
}

/// State of one replica.
#[derive(Default)]
struct SlotReplica {
    queue: VecDeque<usize>,
    running: Vec<RequestInService>,
    /// Requests of the batch that have ended, if slots are released at its end.
    ended_in_batch: usize,
}

impl SlotReplica {
    fn used(&self) -> usize {
        self.ended_in_batch + self.running.iter().filter(|one| one.holds_slot).count()
    }
}

/// Work below this is done. Seconds.
const NO_WORK: f64 = 1e-9;

impl SlotServer {
    /// Serves all requests, and returns the truth about each.
    pub fn serve(&self, mut traffic: impl RequestSource, seed: u64) -> Vec<ServedTruth> {
        let mut rng = SplitMix64::new(seed);
        let mut truth: Vec<ServedTruth> = Vec::new();
        let mut replicas: Vec<SlotReplica> = Vec::new();
        replicas.resize_with(self.replicas, SlotReplica::default);
        // Instants at which clients disconnect. Positive numbers have the order of their bits.
        let mut disconnects: BTreeSet<(u64, usize)> = BTreeSet::new();
        let (mut now, mut slots, mut hangs_until) = (0.0_f64, self.slots, 0.0_f64);
        loop {
            let is_hanging = now < hangs_until;
            let arrival = traffic.next_at().unwrap_or(f64::INFINITY);
            let disconnect =
                disconnects.first().map_or(f64::INFINITY, |(at, _)| f64::from_bits(*at));
            let mut until = arrival.min(disconnect);
            if is_hanging {
                until = until.min(hangs_until);
            } else {
                until = until.min(self.next_event(&replicas, now));
            }
            if until == f64::INFINITY {
                return truth;
            }
            if !is_hanging {
                for replica in &mut replicas {
                    let speeds = self.speeds(replica, now);
                    for one in &mut replica.running {
                        let speed = if one.is_prompt { speeds.0 } else { speeds.1 };
                        one.work_left -= (until - now) * speed;
                    }
                }
            }
            now = until;
            for replica in &mut replicas {
                self.note_progress(replica, &mut truth, &mut traffic, now);
            }
            while let Some((at, id)) = disconnects.first().copied()
                && f64::from_bits(at) <= now
            {
                disconnects.remove(&(at, id));
                if truth[id].finish.is_some() {
                    continue;
                }
                traffic.client_is_done(now);
                if self.notices_disconnects {
                    let replica = &mut replicas[id % self.replicas];
                    replica.queue.retain(|other| *other != id);
                    replica.running.retain(|one| one.id != id);
                }
            }
            while traffic.next_at().is_some_and(|at| at <= now)
                && let Some(request) = traffic.send()
            {
                let id = truth.len();
                truth.push(ServedTruth::new(request));
                if let Some(at) = request.gives_up_at {
                    disconnects.insert((at.to_bits(), id));
                }
                replicas[id % self.replicas].queue.push_back(id);
                match self.incident.filter(|incident| incident.request == id) {
                    Some(ServerIncident { kind: IncidentKind::Hang(seconds), .. }) => {
                        hangs_until = now + seconds;
                    }
                    Some(ServerIncident { kind: IncidentKind::Slots(count), .. }) => slots = count,
                    None => {}
                }
            }
            if now >= hangs_until {
                for replica in &mut replicas {
                    self.admit(replica, slots, &mut truth, &mut rng, now);
                }
            }
        }
    }

    /// Begins to work on queued requests while there are free slots.
    fn admit(
        &self,
        replica: &mut SlotReplica,
        slots: usize,
        truth: &mut [ServedTruth],
        rng: &mut SplitMix64,
        now: f64,
    ) {
        if self.release == SlotRelease::BatchEnd {
            if !replica.running.is_empty() {
                return;
            }
            replica.ended_in_batch = 0;
        }
        while replica.used() < slots
            && let Some(id) = self.take_next(&mut replica.queue, truth, rng)
        {
            let one = &mut truth[id];
            one.start = Some(now);
            one.was_queued = now > one.request.at;
            let (prompt_work, response_work) = self.work(&one.request, rng);
            replica.running.push(RequestInService {
                id,
                is_prompt: true,
                work_left: prompt_work,
                response_work,
                holds_slot: true,
            });
        }
    }

    fn take_next(
        &self,
        queue: &mut VecDeque<usize>,
        truth: &[ServedTruth],
        rng: &mut SplitMix64,
    ) -> Option<usize> {
        let request = |at: &usize| &truth[queue[*at]].request;
        let all = 0..queue.len();
        let at = match self.order {
            TurnOrder::FirstInFirstOut => 0,
            TurnOrder::LastInFirstOut => queue.len().checked_sub(1)?,
            TurnOrder::ShortestFirst => all.min_by_key(|at| request(at).output)?,
            TurnOrder::ByPriority => all.min_by_key(|at| !request(at).is_urgent)?,
            TurnOrder::Random => (rng.unit() * queue.len() as f64) as usize,
        };
        queue.remove(at)
    }

    /// Seconds of work for the prompt and for the response, at full speed.
    fn work(&self, request: &ScenarioRequest, rng: &mut SplitMix64) -> (f64, f64) {
        let tokens = f64::from(request.uncached);
        let prompt = self.prompt_base
            + self.prompt_per_token * tokens
            + self.prompt_per_square * (tokens / 1000.0).powi(2);
        let jitter = (1.0 + self.jitter * rng.normal()).max(0.3);
        let per_token = self.per_token * (self.per_token_sigma * rng.normal()).exp();
        (prompt * jitter, per_token * f64::from(request.output))
    }

    /// Speed of prompts and of responses.
    fn speeds(&self, replica: &SlotReplica, now: f64) -> (f64, f64) {
        let prompts = replica.running.iter().filter(|one| one.is_prompt).count();
        let slowness = match self.speed {
            SpeedModel::Constant => 1.0,
            SpeedModel::Load(part) => 1.0 + part * replica.running.len().saturating_sub(1) as f64,
            SpeedModel::Oscillating { part, period } => {
                // The middle of the current interval of constant speed.
                let at = (now / period * SPEEDS_IN_PERIOD).floor() + 0.5;
                1.0 + part * (at / SPEEDS_IN_PERIOD * std::f64::consts::TAU).sin()
            }
        };
        (1.0 / slowness, 1.0 / (slowness * (1.0 + self.slowed_by_prompts * prompts as f64)))
    }

    /// Next instant at which a prompt or a response is complete, or the speed changes.
    fn next_event(&self, replicas: &[SlotReplica], now: f64) -> f64 {
        let mut next = f64::INFINITY;
        for replica in replicas {
            let speeds = self.speeds(replica, now);
            for one in &replica.running {
                let speed = if one.is_prompt { speeds.0 } else { speeds.1 };
                next = next.min(now + one.work_left / speed);
            }
            if let SpeedModel::Oscillating { period, .. } = self.speed
                && !replica.running.is_empty()
            {
                let interval = period / SPEEDS_IN_PERIOD;
                let change = ((now / interval).floor() + 1.0) * interval;
                // Rounding must not make an interval without length.
                next = next.min(if change > now { change } else { change + interval });
            }
        }
        next
    }

    /// Notes first outputs and ends at this instant, and releases slots.
    fn note_progress(
        &self,
        replica: &mut SlotReplica,
        truth: &mut [ServedTruth],
        traffic: &mut impl RequestSource,
        now: f64,
    ) {
        let mut ended = 0;
        replica.running.retain_mut(|one| {
            let of = &mut truth[one.id];
            let is_connected = of.request.gives_up_at.is_none_or(|at| now < at);
            if one.is_prompt && one.work_left <= NO_WORK {
                (one.is_prompt, one.work_left) = (false, one.response_work);
                of.first = is_connected.then_some(now);
                one.holds_slot = self.release != SlotRelease::FirstOutput;
            }
            let is_running = one.is_prompt || one.work_left > NO_WORK;
            if !is_running {
                ended += 1;
                if is_connected {
                    of.finish = Some(now);
                    traffic.client_is_done(now);
                }
            }
            is_running
        });
        if self.release == SlotRelease::BatchEnd {
            replica.ended_in_batch += ended;
        }
    }
}

/// Number of intervals with a constant speed, in one period of an oscillation.
const SPEEDS_IN_PERIOD: f64 = 16.0;
