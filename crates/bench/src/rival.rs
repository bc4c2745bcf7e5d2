//! The other proxies with their configuration: the same number of workers, no buffering, no logs, reused connections.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::listener::BACKLOG;

/// Folders that may be missing in a user's `PATH`.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];
/// Programs of the tests' virtual environment, relative to the repository's root.
const PYTHON: &str = "target/python/bin";

/// Another proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RivalProxy {
    Nginx,
    HaProxy,
    Envoy,
}

impl RivalProxy {
    /// Name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Path of its program, if installed.
    pub fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path);
        let mut places = path.chain(PLACES.map(PathBuf::from)).chain([PathBuf::from(PYTHON)]);
        places.find_map(|place| Some(place.join(self.name())).filter(|program| program.is_file()))
    }

    /// Returns the command that runs it in the foreground, and the folder that it uses meanwhile.
    pub fn command(
        self,
        listen: SocketAddr,
        upstream: SocketAddr,
        workers: usize,
        streams: u64,
    ) -> io::Result<(Command, TemporaryFolder)> {
        let missing = || io::Error::other(format!("{} is not installed", self.name()));
        let program = self.program().ok_or_else(missing)?;
        let folder = TemporaryFolder::new(listen)?;
        let text = match self {
            Self::Nginx => nginx(&folder.0, listen, upstream, workers, streams),
            Self::HaProxy => haproxy(listen, upstream, workers),
            Self::Envoy => envoy(listen, upstream),
        };
        let config = folder.0.join("config");
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        match self {
            Self::Nginx => {
                command.arg("-p").arg(&folder.0).arg("-c").arg(config).args(["-e", "stderr"])
            }
            Self::HaProxy => command.arg("-db").arg("-q").arg("-f").arg(config),
            Self::Envoy => command
                .args(["--concurrency", &workers.to_string()])
                .args(["--disable-hot-restart", "--log-level", "error"])
                .arg("--config-yaml")
                .arg(fs::read_to_string(config)?),
        };
        Ok((command, folder))
    }
}

/// A temporary folder, removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new(listen: SocketAddr) -> io::Result<Self> {
        let name = format!("streamgauge-bench-{}-{}", std::process::id(), listen.port());
        let path = std::env::temp_dir().join(name);
        // Fails if it exists, because it could belong to another process.
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn nginx(
    folder: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    workers: usize,
    streams: u64,
) -> String {
    let folder = folder.display();
    // Two per stream, with a reserve: when a sixteenth is left, nginx closes idle connections. Each connection takes memory
    // from the start, so the reserve is small.
    let connections = 512 + 3 * streams;
    let mut temporary = String::new();
    // All modules that nginx may have been built with; none is used.
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(temporary, "    {kind}_temp_path {folder}/{kind};");
    }
    format!(
        "daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
{temporary}
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000;
    upstream server {{
        server {upstream};
        keepalive {streams};
        keepalive_requests 1000000;
    }}
    server {{
        listen {listen} backlog={BACKLOG} reuseport;
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"
    )
}

fn haproxy(listen: SocketAddr, upstream: SocketAddr, workers: usize) -> String {
    format!(
        "global
    nbthread {workers}
defaults
    mode http
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option http-no-delay
    http-reuse always
frontend clients
    bind {listen} backlog {BACKLOG}
    default_backend server
backend server
    server one {upstream} pool-max-conn -1
"
    )
}

fn envoy(listen: SocketAddr, upstream: SocketAddr) -> String {
    let address = |address: SocketAddr| {
        let (host, port) = (address.ip(), address.port());
        format!("{{socket_address: {{address: {host}, port_value: {port}}}}}")
    };
    let (listen, upstream) = (address(listen), address(upstream));
    let breakers = "{thresholds: [{max_connections: 65536, max_pending_requests: 65536, max_requests: 65536}]}";
    format!(
        "static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{prefix: \"/\"}}
                route: {{cluster: server, timeout: 0s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: server
    type: STATIC
    connect_timeout: 10s
    circuit_breakers: {breakers}
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {upstream}}}
"
    )
}
