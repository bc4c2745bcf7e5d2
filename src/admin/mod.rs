//! The admin port: `/metrics`, `/healthz`, `/readyz`, `/config`, `/requests`, `/-/reload`, and an index.
//!
//! The port has its own listener, thread and runtime, so scrapes do not wait for the data path. On an
//! address other than loopback, the pages that show more than metrics require a token.

mod routes;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::Connector;
use crate::request_log::RequestLog;
use arc_swap::ArcSwap;
use hyper::Response;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use routes::{AdminBody, AdminRoute};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::timeout::TimeoutLayer;

/// Time limit for one response, and for receiving the headers of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request to reload the configuration. The reply is the text of the response: what was reloaded, or why it was not.
pub type ReloadRequest = oneshot::Sender<Result<String, String>>;

/// The data that the admin port serves.
#[derive(Debug)]
pub struct Admin {
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Request log, for `/requests`.
    pub log: RequestLog,
    /// The settings in force. A reload replaces them.
    pub settings: ArcSwap<AdminSettings>,
    /// Requests to reload the configuration.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// Names of the upstreams and how to connect to them, for `/readyz?upstream=1`.
    pub upstreams: Vec<(String, Connector)>,
    /// Whether shutdown has begun.
    pub draining: AtomicBool,
    /// Whether the listener's address is loopback, so that every page is public.
    pub is_local: bool,
}

/// What the admin port takes from the configuration in force.
#[derive(Debug)]
pub struct AdminSettings {
    /// The configuration in force, with masked secrets.
    pub config: serde_json::Value,
    /// The token for the pages that are not public.
    pub token: Option<String>,
}

impl AdminSettings {
    /// Takes them from a configuration.
    pub fn new(config: &Config) -> Self {
        Self { config: config.effective.clone(), token: config.admin_token.clone() }
    }
}

impl Admin {
    /// Makes `/readyz` return 503 from now on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }
}

/// Binds the admin port.
///
/// # Errors
/// If the address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the admin port until `stop` becomes `true`.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: StdListener,
    admin: Arc<Admin>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let routes = tower::service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move {
            Ok::<Response<AdminBody>, Infallible>(
                AdminRoute::of_request(&request).respond(&admin, &request).await,
            )
        }
    });
    let service = ServiceBuilder::new()
        // Compresses `/metrics` to 1/30. The default level reaches 1/40 in five times the time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(CatchPanicLayer::new())
        .service(routes);
    let service = TowerToHyperService::new(service);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(TIMEOUT)
            .serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the admin port failed");
            }
        });
    }
}
