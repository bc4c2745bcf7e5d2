//! Signals that stop the program.

use crate::log::UNLIMITED;
use crate::proxy::DrainStage;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Returns the stage of the shutdown that the signals so far request.
///
/// SIGTERM begins with the lame-duck time, SIGINT without it. A second signal, or SIGQUIT, aborts what is open. A
/// further signal ends the process at once.
///
/// # Errors
/// If a signal handler cannot be installed.
pub fn requested_stage() -> io::Result<watch::Receiver<DrainStage>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let (sender, requested) = watch::channel(DrainStage::Serving);
    tokio::spawn(async move {
        loop {
            let (name, first) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", DrainStage::LameDuck),
                _ = interrupt.recv() => ("SIGINT", DrainStage::Closing),
                _ = quit.recv() => ("SIGQUIT", DrainStage::Aborting),
            };
            let stage = *sender.borrow();
            match stage {
                DrainStage::Serving => sender.send_replace(first),
                DrainStage::LameDuck | DrainStage::Closing => {
                    sender.send_replace(DrainStage::Aborting)
                }
                DrainStage::Aborting => std::process::exit(1),
            };
            tracing::info!(target: UNLIMITED, signal = name, "stopping: {}", next_step(*sender.borrow()));
        }
    });
    Ok(requested)
}

/// Describes the next stage, for the log.
fn next_step(stage: DrainStage) -> &'static str {
    match stage {
        DrainStage::Serving | DrainStage::LameDuck => {
            "new requests are served for lame_duck_seconds; open requests may then finish within \
             shutdown_grace_seconds; a second signal aborts them"
        }
        DrainStage::Closing => {
            "open requests may finish within shutdown_grace_seconds; a second signal aborts them"
        }
        DrainStage::Aborting => "open requests are aborted",
    }
}

/// SIGINT (Ctrl-C) and SIGTERM, for commands that end at the first of them.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// If a signal handler cannot be installed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes at the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
