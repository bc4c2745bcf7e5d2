//! The load generator: opens streams or requests short responses, and sums up results and latencies.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;
use tokio::task::LocalSet;

use crate::args::RoleArgs;
use crate::load_plan::LoadPlan;
use crate::load_totals::LoadTotals;
use crate::traffic::{ConnectionReuse, SendPattern};
use crate::{BoxError, clock, short_requests, stream_client};

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
    let (plan, totals) = (Rc::new(plan), Rc::new(RefCell::new(LoadTotals::default())));
    let tasks = LocalSet::new();
    for number in 0..plan.streams {
        let (plan, totals) = (plan.clone(), totals.clone());
        tasks.spawn_local(async move {
            match churn {
                Some(churn) => short_requests::run_client(&plan, churn, number, &totals).await,
                None => stream_client::run_client(&plan, number, &totals).await,
            }
        });
    }
    // All tasks end by themselves, because each has a time limit.
    tasks.await;
    totals.take().into_json()
}
