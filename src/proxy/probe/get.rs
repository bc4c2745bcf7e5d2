//! A request of our own to the upstream, on a connection of its own.

use crate::proxy::upstream::UpstreamConfig;
use crate::proxy::upstream::{Http2Mode, NewConnection, UpstreamProtocol};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioExecutor;
use std::future::Future;
use std::pin::pin;

/// By what a request of our own goes.
pub(crate) fn own_protocol(config: &UpstreamConfig) -> UpstreamProtocol {
    if config.http2 == Http2Mode::Always {
        UpstreamProtocol::Http2
    } else {
        UpstreamProtocol::Http1
    }
}

/// Asks for this path: what `read` makes of the answer; `None` if there is none, or none that is HTTP.
pub(crate) async fn get<T, F>(
    connected: NewConnection,
    path: &str,
    config: &UpstreamConfig,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let NewConnection { io, is_http2 } = connected;
    if is_http2 {
        let request = Request::get(format!("{}://{}{path}", config.scheme(), config.authority()));
        let request = request.version(Version::HTTP_2).body(Empty::<Bytes>::new()).ok()?;
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(io);
        let (mut sender, driver) = handshake.await.ok()?;
        driven(async { read(sender.send_request(request).await.ok()?).await }, driver).await
    } else {
        let request = Request::get(path).header(HOST, config.authority());
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let (mut sender, driver) = http1::handshake(io).await.ok()?;
        driven(async { read(sender.send_request(request).await.ok()?).await }, driver).await
    }
}

/// Waits for an answer, and drives its connection meanwhile.
async fn driven<T>(answer: impl Future<Output = T>, driver: impl Future) -> T {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A connection may end with its answer.
        _ = driver => answer.await,
    }
}
