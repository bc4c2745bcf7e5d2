//! The table of metrics: name, type, labels, help text, and when each is recorded.
//!
//! The registry and `docs/metrics.md` are made from it; the golden file and the dashboard are tested against it.

pub use super::bucket_sets::{BUCKETS, BucketSet};
use super::bucket_sets::{
    CHARACTERS, CHUNK, CONNECT, DURATION, FIRST, GAP, LATENCY, OWN_COST, PER_TOKEN, SHARE, TOKENS,
};
use super::labels;
pub use super::labels::Label;

/// Declares the labels of a family. `common`, `request` and `arrival` expand to the labels that most families share.
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

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Counter.
    Counter,
    /// Gauge.
    Gauge,
    /// Histogram with these buckets.
    Histogram(BucketSet),
}

/// One family.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name on the page.
    pub name: &'static str,
    /// Type of the metric.
    pub kind: MetricKind,
    /// Labels, in order.
    pub labels: &'static [Label],
    /// Exported help text: what it is, unit, labels.
    pub help: &'static str,
    /// When it is recorded, and for which requests.
    pub when: &'static str,
    /// The function of this module that records it. A metric is recorded in one place.
    pub function: &'static str,
}

impl Metric {
    /// Names of the labels.
    pub fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name).collect()
    }

    /// Names of the labels in the registry, in the order of their values: without the provider, which is added when the
    /// series are exported.
    pub(super) fn recorded_label_names(&self) -> Vec<&'static str> {
        let names = self.labels.iter().map(|label| label.name);
        names.filter(|name| *name != labels::PROVIDER.name).collect()
    }
}

/// Passes the rows of the table to a macro. A row is:
///
/// `field of MetricFamilies`: `collector`(`bucket edges`) = `constant` `name`, `labels`, `help text`, `when it is recorded`,
/// `function that records it`;
///
/// A `summed` family has the field of the family that it adds up instead of bucket edges.
macro_rules! for_each_metric {
    ($with:ident) => {
        $with! {
            ttft: histogram(FIRST) = TTFT "gen_ai_server_time_to_first_token_seconds", labels!(common, START),
                "Time in seconds from the arrival of the request to the first output of a stream (TTFT). start=\"cold\": the request waited for a server or model that was not ready.",
                "At the first output, or at the end of the response where only the end shows whether the start was cold (for example Ollama). Streams of every outcome.",
                "record_ttft";
            ttft_by_input: histogram(FIRST) = TTFT_BY_INPUT "streamgauge_time_to_first_token_by_input_seconds", labels!(common, INPUT_SIZE),
                "TTFT in seconds by prompt length. input_size is the upper end of a range of input tokens, as counted by the server: 1024 for 257 to 1024 tokens.",
                "At the end of a warm stream with output, whatever its outcome, if ttft_by_input_size is true. input_size=\"unknown\": the server reports no count.",
                "record_ttft_by_input_size";
            tpot: histogram(PER_TOKEN) = TPOT "gen_ai_server_time_per_output_token_seconds", labels!(common, TOKEN_SOURCE),
                "Time per output token in seconds (TPOT): time from the first to the last output, divided by the number of output tokens minus 1. source is the origin of the token count.",
                "At the end of a warm stream with outcome ok, if it has one choice, two or more tokens, and output in two or more reads.",
                "record_tpot";
            request_duration: histogram(DURATION) = REQUEST_DURATION "gen_ai_server_request_duration_seconds", labels!(common, ERROR_TYPE),
                "Time in seconds from the arrival of the request to the end of the response body. error_type is empty on success, else the HTTP status or the outcome.",
                "At the end of every inference request.",
                "record_request_duration";
            token_usage: histogram(TOKENS) = TOKEN_USAGE "gen_ai_client_token_usage", labels!(common, GEN_AI_TOKEN_TYPE),
                "Number of tokens per request, as counted by the server.",
                "At the end of a warm inference request with outcome ok, if the server reports its count. Never estimated.",
                "record_token_usage";
            itl: sharded_histogram(GAP) = ITL "streamgauge_inter_token_latency_seconds", labels!(common, BASIS),
                "Inter-token latency in seconds: time since the previous read with output of the same choice, divided by the tokens in this read. basis=\"event\": divided by the output events.",
                "While a stream runs; the last gap when the stream ends.",
                "record_inter_token_latency";
            chunk_gap: sharded_histogram(GAP) = CHUNK_GAP "streamgauge_inter_chunk_latency_seconds", labels!(common),
                "Time in seconds between two successive reads with output, of any choice: the gap that a user sees.",
                "While a stream runs.",
                "record_chunk_gap";
            answer: histogram(FIRST) = ANSWER "streamgauge_time_to_first_answer_seconds", labels!(common),
                "Time in seconds from the arrival of the request to the first output that is not reasoning.",
                "When that output arrives, or at the end of the response where only the end shows whether the start was cold. Warm streams of every outcome.",
                "record_time_to_first_answer";
            head: histogram(FIRST) = HEAD "streamgauge_time_to_response_head_seconds", labels!(common),
                "Time in seconds from the arrival of the request to the upstream's response headers.",
                "When the headers of a response to an inference request arrive.",
                "record_time_to_response_head";
            latency: histogram(LATENCY) = STREAM_LATENCY "streamgauge_latency_seconds", labels!(common),
                "Time in seconds from the arrival of the request to the last output of a stream.",
                "At the end of a warm stream with outcome ok.",
                "record_latency";
            normalized: histogram(PER_TOKEN) = NORMALIZED "streamgauge_normalized_time_per_output_token_seconds", labels!(common),
                "Request duration divided by the number of output tokens, in seconds.",
                "At the end of a warm inference request with outcome ok, streamed or not, whose output tokens are known.",
                "record_normalized_time";
            character_rate: histogram(CHARACTERS) = CHARACTER_RATE "streamgauge_output_characters_per_second", labels!(common),
                "Output speed in characters (Unicode scalar values) per second, from the first to the last read with output. Characters of the first read are excluded.",
                "At the end of a warm stream with outcome ok and output in two or more reads.",
                "record_character_rate";
            max_gap: histogram(GAP) = STREAM_MAX_GAP "streamgauge_stream_max_gap_seconds", labels!(common),
                "Longest time in seconds without output, from the first output to the end of the stream. A client that accepts no bytes does not make it longer.",
                "At the end of a stream that went on after its first read with output, whatever its outcome.",
                "record_max_gap";
            stalls: counter = STALLS "streamgauge_stalls_total", labels!(common),
                "Number of gaps without output that exceeded stall_seconds. Pings do not end a gap, and a client that accepts no bytes does not make it longer.",
                "Within half a second after a gap exceeds stall_seconds. The series starts at 0 with the first stream that has output.",
                "stall_counter";
            oldest_silent: float_gauge = OLDEST_SILENT "streamgauge_oldest_silent_stream_seconds", labels!(UPSTREAM),
                "Longest current gap in seconds without output, over all running streams that had output. 0 if there is none.",
                "At each scrape.",
                "set_oldest_silent";
            engine_progress: float_gauge = ENGINE_PROGRESS "streamgauge_engine_progress_seconds", labels!(UPSTREAM),
                "Time in seconds for which output was due and none came, over all requests of the upstream. 0 if no output is due.",
                "At each scrape.",
                "set_engine_progress";
            engine_progress_limit: float_gauge = ENGINE_PROGRESS_LIMIT "streamgauge_engine_progress_limit_seconds", labels!(UPSTREAM),
                "Value of streamgauge_engine_progress_seconds in seconds beyond which the engine is stuck: twice the usual longest silence, and at least 10 s, less the time that prompts may take.",
                "At each scrape.",
                "set_engine_progress";
            tokens_per_chunk: histogram(CHUNK) = TOKENS_PER_CHUNK "streamgauge_tokens_per_chunk", labels!(common),
                "Number of output tokens per output event.",
                "At the end of a stream with outcome ok whose server reports its token count.",
                "record_tokens_per_chunk";
            burst_ratio: histogram(SHARE) = BURST_RATIO "streamgauge_burst_ratio", labels!(common),
                "Share of output characters in the last tenth of the request's duration. A value near 1 means that the response was held back and sent at once, or that prefill took nine tenths of the time.",
                "At the end of a stream with outcome ok and 20 or more characters.",
                "record_burst_ratio";
            queue_wait: histogram(LATENCY) = QUEUE_WAIT "streamgauge_queue_wait_seconds", labels!(common, QUEUE_SOURCE),
                "Time in seconds that a request waited in the server's queue. source=\"reported\": as the server reports it. source=\"header\": from the time of the response headers. The others are estimated. source=\"slots\": from arrivals and ends of requests, with the slots of the server. source=\"baseline\": from the time to first output. source=\"lower_bound\": the server queues in a way that is not known, and the wait was at least this long.",
                "At the end of a warm inference request whose queue wait is known, whatever its outcome.",
                "record_queue_wait";
            estimated_wait: float_gauge = ESTIMATED_WAIT "streamgauge_estimated_wait_seconds", labels!(MODEL, UPSTREAM),
                "Expected queue wait in seconds of a request that arrives now. Use it for autoscaling.",
                "At each scrape. Absent until a baseline is learned.",
                "set_queue";
            estimated_wait_low: float_gauge = ESTIMATED_WAIT_LOW "streamgauge_estimated_wait_low_seconds", labels!(MODEL, UPSTREAM),
                "Lower end of the interval of streamgauge_estimated_wait_seconds. While the server makes no progress, it is at least the time that a request in flight has waited.",
                "At each scrape. Absent until a baseline is learned.",
                "set_queue";
            estimated_wait_high: float_gauge = ESTIMATED_WAIT_HIGH "streamgauge_estimated_wait_high_seconds", labels!(MODEL, UPSTREAM),
                "Upper end of the interval of streamgauge_estimated_wait_seconds.",
                "At each scrape, while a model explains how the server queues. Absent if streamgauge_queue_model{model=\"unknown\"} is 1.",
                "set_queue";
            baseline: float_gauge = QUEUE_BASELINE "streamgauge_queue_baseline_seconds", labels!(MODEL, UPSTREAM, BODY_SIZE),
                "Median time in seconds from sent request to first output, for requests that did not wait. input_size is the upper end of a range of request body sizes.",
                "At each scrape, for sizes with samples.",
                "set_queue";
            baseline_samples: float_gauge = QUEUE_BASELINE_SAMPLES "streamgauge_queue_baseline_samples", labels!(MODEL, UPSTREAM, BODY_SIZE),
                "Number of requests that the queue baseline is learned from.",
                "At each scrape, for sizes with samples.",
                "set_queue";
            baseline_spread: float_gauge = QUEUE_BASELINE_SPREAD "streamgauge_queue_baseline_spread_ratio", labels!(MODEL, UPSTREAM),
                "Typical relative error of the queue baseline: 0.1 is about 10 %. It is the robust standard deviation of ln(sample / baseline).",
                "At each scrape. Absent until a baseline is learned.",
                "set_queue";
            baseline_age: float_gauge = QUEUE_BASELINE_AGE "streamgauge_queue_baseline_age_seconds", labels!(MODEL, UPSTREAM),
                "Time in seconds since the end of the newest request that the queue baseline is learned from.",
                "At each scrape. Absent until a baseline is learned.",
                "set_queue";
            queue_slots: float_gauge = QUEUE_SLOTS "streamgauge_queue_slots", labels!(MODEL, UPSTREAM, HELD),
                "Number of requests (held=\"response\") or of prompts (held=\"prefill\") that the server processes at once, as inferred from arrivals and ends of requests. It can be below the configured maximum.",
                "At each scrape. Absent until at least five requests had to wait, and while no number explains the observations.",
                "set_queue";
            queue_model: float_gauge = QUEUE_MODEL_USED "streamgauge_queue_model", labels!(MODEL, UPSTREAM, QUEUE_MODEL),
                "1 for the model that explains how the server queues, 0 for the others. model=\"slots\": a number of slots, first come, first served. model=\"unknown\": no model explains the observations, or too few requests had to wait.",
                "At each scrape.",
                "set_queue";
            queue_fit_contradicted: float_gauge = QUEUE_FIT_CONTRADICTED "streamgauge_queue_fit_contradicted_ratio", labels!(MODEL, UPSTREAM),
                "Requests that had output before their turn, as a part of those that had to wait, according to the slots that explain the last requests best. Above 0.05, the slots are not used.",
                "At each scrape. Absent while no slots explain the requests better than that none waits.",
                "set_queue";
            queue_fit_error: float_gauge = QUEUE_FIT_ERROR "streamgauge_queue_fit_error_ratio", labels!(MODEL, UPSTREAM),
                "Part of the time to first output that neither the wait nor the prompt explains, over the requests that had to wait, according to the slots that explain the last requests best. Above 0.14, the slots are not used.",
                "At each scrape. Absent while no slots explain the requests better than that none waits.",
                "set_queue";
            saturation: float_gauge = SATURATION "streamgauge_saturation_ratio", labels!(MODEL, UPSTREAM),
                "Arrival rate of the last minute, divided by the sustainable rate of the class with the smallest. Over 1, a class will be missed. Use it for autoscaling.",
                "At each scrape. Absent until a sustainable rate is known, or a class is missed at all rates that were observed.",
                "set_capacity";
            sustainable: float_gauge = SUSTAINABLE "streamgauge_sustainable_requests_per_second", labels!(MODEL, UPSTREAM, SLO),
                "Largest rate of arrivals at which 99 % of the requests would still meet the SLO class, as learned from the traffic.",
                "At each scrape; a new estimate once a minute. Absent until 1000 requests arrived at about this rate.",
                "set_capacity";
            sustainable_low: float_gauge = SUSTAINABLE_LOW "streamgauge_sustainable_low_requests_per_second", labels!(MODEL, UPSTREAM, SLO),
                "Lower end of the 95 % interval of the sustainable rate. If the class is met at all rates that were observed: the highest of them.",
                "At each scrape; a new estimate once a minute. Absent until 1000 requests were judged, and if the class is missed at all rates that were observed.",
                "set_capacity";
            sustainable_high: float_gauge = SUSTAINABLE_HIGH "streamgauge_sustainable_high_requests_per_second", labels!(MODEL, UPSTREAM, SLO),
                "Upper end of the 95 % interval of the sustainable rate. If the class is missed at all rates that were observed: the lowest of them.",
                "At each scrape; a new estimate once a minute. Absent until 1000 requests were judged, and if the class is met at all rates that were observed.",
                "set_capacity";
            edge_wait: histogram(LATENCY) = EDGE_WAIT "streamgauge_edge_wait_seconds", labels!(common),
                "Time in seconds from the instant in the header X-Request-Start or X-Queue-Start to the arrival of the request: the wait in proxies before Streamgauge.",
                "At the end of an inference request with such a header, whatever its outcome, if trust_request_start is true.",
                "record_edge_wait";
            trace_ttft: histogram(FIRST) = TRACE_TTFT "streamgauge_trace_time_to_first_token_seconds", labels!(common),
                "Time in seconds from the first inference request of a trace (header traceparent) to the first output of each later stream of the same trace.",
                "At the first output of a stream that is not the first request of its trace.",
                "record_trace_ttft";
            first_audio: histogram(FIRST) = FIRST_AUDIO "streamgauge_time_to_first_audio_seconds", labels!(common),
                "Time in seconds from the arrival of the request to the first sound of a response that is raw audio. The header of a WAV file is not sound.",
                "When the first sound arrives. Warm responses of every outcome.",
                "record_time_to_first_audio";
            unrecognised_first_event: histogram(FIRST) = UNRECOGNISED_FIRST_EVENT "streamgauge_unrecognised_time_to_first_event_seconds", labels!(request),
                "Time in seconds from the arrival of the request to the first event of a stream of no known API. The event may or may not hold output.",
                "Once the first events, or the end of the stream, show that the API is not known. Streams of every outcome.",
                "record_unrecognised_event";
            unrecognised_event_gap: histogram(GAP) = UNRECOGNISED_EVENT_GAP "streamgauge_unrecognised_event_gap_seconds", labels!(request),
                "Time in seconds between two successive events of a stream of no known API.",
                "While such a stream runs, once it is clear that its API is unknown.",
                "record_unrecognised_event";
            unrecognised_duration: histogram(DURATION) = UNRECOGNISED_DURATION "streamgauge_unrecognised_stream_duration_seconds", labels!(request),
                "Time in seconds from the arrival of the request to the end of a stream of no known API.",
                "At the end of such a stream, whatever its outcome.",
                "record_unrecognised_end";
            unrecognised_bytes: counter = UNRECOGNISED_BYTES "streamgauge_unrecognised_bytes_total", labels!(request),
                "Number of body bytes of streams of no known API.",
                "At the end of such a stream, whatever its outcome.",
                "record_unrecognised_end";
            engine_residual: histogram(LATENCY) = ENGINE_RESIDUAL "streamgauge_engine_residual_seconds", labels!(common),
                "Measured TTFT minus the server's own time to first token, in seconds, at least 0: network, API front end, and queues that the server does not count.",
                "At the end of a warm stream whose server reports its times, whatever its outcome.",
                "record_engine_residual";
            tokens: sharded_counter = TOKENS_TOTAL "streamgauge_tokens_total", labels!(common, TYPE),
                "Number of tokens. Output is counted for each event while a stream runs, and corrected by the server's count at its end.",
                "Output: while a stream runs. Input and the correction of output: at the end of every inference request.",
                "record_token_counts";
            token_source: counter = TOKEN_SOURCE "streamgauge_token_source_total", labels!(common, TYPE, TOKEN_SOURCE),
                "Number of requests by the source of their token count. usage, adjusted and engine: reported by the server. events: output events were counted.",
                "At the end of an inference request with a token count.",
                "count_token_source";
            token_subset: counter = TOKEN_SUBSET "streamgauge_token_subset_total", labels!(common, SUBSET),
                "Number of tokens that are part of other counts: cached_input of input, reasoning of output.",
                "At the end of an inference request whose server reports them.",
                "record_token_counts";
            characters: sharded_counter = CHARACTERS_TOTAL "streamgauge_output_characters_total", labels!(common, KIND),
                "Number of output characters (Unicode scalar values). kind=\"answer\" includes refusals; kind=\"tool\" is the arguments of tool calls.",
                "While a stream runs. At the end of a response that is not streamed.",
                "count_characters";
            arrivals: counter = ARRIVALS "streamgauge_arrivals_total", labels!(arrival),
                "Number of requests that arrived. The model is not known at arrival, so it is not a label.",
                "When the headers of a request are read.",
                "count_arrival";
            requests: counter = REQUESTS "streamgauge_requests_total", labels!(request, OUTCOME, CODE, STREAM),
                "Number of requests that ended. Each has one outcome. code is the HTTP status sent to the client, empty if none was sent.",
                "At the end of every request.",
                "count_request";
            finish_reasons: counter = FINISH_REASONS "streamgauge_finish_reasons_total", labels!(common, FINISH_REASON),
                "Number of finished choices (completions) by the finish reason that the server reported. Unknown reasons are counted as other.",
                "At the end of the response: a choice can replace its finish reason.",
                "count_finish_reason";
            in_flight: gauge = IN_FLIGHT "streamgauge_in_flight_requests", labels!(arrival, PHASE),
                "Number of requests in flight. phase=\"sending\": the request body is being sent. phase=\"waiting\": no output yet; if not streamed, no response body yet. phase=\"streaming\": after that.",
                "At all times.",
                "in_flight";
            usage_coverage: counter = USAGE_COVERAGE "streamgauge_usage_coverage_total", labels!(common, REPORTED),
                "Number of complete inference responses by whether the server reported token counts.",
                "At the end of an inference request with outcome ok.",
                "count_usage_coverage";
            slo_requests: counter = SLO_REQUESTS "streamgauge_slo_requests_total", labels!(common, SLO, MET),
                "Number of inference requests in an SLO class. met=\"true\": all targets were met. met=\"false\": a target was missed, or the request failed. met=\"undecided\": the client caused an error, or left before a target was missed; or the output could not be read.",
                "At the end of every inference request that matches an [[slo]] class, whatever its outcome.",
                "count_slo";
            slo_tokens: counter = SLO_TOKENS "streamgauge_slo_tokens_total", labels!(common, SLO, MET),
                "Number of output tokens of the requests in an SLO class.",
                "At the end of every inference request that matches an [[slo]] class and whose output tokens are known.",
                "count_slo";
            bytes: sharded_counter = BYTES "streamgauge_bytes_total", labels!(UPSTREAM, DIRECTION),
                "Number of bytes of request and response bodies. direction=\"up\": client to upstream. direction=\"down\": upstream to client.",
                "When they are forwarded.",
                "new";
            connect: histogram(CONNECT) = CONNECTED "streamgauge_upstream_connect_seconds", labels!(UPSTREAM),
                "Time in seconds to open a connection to the upstream.",
                "When a new connection is ready. Not for pooled connections.",
                "record_connect";
            client_stall: histogram(GAP) = CLIENT_STALL "streamgauge_client_stall_seconds", labels!(common),
                "Time in seconds for which a request's response bytes were ready and the client's socket accepted none.",
                "At the end of an inference request in which that happened.",
                "record_client_stall";
            abandoned: histogram(LATENCY) = ABANDONED "streamgauge_abandoned_seconds", labels!(common, ABANDON_PHASE),
                "Time in seconds from the arrival of the request to the client's disconnect. phase=\"before_head\": no response headers yet. phase=\"before_token\": no output yet. phase=\"mid_stream\": after the first output.",
                "At the end of an inference request with outcome client_gone_*.",
                "record_abandoned";
            wasted: counter = WASTED_TOKENS "streamgauge_wasted_output_tokens_total", labels!(common),
                "Number of output tokens generated for clients that disconnected, up to the disconnect.",
                "At the end of an inference request with outcome client_gone_*. Not for realtime sessions.",
                "record_abandoned";
            forwarding_delay: sharded_histogram(OWN_COST) = FORWARDING_DELAY "streamgauge_forwarding_delay_seconds", labels!(UPSTREAM),
                "Time in seconds from the arrival of response bytes (kernel timestamp) to their completed write to the client: Streamgauge's own delay.",
                "When a write to a client is complete.",
                "record_forwarding_delay";
            event_loop_lag: histogram(OWN_COST) = EVENT_LOOP_LAG "streamgauge_event_loop_lag_seconds", labels!(),
                "Delay in seconds of a worker's event loop in reacting to a heartbeat. Arriving bytes wait equally long before they are read.",
                "At each heartbeat, every 50 ms, by each worker.",
                "event_loop_lag_observer";
            clock_info: gauge = CLOCK_INFO "streamgauge_clock_info", labels!(UPSTREAM, CLOCK),
                "1 for the clock that the newest request was measured with, else 0 or absent. source=\"kernel\": receive timestamps of the kernel. source=\"program\": time of the read.",
                "At the end of a request.",
                "set_clock";
            throttled: float_counter = THROTTLED "streamgauge_throttled_seconds_total", labels!(),
                "Time in seconds for which the CPU limit of the container (quota of the control group) stopped threads of Streamgauge.",
                "At each scrape. Absent if the kernel does not report it.",
                "refresh";
            pressure: float_counter = PRESSURE "streamgauge_cpu_pressure_seconds_total", labels!(),
                "Time in seconds in which at least one thread of Streamgauge's control group waited for a CPU (the kernel's pressure stall information, line \"some\").",
                "At each scrape. Absent if the kernel does not report it.",
                "refresh";
            upstream_info: configured_gauge = UPSTREAM_INFO "streamgauge_upstream_info", labels!(UPSTREAM, ENGINE),
                "Always 1. engine is the engine or vendor of the upstream, as configured or detected. The configured [labels] are on this metric only.",
                "From the start if the engine is configured, else once it is detected.",
                "set_upstream_info";
            idle: float_gauge = IDLE "streamgauge_upstream_idle_seconds", labels!(UPSTREAM),
                "Time in seconds since the last inference request ended, 0 while one is in flight. Use it to scale to zero.",
                "At each scrape. Before the first request: time since Streamgauge's start.",
                "set_idle";
            up: gauge = UP "streamgauge_upstream_up", labels!(UPSTREAM),
                "1 if the upstream was ready at the last probe or request (it accepted connections, or health_path reported ready), else 0. An idle server is not probed.",
                "At each scrape, once the first probe has returned.",
                "set_up";
            cold_judgement_suspended: gauge = COLD_JUDGEMENT_SUSPENDED "streamgauge_cold_judgement_suspended", labels!(UPSTREAM),
                "1 if Streamgauge cannot tell whether the last slow request after an idle time or a change of model waited for a load, else 0.",
                "At each scrape.",
                "set_judgement_suspended";
            outage: float_gauge = OUTAGE "streamgauge_upstream_outage_seconds", labels!(UPSTREAM),
                "Time in seconds since a connection to the upstream first failed, 0 after a connection was opened.",
                "At each scrape. New connections of requests and of probes count.",
                "set_outage";
            cold_starts: counter = COLD_STARTS "streamgauge_cold_starts_total", labels!(UPSTREAM, MODEL, COLD_REASON),
                "Number of cold starts. reason is the cause. gen_ai_request_model is the model whose output ended the cold start, or other if it ended without output.",
                "When a cold start ends. For a restart that only server_metrics_path shows: when the server's metrics are read. Outages are not counted.",
                "record_cold_start";
            cold_start: histogram(LATENCY) = COLD_START "streamgauge_cold_start_seconds", labels!(UPSTREAM, MODEL, COLD_REASON),
                "Duration of cold starts in seconds, from the first request that found the server not ready to the first output (or to readiness, if no request waited). reason=\"boot\" begins with the start of Streamgauge. reason=\"restarted\" begins with the broken connection.",
                "When a cold start ends. Not for a restart that only server_metrics_path shows: no request met it, so its duration is unknown.",
                "record_cold_start";
            boot: float_gauge = BOOT "streamgauge_boot_seconds", labels!(UPSTREAM, STAGE),
                "Time in seconds from Streamgauge's start to a stage. stage=\"port_open\": the upstream's port was open. stage=\"healthy\": health_path reported ready. stage=\"first_token\": the first output arrived.",
                "When a stage is reached. Absent if the upstream was ready before Streamgauge started.",
                "set_boot_times";
            started: float_gauge = STARTED "streamgauge_upstream_start_time_seconds", labels!(UPSTREAM),
                "Start time of the upstream's process in seconds since 1970, by its own clock, from its metric process_start_time_seconds.",
                "When the server's metrics are read. Requires server_metrics_path.",
                "set_start_time";
            resends: counter = RESENDS "streamgauge_upstream_resends_total", labels!(UPSTREAM),
                "Number of requests that were sent again on a new connection, because the pooled one was closed before a byte was written.",
                "When a request is sent again.",
                "new";
            limit_exceeded: counter = LIMIT_EXCEEDED "streamgauge_limit_exceeded_total", labels!(UPSTREAM, LIMIT),
                "Number of times that a client or the server exceeded a limit of the proxy, by limit.",
                "When it happens.",
                "count_limit";
            admin_limit_exceeded: counter = ADMIN_LIMIT_EXCEEDED "streamgauge_admin_limit_exceeded_total", labels!(ADMIN_LIMIT),
                "Number of times that a client of the admin port exceeded a limit, by limit.",
                "When it happens.",
                "count_admin_limit";
            unparsed: counter = UNPARSED "streamgauge_unparsed_total", labels!(UPSTREAM, UNPARSED_REASON),
                "Number of events, bodies and headers that could not be measured, by reason. They were forwarded unchanged.",
                "When it happens.",
                "count_unparsed";
            rejected: counter = REJECTED "streamgauge_rejected_requests_total", labels!(UPSTREAM, REJECT_REASON),
                "Number of requests that were rejected because they violate a rule of HTTP or a limit, by reason.",
                "When the response is generated.",
                "count_rejected";
            conflicting: counter = CONFLICTING "streamgauge_conflicting_responses_total", labels!(UPSTREAM),
                "Number of responses with both Content-Length and Transfer-Encoding. They were forwarded without the length.",
                "When the response headers arrive.",
                "count_conflicting_response";
            clamped: counter = CLAMPED "streamgauge_clamped_total", labels!(UPSTREAM, INTERVAL),
                "Number of negative intervals, caused by differences between two clocks, that were recorded as 0.",
                "When it happens.",
                "count_clamped";
            label_overflow: counter = LABEL_OVERFLOW "streamgauge_label_overflow_total", labels!(CAPPED_LABEL),
                "Number of times that a label value was replaced by other, because the label has too many values.",
                "When the labels of a response are resolved.",
                "label";
            upstream_requests: summed(requests) = UPSTREAM_REQUESTS "streamgauge_upstream_requests_total", labels!(UPSTREAM, OUTCOME),
                "Number of inference requests that ended, by outcome. Every outcome starts at 0.",
                "At each scrape: the sum of streamgauge_requests_total over inference operations, models and codes.",
                "collect";
            upstream_in_flight: summed(in_flight) = UPSTREAM_IN_FLIGHT "streamgauge_upstream_in_flight_requests", labels!(UPSTREAM, PHASE),
                "Number of inference requests in flight, by phase. Every phase starts at 0.",
                "At each scrape: the sum of streamgauge_in_flight_requests over inference operations.",
                "collect";
            upstream_slo_requests: summed(slo_requests) = UPSTREAM_SLO_REQUESTS "streamgauge_upstream_slo_requests_total", labels!(UPSTREAM, SLO, MET),
                "Number of inference requests in an SLO class, by verdict. Every class that applies to the upstream starts at 0.",
                "At each scrape: the sum of streamgauge_slo_requests_total over operations and models.",
                "collect";
            upstream_cold_starts: summed(cold_starts) = UPSTREAM_COLD_STARTS "streamgauge_upstream_cold_starts_total", labels!(UPSTREAM, COLD_REASON),
                "Number of cold starts, by cause. Every cause starts at 0.",
                "At each scrape: the sum of streamgauge_cold_starts_total over models.",
                "collect";
            upstream_stalls: summed(stalls) = UPSTREAM_STALLS "streamgauge_upstream_stalls_total", labels!(UPSTREAM),
                "Number of gaps without output that exceeded stall_seconds. It starts at 0.",
                "At each scrape: the sum of streamgauge_stalls_total over operations and models.",
                "collect";
            upstream_usage_coverage: summed(usage_coverage) = UPSTREAM_USAGE_COVERAGE "streamgauge_upstream_usage_coverage_total", labels!(UPSTREAM, REPORTED),
                "Number of complete inference responses by whether the server reported token counts. Both values start at 0.",
                "At each scrape: the sum of streamgauge_usage_coverage_total over operations and models.",
                "collect";
            degraded: counter = DEGRADED "streamgauge_degraded_requests_total", labels!(UPSTREAM),
                "Number of requests whose values may be wrong by more than 1 ms, because Streamgauge waited for a CPU and an instant has no timestamp of the kernel. They are marked degraded in the request log.",
                "At the end of such a request.",
                "count_degraded";
            reload_successful: gauge = RELOAD_SUCCESSFUL "streamgauge_config_last_reload_successful", labels!(),
                "1 if the last reload of the configuration or of the certificates was successful, else 0. 1 until the first reload.",
                "At the start, and at the end of every reload.",
                "record_reload";
            reload_success_time: float_gauge = RELOAD_SUCCESS_TIME "streamgauge_config_last_reload_success_timestamp_seconds", labels!(),
                "Unix time of the last successful reload of the configuration or of the certificates, in seconds. The start of the process until the first one.",
                "At the start, and at the end of every successful reload.",
                "record_reload";
            request_log_dropped: counter = REQUEST_LOG_DROPPED "streamgauge_request_log_dropped_total", labels!(),
                "Number of lines of the request log that were lost: the same number as streamgauge_log_dropped_total{log=\"requests\"}, under its older name.",
                "When it happens.",
                "count_dropped_request_lines";
            log_dropped: counter = LOG_DROPPED "streamgauge_log_dropped_total", labels!(LOG),
                "Number of log lines that were lost, because the queue of the log was full or its output did not accept them. log=\"log\": standard error. log=\"requests\": the request log.",
                "When it happens. For log=\"log\": when /metrics is read.",
                "gather";
            build_info: gauge = BUILD_INFO "streamgauge_build_info", labels!(VERSION),
                "Always 1. version is that of Streamgauge.",
                "At all times.",
                "new";
        }
    };
}
pub(super) use for_each_metric;

/// Type of a metric, by its collector.
macro_rules! metric_kind {
    (summed in_flight) => {
        MetricKind::Gauge
    };
    (summed $source:ident) => {
        MetricKind::Counter
    };
    (histogram $edges:ident) => {
        MetricKind::Histogram($edges)
    };
    (sharded_histogram $edges:ident) => {
        MetricKind::Histogram($edges)
    };
    (counter) => {
        MetricKind::Counter
    };
    (float_counter) => {
        MetricKind::Counter
    };
    (sharded_counter) => {
        MetricKind::Counter
    };
    (gauge) => {
        MetricKind::Gauge
    };
    (float_gauge) => {
        MetricKind::Gauge
    };
    (configured_gauge) => {
        MetricKind::Gauge
    };
}

/// Declares the metrics as constants and lists them.
macro_rules! constants {
    ($($field:ident: $collector:ident$(($edges:ident))? = $ident:ident $name:literal, $labels:expr,
        $help:literal, $when:literal, $function:literal;)*) => {
        $(
            #[allow(rustdoc::broken_intra_doc_links, reason = "a help text is not Markdown")]
            #[doc = $help]
            pub const $ident: Metric = Metric {
                name: $name,
                kind: metric_kind!($collector $($edges)?),
                labels: $labels,
                help: $help,
                when: $when,
                function: $function,
            };
        )*
        /// All metrics, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($ident),*];
    };
}
for_each_metric!(constants);

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
