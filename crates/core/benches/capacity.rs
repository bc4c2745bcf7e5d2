//! Accuracy of the sustainable request rate, on simulated servers with virtual time.
//!
//! `cargo bench -p streamgauge-core --bench capacity` prints all runs, and writes the table of `docs/goodput.md`. Results are
//! seeded and the same on every machine, except for the cost.

#[path = "capacity/scenario.rs"]
mod scenario;

use scenario::{EvalServer, LoadShape, servers};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use streamgauge_core::meter::SloVerdict;
use streamgauge_core::meter::capacity::{CapacityEstimator, SustainableRate};
use strum::VariantArray;

const SEEDS: u64 = 2;
/// Tolerance of the estimate, relative.
const TOLERANCE: f64 = 0.15;

/// Results of several runs of one class.
#[derive(Debug, Default)]
struct ClassRuns {
    runs: usize,
    /// Runs with an estimate.
    known: usize,
    /// Runs with an estimate within the tolerance.
    within: usize,
    /// Runs whose interval holds the truth.
    held: usize,
    /// Smallest and largest error of an estimate, relative.
    errors: Option<(f64, f64)>,
}

impl ClassRuns {
    fn add(&mut self, found: SustainableRate, truth: f64) {
        self.runs += 1;
        let is_held =
            found.low.is_none_or(|low| low <= truth) && found.high.is_none_or(|high| high >= truth);
        self.held += usize::from(is_held);
        if let Some(rate) = found.rate {
            let error = rate / truth - 1.0;
            self.known += 1;
            self.within += usize::from(error.abs() <= TOLERANCE);
            let (least, most) = self.errors.unwrap_or((error, error));
            self.errors = Some((least.min(error), most.max(error)));
        }
    }

    fn add_all(&mut self, other: &Self) {
        self.runs += other.runs;
        self.known += other.known;
        self.within += other.within;
        self.held += other.held;
    }
}

fn main() {
    if std::env::args().any(|arg| arg == "cost") {
        print_cost();
        return;
    }
    let mut table = String::new();
    let mut total = ClassRuns::default();
    for server in servers() {
        let (capacity, truths) = (server.capacity(), server.true_rates());
        println!("{}: {capacity:.2} requests per second at most", server.name);
        let mut classes: Vec<ClassRuns> = truths.iter().map(|_| ClassRuns::default()).collect();
        for &load in LoadShape::VARIANTS {
            for seed in 1..=SEEDS {
                let (estimator, _) = server.observe(load, seed);
                let found = found(&server, &estimator);
                for (i, (found, truth)) in found.into_iter().zip(&truths).enumerate() {
                    classes[i].add(found, *truth);
                    println!(
                        "  {:>22} {seed} {:>22} {truth:6.2} {}",
                        load.label(),
                        server.slos[i].name,
                        run(found, *truth)
                    );
                }
            }
        }
        for ((slo, truth), runs) in server.slos.iter().zip(&truths).zip(&classes) {
            total.add_all(runs);
            let errors = runs.errors.map_or("-".into(), |(least, most)| {
                format!("{:+.0} to {:+.0} %", 100.0 * least, 100.0 * most)
            });
            let _ = writeln!(
                table,
                "| {} | {} | {truth:.2} | {:.0} % | {} of {} | {errors} | {} of {} |",
                server.name,
                slo.name,
                100.0 * truth / capacity,
                runs.known,
                runs.runs,
                runs.held,
                runs.runs,
            );
        }
    }
    let ClassRuns { runs, known, within, held, .. } = total;
    let text = format!(
        "{within} of {known} estimates are within 15 % of the truth, and {held} of {runs} intervals hold it:\n\n\
         | server | class | sustainable, per second | of the capacity | estimated in | error | interval holds |\n\
         |---|---|---:|---:|---|---|---|\n{table}",
    );
    print!("{text}");
    print_cost();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/goodput.md");
    let old = std::fs::read_to_string(&page).expect("docs/goodput.md");
    std::fs::write(&page, between(&old, &text)).expect("docs/goodput.md");
}

fn found(server: &EvalServer, estimator: &CapacityEstimator) -> Vec<SustainableRate> {
    let of = |name: &str| estimator.rates().iter().find(|(class, _)| &**class == name);
    let rate = |name| of(name).map_or(SustainableRate::UNKNOWN, |(_, rate)| *rate);
    server.slos.iter().map(|slo| rate(slo.name)).collect()
}

fn run(found: SustainableRate, truth: f64) -> String {
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    let SustainableRate { low, rate, high } = found;
    let error =
        rate.map_or(String::new(), |rate| format!("{:+.1} %", 100.0 * (rate / truth - 1.0)));
    format!("{:>6} {:>6} {:>6} {error}", number(low), number(rate), number(high))
}

fn print_cost() {
    let (estimate, request) = (estimate_cost() * 1e3, request_cost() * 1e6);
    println!("{estimate:.1} ms for an estimate, {request:.2} us for a request");
}

/// Replaces the part of the page between two markers.
fn between(page: &str, part: &str) -> String {
    let (begin, end) = ("<!-- capacity: begin -->\n", "<!-- capacity: end -->");
    let (before, rest) = page.split_once(begin).expect("a begin marker");
    let (_, after) = rest.split_once(end).expect("an end marker");
    format!("{before}{begin}{part}{end}{after}")
}

/// Seconds for an estimate of one class.
fn estimate_cost() -> f64 {
    let server = servers().pop().expect("there are servers");
    let (mut estimator, last) = server.observe(LoadShape::DayAbove, 1);
    let entry = estimator.arrive(last);
    estimator.finish(entry, last, &[(server.slos[0].name.into(), SloVerdict::Met)]);
    let evidence = estimator.evidence_if_due(Duration::MAX).expect("it is due");
    let began = Instant::now();
    let classes = evidence.sustainable_rates().len();
    began.elapsed().as_secs_f64() / classes as f64
}

/// Seconds for the arrival and the end of a request, with the verdict of one class.
fn request_cost() -> f64 {
    const REQUESTS: u32 = 1_000_000;
    let verdicts = [("chat".into(), SloVerdict::Met)];
    let mut estimator = CapacityEstimator::default();
    let mut open = VecDeque::new();
    let began = Instant::now();
    for i in 0..REQUESTS {
        let at = Duration::from_millis(u64::from(i) * 20);
        open.push_back(estimator.arrive(at));
        // Between 1 and 64 in flight.
        while open.len() > 1 + (i as usize / 1000) % 64 {
            let entry = open.pop_front().expect("some are open");
            estimator.finish(entry, at + Duration::from_millis(15), &verdicts);
        }
    }
    began.elapsed().as_secs_f64() / f64::from(REQUESTS)
}
