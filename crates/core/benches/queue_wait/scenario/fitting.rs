//! Servers that take requests first come, first served, into slots, and of which all requests are seen.

use super::slot_server::{SlotRelease, SlotServer};
use super::step_server::StepServer;
use super::traffic::{GivingUp, TokenSizes};
use super::{Scenario, ScenarioClass, ScenarioServer, slots};

fn fits(name: &str, server: SlotServer) -> Scenario {
    Scenario::new(name, ScenarioClass::Fits, ScenarioServer::Slots(server))
}

fn steps(name: &str, most_running: usize) -> Scenario {
    let server = StepServer { most_running, budget: 2048, base: 0.012, per_token: 40e-6 };
    Scenario::new(name, ScenarioClass::Fits, ScenarioServer::Steps(server))
}

pub fn scenarios() -> Vec<Scenario> {
    let prompts_only = |count| SlotServer { release: SlotRelease::FirstOutput, ..slots(count) };
    vec![
        fits("1 slot, load 0.5", slots(1)).at_load(0.5, 1.0),
        fits("1 slot, load 0.8, bursts", slots(1)).at_load(0.8, 4.0),
        fits("2 slots, load 0.8", slots(2)).at_load(0.8, 1.0),
        fits("4 slots, load 0.5, bursts", slots(4)).at_load(0.5, 4.0),
        fits("4 slots, load 0.9", slots(4)).at_load(0.9, 1.0),
        fits("8 slots, load 0.7, bursts", slots(8)).at_load(0.7, 4.0),
        fits("8 slots, load 0.9, tokens reported", slots(8))
            .with(|traffic| traffic.reports_usage = true)
            .at_load(0.9, 1.0),
        fits("16 slots, load 0.8, bursts", slots(16)).at_load(0.8, 4.0),
        fits("16 slots, load 0.95", slots(16)).at_load(0.95, 1.0),
        fits("64 slots, load 0.9, bursts", slots(64)).at_load(0.9, 8.0),
        fits("64 slots, load 1", slots(64)).at_load(1.0, 1.0),
        steps("steps, at most 2, load 0.8", 2).at_load(0.8, 1.0),
        steps("steps, at most 8, load 0.8, bursts", 8).at_load(0.8, 4.0),
        steps("steps, at most 16, load 0.9", 16).at_load(0.9, 1.0),
        steps("steps, at most 64, load 0.95, bursts", 64).at_load(0.95, 8.0),
        steps("steps, at most 8, prompts in chunks", 8)
            .with(|traffic| {
                traffic.prompts = TokenSizes { median: 3000.0, sigma: 0.8, max: 20_000.0 };
            })
            .at_load(0.85, 1.0),
        fits("slots for prompts: 1, load 0.8", prompts_only(1)).at_load(0.8, 1.0),
        fits("slots for prompts: 2, load 0.8, bursts", prompts_only(2)).at_load(0.8, 4.0),
        fits("8 slots, hidden cache hits", slots(8))
            .with(|traffic| traffic.cache_hits = 0.5)
            .at_load(0.9, 1.0),
        fits("8 slots, prompts slow responses", SlotServer { slowed_by_prompts: 0.7, ..slots(8) })
            .at_load(0.8, 4.0),
        fits("8 slots, clients give up", slots(8))
            .with(|traffic| {
                traffic.giving_up = Some(GivingUp { share: 0.4, after: 2.0, is_random: true });
            })
            .at_load(1.0, 1.0),
        fits("8 slots, half of it not streamed", slots(8))
            .with(|traffic| traffic.streamed = 0.5)
            .at_load(0.9, 1.0),
        fits("8 slots, nothing streamed", slots(8))
            .with(|traffic| traffic.streamed = 0.0)
            .at_load(0.9, 1.0),
        fits("16 slots, nothing streamed", slots(16))
            .with(|traffic| traffic.streamed = 0.0)
            .at_load(0.95, 1.0),
        fits("4 slots, nothing streamed", slots(4))
            .with(|traffic| traffic.streamed = 0.0)
            .at_load(0.95, 1.0),
        fits("4 slots, responses of one length, nothing streamed", slots(4))
            .with(|traffic| {
                traffic.streamed = 0.0;
                traffic.outputs = TokenSizes { median: 60.0, sigma: 0.0, max: 60.0 };
            })
            .at_load(0.8, 4.0),
    ]
}
