//! The compared proxies, and how each is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::BoxError;
use crate::options::RunOptions;
use crate::pin::CoreRange;
use crate::process::MeasuredProcess;
use crate::rival::{RivalProxy, TemporaryFolder};

/// One of the compared ways from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// No proxy.
    Direct,
    /// Streamgauge.
    Streamgauge,
    /// A hyper proxy with hyper-util's pooled client.
    Bare,
    /// A hyper proxy with `hyper::client::conn`.
    BareConn,
    /// Another proxy.
    Rival(RivalProxy),
}

impl Contestant {
    /// nginx, the reference for ratios.
    pub const NGINX: Self = Self::Rival(RivalProxy::Nginx);

    /// All contestants, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Bare,
        Self::BareConn,
        Self::NGINX,
        Self::Rival(RivalProxy::HaProxy),
        Self::Rival(RivalProxy::Envoy),
        Self::Streamgauge,
    ];

    /// Name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Streamgauge => "streamgauge",
            Self::Bare => "bare",
            Self::BareConn => "bare-conn",
            Self::Rival(rival) => rival.name(),
        }
    }

    /// Returns an error with the reason if it cannot take part with these `options`.
    pub fn available(self, options: &RunOptions) -> Result<(), String> {
        match (self, options.streamgauge.as_deref()) {
            (Self::Streamgauge, None) => Err("--streamgauge PATH was not given".to_owned()),
            (Self::Streamgauge, Some(path)) if !path.is_file() => {
                Err(format!("{} is no file", path.display()))
            }
            (Self::Rival(rival), _) if rival.program().is_none() => {
                Err("it is not installed".to_owned())
            }
            (Self::Bare | Self::BareConn, _) if options.workers > 1 => {
                Err("it supports one worker only".to_owned())
            }
            (Self::Direct, _) if options.together => {
                Err("with --together, the cost of the loopback cannot be separated".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Contestant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|contestant| contestant.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown contestant: {text}; known are {names}")
        })
    }
}

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
                let (command, made) = rival.command(target, server, options)?;
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
    pub async fn server(cores: Option<CoreRange>) -> Result<Self, BoxError> {
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
