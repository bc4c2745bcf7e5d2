//! The admin port: `/metrics`, `/healthz`, `/readyz`, `/config`, `/requests`, `/-/reload`, and an index.
//!
//! The port has its own listener, thread and runtime, so scrapes do not wait for the data path. On an
//! address other than loopback, the pages that show more than metrics require credentials.

mod access;
mod routes;
mod settings;
mod web_config;

pub use settings::{AdminConfigError, AdminSettings};
pub use web_config::WebConfig;

use crate::metrics::Metrics;
use crate::proxy::Connector;
use crate::request_log::RequestLog;
use access::ClientCertified;
use arc_swap::ArcSwap;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use routes::{AdminBody, AdminRoute};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, ServiceBuilder};
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
    let shared = Arc::clone(&admin);
    let routes = tower::service_fn(move |request| {
        let admin = Arc::clone(&shared);
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
        let (tls, service) = (admin.settings.load().tls.clone(), service.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else { return serve_connection(socket, service, false).await };
            match timeout(TIMEOUT, TlsAcceptor::from(tls).accept(socket)).await {
                Ok(Ok(stream)) => {
                    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    serve_connection(stream, service, has_certificate).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake with a client of the admin port failed");
                }
                Err(_) => {
                    tracing::debug!("TLS handshake with a client of the admin port timed out")
                }
            }
        });
    }
}

/// Serves one connection. `has_certificate`: the client has presented a valid certificate.
async fn serve_connection<S, B>(
    socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: S,
    has_certificate: bool,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if has_certificate {
            request.extensions_mut().insert(ClientCertified);
        }
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the admin port failed");
    }
}
