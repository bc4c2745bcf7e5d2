//! Tests of the model against hand-computed tables and against its formulas.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Prefill 10 ms + 1 ms a token, decode 5 ms + 1 ms a running job, one slot.
fn spec() -> EngineSpec {
    EngineSpec {
        slots: 1,
        prefill_base: ms(10),
        prefill_per_token: ms(1),
        decode_base: ms(5),
        decode_per_running: ms(1),
        ..EngineSpec::new("m")
    }
}

fn job(prompt_tokens: u32, output_tokens: u32) -> Job {
    Job { prompt_tokens, reasoning_tokens: 0, output_tokens, choices: 1 }
}

/// The emissions of each job; checks that they are in order of time.
#[derive(Default)]
struct JobEmissions {
    jobs: BTreeMap<JobId, JobTruth>,
    log: Vec<Emission>,
}

impl JobEmissions {
    fn advance(&mut self, engine: &mut SimEngine, to: Duration) {
        engine.advance(to, &mut |emission| {
            assert!(self.log.last().is_none_or(|last| last.at <= emission.at));
            self.log.push(emission);
            if let Some(truth) = self.jobs.get_mut(&emission.job) {
                truth.note(&emission);
            }
        });
    }

    fn submit(
        &mut self,
        engine: &mut SimEngine,
        at: Duration,
        job: Job,
    ) -> Result<JobId, JobRejected> {
        self.advance(engine, at);
        let id = engine.submit(at, job)?;
        self.jobs.insert(id, JobTruth::arrived(at));
        Ok(id)
    }

    fn drain(&mut self, engine: &mut SimEngine) {
        while let Some(at) = engine.next_event() {
            self.advance(engine, at);
        }
    }

    fn of(&self, n: u64) -> &JobTruth {
        &self.jobs[&JobId(n)]
    }
}

/// Runs jobs given as (arrival in ms, job).
fn play(spec: EngineSpec, arrivals: &[(u64, Job)]) -> JobEmissions {
    let mut engine = SimEngine::new(spec);
    let mut account = JobEmissions::default();
    for (at, job) in arrivals {
        account.submit(&mut engine, ms(*at), *job).unwrap();
    }
    account.drain(&mut engine);
    assert_eq!((engine.running(), engine.waiting()), (0, 0));
    account
}

#[test]
fn one_slot_follows_the_recursion() {
    // Service time: 10 + p, then 6 a token after the first.
    let account =
        play(spec(), &[(0, job(10, 3)), (5, job(0, 1)), (40, job(5, 2)), (100, job(1, 1))]);
    //           start  queue  first  last
    let table = [(0, 0, 20, 32), (32, 27, 42, 42), (42, 2, 57, 63), (100, 0, 111, 111)];
    for (n, (start, queue, first, last)) in table.into_iter().enumerate() {
        let truth = account.of(n as u64);
        assert_eq!(truth.started, Some(ms(start)), "job {n}");
        assert_eq!(truth.queue_wait, Some(ms(queue)), "job {n}");
        assert_eq!(truth.load_wait, Some(Duration::ZERO), "job {n}");
        assert_eq!(truth.first_token, Some(ms(first)), "job {n}");
        assert_eq!(truth.last_token, Some(ms(last)), "job {n}");
        assert_eq!(truth.finished, truth.last_token, "job {n}");
    }
}

#[test]
fn a_decode_step_grows_with_the_batch() {
    for running in 1..=8u64 {
        let spec = EngineSpec { slots: 8, ..spec() };
        let arrivals = vec![(0, job(0, 11)); running as usize];
        let account = play(spec, &arrivals);
        for n in 0..running {
            let truth = account.of(n);
            let decode = truth.last_token.unwrap() - truth.first_token.unwrap();
            // Jobs that finish at the same instant leave the batch one by one, but all steps are already scheduled.
            assert_eq!(decode, ms(10 * (5 + running)), "{running} running");
        }
    }
}

#[test]
fn choices_share_slot_and_instants() {
    let three = Job { choices: 3, reasoning_tokens: 1, ..job(0, 1) };
    let account = play(spec(), &[(0, three)]);
    assert_eq!(account.of(0).tokens, 6);
    assert_eq!(account.of(0).last_token, Some(ms(16)));
    let tokens: Vec<_> = account
        .log
        .iter()
        .filter_map(|e| match e.kind {
            EmissionKind::Token { choice, index } => Some((e.at, choice, index)),
            _ => None,
        })
        .collect();
    let expected: Vec<_> = [(10, 0), (16, 1)]
        .into_iter()
        .flat_map(|(at, index)| (0..3).map(move |choice| (ms(at), choice, index)))
        .collect();
    assert_eq!(tokens, expected);
}

#[test]
fn a_job_without_tokens_finishes_after_its_prefill() {
    let account = play(spec(), &[(0, job(5, 0))]);
    let truth = account.of(0);
    assert_eq!((truth.tokens, truth.first_token, truth.finished), (0, None, Some(ms(15))));
}

#[test]
fn jobs_are_held_during_the_load_at_start() {
    let spec = EngineSpec { load_time: ms(1000), ..spec() };
    let account = play(spec, &[(100, job(0, 1)), (400, job(0, 1)), (2000, job(0, 1))]);
    let waits = |n| (account.of(n).load_wait, account.of(n).queue_wait);
    assert_eq!(waits(0), (Some(ms(900)), Some(ms(0))));
    assert_eq!(waits(1), (Some(ms(600)), Some(ms(10))));
    assert_eq!(waits(2), (Some(ms(0)), Some(ms(0))));
}

#[test]
fn jobs_are_rejected_during_the_load_if_specified() {
    let mut engine =
        SimEngine::new(EngineSpec { load_time: ms(1000), reject_while_loading: true, ..spec() });
    let mut account = JobEmissions::default();
    assert!(engine.is_loading());
    assert_eq!(account.submit(&mut engine, ms(999), job(0, 1)), Err(JobRejected::Loading));
    assert!(account.submit(&mut engine, ms(1000), job(0, 1)).is_ok());
    assert!(!engine.is_loading());
}

#[test]
fn an_idle_model_is_unloaded_and_the_next_arrival_loads_it() {
    let spec = EngineSpec { load_time: ms(100), idle_unload: Some(ms(500)), ..spec() };
    // Ready at 100, busy until 110. The second comes within 500 of that, the third after.
    let account = play(spec.clone(), &[(0, job(0, 1)), (600, job(0, 1)), (1111, job(0, 1))]);
    let load_waits: Vec<_> = (0..3).map(|n| account.of(n).load_wait.unwrap()).collect();
    assert_eq!(load_waits, [ms(100), ms(0), ms(100)]);

    // A rejected arrival also starts the load.
    let mut engine = SimEngine::new(EngineSpec { reject_while_loading: true, ..spec });
    let mut account = JobEmissions::default();
    account.drain(&mut engine);
    let now = ms(5000);
    assert_eq!(account.submit(&mut engine, now, job(0, 1)), Err(JobRejected::Loading));
    assert_eq!(engine.next_event(), Some(now + ms(100)));
    assert!(account.submit(&mut engine, now + ms(100), job(0, 1)).is_ok());
}

#[test]
fn queue_is_limited() {
    let mut engine = SimEngine::new(EngineSpec { queue_limit: Some(1), ..spec() });
    let mut account = JobEmissions::default();
    let outcomes: Vec<_> = (0..3).map(|_| account.submit(&mut engine, ms(0), job(0, 1))).collect();
    assert_eq!(outcomes, [Ok(JobId(0)), Ok(JobId(1)), Err(JobRejected::QueueFull)]);
    assert!(account.submit(&mut engine, ms(10), job(0, 1)).is_ok());
}

#[test]
fn cancelled_job_frees_its_slot_at_once() {
    let mut engine = SimEngine::new(spec());
    let mut account = JobEmissions::default();
    let first = account.submit(&mut engine, ms(0), job(0, 1000)).unwrap();
    let second = account.submit(&mut engine, ms(1), job(0, 1)).unwrap();
    let third = account.submit(&mut engine, ms(2), job(0, 1)).unwrap();
    account.advance(&mut engine, ms(50));
    assert!(engine.cancel(ms(50), second), "a waiting one");
    assert!(engine.cancel(ms(50), first), "a running one");
    assert!(!engine.cancel(ms(50), first), "gone");
    assert_eq!(engine.next_event(), Some(ms(50)));
    account.drain(&mut engine);
    assert_eq!(account.of(third.0).started, Some(ms(50)));
    assert_eq!(account.of(third.0).queue_wait, Some(ms(48)));
    assert_eq!(account.of(second.0).started, None);
    assert_eq!(account.of(first.0).finished, None);
}

/// 100,000 jobs at a load of about 0.9 of the slots.
fn long_run(seed: u64) -> JobEmissions {
    let mut engine = SimEngine::new(EngineSpec { slots: 8, jitter: 0.2, seed, ..spec() });
    let mut account = JobEmissions::default();
    let mut arrivals = crate::rng::SplitMix64::new(seed);
    let mut at = Duration::ZERO;
    for _ in 0..100_000 {
        at += ms(11).mul_f64(arrivals.exponential());
        let size = job(arrivals.between((0, 20)), arrivals.between((1, 10)));
        account.submit(&mut engine, at, size).unwrap();
    }
    account.drain(&mut engine);
    account
}

#[test]
fn a_hundred_thousand_jobs_follow_queueing_theory() {
    let began = std::time::Instant::now();
    let account = long_run(1);
    assert!(began.elapsed() < Duration::from_secs(30), "too slow to be of use");
    let mut last_start = Duration::ZERO;
    let (mut waited, mut finishes) = (0, BTreeMap::new());
    for (id, truth) in &account.jobs {
        let (start, finish) = (truth.started.unwrap(), truth.finished.unwrap());
        assert_eq!(start - truth.arrival, truth.queue_wait.unwrap(), "{id:?}");
        assert!(start >= last_start, "first come, first served: {id:?}");
        last_start = start;
        waited += u32::from(start > truth.arrival);
        *finishes.entry(start).or_insert(0i32) += 1;
        *finishes.entry(finish).or_insert(0i32) -= 1;
    }
    assert!((10_000..90_000).contains(&waited), "{waited} waited");
    let mut running = 0;
    let most = finishes
        .values()
        .map(|change| {
            running += change;
            running
        })
        .max();
    assert_eq!((most, running), (Some(8), 0), "never more than the slots");
}

#[test]
fn same_seed_gives_the_same_emissions() {
    let few = |seed| {
        let spec = EngineSpec { slots: 3, jitter: 0.3, seed, ..spec() };
        let arrivals: Vec<_> = (0..50).map(|n| (n * 7, job(n as u32, 5))).collect();
        play(spec, &arrivals).log
    };
    assert_eq!(few(9), few(9));
    assert_ne!(few(9), few(10));
}

#[test]
fn prefill_slows_down_decoding() {
    let spec = EngineSpec { slots: 2, decode_per_prefilling: ms(100), ..spec() };
    // The second is in prefill from 12 to 42: of the first's steps, only that scheduled at 16 meets it.
    let account = play(spec, &[(0, job(0, 3)), (12, job(20, 2))]);
    assert_eq!(account.of(0).last_token, Some(ms(10 + 6 + 5 + 2 + 100)));
    assert_eq!(account.of(1).last_token, Some(ms(42 + 7)));
}

#[test]
fn cached_prefix_needs_no_prefill() {
    let cached = |hits| EngineSpec { slots: 500, cache_hits: hits, cached_share: 0.75, ..spec() };
    let hit_count = |hits| {
        let account = play(cached(hits), &vec![(0, job(100, 1)); 400]);
        let firsts = account.jobs.values().map(|truth| truth.first_token.unwrap());
        assert!(firsts.clone().all(|first| first == ms(110) || first == ms(35)));
        firsts.filter(|first| *first == ms(35)).count()
    };
    assert_eq!((hit_count(0.0), hit_count(1.0)), (0, 400));
    assert!((160..240).contains(&hit_count(0.5)));
}
