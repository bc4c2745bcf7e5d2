//! What happens to one request.

use super::error_response::ErrorResponse;
use super::headers;
use super::request::{ForwardPlan, prepare, to_http2};
use super::upgrade::{self, UpgradeOutcome};
use crate::proxy::ProxyBody;
use crate::proxy::body::StreamReader;
use crate::proxy::body::UpgradedUpstream;
use crate::proxy::body::{BodySource, UpstreamBody};
use crate::proxy::body::{ClientFraming, StreamResponse};
use crate::proxy::handover::{ResponseHandover, Takeover};
use crate::proxy::handover::{SendError, UpstreamExchange};
use crate::proxy::upstream::UpstreamProtocol;
use crate::proxy::upstream::{Checkout, PooledConnection, UpstreamPool};
use crate::socket::SocketTimestamps;
use crate::tap::{Measurement, MeteredBody, PeekBody, RequestFault};
use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use hyper::http::{request, response};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Version};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use streamgauge_core::meter::EndCause;

/// The proxy as a service, one for each client connection.
#[derive(Debug)]
pub(crate) struct ProxyService {
    pub upstream: Arc<UpstreamPool>,
    /// Of the client's socket.
    pub client: Arc<SocketTimestamps>,
    /// Takes what goes on without hyper.
    pub handover: Arc<ResponseHandover>,
}

impl Service<Request<Incoming>> for ProxyService {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (head, body) = request.into_parts();
        let measurement = Measurement::start(self.upstream.tap(), &self.client, &head);
        let asker = ResponseContext::of(&head);
        let (upstream, handover) = (Arc::clone(&self.upstream), Arc::clone(&self.handover));
        Box::pin(async move {
            let (mut measurement, asker) = (measurement, asker);
            let answered = ask(&upstream, &mut measurement, head, body).await;
            Ok(match answered {
                Ok(answer) => answer.forward(upstream, &handover, measurement, asker).await,
                Err(refusal) => refuse(refusal, measurement),
            })
        })
    }
}

/// What the answer depends on in its request.
#[derive(Debug, Clone, Copy)]
struct ResponseContext {
    version: Version,
    is_head: bool,
    takes_trailers: bool,
    /// Its connection takes another request behind the answer.
    keeps: bool,
}

impl ResponseContext {
    fn of(head: &request::Parts) -> Self {
        Self {
            version: head.version,
            is_head: head.method == Method::HEAD,
            takes_trailers: headers::takes_trailers(&head.headers),
            keeps: !headers::closes(&head.headers),
        }
    }
}

/// The upstream's answer.
struct UpstreamResponse {
    head: response::Parts,
    body: Incoming,
    source: BodySource,
    switch: UpgradeOutcome,
}

/// Sends a request on, and waits for the head of its answer.
async fn ask(
    upstream: &UpstreamPool,
    measurement: &mut Measurement,
    mut head: request::Parts,
    body: Incoming,
) -> Result<UpstreamResponse, ErrorResponse> {
    let is_http2 = head.version == Version::HTTP_2;
    let prepared = prepare(&mut head, !body.is_end_stream(), upstream.config())?;
    let body = measurement.request_body(body).ok_or(ErrorResponse::Closed)?;
    let (response, source) = send(upstream, measurement, &prepared, head, body).await?;
    let (head, body) = response.into_parts();
    let switch = UpgradeOutcome::of(&head, prepared.upgrade.as_ref());
    let is_early = switch != UpgradeOutcome::None && !measurement.is_request_sent();
    if switch == UpgradeOutcome::Unasked || is_early || is_http2 && !is_plain(&head) {
        return Err(ErrorResponse::Invalid);
    }
    Ok(UpstreamResponse { head, body, source, switch })
}

/// Whether the body is in no coding that would be lost with the chunks.
fn is_plain(head: &response::Parts) -> bool {
    let is_chunked =
        |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    head.headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked)
}

impl UpstreamResponse {
    /// Makes it the client's.
    async fn forward(
        self,
        upstream: Arc<UpstreamPool>,
        handover: &ResponseHandover,
        mut measurement: Measurement,
        asker: ResponseContext,
    ) -> Response<ProxyBody> {
        let Self { mut head, body, source, switch } = self;
        measurement.on_response_head(&head, source.stamps());
        let is_sized = body.size_hint().exact().is_some();
        if asker.version == Version::HTTP_10 && !is_sized {
            // The end of the connection will be the end of the body: only a reset can tell that
            // it is not. Checkout back when the body has come to its end.
            measurement.client_stamps().reset_on_close(true);
        }
        let is_http2 = asker.version == Version::HTTP_2;
        let body = match (source, &switch) {
            (BodySource::Http1(exchange), UpgradeOutcome::To(_)) => {
                drop(body);
                match exchange.into_parts() {
                    Some((io, first)) => {
                        let switched = UpgradedUpstream { io, first, measurement };
                        Either::Right(Either::Right(handover.hand_over(Takeover::Tunnel(switched))))
                    }
                    None => return ErrorResponse::Closed.into_response(measurement),
                }
            }
            (BodySource::Http1(exchange), _)
                if !is_sized && !is_http2 && may_leave(&measurement, &exchange) =>
            {
                drop(body);
                let (io, first) = exchange.into_parts().unzip();
                let body = StreamReader::new(&head, io, first.unwrap_or_default(), upstream);
                let framing = match asker.version {
                    Version::HTTP_10 => ClientFraming::Close,
                    _ => ClientFraming::Chunked { trailers: asker.takes_trailers },
                };
                let stream = StreamResponse { body, measurement, framing, keeps: asker.keeps };
                Either::Right(Either::Right(handover.hand_over(Takeover::Stream(stream))))
            }
            (source, _) => {
                let mut body = UpstreamBody::new(body, source, upstream);
                if body.is_end_stream() {
                    poll_fn(|cx| {
                        body.release(cx);
                        Poll::Ready(())
                    })
                    .await;
                }
                // HTTP/2 needs no body to declare a length.
                let declared = declared_length(&head, asker.is_head || is_http2);
                Either::Left(MeteredBody::new(body, measurement, declared))
            }
        };
        head.headers = headers::end_to_end(std::mem::take(&mut head.headers));
        if is_http2 {
            head.headers = headers::unframed(std::mem::take(&mut head.headers));
        }
        if let UpgradeOutcome::To(protocol) = switch {
            upgrade::switched(&mut head.headers, protocol);
        }
        head.version = Version::HTTP_11;
        Response::from_parts(head, body)
    }
}

/// Whether hyper may be left behind: it has sent all of the request, and nothing of the body was read.
fn may_leave(measurement: &Measurement, exchange: &UpstreamExchange) -> bool {
    measurement.is_request_sent() && !exchange.pass().is_open()
}

/// Answers in the upstream's place.
fn refuse(refusal: ErrorResponse, mut measurement: Measurement) -> Response<ProxyBody> {
    // Nobody may have read all of this request: on its connection the next begins with what comes after.
    measurement.client_stamps().expect_head();
    match measurement.request_fault() {
        Some(RequestFault::Framing) => {
            ErrorResponse::BadRequest("the request's body is broken: its framing is wrong")
                .into_response(measurement)
        }
        Some(RequestFault::ClientGone) => {
            // Recorded as what it is; the answer is for a client that still listens.
            measurement.finish(EndCause::Dropped);
            ErrorResponse::BadRequest("the request ended before all of its body had come")
                .into_response(measurement)
        }
        None => refusal.into_response(measurement),
    }
}

/// What a 304 declares for the body that it does not have; hyper would leave it out.
fn declared_length(head: &response::Parts, keeps_header: bool) -> Option<u64> {
    if head.status != StatusCode::NOT_MODIFIED || keeps_header {
        return None;
    }
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Sends the request on a connection that is there or a new one. It is sent again only if the one that
/// was there turned out dead before one byte was written.
async fn send(
    upstream: &UpstreamPool,
    measurement: &mut Measurement,
    prepared: &ForwardPlan,
    head: request::Parts,
    body: PeekBody,
) -> Result<(Response<Incoming>, BodySource), ErrorResponse> {
    // What goes by HTTP/1.1 takes the head along, and gives it back.
    let kept = match prepared.protocol {
        UpstreamProtocol::Http1 => None,
        _ => Some(head.clone()),
    };
    let mut request = Request::from_parts(head, body);
    loop {
        let Checkout { carrier, after } = match upstream.connection(prepared.protocol).await {
            Ok(taken) => taken,
            Err(error) => {
                let is_held = request.headers().contains_key(EXPECT);
                request.into_body().peek_without_forwarding(is_held).await;
                return Err(error.into());
            }
        };
        let is_new = after.is_some();
        if let Some(after) = after {
            measurement.on_connected(after);
        }
        let (error, unsent) = match carrier {
            PooledConnection::Http1(connection) => {
                let switches = prepared.upgrade.is_some();
                match UpstreamExchange::send(connection, request, switches).await {
                    Ok((response, exchange)) => return Ok((response, BodySource::Http1(exchange))),
                    Err(SendError { error, unsent }) => (error, unsent.map(|unsent| *unsent)),
                }
            }
            PooledConnection::Http2(mut lease) => {
                let (mut head, body) = request.into_parts();
                to_http2(&mut head, upstream.config())?;
                match lease.send(Request::from_parts(head, body)).await {
                    Ok(response) => return Ok((response, BodySource::Http2(lease))),
                    Err(mut failed) => {
                        let unsent = failed.take_message();
                        (failed.into_error(), unsent)
                    }
                }
            }
        };
        match unsent {
            Some(unsent) if !is_new => {
                upstream.tap().upstream_series().resends.inc();
                let (head, body) = unsent.into_parts();
                request = Request::from_parts(kept.clone().unwrap_or(head), body);
            }
            _ => {
                tracing::debug!(%error, "no answer from the upstream");
                return Err(if error.is_parse() {
                    ErrorResponse::Invalid
                } else {
                    ErrorResponse::Closed
                });
            }
        }
    }
}
