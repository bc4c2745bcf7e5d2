//! Whether the server as a whole is ready.
//!
//! A failed request can mean that the server is away, or only that it is overloaded. So a failure raises a suspicion
//! ([`SuspectedFailure`]), and the next probe confirms or clears it.
//!
//! ```text
//!                          ready, unclear; output
//!      Starting --------------------------------------------> Ready <------------------------+
//!          |                                                  |   ^                          |
//!          | refused, not ready                    suspicion, |   | output; or ready         | output; or settled;
//!          |                                then refused (*)  |   | on the health path       | or no request waits
//!          |                                                  v   | and no request waits     |
//!          +----------------------------------------------> Unready ------- ready -----> Reopened
//!                       (reason boot)                             ^                          |
//!                                                                 +-- suspicion, then refused, not ready --+
//!
//!   (*) or "not ready" on the health path, unless all failed requests timed out
//! ```
//!
//! Arrows are results of probes, unless they name an output. `StartingAbandoned` is `Starting` after ten minutes without a
//! request: the next failed request then begins a new period, as from `Ready`. A cold start is returned on each arrow
//! from `Unready` or `Reopened` to `Ready`, unless it was an outage.

use super::requests_in_flight::InFlightHints;
use super::suspected_failure::{SuspectedFailure, SuspicionProbe};
use super::types::{
    BootTimes, ColdReason, ColdStart, ColdStartConfig, FailureSign, LastColdStart, ProbeResult,
};
use super::unready_period::{
    SETTLING, UnreadyPeriod, WITHOUT_REQUESTS, has_ended_unobserved, loading_end,
};
use std::time::Duration;

/// Pause between two probes: this part of the time since the server was found away, within the two bounds. The end of a
/// cold start is thus found within 4 %, or 50 ms.
const PROBE_PAUSE_PART: f64 = 0.04;
const MIN_PROBE_PAUSE: Duration = Duration::from_millis(50);
const MAX_PROBE_PAUSE: Duration = Duration::from_secs(2);
/// How long a server that neither accepts nor refuses is probed while there are no requests.
const PROBE_WITHOUT_REQUESTS: Duration = Duration::from_secs(60);

/// Tracks whether the server is ready.
#[derive(Debug)]
pub(super) struct ServerTracker {
    config: ColdStartConfig,
    start: Duration,
    state: ServerReadiness,
    suspicion: Option<SuspectedFailure>,
    /// When a connection last broke.
    last_break: Option<Duration>,
    /// When a request last arrived or failed; before that, the start of Streamgauge.
    last_request: Duration,
    /// When the last probe ended.
    last_probe: Option<Duration>,
    /// When the last probe was sent that did not find the server ready.
    last_unready: Duration,
    last_cold_start: Option<LastColdStart>,
    /// End of the last unready period, also of an outage, and whether it began while the server was in use.
    last_unready_end: Option<Duration>,
    was_in_use: bool,
    boot_times: BootTimes,
}

#[derive(Debug)]
enum ServerReadiness {
    /// The state is unknown since the start of Streamgauge.
    Starting,
    /// The same, and no request arrived for so long that the next failed one begins a new period.
    StartingAbandoned,
    Ready,
    /// The server is away, or loads.
    Unready(UnreadyPeriod),
    /// The port is open again since `since`.
    Reopened {
        period: UnreadyPeriod,
        since: Duration,
        ends_at: PeriodEnd,
    },
}

/// Instant at which an unready period counts as over once the server is confirmed to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeriodEnd {
    /// When the port opened: no request has been waiting.
    PortOpen,
    /// At the first output: a request has been waiting since before the port opened.
    FirstOutput,
}

impl ServerTracker {
    pub fn new(config: ColdStartConfig, now: Duration) -> Self {
        Self {
            config,
            start: now,
            state: ServerReadiness::Starting,
            suspicion: None,
            last_break: None,
            last_request: now,
            last_probe: None,
            last_unready: now,
            last_cold_start: None,
            last_unready_end: None,
            was_in_use: false,
            boot_times: BootTimes::default(),
        }
    }

    /// A request arrived; `is_idle`: no other one is in flight.
    pub fn on_request(&mut self, at: Duration, is_idle: bool) {
        match &mut self.state {
            ServerReadiness::Unready(period) => {
                period.is_abandoned |= period.is_without_requests(self.last_request, at);
            }
            ServerReadiness::Starting
                if at.saturating_sub(self.last_request) > WITHOUT_REQUESTS =>
            {
                self.state = ServerReadiness::StartingAbandoned;
            }
            _ => {}
        }
        let is_old = |one: &mut SuspectedFailure| {
            one.probe == SuspicionProbe::TimedOut
                && is_idle
                && at > self.last_request + PROBE_WITHOUT_REQUESTS
        };
        self.suspicion.take_if(is_old);
        self.last_request = self.last_request.max(at);
    }

    /// A request failed at `at`; a probe is due at once.
    ///
    /// `since`: when the request met the server. `in_use`: other requests were served then, or had been not long before.
    pub fn on_failure(&mut self, sign: FailureSign, since: Duration, at: Duration, in_use: bool) {
        self.last_request = self.last_request.max(at);
        let is_break = sign == FailureSign::Broken;
        if let ServerReadiness::Unready(period) = &mut self.state
            && period.is_abandoned
            && !is_break
        {
            let new = UnreadyPeriod::new(since, ColdReason::Unreachable);
            *period = UnreadyPeriod { began_in_use: in_use, ..new };
        }
        self.suspect(SuspectedFailure::new(sign, since, at, in_use));
        if is_break {
            self.last_break = self.last_break.max(Some(at));
        }
    }

    /// Adds a failure to the suspicion, unless the server is known not to be ready.
    fn suspect(&mut self, new: SuspectedFailure) {
        if !matches!(self.state, ServerReadiness::Starting | ServerReadiness::Unready(_)) {
            self.suspicion = Some(self.suspicion.map_or(new, |old| old.with(new)));
        }
    }

    /// The server responded at `at` to a request that arrived at `arrived` that it loads. Returns whether this belongs to a
    /// time in which the server as a whole is not ready. Otherwise only a model loads.
    pub fn on_loading(&mut self, arrived: Duration, at: Duration) -> bool {
        match &mut self.state {
            ServerReadiness::Unready(period) => {
                if period.is_abandoned {
                    *period = UnreadyPeriod::new(arrived, ColdReason::Loading);
                }
                period.last_loading = period.last_loading.max(Some(at));
                true
            }
            ServerReadiness::Reopened { .. } => {
                self.on_unavailable(at);
                true
            }
            ServerReadiness::Starting
            | ServerReadiness::StartingAbandoned
            | ServerReadiness::Ready => {
                if self.config.has_health {
                    let sign = FailureSign::Loading;
                    self.suspect(SuspectedFailure::new(sign, arrived, at, false));
                }
                false
            }
        }
    }

    /// The server responded at `at` with 503. If it was away just before, it is still not ready: otherwise it may be busy.
    pub fn on_unavailable(&mut self, at: Duration) {
        match &mut self.state {
            ServerReadiness::Unready(period) if !period.is_abandoned => {
                period.last_loading = period.last_loading.max(Some(at));
            }
            ServerReadiness::Reopened { period, since, ends_at } => {
                period.last_loading = period.last_loading.max(Some(at));
                *since = at.max(*since);
                *ends_at = PeriodEnd::PortOpen;
            }
            _ => {}
        }
    }

    /// When the port opened again, if nothing has shown since whether the server is ready.
    pub fn opened_unproven(&self) -> Option<Duration> {
        match self.state {
            ServerReadiness::Reopened { since, ends_at: PeriodEnd::PortOpen, .. } => Some(since),
            _ => None,
        }
    }

    /// Whether a response reported that the model loads, and a probe has yet to show whether the whole server does.
    pub fn is_suspected_loading(&self) -> bool {
        self.suspicion.is_some_and(|suspicion| suspicion.has_loading)
    }

    /// A request that arrived at `arrived` has its first output. `was_held`: the port was open, and the server held the
    /// request until it was ready.
    pub fn on_first_output(
        &mut self,
        arrived: Duration,
        at: Duration,
        in_flight: InFlightHints,
        was_held: bool,
    ) -> Option<ColdStart> {
        if self.has_booted() {
            self.boot_times.first_token.get_or_insert(at.saturating_sub(self.start));
        }
        // The server accepted this request after the suspected failure.
        if self.suspicion.is_some_and(|one| arrived > one.since && !one.has_loading) {
            self.suspicion = None;
        }
        match self.state {
            ServerReadiness::Ready => None,
            ServerReadiness::Starting | ServerReadiness::StartingAbandoned => {
                self.state = ServerReadiness::Ready;
                None
            }
            // A request from before the server stopped listening can continue.
            ServerReadiness::Unready(period) if arrived < period.began => None,
            ServerReadiness::Unready(period) => {
                let accepted = in_flight.first_accepted.unwrap_or(at);
                let ended = if in_flight.has_waiting { at } else { accepted };
                if period.reason == ColdReason::Boot {
                    self.record_ready(ended);
                }
                self.end(period, Self::loading_end(period, arrived, at).unwrap_or(ended))
            }
            ServerReadiness::Reopened { since, .. } if at < since => None,
            ServerReadiness::Reopened { period, since, ends_at } => {
                if was_held {
                    self.last_unready = at;
                }
                let ended = match ends_at {
                    PeriodEnd::FirstOutput => at,
                    PeriodEnd::PortOpen if was_held => at,
                    PeriodEnd::PortOpen => since,
                };
                self.end(period, Self::loading_end(period, arrived, at).unwrap_or(ended))
            }
        }
    }

    fn loading_end(period: UnreadyPeriod, arrived: Duration, at: Duration) -> Option<Duration> {
        period.last_loading.map(|last| loading_end(period.began, last, arrived, at))
    }

    /// Ends an unready period. Returns the cold start, unless it was an outage.
    fn end(&mut self, period: UnreadyPeriod, ended: Duration) -> Option<ColdStart> {
        let UnreadyPeriod { began, reason, is_outage, began_in_use, .. } = period;
        self.state = ServerReadiness::Ready;
        self.suspicion = None;
        self.last_unready_end = Some(ended);
        self.was_in_use = began_in_use;
        let is_cold_start = !is_outage && ended.saturating_sub(began) <= self.config.outage;
        is_cold_start.then(|| {
            // A request that arrived after the last sign of an unready server may have found it ready.
            let last_unready = self.last_unready.max(period.last_loading.unwrap_or_default());
            let last_unready = last_unready.min(ended);
            self.last_cold_start = Some(LastColdStart { reason, last_unready, ended });
            ColdStart { reason, model: None, began: Some(began), ended }
        })
    }

    /// No request in flight waits for output any more.
    pub fn on_none_waiting(&mut self) -> Option<ColdStart> {
        let ServerReadiness::Reopened { period, since, ends_at } = &mut self.state else {
            return None;
        };
        *ends_at = PeriodEnd::PortOpen;
        let (period, since) = (*period, *since);
        if self.config.has_health { self.end(period, since) } else { None }
    }

    /// Whether the server was not ready when Streamgauge started.
    fn has_booted(&self) -> bool {
        let is_booting = match &self.state {
            ServerReadiness::Unready(period) | ServerReadiness::Reopened { period, .. } => {
                period.reason == ColdReason::Boot
            }
            _ => false,
        };
        is_booting || self.boot_times.port_open.is_some()
    }

    /// A probe that was sent at `sent` has ended.
    pub fn on_probe_result(
        &mut self,
        sent: Duration,
        at: Duration,
        result: ProbeResult,
        in_flight: InFlightHints,
    ) -> Option<ColdStart> {
        self.last_probe = Some(at);
        let has_waiting = in_flight.has_waiting;
        let since = in_flight.first_accepted.unwrap_or(at);
        if result != ProbeResult::Ready {
            self.last_unready = sent;
        }
        // A server that was ready when the probe was sent may have failed since.
        let is_answered =
            |one: &mut SuspectedFailure| result != ProbeResult::Ready || one.latest <= sent;
        let suspicion = self.suspicion.take_if(is_answered);
        match (&mut self.state, result) {
            (
                ServerReadiness::Starting | ServerReadiness::StartingAbandoned,
                ProbeResult::Ready | ProbeResult::Unclear,
            ) => self.state = ServerReadiness::Ready,
            (
                ServerReadiness::Starting | ServerReadiness::StartingAbandoned,
                ProbeResult::TimedOut,
            ) => {
                if let Some(suspicion) = suspicion {
                    self.keep_suspicion(suspicion);
                }
            }
            (ServerReadiness::StartingAbandoned, result) => {
                if let Some(suspicion) = suspicion {
                    self.state = ServerReadiness::Ready;
                    self.decide(suspicion, result);
                }
            }
            (ServerReadiness::Starting, result) => {
                let boot = UnreadyPeriod::new(self.start, ColdReason::Boot);
                self.state = ServerReadiness::Unready(boot);
                if result == ProbeResult::NotReady {
                    self.record_open_port(at);
                }
            }
            (ServerReadiness::Unready(period), ProbeResult::Ready) => {
                let period = *period;
                if period.reason == ColdReason::Boot {
                    self.record_ready(since);
                }
                if self.config.has_health && !has_waiting {
                    return self.end(period, since);
                }
                let ends_at =
                    if has_waiting { PeriodEnd::FirstOutput } else { PeriodEnd::PortOpen };
                self.state = ServerReadiness::Reopened { period, since, ends_at };
            }
            (ServerReadiness::Unready(period), ProbeResult::NotReady | ProbeResult::Unclear)
                if period.reason == ColdReason::Boot =>
            {
                self.record_open_port(at);
            }
            (ServerReadiness::Unready(_), _) => {}
            (ServerReadiness::Ready, result) => {
                if let Some(suspicion) = suspicion {
                    self.decide(suspicion, result);
                }
            }
            (ServerReadiness::Reopened { period, .. }, result) => {
                let period = *period;
                match (suspicion, result) {
                    (Some(_), ProbeResult::Refused | ProbeResult::NotReady) => {
                        self.state = ServerReadiness::Unready(period);
                    }
                    (Some(suspicion), ProbeResult::TimedOut) => self.keep_suspicion(suspicion),
                    _ => {}
                }
            }
        }
        None
    }

    /// Confirms or clears a suspicion by the result of a probe.
    fn decide(&mut self, suspicion: SuspectedFailure, result: ProbeResult) {
        if let Some(period) = suspicion.confirmed_by(result, self.last_break) {
            self.state = ServerReadiness::Unready(period);
        } else if result == ProbeResult::TimedOut {
            self.keep_suspicion(suspicion);
        }
    }

    /// Keeps a suspicion for which the probe timed out. The probe is repeated.
    fn keep_suspicion(&mut self, suspicion: SuspectedFailure) {
        self.suspicion = Some(suspicion.with_probe_timed_out());
    }

    fn record_open_port(&mut self, at: Duration) {
        self.boot_times.port_open.get_or_insert(at.saturating_sub(self.start));
    }

    /// Records that a booting server is ready for the first time.
    fn record_ready(&mut self, at: Duration) {
        self.record_open_port(at);
        if self.config.has_health {
            self.boot_times.healthy.get_or_insert(at.saturating_sub(self.start));
        }
    }

    /// Ends a period whose port has been open for long enough without another failure. `has_waiting`: a request waits for
    /// output, which will show whether the server is ready.
    pub fn tick(&mut self, now: Duration, has_waiting: bool) -> Option<ColdStart> {
        let ServerReadiness::Reopened { period, since, ends_at: PeriodEnd::PortOpen } = self.state
        else {
            return None;
        };
        let is_settled = match period.last_loading {
            Some(last) => has_ended_unobserved(period.began, last, now),
            None => !has_waiting && now.saturating_sub(since) > SETTLING,
        };
        if is_settled { self.end(period, since) } else { None }
    }

    /// Start of an outage; returned once.
    pub fn outage(&mut self, now: Duration) -> Option<Duration> {
        let most = self.config.outage;
        let ServerReadiness::Unready(period) = &mut self.state else { return None };
        let is_long = now.saturating_sub(period.began) > most;
        let is_new =
            !period.is_outage && is_long && !period.is_without_requests(self.last_request, now);
        period.is_outage |= is_new;
        is_new.then_some(period.began)
    }

    /// When the next probe is due; `is_idle`: no request is in flight.
    pub fn probe_due(&self, is_idle: bool) -> Option<Duration> {
        let next = |began: Duration| {
            let Some(last) = self.last_probe else { return began };
            let pause = last.saturating_sub(began).mul_f64(PROBE_PAUSE_PART);
            last + pause.clamp(MIN_PROBE_PAUSE, MAX_PROBE_PAUSE)
        };
        // A server that neither accepts nor refuses is not probed for ever without requests.
        let is_wanted =
            |due: &Duration| !is_idle || *due <= self.last_request + PROBE_WITHOUT_REQUESTS;
        match (&self.state, self.suspicion) {
            (ServerReadiness::Starting | ServerReadiness::StartingAbandoned, _) => {
                Some(next(self.start)).filter(is_wanted)
            }
            (ServerReadiness::Unready(period), _) => Some(next(period.began)),
            (_, Some(suspicion)) => match suspicion.probe {
                SuspicionProbe::TimedOut => Some(next(suspicion.since)).filter(is_wanted),
                SuspicionProbe::Due => {
                    let earliest = self.last_probe.map(|last| last + MIN_PROBE_PAUSE);
                    Some(suspicion.latest).max(earliest)
                }
            },
            (_, None) => None,
        }
    }

    /// Whether the server is ready, and was not away just before.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, ServerReadiness::Ready)
    }

    /// End of the last unready period, if any: a cold start or an outage.
    pub fn last_unready_end(&self) -> Option<Duration> {
        self.last_unready_end
    }

    /// Whether the last unready period began while other requests were served, or not long after.
    pub fn was_in_use(&self) -> bool {
        self.was_in_use
    }

    /// Whether the state of the server is still unknown.
    pub fn is_starting(&self) -> bool {
        matches!(self.state, ServerReadiness::Starting | ServerReadiness::StartingAbandoned)
    }

    /// Whether the port is open, as far as is known.
    pub fn is_up(&self) -> bool {
        matches!(self.state, ServerReadiness::Ready | ServerReadiness::Reopened { .. })
    }

    /// When the last probe was sent that did not find the server ready.
    pub fn last_unready(&self) -> Duration {
        self.last_unready
    }

    /// The latest cold start of the server.
    pub fn last_cold_start(&self) -> Option<LastColdStart> {
        self.last_cold_start
    }

    /// Stages of the boot.
    pub fn boot_times(&self) -> BootTimes {
        self.boot_times
    }
}
