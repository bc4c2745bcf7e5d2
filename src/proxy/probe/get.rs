//! A GET request to the upstream on a new connection.

use crate::proxy::upstream::{Http2Mode, NewConnection, UpstreamConfig, UpstreamProtocol};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioExecutor;
use std::future::Future;
use std::pin::pin;

/// Returns the protocol for requests of Streamgauge itself.
pub(super) fn probe_protocol(config: &UpstreamConfig) -> UpstreamProtocol {
    if config.http2 == Http2Mode::Always {
        UpstreamProtocol::Http2
    } else {
        UpstreamProtocol::Http1
    }
}

/// Requests `path` and returns the result of `read`. Returns `None` without a valid response.
pub(super) async fn get<T, F>(
    connection: NewConnection,
    path: &str,
    config: &UpstreamConfig,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let NewConnection { io, is_http2 } = connection;
    if is_http2 {
        let request = Request::get(format!("{}://{}{path}", config.scheme(), config.authority()));
        let request = request.version(Version::HTTP_2).body(Empty::<Bytes>::new()).ok()?;
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(io);
        let (mut sender, driver) = handshake.await.ok()?;
        drive(async { read(sender.send_request(request).await.ok()?).await }, driver).await
    } else {
        let request = Request::get(path).header(HOST, config.authority());
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let (mut sender, driver) = http1::handshake(io).await.ok()?;
        drive(async { read(sender.send_request(request).await.ok()?).await }, driver).await
    }
}

/// Waits for `response`, and drives its connection in the meantime.
async fn drive<T>(response: impl Future<Output = T>, driver: impl Future) -> T {
    let mut response = pin!(response);
    tokio::select! {
        biased;
        response = &mut response => response,
        // The connection can end with the response.
        _ = driver => response.await,
    }
}
