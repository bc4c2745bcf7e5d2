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
    /// The proxy under test has these to itself.
    pub proxy: Span,
    /// The load client, and this runner, which sleeps.
    pub load: Span,
    /// The truth server.
    pub server: Span,
}

/// Cores that follow each other, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: usize,
    last: usize,
}

impl Span {
    /// Each of them.
    pub fn cores(self) -> impl Iterator<Item = usize> {
        self.first..=self.last
    }

    /// How many they are.
    pub fn count(self) -> usize {
        self.cores().count()
    }

    const fn one(core: usize) -> Self {
        Self { first: core, last: core }
    }
}

impl Cores {
    /// What `--cores` is by default.
    pub const USUAL: Self = Self { proxy: Span::one(0), load: Span::one(1), server: Span::one(1) };

    /// Those of `--cores`; `None` if they are not ours to use.
    pub fn of(args: &Args) -> Result<Option<Self>, Error> {
        let cores = args.or("cores", Self::USUAL)?;
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
            .flat_map(Span::cores)
            .all(|core| allowed.is_set(core).unwrap_or(false))
    }
}

impl FromStr for Cores {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let spans: Result<Vec<Span>, _> = text.split(',').map(str::parse).collect();
        let cores = match *spans?.as_slice() {
            [proxy, load] => Self { proxy, load, server: load },
            [proxy, load, server] => Self { proxy, load, server },
            _ => return Err("must be PROXY,LOAD or PROXY,LOAD,SERVER"),
        };
        if [cores.load, cores.server].into_iter().any(|span| span.count() != 1) {
            return Err("only PROXY may be several cores: load and server have one thread each");
        }
        Ok(cores)
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("a core is a number, several are FIRST-LAST"),
        }
    }
}

/// Pins this thread.
pub fn pin(cores: Span) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.cores().try_for_each(|core| set.set(core))?;
    Ok(sched_setaffinity(SELF, &set)?)
}

/// Starts a process on `cores`, if there are any to pin it to.
pub fn spawn(command: &mut Command, cores: Option<Span>) -> io::Result<Child> {
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
    fn the_proxy_may_have_several_cores() {
        assert_eq!("0,1".parse(), Ok(Cores::USUAL));
        let (proxy, load) = (Span { first: 0, last: 3 }, Span::one(4));
        assert_eq!("0-3,4".parse(), Ok(Cores { proxy, load, server: load }));
        assert_eq!("0-3,4,5".parse(), Ok(Cores { proxy, load, server: Span::one(5) }));
        for wrong in ["", "0", "0,1,2,3", "3-0,4", "0-,4", "0,1-2", "0,1,2-3", "a,b"] {
            assert!(wrong.parse::<Cores>().is_err(), "{wrong}");
        }
    }
}
