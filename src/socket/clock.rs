//! The one monotonic clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the process first asked. Never 0, so that 0 can mean "not yet" in an atomic.
pub fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed() + Duration::from_nanos(1)
}
