//! Pool of connections to an upstream: idle HTTP/1.1 connections and shared HTTP/2 connections.
//!
//! Each worker has its own pool, so threads share no connection.

use super::address::UpstreamAddress;
use super::connector::{ConnectError, Connector, Http2Mode, NewConnection, UpstreamProtocol};
use super::http2::{Http2Pool, Http2Slot};
use crate::proxy::handover::UpstreamConnection;
use crate::proxy::limits::ProxyLimits;
use crate::proxy::timers::Timers;
use crate::proxy::tls::{PemFile, TlsFiles};
use crate::socket;
use crate::tap::Tap;
use arc_swap::Guard;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::ServerName;

/// Maximum number of idle connections.
const MAX_IDLE: usize = 1024;
/// Time for which a connection is not reused after a body without a declared length, and after a 5xx response.
///
/// Some servers then close a connection without notice. llama.cpp's server promises `Keep-Alive` and closes after every
/// stream; uvicorn closes after an exception in the application (500). A request that was sent on such a connection is
/// lost and must not be sent twice. A new connection costs 0.1 ms.
const REST: Duration = Duration::from_millis(50);

/// How to connect to an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    pub address: UpstreamAddress,
    /// Connect with TLS.
    pub tls: bool,
    /// File of certificates to trust in addition to the system's.
    pub ca_file: Option<PemFile>,
    /// Certificate that the upstream gets, if it requests one.
    pub client_certificate: Option<TlsFiles>,
    /// Name in the upstream's certificate, if it is not the host of the address.
    pub tls_name: Option<ServerName<'static>>,
    pub http2: Http2Mode,
    /// Send the upstream's own name as `Host` instead of the client's.
    pub rewrite_host: bool,
    pub connect_timeout: Duration,
    /// Use the kernel's receive timestamps, on client and upstream sockets.
    pub kernel_stamps: bool,
    /// Idle connections are closed after this time.
    pub idle_timeout: Duration,
    pub limits: ProxyLimits,
    /// Path that reports whether the server is ready.
    pub health_path: Option<String>,
    /// Path of the server's Prometheus metrics, to detect restarts. Without it nothing is requested.
    pub metrics_path: Option<String>,
}

impl UpstreamConfig {
    /// Path that readiness probes request. A server whose metrics page reports 503 is not ready either.
    pub fn probe_path(&self) -> Option<&str> {
        self.health_path.as_deref().or(self.metrics_path.as_deref())
    }
}

impl UpstreamConfig {
    /// Returns `host:port` as in a `Host` header. The scheme's default port is omitted.
    pub fn authority(&self) -> String {
        let default_port = if self.tls { 443 } else { 80 };
        match &self.address {
            UpstreamAddress::Tcp { host, port } if *port == default_port && !host.contains(':') => {
                host.clone()
            }
            UpstreamAddress::Tcp { .. } => self.address.to_string(),
            UpstreamAddress::Unix(_) => "localhost".into(),
        }
    }

    /// Returns the URL, or `unix:/path`.
    pub fn url(&self) -> String {
        match &self.address {
            UpstreamAddress::Tcp { .. } => format!("{}://{}", self.scheme(), self.authority()),
            UpstreamAddress::Unix(_) => self.address.to_string(),
        }
    }

    /// Returns `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// One worker's connections to an upstream.
#[derive(Debug)]
pub struct UpstreamPool {
    connector: Connector,
    tap: Arc<Tap>,
    timers: Timers,
    /// The most recently used connection is last and is reused first, so the others can time out.
    idle: Mutex<Vec<IdleConnection>>,
    http2: Http2Pool,
    /// Locked while a connection is opened that other requests may share. Holds the latest failure.
    connecting: tokio::sync::Mutex<Option<(Instant, ConnectError)>>,
    /// In the latest TLS handshake that offered both protocols, the server chose HTTP/1.1.
    chose_http1: AtomicBool,
}

/// A connection that was taken from the pool for one request.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub connection: PooledConnection,
    /// Time to open the connection; `None` for a reused one.
    pub connect_time: Option<Duration>,
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
    /// [`REST`] applies.
    rests: bool,
}

impl IdleConnection {
    fn is_rested(&self) -> bool {
        !self.rests || self.since.elapsed() >= REST
    }
}

impl Checkout {
    fn reused(connection: PooledConnection) -> Self {
        Self { connection, connect_time: None }
    }
}

impl UpstreamPool {
    /// Returns a pool without connections.
    pub fn new(connector: Connector, tap: Arc<Tap>, timers: Timers) -> Self {
        Self {
            connector,
            tap,
            timers,
            idle: Mutex::default(),
            http2: Http2Pool::default(),
            connecting: tokio::sync::Mutex::default(),
            chose_http1: AtomicBool::new(false),
        }
    }

    /// Configuration of the upstream that is in force. Load it once per use: a reload can replace it.
    pub(crate) fn config(&self) -> Guard<Arc<UpstreamConfig>> {
        self.connector.config()
    }

    /// Tap that measures the upstream's requests.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Takes an idle HTTP/1.1 connection that is still alive, as far as the socket shows.
    async fn take_idle(&self, idle_timeout: Duration) -> Option<UpstreamConnection> {
        loop {
            let IdleConnection { mut connection, since, .. } = {
                let mut idle = self.idle();
                let at = idle.iter().rposition(IdleConnection::is_rested)?;
                idle.remove(at)
            };
            if since.elapsed() >= idle_timeout {
                continue;
            }
            // The server may have closed the connection, or sent bytes that belong to no request.
            let is_alive = poll_fn(|cx| Poll::Ready(connection.is_alive(cx)));
            // Unconstrained: after many dead connections the task's budget is used up, and the next dead one would look
            // alive.
            if tokio::task::unconstrained(is_alive).await {
                return Some(connection);
            }
        }
    }

    /// Returns a connection for a request over `protocol`: a pooled one that has been idle for less than `idle_timeout`
    /// if possible, else a new one.
    pub(crate) async fn check_out(
        &self,
        protocol: UpstreamProtocol,
        idle_timeout: Duration,
    ) -> Result<Checkout, ConnectError> {
        if protocol != UpstreamProtocol::Http1
            && let Some(slot) = self.http2.try_acquire()
        {
            return Ok(Checkout::reused(PooledConnection::Http2(slot)));
        }
        if protocol != UpstreamProtocol::Http2
            && let Some(connection) = self.take_idle(idle_timeout).await
        {
            return Ok(Checkout::reused(PooledConnection::Http1(connection)));
        }
        let may_be_shared = match protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Negotiated => !self.chose_http1.load(Relaxed),
        };
        if !may_be_shared {
            return self.connect_boxed(protocol).await;
        }
        // Requests that arrive while a shared connection is opened wait for it, and share its failure.
        let requested_at = Instant::now();
        let mut failure = self.connecting.lock().await;
        if let Some(slot) = self.http2.try_acquire() {
            return Ok(Checkout::reused(PooledConnection::Http2(slot)));
        }
        if let Some((at, error)) = *failure
            && at >= requested_at
        {
            return Err(error);
        }
        if protocol == UpstreamProtocol::Negotiated && self.chose_http1.load(Relaxed) {
            // New connections cannot be shared after all.
            drop(failure);
            return self.connect_boxed(protocol).await;
        }
        let result = self.connect_boxed(protocol).await;
        *failure = result.as_ref().err().map(|error| (Instant::now(), *error));
        result
    }

    /// Opens a connection. Boxed, because the future is large, and most requests reuse a connection.
    fn connect_boxed(
        &self,
        protocol: UpstreamProtocol,
    ) -> Pin<Box<dyn Future<Output = Result<Checkout, ConnectError>> + Send + '_>> {
        Box::pin(self.connect(protocol))
    }

    async fn connect(&self, protocol: UpstreamProtocol) -> Result<Checkout, ConnectError> {
        let start = Instant::now();
        let connecting = async {
            let NewConnection { io, is_http2 } =
                self.connector.connect(protocol, &self.timers).await?;
            if protocol == UpstreamProtocol::Negotiated {
                self.chose_http1.store(!is_http2, Relaxed);
            }
            Ok(match is_http2 {
                true => PooledConnection::Http2(self.http2.connect(io).await?),
                false => PooledConnection::Http1(UpstreamConnection::Socket(io)),
            })
        };
        let result = self.timers.timeout(self.config().connect_timeout, connecting).await;
        let result = result.unwrap_or(Err(ConnectError::Timeout));
        match &result {
            Ok(_) => self.tap.outages().on_connection(socket::now()),
            Err(error) => self.tap.outages().on_failure(socket::now(), error),
        }
        let connection = result?;
        Ok(Checkout { connection, connect_time: Some(start.elapsed()) })
    }

    /// Puts an HTTP/1.1 connection back after a response. `rests`: the server may close it now, so [`REST`] applies.
    pub(crate) fn put_back(&self, connection: UpstreamConnection, rests: bool) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE && !self.config().idle_timeout.is_zero() {
            idle.push(IdleConnection { connection, since: Instant::now(), rests });
        }
    }

    /// Closes connections that have been idle for too long. Runs until dropped.
    pub async fn close_idle(&self) {
        let period = (self.config().idle_timeout / 2).max(Duration::from_millis(50));
        let mut tick = self.timers.interval(period);
        loop {
            tick.tick().await;
            self.http2.close_idle(self.config().idle_timeout);
            self.idle().retain(|idle| idle.since.elapsed() < self.config().idle_timeout);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
