//! The load generator: opens streams or requests short responses, and sums up results and latencies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::args::RoleArgs;
use crate::churn::{self, ConnectionReuse};
use crate::client::{FailureReason, connection};
use crate::emit::SendPattern;
use crate::stats::quantile;
use crate::{BoxError, clock};

/// Maximum number of recorded latencies.
const SAMPLE_LIMIT: usize = 16 << 20;
/// Time in nanoseconds for which streams continue after the window, so that all are open at its end.
const RUN_ON: u64 = 500_000_000;

/// The load to send.
#[derive(Debug)]
pub struct LoadPlan {
    /// Address of the proxy, or of the server.
    pub target: SocketAddr,
    /// Start of the measured window, on [`clock::now`].
    pub from: u64,
    /// End of the measured window.
    pub until: u64,
    warmup: u64,
    /// Number of concurrent connections.
    pub streams: u64,
    rate: f64,
    /// Tokens of a stream; 0 lasts to the end of the window.
    tokens: u64,
    pattern: SendPattern,
}

impl LoadPlan {
    /// Returns when connection `number` opens: evenly spread over the first half of the warm-up.
    pub fn opens(&self, number: u64) -> u64 {
        self.from - self.warmup + self.warmup / 2 * number / self.streams
    }

    /// Returns the time between two tokens of a stream.
    pub fn period(&self) -> u64 {
        clock::seconds(1.0 / self.rate)
    }

    /// Returns the tokens of each stream of a connection that opens at `opens`.
    pub fn tokens_each(&self, opens: u64) -> u64 {
        match self.tokens {
            // One more, because the first token is sent at once.
            0 => (self.until + RUN_ON - opens).div_ceil(self.period()) + 1,
            tokens => tokens,
        }
    }

    /// Returns the bytes of a request.
    pub fn request(&self, tokens: u64) -> Vec<u8> {
        let body = json!({
            "model": "bench/model-8b",
            "messages": [{"role": "user", "content": "What does it cost?"}],
            "stream": true,
            "stream_options": {"include_usage": true},
            "tokens": tokens,
            "rate": self.rate,
            "pattern": self.pattern.name(),
        })
        .to_string();
        let (target, length) = (self.target, body.len());
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\naccept: text/event-stream\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Totals of all connections. Times are in nanoseconds.
#[derive(Debug, Default)]
pub struct LoadTotals {
    requests: u64,
    expected: u64,
    tokens: u64,
    /// Body bytes, without HTTP framing.
    pub bytes: u64,
    window_tokens: u64,
    window_requests: u64,
    latencies: Vec<u64>,
    heads: Vec<u64>,
    firsts: Vec<u64>,
    /// When the current stream was requested; `None` after its first token.
    asked: Option<u64>,
    failures: BTreeMap<FailureReason, u64>,
}

impl LoadTotals {
    /// Counts a request for this number of tokens.
    pub fn begin(&mut self, tokens: u64) {
        self.requests += 1;
        self.expected += tokens;
    }

    /// Records the time from a request to its response headers.
    pub fn head(&mut self, after: u64) {
        self.heads.push(after);
    }

    /// Marks the next [`token`](Self::token) as the first of a stream requested at `asked`.
    pub fn first_from(&mut self, asked: u64) {
        self.asked = Some(asked);
    }

    /// Records a token that was sent at `sent` and received at `at`.
    pub fn token(&mut self, plan: &LoadPlan, sent: u64, at: u64) {
        self.tokens += 1;
        if let Some(asked) = self.asked.take() {
            self.firsts.push(at.saturating_sub(asked));
        }
        if (plan.from..plan.until).contains(&at) {
            self.window_tokens += 1;
            if self.latencies.len() < SAMPLE_LIMIT {
                self.latencies.push(at.saturating_sub(sent));
            }
        }
    }

    /// Records a complete short response with these numbers of tokens and bytes.
    pub fn answer(&mut self, tokens: u64, bytes: u64) {
        self.tokens += tokens;
        self.bytes += bytes;
    }

    /// Records a response that was complete at `at`.
    pub fn end(&mut self, plan: &LoadPlan, at: u64) {
        self.window_requests += u64::from((plan.from..plan.until).contains(&at));
    }

    /// Records a failed response.
    pub fn fail(&mut self, failure: FailureReason) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Returns the report as JSON.
    pub fn report(mut self) -> Value {
        json!({
            "requests": self.requests,
            "tokens": self.tokens,
            "expected_tokens": self.expected,
            "bytes": self.bytes,
            "window_tokens": self.window_tokens,
            "window_requests": self.window_requests,
            "latency_us": quantiles(&mut self.latencies),
            "head_us": quantiles(&mut self.heads),
            "first_token_us": quantiles(&mut self.firsts),
            "errors": self.failures.values().sum::<u64>(),
            "failures": self.failures,
        })
    }
}

fn quantiles(nanos: &mut [u64]) -> Value {
    nanos.sort_unstable();
    let at = |q| quantile(nanos, q).map(|nanos| nanos as f64 / 1e3);
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)})
}

/// Runs the role `load`.
pub async fn role(words: Vec<String>) -> Result<(), BoxError> {
    let options = [
        "target", "streams", "rate", "seconds", "warmup", "tokens", "pattern", "start-at", "churn",
    ];
    let args = RoleArgs::parse(words, &options, &[])?;
    let warmup = clock::seconds(args.number("warmup", 1.0, 0.0, 3600.0)?);
    let from = args.or("start-at", clock::now() + warmup)?;
    let plan = LoadPlan {
        target: args.required("target")?,
        from,
        until: from + clock::seconds(args.number("seconds", 5.0, 0.1, 3600.0)?),
        warmup,
        streams: args.number("streams", 100.0, 1.0, 100_000.0)? as u64,
        rate: args.number("rate", 20.0, 0.1, 10_000.0)?,
        tokens: args.or("tokens", 0)?,
        pattern: args.or("pattern", SendPattern::Spread)?,
    };
    println!("{}", load(plan, args.optional("churn")?).await);
    Ok(())
}

/// Runs short requests with `churn`, otherwise streams.
async fn load(plan: LoadPlan, churn: Option<ConnectionReuse>) -> Value {
    let (plan, tally) = (Rc::new(plan), Rc::new(RefCell::new(LoadTotals::default())));
    let tasks = LocalSet::new();
    for number in 0..plan.streams {
        let (plan, tally) = (plan.clone(), tally.clone());
        tasks.spawn_local(async move {
            match churn {
                Some(churn) => churn::client(&plan, churn, number, &tally).await,
                None => connection(&plan, number, &tally).await,
            }
        });
    }
    // All tasks end by themselves, because each has a time limit.
    tasks.await;
    tally.take().report()
}
