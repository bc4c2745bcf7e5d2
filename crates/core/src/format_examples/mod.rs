//! Example responses of every supported endpoint, and the page `docs/formats.md` that is generated from them.
//!
//! The test measures each example with the meter and compares the result with what the example declares, so the page
//! cannot claim more than the meter does. `STREAMGAUGE_BLESS=1 cargo test -p streamgauge-core format_examples` writes
//! the page.

use crate::dialect::Dialect;
use crate::dialect::ROUTES;
use crate::dialect::response_headers::HeaderFacts;
use crate::dialect::route::{ResponseParsing, Route};
use crate::meter::{
    Arrival, LiveSample, QueueWait, RequestRecord, ResponseMeter, ResponseTokens, TokenSource,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

mod apis_2026;
mod bedrock;
mod chat;
mod disturbed;
mod engines;
mod example;
mod openai;
mod vendors;
use example::{ExampleFraming, FormatExample};

const EXAMPLES: [&[FormatExample]; 6] = [
    chat::EXAMPLES,
    engines::EXAMPLES,
    openai::EXAMPLES,
    vendors::EXAMPLES,
    bedrock::EXAMPLES,
    apis_2026::EXAMPLES,
];

const INTRODUCTION: &str = "\
# Supported servers and APIs

Is my server measured, and where do its numbers come from? Look up the server in the overview, then its table.

| Server | Token counts | Queue wait |
|---|---|---|
| [vLLM](#vllm) | with `stream_options.include_usage` in the request | reported with `--enable-per-request-metrics`, else estimated |
| [llama.cpp](#llamacpp) | always | time to the response headers, since build 9600 |
| [Ollama](#ollama) | always | derived from `total_duration` |
| [LM Studio](#lm-studio) | always on its own API | estimated |
| [SGLang](#sglang) | with `stream_options.include_usage`; always on `/generate` | reported on `/generate` with `--enable-metrics`, else estimated |
| [TGI](#tgi-and-compatible-servers) | always on its own API | reported without streaming, else estimated |
| [OpenAI and compatible](#openai-and-compatible-servers) | with `stream_options.include_usage` in the request | estimated |
| [Anthropic and compatible](#anthropic-and-compatible-servers) | always | estimated |

TTFT, TPOT, inter-token latency and total latency need no support from the server: they are measured on the wire for
every streamed response below. [Queue wait](queue-wait.md) describes the estimate. Where a response has no token count,
Streamgauge counts its output events instead, which is an approximation (`source=\"events\"`).

Only the end of the path matters, so prefixes such as `/openai/v1` or `/api` are fine. Requests to other paths are
forwarded too. They count in requests and bytes, as operation `other`. The configuration can
[describe further APIs](custom-apis.md). `streamgauge explain` prints what is read in a recorded response.

## How to read the tables

| column | content |
|---|---|
| request | operation or server; one row for each response format |
| response | framing of the response; *one document* means not streamed |
| measured | *stream*: TTFT, TPOT, ITL and latency; *session*: TTFT and ITL of each response; *duration*: duration only; *log*: tokens and outcome for the request log; *+ text*: output characters too |
| tokens from | field with the token counts; *(input)*: the response has no output tokens |
| `source` | label `source` in the metrics and in the request log |
| times from the server | fields for queue wait, load time and time to first token: `queue_s`, `engine_load_s` and `engine_ttft_s` in the request log |
| dialect | `dialect` in the request log |

The tables are generated: a test measures an example response of each row.
";

/// Sections that come first, in this order, with what their tables cannot say. Other sections follow in the order of
/// the examples.
const SECTIONS: &[(&str, &str)] = &[
    (
        "vLLM",
        "vLLM also serves the APIs of [OpenAI](#openai-and-compatible-servers) and
[Anthropic](#anthropic-and-compatible-servers). It reports `metrics.queue_time_ms` with
`--enable-per-request-metrics`. Its time to first token starts when the request is scheduled, so the queue wait is
added.",
    ),
    (
        "llama.cpp",
        "llama-server also serves the APIs of [OpenAI](#openai-and-compatible-servers) and
[Anthropic](#anthropic-and-compatible-servers). It reports no queue wait, but it sends the headers of a stream when a
slot takes the request: see [definitions](definitions.md#queue-wait).",
    ),
    (
        "Ollama",
        "Ollama also serves the APIs of [OpenAI](#openai-and-compatible-servers) and
[Anthropic](#anthropic-and-compatible-servers). It reports no queue wait. On a stream, the queue wait is
`total_duration` minus `load_duration`, `prompt_eval_duration` and the time in which the lines arrived.",
    ),
    (
        "SGLang",
        "SGLang also serves the APIs of [OpenAI](#openai-and-compatible-servers) and
[Anthropic](#anthropic-and-compatible-servers). It reports `meta_info.queue_time` with `--enable-metrics`.",
    ),
    (
        "TGI and compatible servers",
        "SageMaker's LMI containers count token ids where a response has no `details`.",
    ),
    (
        "OpenAI and compatible servers",
        "Streams have `usage` only if the request sets `stream_options.include_usage`. Without it, output events are \
         counted.",
    ),
    (
        "Other OpenAI-compatible servers",
        "Some servers report more than OpenAI does. Groq sends `x_groq.usage` in every stream, and its times beside the
counts. xAI does not include reasoning in `completion_tokens`. LocalAI reports times if the request has the header
`Extra-Usage`.",
    ),
    (
        "Anthropic and compatible servers",
        "vLLM, SGLang, llama.cpp and Ollama serve `/v1/messages` too. In a stream, `message_start` has the input tokens \
         and
`message_delta` the output tokens.",
    ),
    ("Gemini", "Output tokens are `candidatesTokenCount` plus `thoughtsTokenCount`."),
    ("Cohere", ""),
    (
        "Amazon Bedrock",
        "With `InvokeModel`, the model decides on the format. Models with counts of their own use their own field names;
for the others, Bedrock's counts are taken.",
    ),
    (
        "SageMaker",
        "An endpoint sends the bytes of its container's own stream, cut anywhere, in messages of Amazon's event stream. The \
         dialect
is that of the container.",
    ),
    (
        "LM Studio",
        "LM Studio also serves the APIs of [OpenAI](#openai-and-compatible-servers) and
[Anthropic](#anthropic-and-compatible-servers). Its own API reports that it loads the model while it does, in
`model_load.*` events.",
    ),
    (
        "DashScope",
        "Each event has new text, or all text so far. The dialect detects which: see
[dialect/dashscope.rs](../crates/core/src/dialect/dashscope.rs).",
    ),
    (
        "Cloudflare Workers AI",
        "Models that answer in OpenAI's format on these paths are read as `openai-chat`.",
    ),
    (
        "Mistral conversations",
        "OpenAI creates and updates conversations on the same paths. These requests count as operation `chat`, without text \
         or
tokens.",
    ),
    ("Triton and KServe", "These protocols carry tensors or plain text. They have no token counts."),
];

/// Measurement of an example.
struct MeasuredExample {
    record: RequestRecord,
    tokens: ResponseTokens,
    route: &'static Route,
    is_stream: bool,
    has_output: bool,
}

/// Measures an example. Each event arrives in a separate read.
fn measure(example: &FormatExample) -> MeasuredExample {
    let name = format!("{} {}", example.section, example.path);
    let route = Route::find(example.method, example.path);
    let dialect = route.dialect().unwrap_or_else(|| {
        panic!(
            "{} {}: no route with a dialect; add one to ROUTES in crates/core/src/dialect/mod.rs",
            example.method, example.path
        )
    });
    let content_type = example.framing.content_type().as_bytes();
    let mut meter = match example.framing {
        ExampleFraming::WebSocket => ResponseMeter::for_websocket(dialect, false),
        _ => ResponseMeter::new(dialect, content_type, b"").unwrap(),
    };
    if example.framing == ExampleFraming::WebSocket {
        meter.push_client(Duration::ZERO, &commit_message());
    }
    let mut has_output = false;
    let sink = &mut |it: LiveSample<'_>| has_output |= matches!(it, LiveSample::FirstOutput(_));
    for (read, event) in example.events.iter().enumerate() {
        let arrival = Arrival::on_time(Duration::from_millis(10 * read as u64 + 10), read as u64);
        meter.push(arrival, &example.framing.wrap(event), sink);
    }
    meter.finish(true, sink);
    let mut headers = HeaderFacts::default();
    example.headers.iter().for_each(|(name, value)| headers.record_header(name, value.as_bytes()));
    meter.set_header_facts(&headers);
    let tally = meter.tally();
    assert!(!meter.needs_terminator() || tally.is_complete(), "{name}: the stream is not complete");
    assert_eq!((tally.unparsed, tally.has_error), (0, false), "{name}: unparsed events, error");
    let mut record = RequestRecord::default();
    record.fill_from_response(tally, meter.is_stream(), Duration::ZERO);
    record.set_queue_wait(QueueWait::from_best_source(Some(tally), None, None), None);
    record.dialect = meter.dialect();
    let tokens = ResponseTokens::from_tally(tally, meter.is_stream());
    MeasuredExample { tokens, route, is_stream: meter.is_stream(), has_output, record }
}

/// Client message of a realtime session that requests a response, in one WebSocket frame with a mask of zeros.
fn commit_message() -> Vec<u8> {
    let message = br#"{"type":"input_audio_buffer.commit"}"#;
    [&[0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0], &message[..]].concat()
}

/// Row of an example. Fails if the example declares a field that the meter did not find, or misses one.
fn row(example: &FormatExample) -> String {
    let MeasuredExample { record, tokens, route, is_stream, has_output } = measure(example);
    let name = format!("{} {}", example.section, example.path);
    let source = tokens.output.or(tokens.input).map(|(_, source)| source);
    let tokens_from = match (example.tokens, source) {
        ("", Some(TokenSource::Events)) => "output events",
        ("", None) => "-",
        ("", Some(source)) => panic!("{name}: declare the field of the {source:?} tokens"),
        (field, Some(TokenSource::Usage | TokenSource::Adjusted | TokenSource::Engine)) => field,
        (field, source) => panic!("{name}: declares {field}, but the tokens are {source:?}"),
    };
    let source = source.map_or("-".to_owned(), |source| format!("`{}`", source.label()));
    let times = [
        ("queue", example.queue, record.queue_s),
        ("load", example.load, record.engine_load_s),
        ("first token", example.first_token, record.engine_ttft_s),
    ];
    let times = times.into_iter().filter_map(|(what, field, seconds)| {
        assert_eq!(!field.is_empty(), seconds.is_some(), "{name}: declared and measured {what}");
        (!field.is_empty()).then(|| format!("{what}: {field}"))
    });
    let times = times.collect::<Vec<_>>().join("; ");
    let is_session = example.framing == ExampleFraming::WebSocket;
    assert!(is_session || !is_stream || record.ttft_s.is_some() == has_output, "{name}: TTFT");
    let measured = match (is_session, is_stream && has_output) {
        _ if !route.operation.is_inference() => "log",
        (true, true) => "session",
        (false, true) => "stream",
        (_, false) => "duration",
    };
    let has_text = record.answer_chars.is_some_and(|chars| chars > 0);
    let text = if has_text { " + text" } else { "" };
    let dialect = record.dialect.unwrap_or("-");
    let operation = route.operation.label().replace('_', " ");
    let case = if example.case.is_empty() { &operation } else { example.case };
    let times = if times.is_empty() { "-" } else { &times };
    let (path, framing) = (route.path, example.framing.name());
    format!(
        "| {case} | `{path}` | {framing} | {measured}{text} | {tokens_from} | {source} | {times} | `{dialect}` |"
    )
}

/// The page, section by section.
fn formats_page() -> String {
    let examples = EXAMPLES.concat();
    let mut sections: Vec<&str> = SECTIONS.iter().map(|(title, _)| *title).collect();
    for example in &examples {
        if !sections.contains(&example.section) {
            sections.push(example.section);
        }
    }
    let mut page = INTRODUCTION.to_owned();
    for title in sections {
        writeln!(page, "\n## {title}\n").unwrap();
        let text = SECTIONS.iter().find(|(known, _)| *known == title).map_or("", |(_, text)| text);
        if !text.is_empty() {
            writeln!(page, "{text}\n").unwrap();
        }
        page.push_str("| request | path | response | measured | tokens from | `source` | times from the server | dialect |\n");
        page.push_str("|---|---|---|---|---|---|---|---|\n");
        for example in examples.iter().filter(|example| example.section == title) {
            writeln!(page, "{}", row(example)).unwrap();
        }
    }
    page.push_str("\n## Other paths with these formats\n\n| dialect | paths |\n|---|---|\n");
    let mut others = BTreeMap::<&str, Vec<String>>::new();
    for route in ROUTES {
        let has_row = |example: &FormatExample| Route::find(example.method, example.path) == route;
        if let Some(dialect) = route.dialect()
            && !examples.iter().any(has_row)
        {
            let method = if route.method == "POST" { "" } else { "GET " };
            others.entry(dialect.name).or_default().push(format!("`{method}{}`", route.path));
        }
    }
    for (dialect, paths) in others {
        writeln!(page, "| `{dialect}` | {} |", paths.join(", ")).unwrap();
    }
    page.push_str(
        "\n## Paths whose responses are not parsed\n\nFor these, Streamgauge measures the time to the response headers \
         and to the first byte, the duration and the bytes. `tokenize` is not inference: its times are only in the \
         request log.\n\n| operation | paths |\n|---|---|\n",
    );
    let mut opaque = BTreeMap::<&str, Vec<String>>::new();
    for route in ROUTES {
        if route.response == ResponseParsing::Opaque {
            opaque.entry(route.operation.label()).or_default().push(format!("`{}`", route.path));
        }
    }
    for (operation, paths) in opaque {
        writeln!(page, "| {operation} | {} |", paths.join(", ")).unwrap();
    }
    page
}

#[test]
fn the_page_matches_what_the_meter_measures() {
    const COMMAND: &str = "STREAMGAUGE_BLESS=1 cargo test -p streamgauge-core format_examples";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
    let page = formats_page();
    if std::env::var_os("STREAMGAUGE_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = page.lines().zip(file.lines()).position(|(new, old)| new != old);
    let is_same = page == file;
    assert!(
        is_same,
        "docs/formats.md differs from line {:?} on; write it with\n    {COMMAND}",
        difference.map(|at| at + 1)
    );
}

#[test]
fn each_dialect_has_an_example() {
    let examples = EXAMPLES.concat();
    for dialect in ROUTES.iter().filter_map(Route::dialect) {
        let has_example = |example: &FormatExample| {
            Route::find(example.method, example.path).dialect().map(|dialect| dialect.name)
                == Some(dialect.name)
        };
        assert!(
            examples.iter().any(has_example),
            "dialect `{}` has no example; add one to a file in crates/core/src/format_examples",
            dialect.name
        );
        assert_eq!(Dialect::by_name(dialect.name).map(|dialect| dialect.name), Some(dialect.name));
    }
}
