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

/// A heart that beats for event loops: each beat is the instant at which it was due. It beats on a
/// thread of its own, with a finer clock than the event loops' timers have, until nobody listens.
///
/// # Errors
/// If there can be no more threads.
pub fn heart() -> io::Result<watch::Receiver<Duration>> {
    let (beat, beats) = watch::channel(Duration::ZERO);
    thread::Builder::new().name("heart".into()).spawn(move || {
        let mut listened = true;
        while listened {
            let due = now() + EVERY;
            thread::sleep(EVERY);
            listened = beat.send(due).is_ok();
        }
    })?;
    Ok(beats)
}

/// Tells `observe` at each beat how late this event loop got to it: what a socket waits too. Ends with
/// the heart.
pub async fn watch_lag(mut beats: watch::Receiver<Duration>, observe: impl Fn(Duration)) {
    while beats.changed().await.is_ok() {
        let at = now();
        let lag = at.saturating_sub(*beats.borrow_and_update());
        if lag > LONG {
            LAGGED_AT.set(Some(at));
        }
        observe(lag);
    }
}
