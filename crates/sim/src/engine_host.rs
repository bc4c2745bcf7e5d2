//! Runs one engine in real time: a task advances the model, and channels carry its emissions to the connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::model::{Emission, EmissionKind, EngineSpec, Job, JobId, JobRejected, SimEngine};

/// An engine, with the connection that waits for each of its jobs.
pub(super) struct EngineHost {
    pub(super) name: String,
    pub(super) seed: u64,
    epoch: Instant,
    state: Mutex<EngineHostState>,
    /// Wakes the driver, which sleeps until the next event, because there may be an earlier one.
    wake: Notify,
}

struct EngineHostState {
    engine: SimEngine,
    listeners: HashMap<JobId, UnboundedSender<Emission>>,
}

impl EngineHost {
    pub(super) fn new(spec: EngineSpec, epoch: Instant) -> Arc<Self> {
        Arc::new(Self {
            name: spec.name.clone(),
            seed: spec.seed,
            epoch,
            state: Mutex::new(EngineHostState {
                engine: SimEngine::new(spec),
                listeners: HashMap::new(),
            }),
            wake: Notify::new(),
        })
    }

    /// Advances the model with the clock, forever. Tokens are emitted up to a millisecond late (the timer's
    /// granularity), but the model's own instants do not shift, so delays do not accumulate.
    pub(super) async fn drive(self: Arc<Self>) {
        loop {
            let next = self.at_present().0.engine.next_event();
            match next {
                Some(at) => tokio::select! {
                    () = sleep_until(self.epoch + at) => {}
                    () = self.wake.notified() => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Submits a job now. Returns its id, its arrival on the engine's clock, and its emissions.
    pub(super) fn submit(
        &self,
        job: Job,
    ) -> Result<(JobId, Duration, UnboundedReceiver<Emission>), JobRejected> {
        let (mut state, now) = self.at_present();
        let submitted = state.engine.submit(now, job);
        let result = submitted.map(|id| {
            let (sender, receiver) = unbounded_channel();
            state.listeners.insert(id, sender);
            (id, now, receiver)
        });
        drop(state);
        // Also after a rejection, because it can start a load.
        self.wake.notify_one();
        result
    }

    /// Cancels a job now, if it still exists.
    pub(super) fn cancel(&self, id: JobId) {
        let (mut state, now) = self.at_present();
        state.listeners.remove(&id);
        if state.engine.cancel(now, id) {
            drop(state);
            self.wake.notify_one();
        }
    }

    pub(super) fn is_loading(&self) -> bool {
        self.at_present().0.engine.is_loading()
    }

    #[cfg(test)]
    pub(super) fn occupancy(&self) -> (usize, usize) {
        let (state, _) = self.at_present();
        (state.engine.running(), state.engine.waiting())
    }

    /// Locks the state, advances it to the present, and notifies all listeners.
    fn at_present(&self) -> (MutexGuard<'_, EngineHostState>, Duration) {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Reads the clock under the lock, so that the engine sees time in order.
        let now = self.epoch.elapsed();
        let EngineHostState { engine, listeners } = &mut *guard;
        engine.advance(now, &mut |emission| {
            // A closed channel means that the job is cancelled, or will be.
            if emission.kind == EmissionKind::Finished {
                if let Some(listener) = listeners.remove(&emission.job) {
                    let _ = listener.send(emission);
                }
            } else if let Some(listener) = listeners.get(&emission.job) {
                let _ = listener.send(emission);
            }
        });
        (guard, now)
    }
}
