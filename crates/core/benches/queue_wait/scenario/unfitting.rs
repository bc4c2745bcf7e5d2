//! Servers that queue in another way than the estimator's models, or of which not all requests are seen.

use super::slot_server::{SlotRelease, SlotServer, TurnOrder};
use super::traffic::GivingUp;
use super::{Scenario, ScenarioClass, ScenarioServer, slots};

fn unfit(name: &str, server: SlotServer) -> Scenario {
    Scenario::new(name, ScenarioClass::DoesNotFit, ScenarioServer::Slots(server))
}

fn unstreamed(name: &str, server: SlotServer) -> Scenario {
    unfit(&format!("{name}, nothing streamed"), server).with(|traffic| traffic.streamed = 0.0)
}

pub fn scenarios() -> Vec<Scenario> {
    let in_order = |order| SlotServer { order, ..slots(8) };
    vec![
        unfit("2 replicas of 4 slots, in turn", SlotServer { replicas: 2, ..slots(4) })
            .described_by("replicas")
            .at_load(0.85, 1.0),
        unfit("4 replicas of 2 slots, in turn", SlotServer { replicas: 4, ..slots(2) })
            .described_by("replicas")
            .at_load(0.85, 1.0),
        unfit("static batches of 8", SlotServer { release: SlotRelease::BatchEnd, ..slots(8) })
            .described_by("batches")
            .at_load(0.8, 1.0),
        unfit("last in, first out, 8 slots", in_order(TurnOrder::LastInFirstOut))
            .at_load(0.95, 1.0),
        unfit("shortest first, 8 slots", in_order(TurnOrder::ShortestFirst)).at_load(0.95, 1.0),
        unfit("one in five first, 8 slots", in_order(TurnOrder::ByPriority))
            .with(|traffic| traffic.urgent = 0.2)
            .at_load(0.95, 1.0),
        unfit("random order, 8 slots", in_order(TurnOrder::Random)).at_load(0.95, 1.0),
        unfit("two models share 8 slots", slots(8))
            .with(|traffic| (traffic.models, traffic.requests) = (2, 3000))
            .described_by("shared")
            .at_load(0.95, 1.0),
        unfit("half of the traffic passes by, 8 slots", slots(8))
            .with(|traffic| (traffic.unseen, traffic.requests) = (0.5, 3000))
            .at_load(0.95, 1.0),
        unfit(
            "some clients time out, the server goes on, 8 slots",
            SlotServer { notices_disconnects: false, ..slots(8) },
        )
        .with(|traffic| {
            traffic.giving_up = Some(GivingUp { share: 0.3, after: 2.0, is_random: false });
        })
        .at_load(0.95, 1.0),
        unstreamed("2 replicas of 4 slots", SlotServer { replicas: 2, ..slots(4) })
            .described_by("replicas")
            .at_load(0.85, 1.0),
        unstreamed(
            "static batches of 8",
            SlotServer { release: SlotRelease::BatchEnd, ..slots(8) },
        )
        .described_by("batches")
        .at_load(0.8, 1.0),
        unstreamed("last in, first out, 8 slots", in_order(TurnOrder::LastInFirstOut))
            .at_load(0.95, 1.0),
        unstreamed("random order, 8 slots", in_order(TurnOrder::Random)).at_load(0.95, 1.0),
    ]
}
