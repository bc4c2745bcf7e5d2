//! Whatever ends a role, what it started is dropped, and so ended, on the way out.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// What `work` comes to, unless `SIGINT` or `SIGTERM` ends it.
pub async fn unless_ended(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}
