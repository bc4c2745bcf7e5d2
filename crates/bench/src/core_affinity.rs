//! Pins processes to cores. A process inherits the affinity, so it is pinned from its first instruction.

use std::io;
use std::process::{Child, Command};
use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::BoxError;
use crate::args::RoleArgs;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The cores of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorePlan {
    /// Cores of the proxy under test.
    pub proxy: CoreRange,
    /// Core of the load generator and the runner, which sleeps.
    pub load: CoreRange,
    /// Core of the server.
    pub server: CoreRange,
}

/// Consecutive cores, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRange {
    first: usize,
    last: usize,
}

impl CoreRange {
    /// Returns each core.
    pub fn cores(self) -> impl Iterator<Item = usize> {
        self.first..=self.last
    }

    /// Returns the number of cores.
    pub fn count(self) -> usize {
        self.cores().count()
    }

    const fn one(core: usize) -> Self {
        Self { first: core, last: core }
    }
}

impl CorePlan {
    /// Default of `--cores`.
    pub const DEFAULT: Self =
        Self { proxy: CoreRange::one(0), load: CoreRange::one(1), server: CoreRange::one(1) };

    /// Parses `--cores`; `None` if the cores are not available.
    pub fn from_args(args: &RoleArgs) -> Result<Option<Self>, BoxError> {
        let cores = args.or("cores", Self::DEFAULT)?;
        if !cores.is_available() {
            println!("The cores of --cores are not available: nothing is pinned.");
            return Ok(None);
        }
        Ok(Some(cores))
    }

    /// Whether this process may use the cores.
    fn is_available(&self) -> bool {
        let Ok(allowed) = sched_getaffinity(SELF) else { return false };
        [self.proxy, self.load, self.server]
            .into_iter()
            .flat_map(CoreRange::cores)
            .all(|core| allowed.is_set(core).unwrap_or(false))
    }
}

impl FromStr for CorePlan {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let spans: Result<Vec<CoreRange>, _> = text.split(',').map(str::parse).collect();
        let cores = match *spans?.as_slice() {
            [proxy, load] => Self { proxy, load, server: load },
            [proxy, load, server] => Self { proxy, load, server },
            _ => return Err("must be PROXY,LOAD or PROXY,LOAD,SERVER"),
        };
        if [cores.load, cores.server].into_iter().any(|span| span.count() != 1) {
            return Err(
                "only PROXY may be several cores, because load and server have one thread each",
            );
        }
        Ok(cores)
    }
}

impl FromStr for CoreRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("give a core as a number, several as FIRST-LAST"),
        }
    }
}

/// Pins the calling thread.
pub fn pin(cores: CoreRange) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.cores().try_for_each(|core| set.set(core))?;
    Ok(sched_setaffinity(SELF, &set)?)
}

/// Starts a process, pinned to `cores` if given.
pub fn spawn(command: &mut Command, cores: Option<CoreRange>) -> io::Result<Child> {
    let Some(cores) = cores else {
        return command.spawn();
    };
    let before = sched_getaffinity(SELF)?;
    pin(cores)?;
    let child = command.spawn();
    sched_setaffinity(SELF, &before)?;
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxy_can_have_several_cores() {
        assert_eq!("0,1".parse(), Ok(CorePlan::DEFAULT));
        let (proxy, load) = (CoreRange { first: 0, last: 3 }, CoreRange::one(4));
        assert_eq!("0-3,4".parse(), Ok(CorePlan { proxy, load, server: load }));
        assert_eq!("0-3,4,5".parse(), Ok(CorePlan { proxy, load, server: CoreRange::one(5) }));
        for wrong in ["", "0", "0,1,2,3", "3-0,4", "0-,4", "0,1-2", "0,1,2-3", "a,b"] {
            assert!(wrong.parse::<CorePlan>().is_err(), "{wrong}");
        }
    }
}
