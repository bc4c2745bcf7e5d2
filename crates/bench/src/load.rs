//! The load client: opens streams, or asks for short answers, and adds up what came and how long it took.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::args::Args;
use crate::churn::{self, Churn};
use crate::client::{Failure, connection};
use crate::emit::Pattern;
use crate::stats::quantile;
use crate::{Error, clock};

/// So many latencies are kept at most, the first ones.
const SAMPLE_LIMIT: usize = 16 << 20;
/// Streams run on for a while after the window, so that all are open at its end. Nanoseconds.
const RUN_ON: u64 = 500_000_000;

/// What is to be sent.
#[derive(Debug)]
pub struct Plan {
    /// The proxy, or the server itself.
    pub target: SocketAddr,
    /// The window in which tokens are counted, on [`clock::now`].
    pub from: u64,
    /// See `from`.
    pub until: u64,
    warmup: u64,
    /// Connections at a time.
    pub streams: u64,
    rate: f64,
    /// Tokens of a stream; 0: as many as last to the end of the window.
    tokens: u64,
    pattern: Pattern,
}

impl Plan {
    /// When connection `number` opens: evenly spread over the first half of the warm-up.
    pub fn opens(&self, number: u64) -> u64 {
        self.from - self.warmup + self.warmup / 2 * number / self.streams
    }

    /// The time between two tokens of a stream.
    pub fn period(&self) -> u64 {
        clock::seconds(1.0 / self.rate)
    }

    /// Tokens of each stream of a connection that opens at `opens`.
    pub fn tokens_each(&self, opens: u64) -> u64 {
        match self.tokens {
            // One more, as the first comes at once.
            0 => (self.until + RUN_ON - opens).div_ceil(self.period()) + 1,
            tokens => tokens,
        }
    }

    /// The bytes of a request.
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

/// What came, over all connections. Times are nanoseconds.
#[derive(Debug, Default)]
pub struct Tally {
    requests: u64,
    expected: u64,
    tokens: u64,
    /// Of the bodies, without the framing of HTTP.
    pub bytes: u64,
    window_tokens: u64,
    window_requests: u64,
    latencies: Vec<u64>,
    heads: Vec<u64>,
    firsts: Vec<u64>,
    /// When the stream in hand was asked for, until its first token came.
    asked: Option<u64>,
    failures: BTreeMap<Failure, u64>,
}

impl Tally {
    /// A stream, or an answer, of so many tokens is asked for.
    pub fn begin(&mut self, tokens: u64) {
        self.requests += 1;
        self.expected += tokens;
    }

    /// A response's head came so long after the request.
    pub fn head(&mut self, after: u64) {
        self.heads.push(after);
    }

    /// The next [`token`](Self::token) is the first of a stream that was asked for at `asked`.
    pub fn first_from(&mut self, asked: u64) {
        self.asked = Some(asked);
    }

    /// A token that was sent at `sent` came at `at`.
    pub fn token(&mut self, plan: &Plan, sent: u64, at: u64) {
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

    /// A whole answer that tells of so many tokens came, in so many bytes.
    pub fn answer(&mut self, tokens: u64, bytes: u64) {
        self.tokens += tokens;
        self.bytes += bytes;
    }

    /// A response was complete at `at`.
    pub fn end(&mut self, plan: &Plan, at: u64) {
        self.window_requests += u64::from((plan.from..plan.until).contains(&at));
    }

    /// A response went wrong.
    pub fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// The line that is printed.
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

/// The role `load`.
pub async fn role(words: Vec<String>) -> Result<(), Error> {
    let options = [
        "target", "streams", "rate", "seconds", "warmup", "tokens", "pattern", "start-at", "churn",
    ];
    let args = Args::parse(words, &options, &[])?;
    let warmup = clock::seconds(args.number("warmup", 1.0, 0.0, 3600.0)?);
    let from = args.or("start-at", clock::now() + warmup)?;
    let plan = Plan {
        target: args.required("target")?,
        from,
        until: from + clock::seconds(args.number("seconds", 5.0, 0.1, 3600.0)?),
        warmup,
        streams: args.number("streams", 100.0, 1.0, 100_000.0)? as u64,
        rate: args.number("rate", 20.0, 0.1, 10_000.0)?,
        tokens: args.or("tokens", 0)?,
        pattern: args.or("pattern", Pattern::Spread)?,
    };
    println!("{}", load(plan, args.optional("churn")?).await);
    Ok(())
}

/// With `churn`, short answers; else streams.
async fn load(plan: Plan, churn: Option<Churn>) -> Value {
    let (plan, tally) = (Rc::new(plan), Rc::new(RefCell::new(Tally::default())));
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
    // All tasks end by themselves: each has its time limit.
    tasks.await;
    tally.take().report()
}
