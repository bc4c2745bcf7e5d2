//! One engine on real time: the task that drives the model, and the channels to the connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::model::{Emission, EmissionKind, Engine, EngineSpec, Job, JobId, JobRejected};

/// An engine, and who listens to which of its jobs.
pub(super) struct EngineHost {
    pub(super) name: String,
    pub(super) seed: u64,
    epoch: Instant,
    state: Mutex<EngineHostState>,
    /// The driver sleeps until the next event; this tells it that there may be an earlier one.
    wake: Notify,
}

struct EngineHostState {
    engine: Engine,
    listeners: HashMap<JobId, UnboundedSender<Emission>>,
}

impl EngineHost {
    pub(super) fn new(spec: EngineSpec, epoch: Instant) -> Arc<Self> {
        Arc::new(Self {
            name: spec.name.clone(),
            seed: spec.seed,
            epoch,
            state: Mutex::new(EngineHostState {
                engine: Engine::new(spec),
                listeners: HashMap::new(),
            }),
            wake: Notify::new(),
        })
    }

    /// Moves the model along with the clock, for ever. VllmTokens come out up to a millisecond late (the timer's
    /// granularity), but the model's own instants do not shift by that: delays never add up.
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

    /// Offers a job now. Returns its number, its arrival on the engine's clock, and what will happen to it.
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
        // Also after a refusal: it may have begun a load.
        self.wake.notify_one();
        result
    }

    /// Takes a job back now, if it is still there.
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

    /// The state, advanced to the present and all listeners told.
    fn at_present(&self) -> (MutexGuard<'_, EngineHostState>, Duration) {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that the engine sees time in order.
        let now = self.epoch.elapsed();
        let EngineHostState { engine, listeners } = &mut *guard;
        engine.advance(now, &mut |emission| {
            // Who no longer listens has cancelled, or is about to.
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
