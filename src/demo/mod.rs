//! `streamgauge demo`: shows the gauge at work, and whether it tells the truth.
//!
//! A simulated inference server, the real app in front of it and open-loop traffic run side by side.
//! A live table shows what Prometheus would see: every number comes from `/metrics` by HTTP. At the
//! end a summary sets what was measured beside the sender's own record of what it did.
//!
//! | part | what it is |
//! |---|---|
//! | `stage` | starts and stops the server, the app and the traffic |
//! | `scrape` | `/metrics` by HTTP, and the text format |
//! | `quantile` | `histogram_quantile` over buckets |
//! | `window` | rates over the last seconds |
//! | `view` | from scrapes to the lines of the live table |
//! | `account` | the sums of one model, measured or true |
//! | `ledger` | the true sums of all models |
//! | `summary` | measured beside true |
//! | `table` | aligned text |
//! | `screen` | the terminal |

mod account;
mod ledger;
mod quantile;
mod scrape;
mod screen;
mod stage;
mod summary;
mod table;
mod view;
mod window;

use crate::app::AppError;
use crate::cli::DemoArgs;
use crate::config::ConfigError;
use ledger::Ledger;
use scrape::{Scrape, ScrapeError};
use screen::Screen;
use stage::Stage;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use view::View;
use window::Window;

/// Most requests per second: beyond, the simulated server itself is what is measured.
const MAX_RATE: f64 = 1000.0;
/// Time between two scrapes.
const TICK: Duration = Duration::from_secs(1);
/// Where output is no terminal, only every so manieth table is printed.
const TICKS_PER_PRINT: u32 = 5;
/// How long to wait, at the end, until nothing is in flight and both sides know of every request.
const SETTLE: Duration = Duration::from_secs(10);

/// Why the demo cannot run, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// `--rate` is no rate.
    #[error("--rate {0}: requests per second, from 0 to {MAX_RATE}")]
    Rate(f64),
    /// An address is taken, or not ours.
    #[error("{source}; {flag} takes another address, and 127.0.0.1:0 any port that is free")]
    Bind {
        /// The flag that names the address.
        flag: &'static str,
        /// What went wrong.
        source: AppError,
    },
    /// An address is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The proxy stopped or could not start.
    #[error(transparent)]
    App(AppError),
    /// The admin port did not answer as it should.
    #[error("cannot scrape the admin port: {0}")]
    Scrape(#[from] ScrapeError),
    /// A thread, a socket or the terminal failed.
    #[error("the demo cannot go on: {0}")]
    Io(#[from] io::Error),
    /// A part of the demo ended that should not have.
    #[error("the demo's {0} has stopped by itself")]
    Stopped(&'static str),
    /// Told twice to stop.
    #[error("stopped without a summary")]
    Interrupted,
}

/// Runs the demo until Ctrl-C or the end of `--seconds`, and then prints the summary.
///
/// # Errors
/// If an address is taken, or a part of it fails.
pub fn run(args: &DemoArgs) -> Result<(), DemoError> {
    if !(0.0..=MAX_RATE).contains(&args.rate) {
        return Err(DemoError::Rate(args.rate));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        let mut stage = Stage::start(args).await?;
        let mut screen = Screen::of_stdout();
        let mut ledger = Ledger::default();
        let start = Instant::now();
        watch(args, &mut stage, &mut screen, &mut ledger, &mut stop).await?;
        let ran = start.elapsed();
        screen.note("\nEnding: no new requests; those that are open in a second are cut.\n")?;
        tokio::select! {
            ended = end(&mut stage, &mut ledger) => {
                let (scrape, clients) = ended?;
                screen.note(&summary::lines(ran, &scrape, &ledger, &clients).join("\n"))?;
            }
            () = stop.told() => return Err(DemoError::Interrupted),
        }
        stage.stop().await
    })
}

/// Redraws the table each second, until told to stop or the time is over.
async fn watch(
    args: &DemoArgs,
    stage: &mut Stage,
    screen: &mut Screen,
    ledger: &mut Ledger,
    stop: &mut StopSignals,
) -> Result<(), DemoError> {
    let view = View::new(stage.proxy(), stage.admin());
    if !screen.is_live() {
        screen.note(&view.introduction().join("\n"))?;
    }
    let over = async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let start = Instant::now();
    let mut window = Window::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut over => break,
            () = stop.told() => break,
            failed = stage.failed() => return Err(failed),
        }
        let scrape = Scrape::of(stage.admin()).await?;
        ledger.absorb(&stage.truth().take());
        window.push(Instant::now(), scrape);
        if screen.is_live() || tick > 0 && tick.is_multiple_of(TICKS_PER_PRINT) {
            screen.draw(&view.lines(start.elapsed(), &window, ledger, screen.is_live()))?;
        }
    }
    Ok(())
}

/// Stops the traffic and waits until both sides have the same requests behind them. What is still
/// amiss after a while is for the summary to show.
async fn end(stage: &mut Stage, ledger: &mut Ledger) -> Result<(Scrape, String), DemoError> {
    let clients = stage.stop_traffic().await?;
    let deadline = Instant::now() + SETTLE;
    loop {
        let scrape = Scrape::of(stage.admin()).await?;
        ledger.absorb(&stage.truth().take());
        let settled = scrape.sum(view::IN_FLIGHT, &[]) == 0.0
            && account::measured_requests(&scrape) == ledger.requests();
        if settled || Instant::now() >= deadline {
            return Ok((scrape, clients));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Ctrl-C and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Ready at the next of them.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
