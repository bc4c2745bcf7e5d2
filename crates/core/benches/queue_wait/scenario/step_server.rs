//! A server with continuous batching in steps, like vLLM.
//!
//! At the start of each step, the server admits waiting requests, first come, first served, up to `most_running`
//! requests and while the step has tokens left. A step processes one token of each decoding request, and chunks of
//! prompts, up to `budget` tokens in total. It takes `base` seconds plus `per_token` seconds for each token. So prompts
//! and responses slow each other down.
//!
//! A request that arrives within a step and is admitted at the next one was not queued. The scheduler of vLLM reads new
//! requests between steps, and its own queue time begins there.

use super::traffic::{RequestSource, ServedTruth};
use std::collections::VecDeque;
use streamgauge_sim::rng::SplitMix64;

/// Settings of the server.
#[derive(Debug, Clone, Copy)]
pub struct StepServer {
    pub most_running: usize,
    /// Largest number of tokens in a step.
    pub budget: u32,
    /// Fixed time of a step, in seconds.
    pub base: f64,
    /// Additional time for each token, in seconds.
    pub per_token: f64,
}

struct RequestInBatch {
    id: usize,
    prompt_left: u32,
    output_left: u32,
}

impl StepServer {
    /// Serves all requests, and returns the truth about each.
    pub fn serve(&self, mut traffic: impl RequestSource, seed: u64) -> Vec<ServedTruth> {
        let mut rng = SplitMix64::new(seed);
        let mut truth: Vec<ServedTruth> = Vec::new();
        let mut waiting: VecDeque<usize> = VecDeque::new();
        let mut running: Vec<RequestInBatch> = Vec::new();
        let mut now = 0.0_f64;
        loop {
            while traffic.next_at().is_some_and(|at| at <= now)
                && let Some(request) = traffic.send()
            {
                waiting.push_back(truth.len());
                truth.push(ServedTruth::new(request));
            }
            if waiting.is_empty() && running.is_empty() {
                let Some(next) = traffic.next_at() else { return truth };
                now = next;
                continue;
            }
            let mut budget = self.budget;
            let mut chunks = vec![0; running.len()];
            for (one, chunk) in running.iter().zip(&mut chunks) {
                *chunk = one.prompt_left.clamp(1, budget.max(1));
                budget = budget.saturating_sub(*chunk);
            }
            while running.len() < self.most_running
                && budget > 0
                && let Some(id) = waiting.pop_front()
            {
                let one = &mut truth[id];
                one.start = Some(now);
                let chunk = one.request.uncached.min(budget);
                budget -= chunk;
                let (prompt_left, output_left) = (one.request.uncached, one.request.output);
                running.push(RequestInBatch { id, prompt_left, output_left });
                chunks.push(chunk);
            }
            for id in &waiting {
                truth[*id].was_queued = true;
            }
            let tokens: u32 = chunks.iter().sum();
            let jitter = (1.0 + 0.1 * rng.normal()).max(0.3);
            now += (self.base + self.per_token * f64::from(tokens)) * jitter;
            for (one, chunk) in running.iter_mut().zip(chunks) {
                if one.prompt_left > chunk {
                    one.prompt_left -= chunk;
                    continue;
                }
                if one.prompt_left > 0 {
                    one.prompt_left = 0;
                    truth[one.id].first = Some(now);
                }
                one.output_left -= 1;
                if one.output_left == 0 {
                    truth[one.id].finish = Some(now);
                    traffic.client_is_done(now);
                }
            }
            running.retain(|one| one.output_left > 0);
        }
    }
}
