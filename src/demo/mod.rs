//! `streamgauge demo`: a live demonstration that checks its own numbers.
//!
//! A simulated inference server, the real proxy and open-loop traffic run in one process. The view of `streamgauge top`
//! shows them: every number comes from the admin port over HTTP. At the end, a summary compares the measured numbers with
//! the simulated server's own record.
//!
//! | module | responsibility |
//! |---|---|
//! | `setup` | starts and stops the server, the proxy and the traffic |
//! | `scrape` | fetches `/metrics` and parses the text format |
//! | `totals` | the totals of one model, measured or true |
//! | `truth` | the true totals of all models |
//! | `summary` | compares measured and true totals |
//! | `table` | aligns columns and formats numbers |

mod scrape;
mod setup;
mod summary;
mod table;
mod totals;
mod truth;

use crate::admin_client::{AdminClient, AdminClientError, AdminUrl, CertificateTrust};
use crate::app::AppError;
use crate::cli::DemoArgs;
use crate::config::ConfigError;
use crate::signals::StopSignals;
use crate::top::{self, TopError};
use scrape::Scrape;
use setup::DemoSetup;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use truth::TruthTotals;

/// Highest accepted `--rate`. Beyond it, the simulated server becomes the bottleneck.
const MAX_RATE: f64 = 1000.0;
/// Time between two readings of the simulated server's record, which is bounded.
const TICK: Duration = Duration::from_secs(1);
/// Time between two printed screens when standard output is not a terminal.
const PRINT_INTERVAL: Duration = Duration::from_secs(5);
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
    Scrape(#[from] AdminClientError),
    /// The live view failed.
    #[error(transparent)]
    Top(#[from] TopError),
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
        let mut client =
            AdminClient::new(AdminUrl::of_listener(setup.admin(), false), &CertificateTrust::Any)?;
        let mut truth = TruthTotals::default();
        let start = Instant::now();
        show_live_view(args, &mut setup, &mut truth, &mut stop).await?;
        let ran = start.elapsed();
        print("\nStopping: no new requests; requests still open in a second are cut.\n")?;
        tokio::select! {
            finished = finish(&mut setup, &mut client, &mut truth) => {
                let (scrape, clients) = finished?;
                print(&summary::lines(ran, &scrape, &truth, &clients).join("\n"))?;
            }
            () = stop.next() => return Err(DemoError::Interrupted),
        }
        setup.stop().await
    })
}

/// Shows the view of `streamgauge top` until it ends, or until a stop signal or the end of `--seconds`. Without a
/// terminal, prints it as text.
async fn show_live_view(
    args: &DemoArgs,
    setup: &mut DemoSetup,
    truth: &mut TruthTotals,
    stop: &mut StopSignals,
) -> Result<(), DemoError> {
    let end = async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let stopped = async {
        tokio::select! {
            () = end => {}
            () = stop.next() => {}
        }
    };
    let (proxy, admin) = (setup.proxy(), AdminUrl::of_listener(setup.admin(), false));
    let records = setup.truth().clone();
    let drained = async {
        loop {
            sleep(TICK).await;
            truth.add(&records.take());
        }
    };
    tokio::select! {
        ended = show(proxy, &admin, stopped) => ended,
        () = drained => Ok(()),
        failed = setup.failed() => Err(failed),
    }
}

async fn show(
    proxy: SocketAddr,
    admin: &AdminUrl,
    stopped: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    if top::is_terminal() {
        let client = AdminClient::new(admin.clone(), &CertificateTrust::Any)?;
        let note =
            format!("Demo of http://{proxy}. q stops it and prints measured and true numbers.");
        return Ok(top::watch_live(client, Some(note), stopped).await?);
    }
    print(&introduction(proxy, admin))?;
    tokio::select! {
        printed = print_screens(admin) => printed,
        () = stopped => Ok(()),
    }
}

/// Prints models, events and slow requests at regular intervals.
async fn print_screens(admin: &AdminUrl) -> Result<(), DemoError> {
    loop {
        sleep(PRINT_INTERVAL).await;
        let client = AdminClient::new(admin.clone(), &CertificateTrust::Any)?;
        print(&format!("\n{}", top::report(client).await?.trim_end()))?;
    }
}

/// The addresses, and a request to try.
fn introduction(proxy: SocketAddr, admin: &AdminUrl) -> String {
    [
        "Streamgauge demo: traffic -> proxy -> simulated inference server".to_owned(),
        format!("  proxy  http://{proxy}"),
        format!("  page   {admin}/"),
        format!("  admin  {admin}/metrics"),
        format!("  try    curl -N http://{proxy}/v1/chat/completions \\"),
        r#"           -d '{"model": "phi-4-mini", "stream": true, "max_tokens": 40}'"#.to_owned(),
        "Ctrl-C stops the demo and prints measured and true numbers.".to_owned(),
    ]
    .join("\n")
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Stops the traffic and waits until both sides have recorded the same number of requests. The summary shows a
/// difference that remains after [`SETTLE`].
async fn finish(
    setup: &mut DemoSetup,
    client: &mut AdminClient,
    truth: &mut TruthTotals,
) -> Result<(Scrape, String), DemoError> {
    let clients = setup.stop_traffic().await?;
    let deadline = Instant::now() + SETTLE;
    loop {
        let scrape = Scrape::fetch(client).await?;
        truth.add(&setup.truth().take());
        let has_settled = scrape.sum(totals::IN_FLIGHT, &[]) == 0.0
            && totals::measured_requests(&scrape) == truth.requests();
        if has_settled || Instant::now() >= deadline {
            return Ok((scrape, clients));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
