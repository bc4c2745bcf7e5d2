//! Ends a role on a signal such that everything it started is dropped, and so ended.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::BoxError;

/// Runs `work` to its end, unless `SIGINT` or `SIGTERM` arrives.
pub async fn run_until_signal(
    work: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), BoxError> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}
