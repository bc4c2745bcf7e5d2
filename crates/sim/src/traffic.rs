//! Open-loop traffic: arrivals come as a Poisson process and never wait for answers, as real users don't.
//!
//! A closed loop would slow down together with a slow server and so hide what it costs to wait (coordinated
//! omission).

mod client;
mod demo;
mod dialogue;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use demo::demo_engines;

use super::rng::SplitMix64;
use client::ClientOutcome;

/// The API that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficApi {
    /// `/v1/chat/completions`
    OpenAi,
    /// `/v1/messages`
    Anthropic,
    /// `/api/chat`
    Ollama,
    /// `/generate_stream`, or `/generate` if not streamed
    Tgi,
}

/// A kind of request. Ranges are inclusive, and drawn from uniformly.
#[derive(Clone, Debug)]
pub struct TrafficClass {
    /// What it stands for.
    pub name: String,
    /// Share of the arrivals, relative to the other classes; 0 for none.
    pub weight: f64,
    /// How to ask.
    pub api: TrafficApi,
    /// Model to ask for.
    pub model: String,
    /// VllmTokens of the prompt; the prompt's text is about four characters for each.
    pub prompt_tokens: (u32, u32),
    /// VllmTokens of the answer, per choice.
    pub output_tokens: (u32, u32),
    /// VllmTokens of reasoning before it, per choice.
    pub reasoning_tokens: (u32, u32),
    /// Whether to ask for a stream.
    pub stream: bool,
    /// Whether to ask for the usage at the end of the stream; OpenAI only, the others always tell it.
    pub include_usage: bool,
    /// VllmTokens in one event, at most.
    pub tokens_per_event: u32,
    /// The client closes the connection so long after it has sent the request, if the answer isn't there.
    pub abort_after: Option<(Duration, Duration)>,
    /// Choices to ask for; OpenAI only.
    pub choices: u32,
}

/// A generator of requests. The same seed gives the same requests at the same gaps.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Where to send them: a server, or the proxy in front of it.
    pub target: SocketAddr,
    /// Mean arrivals per second; 0 for none.
    pub rate_per_s: f64,
    /// What to send.
    pub classes: Vec<TrafficClass>,
    /// Seed of the arrivals and of the sizes.
    pub seed: u64,
    /// Requests in flight, at most; an arrival beyond is skipped, and counted as such.
    pub max_in_flight: usize,
    /// A request that takes longer has failed.
    pub timeout: Duration,
    /// How long to wait, at the end, for those in flight; then they are cut.
    pub drain: Duration,
}

/// What became of the arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficSummary {
    /// Requests sent: the sum of all below but `skipped`.
    pub sent: u64,
    /// 2xx, and complete.
    pub finished: u64,
    /// Closed by this client, as its class wants it.
    pub aborted: u64,
    /// Answered with another status.
    pub rejected: u64,
    /// No connection, broken off, incomplete, or too slow.
    pub failed: u64,
    /// In flight at the end, and cut.
    pub cut: u64,
    /// Not sent, because too many were in flight.
    pub skipped: u64,
}

/// One request with its sizes drawn.
#[derive(Clone, Debug)]
struct PlannedRequest {
    number: u64,
    api: TrafficApi,
    model: String,
    prompt_tokens: u32,
    output_tokens: u32,
    reasoning_tokens: u32,
    stream: bool,
    include_usage: bool,
    tokens_per_event: u32,
    choices: u32,
    abort_after: Option<Duration>,
}

impl Traffic {
    /// Traffic of these classes at this rate: at most 256 requests in flight, 120 s for each, and 30 s to
    /// drain.
    pub fn new(target: SocketAddr, rate_per_s: f64, classes: Vec<TrafficClass>, seed: u64) -> Self {
        Self {
            target,
            rate_per_s,
            classes,
            seed,
            max_in_flight: 256,
            timeout: Duration::from_secs(120),
            drain: Duration::from_secs(30),
        }
    }

    /// Sends until `until` completes, then drains. Request `n`, from 0, has the header `x-request-id: sim-n`.
    ///
    /// Dropping the future cuts everything in flight.
    pub async fn run(&self, until: impl Future<Output = ()>) -> TrafficSummary {
        let mut summary = TrafficSummary::default();
        let mut rng = SplitMix64::new(self.seed);
        let mut flights = JoinSet::new();
        let mut next = self.after(Instant::now(), &mut rng);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                Some(landed) = flights.join_next() => summary.count(landed.ok()),
                () = wait_for(next) => {
                    // From the arrival that was due, not from now: the rate must not suffer from a late timer.
                    next = next.and_then(|due| self.after(due, &mut rng));
                    let Some(class) = self.pick(&mut rng) else {
                        continue;
                    };
                    // Drawn also if it is skipped, so that the ones after it stay the same.
                    let draft = class.draft(summary.sent, &mut rng);
                    if flights.len() >= self.max_in_flight {
                        summary.skipped += 1;
                        continue;
                    }
                    summary.sent += 1;
                    flights.spawn(client::send(self.target, draft, self.timeout));
                }
            }
        }
        let deadline = Instant::now() + self.drain;
        while let Ok(Some(landed)) = timeout_at(deadline, flights.join_next()).await {
            summary.count(landed.ok());
        }
        summary.cut = flights.len() as u64;
        flights.shutdown().await;
        summary
    }

    /// The arrival after the one at `last`.
    fn after(&self, last: Instant, rng: &mut SplitMix64) -> Option<Instant> {
        let gap = Duration::try_from_secs_f64(rng.exponential() / self.rate_per_s).ok()?;
        last.checked_add(gap)
    }

    fn pick(&self, rng: &mut SplitMix64) -> Option<&TrafficClass> {
        let total: f64 = self.classes.iter().map(|class| class.weight.max(0.0)).sum();
        let mut left = rng.unit() * total;
        self.classes.iter().filter(|class| class.weight > 0.0).find(|class| {
            left -= class.weight;
            left < 0.0
        })
    }
}

/// Waits for the arrival; for ever if there is none.
async fn wait_for(arrival: Option<Instant>) {
    match arrival {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl TrafficClass {
    fn draft(&self, number: u64, rng: &mut SplitMix64) -> PlannedRequest {
        PlannedRequest {
            number,
            api: self.api,
            model: self.model.clone(),
            prompt_tokens: rng.between(self.prompt_tokens),
            output_tokens: rng.between(self.output_tokens),
            reasoning_tokens: rng.between(self.reasoning_tokens),
            stream: self.stream,
            include_usage: self.include_usage,
            tokens_per_event: self.tokens_per_event,
            choices: self.choices,
            abort_after: self.abort_after.map(|range| rng.between_durations(range)),
        }
    }
}

impl TrafficSummary {
    /// `None`: the task panicked.
    fn count(&mut self, outcome: Option<ClientOutcome>) {
        match outcome {
            Some(ClientOutcome::Finished) => self.finished += 1,
            Some(ClientOutcome::Aborted) => self.aborted += 1,
            Some(ClientOutcome::Rejected) => self.rejected += 1,
            Some(ClientOutcome::Failed) | None => self.failed += 1,
        }
    }
}
