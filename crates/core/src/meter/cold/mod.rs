//! Finds cold starts: when the server, or a model of it, was not ready for those who asked.
//!
//! [`ColdStartDetector`] is the detector of one upstream. It is told what happens to inference requests and what
//! probes find, each with its instant, and tells each cold start once, when it ends:
//!
//! - [`server`]: nobody accepted connections. A demand that failed only raises a suspicion; a probe confirms
//!   it or not, so that an overloaded server, which drops connections too, is never taken for a cold one.
//! - [`model`]: a model said that it loads, or how long it loaded, or was slow after a time without requests.
//! - [`restart`]: the server's own page of metrics, where that is asked for, tells of another process.
//!
//! A cold start begins with the first demand that met the server not ready (`boot`: with our own start). It
//! ends with the first output after that, or when the server is ready if nobody waits then.

mod episode;
mod model;
mod restart;
mod server;
mod tail;

pub use restart::ProcessTimes;
pub use server::{BootTimes, ProbeResult};

use super::queue::ExpectedTtft;
use model::{ModelTracker, WaitPeriod};
use restart::RestartDetector;
use server::{InFlightHints, ServerTracker};
use std::collections::BTreeMap;
use std::time::Duration;
use strum::VariantArray;

/// Most models that are told apart; of more, those that were asked for longest ago are forgotten. Each takes
/// some 3 KiB, and 32 bytes for each of its requests in flight.
const MAX_MODELS: usize = 64;
/// Longest name of a model that is kept, in bytes.
const MAX_NAME: usize = 128;

/// What can be configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColdStartConfig {
    /// After so long without a request in flight, the next one may find a model that was unloaded.
    pub idle: Duration,
    /// A server that stays away for longer has an outage, which is no cold start.
    pub outage: Duration,
    /// Probes ask a path of the server's that says whether it is ready; else they only connect.
    pub has_health: bool,
    /// The server's own page of metrics is asked for.
    pub has_metrics_page: bool,
}

/// Why a start was cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum ColdReason {
    /// Not ready since our own start beside it.
    Boot,
    /// It was ready, and what it was at broke just before it refused connections; or its own page of metrics tells
    /// of another process.
    Restarted,
    /// It was ready, and refused connections without having broken any: scaled to zero and back.
    Unreachable,
    /// It said that it loads.
    Loading,
    /// It told of a request how long it loaded, which was longer than a warm model takes.
    ReportedLoad,
    /// The first request after a time without any took far longer than its model's own baseline.
    Idle,
}

impl ColdReason {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Restarted => "restarted",
            Self::Unreachable => "unreachable",
            Self::Loading => "loading",
            Self::ReportedLoad => "reported_load",
            Self::Idle => "idle",
        }
    }
}

/// A cold start that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdStart {
    pub reason: ColdReason,
    /// The model whose output ended it; `None` if it ended without any.
    pub model: Option<String>,
    /// `None` if nobody met it: a restart of which only the server's page tells.
    pub began: Option<Duration>,
    pub ended: Duration,
}

impl ColdStart {
    /// How long it took, if that is known.
    pub fn duration(&self) -> Option<Duration> {
        self.began.map(|began| self.ended.saturating_sub(began))
    }
}

/// When the last cold start was, for those who waited on it too.
#[derive(Debug, Clone, Copy)]
struct LastColdStart {
    reason: ColdReason,
    /// When the server was last known not to be ready: who came later may have met it ready.
    unready: Duration,
    ended: Duration,
}

impl LastColdStart {
    /// The reason, if a request that came at `asked` and had output at `first` was waiting when it ended.
    fn held_up(self, asked: Duration, first: Duration) -> Option<ColdReason> {
        let Self { reason, unready, ended } = self;
        (asked <= unready && asked < ended && first >= ended).then_some(reason)
    }
}

/// An inference request in flight, as the detector knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    id: u64,
    /// `t_req`.
    at: Duration,
    /// For how long nothing was in flight before; `None` if something was.
    idle: Option<Duration>,
}

/// The first output of a request.
#[derive(Debug, Clone, Copy)]
pub struct FirstOutput<'a> {
    pub at: Duration,
    /// The model asked for; empty if none was named.
    pub model: &'a str,
    /// When all of the request was sent; `None` if that is not known.
    pub sent: Option<Duration>,
    /// Of the request's body.
    pub bytes: u64,
    /// `None` if there is no baseline, or the response is no stream.
    pub expected: Option<ExpectedTtft>,
    /// The end of the response may tell how long its model was loaded: [`ColdStartDetector::told`] comes then, and
    /// what the first output alone shows is not judged before.
    pub tells_load: bool,
}

/// What the end of a response tells of its time in the server, in seconds.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReportedTimes {
    /// How long its model was loaded.
    pub load: Option<f64>,
    /// How long its prompt was worked on.
    pub prefill: Option<f64>,
}

/// What one call has shown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ColdVerdict {
    /// Only the [end](ColdStartDetector::told) of the response shows whether the request was held up.
    pub needs_end: bool,
    /// Why the request was held up by a cold start, if it was.
    pub reason: Option<ColdReason>,
    /// The cold start that has ended.
    pub ended: Option<ColdStart>,
}

/// The detector of one upstream. Instants are told in about the order in which they were.
#[derive(Debug)]
pub struct ColdStartDetector {
    config: ColdStartConfig,
    server: ServerTracker,
    /// `None` where its page is not asked for.
    restarts: Option<RestartDetector>,
    models: BTreeMap<String, ModelTracker>,
    in_flight: usize,
    /// Those of them that have no output, and the `t_req` of each.
    waiting: BTreeMap<u64, Duration>,
    /// When the last request left; our own start before that.
    left: Duration,
    ids: u64,
}

impl ColdStartDetector {
    /// A detector that starts now, and wants a [probe](Self::probe_due) at once.
    pub fn new(config: ColdStartConfig, now: Duration) -> Self {
        let server = ServerTracker::new(config, now);
        let restarts = config.has_metrics_page.then(|| RestartDetector::new(config.idle));
        let (models, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { config, server, restarts, models, in_flight: 0, waiting, left: now, ids: 0 }
    }

    /// An inference request arrived; `at` is its `t_req`.
    pub fn on_request(&mut self, at: Duration) -> RequestId {
        let is_idle = self.in_flight == 0;
        let idle = is_idle.then(|| at.saturating_sub(self.left));
        self.server.arrived(at, is_idle);
        if let Some(restarts) = &mut self.restarts
            && idle >= Some(self.config.idle)
        {
            restarts.was_idle();
        }
        self.ids += 1;
        self.in_flight += 1;
        self.waiting.insert(self.ids, at);
        RequestId { id: self.ids, at, idle }
    }

    /// A request got no connection: refused, or not in time. Only a probe shows what that means.
    pub fn on_connect_failure(&mut self, ask: RequestId, at: Duration) {
        let in_use = ask.idle.is_none_or(|idle| idle < self.config.idle);
        self.server.suspect(ask.at, at, false, in_use);
    }

    /// What the server was at broke off: a request that it had taken, or its response.
    pub fn on_broken_connection(&mut self, at: Duration) {
        // Not since `t_req`: until now the server was there, and may have worked on it for long.
        self.server.suspect(at, at, true, true);
    }

    /// The server said of a request that its model loads.
    pub fn on_model_loading(&mut self, ask: RequestId, at: Duration, model: &str) {
        if !self.server.loading(ask.at, at) {
            self.model(model, at).loading(ask.at, at);
        }
    }

    /// The first output of a request; of one that is no stream, the first byte of its body.
    pub fn on_first_output(&mut self, ask: RequestId, output: &FirstOutput<'_>) -> ColdVerdict {
        let FirstOutput { at, model: name, .. } = *output;
        let in_flight = self.in_flight();
        self.waiting.remove(&ask.id);
        let server = self.server.output(ask.at, at, in_flight);
        let (past, idle) = (self.server.past(), self.config.idle);
        let model = self.model(name, at);
        let loaded = model.output(ask, at);
        let cold = past.and_then(|past| past.held_up(ask.at, at)).or(model.held_up(ask.at, at));
        // What loaded while the server got ready is part of that.
        let ended = server.or(loaded);
        let later = output.tells_load || (cold.is_none() && model.wants_prefill(ask, output, idle));
        let (cold, slow) = match cold {
            None if !later => model.judge(ask, output, idle, None).unzip(),
            cold => (cold, None),
        };
        if later {
            model.judged_later(ask);
        }
        let named = |ended| ColdStart { model: Some(name.to_owned()), ..ended };
        let ended = self.settled(ended.or(slow).map(named));
        ColdVerdict { needs_end: later, reason: cold, ended }
    }

    /// The end of a request that had output, and what it tells. `cold` is what is known of the request so
    /// far; it is judged now if it was to be judged [later](ColdVerdict::later).
    pub fn on_response_end(
        &mut self,
        ask: RequestId,
        output: &FirstOutput<'_>,
        told: ReportedTimes,
        cold: Option<ColdReason>,
    ) -> ColdVerdict {
        let ReportedTimes { load, prefill } = told;
        let FirstOutput { at, model: name, .. } = *output;
        let (past, idle) = (self.server.past(), self.config.idle);
        let Some(model) = self.models.get_mut(key(name)) else {
            // Others took its place.
            return ColdVerdict { reason: cold, ..ColdVerdict::default() };
        };
        if prefill.is_some() {
            model.tells_prefill();
        }
        if !model.is_judged_later(ask) {
            return ColdVerdict { reason: cold, ..ColdVerdict::default() };
        }
        let held_up = || past.and_then(|past| past.held_up(ask.at, at));
        let cold = cold.or_else(held_up).or_else(|| model.held_up(ask.at, at));
        let verdict = match load {
            Some(load) => model.told(WaitPeriod { asked: ask.at, first: at }, load, cold),
            None if cold.is_none() => model.judge(ask, output, idle, prefill).unzip(),
            None => (cold, None),
        };
        let (cold, ended) = verdict;
        let named = |ended| ColdStart { model: Some(name.to_owned()), ..ended };
        ColdVerdict { needs_end: false, reason: cold, ended: self.settled(ended.map(named)) }
    }

    /// A request left. `model` is as its output had it.
    pub fn on_request_end(
        &mut self,
        ask: RequestId,
        model: &str,
        at: Duration,
    ) -> Option<ColdStart> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.waiting.remove(&ask.id);
        self.left = self.left.max(at);
        if let Some(model) = self.models.get_mut(key(model)) {
            model.left(ask);
        }
        let ended = if self.waiting.is_empty() { self.server.nobody_waits() } else { None };
        self.settled(ended)
    }

    /// A probe that began at `asked` has found this.
    pub fn on_probe_result(
        &mut self,
        asked: Duration,
        at: Duration,
        found: ProbeResult,
    ) -> Option<ColdStart> {
        let was_loading = self.server.suspects_loading();
        let in_flight = self.in_flight();
        let ended = self.server.probed(asked, at, found, in_flight);
        if was_loading && !self.server.is_up() {
            // It is the server that loads, and not one of its models.
            self.models.values_mut().for_each(ModelTracker::forget_loading);
        }
        self.settled(ended)
    }

    /// A page of the server's metrics that was asked for at `asked` has come back, with what it tells of its
    /// process, or did not come or tells nothing.
    pub fn on_process_times(
        &mut self,
        asked: Duration,
        at: Duration,
        page: Option<ProcessTimes>,
    ) -> Option<ColdStart> {
        let is_met = !self.server.is_ready() || self.models.values().any(ModelTracker::is_loading);
        let restarts = self.restarts.as_mut()?;
        if let Some(until) = self.server.away_until() {
            restarts.met(until);
        }
        restarts.paged(asked, at, page, is_met)
    }

    /// When the next page of the server's metrics is due; `None` while none is wanted.
    pub fn metrics_page_due(&self) -> Option<Duration> {
        let restarts = self.restarts.as_ref().filter(|_| self.is_up() == Some(true))?;
        restarts.due(if self.in_flight > 0 { Duration::MAX } else { self.left })
    }

    /// Several processes have written pages in turns: they tell nothing, and none is asked for any more.
    pub fn has_several_processes(&self) -> bool {
        self.restarts.as_ref().is_some_and(RestartDetector::sees_several)
    }

    /// A cold start that has ended, once it is known what it was.
    fn settled(&mut self, ended: Option<ColdStart>) -> Option<ColdStart> {
        match &mut self.restarts {
            Some(restarts) => restarts.ended(ended?, self.server.was_in_use()),
            None => ended,
        }
    }

    /// Time passes: what nobody has contradicted for long enough is taken for true.
    pub fn tick(&mut self, now: Duration) -> Option<ColdStart> {
        let mut ended = self.server.tick(now);
        // Who is in flight may be waiting for the model.
        if self.in_flight == 0 && ended.is_none() {
            ended = self.models.values_mut().find_map(|model| model.tick(now));
        }
        self.settled(ended)
    }

    /// When the next probe is due; `None` while nothing is to be found out.
    pub fn probe_due(&self) -> Option<Duration> {
        self.server.probe_due(self.in_flight == 0)
    }

    /// Whether the server accepts connections (or says on its health path that it is ready) as far as is
    /// known; `None` until a probe, or an output, has told.
    pub fn is_up(&self) -> Option<bool> {
        (!self.server.is_starting()).then(|| self.server.is_up())
    }

    /// Since when the server has been away for longer than any cold start takes, told once.
    pub fn outage(&mut self, now: Duration) -> Option<Duration> {
        self.server.outage(now)
    }

    /// How far the server came since our own start.
    pub fn boot_times(&self) -> BootTimes {
        self.server.ladder()
    }

    /// What the requests in flight tell of a server that is away; nothing of one that is there.
    fn in_flight(&self) -> InFlightHints {
        if self.server.is_up() {
            return InFlightHints::default();
        }
        let unready = self.server.unready();
        let asks = || self.waiting.values().copied();
        InFlightHints {
            waits: asks().any(|asked| asked <= unready),
            accepted: asks().filter(|asked| *asked > unready).min(),
        }
    }

    /// What is known of a model.
    fn model(&mut self, name: &str, now: Duration) -> &mut ModelTracker {
        let name = key(name);
        if self.models.len() >= MAX_MODELS && !self.models.contains_key(name) {
            let oldest = self.models.iter().min_by_key(|(_, model)| model.used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.models.remove(&oldest);
            }
        }
        let model = self.models.entry(name.to_owned()).or_default();
        model.used = now;
        model
    }
}

/// The front of a model's name.
fn key(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name)
}

#[cfg(test)]
mod restarts;
#[cfg(test)]
mod situations;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
