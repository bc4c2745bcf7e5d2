//! Time limits of a response body: silence of the server, and the total time of the request.

use crate::metrics::LimitKind;
use crate::proxy::limits::ProxyLimits;
use crate::proxy::timers::TaskTimer;
use crate::proxy::upstream::UpstreamPool;
use crate::socket;
use crate::tap::Measurement;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

/// Time limits of one response body. Exists only if the configuration has one of them.
#[derive(Debug)]
pub(crate) struct ResponseDeadline {
    upstream: Arc<UpstreamPool>,
    /// When the request must have ended.
    end: Option<Duration>,
    timer: TaskTimer,
}

impl ResponseDeadline {
    /// Returns `None` if there is no limit.
    pub fn new(
        upstream: &Arc<UpstreamPool>,
        limits: &ProxyLimits,
        measurement: &Measurement,
    ) -> Option<Box<Self>> {
        let first = [limits.response_silence, limits.request_time].into_iter().flatten().min()?;
        let started_at = measurement.started_at()?;
        let end = limits.request_time.map(|time| started_at + time);
        let timer = TaskTimer::new(upstream.timers(), first);
        Some(Box::new(Self { upstream: Arc::clone(upstream), end, timer }))
    }

    /// Whether a limit is exceeded. Otherwise wakes the task when the next check is due.
    ///
    /// `silent_since`: since when the response waits for the server. `None` if it waits for the client.
    pub fn is_exceeded(
        &mut self,
        cx: &mut Context<'_>,
        silent_since: impl Fn() -> Option<Duration>,
    ) -> bool {
        while self.timer.is_due(cx) {
            let now = socket::now();
            let left = |at: Duration| at.saturating_sub(now);
            let total = self.end.map(left);
            let silence = self.upstream.config().limits.response_silence;
            let silence = silence.map(|time| left(silent_since().unwrap_or(now) + time));
            for (time, limit) in
                [(total, LimitKind::RequestTime), (silence, LimitKind::ResponseSilence)]
            {
                if time.is_some_and(|time| time.is_zero()) {
                    self.upstream.tap().upstream_series().count_limit(limit);
                    return true;
                }
            }
            let Some(next) = [total, silence].into_iter().flatten().min() else { return false };
            self.timer.restart(next);
        }
        false
    }
}
