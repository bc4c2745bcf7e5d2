//! Situations in which a server is, or only seems, not ready, with their true cold starts.

use super::server::{CHAT, ColdEvalRequest, ColdEvalServer, ServerPhase};
use super::world::{EvalSight, EvalWorld, HEALTH, PAGE, PROXY};

const REFUSING: ServerPhase = ServerPhase::Down;
const SAYS_503: ServerPhase = ServerPhase::Unavailable { says_loading: false };
const SAYS_LOADING: ServerPhase = ServerPhase::Unavailable { says_loading: true };

/// Whether the cold starts of a scenario can be known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Knowable {
    Yes,
    /// From this time on. Before, too few requests have shown how long a warm one takes.
    From(f64),
    /// Never, for this reason.
    No(&'static str),
}

pub struct EvalScenario {
    pub name: &'static str,
    /// Sources that Streamgauge has beside the requests and responses.
    pub sight: &'static str,
    pub knowable: Knowable,
    pub run: fn(u64) -> EvalWorld,
}

const fn scenario(
    name: &'static str,
    sight: &'static str,
    knowable: Knowable,
    run: fn(u64) -> EvalWorld,
) -> EvalScenario {
    EvalScenario { name, sight, knowable, run }
}

use Knowable::{From, No, Yes};

/// The scenarios, in the order of the table.
pub const SCENARIOS: [EvalScenario; 49] = [
    scenario("boot: the port opens when the server is ready", "", Yes, |seed| {
        boot(seed, PROXY, None)
    }),
    scenario("boot: 503 \"Loading model\" after the port opens", "", Yes, |seed| {
        boot(seed, PROXY, Some(SAYS_LOADING))
    }),
    scenario("boot: the server holds requests", "health path", Yes, |seed| {
        boot(seed, HEALTH, Some(ServerPhase::Holding))
    }),
    scenario(
        "boot: the server holds requests",
        "",
        No("the first requests have no baseline, so a held one looks like a slow one"),
        |seed| boot(seed, PROXY, Some(ServerPhase::Holding)),
    ),
    scenario("ready at the start of Streamgauge", "", Yes, |seed| steady(seed, PROXY)),
    scenario("crash: clients retry", "", Yes, |seed| outage(seed, PROXY, true, 30.0, None)),
    scenario("crash: clients retry", "health path", Yes, |seed| {
        outage(seed, HEALTH, true, 30.0, None)
    }),
    scenario("restart that lets its streams finish", "", Yes, |seed| {
        outage(seed, PROXY, false, 20.0, None)
    }),
    scenario("rolling restart: another server takes over", "", Yes, rolling),
    scenario("restart: the port is back, requests are held for 8 s", "", Yes, |seed| {
        outage(seed, PROXY, true, 0.5, Some(ServerPhase::Holding))
    }),
    scenario("restart: the port is back, requests are held for 8 s", "health path", Yes, |seed| {
        outage(seed, HEALTH, true, 0.5, Some(ServerPhase::Holding))
    }),
    scenario("restart: the port is back, requests are held for 8 s", "metrics page", Yes, |seed| {
        outage(seed, PAGE, true, 0.5, Some(ServerPhase::Holding))
    }),
    scenario("restart: the port is back after 20 ms, 503 for 8 s", "", Yes, |seed| {
        outage(seed, PROXY, true, 0.02, Some(SAYS_503))
    }),
    scenario("restart: the port is back after 20 ms, 503 for 8 s", "health path", Yes, |seed| {
        outage(seed, HEALTH, true, 0.02, Some(SAYS_503))
    }),
    scenario("restart: the port is back after 20 ms, 503 for 8 s", "metrics page", Yes, |seed| {
        outage(seed, PAGE, true, 0.02, Some(SAYS_503))
    }),
    scenario("streams break, the port stays open, 503 for 8 s", "health path", Yes, |seed| {
        outage(seed, HEALTH, true, 0.0, Some(SAYS_503))
    }),
    scenario("streams break, the port stays open, 503 for 8 s", "metrics page", Yes, |seed| {
        outage(seed, PAGE, true, 0.0, Some(SAYS_503))
    }),
    scenario(
        "streams break, the port stays open, 503 for 8 s",
        "",
        No("an overloaded server does the same"),
        |seed| outage(seed, PROXY, true, 0.0, Some(SAYS_503)),
    ),
    scenario("restart while nobody asks", "metrics page", Yes, quiet_restart),
    scenario("scaled to zero: connections are refused", "", Yes, |seed| {
        to_zero(seed, PROXY, ServerPhase::Down)
    }),
    scenario("scaled to zero: connections are refused", "health path", Yes, |seed| {
        to_zero(seed, HEALTH, ServerPhase::Down)
    }),
    scenario("scaled to zero: an activator holds requests", "", From(LEARNED), |seed| {
        unloading(seed, PROXY, 3, CHAT)
    }),
    scenario(
        "scaled to zero: the first pod of an activator",
        "",
        No("there is no baseline before the first response"),
        |seed| {
            let server = ColdEvalServer { is_loaded: false, ..ColdEvalServer::default() };
            let mut world = EvalWorld::new(seed, server, PROXY);
            world.sequence(100.0, 40, 6.0, CHAT);
            world.run(1000.0);
            world
        },
    ),
    scenario(
        "scaled to zero: packets are dropped",
        "",
        No("a busy server and a network fault time out too"),
        |seed| to_zero(seed, PROXY, ServerPhase::Silent),
    ),
    scenario("unloads when idle: 40 loads among 240 requests", "", From(LEARNED), |seed| {
        unloading(seed, PROXY, 40, CHAT)
    }),
    scenario(
        "unloads when idle: one request at a time, half of them load",
        "",
        From(SPARSE_LEARNED),
        sparse,
    ),
    scenario("unloads when idle: prompts of 10 to 60 KB", "", From(LARGE_LEARNED), large_prompts),
    scenario("unloads when idle: responses that are not streams", "", From(LEARNED), |seed| {
        unloading(seed, PROXY, 20, ColdEvalRequest { is_stream: false, ..CHAT })
    }),
    scenario("unloads when idle: others wait for the same load", "", From(LEARNED), companions),
    scenario("unloads when idle: 503 \"Loading model\"", "", Yes, |seed| {
        to_zero(seed, PROXY, SAYS_LOADING)
    }),
    scenario("llama-swap: the stream says that it loads", "", Yes, |seed| {
        swaps(seed, EvalSight { says_loading: true, ..PROXY }, CHAT, 0.5)
    }),
    scenario("Ollama: load_duration", "", Yes, |seed| {
        let sight = EvalSight { reports_load: true, ..PROXY };
        unloading(seed, sight, 10, CHAT)
    }),
    scenario("three models in one memory, chosen at random", "", From(SWAPS_LEARNED), |seed| {
        swaps(seed, PROXY, CHAT, 0.5)
    }),
    scenario(
        "three models in one memory, requests overlap",
        "",
        From(SWAPS_LEARNED),
        overlapping_swaps,
    ),
    scenario(
        "three models in one memory, always in turn",
        "",
        No("every request loads, so nothing shows how long a warm one takes"),
        |seed| swaps(seed, PROXY, CHAT, 0.0),
    ),
    scenario("three models that all stay loaded, in turn", "", Yes, |seed| {
        let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
        take_turns(&mut world, &["a", "b", "c"], 300, 0.0, CHAT);
        world
    }),
    scenario("llama.cpp, --models-max 1: two models in turn", "", Yes, |seed| router(seed, CHAT)),
    scenario("llama.cpp, --models-max 1: not streams", "", Yes, |seed| {
        router(seed, ColdEvalRequest { is_stream: false, ..CHAT })
    }),
    scenario("llama.cpp, --models-max 1: prompts take longer than the loads", "", Yes, |seed| {
        router(seed, ColdEvalRequest { bytes: 50_000, ..CHAT })
    }),
    scenario("warm: the cached prefix was evicted", "", Yes, |seed| evicted(seed, PROXY)),
    scenario("warm: the cached prefix was evicted", "time for the prompt", Yes, |seed| {
        evicted(seed, EvalSight { reports_prefill: true, ..PROXY })
    }),
    scenario("warm: a client that passes by at any time", "", Yes, passing_by_at_any_time),
    scenario(
        "warm: a client that passes by only in pauses",
        "",
        No("its requests are not seen, so waiting for them looks like a load"),
        passing_by,
    ),
    scenario("warm: eight prompts at once after a pause", "", Yes, burst),
    scenario("warm: heavy tail of TTFT (Pareto, 1.5)", "", Yes, heavy_tail),
    scenario("warm: by far the longest prompt after a pause", "", Yes, longest_prompt),
    scenario("overload: connections break, 503, health 200", "health path", Yes, |seed| {
        overload(seed, HEALTH)
    }),
    scenario("overload: connections break and time out", "", Yes, |seed| overload(seed, PROXY)),
    scenario("timeouts: the server drops packets for 20 s", "", Yes, |seed| {
        let mut world = EvalWorld::new(
            seed,
            ColdEvalServer {
                phases: vec![(400.0, ServerPhase::Silent), (420.0, ServerPhase::Ready)],
                ..ColdEvalServer::default()
            },
            PROXY,
        );
        world.traffic(1.0, 500.0, 0.7, CHAT);
        world.run(1000.0);
        world
    }),
];

/// From here on, 40 lone requests have shown how long a warm one takes.
const LEARNED: f64 = 400.0;
/// The same for large prompts, after two loads: their prompts could have taken the time, if they had no cached prefix.
const LARGE_LEARNED: f64 = 860.0;
/// After 40 requests, 145 s apart, 20 of them warm, and some more until the next fit.
const SPARSE_LEARNED: f64 = 6700.0;
/// Each of three models has had 80 requests. So it almost surely had 20 for the same model as before, which are warm.
const SWAPS_LEARNED: f64 = 3600.0;

fn steady(seed: u64, sight: EvalSight) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), sight);
    world.traffic(1.0, 500.0, 0.7, CHAT);
    world.run(1000.0);
    world
}

/// The server boots with Streamgauge. `loading`: what it does from 5 s on, when its port opens, until it is ready.
fn boot(seed: u64, sight: EvalSight, loading: Option<ServerPhase>) -> EvalWorld {
    let ready = 40.0 + seed as f64;
    let phases = match loading {
        None => vec![(0.0, REFUSING), (ready, ServerPhase::Ready)],
        Some(phase) => vec![(0.0, REFUSING), (5.0, phase), (ready, ServerPhase::Ready)],
    };
    let mut world =
        EvalWorld::new(seed, ColdEvalServer { phases, ..ColdEvalServer::default() }, sight);
    world.traffic(1.0, 600.0, 0.7, CHAT);
    world.run(1000.0);
    world.add_truth(0.0, ready);
    world
}

/// The server goes away while it is used, and its port is back after `away` seconds. Then it does this for 8 s.
fn outage(
    seed: u64,
    sight: EvalSight,
    breaks: bool,
    away: f64,
    then: Option<ServerPhase>,
) -> EvalWorld {
    let began = 400.0;
    let ready = began + away + if then.is_some() { 8.0 } else { 0.0 };
    let mut phases = Vec::new();
    if away > 0.0 {
        phases.push((began, REFUSING));
    }
    phases.extend(then.map(|phase| (began + away, phase)));
    phases.push((ready, ServerPhase::Ready));
    let mut world =
        EvalWorld::new(seed, ColdEvalServer { phases, ..ColdEvalServer::default() }, sight);
    world.traffic(1.0, 600.0, 0.7, CHAT);
    // A stream that is running then.
    world.request(began - 0.5, ColdEvalRequest { tokens: 100, retry_after: Some(0.3), ..CHAT });
    world.new_process(began + away);
    let mut first = began;
    if breaks {
        world.break_all(began);
    } else {
        let arrived = began + world.rng.between(0.1, 1.0);
        world.request(arrived, ColdEvalRequest { retry_after: Some(0.5), ..CHAT });
        first = f64::NAN;
    }
    world.run(1000.0);
    if first.is_nan() {
        first = world.first_failure();
    }
    world.add_truth(first, ready);
    world
}

fn rolling(seed: u64) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
    world.traffic(1.0, 600.0, 0.7, CHAT);
    world.request(399.5, ColdEvalRequest { tokens: 100, retry_after: Some(0.3), ..CHAT });
    world.break_all(400.0);
    world.run(1000.0);
    world
}

fn quiet_restart(seed: u64) -> EvalWorld {
    let phases = vec![(405.0, REFUSING), (409.0, ServerPhase::Ready)];
    let mut world =
        EvalWorld::new(seed, ColdEvalServer { phases, ..ColdEvalServer::default() }, PAGE);
    world.sequence(1.0, 38, 10.0, CHAT);
    world.request(402.0, CHAT);
    world.new_process(409.0);
    world.sequence(412.0, 10, 10.0, CHAT);
    world.run(1000.0);
    // Nobody waited, so it has no length.
    world.truth.push((409.0, 409.0));
    world
}

/// The server is scaled to zero in a pause, and comes back 30 s after a request.
fn to_zero(seed: u64, sight: EvalSight, at_zero: ServerPhase) -> EvalWorld {
    let arrived = 1000.0 + 10.0 * seed as f64;
    let phases = vec![(600.0, at_zero), (arrived + 30.0, ServerPhase::Ready)];
    let mut world =
        EvalWorld::new(seed, ColdEvalServer { phases, ..ColdEvalServer::default() }, sight);
    world.sequence(1.0, 40, 10.0, CHAT);
    world.request(arrived, ColdEvalRequest { retry_after: Some(1.0), ..CHAT });
    world.sequence(arrived + 60.0, 20, 10.0, CHAT);
    world.run(3000.0);
    world.add_truth(arrived, arrived + 30.0);
    world
}

/// The model is unloaded after 80 s, or the server scaled to zero behind an activator. Five warm requests follow each load.
fn unloading(seed: u64, sight: EvalSight, loads: usize, request: ColdEvalRequest) -> EvalWorld {
    let server = ColdEvalServer { unload_after: Some(80.0), ..ColdEvalServer::default() };
    let mut world = EvalWorld::new(seed, server, sight);
    let mut at = world.sequence(1.0, 45, 8.0, request) + 10.0;
    for _ in 0..loads {
        at = world.sequence(at + 100.0, 1, 25.0, request);
        at = world.sequence(at, 5, 10.0, request);
    }
    world.run(at + 1000.0);
    world
}

/// Requests with long pauses, in half of which the model is unloaded.
fn sparse(seed: u64) -> EvalWorld {
    let server = ColdEvalServer { unload_after: Some(120.0), ..ColdEvalServer::default() };
    let mut world = EvalWorld::new(seed, server, PROXY);
    let mut at = 1.0;
    for number in 0..100 {
        at = world.sequence(at, 1, 0.0, CHAT);
        at += if number % 2 == 0 { world.rng.between(70.0, 110.0) } else { 200.0 };
    }
    world.run(at + 1000.0);
    world
}

fn large_prompts(seed: u64) -> EvalWorld {
    let server = ColdEvalServer { unload_after: Some(80.0), ..ColdEvalServer::default() };
    let mut world = EvalWorld::new(seed, server, PROXY);
    let sized = |world: &mut EvalWorld| {
        let bytes = (10_000.0 * 6f64.powf(world.rng.unit())) as u64;
        ColdEvalRequest { bytes, cached: 0.98, ..CHAT }
    };
    let mut at = 1.0;
    for _ in 0..45 {
        let request = sized(&mut world);
        at = world.sequence(at, 1, 8.0, request);
    }
    for number in 0..20 {
        let mut request = sized(&mut world);
        // The prompts of the first loads differ in size.
        request.bytes = [12_000, 60_000].get(number).copied().unwrap_or(request.bytes);
        at = world.sequence(at + 150.0, 1, 25.0, request);
        let request = sized(&mut world);
        at = world.sequence(at, 5, 10.0, request);
    }
    world.run(at + 1000.0);
    world
}

/// Others arrive while the model loads.
fn companions(seed: u64) -> EvalWorld {
    let server = ColdEvalServer { unload_after: Some(80.0), ..ColdEvalServer::default() };
    let mut world = EvalWorld::new(seed, server, PROXY);
    let mut at = world.sequence(1.0, 45, 8.0, CHAT) + 10.0;
    for _ in 0..10 {
        at += 110.0;
        world.request(at, CHAT);
        for _ in 0..4 {
            let later = at + world.rng.between(0.5, 5.0);
            world.request(later, CHAT);
        }
        at = world.sequence(at + 30.0, 6, 10.0, CHAT);
    }
    world.run(at + 1000.0);
    world
}

/// Requests one after the other, each for the next model, or with probability `same` for the same as before.
fn take_turns(
    world: &mut EvalWorld,
    models: &[&'static str],
    count: usize,
    same: f64,
    request: ColdEvalRequest,
) {
    let (mut at, mut model) = (1.0, 0);
    for _ in 0..count {
        if world.rng.unit() >= same {
            model = (model + 1) % models.len();
        }
        at = world.sequence(at, 1, 15.0, ColdEvalRequest { model: models[model], ..request });
    }
    world.run(at + 1000.0);
}

fn swaps(seed: u64, sight: EvalSight, request: ColdEvalRequest, same: f64) -> EvalWorld {
    let server = ColdEvalServer {
        holds_one_model: true,
        is_loaded: false,
        load: (2.0, 2.8),
        ..ColdEvalServer::default()
    };
    let mut world = EvalWorld::new(seed, server, sight);
    take_turns(&mut world, &["a", "b", "c"], 400, same, request);
    world
}

/// Requests for another model wait until the running ones have ended.
fn overlapping_swaps(seed: u64) -> EvalWorld {
    let (holds_one_model, load) = (true, (2.0, 2.8));
    let server =
        ColdEvalServer { holds_one_model, load, is_loaded: false, ..ColdEvalServer::default() };
    let mut world = EvalWorld::new(seed, server, PROXY);
    let mut at = 1.0;
    for _ in 0..800 {
        let model = ["a", "b", "c"][(world.rng.unit() * 3.0) as usize];
        world.request(at, ColdEvalRequest { model, ..CHAT });
        at += 8.0 * world.rng.exponential();
    }
    world.run(at + 1000.0);
    world
}

fn router(seed: u64, request: ColdEvalRequest) -> EvalWorld {
    let server = ColdEvalServer {
        holds_one_model: true,
        is_loaded: false,
        load: (1.4, 1.6),
        ..ColdEvalServer::default()
    };
    let sight = EvalSight { reports_prefill: true, ..PROXY };
    let mut world = EvalWorld::new(seed, server, sight);
    take_turns(&mut world, &["a", "b"], 100, 0.0, request);
    world
}

fn evicted(seed: u64, sight: EvalSight) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), sight);
    let request = ColdEvalRequest { bytes: 40_000, cached: 0.98, ..CHAT };
    let mut at = world.sequence(1.0, 45, 8.0, request);
    for _ in 0..8 {
        at += 120.0;
        let bytes = world.rng.between(20_000.0, 60_000.0) as u64;
        world.request(at, ColdEvalRequest { bytes, cached: 0.0, ..request });
        at = world.sequence(at + 20.0, 8, 10.0, request);
    }
    world.run(at + 1000.0);
    world
}

fn passing_by(seed: u64) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
    let mut at = world.sequence(1.0, 45, 8.0, CHAT);
    for _ in 0..8 {
        at += 120.0;
        let busy = world.rng.between(0.5, 8.0);
        world.server.foreign.push((at - 2.0, at + busy));
        world.request(at, CHAT);
        at = world.sequence(at + 20.0, 8, 10.0, CHAT);
    }
    world.run(at + 1000.0);
    world
}

/// Another client keeps the server busy for a tenth of the time, whether there is a pause or not.
fn passing_by_at_any_time(seed: u64) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
    let mut at = world.sequence(1.0, 90, 8.0, CHAT);
    for _ in 0..20 {
        at = world.sequence(at + 120.0, 8, 10.0, CHAT);
    }
    let mut foreign = 0.0;
    while foreign < at {
        let busy = world.rng.between(0.5, 8.0);
        foreign += 9.0 * busy * world.rng.exponential();
        world.server.foreign.push((foreign, foreign + busy));
        foreign += busy;
    }
    world.run(at + 1000.0);
    world
}

fn burst(seed: u64) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
    let request = ColdEvalRequest { bytes: 4000, ..CHAT };
    let mut at = world.sequence(1.0, 45, 8.0, request);
    for _ in 0..8 {
        at += 120.0;
        for number in 0..8 {
            let request = ColdEvalRequest { together: 8, ..request };
            world.request(at + 0.002 * f64::from(number), request);
        }
        at = world.sequence(at + 20.0, 8, 10.0, request);
    }
    world.run(at + 1000.0);
    world
}

fn heavy_tail(seed: u64) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
    let mut at = 1.0;
    for number in 0..2000 {
        let slowness = (world.rng.exponential() / 1.5).exp();
        world.request(at, ColdEvalRequest { slowness, ..CHAT });
        at += 4.0 + 2.0 * world.rng.exponential() + if number % 20 == 19 { 100.0 } else { 0.0 };
    }
    world.run(at + 1000.0);
    world
}

fn longest_prompt(seed: u64) -> EvalWorld {
    let mut world = EvalWorld::new(seed, ColdEvalServer::default(), PROXY);
    let at = world.sequence(1.0, 45, 8.0, CHAT);
    for number in 0..4u32 {
        world.request(at + 200.0 * f64::from(number), ColdEvalRequest { bytes: 60_000, ..CHAT });
    }
    world.run(at + 2000.0);
    world
}

/// More requests than the server can serve: some break, some are refused with 503, some time out.
fn overload(seed: u64, sight: EvalSight) -> EvalWorld {
    let mut phases = Vec::new();
    for number in 0..20 {
        let from = 400.0 + 7.0 * f64::from(number);
        let phase =
            if number % 3 == 0 && !sight.has_health { ServerPhase::Silent } else { SAYS_503 };
        phases.extend([(from, phase), (from + 1.5, ServerPhase::Ready)]);
    }
    let mut world =
        EvalWorld::new(seed, ColdEvalServer { phases, ..ColdEvalServer::default() }, sight);
    world.is_only_busy = true;
    world.traffic(1.0, 600.0, 2.0, CHAT);
    for _ in 0..40 {
        let at = world.rng.between(400.0, 540.0);
        world.break_one(at);
    }
    world.run(1000.0);
    world
}
