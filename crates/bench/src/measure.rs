//! One measurement: freshly started contestants, each with its own load.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::admin_client::{MeterCounts, counts};
use crate::contestant::Contestant;
use crate::idle_cores::{self, IDLE_SHARE};
use crate::load_process::LoadProcess;
use crate::options::RunOptions;
use crate::running_contestant::RunningContestant;
use crate::traffic::ConnectionReuse;
use crate::{BoxError, clock};

/// Time between the start of the load generator and its first connection, in seconds.
const LEAD: f64 = 0.3;
/// Options of the load generator for the first streams, one after the other on one connection.
const FIRST: [&str; 10] =
    ["--streams", "1", "--rate", "100", "--tokens", "4", "--seconds", "0.2", "--warmup", "0.1"];
/// Options of the load generator for the short responses of a check, without `--churn`.
const CHECK: [&str; 6] = ["--streams", "4", "--seconds", "0.2", "--warmup", "0.1"];
/// Maximum delay of the load generator, which gives up by itself earlier.
const PATIENCE: Duration = Duration::from_secs(30);

/// Result of one measurement of one contestant.
#[derive(Debug)]
pub struct MeasurementSample {
    /// The contestant.
    pub contestant: Contestant,
    /// Round, from 0.
    pub round: usize,
    /// Report of the load generator for the window.
    pub load: Value,
    /// Reports for the time before the window: the first streams, and short responses of a check.
    pub setup_loads: Vec<Value>,
    /// CPU time of the proxy per token, or per request with churn, in microseconds.
    pub cpu_us: Option<f64>,
    /// Completed requests per second in the window, with churn.
    pub requests_per_second: Option<f64>,
    /// Resident memory of the proxy after its first streams, in MiB.
    pub base_mib: Option<f64>,
    /// Resident memory of the proxy per open stream, in KiB.
    pub kib_per_stream: Option<f64>,
    /// CPU time of the proxy as a share of one core.
    pub proxy_core: Option<f64>,
    /// Busy share of the load generator's core.
    pub load_core: Option<f64>,
    /// Share of the proxy's or the load generator's core that other processes used, whichever is greater.
    pub foreign: Option<f64>,
    /// Counts of the contestant's own metrics, and the true counts.
    pub metered: Option<(MeterCounts, MeterCounts)>,
}

impl MeasurementSample {
    /// Number of incomplete responses.
    pub fn errors(&self) -> u64 {
        self.loads().map(errors).fold(0, u64::saturating_add)
    }

    /// Whether other processes used so much of the cores that the times are unreliable.
    pub fn is_disturbed(&self) -> bool {
        self.foreign.is_some_and(|share| share > IDLE_SHARE)
    }

    /// Returns the fault, if tokens were lost or the metrics are wrong.
    pub fn fault(&self) -> Option<String> {
        let name = self.contestant.name();
        for load in self.loads() {
            let (tokens, expected) = (&load["tokens"], &load["expected_tokens"]);
            if errors(load) > 0 || tokens != expected || *tokens == Value::Null {
                let failures = &load["failures"];
                return Some(format!("{name}: {tokens} of {expected} tokens arrived; {failures}"));
            }
        }
        let (reported, counted) = self.metered.filter(|(reported, counted)| reported != counted)?;
        Some(format!("{name}: its metrics report {reported}; the load generator counted {counted}"))
    }

    /// Returns the counts of all loads.
    pub fn true_counts(&self) -> MeterCounts {
        let sum = |key| self.loads().filter_map(|load| load[key].as_u64()).sum();
        MeterCounts { requests: sum("requests"), tokens: sum("tokens") }
    }

    fn loads(&self) -> impl Iterator<Item = &Value> {
        self.setup_loads.iter().chain([&self.load])
    }
}

/// A report without this number means that the load generator failed.
fn errors(load: &Value) -> u64 {
    load["errors"].as_u64().unwrap_or(u64::MAX)
}

/// Resource usage at one end of a window. Times are in nanoseconds.
struct UsageReading {
    at: u64,
    /// CPU time of each proxy.
    proxies: Vec<Option<u64>>,
    /// CPU time of the benchmark's processes on the load generator's core.
    load: u64,
    /// Busy time of the two cores.
    proxy_core: Option<u64>,
    load_core: Option<u64>,
}

impl UsageReading {
    fn read(
        options: &RunOptions,
        proxies: &[RunningContestant],
        server: &RunningContestant,
        clients: &[LoadProcess],
    ) -> Result<Self, BoxError> {
        let beside = options.cores.is_none_or(|cores| cores.server == cores.load);
        let mut load = if beside { server.cpu()?.unwrap_or(0) } else { 0 };
        for client in clients {
            load += client.cpu()?;
        }
        Ok(Self {
            at: clock::now(),
            proxies: proxies.iter().map(RunningContestant::cpu).collect::<Result<_, _>>()?,
            load,
            proxy_core: options.cores.and_then(|cores| idle_cores::busy_time(cores.proxy)),
            load_core: options.cores.and_then(|cores| idle_cores::busy_time(cores.load)),
        })
    }

    /// Returns the growth of a time since `before` as a share of the elapsed time.
    fn share(&self, before: &Self, time: impl Fn(&Self) -> Option<u64>) -> Option<f64> {
        let spent = time(self)?.saturating_sub(time(before)?);
        Some(spent as f64 / self.at.saturating_sub(before.at) as f64)
    }

    /// Returns the share of other processes since `before`, on the core where it is greater.
    fn foreign(&self, before: &Self) -> Option<f64> {
        let proxies = self.share(before, |reading| Some(reading.proxies.iter().flatten().sum()))?;
        let load = self.share(before, |reading| Some(reading.load))?;
        let on_proxy = self.share(before, |reading| reading.proxy_core).map(|busy| busy - proxies);
        let on_load = self.share(before, |reading| reading.load_core).map(|busy| busy - load);
        on_proxy.into_iter().chain(on_load).reduce(f64::max).map(|share| share.max(0.0))
    }
}

/// Measures `contestants` in front of `server`, all at once and each with its own load.
pub async fn measure(
    options: &RunOptions,
    contestants: &[Contestant],
    round: usize,
    server: &RunningContestant,
) -> Result<Vec<MeasurementSample>, BoxError> {
    let (mut proxies, mut bases, mut setup_loads, mut clients) = (vec![], vec![], vec![], vec![]);
    for &contestant in contestants {
        let proxy = RunningContestant::start(contestant, server.target, options)
            .await
            .map_err(|error| format!("{}: {error}", contestant.name()))?;
        // Memory allocated at the first request does not count as memory of streams.
        let mut reports = vec![run_load(proxy.target, &FIRST, None).await?];
        bases.push(proxy.rss_kib()?);
        if options.check {
            for churn in [ConnectionReuse::New, ConnectionReuse::Kept] {
                reports.push(run_load(proxy.target, &CHECK, Some(churn)).await?);
            }
        }
        setup_loads.push(reports);
        proxies.push(proxy);
    }

    let from = clock::now() + clock::seconds(LEAD + options.warmup);
    let until = from + clock::seconds(options.seconds);
    for proxy in &proxies {
        clients.push(LoadProcess::start(proxy.target, options.load_args(from))?);
    }
    clock::sleep_until(from).await;
    let begin = UsageReading::read(options, &proxies, server, &clients)?;
    clock::sleep_until(until).await;
    let end = UsageReading::read(options, &proxies, server, &clients)?;
    // All streams are still open.
    let loaded: Vec<_> =
        proxies.iter().map(RunningContestant::rss_kib).collect::<Result<_, _>>()?;

    let mut samples = Vec::new();
    for (at, (client, setup_loads)) in clients.into_iter().zip(setup_loads).enumerate() {
        let load = client.report(PATIENCE + Duration::from_secs_f64(options.longest())).await?;
        let unit = if options.churn.is_some() { "window_requests" } else { "window_tokens" };
        let per_second = load[unit].as_f64().map(|count| count / options.seconds);
        let proxy_core = end.share(&begin, |reading| reading.proxies[at]);
        let grown = loaded[at].zip(bases[at]).map(|(loaded, base)| loaded as f64 - base as f64);
        let mut sample = MeasurementSample {
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
            setup_loads,
            load,
        };
        if let Some(admin) = proxies[at].admin {
            // The metrics may not include the last streams yet.
            sleep(Duration::from_millis(200)).await;
            sample.metered = Some((counts(admin).await?, sample.true_counts()));
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// Runs a small load before the window.
async fn run_load(
    target: SocketAddr,
    args: &[&str],
    churn: Option<ConnectionReuse>,
) -> Result<Value, BoxError> {
    let churn = churn.iter().flat_map(|churn| ["--churn", churn.name()]);
    LoadProcess::start(target, args.iter().copied().chain(churn))?.report(PATIENCE).await
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// A sample with this CPU time and nothing else.
    pub fn sample(contestant: Contestant, round: usize, cpu_us: Option<f64>) -> MeasurementSample {
        MeasurementSample {
            contestant,
            round,
            load: Value::Null,
            setup_loads: Vec::new(),
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
    fn lost_or_uncounted_tokens_are_faults() {
        let whole = json!({"requests": 2, "tokens": 9, "expected_tokens": 9, "errors": 0});
        let lost = json!({"requests": 2, "tokens": 8, "expected_tokens": 9, "errors": 0});
        let wrong = json!({"requests": 2, "tokens": 9, "expected_tokens": 9, "errors": 1});
        let with = |before: &Value, load: &Value| MeasurementSample {
            setup_loads: vec![before.clone()],
            load: load.clone(),
            ..sample(Contestant::Streamgauge, 0, None)
        };
        let right = with(&whole, &whole);
        assert_eq!(right.fault(), None);
        assert_eq!(right.true_counts(), MeterCounts { requests: 4, tokens: 18 });
        for bad in [&lost, &wrong, &Value::Null] {
            assert!(with(bad, &whole).fault().is_some(), "{bad}");
            assert!(with(&whole, bad).fault().is_some(), "{bad}");
        }
        let reported = |requests| Some((MeterCounts { requests, tokens: 18 }, right.true_counts()));
        assert_eq!(
            MeasurementSample { metered: reported(4), ..with(&whole, &whole) }.fault(),
            None
        );
        assert!(
            MeasurementSample { metered: reported(3), ..with(&whole, &whole) }.fault().is_some()
        );
    }
}
