//! How late an event loop gets to run.

use super::now;
use std::cell::Cell;
use std::io;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(50);
/// A lag that an interval by the program's clock would show.
const LONG: Duration = Duration::from_millis(1);

thread_local! {
    /// When this thread's event loop last was late.
    static LAGGED_AT: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Whether the event loop of this thread was so late since `start` that an interval by the program's
/// clock would show it.
pub fn lagged_since(start: Duration) -> bool {
    LAGGED_AT.get().is_some_and(|at| at >= start)
}

/// The number of a beat, and the instant at which it was due.
pub type Heartbeat = (u64, Duration);

/// Most beats that were missed in a row and are told.
const MOST_MISSED: u64 = 1200;

/// A heart that beats for event loops. It beats on a
/// thread of its own, with a finer clock than the event loops' timers have, until nobody listens.
///
/// # Errors
/// If there can be no more threads.
pub fn start_heartbeat() -> io::Result<watch::Receiver<Heartbeat>> {
    let (beat, beats) = watch::channel((0, Duration::ZERO));
    thread::Builder::new().name("heart".into()).spawn(move || {
        for number in 1.. {
            let due = now() + EVERY;
            thread::sleep(EVERY);
            if beat.send((number, due)).is_err() {
                break;
            }
        }
    })?;
    Ok(beats)
}

/// Tells `observe` at each beat how late this event loop got to it: what a socket waits too. Ends with
/// the heart.
pub async fn watch_lag(mut beats: watch::Receiver<Heartbeat>, observe: impl Fn(Duration)) {
    let (mut seen, _) = *beats.borrow_and_update();
    while beats.changed().await.is_ok() {
        let at = now();
        let (number, due) = *beats.borrow_and_update();
        // Beats that came while this loop was busy were due as long before.
        for missed in 0..(number - seen).min(MOST_MISSED) {
            let lag = at.saturating_sub(due) + EVERY * u32::try_from(missed).unwrap_or_default();
            if lag > LONG {
                LAGGED_AT.set(Some(at));
            }
            observe(lag);
        }
        seen = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_loop_that_is_busy_is_late_for_each_beat() {
        let lags = Arc::<Mutex<Vec<Duration>>>::default();
        let (beats, ours) = (start_heartbeat().unwrap(), Arc::clone(&lags));
        let watching = tokio::spawn(watch_lag(beats, move |lag| ours.lock().unwrap().push(lag)));
        tokio::time::sleep(Duration::from_millis(120)).await;
        let start = now();
        thread::sleep(Duration::from_millis(400));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(lagged_since(start));
        watching.abort();
        let lags = lags.lock().unwrap();
        let long = lags.iter().filter(|lag| **lag > Duration::from_millis(100)).count();
        assert!((4..=8).contains(&long), "{lags:?}");
        assert!(lags.iter().max().unwrap() > &Duration::from_millis(300), "{lags:?}");
    }
}
