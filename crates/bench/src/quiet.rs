//! Detects other processes on the benchmark's cores, which make times unreliable.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::clock;
use crate::pin::{CorePlan, CoreRange};

/// Share of a core that other processes may use.
pub const QUIET: f64 = 0.1;

/// Period over which the share is measured.
const GLANCE: Duration = Duration::from_millis(300);

/// Waits at most `patience` until `cores` are quiet, and returns whether they are. Must be called while the benchmark is
/// idle.
pub async fn wait(cores: CorePlan, patience: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < patience {
        let before = (clock::now(), busy(cores.proxy), busy(cores.load));
        sleep(GLANCE).await;
        let window = (clock::now() - before.0) as f64;
        let share = |before: Option<u64>, after: Option<u64>| {
            Some(after?.saturating_sub(before?) as f64 / window)
        };
        let shares = [share(before.1, busy(cores.proxy)), share(before.2, busy(cores.load))];
        // If the load cannot be read, do not wait.
        if shares.into_iter().flatten().all(|share| share < QUIET) {
            return true;
        }
    }
    false
}

/// LatencyColumn that `cores` were busy so far, added up, with whatever it was, nanoseconds; from the ticks of
/// `/proc/stat`, which are hundredths of a second.
pub fn busy(cores: CoreRange) -> Option<u64> {
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
