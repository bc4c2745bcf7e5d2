//! A process that the runner started: what it costs, and its end.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::pin::{self, Span};
use crate::{Error, clock};

/// A process must listen within this time, and end within it when asked to.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// A process and its children; they are ended when this is dropped.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts it, pinned to `cores` if there are any, and waits until it listens on `address`.
    pub async fn start(
        mut command: Command,
        cores: Option<Span>,
        address: SocketAddr,
    ) -> Result<Self, Error> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = pin::spawn(&mut command, cores).map_err(|error| format!("{name}: {error}"))?;
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

    /// Processor time so far of it and its living children, nanoseconds.
    pub fn cpu(&self) -> Result<u64, Error> {
        self.tree().into_iter().try_fold(0, |sum, pid| Ok(sum + cpu_of(pid)?))
    }

    /// Resident memory of it and its children, KiB.
    pub fn rss_kib(&self) -> Result<u64, Error> {
        self.tree().into_iter().try_fold(0, |sum, pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse::<u64>().ok());
            Ok(sum + kib.ok_or("smaps_rollup has no Rss")?)
        })
    }

    /// It and all below it.
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

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        Ok(kill(self.pid(), signal)?)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let tree = self.tree();
        let _ = kill(self.pid(), Signal::SIGTERM);
        // One that is stopped would hear it only then.
        let _ = kill(self.pid(), Signal::SIGCONT);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(STEP);
        }
        eprintln!("{} did not end when asked to, and was killed", self.name);
        for pid in tree.into_iter().rev() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Processor time of one process so far, nanoseconds. The kernel's own account of it, which is exact where the
/// ticks of `/proc/PID/stat` are not.
pub fn cpu_of(pid: Pid) -> Result<u64, Error> {
    Ok(clock::nanos(ClockId::pid_cpu_clock_id(pid)?.now()?.into()))
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it are the state and the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
