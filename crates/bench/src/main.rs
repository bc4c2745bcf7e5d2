//! Compares the cost of Streamgauge with a bare hyper proxy, nginx, HAProxy and Envoy, for streams and for short
//! responses.
//!
//! One binary contains all roles of a measurement, so it needs only itself and the other proxies:
//!
//! | role | modules | purpose |
//! |---|---|---|
//! | `serve` | [`serve`], [`stream_pacer`], [`sse_writer`], [`short_response`] | the server: streams with a send timestamp in each token, and short responses |
//! | `load` | [`load`], [`load_plan`], [`load_totals`], [`stream_client`], [`short_requests`], [`connection`], [`received_events`], [`dechunk`] | the load generator: checks each response and measures one-way latencies |
//! | `bare` | [`bare_proxy`] | the baseline: a hyper proxy that measures nothing |
//! | `run` | [`run`], [`measure`], [`contestant`], [`running_contestant`], [`process`], [`paired_rounds`], [`tables`], [`report`] | starts everything in interleaved rounds and reports |
//! | `sweep` | [`sweep`] | the same with several numbers of streams |
//! | `truth` | [`truth`] | the accuracy of Streamgauge, compared with what client and server sent |
//! | `differential` | [`differential`] | raw requests and responses, compared with the other proxies |
//! | `plot` | [`plot`] | plots of `run` and `truth` |
//!
//! README.md explains the numbers.

mod admin_client;
mod args;
mod bare_proxy;
mod clock;
mod connection;
mod contestant;
mod core_affinity;
mod dechunk;
mod differential;
mod idle_cores;
mod latency_column;
mod listener;
mod load;
mod load_plan;
mod load_process;
mod load_totals;
mod machine;
mod measure;
mod nagle_check;
mod options;
mod paired_rounds;
mod plot;
mod process;
mod received_events;
mod report;
mod rival;
mod run;
mod running_contestant;
mod serve;
mod short_requests;
mod short_response;
mod signals;
mod sse_writer;
mod stats;
mod stream_client;
mod stream_pacer;
mod sweep;
mod tables;
mod traffic;
mod truth;

use std::process::ExitCode;

use args::RoleArgs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// An error that ends a role, with a message for the user.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
usage: bench run   [--streamgauge PATH] [--streams 200] [--rate 20] [--seconds 4] [--rounds 12]
                   [--warmup 1] [--tokens 0] [--pattern spread|step] [--only a,b] [--cores 0,1]
                   [--workers 1] [--churn new|kept] [--together] [--json FILE] [--check]
       bench sweep --streamgauge PATH [--seconds 4] [--rounds 6] [--only streamgauge,nginx]
                   [--cores 0,1] [--workers 1] [--json FILE]
       bench truth --streamgauge PATH [--streams 40] [--tokens 12] [--rate 30] [--seconds 10]
                   [--cores 0,1] [--json FILE]
       bench differential --streamgauge PATH [--only streamgauge,nginx]
       bench plot  [--run FILE] [--truth FILE] --out DIR
       bench serve --listen ADDR
       bench load  --target ADDR [--streams 100] [--rate 20] [--seconds 5] [--warmup 1]
                   [--tokens 0] [--pattern spread|step] [--churn new|kept] [--start-at NANOSECONDS]
       bench bare  --listen ADDR --upstream ADDR [--conn]";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let role = words.next().unwrap_or_default();
    match run_role(&role, words.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench {role}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_role(role: &str, words: Vec<String>) -> Result<(), BoxError> {
    // Each stream needs a descriptor, or two in a proxy. Children inherit the limit.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // One thread per role, because a role has at most one core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match role {
        "serve" => {
            let args = RoleArgs::parse(words, &["listen"], &[])?;
            runtime.block_on(serve::serve(args.required("listen")?))
        }
        "load" => runtime.block_on(load::role(words)),
        "bare" => {
            let args = RoleArgs::parse(words, &["listen", "upstream"], &["conn"])?;
            let (listen, upstream) = (args.required("listen")?, args.required("upstream")?);
            runtime.block_on(bare_proxy::run(listen, upstream, args.has("conn")))
        }
        "run" => runtime.block_on(run::role(words)),
        "sweep" => runtime.block_on(sweep::role(words)),
        "differential" => runtime.block_on(differential::role(words)),
        "plot" => plot::role(words),
        "truth" => runtime.block_on(truth::role(words)),
        _ => Err(format!("unknown role\n{USAGE}").into()),
    }
}
