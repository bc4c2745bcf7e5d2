//! A server with continuous batching in steps, like vLLM. The estimator was not designed for it.
//!
//! At the start of each step, the server admits waiting requests, first come, first served, up to `most_running`
//! requests and while the step has tokens left. A step processes one token of each decoding request, and chunks of
//! prompts, up to `budget` tokens in total. It takes `base` seconds plus `per_token` seconds for each token. So prompts and
//! responses slow each other down, and a request that arrives within a step waits for its end.

use super::cell::{EvalRequest, TrueTimes};
use std::collections::VecDeque;
use streamgauge_sim::rng::SplitMix64;

/// Settings of the server.
#[derive(Debug, Clone, Copy)]
pub struct BatchingServer {
    pub most_running: usize,
    /// Largest number of tokens in a step.
    pub budget: u32,
    /// Fixed time of a step, in seconds.
    pub base: f64,
    /// Additional time for each token, in seconds.
    pub per_token: f64,
    pub seed: u64,
}

struct BatchedRequest {
    request: usize,
    prompt_left: u32,
    output_left: u32,
}

impl BatchingServer {
    /// Serves these requests, and returns the true times of each.
    pub fn serve(&self, requests: &[EvalRequest]) -> Vec<TrueTimes> {
        let mut truth = vec![TrueTimes::default(); requests.len()];
        let mut rng = SplitMix64::new(self.seed);
        let mut waiting: VecDeque<usize> = VecDeque::new();
        let mut running: Vec<BatchedRequest> = Vec::new();
        let (mut next, mut now) = (0, 0.0_f64);
        while next < requests.len() || !waiting.is_empty() || !running.is_empty() {
            while next < requests.len() && requests[next].at <= now {
                waiting.push_back(next);
                next += 1;
            }
            if waiting.is_empty() && running.is_empty() {
                now = requests[next].at;
                continue;
            }
            let mut budget = self.budget;
            let mut chunks = vec![0; running.len()];
            for (one, chunk) in running.iter().zip(&mut chunks) {
                *chunk = one.prompt_left.clamp(1, budget.max(1));
                budget = budget.saturating_sub(*chunk);
            }
            while running.len() < self.most_running && budget > 0 {
                let Some(request) = waiting.pop_front() else { break };
                truth[request].start = now;
                let EvalRequest { prompt, output, .. } = requests[request];
                let chunk = prompt.min(budget);
                budget -= chunk;
                running.push(BatchedRequest { request, prompt_left: prompt, output_left: output });
                chunks.push(chunk);
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
                    truth[one.request].first = now;
                }
                one.output_left -= 1;
                truth[one.request].finish = now;
            }
            running.retain(|one| one.output_left > 0);
        }
        truth
    }
}
