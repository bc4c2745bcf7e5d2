//! Cost of one event: framing, reading it in its dialect, and recording its metrics.
//!
//!     cargo bench --bench events
//!
//! Prints nanoseconds and allocations per event for the most common event of each dialect (a text delta): the
//! median, minimum and maximum of all rounds. Each event arrives in a separate read, with another text than the one
//! before.

use allocation_counter::measure;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::time::{Duration, Instant};
use streamgauge::testing::metrics::{Metrics, MetricsConfig, StartKind};
use streamgauge_core::dialect::Dialect;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{Arrival, OutputFlow, ResponseMeter};

#[path = "events/shapes.rs"]
mod shapes;
use shapes::{EVENT_SHAPES, EventFraming, EventShape};

/// Events of one stream. The first [`WARM_UP`] are not measured.
const EVENTS: usize = 2_000;
const WARM_UP: usize = 50;
/// Events of a stream in which each event repeats all text so far.
const CUMULATIVE_EVENTS: usize = 250;
/// Streams read one after the other.
const ROUNDS: usize = 101;

const WORDS: [&str; 8] = [" the", " of", "ing", " latency", "\\n\\n", " \u{e9}t\u{e9}", " 42", "."];

fn main() {
    let config = MetricsConfig { max_models: 50, ..MetricsConfig::default() };
    let metrics = Metrics::new(&config, 1).expect("the table of metrics is valid");
    let arrivals = metrics.arrival_series(&"upstream".into());
    let series = metrics.request_series(&arrivals, Operation::Chat, Some("model"));
    println!("{:<22} {:>22} {:>12}", "dialect", "ns an event", "allocations");
    for shape in EVENT_SHAPES {
        let name = format!("{} {}", shape.dialect, shape.which);
        let is_cumulative = shape.event.contains('%');
        let count = if is_cumulative { CUMULATIVE_EVENTS } else { EVENTS };
        let events: Vec<Vec<u8>> = (0..count).map(|at| event(shape, at)).collect();
        let mut times = Vec::new();
        let mut allocations = 0;
        for _ in 0..ROUNDS {
            let (mut meter, mut flow) = (meter(shape), OutputFlow::default());
            let mut read = |at: usize, bytes: &[u8]| {
                let arrival = Arrival::on_time(Duration::from_millis(20 * at as u64), at as u64);
                meter.push(arrival, bytes, &mut |sample| {
                    series.record_live(&sample, Duration::ZERO, || StartKind::Warm);
                });
                flow.on_read(meter.tally(), arrival, Duration::ZERO);
            };
            let (first, rest) = events.split_at(WARM_UP);
            first.iter().enumerate().for_each(|(at, bytes)| read(at, bytes));
            let mut took = Duration::ZERO;
            let counted = measure(|| {
                let start = Instant::now();
                rest.iter().enumerate().for_each(|(at, bytes)| read(WARM_UP + at, bytes));
                took = start.elapsed();
            });
            allocations = counted.count_total;
            times.push(took.as_secs_f64() * 1e9 / rest.len() as f64);
            assert_eq!(meter.tally().output_events as usize, count, "{name}: each event is output");
            assert_eq!(meter.tally().unparsed, 0, "{name}: each event is read");
        }
        times.sort_by(f64::total_cmp);
        let (least, median, most) = (times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
        let each = allocations as f64 / (count - WARM_UP) as f64;
        println!("{name:<22} {median:>6.0} ({least:.0} to {most:.0}) {each:>12.3}");
    }
}

/// A meter at the start of a stream of this shape.
fn meter(shape: &EventShape) -> ResponseMeter {
    let dialect = Dialect::by_name(shape.dialect).expect("a route has the dialect");
    let content_type = match shape.framing {
        EventFraming::Sse => "text/event-stream",
        EventFraming::Lines => "application/x-ndjson",
        EventFraming::Aws(_) | EventFraming::AwsChunks => "application/vnd.amazon.eventstream",
        EventFraming::Grpc => "application/grpc",
        EventFraming::WebSocket => return ResponseMeter::for_websocket(dialect, false),
    };
    ResponseMeter::new(dialect, content_type.as_bytes(), b"").expect("it is read")
}

/// Bytes of event number `at` of a stream.
fn event(shape: &EventShape, at: usize) -> Vec<u8> {
    let word = |at: usize| WORDS[at % WORDS.len()];
    let mut event = shape.event.replace('@', word(at)).replace('#', &(at + 1).to_string());
    if event.contains('%') {
        event = event.replace('%', &(0..=at).map(word).collect::<String>());
        let numbers: Vec<String> = (1..=at + 1).map(|number| number.to_string()).collect();
        event = event.replace('^', &numbers.join(","));
    }
    match shape.framing {
        EventFraming::Sse => format!("data: {event}\n\n").into_bytes(),
        EventFraming::Lines => format!("{event}\n").into_bytes(),
        EventFraming::Aws(kind) => aws_message(kind, event.as_bytes()),
        EventFraming::AwsChunks => {
            let data = BASE64_STANDARD.encode(event);
            aws_message("chunk", format!(r#"{{"bytes":"{data}","p":"abcdefgh"}}"#).as_bytes())
        }
        EventFraming::Grpc => {
            let digits: Vec<u8> = event.bytes().map(hexadecimal).collect();
            let message: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
            [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat()
        }
        EventFraming::WebSocket => {
            let len = event.len() as u16;
            // A text message in one frame, with a 16-bit length.
            [&[0x81, 126], &len.to_be_bytes()[..], event.as_bytes()].concat()
        }
    }
}

fn hexadecimal(digit: u8) -> u8 {
    char::from(digit).to_digit(16).expect("a digit") as u8
}

/// A message of Amazon's event stream.
fn aws_message(kind: &str, payload: &[u8]) -> Vec<u8> {
    let header = |name: &str, value: &str| {
        let mut header = vec![name.len() as u8];
        header.extend_from_slice(name.as_bytes());
        // Header value type 7: string.
        header.push(7);
        header.extend_from_slice(&(value.len() as u16).to_be_bytes());
        header.extend_from_slice(value.as_bytes());
        header
    };
    let headers = [
        header(":event-type", kind),
        header(":content-type", "application/json"),
        header(":message-type", "event"),
    ]
    .concat();
    let len = 16 + headers.len() + payload.len();
    let mut message = (len as u32).to_be_bytes().to_vec();
    message.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}
