//! What an event costs: framed, read in its dialect, and observed.
//!
//!     cargo bench --bench events
//!
//! prints, for the most common event of each dialect (a piece of text), nanoseconds and allocations per
//! event: the median of the rounds, with the least and the greatest. Each event comes in a read of its own,
//! and the texts differ from one event to the next, as those of a model do.

use allocation_counter::measure;
use std::time::{Duration, Instant};
use streamgauge::dialect::route::{self, Operation};
use streamgauge::meter::{Arrival, Meter};
use streamgauge::metrics::{Metrics, MetricsConfig};

/// Events of one stream, of which the first few do not count.
const EVENTS: usize = 2_000;
const WARM_UP: usize = 50;
/// Streams that are read one after the other.
const ROUNDS: usize = 101;

const WORDS: [&str; 8] = [" the", " of", "ing", " latency", "\\n\\n", " \u{e9}t\u{e9}", " 42", "."];

/// The name of a dialect, its content type, and an event of it, with `@` for the text and `#` for a running
/// number.
const SHAPES: &[(&str, &str, &str)] = &[
    (
        "openai-chat",
        "text/event-stream",
        "data: {\"id\":\"chatcmpl-bcfbe349402eb3d2\",\"object\":\"chat.completion.chunk\",\"created\":1786479604,\"model\":\"meta-llama/Llama-3.3-70B-Instruct\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@\"},\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}]}\n\n",
    ),
    (
        "openai-completions",
        "text/event-stream",
        "data: {\"id\":\"cmpl-bcfbe349402eb3d2\",\"object\":\"text_completion\",\"created\":1786479604,\"model\":\"meta-llama/Llama-3.3-70B-Instruct\",\"choices\":[{\"index\":0,\"text\":\"@\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}],\"usage\":null}\n\n",
    ),
];

fn main() {
    let config = MetricsConfig { max_models: 50, models: Vec::new(), buckets: Default::default() };
    let metrics = Metrics::new(&config, 1).expect("the table of metrics is sound");
    let series =
        metrics.series(&"upstream".into(), &"engine".into(), Operation::Chat, &"model".into());
    println!("{:<22} {:>22} {:>12}", "dialect", "ns an event", "allocations");
    for (name, content_type, shape) in SHAPES {
        let dialect = route::dialect(name).expect("a route has the dialect");
        let events: Vec<Vec<u8>> = (0..EVENTS).map(|at| event(shape, at)).collect();
        let mut times = Vec::new();
        let mut allocations = 0;
        for _ in 0..ROUNDS {
            let mut meter = Meter::new(dialect, content_type.as_bytes(), b"").expect("it is read");
            let mut read = |at: usize, bytes: &[u8]| {
                let arrival = Arrival {
                    at: Duration::from_millis(20 * at as u64),
                    read: at as u64,
                    after: Duration::ZERO,
                    late: Duration::ZERO,
                    stamped: true,
                };
                meter.push(arrival, bytes, &mut |sample| series.observe(&sample, Duration::ZERO));
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
            assert_eq!(
                meter.tally().output_events as usize,
                EVENTS,
                "{name}: each event is output"
            );
        }
        times.sort_by(f64::total_cmp);
        let (least, median, most) = (times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
        let each = allocations as f64 / (EVENTS - WARM_UP) as f64;
        println!("{name:<22} {median:>6.0} ({least:.0} to {most:.0}) {each:>12.3}");
    }
}

/// Event `at` of a stream.
fn event(shape: &str, at: usize) -> Vec<u8> {
    shape.replace('@', WORDS[at % WORDS.len()]).replace('#', &at.to_string()).into_bytes()
}
