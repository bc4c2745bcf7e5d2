//! The upstream: its address and the idle connections to it.
//!
//! Each worker has its own, so nothing is shared between threads while requests run.

use super::address::Address;
use super::connector::{ConnectError, Connector, Http2, Protocol};
use super::exchange::Connection;
use crate::socket::StampedIo;
use crate::tap::Tap;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Most idle connections that are kept.
const MAX_IDLE: usize = 1024;
/// How long a connection rests after a body without a declared length, before it is used again.
/// llama.cpp's server promises `Keep-Alive` and closes after every stream; what was sent on it by then
/// is lost, and must not be sent twice. A new connection costs a tenth of a millisecond.
const REST: Duration = Duration::from_millis(50);

/// Where the upstream is and how to connect to it.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    pub address: Address,
    /// Speak TLS.
    pub tls: bool,
    /// A file of certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    pub http2: Http2,
    /// Send the upstream's own name as `Host`, in place of the client's.
    pub rewrite_host: bool,
    pub connect_timeout: Duration,
    /// Ask the kernel when bytes arrived, of both sockets.
    pub kernel_stamps: bool,
    /// Idle connections are closed after this.
    pub idle_timeout: Duration,
}

impl UpstreamConfig {
    /// `host:port`, as it stands in a `Host` header.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        match &self.address {
            Address::Tcp { host, port } if *port == usual && !host.contains(':') => host.clone(),
            Address::Tcp { .. } => self.address.to_string(),
            Address::Unix(_) => "localhost".into(),
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &self.address {
            Address::Tcp { .. } => format!("{}://{}", self.scheme(), self.authority()),
            Address::Unix(_) => self.address.to_string(),
        }
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// One worker's view of an upstream.
#[derive(Debug)]
pub struct Upstream {
    connector: Connector,
    tap: Arc<Tap>,
    /// The one used last is at the end, and used again first: the others grow old and are closed.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    /// It was used for a body without a declared length.
    rests: bool,
}

impl Idle {
    fn is_rested(&self) -> bool {
        !self.rests || self.since.elapsed() >= REST
    }
}

impl Upstream {
    /// An upstream without connections.
    pub fn new(connector: Connector, tap: Arc<Tap>) -> Self {
        Self { connector, tap, idle: Mutex::default() }
    }

    /// Its configuration.
    pub fn config(&self) -> &UpstreamConfig {
        self.connector.config()
    }

    /// The tap that measures it.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// An idle connection that is still alive, as far as the socket says.
    pub(super) async fn take_idle(&self) -> Option<Connection> {
        loop {
            let Idle { mut connection, since, .. } = {
                let mut idle = self.idle();
                let at = idle.iter().rposition(Idle::is_rested)?;
                idle.remove(at)
            };
            if since.elapsed() >= self.config().idle_timeout {
                continue;
            }
            // The server may have closed it meanwhile; nobody was watching. What it sends without a
            // request is no answer to one either.
            let is_alive = poll_fn(|cx| Poll::Ready(connection.is_alive(cx)));
            // Of many dead ones the last must not pass since the task's budget of reads is spent.
            if tokio::task::unconstrained(is_alive).await {
                return Some(connection);
            }
        }
    }

    /// Opens a connection; says how long that took.
    pub(super) async fn connect(&self) -> Result<(StampedIo, Duration), ConnectError> {
        let (connected, after) = self.connector.connect(Protocol::Http1).await?;
        Ok((connected.io, after))
    }

    /// Takes back a connection whose request is over, to use it again. `rests` is for one that had a
    /// body without a declared length.
    pub(super) fn give_back(&self, connection: Connection, rests: bool) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE && !self.config().idle_timeout.is_zero() {
            idle.push(Idle { connection, since: Instant::now(), rests });
        }
    }

    /// Closes idle connections as they grow too old; runs until dropped.
    pub async fn reap(&self) {
        let mut tick =
            tokio::time::interval((self.config().idle_timeout / 2).max(Duration::from_millis(50)));
        loop {
            tick.tick().await;
            self.idle().retain(|idle| idle.since.elapsed() < self.config().idle_timeout);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
