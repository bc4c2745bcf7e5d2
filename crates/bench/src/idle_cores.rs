//! Detects other processes on the benchmark's cores, which make times unreliable.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::clock;
use crate::core_affinity::{CorePlan, CoreRange};

/// Share of a core that other processes may use.
pub const IDLE_SHARE: f64 = 0.1;

/// Period over which the share is measured.
const PERIOD: Duration = Duration::from_millis(300);

/// Waits at most `patience` until `cores` are idle, and returns whether they are. Must be called while the benchmark is
/// idle.
pub async fn wait_until_idle(cores: CorePlan, patience: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < patience {
        let before = (clock::now(), busy_time(cores.proxy), busy_time(cores.load));
        sleep(PERIOD).await;
        let window = (clock::now() - before.0) as f64;
        let share = |before: Option<u64>, after: Option<u64>| {
            Some(after?.saturating_sub(before?) as f64 / window)
        };
        let shares =
            [share(before.1, busy_time(cores.proxy)), share(before.2, busy_time(cores.load))];
        // If the load cannot be read, do not wait.
        if shares.into_iter().flatten().all(|share| share < IDLE_SHARE) {
            return true;
        }
    }
    false
}

/// Returns the time in nanoseconds that `cores` were busy since boot, summed over the cores. `/proc/stat` counts it in
/// ticks of 10 ms.
pub fn busy_time(cores: CoreRange) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    cores.cores().try_fold(0, |sum, core| Some(sum + busy_core(&stat, core)?))
}

fn busy_core(stat: &str, core: usize) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq, steal.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum();
    Some(busy * 10_000_000)
}
