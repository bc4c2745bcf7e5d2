//! What the machine withheld from this process, read when it is scraped.

use prometheus::CounterVec;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Counters that the kernel keeps for our control group. A file that cannot be read gives no series.
#[derive(Debug)]
pub(super) struct CgroupCounters {
    throttled: MonotonicCounter,
    pressure: MonotonicCounter,
}

#[derive(Debug)]
struct MonotonicCounter {
    family: CounterVec,
    /// What the kernel's counter showed last, in seconds.
    shown: Mutex<f64>,
}

impl MonotonicCounter {
    fn new(family: CounterVec) -> Self {
        Self { family, shown: Mutex::new(0.0) }
    }

    fn set(&self, seconds: Option<f64>) {
        let Some(seconds) = seconds else { return };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.family.with_label_values::<&str>(&[]).inc_by((seconds - *shown).max(0.0));
        *shown = seconds.max(*shown);
    }
}

impl CgroupCounters {
    pub fn new(throttled: CounterVec, pressure: CounterVec) -> Self {
        Self {
            throttled: MonotonicCounter::new(throttled),
            pressure: MonotonicCounter::new(pressure),
        }
    }

    /// Brings the counters up to date.
    pub fn read(&self) {
        let group = group();
        let file = |name: &str| fs::read_to_string(group.join(name)).ok();
        // Version 2 counts microseconds, version 1 nanoseconds.
        let throttled = file("cpu.stat")
            .and_then(|stat| field(&stat, "throttled_usec ").map(|micros| micros / 1e6));
        let throttled = throttled.or_else(|| {
            let stat = fs::read_to_string("/sys/fs/cgroup/cpu/cpu.stat").ok()?;
            field(&stat, "throttled_time ").map(|nanos| nanos / 1e9)
        });
        self.throttled.set(throttled);
        self.pressure.set(file("cpu.pressure").and_then(|pressure| some_total(&pressure)));
    }
}

/// The folder of our control group (version 2). In a container with a namespace of its own it is the
/// root of what is mounted.
fn group() -> PathBuf {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Path::new("/sys/fs/cgroup").join(path)
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Seconds in which some task of the group waited for a processor (PSI: `some ... total=MICROSECONDS`).
fn some_total(pressure: &str) -> Option<f64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    let total = line.split(' ').find_map(|part| part.strip_prefix("total="))?;
    total.parse::<f64>().ok().map(|micros| micros / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Opts;

    #[test]
    fn what_the_kernel_writes() {
        let stat = "usage_usec 5\nnr_throttled 3\nthrottled_usec 2500000\n";
        assert_eq!(field(stat, "throttled_usec "), Some(2_500_000.0));
        assert_eq!(field(stat, "throttled_time "), None);
        let pressure = "some avg10=0.00 avg60=0.10 avg300=0.02 total=1500000\n\
                        full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(some_total(pressure), Some(1.5));
        assert_eq!(some_total(""), None);
    }

    #[test]
    fn a_counter_appears_with_its_first_reading_and_never_falls() {
        let family = CounterVec::new(Opts::new("a_total", "h"), &[]).unwrap();
        let series = |family: &CounterVec| {
            let gathered = prometheus::core::Collector::collect(family);
            let metrics = gathered.first().map(|family| family.get_metric().to_vec());
            metrics.unwrap_or_default().first().map(|metric| metric.get_counter().get_value())
        };
        let kept = MonotonicCounter::new(family.clone());
        kept.set(None);
        assert_eq!(series(&family), None);
        kept.set(Some(2.0));
        kept.set(Some(1.0));
        assert_eq!(series(&family), Some(2.0));
        kept.set(Some(2.5));
        assert_eq!(series(&family), Some(2.5));
    }
}
