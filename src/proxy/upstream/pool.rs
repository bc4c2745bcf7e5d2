//! The upstream: its address and the idle connections to it.
//!
//! Each worker has its own, so nothing is shared between threads while requests run.

use super::address::UpstreamAddress;
use super::connector::{ConnectError, Connector, Http2Mode, NewConnection, UpstreamProtocol};
use super::http2::{Http2Pool, Http2Slot};
use crate::proxy::handover::UpstreamConnection;
use crate::proxy::timers::Timers;
use crate::tap::Tap;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
    pub address: UpstreamAddress,
    /// Speak TLS.
    pub tls: bool,
    /// A file of certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    pub http2: Http2Mode,
    /// Send the upstream's own name as `Host`, in place of the client's.
    pub rewrite_host: bool,
    pub connect_timeout: Duration,
    /// Ask the kernel when bytes arrived, of both sockets.
    pub kernel_stamps: bool,
    /// IdleConnection connections are closed after this.
    pub idle_timeout: Duration,
    /// What probes ask to see whether the server is ready; without it they only connect.
    pub health_path: Option<String>,
    /// The server's own page of metrics, which is asked for now and then; without it nothing is.
    pub metrics_path: Option<String>,
}

impl UpstreamConfig {
    /// `host:port`, as it stands in a `Host` header.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        match &self.address {
            UpstreamAddress::Tcp { host, port } if *port == usual && !host.contains(':') => {
                host.clone()
            }
            UpstreamAddress::Tcp { .. } => self.address.to_string(),
            UpstreamAddress::Unix(_) => "localhost".into(),
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &self.address {
            UpstreamAddress::Tcp { .. } => format!("{}://{}", self.scheme(), self.authority()),
            UpstreamAddress::Unix(_) => self.address.to_string(),
        }
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// One worker's view of an upstream.
#[derive(Debug)]
pub struct UpstreamPool {
    connector: Connector,
    tap: Arc<Tap>,
    timers: Timers,
    /// The one used last is at the end, and used again first: the others grow old and are closed.
    idle: Mutex<Vec<IdleConnection>>,
    multiplex: Http2Pool,
    /// Held while a connection is opened that others may share; the latest failure.
    opening: tokio::sync::Mutex<Option<(Instant, ConnectError)>>,
    /// The server, having the choice, has chosen HTTP/1.1.
    chose_http1: AtomicBool,
}

/// A connection that can take a request.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub carrier: PooledConnection,
    /// How long it took to open it; `None` if it was there.
    pub after: Option<Duration>,
}

#[derive(Debug)]
pub(crate) enum PooledConnection {
    Http1(UpstreamConnection),
    Http2(Http2Slot),
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    since: Instant,
    /// It was used for a body without a declared length.
    rests: bool,
}

impl IdleConnection {
    fn is_rested(&self) -> bool {
        !self.rests || self.since.elapsed() >= REST
    }
}

impl UpstreamPool {
    /// An upstream without connections.
    pub fn new(connector: Connector, tap: Arc<Tap>, timers: Timers) -> Self {
        Self {
            connector,
            tap,
            timers,
            idle: Mutex::default(),
            multiplex: Http2Pool::default(),
            opening: tokio::sync::Mutex::default(),
            chose_http1: AtomicBool::new(false),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &UpstreamConfig {
        self.connector.config()
    }

    /// The tap that measures it.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// What times whatever goes on here.
    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// An idle connection that is still alive, as far as the socket says.
    async fn take_idle(&self) -> Option<UpstreamConnection> {
        loop {
            let IdleConnection { mut connection, since, .. } = {
                let mut idle = self.idle();
                let at = idle.iter().rposition(IdleConnection::is_rested)?;
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

    /// A connection for a request that is to go by this protocol.
    pub(crate) async fn connection(
        &self,
        protocol: UpstreamProtocol,
    ) -> Result<Checkout, ConnectError> {
        if protocol != UpstreamProtocol::Http1
            && let Some(lease) = self.multiplex.lease()
        {
            return Ok(Checkout { carrier: PooledConnection::Http2(lease), after: None });
        }
        if protocol != UpstreamProtocol::Http2
            && let Some(connection) = self.take_idle().await
        {
            return Ok(Checkout { carrier: PooledConnection::Http1(connection), after: None });
        }
        let is_shared = match protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Negotiated => !self.chose_http1.load(Relaxed),
        };
        if !is_shared {
            return self.open(protocol).await;
        }
        // Requests that come while a connection is opened wait for that one, and for its failure.
        let asked = Instant::now();
        let mut failed = self.opening.lock().await;
        if let Some(lease) = self.multiplex.lease() {
            return Ok(Checkout { carrier: PooledConnection::Http2(lease), after: None });
        }
        if let Some((at, error)) = *failed
            && at >= asked
        {
            return Err(error);
        }
        if protocol == UpstreamProtocol::Negotiated && self.chose_http1.load(Relaxed) {
            // Nobody shares what is opened now.
            drop(failed);
            return self.open(protocol).await;
        }
        let opened = self.open(protocol).await;
        *failed = opened.as_ref().err().map(|error| (Instant::now(), *error));
        opened
    }

    async fn open(&self, protocol: UpstreamProtocol) -> Result<Checkout, ConnectError> {
        let start = Instant::now();
        let opening = async {
            let NewConnection { io, is_http2 } = self.connector.connect(protocol).await?;
            if protocol == UpstreamProtocol::Negotiated {
                self.chose_http1.store(!is_http2, Relaxed);
            }
            Ok(match is_http2 {
                true => PooledConnection::Http2(self.multiplex.begin(io).await?),
                false => PooledConnection::Http1(UpstreamConnection::Socket(io)),
            })
        };
        let opened = self.timers.timeout(self.config().connect_timeout, opening).await;
        let carrier = opened.map_err(|_| ConnectError::Timeout)??;
        Ok(Checkout { carrier, after: Some(start.elapsed()) })
    }

    /// Takes back a connection whose request is over, to use it again. `rests` is for one that had a
    /// body without a declared length.
    pub(crate) fn give_back(&self, connection: UpstreamConnection, rests: bool) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE && !self.config().idle_timeout.is_zero() {
            idle.push(IdleConnection { connection, since: Instant::now(), rests });
        }
    }

    /// Closes idle connections as they grow too old; runs until dropped.
    pub async fn reap(&self) {
        let period = (self.config().idle_timeout / 2).max(Duration::from_millis(50));
        let mut tick = self.timers.interval(period);
        loop {
            tick.tick().await;
            self.multiplex.reap(self.config().idle_timeout);
            self.idle().retain(|idle| idle.since.elapsed() < self.config().idle_timeout);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
