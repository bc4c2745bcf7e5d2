//! The account of one request, from its arrival to its one end.

mod on_sample;
mod queue_wait;
mod request_head;

use super::cold_request::ColdRequest;
use super::edge_and_trace::EdgeAndTrace;
use super::headers::{content_encoding, is_deflated, told_by};
use super::request_side::{RequestFault, RequestSide};
use super::stall_watch::StallWatch;
use super::{PeekBody, Tap};
use crate::metrics::{RequestPhase, RequestSeries};
use crate::socket::{self, SocketTimestamps};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::{Version, request, response};
use hyper::{Method, StatusCode};
use request_head::{ArrivalTime, RequestHead};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::response_headers::HeaderFacts;
use streamgauge_core::dialect::route::{Operation, Route};
use streamgauge_core::meter::{
    self, Arrival, EndCause, EndedRequest, GrpcStatus, Outcome, RequestRecord, ResponseMeter,
    ResponseTokens, TimestampSource,
};
use streamgauge_core::wire::framing::{DeclaredFraming, Framing};

/// Longest name of a method that is kept.
const MAX_METHOD: usize = 32;

/// The account of one request. Dropping it records an end, if none was recorded: the client left, or
/// our shutdown cut it.
#[derive(Debug)]
pub struct Measurement {
    client: Arc<SocketTimestamps>,
    /// `None` once the end was recorded.
    state: Option<Box<RequestState>>,
}

/// What each read of a stream touches comes first, side by side: with a thousand open streams a state has left
/// the processor's cache when its next read comes.
#[derive(Debug)]
#[repr(C)]
struct RequestState {
    client: Arc<SocketTimestamps>,
    upstream: Option<Arc<SocketTimestamps>>,
    tap: Arc<Tap>,
    side: Arc<RequestSide>,
    series: Option<Arc<RequestSeries>>,
    /// Of a stream, from its first output on.
    watch: Option<Box<StallWatch>>,
    bytes_down: u64,
    /// The first byte of the request's head.
    start: Duration,
    /// Since when the response is measured: the same, but in a session, which has many.
    asked: Duration,
    first_byte: Option<Duration>,
    /// Of an inference request.
    cold: Option<ColdRequest>,
    meter: Option<ResponseMeter>,
    status: Option<u16>,
    /// The kernel did not say when the request's or the response's head arrived.
    unstamped: bool,
    /// The response is a stream of events; what the request asked for until the head is there.
    stream: Option<bool>,
    route: &'static Route,
    /// `None` where other requests share the socket.
    stalled_before: Option<Duration>,
    /// [`start`](Self::start) as a time since 1970.
    time: Duration,
    method: Method,
    before: Option<Box<EdgeAndTrace>>,
    connect: Option<Duration>,
    head: Option<Duration>,
    /// What the response's head tells; those of most tell nothing.
    told: Option<Box<HeaderFacts>>,
    /// How the gRPC call that this is ends.
    call: Option<GrpcStatus>,
    unparsed: u64,
}

impl Measurement {
    /// A request arrived on a client's socket.
    pub fn start(tap: &Arc<Tap>, client: &Arc<SocketTimestamps>, head: &request::Parts) -> Self {
        let arrived = ArrivalTime::now(client, head.version);
        // A fault of ours here costs what the request is, and it is still forwarded and counted.
        let look = AssertUnwindSafe(|| RequestHead::read(tap, head, &arrived));
        let state = match catch_unwind(look) {
            Ok(asked) => RequestState::new(tap, client, head, arrived, asked),
            Err(_) => {
                let mut state =
                    RequestState::new(tap, client, head, arrived, RequestHead::unknown());
                state.unparsed(UnparsedReason::Panic);
                state
            }
        };
        Self { client: Arc::clone(client), state: Some(Box::new(state)) }
    }

    /// The stamps of the client's socket.
    pub fn client_stamps(&self) -> &Arc<SocketTimestamps> {
        &self.client
    }

    /// Wraps the request's body. `None` once the end was recorded.
    pub fn request_body(&self, body: Incoming) -> Option<PeekBody> {
        let state = self.state.as_ref()?;
        Some(PeekBody::new(body, Arc::clone(&state.side), Arc::clone(&self.client)))
    }

    /// Why the client's request could not be read to its end, if it could not.
    pub fn request_fault(&self) -> Option<RequestFault> {
        self.state.as_ref().and_then(|state| state.side.fault())
    }

    /// Whether all of the request was written to the upstream's socket.
    pub fn is_request_sent(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.side.sent().is_some())
    }

    /// A new connection to the upstream is ready, after this long.
    pub fn on_connected(&mut self, after: Duration) {
        if let Some(state) = &mut self.state {
            state.tap.series.connected(after);
            state.connect = Some(after);
        }
    }

    /// The upstream's head arrived, on a socket with these stamps.
    pub fn on_response_head(&mut self, head: &response::Parts, upstream: &Arc<SocketTimestamps>) {
        if let Some(state) = &mut self.state {
            state.guarded(|state| state.head(head, upstream));
        }
    }

    /// The next bytes of the response's body, which arrived with the upstream's latest read.
    pub fn on_response_data(&mut self, bytes: &[u8]) {
        if let Some(state) = &mut self.state {
            state.data(bytes);
        }
    }

    /// The next bytes that the client sent behind a switch of protocols, which arrived with its latest
    /// read.
    pub fn on_client_data(&mut self, bytes: &[u8]) {
        if let Some(state) = &mut self.state {
            state.client_data(bytes);
        }
    }

    /// The trailers of the response's body, which is over with them.
    pub fn on_trailers(&mut self, fields: &HeaderMap) {
        if let Some(state) = &mut self.state {
            state.call_status(fields);
        }
    }

    /// We answer in the upstream's place, with this status.
    pub fn finish_with_own_response(&mut self, outcome: Outcome, status: u16) {
        if let Some(state) = &mut self.state {
            state.status = Some(status);
        }
        self.finish(EndCause::LocalResponse(outcome));
    }

    /// The response's body has come to its end.
    pub fn complete(&mut self) {
        self.client.reset_on_close(false);
        self.finish(EndCause::Complete);
    }

    /// The request has ended; only the first call counts.
    pub fn finish(&mut self, end: EndCause) {
        if let Some(state) = self.state.take() {
            // A fault of ours here costs one record and never the client's bytes.
            let _ = catch_unwind(AssertUnwindSafe(|| state.finish(end)));
        }
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        let cut = |state: &RequestState| state.tap.cutting.load(Relaxed);
        let end = if self.state.as_deref().is_some_and(cut) {
            EndCause::Shutdown
        } else {
            EndCause::Dropped
        };
        self.finish(end);
    }
}

impl RequestState {
    fn new(
        tap: &Arc<Tap>,
        client: &Arc<SocketTimestamps>,
        head: &request::Parts,
        arrived: ArrivalTime,
        asked: RequestHead,
    ) -> Self {
        let ArrivalTime { start, time } = arrived;
        let RequestHead { route, model, before, cold } = asked;
        Self {
            cold,
            side: Arc::new(RequestSide::new(Arc::clone(tap), route.operation, model)),
            tap: Arc::clone(tap),
            client: Arc::clone(client),
            upstream: None,
            route,
            start,
            asked: start,
            stalled_before: (head.version != Version::HTTP_2).then(|| client.stall_time()),
            time,
            method: head.method.clone(),
            before,
            connect: None,
            head: None,
            first_byte: None,
            status: None,
            unstamped: !client.last_read().is_stamped,
            stream: None,
            told: None,
            call: None,
            meter: None,
            series: None,
            watch: None,
            bytes_down: 0,
            unparsed: 0,
        }
    }

    fn head(&mut self, head: &response::Parts, upstream: &Arc<SocketTimestamps>) {
        let arrival = upstream.last_read();
        let at = arrival.at;
        self.unstamped |= !arrival.is_stamped;
        self.head = Some(at);
        self.upstream = Some(Arc::clone(upstream));
        self.status = Some(head.status.as_u16());
        self.side.enter(RequestPhase::Waiting);
        let content_type =
            head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let announced = Framing::from_content_type(content_type);
        if announced == DeclaredFraming::Known(Framing::LengthPrefixed) {
            self.call = Some(GrpcStatus::Missing);
            self.call_status(&head.headers);
        }
        self.stream = Some(announced.is_stream());
        let has_switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let series = self.resolve(head.status.is_success() || has_switched);
        if !self.route.operation.is_inference() {
            return;
        }
        series.head(at.saturating_sub(self.start));
        if let Some(cold) = &mut self.cold {
            cold.status(head.status.as_u16());
        }
        self.tap.faults.strike(content_type);
        self.told = told_by(&head.headers);
        let Some(dialect) = self.route.dialect_for(announced) else { return };
        if has_switched && self.route.operation == Operation::Realtime {
            self.stream = Some(true);
            self.meter = Some(ResponseMeter::for_websocket(dialect, is_deflated(&head.headers)));
            // It is not the server that is waited for between two responses.
            self.side.enter(RequestPhase::Streaming);
        } else if head.status.is_success() {
            match ResponseMeter::with_framing(dialect, announced, &content_encoding(&head.headers))
            {
                Ok(meter) => self.meter = Some(meter),
                Err(reason) => self.unparsed(reason),
            }
        }
    }

    /// How a gRPC call ended, if these headers or trailers say so.
    fn call_status(&mut self, fields: &HeaderMap) {
        let told = fields.get("grpc-status").and_then(|value| GrpcStatus::parse(value.as_bytes()));
        if self.call.is_some() {
            self.call = told.or(self.call);
        }
    }

    /// The handles for this request's labels. A model is a label only after a 2xx answer.
    fn resolve(&mut self, success: bool) -> Arc<RequestSeries> {
        if let Some(series) = &self.series {
            return Arc::clone(series);
        }
        let model = self.side.model().filter(|_| success);
        let (arrivals, operation) = (self.side.arrivals(), self.route.operation);
        let series = self.tap.metrics.series(arrivals, operation, model.as_deref());
        self.series = Some(Arc::clone(&series));
        series
    }

    fn unparsed(&mut self, reason: UnparsedReason) {
        self.unparsed += 1;
        self.tap.series.unparsed(reason);
    }

    fn data(&mut self, bytes: &[u8]) {
        let Some(upstream) = &self.upstream else { return };
        let arrival = upstream.last_read();
        self.client.frame_queued(arrival.at);
        self.bytes_down += bytes.len() as u64;
        self.tap.series.bytes_down.inc_by(bytes.len() as u64);
        self.guarded(|state| state.read(arrival, bytes));
    }

    /// Measures. A fault of ours in it costs the measurement and never the client's bytes.
    fn guarded(&mut self, measure: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| measure(self))).is_err() {
            self.meter = None;
            self.watch = None;
            self.unparsed(UnparsedReason::Panic);
        }
    }

    fn read(&mut self, arrival: Arrival, bytes: &[u8]) {
        if self.first_byte.is_none() && !bytes.is_empty() {
            self.first_byte = Some(arrival.at);
            if !self.meter.as_ref().is_some_and(ResponseMeter::is_stream) {
                self.side.enter(RequestPhase::Streaming);
                if let (Some(cold), Some(200..300)) = (&mut self.cold, self.status) {
                    let tells_load =
                        self.meter.as_ref().is_some_and(ResponseMeter::reports_load_time);
                    cold.output(&self.tap, &self.side, arrival.at, false, tells_load);
                }
            }
        }
        if let Some(cold) = &mut self.cold {
            cold.data(&self.tap, &self.side, arrival.at, bytes);
        }
        let Some((meter, mut hearing)) = self.hearing() else { return };
        hearing.strike(bytes);
        meter.push(arrival, bytes, &mut |sample| hearing.hear(arrival.at, &sample));
        let Self { tap, meter: Some(meter), series: Some(series), watch, client, start, .. } = self
        else {
            return;
        };
        if watch.is_none() && meter.is_stream() && meter.tally().first_output.is_some() {
            *watch = Some(tap.pulses.watch(client, series));
        }
        if let Some(watch) = watch {
            watch.read(meter.tally(), arrival, *start);
        }
    }

    fn client_data(&mut self, bytes: &[u8]) {
        self.side.passed(bytes.len());
        let at = self.client.last_read().at;
        self.guarded(|state| {
            if let Some(meter) = &mut state.meter {
                meter.push_client(at, bytes);
            }
        });
    }

    fn finish(mut self: Box<Self>, end: EndCause) {
        let now = socket::now();
        self.side.leave(now);
        let series =
            self.resolve(self.head.is_some_and(|_| {
                self.status.is_some_and(|status| matches!(status, 101 | 200..300))
            }));
        let told = self.told.take();
        self.guarded(|state| {
            if let Some((meter, mut hearing)) = state.hearing() {
                meter.finish(end == EndCause::Complete, &mut |sample| hearing.hear(now, &sample));
                if let Some(told) = &told {
                    meter.set_header_facts(told);
                }
            }
        });
        let meter = self.meter.take();
        let mut engine = told.as_ref().and_then(|told| told.engine);
        let outcome = self.ended(end, meter.as_ref()).outcome();
        let mut record = self.record(outcome, now);
        if let Some(before) = self.before.take() {
            before.record(meter.as_ref().map(ResponseMeter::tally), &mut record);
        }
        let mut tokens = ResponseTokens::default();
        if let Some(meter) = &meter {
            record.stream |= meter.is_stream();
            record.dialect = Some(meter.dialect());
            tokens = record.fill_from_response(meter.tally(), meter.is_stream(), self.start);
        }
        if let Some(cold) = self.cold.take() {
            cold.finish(&self.tap, (end, outcome), now, &series, &mut record);
        }
        if let Some(meter) = &meter {
            let tally = meter.tally();
            if let Some(mut watch) = self.watch.take() {
                watch.end(now);
                record.max_gap_s = watch.flow.max_gap().map(|gap| gap.as_secs_f64());
                let is_whole = outcome == Outcome::Ok && !meter.is_session();
                let ratio = watch.flow.burst_ratio(tally, self.start);
                record.burst_ratio = ratio.filter(|_| is_whole);
            }
            series.counted(&tokens, tally.live_tokens);
            engine = tally.engine.or(engine);
            // A session is no response, and has no latency.
            if outcome == Outcome::Ok && !meter.is_session() && meter.is_fully_read() {
                let rate = meter::characters_per_second(tally);
                record.characters_per_second = rate.filter(|_| meter.is_stream());
                series.completed(&record, &tokens);
            }
        }
        self.queue_wait(meter.as_ref(), (end, now), engine, &mut record);
        if let Some(engine) = engine {
            self.tap.recognised(engine);
        }
        record.engine = self.tap.engine(engine);
        if record.clock == TimestampSource::Program {
            record.degraded |= socket::lagged_since(self.start);
        }
        self.tap.series.told_by(record.clock);
        record.slo = self.tap.config.slo.evaluate(&record, outcome);
        series.ended(&record, outcome);
        self.tap.log.write(record);
    }

    fn ended(&self, end: EndCause, meter: Option<&ResponseMeter>) -> EndedRequest {
        let tally = meter.map(ResponseMeter::tally);
        let is_stream = meter.is_some_and(ResponseMeter::is_stream);
        EndedRequest {
            cause: end,
            status: self.head.and(self.status),
            has_output: if is_stream && !meter.is_some_and(ResponseMeter::is_session) {
                tally.is_some_and(|tally| tally.first_output.is_some())
            } else {
                self.first_byte.is_some()
            },
            has_error: tally.is_some_and(|tally| tally.has_error),
            is_complete: is_stream && tally.is_some_and(meter::ResponseTally::is_complete),
            needs_terminator: meter.is_some_and(ResponseMeter::needs_terminator),
            grpc_status: self.call,
        }
    }

    fn record(&self, outcome: Outcome, now: Duration) -> RequestRecord {
        let since = |at: Duration| at.saturating_sub(self.start).as_secs_f64();
        let stalled = self
            .stalled_before
            .map_or(Duration::ZERO, |before| self.client.stall_time().saturating_sub(before));
        RequestRecord {
            time: self.time,
            id: self.tap.next_id(),
            upstream: Arc::clone(&self.tap.upstream),
            method: name(&self.method),
            path: self.route.path,
            operation: self.route.operation.label(),
            dialect: self.route.dialect().map(|dialect| dialect.name),
            model: self.side.model(),
            stream: self
                .stream
                .or_else(|| self.side.asks_stream())
                .unwrap_or_else(|| self.route.streams_by_default()),
            status: self.status,
            outcome: outcome.label(),
            connect_s: self.connect.map(|after| after.as_secs_f64()),
            sent_s: self.side.sent().map(since),
            head_s: self.head.map(since),
            first_byte_s: self.first_byte.map(since),
            duration_s: since(now),
            client_stall_s: (!stalled.is_zero()).then_some(stalled.as_secs_f64()),
            bytes_up: self.side.bytes(),
            bytes_down: self.bytes_down,
            unparsed: self.unparsed,
            clock: if self.unstamped { TimestampSource::Program } else { TimestampSource::Kernel },
            ..RequestRecord::default()
        }
    }
}

/// The name of a method, cut to what is kept. All of it is ASCII.
fn name(method: &Method) -> Cow<'static, str> {
    static USUAL: [Method; 3] = [Method::POST, Method::GET, Method::OPTIONS];
    if let Some(usual) = USUAL.iter().find(|usual| *usual == method) {
        return Cow::Borrowed(usual.as_str());
    }
    let name = method.as_str();
    Cow::Owned(name.get(..MAX_METHOD).unwrap_or(name).to_owned())
}
