//! How exact Streamgauge's numbers are: its request log next to what those who sent know.
//!
//! The client keeps when it wrote each request, the server when it wrote each token, and both what they can
//! know: an instant before the system call and one after. The proxy runs with the kernel's clock and with its own,
//! left alone and stopped half of the time. Beside it some streams go directly from the server to the client,
//! whose kernel stamps what it receives: these errors are the instrument's own.

mod compare;
mod report;
mod span;
mod stamp;
mod witness;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use self::compare::{Deviation, Line};
use self::report::Run;
use self::witness::{Shape, Truth, Witness};
use crate::args::Args;
use crate::clock::{self, now};
use crate::contestant::{Running, free_address};
use crate::pin::{self, Cores};
use crate::process::Process;
use crate::{Error, quiet, scrape, signals};

/// How long the proxy is stopped, and how long it runs then.
const STOPPED: Duration = Duration::from_millis(50);
const RUNNING: Duration = Duration::from_millis(50);
/// For so many streams through the proxy one goes directly.
const DIRECT: u64 = 4;
/// Lines that the proxy keeps.
const KEPT: f64 = 1000.0;
/// How much longer than planned a stream may last, and how long a line may take to be in the log.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a run waits for quiet.
const UNTIL_QUIET: Duration = Duration::from_secs(20);
/// The wall's clock was set if it moved more than this, nanoseconds.
const WALL_MOVED: u64 = 20_000;

/// What is done to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Idle,
    /// It is stopped for half of the time.
    Stopped,
}

impl State {
    /// As it stands in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Stopped => "stopped",
        }
    }
}

/// What is to be run.
#[derive(Debug)]
pub struct Options {
    /// The binary of Streamgauge.
    streamgauge: PathBuf,
    /// Streams open at a time through it.
    pub streams: u64,
    /// Of each of them.
    pub shape: Shape,
    /// How long streams are asked for, in each run.
    pub seconds: f64,
    /// `None`: nothing is pinned.
    pub cores: Option<Cores>,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(words: Vec<String>) -> Result<Self, Error> {
        let known = ["streamgauge", "streams", "rate", "tokens", "seconds", "cores", "json"];
        let args = Args::parse(words, &known, &[])?;
        let options = Self {
            streamgauge: args.required("streamgauge")?,
            streams: args.number("streams", 40.0, 1.0, 1000.0)? as u64,
            shape: Shape {
                tokens: args.number("tokens", 12.0, 2.0, 1000.0)? as u64,
                rate: args.number("rate", 30.0, 0.1, 1000.0)?,
            },
            seconds: args.number("seconds", 10.0, 0.5, 600.0)?,
            cores: Cores::of(&args)?,
            json: args.optional("json")?,
        };
        let lines = options.lines();
        if lines > KEPT {
            return Err(format!(
                "about {lines:.0} streams a run, and the proxy keeps the last {KEPT} lines of its log: \
                 fewer --streams or --seconds, or more --tokens"
            )
            .into());
        }
        Ok(options)
    }

    /// How many streams a run has, about.
    fn lines(&self) -> f64 {
        let each = self.shape.length() + (STOPPED + RUNNING).as_secs_f64() / 2.0;
        self.streams as f64 * (self.seconds / each + 1.0)
    }

    /// How long a stream may last.
    fn longest(&self) -> Duration {
        PATIENCE + Duration::from_secs_f64(self.shape.length())
    }
}

/// The role `truth`.
pub async fn role(words: Vec<String>) -> Result<(), Error> {
    let options = Options::parse(words)?;
    signals::unless_ended(all(&options)).await
}

async fn all(options: &Options) -> Result<(), Error> {
    if let Some(cores) = options.cores {
        pin::pin(cores.load)?;
    }
    let server = Running::server(options.cores.map(|cores| cores.server)).await?;
    let mut runs = Vec::new();
    for clock in ["kernel", "program"] {
        for state in [State::Idle, State::Stopped] {
            if let Some(cores) = options.cores
                && !quiet::wait(cores, UNTIL_QUIET).await
            {
                println!("{clock}, {}: others are busy on these cores.", state.name());
            }
            runs.push(run(options, server.target, clock, state).await?);
        }
    }
    println!("{}", report::markdown(&runs, options));
    if let Some(path) = &options.json {
        let text = format!("{}\n", report::json(&runs, options));
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

async fn run(
    options: &Options,
    server: SocketAddr,
    clock: &'static str,
    state: State,
) -> Result<Run, Error> {
    let (proxy, target, admin) = start(options, server, clock).await?;
    let ahead = stamp::wall_ahead();
    let (through, direct) = tokio::select! {
        truths = witnesses(options, target, server) => truths?,
        error = stop_and_go(&proxy), if state == State::Stopped => return Err(error.unwrap_err()),
    };
    proxy.signal(Signal::SIGCONT)?;
    let moved = stamp::wall_ahead().abs_diff(ahead);
    if moved > WALL_MOVED {
        let moved = moved / 1000;
        return Err(
            format!("the wall's clock was set by {moved} us meanwhile: run it again").into()
        );
    }
    let lines = log(admin, through.len()).await?;
    let instrument = direct.values().flat_map(|truth| {
        let tokens = truth.received.iter().filter_map(|(&at, stamp)| {
            let truth = truth.tokens.get(at)?;
            Some(Deviation::of(stamp.saturating_sub(ahead), *truth))
        });
        tokens.collect::<Vec<_>>()
    });
    Ok(Run {
        clock,
        state,
        lines: lines
            .iter()
            .map(|line| Line::of(line, &through, clock))
            .collect::<Result<_, _>>()?,
        instrument: instrument.collect(),
    })
}

/// Starts Streamgauge: it, where it listens, and where its log is.
async fn start(
    options: &Options,
    server: SocketAddr,
    clock: &str,
) -> Result<(Process, SocketAddr, SocketAddr), Error> {
    let (target, admin) = (free_address()?, free_address()?);
    let mut command = Command::new(&options.streamgauge);
    command
        .args(["--listen", &target.to_string(), "--upstream", &format!("http://{server}")])
        .args(["--admin", &admin.to_string(), "--workers", "1", "--log-level", "warn"])
        .env("STREAMGAUGE__CLOCK", clock);
    let core = options.cores.map(|cores| cores.proxy);
    Ok((Process::start(command, core, target).await?, target, admin))
}

/// Stops the proxy for half of the time, until this is dropped.
async fn stop_and_go(proxy: &Process) -> Result<Infallible, Error> {
    loop {
        proxy.signal(Signal::SIGSTOP)?;
        sleep(STOPPED).await;
        proxy.signal(Signal::SIGCONT)?;
        sleep(RUNNING).await;
    }
}

/// By the id of the trace.
type Truths = HashMap<u64, Truth>;

/// What was true of all streams through `proxy`, and of those beside it.
async fn witnesses(
    options: &Options,
    proxy: SocketAddr,
    server: SocketAddr,
) -> Result<(Truths, Truths), Error> {
    let until = now() + clock::seconds(options.seconds);
    let (shape, longest) = (options.shape, options.longest());
    // A trace's id must not be 0.
    let next = Rc::new(Cell::new(1));
    let (through, direct) = (Rc::<RefCell<Truths>>::default(), Rc::<RefCell<Truths>>::default());
    let tasks = LocalSet::new();
    let mut witnesses = JoinSet::new();
    for number in 0..options.streams + options.streams.div_ceil(DIRECT) {
        let (target, truths) = if number < options.streams {
            (proxy, Rc::clone(&through))
        } else {
            (server, Rc::clone(&direct))
        };
        let next = Rc::clone(&next);
        let connection = async move {
            let mut witness = Witness::connect(target).await?;
            while now() < until {
                let id = next.replace(next.get() + 1);
                sleep(pause(id)).await;
                let stream = timeout(longest, witness.stream(id, shape)).await;
                let truth = stream.map_err(|_| "a stream took too long")??;
                truths.borrow_mut().insert(id, truth);
            }
            Ok::<(), Error>(())
        };
        witnesses.spawn_local_on(connection, &tasks);
    }
    tasks
        .run_until(async {
            while let Some(ended) = witnesses.join_next().await {
                ended??;
            }
            Ok::<(), Error>(())
        })
        .await?;
    Ok((through.take(), direct.take()))
}

/// What a client waits before a stream. A response ends while the proxy runs: without it, no request would
/// come while it is stopped. Multiples of the golden ratio are evenly spread over the time of a stop.
fn pause(id: u64) -> Duration {
    (STOPPED + RUNNING).mul_f64((id as f64 * 0.618_033_988_749_895).fract())
}

/// The log, once it has so many lines.
async fn log(admin: SocketAddr, lines: usize) -> Result<Vec<Value>, Error> {
    let until = now() + clock::nanos(PATIENCE);
    loop {
        let text = scrape::get(admin, &format!("/requests?last={lines}")).await?;
        let found = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        if found.len() == lines {
            return Ok(found);
        }
        if now() > until {
            return Err(format!("{} lines in the log of {lines} streams", found.len()).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
