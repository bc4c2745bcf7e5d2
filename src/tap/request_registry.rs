//! Requests in flight of one upstream, so that a request can be shown while it waits, and a stall counted while it lasts.

use super::RequestProgress;
use super::lock;
use super::stall_watch::StreamSilence;
use crate::metrics::RequestPhase;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Requests in flight of one upstream. The lock is taken at the arrival, the first output and the end of each request, to
/// search for stalls, and to list the requests.
#[derive(Debug, Default)]
pub(super) struct RequestRegistry(Mutex<RegistrySlots>);

/// A slab: the index of a slot is stable while its request runs, so adding and removing hash nothing.
#[derive(Debug, Default)]
struct RegistrySlots {
    slots: Vec<Option<RegisteredRequest>>,
    /// Indices of the empty slots.
    free: Vec<usize>,
}

/// A request in flight.
#[derive(Debug, Clone)]
struct RegisteredRequest {
    id: u64,
    started_at: Duration,
    progress: Arc<RequestProgress>,
    /// Streams only, from the first output on.
    silence: Option<Arc<StreamSilence>>,
}

/// Streams of one upstream that have had output.
#[derive(Debug, Default)]
pub(super) struct RunningStreams {
    /// Longest current gap.
    pub longest_gap: Duration,
    /// Latest output.
    pub latest_output: Option<Duration>,
    /// A stream expects more output, and its client accepts it.
    pub is_output_due: bool,
    /// A stream expects more output, and its client does not accept it.
    pub is_pausing: bool,
}

/// State of a request in flight.
#[derive(Debug, Clone)]
pub(crate) struct InFlightRequest {
    /// Number of the request, as later in the request log.
    pub id: u64,
    /// Arrival of the request.
    pub started_at: Duration,
    /// Model named in the request, once it is known.
    pub model: Option<Arc<str>>,
    /// Operation of its route: the label `gen_ai_operation_name`.
    pub operation: &'static str,
    /// Phase of the request.
    pub phase: RequestPhase,
    /// When the request was completely sent to the upstream.
    pub sent: Option<Duration>,
    /// Output events so far, of streams with output.
    pub output_events: Option<u64>,
    /// Time since the newest output, of streams that expect more. Time in which the client accepts no bytes is excluded.
    pub silence: Option<Duration>,
}

impl RequestRegistry {
    /// Adds a request. Returns the index of its slot.
    pub fn add(&self, id: u64, started_at: Duration, progress: &Arc<RequestProgress>) -> usize {
        let progress = Arc::clone(progress);
        let request = Some(RegisteredRequest { id, started_at, progress, silence: None });
        let RegistrySlots { slots, free } = &mut *lock(&self.0);
        let at = free.pop().unwrap_or(slots.len());
        match slots.get_mut(at) {
            Some(slot) => *slot = request,
            None => slots.push(request),
        }
        at
    }

    /// Adds the silence of a stream that had its first output.
    pub(super) fn set_silence(&self, at: usize, silence: &Arc<StreamSilence>) {
        let silence = Some(Arc::clone(silence));
        if let Some(Some(request)) = lock(&self.0).slots.get_mut(at) {
            request.silence = silence;
        }
    }

    /// Removes the request in this slot.
    pub fn remove(&self, at: usize) {
        let removed = {
            let RegistrySlots { slots, free } = &mut *lock(&self.0);
            let removed = slots.get_mut(at).and_then(Option::take);
            if removed.is_some() {
                free.push(at);
            }
            removed
        };
        // Dropped without the lock.
        drop(removed);
    }

    /// Counts the current gaps that have become stalls.
    pub fn count_stalls(&self, now: Duration) -> RunningStreams {
        let RegistrySlots { slots, .. } = &*lock(&self.0);
        let mut streams = RunningStreams::default();
        for silence in slots.iter().flatten().filter_map(|request| request.silence.as_ref()) {
            let Some(gap) = silence.count_stall(now) else { continue };
            streams.longest_gap = streams.longest_gap.max(gap);
            if silence.is_client_ready() {
                streams.is_output_due = true;
                streams.latest_output = streams.latest_output.max(Some(now.saturating_sub(gap)));
            } else {
                streams.is_pausing = true;
            }
        }
        streams
    }

    /// Requests that are not streams with output.
    pub fn without_output(&self) -> Vec<Arc<RequestProgress>> {
        let RegistrySlots { slots, .. } = &*lock(&self.0);
        let silent = slots.iter().flatten().filter(|request| request.silence.is_none());
        silent.map(|request| Arc::clone(&request.progress)).collect()
    }

    /// Number of requests in flight, and the oldest of them, oldest first.
    pub fn oldest(&self, count: usize, now: Duration) -> (usize, Vec<InFlightRequest>) {
        let (total, mut oldest) = {
            let RegistrySlots { slots, .. } = &*lock(&self.0);
            let mut total = 0;
            // The youngest is at the top. Only times are compared while the lock is held.
            let mut heap: BinaryHeap<(Duration, usize)> = BinaryHeap::with_capacity(count + 1);
            for (at, request) in slots.iter().enumerate() {
                let Some(request) = request else { continue };
                total += 1;
                heap.push((request.started_at, at));
                if heap.len() > count {
                    heap.pop();
                }
            }
            let oldest = heap.into_iter().filter_map(|(_, at)| slots.get(at)?.clone());
            (total, oldest.collect::<Vec<_>>())
        };
        oldest.sort_by_key(|request| (request.started_at, request.id));
        (total, oldest.iter().filter_map(|request| request.state(now)).collect())
    }
}

impl RegisteredRequest {
    /// `None` once the request has ended.
    fn state(&self, now: Duration) -> Option<InFlightRequest> {
        Some(InFlightRequest {
            id: self.id,
            started_at: self.started_at,
            model: self.progress.model(),
            operation: self.progress.operation().label(),
            phase: self.progress.phase()?,
            sent: self.progress.sent(),
            output_events: self.silence.as_ref().map(|silence| silence.output_events()),
            silence: self.silence.as_ref().and_then(|silence| silence.current(now)),
        })
    }
}
