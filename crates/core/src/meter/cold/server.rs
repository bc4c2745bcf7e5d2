//! Whether the server is there at all.

use super::episode::{SETTLING, UNASKED, UnreadyPeriod, end_as_asked, is_forgotten};
use super::{ColdReason, ColdStart, ColdStartConfig, LastColdStart};
use std::time::Duration;

/// The pause between two probes: this part of the time since the server was found away, within these bounds.
/// So the end of a cold start is found within 4 %, or 50 ms.
const PROBE_PART: f64 = 0.04;
const PROBE_LEAST: Duration = Duration::from_millis(50);
const PROBE_MOST: Duration = Duration::from_secs(2);
/// Refusals that come so soon after a break are of the same restart: a process that dies breaks what it was
/// at, and may accept connections for a moment longer.
const JUST_BEFORE: Duration = Duration::from_secs(5);
/// How long a server that answers nothing, and refuses nothing, is probed while nobody asks.
const SILENCE: Duration = Duration::from_secs(60);

/// What a probe has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// It accepts connections, and its health path, if one is configured, says that it is ready.
    Ready,
    /// It accepts connections, and its health path says that it is not ready (503).
    NotReady,
    /// It accepts connections, and says nothing of whether it is ready: its health path answers something
    /// else, or it speaks no HTTP, or no TLS.
    Unclear,
    /// Nobody listens.
    Refused,
    /// No answer in time: it may be busy, or nobody is there.
    TimedOut,
}

/// How far the server came since our own start, if it was not there before us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootTimes {
    /// Its port was open.
    pub port_open: Option<Duration>,
    /// Its health path said that it is ready; `None` without such a path.
    pub healthy: Option<Duration>,
    /// The first output for somebody who waited.
    pub first_token: Option<Duration>,
}

/// The requests in flight, as far as they tell when a server that was away is ready again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InFlightHints {
    /// Some came before the last probe that failed, and are still there: they wait.
    pub waits: bool,
    /// `t_req` of the first that came after it. It was not refused, so the server was there by then.
    pub accepted: Option<Duration>,
}

/// The server as a whole.
#[derive(Debug)]
pub(super) struct ServerTracker {
    config: ColdStartConfig,
    start: Duration,
    state: ServerState,
    /// A demand failed, and no probe has told yet what that means.
    suspicion: Option<SuspectedFailure>,
    /// When something broke last.
    broke: Option<Duration>,
    /// When somebody last asked, or failed; our own start before that.
    demand: Duration,
    /// When the last probe came back.
    probed: Option<Duration>,
    /// When the last one began that did not find the server ready.
    unready: Duration,
    past: Option<LastColdStart>,
    /// When it was last away, whatever that was, and whether that began while it was in use.
    away_until: Option<Duration>,
    was_in_use: bool,
    ladder: BootTimes,
}

#[derive(Debug)]
enum ServerState {
    /// Nothing is known: we have just started, or nothing has answered since. `unasked`: nobody had asked for
    /// so long that what the next to ask meets began with that.
    Starting {
        unasked: bool,
    },
    Ready,
    Away(UnreadyPeriod),
    /// Its port is open again. `waited`: somebody has been waiting since, and the first output ends it.
    Back {
        episode: UnreadyPeriod,
        since: Duration,
        waited: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct SuspectedFailure {
    /// The first demand that failed.
    since: Duration,
    /// When the latest one did.
    raised: Duration,
    broke: bool,
    loading: bool,
    /// A probe has come back since, silent.
    probed: bool,
    /// All demands that failed came while others were served, or soon after.
    in_use: bool,
}

impl ServerTracker {
    pub fn new(config: ColdStartConfig, now: Duration) -> Self {
        Self {
            config,
            start: now,
            state: ServerState::Starting { unasked: false },
            suspicion: None,
            broke: None,
            demand: now,
            probed: None,
            unready: now,
            past: None,
            away_until: None,
            was_in_use: false,
            ladder: BootTimes::default(),
        }
    }

    /// Somebody asks; `is_idle`: nobody else does.
    pub fn arrived(&mut self, at: Duration, is_idle: bool) {
        match &mut self.state {
            ServerState::Away(episode) => episode.unasked |= episode.is_unasked(self.demand, at),
            ServerState::Starting { unasked } => {
                *unasked |= at.saturating_sub(self.demand) > UNASKED
            }
            ServerState::Ready | ServerState::Back { .. } => {}
        }
        self.suspicion.take_if(|one| one.probed && is_idle && at > self.demand + SILENCE);
        self.demand = self.demand.max(at);
    }

    /// A demand failed that met the server at `since`: to be probed at once. `in_use`: others were served then, or
    /// had been not long before.
    pub fn suspect(&mut self, since: Duration, at: Duration, broke: bool, in_use: bool) {
        self.demand = self.demand.max(at);
        if let ServerState::Away(episode) = &mut self.state
            && episode.unasked
            && !broke
        {
            *episode =
                UnreadyPeriod { in_use, ..UnreadyPeriod::new(since, ColdReason::Unreachable) };
        }
        let (loading, probed) = (false, false);
        self.raise(SuspectedFailure { since, raised: at, broke, loading, probed, in_use });
        if broke {
            self.broke = self.broke.max(Some(at));
        }
    }

    fn raise(&mut self, new: SuspectedFailure) {
        if let ServerState::Ready
        | ServerState::Back { .. }
        | ServerState::Starting { unasked: true } = self.state
        {
            let old = self.suspicion.unwrap_or(new);
            self.suspicion = Some(SuspectedFailure {
                since: old.since.min(new.since),
                raised: old.raised.max(new.raised),
                broke: old.broke || new.broke,
                loading: old.loading || new.loading,
                probed: false,
                in_use: old.in_use && new.in_use,
            });
        }
    }

    /// The server told a request that came at `asked` that it loads. Gives whether that is part of a time
    /// in which the server as a whole is not ready; else it is a matter of the model.
    pub fn loading(&mut self, asked: Duration, at: Duration) -> bool {
        match &mut self.state {
            ServerState::Away(episode) => {
                if episode.unasked {
                    *episode = UnreadyPeriod::new(asked, ColdReason::Loading);
                }
                episode.loading = episode.loading.max(Some(at));
                true
            }
            ServerState::Back { episode, since, waited } => {
                // Open is not ready.
                episode.loading = episode.loading.max(Some(at));
                *since = at.max(*since);
                *waited = false;
                true
            }
            ServerState::Starting { .. } | ServerState::Ready => {
                if self.config.has_health {
                    self.raise(SuspectedFailure {
                        since: asked,
                        raised: at,
                        broke: false,
                        loading: true,
                        probed: false,
                        in_use: false,
                    });
                }
                false
            }
        }
    }

    /// The server says on its own that it loads: that is to be probed.
    pub fn suspects_loading(&self) -> bool {
        self.suspicion.is_some_and(|suspicion| suspicion.loading)
    }

    /// A request that came at `asked` has its first output.
    pub fn output(
        &mut self,
        asked: Duration,
        at: Duration,
        in_flight: InFlightHints,
    ) -> Option<ColdStart> {
        if self.has_booted() {
            self.ladder.first_token.get_or_insert(at.saturating_sub(self.start));
        }
        // It was accepted since.
        if self.suspicion.is_some_and(|suspicion| asked > suspicion.since && !suspicion.loading) {
            self.suspicion = None;
        }
        match self.state {
            ServerState::Ready => None,
            ServerState::Starting { .. } => {
                self.state = ServerState::Ready;
                None
            }
            // What was under way when the server stopped to listen may still go on.
            ServerState::Away(episode) if asked < episode.began => None,
            ServerState::Away(episode) => {
                let ended = if in_flight.waits { at } else { in_flight.accepted.unwrap_or(at) };
                if episode.reason == ColdReason::Boot {
                    self.ready(ended);
                }
                self.end(episode, self.as_asked(episode, asked, at).unwrap_or(ended))
            }
            ServerState::Back { since, .. } if at < since => None,
            ServerState::Back { episode, since, waited } => {
                let ended = if waited { at } else { since };
                self.end(episode, self.as_asked(episode, asked, at).unwrap_or(ended))
            }
        }
    }

    fn as_asked(&self, episode: UnreadyPeriod, asked: Duration, at: Duration) -> Option<Duration> {
        episode.loading.map(|loading| end_as_asked(episode.began, loading, asked, at))
    }

    fn end(&mut self, episode: UnreadyPeriod, ended: Duration) -> Option<ColdStart> {
        let UnreadyPeriod { began, reason, outage, in_use, .. } = episode;
        self.state = ServerState::Ready;
        self.suspicion = None;
        self.away_until = Some(ended);
        self.was_in_use = in_use;
        let is_cold_start = !outage && ended.saturating_sub(began) <= self.config.outage;
        is_cold_start.then(|| {
            self.past = Some(LastColdStart { reason, unready: ended, ended });
            ColdStart { reason, model: None, began: Some(began), ended }
        })
    }

    /// The last request that was in flight has left.
    pub fn nobody_waits(&mut self) -> Option<ColdStart> {
        let ServerState::Back { episode, since, waited } = &mut self.state else { return None };
        *waited = false;
        let (episode, since) = (*episode, *since);
        if self.config.has_health { self.end(episode, since) } else { None }
    }

    /// Whether the server was not there before us.
    fn has_booted(&self) -> bool {
        let is_booting = matches!(&self.state, ServerState::Away(episode) | ServerState::Back { episode, .. } if episode.reason == ColdReason::Boot);
        is_booting || self.ladder.port_open.is_some()
    }

    /// A probe that began at `asked` has come back.
    pub fn probed(
        &mut self,
        asked: Duration,
        at: Duration,
        found: ProbeResult,
        in_flight: InFlightHints,
    ) -> Option<ColdStart> {
        self.probed = Some(at);
        let waited = in_flight.waits;
        let since = in_flight.accepted.unwrap_or(at);
        if found != ProbeResult::Ready {
            self.unready = asked;
        }
        // That it was ready when the probe went out says nothing of what has failed since.
        let is_answered =
            |one: &mut SuspectedFailure| found != ProbeResult::Ready || one.raised <= asked;
        let suspicion = self.suspicion.take_if(is_answered);
        match (&mut self.state, found) {
            (ServerState::Starting { .. }, ProbeResult::Ready | ProbeResult::Unclear) => {
                self.state = ServerState::Ready
            }
            (ServerState::Starting { .. }, ProbeResult::TimedOut) => {
                if let Some(suspicion) = suspicion {
                    self.still(suspicion);
                }
            }
            (ServerState::Starting { unasked: true }, found) => {
                if let Some(suspicion) = suspicion {
                    self.state = ServerState::Ready;
                    self.decide(suspicion, found);
                }
            }
            (ServerState::Starting { unasked: false }, found) => {
                self.state = ServerState::Away(UnreadyPeriod::new(self.start, ColdReason::Boot));
                if found == ProbeResult::NotReady {
                    self.open_port(at);
                }
            }
            (ServerState::Away(episode), ProbeResult::Ready) => {
                let episode = *episode;
                if episode.reason == ColdReason::Boot {
                    self.ready(since);
                }
                if self.config.has_health && !waited {
                    return self.end(episode, since);
                }
                self.state = ServerState::Back { episode, since, waited };
            }
            (ServerState::Away(episode), ProbeResult::NotReady | ProbeResult::Unclear)
                if episode.reason == ColdReason::Boot =>
            {
                self.open_port(at);
            }
            (ServerState::Away(_), _) => {}
            (ServerState::Ready, found) => {
                if let Some(suspicion) = suspicion {
                    self.decide(suspicion, found);
                }
            }
            (ServerState::Back { episode, .. }, found) => {
                let episode = *episode;
                match (suspicion, found) {
                    (Some(_), ProbeResult::Refused | ProbeResult::NotReady) => {
                        self.state = ServerState::Away(episode)
                    }
                    (Some(suspicion), ProbeResult::TimedOut) => self.still(suspicion),
                    _ => {}
                }
            }
        }
        None
    }

    /// What a probe has made of a suspicion.
    fn decide(&mut self, suspicion: SuspectedFailure, found: ProbeResult) {
        let SuspectedFailure { since, broke, loading, in_use, .. } = suspicion;
        let broke_before = self
            .broke
            .is_some_and(|broke| broke <= since && since.saturating_sub(broke) <= JUST_BEFORE);
        let reason = match (loading, broke || broke_before) {
            (_, true) => ColdReason::Restarted,
            (true, false) => ColdReason::Loading,
            (false, false) => ColdReason::Unreachable,
        };
        let away = ServerState::Away(UnreadyPeriod { in_use, ..UnreadyPeriod::new(since, reason) });
        match found {
            ProbeResult::Ready => {}
            ProbeResult::Refused => self.state = away,
            // A health path that fails under load is no cold start, unless the server says so too.
            ProbeResult::NotReady if loading => self.state = away,
            ProbeResult::NotReady | ProbeResult::Unclear => {}
            ProbeResult::TimedOut => self.still(suspicion),
        }
    }

    /// Nothing is known yet: to be probed again.
    fn still(&mut self, suspicion: SuspectedFailure) {
        self.suspicion = Some(SuspectedFailure { probed: true, ..suspicion });
    }

    fn open_port(&mut self, at: Duration) {
        self.ladder.port_open.get_or_insert(at.saturating_sub(self.start));
    }

    /// The server is ready for the first time.
    fn ready(&mut self, at: Duration) {
        self.open_port(at);
        if self.config.has_health {
            self.ladder.healthy.get_or_insert(at.saturating_sub(self.start));
        }
    }

    pub fn tick(&mut self, now: Duration) -> Option<ColdStart> {
        let ServerState::Back { episode, since, waited: false } = self.state else { return None };
        let is_settled = match episode.loading {
            Some(loading) => is_forgotten(episode.began, loading, now),
            None => now.saturating_sub(since) > SETTLING,
        };
        if is_settled { self.end(episode, since) } else { None }
    }

    pub fn outage(&mut self, now: Duration) -> Option<Duration> {
        let most = self.config.outage;
        let ServerState::Away(episode) = &mut self.state else { return None };
        let is_long = now.saturating_sub(episode.began) > most;
        let is_new = !episode.outage && is_long && !episode.is_unasked(self.demand, now);
        episode.outage |= is_new;
        is_new.then_some(episode.began)
    }

    /// When the next probe is due; `is_idle`: nobody is in flight.
    pub fn probe_due(&self, is_idle: bool) -> Option<Duration> {
        let after = |began: Duration| {
            let Some(last) = self.probed else { return began };
            let pause = last.saturating_sub(began).mul_f64(PROBE_PART);
            last + pause.clamp(PROBE_LEAST, PROBE_MOST)
        };
        // Silence while nobody asks is not worth to be asked about for ever.
        let wanted = |due: &Duration| !is_idle || *due <= self.demand + SILENCE;
        match (&self.state, self.suspicion) {
            (ServerState::Starting { .. }, _) => Some(after(self.start)).filter(wanted),
            (ServerState::Away(episode), _) => Some(after(episode.began)),
            (_, Some(SuspectedFailure { since, probed: true, .. })) => {
                Some(after(since)).filter(wanted)
            }
            (_, Some(suspicion)) => {
                let rested = self.probed.map(|last| last + PROBE_LEAST);
                Some(suspicion.raised).max(rested)
            }
            (_, None) => None,
        }
    }

    /// It is there, and was not away just before.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, ServerState::Ready)
    }

    /// When it was last away, if it was: as a cold start, or an outage.
    pub fn away_until(&self) -> Option<Duration> {
        self.away_until
    }

    /// Whether it was in use when it was last away: others were served as that began, or had been not long before.
    pub fn was_in_use(&self) -> bool {
        self.was_in_use
    }

    pub fn is_starting(&self) -> bool {
        matches!(self.state, ServerState::Starting { .. })
    }

    pub fn is_up(&self) -> bool {
        matches!(self.state, ServerState::Ready | ServerState::Back { .. })
    }

    /// When the last probe began that did not find the server ready.
    pub fn unready(&self) -> Duration {
        self.unready
    }

    pub fn past(&self) -> Option<LastColdStart> {
        self.past
    }

    pub fn ladder(&self) -> BootTimes {
        self.ladder
    }
}
