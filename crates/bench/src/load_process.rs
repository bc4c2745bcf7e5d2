//! A load generator in a process of its own, which prints one report.

use std::ffi::OsStr;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::BoxError;
use crate::process::cpu_of;
use crate::running_contestant::this_binary;

/// A running load generator, which is killed when this is dropped.
pub struct LoadProcess(Child);

impl LoadProcess {
    /// Starts the load generator against `target`.
    pub fn start(
        target: SocketAddr,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self, BoxError> {
        let mut command = this_binary()?;
        command.arg("load").arg("--target").arg(target.to_string()).args(args);
        Ok(Self(command.stdout(Stdio::piped()).spawn()?))
    }

    /// CPU time so far, in nanoseconds.
    pub fn cpu(&self) -> Result<u64, BoxError> {
        cpu_of(Pid::from_raw(i32::try_from(self.0.id())?))
    }

    /// Waits at most `limit` for the end, and returns the report.
    pub async fn report(mut self, limit: Duration) -> Result<Value, BoxError> {
        let mut stdout = self.0.stdout.take().ok_or("the load generator has no output")?;
        // Not tokio's `process`: its driver costs every process of this build instructions per poll, and the measured
        // program is one of them. If the limit is exceeded, the end of the process also ends this read.
        let read = spawn_blocking(move || {
            let mut report = Vec::new();
            stdout.read_to_end(&mut report).map(|_| report)
        });
        let report =
            timeout(limit, read).await.map_err(|_| "the load generator does not end")??;
        serde_json::from_slice(&report?)
            .map_err(|error| format!("the load generator failed: {error}").into())
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
