//! Servers and loads that change. The expected wait of a new request is judged.

use super::slot_server::{IncidentKind, ServerIncident, SlotServer};
use super::traffic::{GivingUp, TokenSizes};
use super::{Scenario, ScenarioClass, ScenarioServer, slots};

fn signal(name: &str, server: SlotServer) -> Scenario {
    Scenario::new(name, ScenarioClass::Signal, ScenarioServer::Slots(server))
}

fn with_incident(count: usize, request: usize, kind: IncidentKind) -> SlotServer {
    SlotServer { incident: Some(ServerIncident { request, kind }), ..slots(count) }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        signal("bursts of 40, 8 slots", slots(8)).at_load(0.6, 40.0),
        signal("ramp and drain, 8 slots", slots(8))
            .in_phases(
                &[
                    (200, 0.3),
                    (200, 0.6),
                    (200, 0.9),
                    (200, 1.2),
                    (300, 1.5),
                    (100, 0.3),
                    (300, 0.05),
                ],
                1.0,
            )
            .never_full_before(),
        signal("deep queue, 8 slots", slots(8))
            .in_phases(&[(400, 0.9), (500, 3.0), (600, 0.6)], 1.0),
        signal("2,000 queued, 64 slots", slots(64))
            .in_phases(&[(500, 0.9), (2500, 5.0), (500, 0.5)], 1.0),
        signal("2,000 queued, 64 slots, very long and short responses", slots(64))
            .with(|traffic| {
                traffic.outputs = TokenSizes { median: 60.0, sigma: 1.4, max: 4000.0 };
            })
            .in_phases(&[(500, 0.9), (2500, 5.0), (500, 0.5)], 1.0),
        // The requests arrive within two seconds.
        signal("2,000 at once, 64 slots, never full before", slots(64))
            .in_phases(&[(300, 0.4), (2000, 20.0), (500, 0.5)], 1.0)
            .never_full_before(),
        signal("first saturation, 8 slots", slots(8))
            .in_phases(&[(700, 0.2), (400, 1.5), (400, 0.3)], 1.0)
            .never_full_before(),
        signal("first saturation, 256 slots", slots(256))
            .in_phases(&[(1000, 0.3), (1500, 1.6)], 1.0)
            .never_full_before(),
        signal("hang of 20 s, never full", with_incident(256, 800, IncidentKind::Hang(20.0)))
            .at_rate(3.0, 1.0)
            .never_full_before(),
        signal("hang of 20 s, 8 slots", with_incident(8, 800, IncidentKind::Hang(20.0)))
            .at_load(0.6, 1.0),
        signal("scale-out from 8 to 16 slots", with_incident(8, 800, IncidentKind::Slots(16)))
            .in_phases(&[(500, 0.8), (1000, 1.3)], 1.0),
        signal("8 slots become 4", with_incident(8, 800, IncidentKind::Slots(4)))
            .at_load(0.45, 2.0),
        signal(
            "overload, clients time out, the server goes on, 8 slots",
            SlotServer { notices_disconnects: false, ..slots(8) },
        )
        .with(|traffic| {
            traffic.giving_up = Some(GivingUp { share: 1.0, after: 20.0, is_random: false });
        })
        .in_phases(&[(500, 0.9), (1500, 3.0), (500, 0.5)], 1.0),
    ]
}
