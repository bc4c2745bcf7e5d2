//! Metrics that are recorded when a request ends.

use super::families::MetricFamilies;
use super::input_size::input_size;
use super::request_series::{RequestSeries, code_label, error_type};
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{Outcome, RequestRecord, ResponseTokens, TokenSource};

/// How far a response had come when the client disconnected, by outcome.
pub(super) const ABANDON_PHASES: [(Outcome, &str); 3] = [
    (Outcome::ClientGoneBeforeHead, "before_head"),
    (Outcome::ClientGoneBeforeToken, "before_token"),
    (Outcome::ClientGoneMidStream, "mid_stream"),
];

/// Label value of whether the response is a stream.
pub(super) fn stream_label(stream: Option<bool>) -> &'static str {
    match stream {
        Some(true) => "true",
        Some(false) => "false",
        None => "unknown",
    }
}

/// Requests of every outcome.
impl RequestSeries {
    /// Records the end of a request: once for each request, whatever its outcome and operation.
    pub fn record_end(&self, record: &RequestRecord, outcome: Outcome) {
        self.count_request(record, outcome);
        self.record_unrecognised_end(record);
        if !self.operation().is_inference() {
            return;
        }
        self.record_request_duration(record, outcome);
        self.record_client_stall(record);
        self.record_edge_wait(record);
        self.record_max_gap(record);
        self.record_abandoned(record, outcome);
        self.count_slo(record);
        if record.cold != Some(true) {
            self.record_queue_wait(record);
            self.record_engine_residual(record);
            self.record_ttft_by_input_size(record);
        }
    }

    fn count_request(&self, record: &RequestRecord, outcome: Outcome) {
        let RequestRecord { status, stream, .. } = *record;
        let new = || {
            let code = status.map(code_label).unwrap_or_default();
            let stream = stream_label(stream);
            self.counter(&self.families.requests, [outcome.label(), &code, stream])
        };
        self.handles.requests.get((outcome, status, stream), new).inc();
    }

    fn record_request_duration(&self, record: &RequestRecord, outcome: Outcome) {
        let status = record.status;
        let new =
            || self.histogram(&self.families.request_duration, [&error_type(outcome, status)]);
        self.handles.request_duration.get((outcome, status), new).observe(record.duration_s);
    }

    /// Records the duration and the size of a stream of no known API.
    fn record_unrecognised_end(&self, record: &RequestRecord) {
        if record.first_event_s.is_some() {
            let new = || self.histogram(&self.families.unrecognised_duration, []);
            self.handles.unrecognised_duration.get_or_init(new).observe(record.duration_s);
            let new = || self.counter(&self.families.unrecognised_bytes, []);
            self.handles.unrecognised_bytes.get_or_init(new).inc_by(record.bytes_down);
        }
    }

    fn record_client_stall(&self, record: &RequestRecord) {
        if let Some(stall) = record.client_stall_s {
            self.histogram(&self.families.client_stall, []).observe(stall);
        }
    }

    fn record_edge_wait(&self, record: &RequestRecord) {
        if let Some(wait) = record.edge_wait_s {
            let new = || self.histogram(&self.families.edge_wait, []);
            self.handles.edge_wait.get_or_init(new).observe(wait);
        }
    }

    fn record_max_gap(&self, record: &RequestRecord) {
        if let Some(gap) = record.max_gap_s {
            let new = || self.histogram(&self.families.max_gap, []);
            self.handles.max_gap.get_or_init(new).observe(gap);
        }
    }

    /// Records the time until the client disconnected, and the output tokens generated for it, for the outcomes
    /// `client_gone_*`.
    fn record_abandoned(&self, record: &RequestRecord, outcome: Outcome) {
        let phase = ABANDON_PHASES.iter().find(|(one, _)| *one == outcome);
        let Some((_, phase)) = phase else { return };
        let new = || self.histogram(&self.families.abandoned, [phase]);
        self.handles.abandoned.get(*phase, new).observe(record.duration_s);
        // The client of a realtime session received the earlier responses of the session.
        let is_session = self.operation() == Operation::Realtime;
        if let Some(tokens) = record.output_tokens.filter(|_| !is_session) {
            let new = || self.counter(&self.families.wasted, []);
            self.handles.wasted.get_or_init(new).inc_by(tokens);
        }
    }

    /// Counts the request and its output tokens in each SLO class that applies to it.
    fn count_slo(&self, record: &RequestRecord) {
        let MetricFamilies { slo_requests, slo_tokens, .. } = &*self.families;
        for (class, met) in &record.slo {
            let key = || (class.clone(), *met);
            let new = |family| self.counter(family, [class, met.label()]);
            self.handles.slo_requests.get(key(), || new(slo_requests)).inc();
            if let Some(tokens) = record.output_tokens {
                self.handles.slo_tokens.get(key(), || new(slo_tokens)).inc_by(tokens);
            }
        }
    }

    fn record_queue_wait(&self, record: &RequestRecord) {
        if let (Some(wait), Some(source)) = (record.queue_s, record.queue_source) {
            let new = || self.histogram(&self.families.queue_wait, [source]);
            self.handles.queue_wait.get(source, new).observe(wait);
        }
    }

    fn record_engine_residual(&self, record: &RequestRecord) {
        if let (Some(wire), Some(engine)) = (record.ttft_s, record.engine_ttft_s) {
            let new = || self.histogram(&self.families.engine_residual, []);
            // A server that reports more than the wire shows has rounded.
            self.handles.engine_residual.get_or_init(new).observe((wire - engine).max(0.0));
        }
    }

    fn record_ttft_by_input_size(&self, record: &RequestRecord) {
        if let (true, Some(ttft)) = (self.families.by_input_size, record.ttft_s) {
            let size = input_size(record.input_tokens);
            let new = || self.histogram(&self.families.ttft_by_input, [size]);
            self.handles.ttft_by_input.get(size, new).observe(ttft);
        }
    }
}

/// Responses that could be read, whatever the outcome.
impl RequestSeries {
    /// Records the token counts of a response. `live` is the number of output tokens that were counted while it ran.
    pub fn record_token_counts(&self, tokens: &ResponseTokens, live: u64) {
        if let Some((count, source)) = tokens.input {
            let new = || self.sharded(&self.families.tokens, ["input"]);
            self.handles.input_tokens.get_or_init(new).inc_by(count);
            self.count_token_source("input", source);
        }
        if let Some((count, source)) = tokens.output {
            self.output_tokens().reconcile(live, count);
            self.count_token_source("output", source);
        }
        for (count, subset) in [(tokens.cached, "cached_input"), (tokens.reasoning, "reasoning")] {
            if let Some(count) = count {
                self.counter(&self.families.token_subset, [subset]).inc_by(count);
            }
        }
    }

    fn count_token_source(&self, kind: &'static str, source: TokenSource) {
        let new = || self.counter(&self.families.token_source, [kind, source.label()]);
        self.handles.token_source.get((kind, source), new).inc();
    }
}

/// Complete responses: outcome `ok`.
impl RequestSeries {
    /// Records what only a complete response has. Cold starts are excluded, except from how output was chunked and
    /// from the coverage of usage reports.
    pub fn record_complete(&self, record: &RequestRecord, tokens: &ResponseTokens) {
        self.record_tokens_per_chunk(record, tokens);
        self.record_burst_ratio(record);
        self.count_usage_coverage(tokens);
        if record.cold != Some(true) {
            self.record_tpot(record, tokens);
            self.record_latency(record);
            self.record_normalized_time(record, tokens);
            self.record_character_rate(record);
            self.record_token_usage(tokens);
        }
    }

    fn record_tokens_per_chunk(&self, record: &RequestRecord, tokens: &ResponseTokens) {
        let is_reported = tokens.output.is_some_and(|(_, source)| is_reported(source));
        if let (true, Some(tokens), Some(events @ 1..)) =
            (is_reported, tokens.streamed, record.output_events)
        {
            let new = || self.histogram(&self.families.tokens_per_chunk, []);
            let handle = self.handles.tokens_per_chunk.get_or_init(new);
            handle.observe(tokens as f64 / events as f64);
        }
    }

    fn record_burst_ratio(&self, record: &RequestRecord) {
        if let Some(ratio) = record.burst_ratio {
            let new = || self.histogram(&self.families.burst_ratio, []);
            self.handles.burst_ratio.get_or_init(new).observe(ratio);
        }
    }

    fn count_usage_coverage(&self, tokens: &ResponseTokens) {
        let reported = tokens.output.is_some_and(|(_, source)| is_reported(source));
        let new = || {
            let reported = if reported { "true" } else { "false" };
            self.counter(&self.families.usage_coverage, [reported])
        };
        self.handles.usage_coverage.get(reported, new).inc();
    }

    fn record_tpot(&self, record: &RequestRecord, tokens: &ResponseTokens) {
        if let (Some(tpot), Some((_, source))) = (record.tpot_s, tokens.output) {
            let new = || self.histogram(&self.families.tpot, [source.label()]);
            self.handles.tpot.get(source, new).observe(tpot);
        }
    }

    fn record_latency(&self, record: &RequestRecord) {
        if let Some(latency) = record.latency_s {
            let new = || self.histogram(&self.families.latency, []);
            self.handles.latency.get_or_init(new).observe(latency);
        }
    }

    fn record_normalized_time(&self, record: &RequestRecord, tokens: &ResponseTokens) {
        if let Some((count @ 1.., _)) = tokens.output {
            let new = || self.histogram(&self.families.normalized, []);
            let handle = self.handles.normalized.get_or_init(new);
            handle.observe(record.duration_s / count as f64);
        }
    }

    fn record_character_rate(&self, record: &RequestRecord) {
        if let Some(rate) = record.characters_per_second {
            let new = || self.histogram(&self.families.character_rate, []);
            self.handles.character_rate.get_or_init(new).observe(rate);
        }
    }

    fn record_token_usage(&self, tokens: &ResponseTokens) {
        for (count, kind) in [(tokens.input, "input"), (tokens.output, "output")] {
            if let Some((count, _)) = count.filter(|(_, source)| is_reported(*source)) {
                let new = || self.histogram(&self.families.token_usage, [kind]);
                self.handles.token_usage.get(kind, new).observe(count as f64);
            }
        }
    }
}

/// Whether the server reported the count itself.
fn is_reported(source: TokenSource) -> bool {
    match source {
        TokenSource::Usage | TokenSource::Adjusted | TokenSource::Engine => true,
        TokenSource::Events => false,
    }
}
