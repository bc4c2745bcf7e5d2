//! One measurement: one contestant, or all of them together, started afresh, under one load each.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::contestant::{Contestant, Running, this_binary};
use crate::process::cpu_of;
use crate::quiet::{self, QUIET};
use crate::run::Options;
use crate::scrape::output_tokens;
use crate::{Error, clock};

/// Between the start of the load client and its first connection.
const LEAD: f64 = 0.3;
/// The load client's options for the very first stream.
const FIRST: [&str; 10] =
    ["--streams", "1", "--rate", "100", "--tokens", "4", "--seconds", "0.2", "--warmup", "0.1"];
/// Beyond its plan, the load client may take so long; it gives up by itself before.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one measurement found.
#[derive(Debug)]
pub struct Sample {
    /// Of whom.
    pub contestant: Contestant,
    /// In which round, from 0.
    pub round: usize,
    /// The load client's report.
    pub load: Value,
    /// Processor time of the proxy for each token, microseconds.
    pub cpu_us_per_token: Option<f64>,
    /// Resident memory of the proxy for each open stream, KiB.
    pub kib_per_stream: Option<f64>,
    /// The share that somebody else had of the proxy's core or of the load client's, whichever is more.
    pub foreign: Option<f64>,
    /// The share of the load client's core that was busy.
    pub load_core: Option<f64>,
    /// Tokens that the contestant's own metrics told, and tokens that went through it.
    pub metered: Option<(u64, u64)>,
}

impl Sample {
    /// A latency from the server's write to the client's read, microseconds.
    pub fn latency(&self, quantile: &str) -> Option<f64> {
        self.load["latency_us"][quantile].as_f64()
    }

    /// Streams that did not come whole.
    pub fn errors(&self) -> u64 {
        self.load["errors"].as_u64().unwrap_or(u64::MAX)
    }

    /// Whether somebody else had so much of our cores that its times are not to be trusted.
    pub fn is_disturbed(&self) -> bool {
        self.foreign.is_some_and(|share| share > QUIET)
    }

    /// What is wrong with it: something was lost, or the meter did not see all.
    pub fn fault(&self) -> Option<String> {
        let name = self.contestant.name();
        let (tokens, expected) = (&self.load["tokens"], &self.load["expected_tokens"]);
        if self.errors() > 0 || tokens != expected || *tokens == Value::Null {
            let failures = &self.load["failures"];
            return Some(format!("{name}: {tokens} of {expected} tokens came; {failures}"));
        }
        let (told, passed) = self.metered.filter(|(told, passed)| told != passed)?;
        Some(format!("{name}: its metrics tell {told} output tokens; {passed} went through it"))
    }
}

/// What is read at both ends of a window. Times are nanoseconds.
struct Reading {
    at: u64,
    /// Processor time of each proxy.
    proxies: Vec<Option<u64>>,
    /// Processor time of what we have on the load clients' core.
    load: u64,
    /// How long the two cores were busy.
    proxy_core: Option<u64>,
    load_core: Option<u64>,
}

impl Reading {
    fn take(
        options: &Options,
        proxies: &[Running],
        server: &Running,
        clients: &[Child],
    ) -> Result<Self, Error> {
        let beside = options.cores.is_none_or(|cores| cores.server == cores.load);
        let mut load = if beside { server.cpu()?.unwrap_or(0) } else { 0 };
        for client in clients {
            let pid = client.id().and_then(|pid| i32::try_from(pid).ok());
            load += cpu_of(Pid::from_raw(pid.ok_or("a load client ended early")?))?;
        }
        Ok(Self {
            at: clock::now(),
            proxies: proxies.iter().map(Running::cpu).collect::<Result<_, _>>()?,
            load,
            proxy_core: options.cores.and_then(|cores| quiet::busy(cores.proxy)),
            load_core: options.cores.and_then(|cores| quiet::busy(cores.load)),
        })
    }

    /// What of the time since `before` a count of nanoseconds took.
    fn share(&self, before: &Self, time: fn(&Self) -> Option<u64>) -> Option<f64> {
        let spent = time(self)?.saturating_sub(time(before)?);
        Some(spent as f64 / self.at.saturating_sub(before.at) as f64)
    }

    /// The share that others had since `before`, of the core where they had more.
    fn foreign(&self, before: &Self) -> Option<f64> {
        let proxies = self.share(before, |reading| Some(reading.proxies.iter().flatten().sum()))?;
        let load = self.share(before, |reading| Some(reading.load))?;
        let on_proxy = self.share(before, |reading| reading.proxy_core).map(|busy| busy - proxies);
        let on_load = self.share(before, |reading| reading.load_core).map(|busy| busy - load);
        on_proxy.into_iter().chain(on_load).reduce(f64::max).map(|share| share.max(0.0))
    }
}

/// Measures `contestants` in front of `server`, all at once and each with a load of its own.
pub async fn measure(
    options: &Options,
    contestants: &[Contestant],
    round: usize,
    server: &Running,
) -> Result<Vec<Sample>, Error> {
    let core = options.cores.map(|cores| cores.proxy);
    let path = options.streamgauge.as_deref();
    let (mut proxies, mut firsts, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    for &contestant in contestants {
        let proxy = Running::start(contestant, server.target, core, path)
            .await
            .map_err(|error| format!("{}: {error}", contestant.name()))?;
        // What a proxy sets up at its first request is not memory of the streams.
        let first = load(proxy.target, &FIRST)?.spawn()?.wait_with_output().await?;
        firsts.push((json(&first.stdout)?, proxy.rss_kib()?));
        proxies.push(proxy);
    }

    let from = clock::now() + clock::seconds(LEAD + options.warmup);
    let until = from + clock::seconds(options.seconds);
    for proxy in &proxies {
        clients.push(load(proxy.target, &options.load_args(from))?.spawn()?);
    }
    clock::sleep_until(from).await;
    let begin = Reading::take(options, &proxies, server, &clients)?;
    clock::sleep_until(until).await;
    let end = Reading::take(options, &proxies, server, &clients)?;
    // All streams are still open.
    let loaded: Vec<_> = proxies.iter().map(Running::rss_kib).collect::<Result<_, _>>()?;

    let mut samples = Vec::new();
    for (at, client) in clients.into_iter().enumerate() {
        let patience = PATIENCE + Duration::from_secs_f64(options.longest());
        let output = timeout(patience, client.wait_with_output()).await;
        let load = json(&output.map_err(|_| "the load client does not end")??.stdout)?;
        let (first, idle) = &firsts[at];
        let passed = [first, &load].iter().filter_map(|load| load["tokens"].as_u64()).sum();
        let spent = end.proxies[at].zip(begin.proxies[at]).map(|(end, begin)| end - begin);
        let tokens = load["window_tokens"].as_f64().filter(|tokens| *tokens > 0.0);
        let grown = loaded[at].zip(*idle).map(|(loaded, idle)| loaded as f64 - idle as f64);
        samples.push(Sample {
            contestant: contestants[at],
            round,
            cpu_us_per_token: spent.zip(tokens).map(|(spent, tokens)| spent as f64 / 1e3 / tokens),
            kib_per_stream: grown.map(|grown| grown / options.streams as f64),
            foreign: end.foreign(&begin),
            load_core: end.share(&begin, |reading| reading.load_core),
            metered: metered(&proxies[at], passed).await?,
            load,
        });
    }
    Ok(samples)
}

/// What the contestant's own metrics tell, next to the tokens that `passed` through it.
async fn metered(proxy: &Running, passed: u64) -> Result<Option<(u64, u64)>, Error> {
    let Some(admin) = proxy.admin else {
        return Ok(None);
    };
    // The ends of the last streams may still be on their way into the metrics.
    sleep(Duration::from_millis(200)).await;
    Ok(Some((output_tokens(admin).await?, passed)))
}

fn load(target: SocketAddr, args: &[impl AsRef<OsStr>]) -> Result<Command, Error> {
    let mut command = Command::from(this_binary()?);
    command.arg("load").arg("--target").arg(target.to_string()).args(args);
    command.stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

fn json(line: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(line).map_err(|error| format!("the load client failed: {error}").into())
}
