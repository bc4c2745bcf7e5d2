//! Open-loop traffic: arrivals are a Poisson process and do not wait for responses, as with real users.
//!
//! A closed loop slows down together with the server, which hides waiting times (coordinated omission).

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

/// A class of requests. Ranges are inclusive and sampled uniformly.
#[derive(Clone, Debug)]
pub struct TrafficClass {
    /// Name of the class.
    pub name: String,
    /// Share of the arrivals, relative to the other classes; 0 disables the class.
    pub weight: f64,
    /// API of the client.
    pub api: TrafficApi,
    /// Requested model.
    pub model: String,
    /// Tokens of the prompt, with about four characters each.
    pub prompt_tokens: (u32, u32),
    /// Tokens of the answer, per choice.
    pub output_tokens: (u32, u32),
    /// Tokens of reasoning before the answer, per choice.
    pub reasoning_tokens: (u32, u32),
    /// Whether to request a stream.
    pub stream: bool,
    /// Whether to request usage at the end of the stream. OpenAI only; the others always report it.
    pub include_usage: bool,
    /// Maximum number of tokens in one event.
    pub tokens_per_event: u32,
    /// Time after which the client closes the connection if the response is not complete.
    pub abort_after: Option<(Duration, Duration)>,
    /// Number of choices; OpenAI only.
    pub choices: u32,
}

/// Generator of requests. The same seed gives the same requests at the same intervals.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Address of the server, or of a proxy in front of it.
    pub target: SocketAddr,
    /// Mean arrivals per second; 0 sends nothing.
    pub rate_per_s: f64,
    /// Classes of requests.
    pub classes: Vec<TrafficClass>,
    /// Seed of arrivals and sizes.
    pub seed: u64,
    /// Maximum number of requests in flight. Further arrivals are skipped and counted.
    pub max_in_flight: usize,
    /// A request that takes longer counts as failed.
    pub timeout: Duration,
    /// Time at the end for requests in flight, after which they are cut.
    pub drain: Duration,
}

/// Outcomes of the arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficSummary {
    /// Sent requests: the sum of all below except `skipped`.
    pub sent: u64,
    /// Requests with a complete 2xx response.
    pub finished: u64,
    /// Requests aborted by the client, as its class requires.
    pub aborted: u64,
    /// Requests with another status.
    pub rejected: u64,
    /// Requests without a connection, or with an aborted, incomplete or late response.
    pub failed: u64,
    /// Requests in flight at the end, which were cut.
    pub cut: u64,
    /// Arrivals not sent, because too many requests were in flight.
    pub skipped: u64,
}

/// One request with sampled sizes.
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
    /// Creates traffic with at most 256 requests in flight, 120 s per request, and 30 s to drain.
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

    /// Sends requests until `until` completes, then drains. Request `n`, from 0, has the header `x-request-id: sim-n`.
    ///
    /// Dropping the future aborts all requests in flight.
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
                    // From the scheduled arrival, not from now: a late timer must not reduce the rate.
                    next = next.and_then(|due| self.after(due, &mut rng));
                    let Some(class) = self.pick(&mut rng) else {
                        continue;
                    };
                    // Sampled even if skipped, so that later requests do not change.
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

    /// Returns the next arrival after `last`.
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

/// Waits for the arrival; forever if there is none.
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
    /// Counts an outcome; `None` means that the task panicked.
    fn count(&mut self, outcome: Option<ClientOutcome>) {
        match outcome {
            Some(ClientOutcome::Finished) => self.finished += 1,
            Some(ClientOutcome::Aborted) => self.aborted += 1,
            Some(ClientOutcome::Rejected) => self.rejected += 1,
            Some(ClientOutcome::Failed) | None => self.failed += 1,
        }
    }
}
