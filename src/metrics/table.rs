//! The one table of metrics: what each is called, how it is labelled, and when it is measured.
//!
//! The registry, `docs/metrics.md`, the golden file and the dashboard are made from this table or
//! tested against it.

use super::labels;
pub use super::labels::Label;

/// Declares the labels of a family. `common` and `arrival` stand for the labels that most families share.
macro_rules! labels {
    (common $(, $own:ident)*) => {
        &[labels::INFERENCE_OPERATION, labels::PROVIDER, labels::MODEL, labels::UPSTREAM $(, labels::$own)*]
    };
    (request $(, $own:ident)*) => {
        &[labels::OPERATION, labels::PROVIDER, labels::MODEL, labels::UPSTREAM $(, labels::$own)*]
    };
    (arrival $(, $own:ident)*) => {
        &[labels::OPERATION, labels::PROVIDER, labels::UPSTREAM $(, labels::$own)*]
    };
    ($($own:ident),*) => { &[$(labels::$own),*] };
}

/// A set of bucket edges, which the configuration can replace under its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketSet {
    /// The key under `[buckets]`.
    pub name: &'static str,
    pub edges: &'static [f64],
}

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram(BucketSet),
}

/// One family.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [Label],
    /// What it is; the exported help text.
    pub help: &'static str,
    /// When, and for which requests, it is measured.
    pub when: &'static str,
}

impl Metric {
    /// Names of the labels, in the order of their values in the registry.
    pub fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name).collect()
    }
}

const FIRST: BucketSet = BucketSet {
    name: "first_token",
    edges: &[
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 160.0, 300.0, 640.0, 2560.0,
    ],
};
const PER_TOKEN: BucketSet = BucketSet {
    name: "per_token",
    edges: &[
        0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
        0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    ],
};
const GAP: BucketSet = BucketSet {
    name: "gap",
    edges: &[
        0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075,
        0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    ],
};
const DURATION: BucketSet = BucketSet {
    name: "duration",
    edges: &[
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
        163.84, 327.68, 655.36, 1310.72, 2621.44,
    ],
};
const LATENCY: BucketSet = BucketSet {
    name: "latency",
    edges: &[
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0,
        15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
    ],
};
const CONNECT: BucketSet = BucketSet {
    name: "connect",
    edges: &[
        0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
        1.0, 2.5, 5.0, 10.0,
    ],
};
const TOKENS: BucketSet = BucketSet {
    name: "tokens",
    edges: &[
        1.0,
        4.0,
        16.0,
        64.0,
        256.0,
        1024.0,
        4096.0,
        16384.0,
        65536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
        67_108_864.0,
    ],
};
const CHARACTERS: BucketSet = BucketSet {
    name: "characters_per_second",
    edges: &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0],
};
const CHUNK: BucketSet = BucketSet {
    name: "tokens_per_chunk",
    edges: &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0],
};
const SHARE: BucketSet =
    BucketSet { name: "burst_ratio", edges: &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] };
const OWN_COST: BucketSet = BucketSet {
    name: "own_cost",
    edges: &[
        0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1,
    ],
};

/// Every set of bucket edges.
pub const BUCKETS: &[BucketSet] = &[
    FIRST, PER_TOKEN, GAP, DURATION, LATENCY, CONNECT, TOKENS, CHARACTERS, CHUNK, SHARE, OWN_COST,
];

/// Declares the families as constants and lists them.
macro_rules! metrics {
    ($($ident:ident: $name:literal, $kind:expr, $labels:expr, $help:literal, $when:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Metric =
                Metric { name: $name, kind: $kind, labels: $labels, help: $help, when: $when };
        )*
        /// Every family, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($ident),*];
    };
}

metrics! {
    TTFT: "gen_ai_server_time_to_first_token_seconds", MetricKind::Histogram(FIRST), labels!(common, START),
        "Time from the request's first byte to the first event that carries generated output.",
        "When the first output event arrives, or at the end if only that tells whether the start was cold; streams, whatever their outcome.";
    TTFT_BY_INPUT: "streamgauge_time_to_first_token_by_input_seconds", MetricKind::Histogram(FIRST), labels!(common, INPUT_SIZE),
        "Time to first token by the class of input that the request belongs to: at most so many input tokens as the server counted them.",
        "At the end of a stream that had output and a warm start, whatever its outcome, if ttft_by_input_size is set; unknown where the server does not tell its count.";
    TPOT: "gen_ai_server_time_per_output_token_seconds", MetricKind::Histogram(PER_TOKEN), labels!(common, TOKEN_SOURCE),
        "Time from the first to the last output event over the output tokens after the first.",
        "At the end of a stream with outcome ok, one choice, two or more tokens, and output in two or more reads.";
    REQUEST_DURATION: "gen_ai_server_request_duration_seconds", MetricKind::Histogram(DURATION), labels!(common, ERROR_TYPE),
        "Time from the request's first byte to the end of the response's body.",
        "At the end of every inference request.";
    TOKEN_USAGE: "gen_ai_client_token_usage", MetricKind::Histogram(TOKENS), labels!(common, GEN_AI_TOKEN_TYPE),
        "Tokens per request as the server counted them.",
        "At the end of an inference request with outcome ok whose server told its count; never guessed.";
    ITL: "streamgauge_inter_token_latency_seconds", MetricKind::Histogram(GAP), labels!(common, BASIS),
        "Per choice, the gap between two arrivals of output, shared by the tokens (or events) of the later one; one sample each.",
        "While a stream runs; the last gap at its end.";
    CHUNK_GAP: "streamgauge_inter_chunk_latency_seconds", MetricKind::Histogram(GAP), labels!(common),
        "Gap between two arrivals of output, of any choice: what the user sees.",
        "While a stream runs.";
    ANSWER: "streamgauge_time_to_first_answer_seconds", MetricKind::Histogram(FIRST), labels!(common),
        "Time from the request's first byte to the first output event that is not reasoning.",
        "When that event arrives; streams, whatever their outcome.";
    HEAD: "streamgauge_time_to_response_head_seconds", MetricKind::Histogram(FIRST), labels!(common),
        "Time from the request's first byte to the upstream's response head.",
        "When the head of a response to an inference request arrives.";
    STREAM_LATENCY: "streamgauge_latency_seconds", MetricKind::Histogram(LATENCY), labels!(common),
        "Time from the request's first byte to the last output event.",
        "At the end of a stream with outcome ok.";
    NORMALIZED: "streamgauge_normalized_time_per_output_token_seconds", MetricKind::Histogram(PER_TOKEN), labels!(common),
        "Request duration over output tokens.",
        "At the end of an inference request with outcome ok, streamed or not, whose output tokens are known.";
    CHARACTER_RATE: "streamgauge_output_characters_per_second", MetricKind::Histogram(CHARACTERS), labels!(common),
        "Unicode scalar values of output after the first arrival over the time from the first to the last.",
        "At the end of a stream with outcome ok and output in two or more reads.";
    STREAM_MAX_GAP: "streamgauge_stream_max_gap_seconds", MetricKind::Histogram(GAP), labels!(common),
        "The longest gap of a stream without an output event after its first one, the one at its end included; without time in which the client took no bytes.",
        "At the end of a stream that had output and did not end with its first read, whatever its outcome.";
    STALLS: "streamgauge_stalls_total", MetricKind::Counter, labels!(common),
        "Gaps without an output event that were longer than stall_seconds; pings and comments do not hide one, and time in which the client took no bytes is not counted.",
        "Within half a second of the moment at which a gap becomes so long; 0 from the first stream with output on.";
    OLDEST_SILENT: "streamgauge_oldest_silent_stream_seconds", MetricKind::Gauge, labels!(UPSTREAM),
        "Of the running streams that had output, the longest time without any since: 0 if there is none.",
        "When scraped.";
    TOKENS_PER_CHUNK: "streamgauge_tokens_per_chunk", MetricKind::Histogram(CHUNK), labels!(common),
        "Output tokens that were streamed over output events: how many tokens come at a time.",
        "At the end of a stream with outcome ok whose server told its count.";
    BURST_RATIO: "streamgauge_burst_ratio", MetricKind::Histogram(SHARE), labels!(common),
        "Share of output characters that came in the last tenth of the request's duration: 1 is fake streaming, or prefill that took more than nine tenths.",
        "At the end of a stream with outcome ok and 20 or more characters.";
    QUEUE_WAIT: "streamgauge_queue_wait_seconds", MetricKind::Histogram(LATENCY), labels!(common, QUEUE_SOURCE),
        "Time that a request waited in the server before its turn; source says how that is known: reported is the server's own word, header is when its response head came, estimated is learned from when requests come and go.",
        "At the end of an inference request whose wait is known, whatever its outcome.";
    ESTIMATED_WAIT: "streamgauge_estimated_wait_seconds", MetricKind::Gauge, labels!(MODEL, UPSTREAM),
        "Time that a request which arrived now would wait in the server, as estimated: what scaling goes by.",
        "When scraped; absent until there is a baseline.";
    QUEUE_BASELINE: "streamgauge_queue_baseline_seconds", MetricKind::Gauge, labels!(MODEL, UPSTREAM, BODY_SIZE),
        "Median time from the request wholly sent to the first output of requests that did not wait, by the size of the request's body, up to that.",
        "When scraped; sizes of which there are samples.";
    QUEUE_BASELINE_SAMPLES: "streamgauge_queue_baseline_samples", MetricKind::Gauge, labels!(MODEL, UPSTREAM, BODY_SIZE),
        "Requests that the baseline is learned from.",
        "When scraped; sizes of which there are samples.";
    QUEUE_BASELINE_SPREAD: "streamgauge_queue_baseline_spread_ratio", MetricKind::Gauge, labels!(MODEL, UPSTREAM),
        "Robust standard deviation of the logarithm of a sample over the baseline at its size: 0.1 is about 10 %.",
        "When scraped; absent until there is a baseline.";
    QUEUE_BASELINE_AGE: "streamgauge_queue_baseline_age_seconds", MetricKind::Gauge, labels!(MODEL, UPSTREAM),
        "Time since the newest request that the baseline is learned from ended.",
        "When scraped; absent until there is a baseline.";
    QUEUE_SLOTS: "streamgauge_queue_slots", MetricKind::Gauge, labels!(MODEL, UPSTREAM),
        "Requests that the server works on at a time, as inferred.",
        "When scraped; absent where no such number explains what is seen.";
    EDGE_WAIT: "streamgauge_edge_wait_seconds", MetricKind::Histogram(LATENCY), labels!(common),
        "Time from the instant in X-Request-Start or X-Queue-Start to the request's first byte: what came before us.",
        "At the end of an inference request that says so, if trust_request_start is true, whatever its outcome.";
    TRACE_TTFT: "streamgauge_trace_time_to_first_token_seconds", MetricKind::Histogram(FIRST), labels!(common),
        "Time from the first inference request of a trace (traceparent) to the first output of a later one.",
        "When the first output event arrives; streams of a trace in which another request came before.";
    ENGINE_RESIDUAL: "streamgauge_engine_residual_seconds", MetricKind::Histogram(LATENCY), labels!(common),
        "TTFT at the wire minus what the server says its first token took: front end, network and queues that it does not count.",
        "At the end of a stream whose server tells its times, whatever its outcome.";
    TOKENS_TOTAL: "streamgauge_tokens_total", MetricKind::Counter, labels!(common, TYPE),
        "Tokens: input as the server counted them, output per event while the stream runs, set right by the server's count at its end.",
        "Output while a stream runs, the rest at the end of every inference request.";
    TOKEN_SOURCE: "streamgauge_token_source_total", MetricKind::Counter, labels!(common, TYPE, TOKEN_SOURCE),
        "Requests by where their token count came from: usage and engine are the server's, events are output events counted.",
        "At the end of an inference request that has a count.";
    TOKEN_SUBSET: "streamgauge_token_subset_total", MetricKind::Counter, labels!(common, SUBSET),
        "Tokens that are part of others: cached_input of input, reasoning of output.",
        "At the end of an inference request whose server told them.";
    CHARACTERS_TOTAL: "streamgauge_output_characters_total", MetricKind::Counter, labels!(common, KIND),
        "Unicode scalar values of output: answer (with refusals), reasoning, tool (arguments of tool calls).",
        "While a stream runs; at the end of a response that is not streamed.";
    ARRIVALS: "streamgauge_arrivals_total", MetricKind::Counter, labels!(arrival),
        "Requests that arrived. The model is not known yet then, so it is no label.",
        "When a request's head was read.";
    REQUESTS: "streamgauge_requests_total", MetricKind::Counter, labels!(request, OUTCOME, CODE, STREAM),
        "Requests that ended, by their one outcome and the status sent to the client (empty if none was).",
        "At the end of every request.";
    FINISH_REASONS: "streamgauge_finish_reasons_total", MetricKind::Counter, labels!(common, FINISH_REASON),
        "Choices by why the server ended them; unusual reasons are other.",
        "When a choice ends.";
    IN_FLIGHT: "streamgauge_in_flight_requests", MetricKind::Gauge, labels!(arrival, PHASE),
        "Requests in flight: sending (the request's body), waiting (for the first output, or the body if it is no stream), streaming.",
        "Always.";
    USAGE_COVERAGE: "streamgauge_usage_coverage_total", MetricKind::Counter, labels!(common, REPORTED),
        "Complete inference responses by whether the server reported their token counts.",
        "At the end of an inference request with outcome ok.";
    SLO_REQUESTS: "streamgauge_slo_requests_total", MetricKind::Counter, labels!(common, SLO, MET),
        "Inference requests by whether they met all targets of an SLO class; undecided if the client is to blame or left while all held.",
        "At the end of every inference request that a class of [[slo]] is of, whatever its outcome.";
    SLO_TOKENS: "streamgauge_slo_tokens_total", MetricKind::Counter, labels!(common, SLO, MET),
        "Output tokens of those requests.",
        "At the end of such a request whose output tokens are known.";
    BYTES: "streamgauge_bytes_total", MetricKind::Counter, labels!(UPSTREAM, DIRECTION),
        "Bytes of bodies: up is from the client to the upstream, down the other way.",
        "As they pass.";
    CONNECTED: "streamgauge_upstream_connect_seconds", MetricKind::Histogram(CONNECT), labels!(UPSTREAM),
        "Time to open a connection to the upstream.",
        "When a new connection is ready; pooled ones need none.";
    CLIENT_STALL: "streamgauge_client_stall_seconds", MetricKind::Histogram(GAP), labels!(common),
        "Time in which bytes were ready and the client's socket took none.",
        "At the end of an inference request in which that happened.";
    ABANDONED: "streamgauge_abandoned_seconds", MetricKind::Histogram(LATENCY), labels!(common, ABANDON_PHASE),
        "Time from the request's first byte to the client's leaving; phase is what it had got: before_head, before_token, mid_stream.",
        "At the end of an inference request whose outcome is client_gone_*.";
    WASTED_TOKENS: "streamgauge_wasted_output_tokens_total", MetricKind::Counter, labels!(common),
        "Output tokens that were generated for a client that left, as far as they had come.",
        "At the end of an inference request whose outcome is client_gone_*.";
    FORWARDING_DELAY: "streamgauge_forwarding_delay_seconds", MetricKind::Histogram(OWN_COST), labels!(UPSTREAM),
        "Time from the read of a response's frame to the completed write of it: our own cost.",
        "When a frame is written.";
    EVENT_LOOP_LAG: "streamgauge_event_loop_lag_seconds", MetricKind::Histogram(OWN_COST), labels!(),
        "How late a worker's event loop got to a heartbeat of another thread: what a socket waits too.",
        "Each heartbeat, which is every 50 ms, by each worker.";
    CLOCK_INFO: "streamgauge_clock_info", MetricKind::Gauge, labels!(UPSTREAM, CLOCK),
        "1 for what told the instants of the newest request: kernel (its stamp of each receipt) or program (our clock when we read it).",
        "When a request ends.";
    THROTTLED: "streamgauge_throttled_seconds_total", MetricKind::Counter, labels!(),
        "Time in which our control group was kept from running by its CPU quota, of all its threads.",
        "When scraped; absent where the kernel does not say.";
    PRESSURE: "streamgauge_cpu_pressure_seconds_total", MetricKind::Counter, labels!(),
        "Time in which a task of our control group waited for a processor (PSI, some).",
        "When scraped; absent where the kernel does not say.";
    UPSTREAM_INFO: "streamgauge_upstream_info", MetricKind::Gauge, labels!(UPSTREAM, ENGINE),
        "1, with the engine or vendor behind the upstream: as configured, else as recognised by what it writes; and the configured [labels], which stand on no other family.",
        "From the start if configured, else once it is recognised.";
    IDLE: "streamgauge_upstream_idle_seconds", MetricKind::Gauge, labels!(UPSTREAM),
        "Time since the last inference request left, 0 while one is in flight: what scaling to zero goes by.",
        "When scraped; before the first request since our own start.";
    UP: "streamgauge_upstream_up", MetricKind::Gauge, labels!(UPSTREAM),
        "1 if the upstream accepts connections, or says on health_path that it is ready, as far as is known; else 0.",
        "When scraped; once the first probe has come back.";
    COLD_STARTS: "streamgauge_cold_starts_total", MetricKind::Counter, labels!(UPSTREAM, MODEL, COLD_REASON),
        "Cold starts, by the model whose output ended them (other if there was none) and why: boot, restarted, unreachable, loading, reported_load, idle.",
        "When one has ended; an outage is none. A restart that only server_metrics_path tells of: when the page came.";
    COLD_START: "streamgauge_cold_start_seconds", MetricKind::Histogram(LATENCY), labels!(UPSTREAM, MODEL, COLD_REASON),
        "Time from the first demand that met the server not ready (boot: from our own start) to the first output after it, or to readiness if nobody waited.",
        "When it has ended; not for a restart that only server_metrics_path tells of: nobody met it, and its time is not known.";
    BOOT: "streamgauge_boot_seconds", MetricKind::Gauge, labels!(UPSTREAM, STAGE),
        "Time from our own start until the upstream's port was open (port_open), health_path said ready (healthy), the first output came (first_token).",
        "When each is reached; absent if the upstream was there before us.";
    STARTED: "streamgauge_upstream_start_time_seconds", MetricKind::Gauge, labels!(UPSTREAM),
        "Start time of the upstream's process, in seconds since 1970 by its own clock, as its page of metrics tells it (process_start_time_seconds).",
        "With server_metrics_path only: when a page that tells it has come.";
    RESENDS: "streamgauge_upstream_resends_total", MetricKind::Counter, labels!(UPSTREAM),
        "Requests sent again because their pooled connection was dead before one byte was written.",
        "When it happens.";
    UNPARSED: "streamgauge_unparsed_total", MetricKind::Counter, labels!(UPSTREAM, UNPARSED_REASON),
        "Events, bodies and headers that could not be measured, by why. Their bytes were forwarded.",
        "When it happens.";
    CLAMPED: "streamgauge_clamped_total", MetricKind::Counter, labels!(UPSTREAM, INTERVAL),
        "Intervals that came out negative, since two clocks differ, and are told as 0.",
        "When it happens.";
    LABEL_OVERFLOW: "streamgauge_label_overflow_total", MetricKind::Counter, labels!(CAPPED_LABEL),
        "Times that a label's value was replaced by other, since its label has too many.",
        "When a response's labels are chosen.";
    REQUEST_LOG_DROPPED: "streamgauge_request_log_dropped_total", MetricKind::Counter, labels!(),
        "Lines of the request log that were lost: its queue was full or its file could not be written.",
        "When it happens.";
    BUILD_INFO: "streamgauge_build_info", MetricKind::Gauge, labels!(VERSION),
        "1, with the version of this Streamgauge.",
        "Always.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in ALL {
            let Metric { name, kind, .. } = metric;
            assert!(name.starts_with("streamgauge_") || name.starts_with("gen_ai_"), "{name}");
            assert_eq!(matches!(kind, MetricKind::Counter), name.ends_with("_total"), "{name}");
            assert!(metric.help.ends_with('.') && metric.when.ends_with('.'), "{name}");
        }
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn edges_ascend() {
        for set in BUCKETS {
            assert!(set.edges.is_sorted_by(|a, b| a < b), "{}", set.name);
        }
        for metric in ALL {
            if let MetricKind::Histogram(buckets) = metric.kind {
                assert!(BUCKETS.contains(&buckets), "{}", metric.name);
            }
        }
    }
}
