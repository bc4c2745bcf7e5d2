//! Simulated engines on virtual time: none is called stuck in a day without a fault, and each that hangs is found in time.

use super::{EngineProgress, EngineView, LIMIT_FACTOR, MIN_LIMIT, UNKNOWN_LOAD, UNLOADED_AFTER};
use std::collections::VecDeque;
use std::time::Duration;

/// Time of a step of the engine, which generates one token of each answer, and between two observations. In milliseconds,
/// like all times here.
const STEP: u64 = 30;
const TICK: u64 = 240;
const HOUR: u64 = 3_600_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Traffic and engine.
#[derive(Debug, Clone, Copy)]
struct World {
    slots: usize,
    /// Mean time between requests at noon.
    between: u64,
    /// Hours of the day without requests.
    idle_hours: u64,
    /// Time to process a prompt, usually, and of a long one; part of the long ones in percent.
    prefill: u64,
    long_prefill: u64,
    long_percent: u64,
    /// The engine generates while it processes a prompt.
    is_chunked: bool,
    /// Part of the requests that are not streamed, and of those whose client pauses, in percent.
    document_percent: u64,
    pause_percent: u64,
    /// Clients leave after this time without output.
    patience: u64,
    /// Number of models, of which the server holds one. Time to load one.
    models: u64,
    load: u64,
}

const CHAT: World = World {
    slots: 16,
    between: 1500,
    idle_hours: 8,
    prefill: 300,
    long_prefill: 45_000,
    long_percent: 1,
    is_chunked: true,
    document_percent: 0,
    pause_percent: 20,
    patience: u64::MAX,
    models: 1,
    load: 0,
};

#[derive(Debug, Clone)]
struct EngineJob {
    sent: u64,
    prefill: u64,
    /// As the baseline predicts it.
    expected: u64,
    outputs: u64,
    is_document: bool,
    model: u64,
    /// The client accepts nothing from one of these times to the other.
    pause: (u64, u64),
    /// The latest output that the proxy has read.
    seen: u64,
}

impl EngineJob {
    fn is_paused(&self, now: u64) -> bool {
        self.seen > 0 && (self.pause.0..self.pause.1).contains(&now)
    }
}

struct BatchEngine {
    world: World,
    random: Random,
    waiting: VecDeque<EngineJob>,
    /// Jobs whose prompts are processed, and until when: one, or several in chunks.
    processing: Vec<(EngineJob, u64)>,
    running: Vec<EngineJob>,
    /// Ends of the pauses of clients whose answer is complete, and when it was.
    unread: Vec<(u64, u64)>,
    loaded: u64,
    next_arrival: u64,
    latest_output: u64,
    latest_model: u64,
    /// Documents that have ended since the last tick.
    ended_documents: Vec<u64>,
}

impl BatchEngine {
    fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            waiting: VecDeque::new(),
            processing: Vec::new(),
            running: Vec::new(),
            unread: Vec::new(),
            loaded: 0,
            next_arrival: 0,
            latest_output: 0,
            latest_model: 0,
            ended_documents: Vec::new(),
        }
    }

    fn arrive(&mut self, now: u64) {
        let World { between, idle_hours, .. } = self.world;
        while self.next_arrival <= now {
            let hour = self.next_arrival / HOUR % 24;
            let pause = if hour < idle_hours { HOUR / 3 } else { between };
            // Bursts: a quarter of the requests come together.
            let pause = if self.random.chance(25) { 0 } else { 2 * self.random.below(pause) };
            self.next_arrival += pause.max(1);
            let World { prefill, long_prefill, long_percent, .. } = self.world;
            let is_long = self.random.chance(long_percent);
            let usual = prefill / 2 + self.random.below(prefill);
            let prefill =
                if is_long { long_prefill / 2 + self.random.below(long_prefill) } else { usual };
            let outputs = 20 + self.random.below(800);
            let pause = self.random.chance(self.world.pause_percent).then(|| {
                let begin = now + self.random.below(30_000);
                (begin, begin + self.random.below(300_000))
            });
            self.waiting.push_back(EngineJob {
                sent: now,
                prefill,
                expected: prefill * (75 + self.random.below(60)) / 100,
                outputs,
                is_document: self.random.chance(self.world.document_percent),
                model: self.random.below(self.world.models),
                pause: pause.unwrap_or((0, 0)),
                seen: 0,
            });
        }
        let patience = self.world.patience;
        self.waiting.retain(|job| now - job.sent < patience);
    }

    /// The engine works for a step. Returns whether it generates.
    fn work(&mut self, now: u64) -> bool {
        let running = &mut self.running;
        self.processing.retain(|(job, until)| {
            if *until <= now {
                running.push(job.clone());
            }
            *until > now
        });
        if !self.processing.is_empty() && !self.world.is_chunked {
            return false;
        }
        let has_slot = self.processing.len() + self.running.len() < self.world.slots;
        let is_free = self.running.is_empty() && self.processing.is_empty();
        let can_serve = |job: &EngineJob| job.model == self.loaded || is_free;
        if has_slot && self.waiting.front().is_some_and(can_serve) {
            let job = self.waiting.pop_front().unwrap();
            let load = if job.model == self.loaded { 0 } else { self.world.load };
            self.loaded = job.model;
            let until = now + load + job.prefill;
            self.processing.push((job, until));
        }
        self.running.iter_mut().for_each(|job| job.outputs = job.outputs.saturating_sub(1));
        true
    }

    /// The proxy reads what has arrived.
    fn read(&mut self, now: u64, generates: bool) {
        for job in &mut self.running {
            let is_new = !job.is_document && (generates || job.seen == 0);
            if is_new && !job.is_paused(now) {
                job.seen = now;
                self.latest_output = now;
                self.latest_model = job.model;
            }
        }
        let ended = &mut self.ended_documents;
        let (latest, unread) = (&mut self.latest_output, &mut self.unread);
        self.running.retain(|job| {
            if job.outputs == 0 && job.is_document {
                ended.push(now - job.sent);
                *latest = now;
            } else if job.outputs == 0 && job.is_paused(now) {
                // The engine does not wait for the client.
                unread.push((job.pause.1, now));
            }
            job.outputs > 0
        });
        unread.retain(|(until, arrived)| {
            if *until <= now {
                *latest = (*latest).max(*arrived);
            }
            *until > now
        });
    }

    /// The state that a proxy can see.
    fn view(&self, now: u64) -> EngineView {
        let processed = self.processing.iter().map(|(job, _)| job);
        let all = || self.waiting.iter().chain(processed.clone()).chain(&self.running);
        let waiting = || all().filter(|job| !job.is_document && job.seen == 0);
        let documents = || all().filter(|job| job.is_document);
        let prompts = || waiting().chain(documents());
        EngineView {
            latest_output: (self.latest_output > 0).then(|| ms(self.latest_output)),
            is_streaming: all().any(|job| !job.is_document && job.seen > 0 && !job.is_paused(now)),
            is_pausing: all().any(|job| job.is_paused(now)) || !self.unread.is_empty(),
            oldest_waiting: waiting().map(|job| ms(job.sent)).min(),
            prefill: Some(ms(prompts().map(|job| job.expected).max().unwrap_or(0))),
            is_other_model: waiting().any(|job| job.model != self.latest_model),
            oldest_document: documents().map(|job| ms(job.sent)).min(),
        }
    }
}

/// Runs an engine that hangs in these times. Calls `observe` after each tick; it returns whether to go on.
fn run(
    world: World,
    seed: u64,
    end: u64,
    hangs: &[(u64, u64)],
    mut observe: impl FnMut(u64, &EngineProgress, &BatchEngine) -> bool,
) {
    let (mut engine, mut progress) = (BatchEngine::new(world, seed), EngineProgress::default());
    for now in (0..end).step_by(usize::try_from(STEP).unwrap()) {
        engine.arrive(now);
        let works = !hangs.iter().any(|(begin, end)| (*begin..*end).contains(&now));
        let generates = works && engine.work(now);
        if !works {
            engine.processing.iter_mut().for_each(|(_, until)| *until += STEP);
        }
        engine.read(now, generates);
        if now % TICK == 0 {
            engine.ended_documents.drain(..).for_each(|time| progress.on_document(ms(time)));
            progress.observe(ms(now), &engine.view(now));
            if !observe(now, &progress, &engine) {
                return;
            }
        }
    }
}

/// Engines and traffic, by name.
fn worlds() -> Vec<(&'static str, World)> {
    let patient = CHAT;
    vec![
        ("chunked prefill", patient),
        ("prefill stops the others", World { is_chunked: false, ..CHAT }),
        (
            "long prompts only",
            World { prefill: 20_000, between: 60_000, is_chunked: false, ..CHAT },
        ),
        ("one slot", World { slots: 1, between: 40_000, is_chunked: false, ..CHAT }),
        ("overload", World { slots: 4, between: 1000, patience: 60_000, long_percent: 0, ..CHAT }),
        ("half is not streamed", World { document_percent: 50, ..CHAT }),
        ("nothing is streamed", World { document_percent: 100, ..CHAT }),
        (
            "one slot, half not streamed",
            World { slots: 1, between: 40_000, document_percent: 50, is_chunked: false, ..CHAT },
        ),
        ("all clients pause", World { pause_percent: 100, between: 20_000, ..CHAT }),
        (
            "three models that are swapped",
            World { models: 3, load: 40_000, between: 60_000, is_chunked: false, ..CHAT },
        ),
        ("rare requests", World { between: 600_000, idle_hours: 0, is_chunked: false, ..CHAT }),
    ]
}

#[test]
fn no_engine_is_stuck_in_a_day_without_a_fault() {
    for (name, world) in worlds() {
        let (mut ticks, mut longest) = (0, Duration::ZERO);
        run(world, 7, 24 * HOUR, &[], |now, progress, engine| {
            assert!(
                !progress.is_stuck(),
                "{name} at {now} ms: {:?} beyond {:?}, {:?}",
                progress.silence(),
                progress.limit(),
                engine.view(now),
            );
            ticks += u64::from(progress.silence() > Duration::ZERO);
            longest = longest.max(progress.silence());
            true
        });
        println!("{name}: due in {ticks} ticks, longest {longest:?}");
        assert!(ticks > 0 || world.document_percent == 100, "{name} is judged");
    }
}

#[test]
fn an_engine_that_hangs_is_found_in_time() {
    for (name, world) in worlds() {
        let world = World { idle_hours: 0, ..world };
        for seed in 1..=2 {
            // The engine does something else at each of these times.
            let begin = (2 * HOUR + seed * 417_310) / STEP * STEP;
            let (mut found, mut open, mut usual) = (None, 0, Duration::ZERO);
            // The longest silence of the engine before it hangs, and the longest prompt when it does.
            let (mut longest, mut prompt) = (0, Duration::ZERO);
            run(world, seed, begin + HOUR, &[(begin, u64::MAX)], |now, progress, engine| {
                let view = engine.view(now);
                if now < begin {
                    let oldest = view.oldest_waiting.into_iter().chain(view.oldest_document).min();
                    let since = if view.is_streaming { Some(Duration::ZERO) } else { oldest };
                    let since = since.map_or(now, whole).max(engine.latest_output);
                    longest = longest.max(now - since);
                    return true;
                }
                prompt = prompt.max(view.prefill.unwrap_or_default());
                // Nobody can see that an idle engine hangs, or one whose clients all pause.
                let is_open =
                    view.oldest_waiting.or(view.oldest_document).is_some() && !view.is_pausing;
                open += if view.is_streaming || is_open { TICK } else { 0 };
                let allowed = progress.next.map_or(Duration::ZERO, |next| next.allowed);
                usual = usual.max(allowed).max(progress.usual_silence());
                found = progress.is_stuck().then_some(ms(open));
                found.is_none()
            });
            let limit = MIN_LIMIT.max(LIMIT_FACTOR * usual) + ms(2 * TICK);
            println!(
                "{name}, seed {seed}: found after {found:?}, limit {limit:?}, longest silence before {longest} ms"
            );
            assert!(
                found.is_some_and(|found| found <= limit),
                "{name}, seed {seed}: {found:?}, {limit:?}"
            );
            // Without an allowance that has no silence to learn from: loads, and answers that are not streamed.
            if world.document_percent == 0 && world.models == 1 && world.between < 600_000 {
                let truth = MIN_LIMIT.max(LIMIT_FACTOR * prompt.max(ms(longest))) + ms(2 * TICK);
                assert!(found.is_some_and(|found| found <= truth), "{name}: {found:?}, {truth:?}");
            }
            if world.is_chunked && world.document_percent + world.pause_percent < 100 {
                // Long prompts do not delay it where they hold up nothing.
                assert!(limit < ms(13_000), "{name}, seed {seed}: {limit:?}");
            }
        }
    }
}

fn streaming(latest: u64) -> EngineView {
    EngineView {
        latest_output: Some(ms(latest)),
        is_streaming: true,
        prefill: Some(Duration::ZERO),
        ..EngineView::default()
    }
}

fn waiting(latest: u64, sent: u64, prefill: u64) -> EngineView {
    EngineView {
        latest_output: Some(ms(latest)),
        oldest_waiting: Some(ms(sent)),
        prefill: Some(ms(prefill)),
        ..EngineView::default()
    }
}

/// Observes an engine in the same state from one time to another, each second.
fn observe(progress: &mut EngineProgress, from: u64, to: u64, view: &EngineView) {
    (from..=to).step_by(1000).for_each(|now| progress.observe(ms(now), view));
}

#[test]
fn the_example_of_the_module() {
    let mut progress = EngineProgress::default();
    for minute in 0..20_u64 {
        for second in 0..60 {
            let now = (minute * 60 + second) * 1000;
            let silent = second % 30 < 2;
            progress.observe(ms(now), &streaming(if silent { now / 30_000 * 30_000 } else { now }));
        }
    }
    let usual = progress.usual_silence();
    assert!((ms(1900)..=ms(2100)).contains(&usual), "{usual:?}");
    let hung = EngineView {
        prefill: Some(ms(1500)),
        oldest_waiting: Some(ms(2_000_000)),
        ..streaming(2_000_000)
    };
    progress.observe(ms(2_000_000), &hung);
    observe(&mut progress, 2_000_000, 2_010_000, &hung);
    assert_eq!((progress.silence(), progress.is_stuck()), (ms(8500), false));
    progress.observe(ms(2_010_250), &hung);
    assert!(progress.is_stuck());
    progress.observe(ms(2_011_000), &streaming(2_010_900));
    assert_eq!((progress.silence() < ms(101), progress.is_stuck()), (true, false));
}

#[test]
fn nothing_is_due_without_requests_or_while_all_clients_pause() {
    let mut progress = EngineProgress::default();
    let idle =
        EngineView { latest_output: Some(ms(1000)), prefill: Some(ms(0)), ..EngineView::default() };
    observe(&mut progress, 1000, 3_600_000, &idle);
    assert_eq!(progress.silence(), Duration::ZERO);
}

#[test]
fn clients_that_give_up_and_return_do_not_hide_a_hang() {
    let mut progress = EngineProgress::default();
    progress.observe(ms(1000), &streaming(1000));
    for attempt in 0..5 {
        let sent = 2000 + attempt * 7000;
        observe(&mut progress, sent, sent + 5000, &waiting(1000, sent, 1000));
        let idle = EngineView { latest_output: Some(ms(1000)), ..EngineView::default() };
        progress.observe(ms(sent + 6000), &idle);
        assert_eq!(progress.silence(), Duration::ZERO, "nobody waits");
    }
    observe(&mut progress, 40_000, 42_000, &waiting(1000, 40_000, 1000));
    assert!(progress.is_stuck(), "{:?}", progress.silence());
}

#[test]
fn a_model_may_be_loaded_after_a_long_pause_and_before_another_model() {
    let idle = whole(UNLOADED_AFTER) + 5000;
    let other = EngineView { is_other_model: true, ..waiting(1000, 2000, 200) };
    for (view, sent) in [(waiting(1000, idle, 200), idle), (other, 2000)] {
        let mut progress = EngineProgress::default();
        progress.observe(ms(1000), &streaming(1000));
        observe(&mut progress, sent, sent + whole(UNKNOWN_LOAD), &view);
        assert_eq!(progress.silence(), Duration::ZERO);
        observe(&mut progress, sent + whole(UNKNOWN_LOAD), sent + 3 * whole(UNKNOWN_LOAD), &view);
        assert!(progress.is_stuck());
    }
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

#[test]
fn what_is_unknown_is_not_due() {
    let mut progress = EngineProgress::default();
    let first = EngineView { latest_output: None, ..waiting(0, 1000, 100) };
    observe(&mut progress, 1000, 900_000, &first);
    assert_eq!(progress.silence(), Duration::ZERO, "no output was ever seen");
    let unknown = EngineView { prefill: None, ..waiting(1000, 2000, 0) };
    observe(&mut progress, 1000, 900_000, &unknown);
    assert_eq!(progress.silence(), Duration::ZERO, "no prompt was ever measured");
    let document = EngineView { oldest_document: Some(ms(2000)), oldest_waiting: None, ..unknown };
    observe(&mut progress, 900_000, 1_000_000, &document);
    assert_eq!(progress.silence(), Duration::ZERO, "no document has ended");
}

#[test]
fn the_memory_is_bounded() {
    assert!(size_of::<EngineProgress>() < 8 << 10, "{}", size_of::<EngineProgress>());
}
