//! One measurement: one contestant, or all of them together, started afresh, under one load each.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::churn::Churn;
use crate::contestant::{Contestant, Running, this_binary};
use crate::options::Options;
use crate::process::cpu_of;
use crate::quiet::{self, QUIET};
use crate::scrape::{Counts, counts};
use crate::{Error, clock};

/// Between the start of the load client and its first connection, seconds.
const LEAD: f64 = 0.3;
/// The load client's options for the very first streams, one after the other on one connection.
const FIRST: [&str; 10] =
    ["--streams", "1", "--rate", "100", "--tokens", "4", "--seconds", "0.2", "--warmup", "0.1"];
/// Its options for the short answers of a check, but for the kind of churn.
const CHECK: [&str; 6] = ["--streams", "4", "--seconds", "0.2", "--warmup", "0.1"];
/// Beyond its plan, the load client may take so long; it gives up by itself before.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one measurement found.
#[derive(Debug)]
pub struct Sample {
    /// Of whom.
    pub contestant: Contestant,
    /// In which round, from 0.
    pub round: usize,
    /// The load client's report of the window.
    pub load: Value,
    /// Those of what went through before: the first streams, and in a check short answers.
    pub before: Vec<Value>,
    /// Processor time of the proxy for each token, or with churn for each request, microseconds.
    pub cpu_us: Option<f64>,
    /// Requests a second whose answers were complete in the window; with churn.
    pub requests_per_second: Option<f64>,
    /// Resident memory of the proxy after its first streams, MiB.
    pub base_mib: Option<f64>,
    /// Resident memory of the proxy for each open stream, KiB.
    pub kib_per_stream: Option<f64>,
    /// Processor time of the proxy, as a share of one core.
    pub proxy_core: Option<f64>,
    /// The share of the load client's core that was busy.
    pub load_core: Option<f64>,
    /// The share that somebody else had of the proxy's cores or of the load client's, whichever is more.
    pub foreign: Option<f64>,
    /// What the contestant's own metrics told, and what went through it.
    pub metered: Option<(Counts, Counts)>,
}

impl Sample {
    /// Responses that did not come whole.
    pub fn errors(&self) -> u64 {
        self.loads().map(errors).fold(0, u64::saturating_add)
    }

    /// Whether somebody else had so much of our cores that its times are not to be trusted.
    pub fn is_disturbed(&self) -> bool {
        self.foreign.is_some_and(|share| share > QUIET)
    }

    /// What is wrong with it: something was lost, or the meter did not see all.
    pub fn fault(&self) -> Option<String> {
        let name = self.contestant.name();
        for load in self.loads() {
            let (tokens, expected) = (&load["tokens"], &load["expected_tokens"]);
            if errors(load) > 0 || tokens != expected || *tokens == Value::Null {
                let failures = &load["failures"];
                return Some(format!("{name}: {tokens} of {expected} tokens came; {failures}"));
            }
        }
        let (told, passed) = self.metered.filter(|(told, passed)| told != passed)?;
        Some(format!("{name}: its metrics tell {told}; {passed} went through it"))
    }

    /// What went through, all told.
    pub fn passed(&self) -> Counts {
        let sum = |key| self.loads().filter_map(|load| load[key].as_u64()).sum();
        Counts { requests: sum("requests"), tokens: sum("tokens") }
    }

    fn loads(&self) -> impl Iterator<Item = &Value> {
        self.before.iter().chain([&self.load])
    }
}

/// A report without the number is of a load client that failed.
fn errors(load: &Value) -> u64 {
    load["errors"].as_u64().unwrap_or(u64::MAX)
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
    fn share(&self, before: &Self, time: impl Fn(&Self) -> Option<u64>) -> Option<f64> {
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
    let (mut proxies, mut bases, mut befores, mut clients) = (vec![], vec![], vec![], vec![]);
    for &contestant in contestants {
        let proxy = Running::start(contestant, server.target, options)
            .await
            .map_err(|error| format!("{}: {error}", contestant.name()))?;
        // What a proxy sets up at its first request is not memory of the streams.
        let mut before = vec![first(proxy.target, &FIRST, None).await?];
        bases.push(proxy.rss_kib()?);
        if options.check {
            for churn in [Churn::New, Churn::Kept] {
                before.push(first(proxy.target, &CHECK, Some(churn)).await?);
            }
        }
        befores.push(before);
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
    for (at, (client, before)) in clients.into_iter().zip(befores).enumerate() {
        let patience = PATIENCE + Duration::from_secs_f64(options.longest());
        let output = timeout(patience, client.wait_with_output()).await;
        let load = json(&output.map_err(|_| "the load client does not end")??.stdout)?;
        let unit = if options.churn.is_some() { "window_requests" } else { "window_tokens" };
        let per_second = load[unit].as_f64().map(|count| count / options.seconds);
        let proxy_core = end.share(&begin, |reading| reading.proxies[at]);
        let grown = loaded[at].zip(bases[at]).map(|(loaded, base)| loaded as f64 - base as f64);
        let mut sample = Sample {
            contestant: contestants[at],
            round,
            cpu_us: proxy_core
                .zip(per_second.filter(|per_second| *per_second > 0.0))
                .map(|(share, per_second)| share * 1e6 / per_second),
            requests_per_second: per_second.filter(|_| options.churn.is_some()),
            base_mib: bases[at].map(|kib| kib as f64 / 1024.0),
            kib_per_stream: grown
                .filter(|_| options.churn.is_none())
                .map(|grown| grown / options.streams as f64),
            proxy_core,
            load_core: end.share(&begin, |reading| reading.load_core),
            foreign: end.foreign(&begin),
            metered: None,
            before,
            load,
        };
        if let Some(admin) = proxies[at].admin {
            // The ends of the last streams may still be on their way into the metrics.
            sleep(Duration::from_millis(200)).await;
            sample.metered = Some((counts(admin).await?, sample.passed()));
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// A small load for its own sake, before the window.
async fn first(target: SocketAddr, args: &[&str], churn: Option<Churn>) -> Result<Value, Error> {
    let mut command = load(target, args)?;
    if let Some(churn) = churn {
        command.args(["--churn", churn.name()]);
    }
    json(&command.spawn()?.wait_with_output().await?.stdout)
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A sample with this processor time and nothing else.
    pub fn sample(contestant: Contestant, round: usize, cpu_us: Option<f64>) -> Sample {
        Sample {
            contestant,
            round,
            load: Value::Null,
            before: Vec::new(),
            cpu_us,
            requests_per_second: None,
            base_mib: None,
            kib_per_stream: None,
            proxy_core: None,
            load_core: None,
            foreign: None,
            metered: None,
        }
    }

    #[test]
    fn what_is_lost_or_not_counted_is_a_fault() {
        let whole = json!({"requests": 2, "tokens": 9, "expected_tokens": 9, "errors": 0});
        let lost = json!({"requests": 2, "tokens": 8, "expected_tokens": 9, "errors": 0});
        let wrong = json!({"requests": 2, "tokens": 9, "expected_tokens": 9, "errors": 1});
        let with = |before: &Value, load: &Value| Sample {
            before: vec![before.clone()],
            load: load.clone(),
            ..sample(Contestant::Streamgauge, 0, None)
        };
        let right = with(&whole, &whole);
        assert_eq!(right.fault(), None);
        assert_eq!(right.passed(), Counts { requests: 4, tokens: 18 });
        for bad in [&lost, &wrong, &Value::Null] {
            assert!(with(bad, &whole).fault().is_some(), "{bad}");
            assert!(with(&whole, bad).fault().is_some(), "{bad}");
        }
        let told = |requests| Some((Counts { requests, tokens: 18 }, right.passed()));
        assert_eq!(Sample { metered: told(4), ..with(&whole, &whole) }.fault(), None);
        assert!(Sample { metered: told(3), ..with(&whole, &whole) }.fault().is_some());
    }
}
