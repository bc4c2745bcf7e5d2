//! The baseline: a reverse proxy made of hyper's parts, without measurement and logs.
//!
//! It uses the same runtime, build profile and socket options as Streamgauge. The difference is the cost of measuring.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::{BoxError, listener};

type ProxiedBody = Either<Incoming, Empty<Bytes>>;
type UpstreamClient = Client<HttpConnector, Incoming>;

/// Proxies until the process ends. With `own_connections`, each client connection has its own upstream connection
/// (`hyper::client::conn`); otherwise requests use hyper-util's pool.
pub async fn run(
    listen: SocketAddr,
    upstream: SocketAddr,
    own_connections: bool,
) -> Result<(), BoxError> {
    let listener = listener::listen(listen)?;
    let authority: Authority = upstream.to_string().parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: UpstreamClient = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(std::time::Duration::from_secs(4))
        .build(connector);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (pool, authority) = (pool.clone(), authority.clone());
        tokio::spawn(async move {
            let mut http = server::Builder::new();
            http.timer(TokioTimer::new());
            // The client reports a broken connection.
            let _ = if own_connections {
                let own = Mutex::new(None);
                let service = service_fn(|request| forward_on(&own, upstream, request));
                http.serve_connection(TokioIo::new(socket), service).await
            } else {
                let service = service_fn(|request| forward(&pool, &authority, request));
                http.serve_connection(TokioIo::new(socket), service).await
            };
        });
    }
}

/// Sends a request through the pool.
async fn forward(
    pool: &UpstreamClient,
    authority: &Authority,
    mut request: Request<Incoming>,
) -> Result<Response<ProxiedBody>, hyper::http::Error> {
    strip_hop_by_hop(request.headers_mut());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority.clone())
        .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")))
        .build()?;
    Ok(pool.request(request).await.map_or_else(|_| bad_gateway(), pass_on))
}

/// Sends a request on the upstream connection of the client connection.
async fn forward_on(
    own: &Mutex<Option<client::SendRequest<Incoming>>>,
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<ProxiedBody>, BoxError> {
    strip_hop_by_hop(request.headers_mut());
    let mut own = own.lock().await;
    let usable = match own.as_mut() {
        Some(sender) => sender.ready().await.is_ok(),
        None => false,
    };
    if !usable {
        *own = connect(upstream).await.ok();
    }
    let Some(sender) = own.as_mut() else {
        return Ok(bad_gateway());
    };
    Ok(sender.send_request(request).await.map_or_else(|_| bad_gateway(), pass_on))
}

async fn connect(upstream: SocketAddr) -> Result<client::SendRequest<Incoming>, BoxError> {
    let socket = TcpStream::connect(upstream).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn pass_on(mut response: Response<Incoming>) -> Response<ProxiedBody> {
    strip_hop_by_hop(response.headers_mut());
    response.map(Either::Left)
}

fn bad_gateway() -> Response<ProxiedBody> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Removes hop-by-hop headers (RFC 9110, 7.6.1).
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    while let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}
