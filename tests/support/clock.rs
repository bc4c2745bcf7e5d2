//! Comparisons of measured times with true times that a busy machine cannot break.
//!
//! - [`Bracket`] holds the clock's readings before and after an event that the test causes. The event happened in
//!   between, however long the test's thread was delayed.
//! - [`Disturbance`] measures how late threads wake on this machine while a test runs. Times that a program reads from
//!   its own clock may be off by that much, so their bounds grow with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// An instant that lies between two readings of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    earliest: Instant,
    latest: Instant,
}

impl Bracket {
    /// An instant between these two.
    pub fn between(earliest: Instant, latest: Instant) -> Self {
        Self { earliest, latest }
    }

    /// An instant that is known exactly.
    pub fn at(instant: Instant) -> Self {
        Self { earliest: instant, latest: instant }
    }

    /// Runs `event` and returns its result with the readings around it.
    pub fn around<T>(event: impl FnOnce() -> T) -> (T, Self) {
        let earliest = Instant::now();
        let result = event();
        (result, Self { earliest, latest: Instant::now() })
    }

    pub fn earliest(&self) -> Instant {
        self.earliest
    }

    /// The least and the most seconds that can lie between `start` and this instant.
    pub fn since(&self, start: Self) -> (f64, f64) {
        let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
        (seconds(start.latest, self.earliest), seconds(start.earliest, self.latest))
    }
}

/// Distance in seconds of a measured time from the range of possible true times; 0 inside it.
pub fn distance(measured: f64, (least, most): (f64, f64)) -> f64 {
    (least - measured).max(measured - most).max(0.0)
}

/// Fails if a measured time lies further than `allowed` seconds outside the range of possible true times.
pub fn assert_within(what: &str, measured: f64, truth: (f64, f64), allowed: f64) {
    let (least, most) = truth;
    println!("{what}: measured {measured:.4} s, true {least:.4} to {most:.4} s");
    assert!(
        distance(measured, truth) <= allowed,
        "{what}: measured {measured} s, true {least} to {most} s, allowed error {allowed} s"
    );
}

/// How long the watching threads sleep between two readings.
const PERIOD: Duration = Duration::from_millis(2);
/// Timer slack and scheduling of an idle machine stay below this delay.
const NORMAL_DELAY: Duration = Duration::from_micros(300);

/// Delays of the watching threads, in order.
#[derive(Default)]
struct DelayLog {
    /// When a period began, and how much longer it took than planned. Normal delays are left out.
    delays: Vec<(Instant, Duration)>,
    /// Start of the current period.
    current: Option<Instant>,
}

/// Started by the first test that needs it; runs until the process ends.
static DELAYS: LazyLock<&'static Mutex<DelayLog>> = LazyLock::new(|| {
    let log: &'static Mutex<DelayLog> = Box::leak(Box::default());
    let (mut near, mut far) = UnixStream::pair().unwrap();
    // A period wakes two threads, one by a timer and one by a socket, as a measurement does.
    std::thread::spawn(move || {
        let mut byte = [0];
        while far.read_exact(&mut byte).and_then(|()| far.write_all(&byte)).is_ok() {}
    });
    std::thread::spawn(move || {
        loop {
            let start = Instant::now();
            log.lock().unwrap().current = Some(start);
            std::thread::sleep(PERIOD);
            let mut byte = [0];
            near.write_all(&byte).and_then(|()| near.read_exact(&mut byte)).unwrap();
            let delay = start.elapsed().saturating_sub(PERIOD);
            if delay > NORMAL_DELAY {
                log.lock().unwrap().delays.push((start, delay));
            }
        }
    });
    log
});

/// Tests that need the processors for themselves hold this lock exclusively.
static PROCESSORS: RwLock<()> = RwLock::new(());

enum ProcessorLock {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Exclusive { _guard: RwLockWriteGuard<'static, ()> },
}

/// How long each running thread of this process has waited for a processor (Linux; elsewhere none is known).
fn processor_waits() -> BTreeMap<OsString, Duration> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return BTreeMap::new() };
    let wait = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((task.file_name(), Duration::from_nanos(nanos)))
    };
    tasks.flatten().filter_map(wait).collect()
}

/// A measurement of how late threads wake, from its start on.
pub struct Disturbance {
    start: Instant,
    waits_at_start: BTreeMap<OsString, Duration>,
    _lock: ProcessorLock,
}

impl Disturbance {
    /// Starts to measure. The test may run beside others.
    pub fn watch() -> Self {
        let guard = PROCESSORS.read().unwrap_or_else(PoisonError::into_inner);
        Self::start(ProcessorLock::Shared { _guard: guard })
    }

    /// Starts to measure, once no other test that measures runs. For tests that keep the processors busy.
    pub fn watch_alone() -> Self {
        let guard = PROCESSORS.write().unwrap_or_else(PoisonError::into_inner);
        Self::start(ProcessorLock::Exclusive { _guard: guard })
    }

    fn start(lock: ProcessorLock) -> Self {
        LazyLock::force(&DELAYS);
        Self { start: Instant::now(), waits_at_start: processor_waits(), _lock: lock }
    }

    fn delays(&self) -> Vec<Duration> {
        let log = DELAYS.lock().unwrap();
        let current = log.current.map(|start| (start, start.elapsed().saturating_sub(PERIOD)));
        let delays = log.delays.iter().copied().chain(current);
        let since_start = delays.filter(|(start, delay)| *start + PERIOD + *delay >= self.start);
        since_start.map(|(_, delay)| delay).collect()
    }

    /// The longest delay so far.
    pub fn worst(&self) -> Duration {
        self.delays().into_iter().max().unwrap_or_default()
    }

    /// `seconds`, and three times the longest delay so far: the bound of a single measured time.
    pub fn allow(&self, seconds: f64) -> f64 {
        seconds + 3.0 * self.worst().as_secs_f64()
    }

    /// Seconds by which a measurement of this length may be longer because threads of this process waited for a
    /// processor: four times its share of all such waits so far. Close to 0 on a quiet machine.
    pub fn waits_during(&self, seconds: f64) -> f64 {
        let since_start = |(task, wait): (OsString, Duration)| {
            wait.saturating_sub(self.waits_at_start.get(&task).copied().unwrap_or_default())
        };
        let waits: Duration = processor_waits().into_iter().map(since_start).sum();
        4.0 * seconds * waits.as_secs_f64() / self.start.elapsed().as_secs_f64()
    }

    /// `seconds`, and all delays so far: the bound of a time that many steps in a row make up.
    pub fn allow_in_sequence(&self, seconds: f64) -> f64 {
        let total: Duration = self.delays().into_iter().sum();
        self.allow(seconds) + total.as_secs_f64()
    }

    /// `seconds`, and ten times the mean delay so far: the bound of a mean over many measured times.
    pub fn allow_in_mean(&self, seconds: f64) -> f64 {
        let periods = (self.start.elapsed().as_secs_f64() / PERIOD.as_secs_f64()).max(1.0);
        let total: Duration = self.delays().into_iter().sum();
        seconds + 10.0 * total.as_secs_f64() / periods
    }
}
