//! Lag of the event loops: how late a worker gets to an event.

use super::now;
use std::cell::Cell;
use std::io;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(50);
/// Lag that makes an interval on the program's clock visibly wrong.
const LONG_LAG: Duration = Duration::from_millis(1);
/// Maximum number of consecutive missed heartbeats that are reported.
const MAX_MISSED: u64 = 1200;

thread_local! {
    /// When the event loop of this thread last had a long lag.
    static LAGGED_AT: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Whether the event loop of this thread has had a lag since `start` that makes an interval on the program's clock
/// visibly wrong.
pub fn lagged_since(start: Duration) -> bool {
    LAGGED_AT.get().is_some_and(|at| at >= start)
}

/// Number of a heartbeat, and when it was due.
pub type Heartbeat = (u64, Duration);

/// Starts a thread that sends heartbeats to event loops until all receivers are dropped. Its sleep is more precise than
/// the event loops' own timers.
///
/// # Errors
/// If the thread cannot be started.
pub fn start_heartbeat() -> io::Result<watch::Receiver<Heartbeat>> {
    let (sender, receiver) = watch::channel((0, Duration::ZERO));
    thread::Builder::new().name("heart".into()).spawn(move || {
        for number in 1.. {
            let due = now() + HEARTBEAT_INTERVAL;
            thread::sleep(HEARTBEAT_INTERVAL);
            if sender.send((number, due)).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// Calls `observe` with this event loop's lag at each heartbeat. A socket waits as long for the event loop. Ends when the
/// heartbeats end.
pub async fn measure_lag(mut heartbeats: watch::Receiver<Heartbeat>, observe: impl Fn(Duration)) {
    let (mut last, _) = *heartbeats.borrow_and_update();
    while heartbeats.changed().await.is_ok() {
        let at = now();
        let (number, due) = *heartbeats.borrow_and_update();
        // Heartbeats that were missed while the loop was busy were due earlier.
        for missed in 0..(number - last).min(MAX_MISSED) {
            let lag = at.saturating_sub(due)
                + HEARTBEAT_INTERVAL * u32::try_from(missed).unwrap_or_default();
            if lag > LONG_LAG {
                LAGGED_AT.set(Some(at));
            }
            observe(lag);
        }
        last = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_busy_loop_lags_at_each_heartbeat() {
        let lags = Arc::<Mutex<Vec<Duration>>>::default();
        let (heartbeats, ours) = (start_heartbeat().unwrap(), Arc::clone(&lags));
        let observe = move |lag| ours.lock().unwrap().push(lag);
        let measuring = tokio::spawn(measure_lag(heartbeats, observe));
        tokio::time::sleep(Duration::from_millis(120)).await;
        let start = now();
        thread::sleep(Duration::from_millis(400));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(lagged_since(start));
        measuring.abort();
        let lags = lags.lock().unwrap();
        let long = lags.iter().filter(|lag| **lag > Duration::from_millis(100)).count();
        assert!((4..=8).contains(&long), "{lags:?}");
        assert!(lags.iter().max().unwrap() > &Duration::from_millis(300), "{lags:?}");
    }
}
