//! A process started by the runner: its resource usage and its end.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::core_affinity::{self, CoreRange};
use crate::{BoxError, clock};

/// Maximum time for a process to listen, and to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// A process with its children, which are ended when this is dropped.
pub struct MeasuredProcess {
    child: Child,
    name: String,
}

impl MeasuredProcess {
    /// Starts a process, pinned to `cores` if given, and waits until it listens on `address`.
    pub async fn start(
        mut command: Command,
        cores: Option<CoreRange>,
        address: SocketAddr,
    ) -> Result<Self, BoxError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = core_affinity::spawn(&mut command, cores)
            .map_err(|error| format!("{name}: {error}"))?;
        let mut process = Self { child, name };
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{} ended at its start: {status}", process.name).into());
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("{} does not listen on {address}", process.name).into());
            }
            sleep(STEP).await;
        }
        Ok(process)
    }

    /// CPU time so far of the process and its living children, in nanoseconds.
    pub fn cpu(&self) -> Result<u64, BoxError> {
        self.tree().into_iter().try_fold(0, |sum, pid| Ok(sum + cpu_of(pid)?))
    }

    /// Resident memory of the process and its children, in KiB.
    pub fn rss_kib(&self) -> Result<u64, BoxError> {
        self.tree().into_iter().try_fold(0, |sum, pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse::<u64>().ok());
            Ok(sum + kib.ok_or("smaps_rollup has no Rss")?)
        })
    }

    /// Returns the process and its descendants.
    fn tree(&self) -> Vec<Pid> {
        let processes: Vec<(i32, i32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, parent(pid)?)))
            .collect();
        let mut tree = vec![self.pid()];
        let mut seen = 0;
        while let Some(&above) = tree.get(seen) {
            let children = processes.iter().filter(|(_, parent)| *parent == above.as_raw());
            tree.extend(children.map(|(pid, _)| Pid::from_raw(*pid)));
            seen += 1;
        }
        tree
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        Ok(kill(self.pid(), signal)?)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for MeasuredProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let tree = self.tree();
        let _ = kill(self.pid(), Signal::SIGTERM);
        // A stopped process would receive the signal only after this.
        let _ = kill(self.pid(), Signal::SIGCONT);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(STEP);
        }
        eprintln!("{} did not end after SIGTERM and was killed", self.name);
        for pid in tree.into_iter().rev() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// CPU time of one process so far, in nanoseconds. The kernel's CPU-time clock is exact, unlike the ticks of
/// `/proc/PID/stat`.
pub fn cpu_of(pid: Pid) -> Result<u64, BoxError> {
    Ok(clock::nanos(ClockId::pid_cpu_clock_id(pid)?.now()?.into()))
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses can contain any characters; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
