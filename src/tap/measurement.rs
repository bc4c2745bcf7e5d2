//! Measurement of one request, from its arrival to its end.

mod finish;
mod on_sample;
mod queue_wait;
mod request_head;
mod stream_gaps;

use super::cold_request::ColdRequest;
use super::edge_and_trace::EdgeAndTrace;
use super::headers::{content_encoding, ends_with_connection, head_facts, is_deflated};
use super::request_progress::{RequestFault, RequestProgress};
use super::stall_watch::StallWatch;
use super::{PeekBody, Tap};
use crate::metrics::{RequestPhase, RequestSeries, StartKind};
use crate::socket::SocketTimestamps;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::{Version, request, response};
use hyper::{Method, StatusCode};
use request_head::{ArrivalTime, RequestHead};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use streamgauge_core::dialect::response_headers::HeaderFacts;
use streamgauge_core::dialect::route::{Operation, Route};
use streamgauge_core::dialect::{Dialect, UNKNOWN, UnparsedReason};
use streamgauge_core::meter::{
    Arrival, EndCause, GrpcStatus, LiveSample, Outcome, OutputClock, ResponseMeter,
};
use streamgauge_core::wire::framing::{DeclaredFraming, Framing};
use streamgauge_core::wire::reject_reason::RejectReason;

/// Measures one request and records it exactly once, however it ends.
///
/// If it is dropped before an end was recorded, the client disconnected, or Streamgauge's shutdown cut the request.
#[derive(Debug)]
pub struct Measurement {
    client: Arc<SocketTimestamps>,
    /// `None` once the end was recorded.
    state: Option<Box<RequestState>>,
}

/// State of a request that has not ended.
///
/// Fields that every read uses come first, so that they share cache lines. With a thousand streams, no part of a state is
/// in the processor's cache any more when its next read comes.
#[derive(Debug)]
#[repr(C)]
struct RequestState {
    client: Arc<SocketTimestamps>,
    upstream: Option<Arc<SocketTimestamps>>,
    tap: Arc<Tap>,
    progress: Arc<RequestProgress>,
    /// Looked up when the response headers arrive, or else at the end.
    series: Option<Arc<RequestSeries>>,
    /// Streams only, from the first output on.
    stall_watch: Option<Box<StallWatch>>,
    /// Clock of the gaps between outputs.
    output_clock: OutputClock,
    bytes_down: u64,
    /// Arrival of the request: of its first read, or with HTTP/2 of the read that completed its headers.
    started_at: Duration,
    /// Start of the current response. Equals `started_at`, except in a realtime session (WebSocket), which has many
    /// responses.
    requested_at: Duration,
    /// Arrival of the first byte of the response body.
    first_byte_at: Option<Duration>,
    /// Inference requests only.
    cold: Option<ColdRequest>,
    meter: Option<Box<ResponseMeter>>,
    status: Option<u16>,
    /// The kernel did not timestamp the headers of the request or the response.
    unstamped: bool,
    /// The end of the connection ends the response, and has no timestamp.
    ends_with_connection: bool,
    /// Whether the response is a stream of events. `None` until its headers arrive.
    stream: Option<bool>,
    route: &'static Route,
    /// Operation of the route, or the one that the response on an unknown path was recognised to have.
    operation: Operation,
    /// Arrival of the first sound of a response that is raw audio.
    first_audio_at: Option<Duration>,
    /// The body is a WAV file.
    is_wav: bool,
    /// Total stall time of the client's socket before this request; subtracted at the end. `None` for HTTP/2, where other
    /// requests share the socket.
    client_stalled_before: Option<Duration>,
    /// `started_at` as a time since 1970.
    wall_time: Duration,
    method: Method,
    /// Wait in a proxy before Streamgauge, and trace. Most requests have neither.
    edge: Option<Box<EdgeAndTrace>>,
    /// How long it took to open a connection. `None` if a pooled one was used.
    connect_time: Option<Duration>,
    /// Arrival of the response headers.
    head_at: Option<Duration>,
    /// Queueing, timings and the engine from the response headers. Most contain none.
    head_facts: Option<Box<HeaderFacts>>,
    /// gRPC status, if the request is a gRPC call.
    grpc_status: Option<GrpcStatus>,
    unparsed: u64,
    /// Number of the request.
    id: u64,
    /// Slot of the request in the registry of requests in flight.
    slot: usize,
    /// Each read of the response is measured at once. False if hyper carries its body.
    reads_directly: bool,
}

impl Measurement {
    /// Starts the measurement of a request whose headers were read from a client's socket.
    pub fn start(tap: &Arc<Tap>, client: &Arc<SocketTimestamps>, head: &request::Parts) -> Self {
        let arrived = ArrivalTime::now(client, head.version);
        // If the measurement panics here, the request is still forwarded, and counted with the operation `other`.
        let read = AssertUnwindSafe(|| RequestHead::read(tap, head, &arrived));
        let state = match catch_unwind(read) {
            Ok(request) => RequestState::new(tap, client, head, arrived, request),
            Err(_) => {
                let unknown = RequestHead::unknown();
                let mut state = RequestState::new(tap, client, head, arrived, unknown);
                state.count_unparsed(UnparsedReason::Panic);
                state
            }
        };
        Self { client: Arc::clone(client), state: Some(Box::new(state)) }
    }

    /// Timestamps of the client's socket.
    pub fn client_stamps(&self) -> &Arc<SocketTimestamps> {
        &self.client
    }

    /// Progress of the request. `None` once the end was recorded.
    pub(crate) fn progress(&self) -> Option<Arc<RequestProgress>> {
        self.state.as_ref().map(|state| Arc::clone(&state.progress))
    }

    /// Arrival of the request. `None` once the end was recorded.
    pub fn started_at(&self) -> Option<Duration> {
        self.state.as_ref().map(|state| state.started_at)
    }

    /// Wraps the request's body. Returns `None` once the end was recorded.
    pub fn request_body(&self, body: Incoming) -> Option<PeekBody> {
        let state = self.state.as_ref()?;
        Some(PeekBody::new(body, Arc::clone(&state.progress), Arc::clone(&self.client)))
    }

    /// Why the request's body could not be read completely, if it could not.
    pub fn request_fault(&self) -> Option<RequestFault> {
        self.state.as_ref().and_then(|state| state.progress.fault())
    }

    /// Whether the request was completely received from the client.
    pub fn is_request_received(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.progress.is_received())
    }

    /// Whether the request was completely written to the upstream's socket.
    pub fn is_request_sent(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.progress.sent().is_some())
    }

    /// Records that a new connection to the upstream is ready, after this time.
    pub fn on_connected(&mut self, elapsed: Duration) {
        if let Some(state) = &mut self.state {
            state.tap.series.record_connect(elapsed);
            state.connect_time = Some(elapsed);
        }
    }

    /// Reads the upstream's response headers, which arrived on a socket with these timestamps.
    pub fn on_response_head(&mut self, head: &response::Parts, upstream: &Arc<SocketTimestamps>) {
        if let Some(state) = &mut self.state {
            state.catch_panic(|state| state.on_response_head(head, upstream));
        }
    }

    /// Reads the next bytes of the response body. They arrived with the latest read of the upstream's socket.
    pub fn on_response_data(&mut self, bytes: &[u8]) {
        if let Some(state) = &mut self.state {
            state.on_response_data(bytes);
        }
    }

    /// Reads the next bytes that the client sent after a protocol switch (WebSocket). They arrived with the latest read of
    /// its socket.
    pub fn on_client_data(&mut self, bytes: &[u8]) {
        if let Some(state) = &mut self.state {
            state.on_client_data(bytes);
        }
    }

    /// Reads the trailers of the response body.
    pub fn on_trailers(&mut self, fields: &HeaderMap) {
        if let Some(state) = &mut self.state {
            state.read_grpc_status(fields);
        }
    }

    /// Counts a request that is rejected.
    pub fn on_rejected(&self, reason: RejectReason) {
        if let Some(state) = &self.state {
            state.tap.series.count_rejected(reason);
        }
    }

    /// Records the end of a request that Streamgauge answers itself, with this status.
    pub fn finish_with_own_response(&mut self, outcome: Outcome, status: u16) {
        if let Some(state) = &mut self.state {
            state.status = Some(status);
        }
        self.finish(EndCause::LocalResponse(outcome));
    }

    /// Records the end of a request that exceeded a time limit before its response headers. Streamgauge answers it with
    /// this status.
    pub fn finish_with_own_timeout(&mut self, status: u16) {
        if let Some(state) = &mut self.state {
            state.status = Some(status);
        }
        self.finish(EndCause::TimedOut);
    }

    /// Records the regular end of the response body.
    pub fn complete(&mut self) {
        // The service requests a reset for HTTP/1.0. This body is complete, so its connection closes normally.
        self.client.reset_on_close(false);
        self.finish(EndCause::Complete);
    }

    /// Records the end of the request. Later calls have no effect.
    pub fn finish(&mut self, end: EndCause) {
        if let Some(state) = self.state.take() {
            // If this panics, the record is lost. The client's bytes are not affected.
            let _ = catch_unwind(AssertUnwindSafe(|| state.finish(end)));
        }
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        let cut = |state: &RequestState| state.tap.shutting_down.load(Relaxed);
        let end = if self.state.as_deref().is_some_and(cut) {
            EndCause::Shutdown
        } else {
            EndCause::Dropped
        };
        self.finish(end);
    }
}

impl Drop for RequestState {
    fn drop(&mut self) {
        self.tap.in_flight.remove(self.slot);
    }
}

impl RequestState {
    fn new(
        tap: &Arc<Tap>,
        client: &Arc<SocketTimestamps>,
        head: &request::Parts,
        arrived: ArrivalTime,
        request: RequestHead,
    ) -> Self {
        let ArrivalTime { started_at, wall_time } = arrived;
        let RequestHead { route, model, body, edge, cold } = request;
        let progress = RequestProgress::new(Arc::clone(tap), route, model, body);
        let (progress, id) = (Arc::new(progress), tap.next_id());
        Self {
            cold,
            id,
            slot: tap.in_flight.add(id, started_at, &progress),
            progress,
            tap: Arc::clone(tap),
            client: Arc::clone(client),
            upstream: None,
            operation: route.operation,
            first_audio_at: None,
            is_wav: false,
            route,
            started_at,
            requested_at: started_at,
            client_stalled_before: (head.version != Version::HTTP_2).then(|| client.stall_time()),
            wall_time,
            method: head.method.clone(),
            edge,
            connect_time: None,
            head_at: None,
            first_byte_at: None,
            status: None,
            unstamped: !client.last_read().is_stamped,
            ends_with_connection: false,
            stream: None,
            head_facts: None,
            grpc_status: None,
            meter: None,
            series: None,
            stall_watch: None,
            output_clock: OutputClock::new(client.stall_time()),
            bytes_down: 0,
            unparsed: 0,
            reads_directly: true,
        }
    }

    fn on_response_head(&mut self, head: &response::Parts, upstream: &Arc<SocketTimestamps>) {
        let arrival = upstream.last_read();
        let at = arrival.at;
        self.unstamped |= !arrival.is_stamped;
        self.head_at = Some(at);
        self.upstream = Some(Arc::clone(upstream));
        self.status = Some(head.status.as_u16());
        self.progress.enter(RequestPhase::Waiting);
        let content_type =
            head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let declared = Framing::from_content_type(content_type);
        // Only gRPC uses this framing.
        if declared == DeclaredFraming::Known(Framing::LengthPrefixed) {
            self.grpc_status = Some(GrpcStatus::Missing);
            // An error without a body has its status in the headers.
            self.read_grpc_status(&head.headers);
        }
        self.stream = Some(declared.is_stream());
        let has_switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        self.ends_with_connection = ends_with_connection(&self.method, head);
        let series = self.resolve_series(head.status.is_success() || has_switched);
        if has_switched && self.progress.model().is_none() {
            // The client's first message may name the model.
            self.series = None;
        }
        if self.is_inference() {
            series.record_time_to_response_head(at.saturating_sub(self.started_at));
            self.head_facts = head_facts(&head.headers);
        }
        if let Some(cold) = &mut self.cold {
            cold.on_status(head.status.as_u16());
        }
        // Only for tests.
        self.tap.faults.inject(content_type);
        let Some(dialect) = self.response_dialect(declared) else { return };
        if has_switched && self.operation == Operation::Realtime {
            self.stream = Some(true);
            let is_deflated = is_deflated(&head.headers);
            self.meter = Some(Box::new(ResponseMeter::for_websocket(dialect, is_deflated)));
            // A session is always in this phase: between two responses the server waits for the client.
            self.progress.enter(RequestPhase::Streaming);
        } else if head.status.is_success() {
            match ResponseMeter::with_framing(dialect, declared, &content_encoding(&head.headers)) {
                Ok(meter) => self.meter = Some(Box::new(meter)),
                Err(reason) => self.count_unparsed(reason),
            }
            if let (Some(meter), true) = (&mut self.meter, self.route.may_be_media()) {
                meter.allow_media();
            }
        }
    }

    /// Dialect to read the response in; `None` if it is not read. A response on an unknown path is read if it may be
    /// inference, because its dialect can be recognised.
    fn response_dialect(&self, declared: DeclaredFraming) -> Option<&'static Dialect> {
        let may_be_inference = self.method == Method::POST || declared.is_stream();
        let is_candidate = self.route.is_unknown() && may_be_inference;
        self.route.dialect().or(is_candidate.then_some(&UNKNOWN))
    }

    fn is_inference(&self) -> bool {
        self.operation.is_inference()
    }

    /// Takes the status of a gRPC call from these headers or trailers, if they have one.
    fn read_grpc_status(&mut self, fields: &HeaderMap) {
        let status =
            fields.get("grpc-status").and_then(|value| GrpcStatus::parse(value.as_bytes()));
        if self.grpc_status.is_some() {
            self.grpc_status = status.or(self.grpc_status);
        }
    }

    /// Returns the series of this request's labels. A model becomes a label value only after a successful response.
    fn resolve_series(&mut self, success: bool) -> Arc<RequestSeries> {
        if let Some(series) = &self.series {
            return Arc::clone(series);
        }
        let model = self.progress.model().filter(|_| success);
        let (arrivals, operation) = (&self.tap.arrivals, self.operation);
        let series = self.tap.metrics.request_series(arrivals, operation, model.as_deref());
        self.series = Some(Arc::clone(&series));
        series
    }

    fn count_unparsed(&mut self, reason: UnparsedReason) {
        self.unparsed += 1;
        self.tap.series.count_unparsed(reason);
    }

    /// Runs `measure`. If it panics, the body of this response is measured no further, but still forwarded.
    fn catch_panic(&mut self, measure: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| measure(self))).is_err() {
            self.meter = None;
            self.stall_watch = None;
            self.count_unparsed(UnparsedReason::Panic);
        }
    }

    fn on_response_data(&mut self, bytes: &[u8]) {
        let Some(upstream) = &self.upstream else { return };
        let arrival = upstream.last_read();
        // The forwarding delay lasts from this arrival until the client's socket has taken the bytes.
        self.client.frame_queued(arrival.at);
        self.bytes_down += bytes.len() as u64;
        self.tap.series.bytes_down.inc_by(bytes.len() as u64);
        self.catch_panic(|state| state.measure_response_data(arrival, bytes));
    }

    fn measure_response_data(&mut self, mut arrival: Arrival, bytes: &[u8]) {
        self.place_on_output_clock(&mut arrival);
        let is_first = self.first_byte_at.is_none() && !bytes.is_empty();
        if is_first {
            self.first_byte_at = Some(arrival.at);
        }
        if let Some(cold) = &mut self.cold {
            cold.on_response_data(&self.tap, &self.progress, arrival.at, bytes);
        }
        if self.series.is_none() {
            return self.measure_before_client_message(arrival, bytes);
        }
        if let Some((meter, mut observer)) = self.sample_observer() {
            // Only for tests.
            observer.inject_fault(bytes);
            meter.push(arrival, bytes, &mut |sample| observer.on_sample(arrival.at, &sample));
        }
        if is_first {
            self.on_first_byte(arrival.at);
        }
        self.find_first_audio(arrival.at, bytes);
        self.watch_stalls(arrival);
    }

    /// Reads what the server of a session sends before the client's first message. No response is in it.
    fn measure_before_client_message(&mut self, arrival: Arrival, bytes: &[u8]) {
        let Self { meter: Some(meter), tap, .. } = self else { return };
        meter.push(arrival, bytes, &mut |sample| {
            if let LiveSample::Unparsed(reason) = sample {
                tap.series.count_unparsed(reason);
            }
        });
    }

    /// The response body begins. For the phase and the cold-start detector, the first byte of a body that is not a stream
    /// counts as its first output.
    fn on_first_byte(&mut self, at: Duration) {
        if self.meter.as_deref().is_some_and(ResponseMeter::is_stream) {
            return;
        }
        self.progress.enter(RequestPhase::Streaming);
        if let (Some(cold), Some(200..300)) = (&mut self.cold, self.status) {
            let reports_load = self.meter.as_deref().is_some_and(ResponseMeter::reports_load_time);
            cold.on_first_output(&self.tap, &self.progress, at, false, reports_load);
        }
    }

    /// Records the first sound of raw audio, once the body is known not to be events.
    fn find_first_audio(&mut self, at: Duration, bytes: &[u8]) {
        /// Length of the usual header of a WAV file, which holds no sound.
        const WAV_HEADER: u64 = 44;
        if self.operation != Operation::Speech || self.first_audio_at.is_some() {
            return;
        }
        let before = self.bytes_down - bytes.len() as u64;
        self.is_wav |= before == 0 && bytes.starts_with(b"RIFF");
        let is_audio = self.meter.as_ref().is_some_and(|meter| !meter.is_fully_read());
        if is_audio && self.bytes_down > if self.is_wav { WAV_HEADER } else { 0 } {
            self.first_audio_at = Some(at);
            let start = self.cold.as_ref().map_or(StartKind::Warm, ColdRequest::start_kind);
            if let Some(series) = &self.series {
                let elapsed = at.saturating_sub(self.started_at).as_secs_f64();
                series.record_time_to_first_audio(elapsed, start);
            }
        }
    }

    fn on_client_data(&mut self, bytes: &[u8]) {
        self.progress.count_bytes(bytes.len());
        let at = self.client.last_read().at;
        self.catch_panic(|state| {
            let Some(meter) = &mut state.meter else { return };
            meter.push_client(at, bytes);
            if state.series.is_none() && !meter.awaits_client_message() {
                if let Some(model) = meter.requested_model() {
                    state.progress.set_model(model);
                }
                state.resolve_series(true);
            }
        });
    }
}
