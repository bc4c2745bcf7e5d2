//! Accuracy of Streamgauge: compares its request log with the records of client and server.
//!
//! The client records when it wrote each request, the server when it wrote each token: an instant before the system call
//! and one after it. The proxy runs with kernel timestamps and with the program's clock, undisturbed and stopped half of
//! the time. Some streams go directly from the server to the client, whose kernel timestamps them: their errors are those
//! of the method.

mod client;
mod compare;
mod kernel_timestamp;
mod report;
mod time_span;

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

use self::client::{StreamShape, StreamTruth, TruthClient};
use self::compare::{ComparedLine, NumberError};
use self::report::TruthRun;
use crate::args::RoleArgs;
use crate::clock::{self, now};
use crate::core_affinity::{self, CorePlan};
use crate::process::MeasuredProcess;
use crate::running_contestant::{RunningContestant, free_address};
use crate::{BoxError, admin_client, idle_cores, signals};

/// Time for which the proxy is stopped, and then runs.
const STOPPED: Duration = Duration::from_millis(50);
const RUNNING: Duration = Duration::from_millis(50);
/// Number of streams through the proxy per direct stream.
const DIRECT: u64 = 4;
/// Number of lines that the proxy keeps.
const KEPT: f64 = 1000.0;
/// Maximum delay of a stream, and of its line in the log.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum wait for idle cores before a run.
const UNTIL_IDLE: Duration = Duration::from_secs(20);
/// Movement of the wall clock in nanoseconds that counts as a change of the clock.
const WALL_MOVED: u64 = 20_000;

/// Disturbance of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyState {
    /// None.
    Idle,
    /// The proxy is stopped for half of the time.
    Stopped,
}

impl ProxyState {
    /// Name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Stopped => "stopped",
        }
    }
}

/// Options of the role `truth`.
#[derive(Debug)]
pub struct TruthOptions {
    /// Path of the Streamgauge binary.
    streamgauge: PathBuf,
    /// Concurrent streams through the proxy.
    pub streams: u64,
    /// Tokens of each stream.
    pub shape: StreamShape,
    /// Duration of each run.
    pub seconds: f64,
    /// Cores for pinning; `None` disables it.
    pub cores: Option<CorePlan>,
    json: Option<PathBuf>,
}

impl TruthOptions {
    fn parse(words: Vec<String>) -> Result<Self, BoxError> {
        let known = ["streamgauge", "streams", "rate", "tokens", "seconds", "cores", "json"];
        let args = RoleArgs::parse(words, &known, &[])?;
        let options = Self {
            streamgauge: args.required("streamgauge")?,
            streams: args.number("streams", 40.0, 1.0, 1000.0)? as u64,
            shape: StreamShape {
                tokens: args.number("tokens", 12.0, 2.0, 1000.0)? as u64,
                rate: args.number("rate", 30.0, 0.1, 1000.0)?,
            },
            seconds: args.number("seconds", 10.0, 0.5, 600.0)?,
            cores: CorePlan::from_args(&args)?,
            json: args.optional("json")?,
        };
        let lines = options.lines();
        if lines > KEPT {
            return Err(format!(
                "a run has about {lines:.0} streams, but the proxy keeps only the last {KEPT} lines of its log: \
                 reduce --streams or --seconds, or increase --tokens"
            )
            .into());
        }
        Ok(options)
    }

    /// Returns the approximate number of streams of a run.
    fn lines(&self) -> f64 {
        let each = self.shape.length() + (STOPPED + RUNNING).as_secs_f64() / 2.0;
        self.streams as f64 * (self.seconds / each + 1.0)
    }

    /// Returns the maximum duration of a stream.
    fn longest(&self) -> Duration {
        PATIENCE + Duration::from_secs_f64(self.shape.length())
    }
}

/// Runs the role `truth`.
pub async fn role(words: Vec<String>) -> Result<(), BoxError> {
    let options = TruthOptions::parse(words)?;
    signals::run_until_signal(measure_all(&options)).await
}

async fn measure_all(options: &TruthOptions) -> Result<(), BoxError> {
    if let Some(cores) = options.cores {
        core_affinity::pin(cores.load)?;
    }
    let server = RunningContestant::start_server(options.cores.map(|cores| cores.server)).await?;
    let mut runs = Vec::new();
    for clock in ["kernel", "program"] {
        for state in [ProxyState::Idle, ProxyState::Stopped] {
            if let Some(cores) = options.cores
                && !idle_cores::wait_until_idle(cores, UNTIL_IDLE).await
            {
                println!("{clock}, {}: other processes are busy on these cores.", state.name());
            }
            runs.push(measure_run(options, server.target, clock, state).await?);
        }
    }
    println!("{}", report::markdown(&runs, options));
    if let Some(path) = &options.json {
        let text = format!("{}\n", report::json(&runs, options));
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

async fn measure_run(
    options: &TruthOptions,
    server: SocketAddr,
    clock: &'static str,
    state: ProxyState,
) -> Result<TruthRun, BoxError> {
    let (proxy, target, admin) = start(options, server, clock).await?;
    let ahead = kernel_timestamp::wall_ahead();
    let (through, direct) = tokio::select! {
        truths = run_clients(options, target, server) => truths?,
        error = stop_half_the_time(&proxy), if state == ProxyState::Stopped => return Err(error.unwrap_err()),
    };
    proxy.signal(Signal::SIGCONT)?;
    let moved = kernel_timestamp::wall_ahead().abs_diff(ahead);
    if moved > WALL_MOVED {
        let moved = moved / 1000;
        return Err(
            format!("the wall clock changed by {moved} us during the run: run it again").into()
        );
    }
    let lines = read_log(admin, through.len()).await?;
    let instrument = direct.values().flat_map(|truth| {
        let tokens = truth.received.iter().filter_map(|(&at, stamp)| {
            let truth = truth.tokens.get(at)?;
            Some(NumberError::new(stamp.saturating_sub(ahead), *truth))
        });
        tokens.collect::<Vec<_>>()
    });
    Ok(TruthRun {
        clock,
        state,
        lines: lines
            .iter()
            .map(|line| ComparedLine::compare(line, &through, clock))
            .collect::<Result<_, _>>()?,
        instrument: instrument.collect(),
    })
}

/// Starts Streamgauge; returns the process, its address, and the address of its log.
async fn start(
    options: &TruthOptions,
    server: SocketAddr,
    clock: &str,
) -> Result<(MeasuredProcess, SocketAddr, SocketAddr), BoxError> {
    let (target, admin) = (free_address()?, free_address()?);
    let mut command = Command::new(&options.streamgauge);
    command
        .args(["--listen", &target.to_string(), "--upstream", &format!("http://{server}")])
        .args(["--admin", &admin.to_string(), "--workers", "1", "--log-level", "warn"])
        .env("STREAMGAUGE__CLOCK", clock)
        .env("STREAMGAUGE__LAME_DUCK_SECONDS", "0");
    let core = options.cores.map(|cores| cores.proxy);
    Ok((MeasuredProcess::start(command, core, target).await?, target, admin))
}

/// Stops the proxy for half of the time until dropped.
async fn stop_half_the_time(proxy: &MeasuredProcess) -> Result<Infallible, BoxError> {
    loop {
        proxy.signal(Signal::SIGSTOP)?;
        sleep(STOPPED).await;
        proxy.signal(Signal::SIGCONT)?;
        sleep(RUNNING).await;
    }
}

/// Truths by trace id.
type TruthsByTrace = HashMap<u64, StreamTruth>;

/// Runs the load; returns the truths of the streams through `proxy` and of the direct streams.
async fn run_clients(
    options: &TruthOptions,
    proxy: SocketAddr,
    server: SocketAddr,
) -> Result<(TruthsByTrace, TruthsByTrace), BoxError> {
    let until = now() + clock::seconds(options.seconds);
    let (shape, longest) = (options.shape, options.longest());
    // A trace id must not be 0.
    let next = Rc::new(Cell::new(1));
    let (through, direct) =
        (Rc::<RefCell<TruthsByTrace>>::default(), Rc::<RefCell<TruthsByTrace>>::default());
    let tasks = LocalSet::new();
    let mut clients = JoinSet::new();
    for number in 0..options.streams + options.streams.div_ceil(DIRECT) {
        let (target, truths) = if number < options.streams {
            (proxy, Rc::clone(&through))
        } else {
            (server, Rc::clone(&direct))
        };
        let next = Rc::clone(&next);
        let connection = async move {
            let mut client = TruthClient::connect(target).await?;
            while now() < until {
                let id = next.replace(next.get() + 1);
                sleep(pause(id)).await;
                let stream = timeout(longest, client.run_stream(id, shape)).await;
                let truth = stream.map_err(|_| "a stream took too long")??;
                truths.borrow_mut().insert(id, truth);
            }
            Ok::<(), BoxError>(())
        };
        clients.spawn_local_on(connection, &tasks);
    }
    tasks
        .run_until(async {
            while let Some(ended) = clients.join_next().await {
                ended??;
            }
            Ok::<(), BoxError>(())
        })
        .await?;
    Ok((through.take(), direct.take()))
}

/// Returns the pause of a client before a stream. A response can end only while the proxy runs; without pauses, no request
/// would arrive while it is stopped. Multiples of the golden ratio are evenly spread.
fn pause(id: u64) -> Duration {
    (STOPPED + RUNNING).mul_f64((id as f64 * 0.618_033_988_749_895).fract())
}

/// Waits until the log has this number of lines, and returns it.
async fn read_log(admin: SocketAddr, lines: usize) -> Result<Vec<Value>, BoxError> {
    let until = now() + clock::nanos(PATIENCE);
    loop {
        let text = admin_client::get(admin, &format!("/requests?last={lines}")).await?;
        let records = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        if records.len() == lines {
            return Ok(records);
        }
        if now() > until {
            return Err(format!("{} lines in the log of {lines} streams", records.len()).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
