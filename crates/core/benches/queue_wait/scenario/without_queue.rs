//! Servers on which no request waits, because the number of requests in service has no limit that the traffic reaches.

use super::slot_server::{SlotServer, SpeedModel};
use super::step_server::StepServer;
use super::traffic::TokenSizes;
use super::{Scenario, ScenarioClass, ScenarioServer, slots};

fn unlimited(name: &str, change: impl FnOnce(&mut SlotServer)) -> Scenario {
    let mut server = slots(usize::MAX);
    change(&mut server);
    Scenario::new(name, ScenarioClass::NoQueue, ScenarioServer::Slots(server))
}

pub fn scenarios() -> Vec<Scenario> {
    // vLLM at its defaults on a slow processor: a prompt of 400 tokens takes 0.2 s.
    let vllm = StepServer { most_running: 256, budget: 8192, base: 0.015, per_token: 5e-4 };
    let vllm = ScenarioServer::Steps(vllm);
    // Eight of them fit into one step.
    let short_prompts = TokenSizes { median: 300.0, sigma: 0.8, max: 1000.0 };
    vec![
        unlimited("constant speed", |_| {}).at_rate(8.0, 1.0),
        unlimited("constant speed, bursts", |_| {}).at_rate(8.0, 4.0),
        unlimited("speed depends on the load", |server| server.speed = SpeedModel::Load(0.05))
            .at_rate(6.0, 1.0),
        unlimited("speed depends on the load, bursts", |server| {
            server.speed = SpeedModel::Load(0.05);
        })
        .at_rate(6.0, 4.0),
        unlimited("oscillating speed", |server| {
            server.speed = SpeedModel::Oscillating { part: 0.5, period: 20.0 };
        })
        .at_rate(8.0, 1.0),
        unlimited("time for a prompt grows with its square", |server| {
            server.prompt_per_square = 0.15;
        })
        .at_rate(8.0, 1.0),
        unlimited("speculative decoding", |server| server.per_token_sigma = 0.5).at_rate(8.0, 1.0),
        unlimited("one client, prompts vary", |_| {})
            .with(|traffic| {
                traffic.requests = 10_000;
                traffic.prompts = TokenSizes { median: 400.0, sigma: 1.5, max: 30_000.0 };
                traffic.cache_hits = 0.3;
            })
            .judged_from_the_first()
            .with_clients(1, 0.5),
        unlimited("one client, oscillating speed", |server| {
            server.speed = SpeedModel::Oscillating { part: 0.5, period: 20.0 };
        })
        .judged_from_the_first()
        .with_clients(1, 0.5),
        Scenario::new("eight clients, steps, at most 256", ScenarioClass::NoQueue, vllm.clone())
            .with(|traffic| traffic.prompts = short_prompts)
            .with_clients(8, 1.0),
        Scenario::new("eight clients, steps, tokens reported", ScenarioClass::NoQueue, vllm)
            .with(|traffic| (traffic.reports_usage, traffic.prompts) = (true, short_prompts))
            .with_clients(8, 1.0),
        unlimited("constant speed, bursts, nothing streamed", |_| {})
            .with(|traffic| traffic.streamed = 0.0)
            .at_rate(8.0, 4.0),
        // Responses of one length end in the order in which they were sent.
        unlimited("responses of one length, nothing streamed", |_| {})
            .with(|traffic| {
                traffic.streamed = 0.0;
                traffic.outputs = TokenSizes { median: 60.0, sigma: 0.0, max: 60.0 };
            })
            .at_rate(8.0, 4.0),
        unlimited("speed depends on the load, bursts, nothing streamed", |server| {
            server.speed = SpeedModel::Load(0.05);
        })
        .with(|traffic| traffic.streamed = 0.0)
        .at_rate(6.0, 4.0),
    ]
}
