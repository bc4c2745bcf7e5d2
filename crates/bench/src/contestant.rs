//! Who is compared, and how each is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::Error;
use crate::options::Options;
use crate::pin::Span;
use crate::process::Process;
use crate::rival::{Folder, Rival};

/// One way from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// No proxy.
    Direct,
    /// The product.
    Streamgauge,
    /// hyper with hyper-util's client.
    Bare,
    /// hyper with `hyper::client::conn`.
    BareConn,
    /// A proxy of others.
    Rival(Rival),
}

impl Contestant {
    /// The proxy that most people know.
    pub const NGINX: Self = Self::Rival(Rival::Nginx);

    /// All, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Bare,
        Self::BareConn,
        Self::NGINX,
        Self::Rival(Rival::HaProxy),
        Self::Rival(Rival::Envoy),
        Self::Streamgauge,
    ];

    /// As it stands on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Streamgauge => "streamgauge",
            Self::Bare => "bare",
            Self::BareConn => "bare-conn",
            Self::Rival(rival) => rival.name(),
        }
    }

    /// Whether it can take part in what `options` ask for; else why not.
    pub fn available(self, options: &Options) -> Result<(), String> {
        match (self, options.streamgauge.as_deref()) {
            (Self::Streamgauge, None) => Err("--streamgauge PATH was not given".to_owned()),
            (Self::Streamgauge, Some(path)) if !path.is_file() => {
                Err(format!("{} is no file", path.display()))
            }
            (Self::Rival(rival), _) if rival.program().is_none() => {
                Err("it is not installed".to_owned())
            }
            (Self::Bare | Self::BareConn, _) if options.workers > 1 => {
                Err("it has one worker".to_owned())
            }
            (Self::Direct, _) if options.together => {
                Err("together, there is no telling what the loopback itself costs".to_owned())
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
            format!("no such contestant: {text}; there are {names}")
        })
    }
}

/// A contestant that runs, or the truth server.
pub struct Running {
    /// Where the load is to go.
    pub target: SocketAddr,
    /// Where its metrics are, if it has any.
    pub admin: Option<SocketAddr>,
    process: Option<Process>,
    /// Dropped after the process.
    _folder: Option<Folder>,
}

impl Running {
    /// Starts `contestant` in front of `server`, on its cores.
    pub async fn start(
        contestant: Contestant,
        server: SocketAddr,
        options: &Options,
    ) -> Result<Self, Error> {
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
                let program = options.streamgauge.as_deref().ok_or("no path of streamgauge")?;
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
        let process = Some(Process::start(command, cores, target).await?);
        Ok(Self { target, admin, process, _folder: folder })
    }

    /// Starts the truth server on `cores`.
    pub async fn server(cores: Option<Span>) -> Result<Self, Error> {
        let target = free_address()?;
        let mut command = this_binary()?;
        command.args(["serve", "--listen", &target.to_string()]);
        let process = Some(Process::start(command, cores, target).await?);
        Ok(Self { target, admin: None, process, _folder: None })
    }

    /// Processor time of the process so far, nanoseconds; `None` if there is no process.
    pub fn cpu(&self) -> Result<Option<u64>, Error> {
        self.process.as_ref().map(Process::cpu).transpose()
    }

    /// Resident memory of the process, KiB; `None` if there is no process.
    pub fn rss_kib(&self) -> Result<Option<u64>, Error> {
        self.process.as_ref().map(Process::rss_kib).transpose()
    }
}

/// A command that runs another role of this program.
pub fn this_binary() -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null());
    Ok(command)
}

/// A port of the loopback that nobody uses now.
pub fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
