//! The admin port: `/metrics`, `/healthz`, `/readyz`, `/config`, `/requests`, and an index.
//!
//! It has a listener, a thread and a runtime of its own, so that a scrape is answered while the data
//! path is busy. Off loopback, what is more than counters asks for a token.

mod pages;

use crate::metrics::Metrics;
use crate::proxy::UpstreamAddress;
use crate::request_log::RequestLog;
use hyper::Response;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pages::{Page, Text};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::timeout::TimeoutLayer;

/// Longest time that one answer may take, and that a client may take to send its request's head.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin port shows.
#[derive(Debug)]
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub log: RequestLog,
    /// The configuration in force, masked.
    pub config: serde_json::Value,
    /// What opens the closed pages.
    pub token: Option<String>,
    /// Names and addresses of the upstreams, for `/readyz?upstream=1`.
    pub upstreams: Vec<(String, UpstreamAddress)>,
    /// We were told to stop.
    pub draining: AtomicBool,
    /// Whether the listener's address is loopback, which opens every page.
    pub is_local: bool,
}

impl Admin {
    /// From now on `/readyz` says no.
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

/// Serves the admin port until `stop` holds `true`.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: StdListener,
    admin: Arc<Admin>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = tower::service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move {
            Ok::<Response<Text>, Infallible>(Page::of(&request).answer(&admin, &request).await)
        }
    });
    let service = ServiceBuilder::new()
        // `/metrics` becomes a thirtieth. The usual level makes it a fortieth, in five times the time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(CatchPanicLayer::new())
        .service(pages);
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
                tracing::debug!(%error, "an admin client's connection ended early");
            }
        });
    }
}
