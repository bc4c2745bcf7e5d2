//! Accuracy of the estimated queue wait, on simulated servers with virtual time.
//!
//! `cargo bench --bench queue_wait` writes the tables and plots of `docs/queue-wait.md`, and prints the table of the
//! scenarios with all columns. `cargo bench --bench queue_wait -- scenarios` runs only the scenarios, and `-- only NAME`
//! prints those with this part in their names. Results are seeded and the same on every machine, except for the cost,
//! which `-- cost` measures alone.

#[path = "queue_wait/cell.rs"]
mod cell;
#[path = "queue_wait/plot.rs"]
mod plot;
#[path = "queue_wait/scenario/mod.rs"]
mod scenario;

use cell::{
    EngineBehaviour, EvalCell, EvalRequest, EvalWaits, TrueTimes, capacity, is_within, run,
    run_behind, summary, watch,
};
use scenario::Scenario;
use scenario::figures::ScenarioFigures;
use scenario::step_server::StepServer;
use scenario::table;
use scenario::traffic::{RequestSource, ScenarioRequest};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use streamgauge_core::meter::queue::{QueueEstimator, ServedRequest};
use strum::VariantArray;

const SEEDS: u64 = 5;
const SLOTS: [usize; 3] = [1, 4, 16];
const UTILISATIONS: [f64; 5] = [0.2, 0.5, 0.8, 0.9, 0.95];

fn main() {
    if std::env::args().any(|arg| arg == "cost") {
        println!("{:.1} us a request, in the estimator", cost().as_secs_f64() * 1e6);
        return;
    }
    let name = std::env::args().skip_while(|arg| arg != "only").nth(1);
    let scenarios = judged_scenarios(name.as_deref().unwrap_or_default());
    print!("{}", table::all_columns(&scenarios));
    if name.is_some() {
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = docs.join("queue-wait.md");
    let old = std::fs::read_to_string(&page).expect("docs/queue-wait.md");
    let new = between(&old, "scenarios", &table::by_class(&scenarios));
    if std::env::args().any(|arg| arg == "scenarios") {
        std::fs::write(&page, new).expect("docs/queue-wait.md");
        return;
    }
    let new = between(&new, "simulated", &simulated());
    let new = between(&new, "batching", &other("batching", in_steps));
    let new = between(&new, "front end", &other("front end", behind_a_front_end));
    std::fs::write(&page, new).expect("docs/queue-wait.md");
    for slots in SLOTS {
        let cell = EvalCell {
            slots,
            utilisation: 0.8,
            is_bursty: true,
            behaviour: EngineBehaviour::All,
            reports_usage: false,
            seed: 1,
        };
        let title =
            format!("Slots: {slots}, utilisation 0.8, bursty, hidden hits, chunked prefill");
        let file = docs.join(format!("plots/queue-wait-{slots}.svg"));
        std::fs::write(file, plot::scatter(&title, &run(&cell))).expect("a plot");
    }
    let title = "Steps: at most 8 requests at a time, utilisation 0.8, bursty";
    let file = docs.join("plots/queue-wait-steps.svg");
    std::fs::write(file, plot::scatter(title, &in_steps(8, 0.8, true, 1))).expect("a plot");
    println!("{:.1} us a request, in the estimator", cost().as_secs_f64() * 1e6);
}

/// Replaces the part of the page between two markers.
fn between(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin).expect("a begin marker");
    let (_, after) = rest.split_once(&end).expect("an end marker");
    format!("{before}{begin}{part}{end}{after}")
}

const HEAD: &str = "mean, true | mean, estimated | p95, true | p95, estimated | lower bounds | slots found | within |\n";

/// Rows of a table, and the number of runs within the tolerance. A row is within it if its runs taken together are.
#[derive(Default)]
struct AccuracyTable {
    rows: String,
    runs: usize,
    runs_within: usize,
    count: usize,
    within: usize,
}

impl AccuracyTable {
    /// Adds a row with the means over several runs.
    fn row(&mut self, what: &str, runs: &[EvalWaits]) {
        let within = runs.iter().filter(|waits| is_within(waits)).count();
        let together = EvalWaits {
            truth: runs.iter().flat_map(|waits| &waits.truth).copied().collect(),
            estimate: runs.iter().flat_map(|waits| &waits.estimate).copied().collect(),
            missing: runs.iter().map(|waits| waits.missing).sum(),
            withdrawn: runs.iter().map(|waits| waits.withdrawn).sum(),
            slots: None,
        };
        self.runs += runs.len();
        self.runs_within += within;
        self.count += 1;
        self.within += usize::from(is_within(&together));
        let _ = writeln!(self.rows, "{} {within} of {} |", means(what, runs), runs.len());
    }

    fn under(self, name: &str, head: &str) -> String {
        let Self { rows, runs, runs_within, count, within } = self;
        println!(
            "{name}: {runs_within} of {runs} runs within the tolerance, {within} of {count} rows"
        );
        let columns = head.matches('|').count() + HEAD.matches('|').count() - 1;
        format!(
            "{runs_within} of {runs} runs are within the tolerance, and {within} of {count} rows if the requests of \
             all their runs are taken together.\nMilliseconds:\n\n{head}{HEAD}|{}\n{rows}",
            "---|".repeat(columns),
        )
    }
}

/// Columns of a row: the means over several runs, in milliseconds.
fn means(what: &str, runs: &[EvalWaits]) -> String {
    let mean =
        |of: fn(&EvalWaits) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64 * 1e3;
    let found: BTreeSet<Option<usize>> = runs.iter().map(|waits| waits.slots).collect();
    let found: Vec<String> = found
        .iter()
        .map(|slots| slots.map_or_else(|| "none".into(), |slots| slots.to_string()))
        .collect();
    format!(
        "| {what} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} % | {} |",
        mean(|waits| summary(&waits.truth).0),
        mean(|waits| summary(&waits.estimate).0),
        mean(|waits| summary(&waits.truth).1),
        mean(|waits| summary(&waits.estimate).1),
        mean(|waits| waits.withdrawn as f64 / (waits.withdrawn + waits.truth.len()) as f64) / 10.0,
        found.join(", "),
    )
}

fn arrivals(is_bursty: bool) -> &'static str {
    if is_bursty { "bursty" } else { "Poisson" }
}

fn simulated() -> String {
    let mut table = AccuracyTable::default();
    for slots in SLOTS {
        for utilisation in UTILISATIONS {
            for is_bursty in [false, true] {
                for &behaviour in EngineBehaviour::VARIANTS {
                    let of = |reports_usage, seed| EvalCell {
                        slots,
                        utilisation,
                        is_bursty,
                        behaviour,
                        reports_usage,
                        seed,
                    };
                    let seeds = (1..=SEEDS).flat_map(|seed| [of(true, seed), of(false, seed)]);
                    let runs: Vec<EvalWaits> = seeds.map(|cell| run(&cell)).collect();
                    let what = format!(
                        "{slots} | {utilisation} | {} | {}",
                        arrivals(is_bursty),
                        behaviour.label()
                    );
                    table.row(&what, &runs);
                }
            }
        }
    }
    table.under("simulated", "| slots | utilisation | arrivals | server | ")
}

/// A cell of the tables for other kinds of servers.
fn plain(slots: usize, utilisation: f64, is_bursty: bool, seed: u64) -> EvalCell {
    let reports_usage = seed.is_multiple_of(2);
    EvalCell {
        slots,
        utilisation,
        is_bursty,
        behaviour: EngineBehaviour::Plain,
        reports_usage,
        seed,
    }
}

fn in_steps(most_running: usize, utilisation: f64, is_bursty: bool, seed: u64) -> EvalWaits {
    let server = StepServer { most_running, budget: 2048, base: 0.012, per_token: 40e-6 };
    let serve = |requests: &[EvalRequest]| -> Vec<TrueTimes> {
        let truth = server.serve(SentRequests(requests.iter().copied().collect()), seed);
        let times = truth.iter().filter_map(|one| {
            Some(TrueTimes { start: one.start?, first: one.first?, finish: one.finish? })
        });
        times.collect()
    };
    let cell = plain(most_running, utilisation, is_bursty, seed);
    let requests = cell.traffic(capacity(serve, seed));
    watch(&requests, &serve(&requests), cell.reports_usage, seed)
}

/// Requests of a cell.
struct SentRequests(VecDeque<EvalRequest>);

impl RequestSource for SentRequests {
    fn next_at(&self) -> Option<f64> {
        self.0.front().map(|next| next.at)
    }

    fn send(&mut self) -> Option<ScenarioRequest> {
        let EvalRequest { at, bytes, prompt, output } = self.0.pop_front()?;
        Some(ScenarioRequest {
            at,
            bytes,
            prompt,
            uncached: prompt,
            output,
            is_streamed: true,
            gives_up_at: None,
            model: 0,
            is_seen: true,
            is_urgent: false,
        })
    }

    fn client_is_done(&mut self, _at: f64) {}
}

fn behind_a_front_end(slots: usize, utilisation: f64, is_bursty: bool, seed: u64) -> EvalWaits {
    run_behind(&plain(slots, utilisation, is_bursty, seed), 0.01, 0.01)
}

fn other(name: &str, run: fn(usize, f64, bool, u64) -> EvalWaits) -> String {
    let mut table = AccuracyTable::default();
    for slots in [2, 8, 16] {
        for utilisation in UTILISATIONS {
            for is_bursty in [false, true] {
                let of = |seed| run(slots, utilisation, is_bursty, seed);
                let runs: Vec<EvalWaits> = (1..=SEEDS).map(of).collect();
                let what = format!("{slots} | {utilisation} | {}", arrivals(is_bursty));
                table.row(&what, &runs);
            }
        }
    }
    table.under(name, "| at most | utilisation | arrivals | ")
}

/// Figures of all scenarios with this part in their names.
fn judged_scenarios(name: &str) -> Vec<(Scenario, ScenarioFigures)> {
    let judge = |one: Scenario| {
        let runs: Vec<_> = (1..=SEEDS).map(|seed| one.run(seed)).collect();
        let figures = ScenarioFigures::of(&one, &runs);
        (one, figures)
    };
    let all = scenario::all().into_iter();
    all.filter(|one| one.name.contains(name)).map(judge).collect()
}

/// CPU time of the estimator for each request, including all fits.
fn cost() -> Duration {
    const REQUESTS: u32 = 20_000;
    let mut estimator = QueueEstimator::default();
    let mut open = VecDeque::new();
    let began = Instant::now();
    for i in 0..REQUESTS {
        let at = Duration::from_millis(u64::from(i) * 20);
        open.push_back(estimator.arrive(at, 1000 + u64::from(i % 97) * 50, true));
        if open.len() > 20 {
            let mut entry = open.pop_front().expect("some are open");
            estimator.first_output(&mut entry, at + Duration::from_millis(5));
            let served = ServedRequest { prompt_tokens: None, is_warm: true };
            estimator.finish(entry, at + Duration::from_millis(15), Some(served));
        }
    }
    began.elapsed() / REQUESTS
}
