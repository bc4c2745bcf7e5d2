//! CPU throttling and pressure of this process, from its control group.

use prometheus::CounterVec;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Kernel counters of the program's control group, read at each scrape. A file that cannot be read has no series.
#[derive(Debug)]
pub(super) struct CgroupCounters {
    throttled: MonotonicCounter,
    pressure: MonotonicCounter,
}

/// A counter that follows one of the kernel's. It appears with the first reading and never decreases.
#[derive(Debug)]
struct MonotonicCounter {
    family: CounterVec,
    /// Highest reading so far, in seconds.
    exported: Mutex<f64>,
}

impl MonotonicCounter {
    fn new(family: CounterVec) -> Self {
        Self { family, exported: Mutex::new(0.0) }
    }

    fn set(&self, seconds: Option<f64>) {
        let Some(seconds) = seconds else { return };
        let mut exported = self.exported.lock().unwrap_or_else(PoisonError::into_inner);
        self.family.with_label_values::<&str>(&[]).inc_by((seconds - *exported).max(0.0));
        *exported = seconds.max(*exported);
    }
}

impl CgroupCounters {
    pub fn new(throttled: CounterVec, pressure: CounterVec) -> Self {
        Self {
            throttled: MonotonicCounter::new(throttled),
            pressure: MonotonicCounter::new(pressure),
        }
    }

    /// Reads the kernel's counters.
    pub fn refresh(&self) {
        let group = cgroup_path();
        let file = |name: &str| fs::read_to_string(group.join(name)).ok();
        // Version 2 counts microseconds, version 1 nanoseconds.
        let throttled = file("cpu.stat")
            .and_then(|stat| field(&stat, "throttled_usec ").map(|micros| micros / 1e6));
        let throttled = throttled.or_else(|| {
            let stat = fs::read_to_string("/sys/fs/cgroup/cpu/cpu.stat").ok()?;
            field(&stat, "throttled_time ").map(|nanos| nanos / 1e9)
        });
        self.throttled.set(throttled);
        self.pressure.set(file("cpu.pressure").and_then(|pressure| pressure_seconds(&pressure)));
    }
}

/// Directory of the program's control group (version 2). In a container with its own cgroup namespace it is the root of the
/// mount.
fn cgroup_path() -> PathBuf {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Path::new("/sys/fs/cgroup").join(path)
}

/// The number that follows `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Seconds in which at least one task waited for a CPU (PSI: `some ... total=MICROSECONDS`).
fn pressure_seconds(pressure: &str) -> Option<f64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    let total = line.split(' ').find_map(|part| part.strip_prefix("total="))?;
    total.parse::<f64>().ok().map(|micros| micros / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Opts;

    #[test]
    fn kernel_files_are_parsed() {
        let stat = "usage_usec 5\nnr_throttled 3\nthrottled_usec 2500000\n";
        assert_eq!(field(stat, "throttled_usec "), Some(2_500_000.0));
        assert_eq!(field(stat, "throttled_time "), None);
        let pressure = "some avg10=0.00 avg60=0.10 avg300=0.02 total=1500000\n\
                        full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(pressure_seconds(pressure), Some(1.5));
        assert_eq!(pressure_seconds(""), None);
    }

    #[test]
    fn a_counter_appears_with_its_first_reading_and_never_decreases() {
        let family = CounterVec::new(Opts::new("a_total", "h"), &[]).unwrap();
        let series = |family: &CounterVec| {
            let gathered = prometheus::core::Collector::collect(family);
            let metrics = gathered.first().map(|family| family.get_metric().to_vec());
            metrics.unwrap_or_default().first().map(|metric| metric.get_counter().get_value())
        };
        let counter = MonotonicCounter::new(family.clone());
        counter.set(None);
        assert_eq!(series(&family), None);
        counter.set(Some(2.0));
        counter.set(Some(1.0));
        assert_eq!(series(&family), Some(2.0));
        counter.set(Some(2.5));
        assert_eq!(series(&family), Some(2.5));
    }
}
