//! The estimator in all scenarios of the evaluation, and the simulated servers that are its judges.

mod bounds;
#[path = "../../../../benches/queue_wait/scenario/mod.rs"]
#[allow(dead_code, reason = "the evaluation uses all of it")]
mod scenario;

use scenario::figures::ScenarioFigures;
use scenario::slot_server::{SlotRelease, SlotServer, SpeedModel, TurnOrder};
use scenario::traffic::ServedTruth;
use scenario::{Scenario, ScenarioServer};
use std::path::Path;

/// Runs of each scenario: two, because the evaluation with all seeds takes longer than a test may.
const SEEDS: [u64; 2] = [1, 2];

#[test]
fn no_scenario_is_worse_than_recorded() {
    const COMMAND: &str = "STREAMGAUGE_BLESS=1 cargo test -p streamgauge-core scenario_tests";
    let scenarios = scenario::all();
    let judge = |one: &Scenario| {
        let runs: Vec<_> = SEEDS.into_iter().map(|seed| one.run(seed)).collect();
        ScenarioFigures::of(one, &runs)
    };
    let figures: Vec<ScenarioFigures> = std::thread::scope(|scope| {
        let (first, second) = scenarios.split_at(scenarios.len() / 2);
        let second = scope.spawn(move || second.iter().map(judge).collect::<Vec<_>>());
        let first: Vec<_> = first.iter().map(judge).collect();
        first.into_iter().chain(second.join().unwrap()).collect()
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/queue_wait/scenario/bounds.txt");
    if std::env::var_os("STREAMGAUGE_BLESS").is_some() {
        let lines = scenarios.iter().zip(&figures).map(|(one, figures)| bounds::line(one, figures));
        std::fs::write(&path, bounds::head() + &lines.collect::<String>()).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    assert_eq!(recorded.lines().next(), Some(bounds::head().trim_end()), "{COMMAND}");
    assert_eq!(recorded.lines().count(), scenarios.len() + 1, "{COMMAND}");
    let both = scenarios.iter().zip(&figures).zip(recorded.lines().skip(1));
    let worse: Vec<String> =
        both.flat_map(|((one, figures), line)| bounds::exceeded(one, figures, line)).collect();
    assert!(worse.is_empty(), "{worse:#?}\nIf this is intended: {COMMAND}");
}

#[test]
fn a_figure_beyond_its_margin_is_reported() {
    let scenario = scenario::all().swap_remove(0);
    let figures = ScenarioFigures { false_waits: 0.05, ..ScenarioFigures::default() };
    let line = bounds::line(&scenario, &figures);
    let exceeded = |false_waits: f64, line: &str| {
        let figures = ScenarioFigures { false_waits, ..figures.clone() };
        bounds::exceeded(&scenario, &figures, line).len()
    };
    assert_eq!((exceeded(0.05, &line), exceeded(0.069, &line), exceeded(0.071, &line)), (0, 0, 1));
    assert_eq!(exceeded(0.0, &line.replace("0.050", "-")), 1, "a figure without a record");
    assert_eq!(exceeded(0.0, "another scenario"), 1);
}

/// Truth about the requests of one run, for each scenario whose server has limited slots that never change.
fn served() -> Vec<(SlotServer, Vec<ServedTruth>)> {
    let all = scenario::all().into_iter().filter_map(|one| match &one.server {
        ScenarioServer::Slots(server) if server.incident.is_none() && server.slots < 1000 => {
            Some((server.clone(), one.server.serve(&one.traffic, 1)))
        }
        _ => None,
    });
    all.collect()
}

/// Instant at which a request released its slot. `None` if it is not part of the truth.
fn released(server: &SlotServer, one: &ServedTruth) -> Option<f64> {
    match server.release {
        SlotRelease::FirstOutput => one.first,
        SlotRelease::End if server.notices_disconnects => Some(one.left()),
        SlotRelease::End => one.finish,
        SlotRelease::BatchEnd => None,
    }
}

#[test]
fn requests_wait_only_while_all_slots_are_taken() {
    let mut checked = 0;
    for (server, truth) in served() {
        for replica in 0..server.replicas {
            let here = truth.iter().skip(replica).step_by(server.replicas);
            let held: Option<Vec<(f64, f64)>> = here
                .clone()
                .filter(|one| one.start.is_some())
                .map(|one| Some((one.start?, released(&server, one)?)))
                .collect();
            let Some(held) = held else { continue };
            let taken = |at: f64| held.iter().filter(|(from, to)| *from <= at && at < *to).count();
            for one in here {
                let Some(start) = one.start else { continue };
                assert!(taken(start) <= server.slots, "{server:?}");
                if start > one.request.at {
                    // Between its arrival and its turn.
                    let waiting = one.request.at + 0.999 * (start - one.request.at);
                    assert_eq!(taken(waiting), server.slots, "{server:?}, {one:?}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 5000, "{checked}");
}

#[test]
fn servers_take_requests_in_their_order() {
    for (server, truth) in served().into_iter().filter(|(server, _)| server.replicas == 1) {
        let mut contradictions = 0;
        for (id, one) in truth.iter().enumerate() {
            let Some(start) = one.start.filter(|_| server.order != TurnOrder::Random) else {
                continue;
            };
            // Requests that were in the queue when the server took this one.
            let queued = truth.iter().enumerate().filter(|(_, other)| {
                other.request.at <= start && other.start.unwrap_or_else(|| other.left()) > start
            });
            let comes_before = |other: &(usize, &ServedTruth)| match server.order {
                TurnOrder::FirstInFirstOut => other.0 < id,
                TurnOrder::LastInFirstOut => other.0 > id,
                TurnOrder::ShortestFirst => other.1.request.output < one.request.output,
                TurnOrder::ByPriority => other.1.request.is_urgent && !one.request.is_urgent,
                TurnOrder::Random => false,
            };
            contradictions += queued.filter(comes_before).count();
        }
        assert_eq!(contradictions, 0, "{server:?}");
    }
}

#[test]
fn a_static_batch_begins_when_the_one_before_has_ended() {
    let batches = |(server, _): &(SlotServer, _)| server.release == SlotRelease::BatchEnd;
    let (server, truth) = served().into_iter().find(batches).unwrap();
    let mut ended = 0.0_f64;
    let by_start = truth.chunk_by(|a, b| a.start == b.start);
    let mut batches = 0;
    for batch in by_start {
        let start = batch[0].start.unwrap();
        assert!(batch.len() <= server.slots && start >= ended, "{start} after {ended}");
        ended = batch.iter().filter_map(|one| one.finish).fold(ended, f64::max);
        batches += 1;
    }
    assert!(batches > 150, "{batches}");
}

#[test]
fn the_speed_of_a_server_has_the_stated_mean() {
    for one in scenario::all() {
        let ScenarioServer::Slots(server) = &one.server else { continue };
        let (is_slowed, is_hanging) = match server.speed {
            SpeedModel::Load(_) => (true, false),
            SpeedModel::Constant | SpeedModel::Oscillating { .. } => {
                (server.slowed_by_prompts > 0.0, server.incident.is_some())
            }
        };
        if is_hanging || server.per_token_sigma > 0.0 {
            continue;
        }
        let truth = one.server.serve(&one.traffic, 1);
        let times =
            truth.iter().filter_map(|one| Some((one.first?, one.finish?, one.request.output)));
        let (mut real, mut work) = (0.0, 0.0);
        for (first, finish, output) in times {
            real += finish - first;
            work += server.per_token * f64::from(output);
        }
        let slowness = real / work;
        let is_constant = matches!(server.speed, SpeedModel::Constant) && !is_slowed;
        let expected = match (is_constant, is_slowed) {
            (true, _) => 0.999_999..1.000_001,
            (_, true) => 1.01..3.0,
            (_, false) => 0.8..1.2,
        };
        assert!(expected.contains(&slowness), "{}: {slowness}", one.name);
    }
}
