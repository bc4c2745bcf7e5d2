//! Which core runs what. A process is pinned from before its first instruction: it inherits the affinity.

use std::io;
use std::process::{Child, Command};
use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Error;
use crate::args::Args;

/// This thread.
const SELF: Pid = Pid::from_raw(0);

/// The cores of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The proxy under test has this one to itself.
    pub proxy: usize,
    /// The load client, and this runner, which sleeps.
    pub load: usize,
    /// The truth server.
    pub server: usize,
}

impl Cores {
    /// Those of `--cores`; `None` if they are not ours to use.
    pub fn of(args: &Args) -> Result<Option<Self>, Error> {
        let cores = args.or("cores", Self { proxy: 0, load: 1, server: 1 })?;
        if !cores.usable() {
            println!("The cores of --cores are not ours to use: nothing is pinned.");
            return Ok(None);
        }
        Ok(Some(cores))
    }

    /// Whether this machine has them, for us.
    fn usable(&self) -> bool {
        let Ok(allowed) = sched_getaffinity(SELF) else { return false };
        [self.proxy, self.load, self.server]
            .into_iter()
            .all(|core| allowed.is_set(core).unwrap_or(false))
    }
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cores: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
        match cores.as_deref() {
            Ok(&[proxy, load]) => Ok(Self { proxy, load, server: load }),
            Ok(&[proxy, load, server]) => Ok(Self { proxy, load, server }),
            _ => Err("must be PROXY,LOAD or PROXY,LOAD,SERVER".to_owned()),
        }
    }
}

/// Pins this thread.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(SELF, &set)?)
}

/// Starts a process on `core`, if there is one to pin it to.
pub fn spawn(command: &mut Command, core: Option<usize>) -> io::Result<Child> {
    let Some(core) = core else {
        return command.spawn();
    };
    let before = sched_getaffinity(SELF)?;
    pin(core)?;
    let child = command.spawn();
    sched_setaffinity(SELF, &before)?;
    child
}
