//! Whether others are busy on our cores: times taken then are not to be trusted.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::clock;
use crate::pin::{Cores, Span};

/// Others may have this share of a core.
pub const QUIET: f64 = 0.1;

/// Over what time it is judged.
const GLANCE: Duration = Duration::from_millis(300);

/// Waits, at most as long as `patience`, until nobody is busy on `cores`; to be called while we are not. Whether it
/// became quiet.
pub async fn wait(cores: Cores, patience: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < patience {
        let before = (clock::now(), busy(cores.proxy), busy(cores.load));
        sleep(GLANCE).await;
        let window = (clock::now() - before.0) as f64;
        let share = |before: Option<u64>, after: Option<u64>| {
            Some(after?.saturating_sub(before?) as f64 / window)
        };
        let shares = [share(before.1, busy(cores.proxy)), share(before.2, busy(cores.load))];
        // What cannot be told is not waited for.
        if shares.into_iter().flatten().all(|share| share < QUIET) {
            return true;
        }
    }
    false
}

/// Time that `cores` were busy so far, added up, with whatever it was, nanoseconds; from the ticks of
/// `/proc/stat`, which are hundredths of a second.
pub fn busy(cores: Span) -> Option<u64> {
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
