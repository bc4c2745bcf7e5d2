//! The admin port: the live page and its data, `/metrics`, `/healthz`, `/readyz`, `/idle`,
//! `/config`, `/requests`, `/-/reload`.
//!
//! The port has its own listener, thread and runtime, so scrapes do not wait for the data path. On an
//! address other than loopback, the pages that show more than metrics require credentials.

mod access;
mod login;
mod page;
mod routes;
mod settings;
mod web_config;

pub use login::Login;
pub use routes::{ENDED_HEADER, INSTANCE_HEADER};
pub use settings::{AdminConfigError, AdminSettings};
pub use web_config::WebConfig;

use crate::config::AdminLimits;
use crate::live::LiveHistory;
use crate::log::UNLIMITED;
use crate::metrics::{AdminLimitKind, Metrics};
use crate::proxy::Connector;
use crate::request_log::RequestLog;
use crate::tap::Tap;
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
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::timeout::TimeoutLayer;

/// Interval at which the live history reads what is new.
const HISTORY_INTERVAL: Duration = Duration::from_secs(1);

/// A request to reload the configuration. The reply is the text of the response: what was reloaded, or why it was not.
pub type ReloadRequest = oneshot::Sender<Result<String, String>>;

/// The data that the admin port serves.
#[derive(Debug)]
pub struct Admin {
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Request log, for `/requests`.
    pub log: RequestLog,
    /// The last ten minutes, for the live page.
    pub live: LiveHistory,
    /// Links and sessions of the live page.
    pub login: Login,
    /// Address of the port.
    pub address: SocketAddr,
    /// The settings in force. A reload replaces them.
    pub settings: ArcSwap<AdminSettings>,
    /// Requests to reload the configuration.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// Limits of the port.
    pub limits: AdminLimits,
    /// Names of the upstreams and how to connect to them, for `/readyz?upstream=1`.
    pub upstreams: Vec<(String, Connector)>,
    /// State of each upstream, for `/readyz?engine=1`.
    pub taps: Vec<Arc<Tap>>,
    /// Whether shutdown has begun.
    pub draining: AtomicBool,
}

impl Admin {
    /// URL of the port on this host.
    pub fn url(&self) -> String {
        let scheme = if self.settings.load().tls.is_some() { "https" } else { "http" };
        let address = match self.address {
            any if any.ip().is_unspecified() => {
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), any.port())
            }
            one => one,
        };
        format!("{scheme}://{address}")
    }

    /// Prints where the live page is: its address, or a link that works once if the page needs credentials.
    pub fn announce_page(&self) {
        let access = &self.settings.load().access;
        if access.has_login() {
            self.login.print_link(&self.url());
        } else {
            tracing::info!(target: UNLIMITED, "live page: {}/", self.url());
        }
    }

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
    let AdminLimits { connections, time } = admin.limits;
    let places = Arc::new(Semaphore::new(connections));
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
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, time))
        .layer(CatchPanicLayer::new())
        .service(routes);
    let service = TowerToHyperService::new(service);
    let updates = Arc::clone(&admin);
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(HISTORY_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            updates.live.update();
        }
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            admin.metrics.count_admin_limit(AdminLimitKind::Connections);
            continue;
        };
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(time));
        let socket = Box::pin(socket);
        let (tls, service) = (admin.settings.load().tls.clone(), service.clone());
        let metrics = Arc::clone(&admin.metrics);
        tokio::spawn(async move {
            let served = match tls {
                None => serve_connection(socket, service, time, false).await,
                Some(tls) => match timeout(time, TlsAcceptor::from(tls).accept(socket)).await {
                    Ok(Ok(stream)) => {
                        let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                        serve_connection(stream, service, time, has_certificate).await
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "TLS handshake with a client of the admin port failed");
                        Ok(())
                    }
                    Err(_) => {
                        metrics.count_admin_limit(AdminLimitKind::Time);
                        tracing::debug!("TLS handshake with a client of the admin port timed out");
                        Ok(())
                    }
                },
            };
            if let Err(error) = served {
                if is_timeout(&error) {
                    metrics.count_admin_limit(AdminLimitKind::Time);
                }
                tracing::debug!(%error, "a connection to the admin port failed");
            }
            drop(place);
        });
    }
}

/// Serves one connection. `has_certificate`: the client has presented a valid certificate.
async fn serve_connection<S, B>(
    socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: S,
    time: Duration,
    has_certificate: bool,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if has_certificate {
            request.extensions_mut().insert(ClientCertified);
        }
        service.call(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(time)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

/// Whether a client did not read or write in time.
fn is_timeout(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    error.is_timeout() || source.map(io::Error::kind) == Some(io::ErrorKind::TimedOut)
}
