//! `streamgauge demo`: a live demonstration that checks its own numbers.
//!
//! A simulated inference server, the real proxy and open-loop traffic run in one process. A live table shows the
//! numbers that Prometheus would scrape: every one of them comes from `/metrics` over HTTP. At the end, a summary
//! compares the measured numbers with the simulated server's own record.
//!
//! | module | responsibility |
//! |---|---|
//! | `setup` | starts and stops the server, the proxy and the traffic |
//! | `scrape` | fetches `/metrics` and parses the text format |
//! | `quantile` | `histogram_quantile` over buckets |
//! | `rates` | rates over the last seconds |
//! | `live` | turns scrapes into the lines of the live table |
//! | `totals` | the totals of one model, measured or true |
//! | `truth` | the true totals of all models |
//! | `summary` | compares measured and true totals |
//! | `table` | aligns columns and formats numbers |
//! | `terminal` | draws on the terminal, or prints to a pipe |

mod live;
mod quantile;
mod rates;
mod scrape;
mod setup;
mod summary;
mod table;
mod terminal;
mod totals;
mod truth;

use crate::app::AppError;
use crate::cli::DemoArgs;
use crate::config::ConfigError;
use crate::signals::StopSignals;
use live::LiveView;
use rates::ScrapeWindow;
use scrape::{Scrape, ScrapeError};
use setup::DemoSetup;
use std::io;
use std::time::Duration;
use terminal::Terminal;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use truth::TruthTotals;

/// Highest accepted `--rate`. Beyond it, the simulated server becomes the bottleneck.
const MAX_RATE: f64 = 1000.0;
/// Time between two scrapes.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two printed tables when standard output is not a terminal.
const TICKS_PER_PRINT: u32 = 5;
/// Longest wait at the end for both sides to have recorded every request.
const SETTLE: Duration = Duration::from_secs(10);

/// Why the demo cannot start, or stopped early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// `--rate` is out of range.
    #[error("--rate {0} is out of range: give requests per second, from 0 to {MAX_RATE}")]
    Rate(f64),
    /// An address cannot be bound.
    #[error("{0}; port 0 picks any free port")]
    Bind(#[source] AppError),
    /// An address cannot be parsed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The proxy failed.
    #[error(transparent)]
    App(AppError),
    /// The admin port did not return metrics.
    #[error("cannot scrape the admin port: {0}")]
    Scrape(#[from] ScrapeError),
    /// A thread, a socket or the terminal failed.
    #[error("the demo failed: {0}")]
    Io(#[from] io::Error),
    /// A component of the demo ended unexpectedly.
    #[error("the demo's {0} stopped unexpectedly")]
    Stopped(&'static str),
    /// A second signal arrived before the summary.
    #[error("stopped without a summary")]
    Interrupted,
}

/// Runs the demo until Ctrl-C or the end of `--seconds`, then prints the summary.
///
/// # Errors
/// If an address cannot be bound, or a component fails.
pub fn run(args: &DemoArgs) -> Result<(), DemoError> {
    if !(0.0..=MAX_RATE).contains(&args.rate) {
        return Err(DemoError::Rate(args.rate));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        let mut setup = DemoSetup::start(args).await?;
        let mut terminal = Terminal::of_stdout();
        let mut truth = TruthTotals::default();
        let start = Instant::now();
        show_live_table(args, &mut setup, &mut terminal, &mut truth, &mut stop).await?;
        let ran = start.elapsed();
        terminal
            .print("\nStopping: no new requests; requests still open in a second are cut.\n")?;
        tokio::select! {
            finished = finish(&mut setup, &mut truth) => {
                let (scrape, clients) = finished?;
                terminal.print(&summary::lines(ran, &scrape, &truth, &clients).join("\n"))?;
            }
            () = stop.next() => return Err(DemoError::Interrupted),
        }
        setup.stop().await
    })
}

/// Redraws the table each second, until a stop signal or the end of `--seconds`.
async fn show_live_table(
    args: &DemoArgs,
    setup: &mut DemoSetup,
    terminal: &mut Terminal,
    truth: &mut TruthTotals,
    stop: &mut StopSignals,
) -> Result<(), DemoError> {
    let view = LiveView::new(setup.proxy(), setup.admin());
    if !terminal.is_live() {
        terminal.print(&view.introduction().join("\n"))?;
    }
    let end = async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let start = Instant::now();
    let mut window = ScrapeWindow::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut end => break,
            () = stop.next() => break,
            failed = setup.failed() => return Err(failed),
        }
        let scrape = Scrape::fetch(setup.admin()).await?;
        truth.add(&setup.truth().take());
        window.push(Instant::now(), scrape);
        if terminal.is_live() || tick > 0 && tick.is_multiple_of(TICKS_PER_PRINT) {
            terminal.draw(&view.lines(start.elapsed(), &window, truth, terminal.size()))?;
        }
    }
    Ok(())
}

/// Stops the traffic and waits until both sides have recorded the same number of requests. The summary shows a
/// difference that remains after [`SETTLE`].
async fn finish(
    setup: &mut DemoSetup,
    truth: &mut TruthTotals,
) -> Result<(Scrape, String), DemoError> {
    let clients = setup.stop_traffic().await?;
    let deadline = Instant::now() + SETTLE;
    loop {
        let scrape = Scrape::fetch(setup.admin()).await?;
        truth.add(&setup.truth().take());
        let has_settled = scrape.sum(live::IN_FLIGHT, &[]) == 0.0
            && totals::measured_requests(&scrape) == truth.requests();
        if has_settled || Instant::now() >= deadline {
            return Ok((scrape, clients));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
