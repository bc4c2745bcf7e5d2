//! A simulated server on virtual time that loads, unloads, restarts and fails. All times are in seconds.

use super::rng::EvalRng;
use std::collections::BTreeMap;

/// Reaction of the server to new connections and requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ServerPhase {
    Ready,
    /// It refuses connections.
    Down,
    /// It responds with 503. `says_loading`: the body says that the model loads.
    Unavailable {
        says_loading: bool,
    },
    /// It accepts requests and holds them until it is ready.
    Holding,
    /// It drops packets: connections time out.
    Silent,
}

/// A request as the client makes it.
#[derive(Debug, Clone, Copy)]
pub struct ColdEvalRequest {
    pub model: &'static str,
    pub bytes: u64,
    /// Part of the prompt whose prefix is cached.
    pub cached: f64,
    pub tokens: u64,
    pub is_stream: bool,
    /// Pause after which the client retries a failed request.
    pub retry_after: Option<f64>,
    /// Number of requests whose prompts are processed together with this one; 1 if it is alone.
    pub together: u32,
    /// Factor of the time for the prompt.
    pub slowness: f64,
}

pub const CHAT: ColdEvalRequest = ColdEvalRequest {
    model: "m",
    bytes: 1500,
    cached: 0.0,
    tokens: 60,
    is_stream: true,
    retry_after: None,
    together: 1,
    slowness: 1.0,
};

/// How the server works.
#[derive(Debug, Clone)]
pub struct ColdEvalServer {
    /// Phases by their start. It is ready before the first one.
    pub phases: Vec<(f64, ServerPhase)>,
    /// Time after its last use at which a model is unloaded.
    pub unload_after: Option<f64>,
    /// A request for another model than the loaded one unloads it.
    pub holds_one_model: bool,
    /// Shortest and longest load.
    pub load: (f64, f64),
    /// The models are loaded at the start.
    pub is_loaded: bool,
    /// Times in which clients that pass by keep the server busy.
    pub foreign: Vec<(f64, f64)>,
}

impl Default for ColdEvalServer {
    fn default() -> Self {
        Self {
            phases: Vec::new(),
            unload_after: None,
            holds_one_model: false,
            load: (6.0, 10.0),
            is_loaded: true,
            foreign: Vec::new(),
        }
    }
}

/// Time for the prompt that does not depend on its size, the time for an uncached byte, and the time per token.
const PREFILL_BASE: f64 = 0.08;
const PREFILL_PER_BYTE: f64 = 0.00005;
pub const PER_TOKEN: f64 = 0.02;

/// Progress of a request in the server.
#[derive(Debug, Clone, Copy)]
pub struct EvalService {
    pub first: f64,
    pub end: f64,
    /// Time for the prompt.
    pub prefill: f64,
    /// The request waited for a load, or for the server to be ready, until then.
    pub waited_until: Option<f64>,
    /// It waited for a load that this request caused.
    pub loads: bool,
}

/// State of an [`ColdEvalServer`].
#[derive(Debug, Default)]
pub struct ColdEvalServerState {
    /// When each model is loaded, and when it is last used.
    models: BTreeMap<&'static str, (f64, f64)>,
    prefill_free: f64,
}

impl ColdEvalServer {
    pub fn phase(&self, at: f64) -> ServerPhase {
        self.phases
            .iter()
            .rev()
            .find(|(from, _)| *from <= at)
            .map_or(ServerPhase::Ready, |(_, phase)| *phase)
    }

    /// When the server is next ready.
    pub fn ready_after(&self, at: f64) -> f64 {
        let is_ready = |one: &&(f64, ServerPhase)| one.0 > at && one.1 == ServerPhase::Ready;
        self.phases.iter().find(is_ready).map_or(f64::INFINITY, |(from, _)| *from)
    }

    /// Serves a request that arrives at `at`, in a server that accepts it.
    pub fn serve(
        &self,
        state: &mut ColdEvalServerState,
        rng: &mut EvalRng,
        at: f64,
        request: &ColdEvalRequest,
    ) -> EvalService {
        let is_held = self.phase(at) == ServerPhase::Holding;
        let mut start = if is_held { self.ready_after(at) } else { at };
        let mut waited_until = is_held.then_some(start);
        let others = state.models.iter().filter(|(name, _)| **name != request.model);
        let others_end = others.map(|(_, model)| model.1).fold(0.0, f64::max);
        let first_known = self.is_loaded.then_some((0.0, 0.0));
        let known = state.models.get(request.model).copied().or(first_known);
        let is_unloaded = match known {
            None => true,
            Some((loaded, used)) => {
                let is_old =
                    self.unload_after.is_some_and(|after| start > used.max(loaded) + after);
                let is_swapped = self.holds_one_model
                    && state
                        .models
                        .iter()
                        .any(|(name, model)| *name != request.model && model.0 > loaded);
                is_old || is_swapped
            }
        };
        if is_unloaded {
            let free = if self.holds_one_model { others_end.max(start) } else { start };
            start = free + rng.between(self.load.0, self.load.1);
            waited_until = Some(start);
        } else if let Some((loaded, _)) = known.filter(|known| known.0 > start) {
            start = loaded;
            waited_until = Some(start);
        }
        let loaded = if is_unloaded { start } else { known.map_or(0.0, |known| known.0) };
        for (from, to) in &self.foreign {
            if (*from..*to).contains(&start) {
                start = *to;
            }
        }
        let uncached = request.bytes as f64 * (1.0 - request.cached);
        let noise = (0.08 * rng.normal()).exp() * request.slowness;
        let prefill = (PREFILL_BASE + PREFILL_PER_BYTE * uncached) * noise;
        let prefill = prefill * f64::from(request.together);
        if request.together == 1 {
            start = start.max(state.prefill_free);
            state.prefill_free = start + prefill;
        }
        let first = start + prefill;
        let end = first + PER_TOKEN * request.tokens as f64;
        let used = state.models.get(request.model).map_or(0.0, |model| model.1);
        state.models.insert(request.model, (loaded, used.max(end)));
        EvalService { first, end, prefill, waited_until, loads: is_unloaded }
    }
}
