//! Starts a contestant or the server, and reads its resource usage.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::BoxError;
use crate::contestant::Contestant;
use crate::core_affinity::CoreRange;
use crate::options::RunOptions;
use crate::process::MeasuredProcess;
use crate::rival::TemporaryFolder;

/// A running contestant, or the server.
pub struct RunningContestant {
    /// Address for the load.
    pub target: SocketAddr,
    /// Address of its metrics, if it has any.
    pub admin: Option<SocketAddr>,
    process: Option<MeasuredProcess>,
    /// Dropped after the process.
    _folder: Option<TemporaryFolder>,
}

impl RunningContestant {
    /// Starts `contestant` in front of `server`, pinned to its cores.
    pub async fn start(
        contestant: Contestant,
        server: SocketAddr,
        options: &RunOptions,
    ) -> Result<Self, BoxError> {
        if contestant == Contestant::Direct {
            return Ok(Self { target: server, admin: None, process: None, _folder: None });
        }
        let target = free_address()?;
        let (mut admin, mut folder) = (None, None);
        let (listen, upstream) = (target.to_string(), server.to_string());
        let command = match contestant {
            Contestant::Rival(rival) => {
                let (command, made) =
                    rival.command(target, server, options.workers, options.streams)?;
                folder = Some(made);
                command
            }
            Contestant::Streamgauge => {
                let program = options.streamgauge.as_deref().ok_or("--streamgauge is missing")?;
                let mut command = Command::new(program);
                let metrics = *admin.insert(free_address()?);
                command.args(["--listen", &listen, "--upstream", &format!("http://{upstream}")]);
                command.args(["--admin", &metrics.to_string(), "--log-level", "warn"]);
                command.args(["--workers", &options.workers.to_string()]);
                // Nothing is sent to it after SIGTERM.
                command.env("STREAMGAUGE__LAME_DUCK_SECONDS", "0");
                command
            }
            Contestant::Bare | Contestant::BareConn | Contestant::Direct => {
                let mut command = this_binary()?;
                command.args(["bare", "--listen", &listen, "--upstream", &upstream]);
                if contestant == Contestant::BareConn {
                    command.arg("--conn");
                }
                command
            }
        };
        let cores = options.cores.map(|cores| cores.proxy);
        let process = Some(MeasuredProcess::start(command, cores, target).await?);
        Ok(Self { target, admin, process, _folder: folder })
    }

    /// Starts the server on `cores`.
    pub async fn start_server(cores: Option<CoreRange>) -> Result<Self, BoxError> {
        let target = free_address()?;
        let mut command = this_binary()?;
        command.args(["serve", "--listen", &target.to_string()]);
        let process = Some(MeasuredProcess::start(command, cores, target).await?);
        Ok(Self { target, admin: None, process, _folder: None })
    }

    /// CPU time of the process so far, in nanoseconds; `None` without a process.
    pub fn cpu(&self) -> Result<Option<u64>, BoxError> {
        self.process.as_ref().map(MeasuredProcess::cpu).transpose()
    }

    /// Resident memory of the process in KiB; `None` without a process.
    pub fn rss_kib(&self) -> Result<Option<u64>, BoxError> {
        self.process.as_ref().map(MeasuredProcess::rss_kib).transpose()
    }
}

/// Returns a command that runs another role of this program.
pub fn this_binary() -> Result<Command, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Returns an unused port on loopback.
pub fn free_address() -> Result<SocketAddr, BoxError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
