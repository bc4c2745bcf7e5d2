//! The end of a request, in three steps:
//!
//! 1. [`RequestState::close`] ends what still runs and determines the outcome: a [`ClosedRequest`].
//! 2. [`ClosedRequest::complete`] completes the record. The metrics, the SLO verdict and the request log are made from the
//!    record, so nothing is recorded from it before it is complete.
//! 3. [`ClosedRequest::publish`] records the metrics and writes the line of the request log.

use super::super::queue::has_queue;
use super::RequestState;
use crate::metrics::RequestSeries;
use crate::socket;
use hyper::Method;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::dialect::engine::Engine;
use streamgauge_core::meter::{
    self, EndCause, EndedRequest, ErrorKind, Outcome, RequestRecord, ResponseMeter, ResponseTally,
    ResponseTokens, TimestampSource,
};

/// Longest method name in the request log.
const MAX_METHOD: usize = 32;

/// A request that is over, whose outcome is determined.
struct ClosedRequest {
    state: Box<RequestState>,
    series: Arc<RequestSeries>,
    /// The engine, if the response headers identify it.
    head_engine: Option<Engine>,
    end: EndCause,
    outcome: Outcome,
    ended_at: RequestEnd,
}

/// When a request ended.
#[derive(Debug, Clone, Copy)]
struct RequestEnd {
    at: Duration,
    /// `at` is a timestamp of the kernel.
    is_stamped: bool,
}

impl RequestState {
    pub(super) fn finish(self: Box<Self>, end: EndCause) {
        let mut closed = self.close(end);
        let mut record = Arc::new(closed.request_record());
        let tokens = closed.complete(Arc::make_mut(&mut record));
        closed.publish(record, &tokens);
    }

    /// When the request ended: for a complete response, when the read with its last byte arrived. All other ends have no
    /// timestamp.
    fn ended_at(&self, end: EndCause) -> RequestEnd {
        match &self.upstream {
            Some(upstream) if end == EndCause::Complete && !self.ends_with_connection => {
                let last = upstream.last_read();
                RequestEnd { at: last.at, is_stamped: last.is_stamped }
            }
            _ => RequestEnd { at: socket::now(), is_stamped: false },
        }
    }

    fn close(mut self: Box<Self>, end: EndCause) -> ClosedRequest {
        let ended_at = self.ended_at(end);
        let now = ended_at.at;
        self.progress.end(now);
        let is_success = self.head_at.is_some() && matches!(self.status, Some(101 | 200..300));
        // The last samples of the meter need the series, and can change it: a document can show its operation.
        self.resolve_series(is_success);
        let head_facts = self.head_facts.take();
        let requested_choices = self.progress.requested_choices();
        self.catch_panic(|state| {
            if let Some((meter, mut observer)) = state.sample_observer() {
                meter.finish(end == EndCause::Complete, &mut |sample| {
                    observer.on_sample(now, &sample)
                });
                meter.set_requested_choices(requested_choices);
                if let Some(facts) = &head_facts {
                    meter.set_header_facts(facts);
                }
            }
        });
        let series = self.resolve_series(is_success);
        let outcome = self.outcome(end, self.meter.as_deref());
        let head_engine = head_facts.and_then(|facts| facts.engine);
        ClosedRequest { state: self, series, head_engine, end, outcome, ended_at }
    }

    /// Whether the client requested a stream; `None` if only the part of the body that was not read can say it.
    fn requests_stream(&self) -> Option<bool> {
        let Self { progress, route, .. } = self;
        let by_path = route.streams_by_path().then_some(true);
        let by_default = || progress.is_body_known().then(|| route.streams_by_default());
        progress.requests_stream().or(by_path).or_else(by_default)
    }

    fn outcome(&self, end: EndCause, meter: Option<&ResponseMeter>) -> Outcome {
        let tally = meter.map(ResponseMeter::tally);
        let is_stream = meter.is_some_and(ResponseMeter::is_stream);
        let ended = EndedRequest {
            cause: end,
            status: self.head_at.and(self.status),
            has_output: if is_stream && !meter.is_some_and(ResponseMeter::is_session) {
                tally.is_some_and(|tally| tally.first_output.is_some())
            } else {
                self.first_byte_at.is_some()
            },
            has_error: meter.is_some_and(|meter| meter.error_kind(end).is_some()),
            is_complete: is_stream && tally.is_some_and(ResponseTally::is_complete),
            needs_terminator: meter.is_some_and(ResponseMeter::needs_terminator),
            grpc_status: self.grpc_status,
        };
        ended.outcome()
    }
}

impl ClosedRequest {
    /// `None` if the body was not read: another status than 2xx, or not an inference request.
    fn meter(&self) -> Option<&ResponseMeter> {
        self.state.meter.as_deref()
    }

    /// Completes the record; returns the token counts. Each step may use what the steps before it filled in; the comments
    /// name what it needs.
    fn complete(&mut self, record: &mut RequestRecord) -> ResponseTokens {
        self.add_edge_and_trace(record);
        let tokens = self.add_response(record);
        // Needs the load and prefill times that the server reported.
        self.add_cold_start(record);
        self.add_stream_flow(record);
        self.observe_engine();
        // Needs the input tokens and the cold start: cold requests are not samples of the baseline.
        self.add_queue_wait(record);
        self.add_engine(record);
        self.add_clock_quality(record);
        // Last, because a target may limit any time above.
        record.slo = self.state.tap.config.load().slo.evaluate(record, self.outcome);
        self.release_capacity(record);
        tokens
    }

    /// Returns a record with what is known without reading the response body.
    fn request_record(&self) -> RequestRecord {
        let Self { state, outcome, ended_at, .. } = self;
        let since = |at: Duration| at.saturating_sub(state.started_at).as_secs_f64();
        let stalled = state
            .client_stalled_before
            .map_or(Duration::ZERO, |before| state.client.stall_time().saturating_sub(before));
        RequestRecord {
            time: state.wall_time,
            id: state.id,
            upstream: Arc::clone(&state.tap.upstream),
            method: method_name(&state.method),
            path: state.route.path,
            operation: state.operation.label(),
            dialect: state.route.dialect().map(|dialect| dialect.name),
            model: state.progress.model(),
            stream: match self.meter() {
                Some(meter) => Some(meter.is_stream()),
                None => state.stream.or_else(|| state.requests_stream()),
            },
            status: state.status,
            outcome: outcome.label(),
            connect_s: state.connect_time.map(|elapsed| elapsed.as_secs_f64()),
            sent_s: state.progress.sent().map(since),
            head_s: state.head_at.map(since),
            first_byte_s: state.first_byte_at.map(since),
            first_audio_s: state.first_audio_at.map(since),
            duration_s: since(ended_at.at),
            client_stall_s: (!stalled.is_zero()).then_some(stalled.as_secs_f64()),
            bytes_up: state.progress.bytes(),
            bytes_down: state.bytes_down,
            unparsed: state.unparsed,
            clock: if state.unstamped { TimestampSource::Program } else { TimestampSource::Kernel },
            ..RequestRecord::default()
        }
    }

    fn add_edge_and_trace(&mut self, record: &mut RequestRecord) {
        if let Some(edge) = self.state.edge.take() {
            edge.add_to_record(self.meter().map(ResponseMeter::tally), record);
        }
    }

    /// Adds what the response body contained; returns its token counts.
    fn add_response(&self, record: &mut RequestRecord) -> ResponseTokens {
        let Some(meter) = self.meter() else { return ResponseTokens::default() };
        record.dialect = meter.dialect();
        let since = |at: Duration| at.saturating_sub(self.state.started_at).as_secs_f64();
        record.first_event_s = meter.first_unrecognised_event().map(since);
        if self.outcome == Outcome::StreamError {
            let kind = meter.error_kind(self.end).unwrap_or(ErrorKind::GrpcStatus);
            record.error_kind = Some(kind.label());
        }
        let tokens =
            record.fill_from_response(meter.tally(), meter.is_stream(), self.state.started_at);
        if !self.state.is_inference() {
            record.clear_generation_times();
            return tokens;
        }
        if meter.is_stream() && self.is_complete() {
            record.characters_per_second = meter::characters_per_second(meter.tally());
        }
        tokens
    }

    fn add_cold_start(&mut self, record: &mut RequestRecord) {
        let Self { state, series, end, outcome, ended_at, .. } = self;
        if let Some(cold) = state.cold.take() {
            cold.finish(&state.tap, (*end, *outcome), ended_at.at, series, record);
        }
    }

    /// Adds the longest gap and the burst ratio of a stream, and counts the stall that the end of the request ends.
    fn add_stream_flow(&mut self, record: &mut RequestRecord) {
        let stalls = self.state.stall_watch.take();
        let (Some(meter), Some(mut stalls)) = (self.meter(), stalls) else { return };
        stalls.end(self.ended_at.at, &self.state.output_clock);
        record.max_gap_s = stalls.flow.max_gap().map(|gap| gap.as_secs_f64());
        let is_burst_defined = self.outcome == Outcome::Ok && !meter.is_session();
        let ratio = stalls.flow.burst_ratio(meter.tally(), self.state.started_at);
        record.burst_ratio = ratio.filter(|_| is_burst_defined);
    }

    /// Reports the latest output to the watch of the engine.
    fn observe_engine(&self) {
        let Self { state, ended_at, .. } = self;
        let Some(meter) = self.meter().filter(|_| has_queue(state.operation)) else { return };
        let watch = &state.tap.engine_watch;
        if let Some(last) = meter.tally().last_output {
            watch.on_output(last.at);
        } else if self.outcome == Outcome::Ok {
            watch.on_output(ended_at.at);
            if let Some(sent) = state.progress.sent().filter(|_| !meter.is_stream()) {
                watch.on_document(ended_at.at.saturating_sub(sent));
            }
        }
    }

    fn add_queue_wait(&self, record: &mut RequestRecord) {
        let (meter, ended_at) = (self.meter(), self.ended_at.at);
        self.state.add_queue_wait(meter, ended_at, self.detected_engine(), record);
    }

    /// Needs the verdicts. A cold start shows the time to load, not the capacity of a server that is ready.
    fn release_capacity(&self, record: &RequestRecord) {
        let verdicts = if record.cold == Some(true) { &[] } else { &*record.slo };
        self.state.progress.release_capacity(self.ended_at.at, verdicts);
    }

    fn add_engine(&self, record: &mut RequestRecord) {
        let Self { state, .. } = self;
        let engine = self.detected_engine();
        if let Some(engine) = engine {
            state.tap.set_detected_engine(engine);
        }
        // A gateway answers so while no server is ready.
        let is_unready = matches!(state.status, Some(502..=504));
        if state.is_inference() && state.head_at.is_some() && !is_unready {
            state.tap.on_answer();
        }
        record.engine = state.tap.engine_of_response(engine);
    }

    /// The engine that this response identifies. Its body is more specific than its headers.
    fn detected_engine(&self) -> Option<Engine> {
        let in_body = self.meter().and_then(|meter| meter.tally().engine);
        in_body.or(self.head_engine)
    }

    /// Marks the record if an instant comes from the program's clock and its threads were late.
    fn add_clock_quality(&self, record: &mut RequestRecord) {
        if record.clock == TimestampSource::Program || !self.ended_at.is_stamped {
            record.degraded |= socket::lagged_since(self.state.started_at);
        }
    }

    /// Whether the response has outcome `ok` and was read completely. A realtime session is not a response and has no
    /// latency.
    fn is_complete(&self) -> bool {
        let is_whole = |meter: &ResponseMeter| {
            !meter.is_session() && meter.is_fully_read() && !meter.is_unrecognised()
        };
        self.outcome == Outcome::Ok && self.meter().is_some_and(is_whole)
    }

    /// Records the metrics and writes the request log. The order of the metrics does not matter.
    fn publish(&self, record: Arc<RequestRecord>, tokens: &ResponseTokens) {
        let Self { state, series, outcome, .. } = self;
        if let Some(meter) = self.meter()
            && state.is_inference()
        {
            series.record_token_counts(tokens, meter.tally().live_tokens);
            if self.is_complete() {
                series.record_complete(&record, tokens);
            }
        }
        series.record_end(&record, *outcome);
        state.tap.series.set_clock(record.clock);
        if record.degraded {
            state.tap.series.count_degraded();
        }
        state.tap.log.write(record);
    }
}

/// Returns the name of a method, cut to [`MAX_METHOD`]. Method names are ASCII.
fn method_name(method: &Method) -> Cow<'static, str> {
    static COMMON: [Method; 3] = [Method::POST, Method::GET, Method::OPTIONS];
    if let Some(common) = COMMON.iter().find(|common| *common == method) {
        return Cow::Borrowed(common.as_str());
    }
    let name = method.as_str();
    Cow::Owned(name.get(..MAX_METHOD).unwrap_or(name).to_owned())
}
