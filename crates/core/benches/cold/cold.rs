//! Accuracy of the detection of cold starts, on a simulated server with virtual time.
//!
//! `cargo bench --bench cold` prints the table and writes its summary to `docs/cold-starts.md`. Results are seeded and the
//! same on every machine.

mod rng;
mod scenarios;
mod server;
mod table;
mod world;

use scenarios::{Knowable, SCENARIOS};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use streamgauge_core::meter::cold::{
    ColdStartConfig, ColdStartDetector, FirstOutput, ReportedTimes,
};
use table::{EvalResult, HEAD, SEEDS};

fn main() {
    let (mut rows, mut unknowable) = (String::new(), String::new());
    let (mut right, mut knowable) = (0, 0);
    println!("{HEAD}");
    for scenario in &SCENARIOS {
        let result = EvalResult::of(scenario);
        println!("{}", result.row(scenario));
        if let Knowable::No(reason) = scenario.knowable {
            let EvalResult { true_starts, found_starts, .. } = result;
            let _ = writeln!(
                unknowable,
                "| {} | {true_starts} | {found_starts} | {reason} |",
                scenario.name
            );
        } else {
            knowable += 1;
            right += usize::from(result.is_right());
            let sight = if scenario.sight.is_empty() { "requests" } else { scenario.sight };
            let _ = writeln!(
                rows,
                "| {} | {sight} | {} | {} | {:.1} | {:.1} |",
                scenario.name,
                result.true_starts,
                result.found_starts,
                result.true_seconds,
                result.found_seconds,
            );
        }
    }
    let part = format!(
        "{right} of {knowable} scenarios that can be known are right, in {SEEDS} runs each:\n\n\
         | scenario | seen | cold starts | found | seconds | found |\n|---|---|---|---|---|---|\n{rows}\n\
         These cannot be known:\n\n\
         | scenario | cold starts | found | reason |\n|---|---|---|---|\n{unknowable}"
    );
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cold-starts.md");
    let old = std::fs::read_to_string(&page).expect("docs/cold-starts.md");
    let (begin, end) = ("<!-- scenarios: begin -->\n", "<!-- scenarios: end -->");
    let (before, rest) = old.split_once(begin).expect("a begin marker");
    let (_, after) = rest.split_once(end).expect("an end marker");
    std::fs::write(&page, format!("{before}{begin}{part}{end}{after}"))
        .expect("docs/cold-starts.md");
    println!("{:.2} us a request, in the detector", cost().as_secs_f64() * 1e6);
}

/// Time of the detector for one request. Each is suspect and slow, which is the most expensive case.
fn cost() -> Duration {
    const REQUESTS: u32 = 100_000;
    let config = ColdStartConfig {
        idle: Duration::from_secs(60),
        outage: Duration::from_secs(3600),
        has_health: false,
        has_metrics_page: false,
    };
    let mut detector = ColdStartDetector::new(config, Duration::ZERO);
    let start = Instant::now();
    for number in 0..REQUESTS {
        let arrived = Duration::from_secs(10) * number;
        let at = arrived + Duration::from_millis(600 + u64::from(number * 7919 % 400));
        let output = FirstOutput {
            at,
            model: if number % 2 == 0 { "a" } else { "b" },
            sent: Some(arrived),
            bytes: u64::from(1000 + number % 500),
            is_stream: true,
            expected: None,
            reports_load: false,
        };
        let id = detector.on_request(arrived);
        let verdict = detector.on_first_output(id, &output);
        let reported = ReportedTimes { per_token: Some(0.02), ..ReportedTimes::default() };
        detector.on_response_end(id, &output, reported, verdict.reason);
        detector.on_request_end(id, output.model, at + Duration::from_secs(1));
    }
    start.elapsed() / REQUESTS
}
