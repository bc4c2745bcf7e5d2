//! What happens to one request.

use super::answer::Refusal;
use super::client::Handover;
use super::exchange::{Connection, Exchange, SendError};
use super::pool::Upstream;
use super::relay::{Framing, Stream};
use super::stream_body::StreamBody;
use super::upstream_body::UpstreamBody;
use super::{ProxyBody, headers};
use crate::meter::End;
use crate::socket::{StampedIo, Stamps};
use crate::tap::{Measurement, MeteredBody, PeekBody, RequestFault};
use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::{request, response, uri};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The proxy as a service, one for each client connection.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    pub upstream: Arc<Upstream>,
    /// Of the client's socket.
    pub client: Arc<Stamps>,
    /// Takes the streams.
    pub handover: Arc<Handover>,
}

impl tower::Service<Request<Incoming>> for Proxy {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let Self { upstream, client, handover } = self.clone();
        let (head, body) = request.into_parts();
        let measurement = Measurement::arrive(upstream.tap(), &client, &head);
        Box::pin(async move { Ok(forward(upstream, handover, measurement, head, body).await) })
    }
}

async fn forward(
    upstream: Arc<Upstream>,
    handover: Arc<Handover>,
    mut measurement: Measurement,
    mut head: request::Parts,
    body: Incoming,
) -> Response<ProxyBody> {
    let is_head = head.method == Method::HEAD;
    let is_http_10 = head.version == Version::HTTP_10;
    let keeps = !headers::closes(&head.headers);
    let framing = match is_http_10 {
        true => Framing::Close,
        false => Framing::Chunked { trailers: headers::takes_trailers(&head.headers) },
    };
    if let Err(refusal) = prepare(&mut head, &upstream) {
        return refusal.answer(measurement);
    }
    let Some(body) = measurement.request_body(body) else {
        return Refusal::Closed.answer(measurement);
    };
    let request = Request::from_parts(head, body);
    match send(&upstream, &mut measurement, request).await {
        Ok((response, exchange)) => {
            let (mut head, body) = response.into_parts();
            measurement.head(&head, exchange.stamps());
            let is_sized = body.size_hint().exact().is_some();
            if is_http_10 && !is_sized {
                // The end of the connection will be the end of the body: only a reset can tell that
                // it is not. Taken back when the body has come to its end.
                measurement.client().reset_on_close(true);
            }
            let is_stream = !is_sized && measurement.is_sent() && !exchange.pass().is_open();
            let body = if is_stream {
                drop(body);
                let (io, first) = exchange.into_parts().unzip();
                let body = StreamBody::new(&head, io, first.unwrap_or_default(), upstream);
                let stream = Stream { body, measurement, framing, keeps };
                Either::Right(Either::Right(handover.hand_over(stream)))
            } else {
                let mut body = UpstreamBody::new(body, exchange, upstream);
                if body.is_end_stream() {
                    poll_fn(|cx| {
                        body.release(cx);
                        Poll::Ready(())
                    })
                    .await;
                }
                let declared = declared_length(&head, is_head);
                Either::Left(MeteredBody::new(body, measurement, declared))
            };
            head.headers = headers::end_to_end(std::mem::take(&mut head.headers));
            head.version = Version::HTTP_11;
            Response::from_parts(head, body)
        }
        Err(refusal) => match measurement.request_fault() {
            Some(RequestFault::Framing) => {
                Refusal::BadRequest("the request's body is broken: its framing is wrong")
                    .answer(measurement)
            }
            Some(RequestFault::Left) => {
                // Recorded as what it is; the answer is for a client that still listens.
                measurement.finish(End::Dropped);
                Refusal::BadRequest("the request ended before all of its body had come")
                    .answer(measurement)
            }
            None => refusal.answer(measurement),
        },
    }
}

/// Makes the client's head the one that the upstream gets.
fn prepare(head: &mut request::Parts, upstream: &Upstream) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed);
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if !codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::NotImplemented);
    }
    if head.headers.get_all(TRANSFER_ENCODING).iter().count() > 1 {
        return Err(Refusal::BadRequest("a request is chunked once (RFC 9112, 6.1)"));
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && head.version != Version::HTTP_10 {
        return Err(Refusal::BadRequest("a request has exactly one Host header (RFC 9112, 3.2)"));
    }
    if !head.headers.get(HOST).is_none_or(is_host) {
        return Err(Refusal::BadRequest("the Host header is no host (RFC 9112, 3.2)"));
    }
    let takes_trailers = headers::takes_trailers(&head.headers);
    head.headers = headers::end_to_end(std::mem::take(&mut head.headers));
    if takes_trailers {
        headers::take_trailers(&mut head.headers);
    }
    let config = upstream.config();
    let host = match head.uri.authority() {
        _ if config.rewrite_host => Some(config.authority()),
        // The target's own authority outweighs the header (RFC 9112, 3.2.2).
        // A user and password in it are for nobody (RFC 9110, 4.2.4).
        Some(authority) => authority.as_str().rsplit('@').next().map(Into::into),
        None if hosts == 0 => Some(config.authority()),
        None => None,
    };
    if let Some(host) = host {
        let host = HeaderValue::from_str(&host)
            .map_err(|_| Refusal::BadRequest("the request's target has no valid host"))?;
        head.headers.insert(HOST, host);
    }
    if head.uri.authority().is_some() {
        head.uri = origin_form(&head.uri);
    }
    head.version = Version::HTTP_11;
    Ok(())
}

/// Whether this is a host, maybe with a port, or nothing.
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.is_empty() || !value.contains(&b'@') && uri::Authority::try_from(value).is_ok()
}

/// The path and query of a target in absolute form.
fn origin_form(target: &Uri) -> Uri {
    let path = target.path_and_query().cloned();
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

/// What a 304 declares for the body that it does not have; hyper would leave it out.
fn declared_length(head: &response::Parts, is_head: bool) -> Option<u64> {
    if head.status != StatusCode::NOT_MODIFIED || is_head {
        return None;
    }
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Sends the request on an idle connection or a new one. It is sent again only if the idle connection
/// turned out dead before one byte was written.
async fn send(
    upstream: &Upstream,
    measurement: &mut Measurement,
    mut request: Request<PeekBody>,
) -> Result<(Response<Incoming>, Exchange), Refusal> {
    loop {
        let (connection, pooled) = match upstream.take_idle().await {
            Some(connection) => (connection, true),
            None => (Connection::Socket(connect(upstream, measurement).await?), false),
        };
        match Exchange::send(connection, request).await {
            Ok(answered) => return Ok(answered),
            Err(SendError { unsent: Some(unsent), .. }) if pooled => {
                upstream.tap().series().resends.inc();
                request = *unsent;
            }
            Err(SendError { error, .. }) => {
                tracing::debug!(%error, "no answer from the upstream");
                return Err(if error.is_parse() { Refusal::Invalid } else { Refusal::Closed });
            }
        }
    }
}

async fn connect(upstream: &Upstream, measurement: &mut Measurement) -> Result<StampedIo, Refusal> {
    match upstream.connect().await {
        Ok((io, after)) => {
            measurement.connected(after);
            Ok(io)
        }
        Err(error) => Err(error.into()),
    }
}
