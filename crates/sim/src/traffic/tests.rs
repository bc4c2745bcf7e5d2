//! The generator against a real simulated server.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tokio::time::sleep;

use super::*;
use crate::{EngineSpec, SimServer, TruthEnd, TruthLog};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

async fn server(engines: Vec<EngineSpec>) -> (SocketAddr, TruthLog) {
    let server = SimServer::bind((Ipv4Addr::LOCALHOST, 0).into(), engines).await.unwrap();
    let (addr, truth) = (server.local_addr().unwrap(), server.truth());
    tokio::spawn(server.run(std::future::pending()));
    (addr, truth)
}

fn class(name: &str) -> TrafficClass {
    TrafficClass {
        name: name.into(),
        weight: 1.0,
        api: TrafficApi::OpenAi,
        model: "m".into(),
        prompt_tokens: (10, 50),
        output_tokens: (2, 5),
        reasoning_tokens: (0, 3),
        stream: true,
        include_usage: true,
        tokens_per_event: 1,
        abort_after: None,
        choices: 1,
    }
}

fn quick() -> EngineSpec {
    EngineSpec {
        slots: 64,
        prefill_base: ms(2),
        decode_base: ms(1),
        decode_per_running: Duration::ZERO,
        ..EngineSpec::new("m")
    }
}

#[tokio::test]
async fn every_request_sent_is_in_the_truth_once() {
    let (addr, truth) = server(vec![quick()]).await;
    let whole = TrafficClass { stream: false, ..class("whole") };
    let leaves = TrafficClass {
        output_tokens: (100_000, 100_000),
        abort_after: Some((ms(20), ms(60))),
        ..class("leaves")
    };
    let unknown = TrafficClass { model: "nobody".into(), ..class("unknown") };
    let classes = vec![class("streams"), whole, leaves, unknown];
    let traffic = Traffic::new(addr, 200.0, classes, 5);
    let summary = traffic.run(sleep(ms(500))).await;
    // The server learns of a departure a little after it.
    sleep(ms(200)).await;
    let records = truth.take();

    let count = |end| records.iter().filter(|r| r.end == end).count() as u64;
    assert!((60..150).contains(&summary.sent), "{summary:?}");
    assert_eq!(summary.failed + summary.cut + summary.skipped, 0, "{summary:?}");
    assert_eq!(summary.finished, count(TruthEnd::Finished), "{summary:?}");
    assert_eq!(summary.aborted, count(TruthEnd::Cancelled), "{summary:?}");
    assert_eq!(summary.rejected, count(TruthEnd::Rejected), "{summary:?}");
    assert!(summary.finished > 0 && summary.aborted > 0 && summary.rejected > 0);
    let ids: BTreeSet<_> = records.iter().filter_map(|r| r.request_id.clone()).collect();
    let expected: BTreeSet<_> = (0..summary.sent).map(|n| format!("sim-{n}")).collect();
    assert_eq!(ids, expected);
    for record in records.iter().filter(|r| r.end == TruthEnd::Finished) {
        assert!((10..=50).contains(&record.prompt_tokens));
        let answer = record.output_tokens - record.reasoning_tokens;
        assert!((2..=5).contains(&answer), "{record:?}");
    }
}

#[tokio::test]
async fn each_api_is_read_to_its_end() {
    let (addr, truth) = server(vec![quick()]).await;
    for api in [TrafficApi::OpenAi, TrafficApi::Anthropic, TrafficApi::Ollama, TrafficApi::Tgi] {
        for stream in [true, false] {
            // A last event may be longer than all that a socket takes at once.
            let class = TrafficClass { api, stream, output_tokens: (900, 900), ..class("one") };
            let draft = class.draft(0, &mut SplitMix64::new(1));
            let outcome = client::send(addr, draft.clone(), Duration::from_secs(20)).await;
            let record = truth.take().pop().unwrap();
            assert_eq!(outcome, ClientOutcome::Finished, "{api:?} {stream}");
            assert_eq!((record.end, record.stream), (TruthEnd::Finished, stream), "{api:?}");
            assert_eq!(record.prompt_tokens, draft.prompt_tokens, "{api:?}");
            assert!(record.output_tokens >= 900, "{api:?}");
        }
    }
    for (api, broken) in [
        (TrafficApi::OpenAi, "data: {}\n\n"),
        (TrafficApi::Anthropic, "event: message_delta\ndata: {\"type\":\"message_delta\"}\n\n"),
        (TrafficApi::Ollama, "{\"done\":false}\n"),
        (TrafficApi::Tgi, "data: {\"generated_text\":null}\n\n"),
    ] {
        assert!(!dialogue::is_complete(api, broken.as_bytes()), "{api:?}");
    }
}

#[tokio::test]
async fn flights_are_bounded_and_the_rest_is_cut() {
    let slow = EngineSpec { load_time: Duration::from_secs(600), ..quick() };
    let (addr, _) = server(vec![slow]).await;
    let traffic = Traffic {
        max_in_flight: 5,
        drain: ms(50),
        ..Traffic::new(addr, 500.0, vec![class("held")], 5)
    };
    let summary = traffic.run(sleep(ms(200))).await;
    assert_eq!((summary.sent, summary.cut), (5, 5));
    assert!(summary.skipped > 20, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn arrivals_are_poisson_at_the_rate() {
    let traffic = Traffic::new((Ipv4Addr::LOCALHOST, 1).into(), 50.0, vec![], 3);
    let (mut rng, start) = (SplitMix64::new(3), Instant::now());
    let mut at = start;
    let mut early = 0;
    for _ in 0..20_000 {
        let next = traffic.after(at, &mut rng).unwrap();
        early += u32::from(next - at < ms(20));
        at = next;
    }
    let rate = 20_000.0 / (at - start).as_secs_f64();
    assert!((rate - 50.0).abs() < 1.5, "{rate}");
    // P(gap < mean) = 1 - 1/e.
    assert!((f64::from(early) / 20_000.0 - 0.632).abs() < 0.02);
    let none = Traffic::new(traffic.target, 0.0, vec![], 3);
    assert_eq!(none.after(start, &mut rng), None, "no rate, no arrival");
}

#[test]
fn the_demo_mix_asks_for_models_that_exist_and_keeps_them_busy_but_not_swamped() {
    let engines = demo_engines();
    let traffic = Traffic::demo_mix((Ipv4Addr::LOCALHOST, 1).into());
    let weights: f64 = traffic.classes.iter().map(|c| c.weight).sum();
    for engine in &engines {
        let mut busy = 0.0;
        for class in traffic.classes.iter().filter(|c| c.model == engine.name) {
            let mean = |(low, high): (u32, u32)| f64::from(low + high) / 2.0;
            let tokens = mean(class.output_tokens) + mean(class.reasoning_tokens);
            let step = engine.decode_base + engine.decode_per_running * engine.slots as u32;
            let prefill = engine.prefill_per_token.as_secs_f64() * mean(class.prompt_tokens);
            let mut hold = prefill + step.as_secs_f64() * tokens;
            if let Some((low, high)) = class.abort_after {
                hold = hold.min((low + high).as_secs_f64() / 2.0);
            }
            busy += traffic.rate_per_s * class.weight / weights * hold;
        }
        let load = busy / engine.slots as f64;
        assert!((0.01..0.8).contains(&load), "{}: {load}", engine.name);
    }
    for class in &traffic.classes {
        assert!(engines.iter().any(|e| e.name == class.model), "{}", class.name);
    }
}
