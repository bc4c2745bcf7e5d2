//! The live history: the last ten minutes in memory, brought up to date once a second by the admin thread.
//!
//! It reads what the data path writes anyway: the newest records of the request log, counters, the registry of requests in
//! flight, and the cold-start detectors. So it costs the data path nothing. Of many requests it reads some in full
//! ([`record_sample`](super::record_sample)). Memory: at most 64 rows of 72 KiB, 1 MiB of baselines, and some hundred kept
//! records and events, in total below 6 MiB.

use super::events::EventHistory;
use super::heatmap::heatmap;
use super::newest::ended_row;
use super::own::OwnHistory;
use super::record_sample::{SampledRecord, sample};
use super::slow::{LabelledRecord, SlowHistory, SlowRequests, cold_reason, seconds};
use super::snapshot::{
    ColdPoint, LiveEvent, LiveEventKind, LiveSnapshot, MAX_NEWEST, MAX_RUNNING, PhaseCounts,
    RunningPhase, RunningRequest, RunningRequests, STEP_S, TrafficRow, UpstreamState,
};
use super::traffic::{CoveredTime, RATE_SECONDS, TrafficHistory, rounded};
use super::upstream_history::{UpstreamHistory, UpstreamView};
use crate::control_characters;
use crate::metrics::{Metrics, OTHER, RequestPhase, TrafficCounters};
use crate::request_log::{NewRecords, RequestLog};
use crate::socket;
use crate::tap::{InFlightRequest, Tap};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::cold::ColdStart;
use streamgauge_core::meter::{Outcome, RequestRecord};

/// Most rows. Further upstreams and models count in the row of all requests only.
const MAX_ROWS: usize = 64;
/// Most cold requests in the heatmap.
const MAX_COLD_POINTS: usize = 300;
/// Time that a snapshot covers, in seconds.
const WINDOW_S: f64 = 600.0;

/// Name of an upstream and label of a model.
type UpstreamAndModel = (Arc<str>, Arc<str>);

/// The live history of the process.
#[derive(Debug)]
pub struct LiveHistory {
    metrics: Arc<Metrics>,
    log: RequestLog,
    taps: Vec<Arc<Tap>>,
    started: Instants,
    state: Mutex<HistoryState>,
}

/// The same instant on two clocks.
#[derive(Debug, Clone, Copy)]
struct Instants {
    /// On the program's clock.
    at: Duration,
    /// In seconds since 1970.
    wall: f64,
}

impl Instants {
    fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: socket::now(), wall: wall.as_secs_f64() }
    }

    /// The instant `at` of the program's clock, in seconds since 1970.
    fn wall_time(self, at: Duration) -> f64 {
        self.wall - self.at.as_secs_f64() + at.as_secs_f64()
    }
}

#[derive(Debug, Default)]
struct HistoryState {
    /// Number of requests that had ended at the last reading.
    seen: u64,
    updated_at: Duration,
    /// Number of the current step, since the start.
    step: u64,
    /// Lengths of the last seconds.
    second_lengths: VecDeque<f64>,
    total: TrafficHistory,
    rows: Vec<HistoryRow>,
    cold: VecDeque<ColdPoint>,
    events: EventHistory,
    newest: VecDeque<LabelledRecord>,
    slow: SlowHistory,
    upstreams: Vec<UpstreamHistory>,
    own: OwnHistory,
}

#[derive(Debug)]
struct HistoryRow {
    upstream: Arc<str>,
    model: Arc<str>,
    traffic: TrafficHistory,
    /// Output tokens and stalls at the last reading.
    tokens: u64,
    stalls: u64,
}

impl LiveHistory {
    /// An empty history of these upstreams.
    pub fn new(metrics: Arc<Metrics>, log: RequestLog, taps: Vec<Arc<Tap>>) -> Self {
        let started = Instants::now();
        let unknown = UpstreamHistory::new(started.wall);
        let state = HistoryState {
            updated_at: started.at,
            upstreams: vec![unknown; taps.len()],
            own: OwnHistory::new(started.wall),
            ..HistoryState::default()
        };
        Self { metrics, log, taps, started, state: Mutex::new(state) }
    }

    /// Reads what is new. Must be called once a second.
    pub fn update(&self) {
        self.update_at(Instants::now());
    }

    fn update_at(&self, now: Instants) {
        let mut state = self.state();
        let since_start = now.at.saturating_sub(self.started.at);
        let step = since_start.as_secs() / u64::from(STEP_S);
        if step > state.step {
            self.add_own_counters(&mut state, now);
        }
        state.advance(now.at, step);
        let new = self.log.read_new(&mut state.seen);
        self.add_records(&mut state, &new, now);
        self.add_counters(&mut state, now);
        for (at, tap) in self.taps.iter().enumerate() {
            for start in tap.cold_starts().take_ended() {
                self.add_cold_start(&mut state, tap.upstream(), &start, now);
            }
            let HistoryState { upstreams, events, .. } = &mut *state;
            if let Some(history) = upstreams.get_mut(at) {
                let view = UpstreamView {
                    now: now.wall,
                    is_up: tap.cold_starts().is_up(),
                    idle_s: tap.since_request(now.at).map(|idle| idle.as_secs_f64()),
                    stuck_s: tap.stuck_engine().map(|stuck| stuck.silence.as_secs_f64()),
                };
                history.update(view, tap.upstream(), events);
            }
        }
        state.cold.retain(|point| now.wall - point.at <= WINDOW_S);
    }

    fn state(&self) -> MutexGuard<'_, HistoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn model_label(&self, model: Option<&str>) -> Arc<str> {
        model
            .and_then(|model| self.metrics.existing_model_label(model))
            .unwrap_or_else(|| OTHER.into())
    }

    /// Why no connection to an upstream can be opened, during an outage.
    fn cause_of_outage(&self, upstream: &Arc<str>) -> Option<String> {
        let tap = self.taps.iter().find(|tap| tap.upstream() == upstream)?;
        Some(tap.outage()?.cause.to_string())
    }

    fn add_records(&self, state: &mut HistoryState, new: &NewRecords, now: Instants) {
        let weight = new.ended as f64 / new.records.len().max(1) as f64;
        let is_inference =
            |record: &&Arc<RequestRecord>| Operation::is_inference_label(record.operation);
        let label = |SampledRecord { record, weight }: SampledRecord<'_>| {
            let is_error = Outcome::is_failure_label(record.outcome);
            LabelledRecord {
                model: self.model_label(record.model.as_deref()),
                ended_at: record.time.as_secs_f64() + record.duration_s,
                is_error,
                cause: is_error.then(|| self.cause_of_outage(&record.upstream)).flatten(),
                weight,
                record: Arc::clone(record),
            }
        };
        let inference: Vec<_> = new.records.iter().filter(is_inference).collect();
        let records: Vec<LabelledRecord> =
            sample(&inference, weight).into_iter().map(label).collect();
        let counted = records.iter().filter(|labelled| labelled.weight > 0.0);
        counted.for_each(|labelled| state.add_record(labelled));
        state.slow.add(&records, now.wall);
        let newest = records.len().saturating_sub(MAX_NEWEST);
        state.newest.extend(records.into_iter().skip(newest));
        let excess = state.newest.len().saturating_sub(MAX_NEWEST);
        state.newest.drain(..excess);
    }

    fn add_counters(&self, state: &mut HistoryState, now: Instants) {
        let mut sums: HashMap<UpstreamAndModel, TrafficCounters> = HashMap::new();
        self.metrics.for_each_traffic(|upstream, model, counters| {
            let key = (Arc::clone(upstream), Arc::clone(model));
            let TrafficCounters { output_tokens, stalls } = sums.entry(key).or_default();
            for (sum, more) in [(output_tokens, counters.output_tokens), (stalls, counters.stalls)]
            {
                *sum = more.map(|more| sum.unwrap_or(0) + more).or(*sum);
            }
        });
        for ((upstream, model), TrafficCounters { output_tokens: tokens, stalls }) in sums {
            let stalls = stalls.unwrap_or(0);
            // Requests that failed may have created it.
            if tokens.is_none() && stalls == 0 {
                continue;
            }
            let Some(row) = state.row(&upstream, &model) else { continue };
            let more_tokens = tokens.map(|tokens| tokens.saturating_sub(row.tokens));
            let more_stalls = stalls.saturating_sub(row.stalls);
            (row.tokens, row.stalls) = (tokens.unwrap_or(0), stalls);
            if let Some(more) = more_tokens {
                row.traffic.add_tokens(more);
                state.total.add_tokens(more);
            }
            if more_stalls > 0 {
                let event = LiveEvent {
                    at: now.wall,
                    kind: LiveEventKind::Stall,
                    upstream: Some(upstream),
                    model: Some(model),
                    count: Some(more_stalls),
                    ..LiveEvent::default()
                };
                let text = |count| match count {
                    1 => "A stream had no output for too long.".to_owned(),
                    count => format!("{count} streams had no output for too long."),
                };
                state.events.add_to_burst(event, "", text);
            }
        }
    }

    fn add_own_counters(&self, state: &mut HistoryState, now: Instants) {
        let counters = self.metrics.own_counters();
        if state.own.set_counters(counters) {
            state.events.add(LiveEvent {
                at: now.wall,
                kind: LiveEventKind::Reload,
                text: "The configuration was reloaded.".to_owned(),
                ..LiveEvent::default()
            });
        }
    }

    fn add_cold_start(
        &self,
        state: &mut HistoryState,
        upstream: &Arc<str>,
        start: &ColdStart,
        now: Instants,
    ) {
        let model = start.model.as_deref().map(|model| self.model_label(Some(model)));
        state.total.add_cold_start();
        if let Some(row) = model.as_ref().and_then(|model| state.row(upstream, model)) {
            row.traffic.add_cold_start();
        }
        let length = start.duration().map(|length| length.as_secs_f64());
        let reason = cold_reason(Some(start.reason.label()));
        let text = match length {
            Some(length) => format!("Cold start of {}: {reason}.", seconds(length)),
            None => format!("Cold start: {reason}."),
        };
        state.events.add(LiveEvent {
            at: now.wall_time(start.ended),
            kind: LiveEventKind::ColdStart,
            upstream: Some(Arc::clone(upstream)),
            model,
            duration_s: length.map(rounded),
            count: None,
            text,
        });
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> LiveSnapshot {
        let now = Instants::now();
        let mut state = self.state();
        self.add_own_counters(&mut state, now);
        let time = state.covered_time(now.at, self.started.at);
        let queues: Vec<_> = self.taps.iter().map(|tap| tap.queue_estimates(now.at)).collect();
        let mut models: Vec<TrafficRow> = Vec::with_capacity(state.rows.len());
        for row in &state.rows {
            let at = self.taps.iter().position(|tap| *tap.upstream() == row.upstream);
            let queue = at.and_then(|at| queues.get(at)).into_iter().flatten();
            let slots =
                queue.filter(|queue| queue.model == row.model).find_map(|queue| queue.slots);
            models.push(TrafficRow {
                upstream: Some(Arc::clone(&row.upstream)),
                model: Some(Arc::clone(&row.model)),
                slots,
                ..row.traffic.row(time)
            });
        }
        models.sort_by(|one, two| {
            (two.requests, &one.upstream, &one.model).cmp(&(
                one.requests,
                &two.upstream,
                &two.model,
            ))
        });
        let upstreams = self.taps.iter().zip(&state.upstreams).zip(&queues);
        let upstreams = upstreams.map(|((tap, history), queues)| {
            let [sending, waiting, streaming] = self.metrics.in_flight_by_phase(tap.upstream());
            let waits = queues.iter().filter_map(|queue| queue.wait);
            UpstreamState {
                name: Arc::clone(tap.upstream()),
                engine: tap.engine(),
                state: history.state,
                since: history.since,
                is_needed: history.is_needed,
                stuck_s: history.stuck_s.map(rounded),
                last_cause: self.cause_of_outage(tap.upstream()),
                in_flight: PhaseCounts { sending, waiting, streaming },
                estimated_wait_s: waits.max_by(f64::total_cmp).map(rounded),
            }
        });
        LiveSnapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: now.wall,
            started_at: self.started.wall,
            step_s: STEP_S,
            upstreams: upstreams.collect(),
            total: state.total.row(time),
            models,
            ttft_heatmap: heatmap(&state.total, &state.cold),
            events: state.events.newest_first(),
            running: self.running(now.at),
            newest: state.newest.iter().rev().map(ended_row).collect(),
            own: state.own.state(),
        }
    }

    /// The slow requests of the last ten minutes.
    pub fn slow(&self) -> SlowRequests {
        let now = Instants::now();
        let (_, running) = self.in_flight(now.at);
        let running: Vec<_> = running
            .into_iter()
            .filter(|(_, request)| Operation::is_inference_label(request.operation))
            .map(|(upstream, request)| {
                let model = self.model_label(request.model.as_deref());
                (upstream, InFlightRequest { model: Some(model), ..request })
            })
            .collect();
        self.state().slow.list(&running, (now.at, now.wall))
    }

    /// Number of requests in flight, and the oldest of them.
    fn in_flight(&self, now: Duration) -> (u64, Vec<(Arc<str>, InFlightRequest)>) {
        let mut total = 0;
        let mut oldest: Vec<(Arc<str>, InFlightRequest)> = Vec::new();
        for tap in &self.taps {
            let (count, requests) = tap.oldest_in_flight(MAX_RUNNING, now);
            total += count as u64;
            oldest.extend(requests.into_iter().map(|one| (Arc::clone(tap.upstream()), one)));
        }
        oldest.sort_by_key(|(_, request)| request.started_at);
        oldest.truncate(MAX_RUNNING);
        (total, oldest)
    }

    fn running(&self, now: Duration) -> RunningRequests {
        let (total, oldest) = self.in_flight(now);
        let row = |(upstream, request): (Arc<str>, InFlightRequest)| RunningRequest {
            id: format!("{:016x}", request.id),
            upstream,
            model: request.model.map(|model| control_characters::escape(&model).into()),
            operation: request.operation.to_owned(),
            age_s: rounded(now.saturating_sub(request.started_at).as_secs_f64()),
            phase: match request.phase {
                RequestPhase::Sending => RunningPhase::Sending,
                RequestPhase::Waiting => RunningPhase::Waiting,
                RequestPhase::Streaming => RunningPhase::Streaming,
            },
            output_events: request.output_events,
            silence_s: request.silence.map(|silence| rounded(silence.as_secs_f64())),
        };
        RunningRequests { total, oldest: oldest.into_iter().map(row).collect() }
    }
}

impl HistoryState {
    /// Begins the second that ends at `now`, and the step with this number.
    fn advance(&mut self, now: Duration, step: u64) {
        if self.second_lengths.len() == RATE_SECONDS {
            self.second_lengths.pop_front();
        }
        let elapsed = now.saturating_sub(self.updated_at).as_secs_f64();
        self.second_lengths.push_back(elapsed);
        self.updated_at = now;
        let steps = step.saturating_sub(self.step).min(super::snapshot::POINTS as u64);
        self.step = step;
        let rows = self.rows.iter_mut().map(|row| &mut row.traffic);
        for traffic in rows.chain([&mut self.total]) {
            traffic.next_second();
            (0..steps).for_each(|_| traffic.next_step());
        }
        (0..steps).for_each(|_| self.own.next_step());
    }

    fn covered_time(&self, now: Duration, started: Duration) -> CoveredTime {
        let since_start = now.saturating_sub(started).as_secs_f64();
        CoveredTime {
            steps: usize::try_from(self.step).unwrap_or(usize::MAX).saturating_add(1),
            current_s: (since_start - (self.step * u64::from(STEP_S)) as f64).min(STEP_S.into()),
            rate_s: self.second_lengths.iter().sum(),
        }
    }

    /// The row of an upstream and model. Replaces one without requests if there are too many; `None` if all have some.
    fn row(&mut self, upstream: &Arc<str>, model: &Arc<str>) -> Option<&mut HistoryRow> {
        let known =
            self.rows.iter().position(|row| row.upstream == *upstream && row.model == *model);
        if let Some(at) = known {
            return self.rows.get_mut(at);
        }
        if self.rows.len() == MAX_ROWS {
            let unused = self.rows.iter().position(|row| row.traffic.requests() == 0.0)?;
            self.rows.swap_remove(unused);
        }
        self.rows.push(HistoryRow {
            upstream: Arc::clone(upstream),
            model: Arc::clone(model),
            traffic: TrafficHistory::default(),
            tokens: 0,
            stalls: 0,
        });
        self.rows.last_mut()
    }

    fn add_record(&mut self, labelled: &LabelledRecord) {
        let LabelledRecord { record, model, is_error, weight, .. } = labelled;
        self.total.add_request(record, *is_error, *weight);
        if let Some(row) = self.row(&record.upstream, model) {
            row.traffic.add_request(record, *is_error, *weight);
        }
        self.own.add_request(record, *weight);
        if let (Some(true), Some(ttft)) = (record.cold, record.ttft_s) {
            if self.cold.len() == MAX_COLD_POINTS {
                self.cold.pop_front();
            }
            self.cold.push_back(ColdPoint {
                at: record.time.as_secs_f64() + ttft,
                ttft_s: rounded(ttft),
                reason: record.cold_reason.unwrap_or_default().to_owned(),
                upstream: Arc::clone(&record.upstream),
                model: Arc::clone(model),
            });
        }
        if *is_error {
            self.add_failure(labelled);
        }
    }

    fn add_failure(&mut self, labelled: &LabelledRecord) {
        let LabelledRecord { record, model, ended_at, .. } = labelled;
        let outcome = record.outcome;
        let kind = match outcome {
            "rejected" | "proxy_rejected" => LiveEventKind::Rejections,
            _ => LiveEventKind::Failures,
        };
        let event = LiveEvent {
            at: *ended_at,
            kind,
            upstream: Some(Arc::clone(&record.upstream)),
            model: Some(Arc::clone(model)),
            count: Some(1),
            ..LiveEvent::default()
        };
        let what = match outcome {
            "rejected" => "rejected by the server",
            "proxy_rejected" => "rejected by Streamgauge: too many connections",
            "upstream_unreachable" => "failed: the server could not be reached",
            "truncated" => "failed: the response broke off",
            "timeout" => "failed: a time limit ended them",
            "server_error" => "failed with an error status",
            "stream_error" => "failed with an error within the response",
            "proxy_shutdown" => "cut by the shutdown of Streamgauge",
            _ => "failed",
        };
        self.events.add_to_burst(event, outcome, |count| match count {
            1 => format!("1 request {what}."),
            count => format!("{count} requests {what}."),
        });
    }
}
