//! Life of one request: forward it, wait for the response head, and choose how the body reaches the client.

use super::error_response::ErrorResponse;
use super::headers::{self, RequestOptions};
use super::interim::{accepts_interim, forward_interim};
use super::request::{ForwardPlan, is_grpc, prepare_head, to_http2_head};
use super::request_deadline::RequestDeadline;
use super::upgrade::{self, UpgradeOutcome};
use crate::metrics::LimitKind;
use crate::proxy::ProxyBody;
use crate::proxy::body::{BodyContent, BodySource, ResponseDeadline, UpstreamBody};
use crate::proxy::body::{ClientFraming, StreamReader, StreamResponse, UpgradedUpstream};
use crate::proxy::handover::{
    ClientRequests, DetachedResponse, ResponseHandover, SendError, UpstreamExchange, reject_reason,
};
use crate::proxy::tls;
use crate::proxy::upstream::{
    Checkout, PooledConnection, UpstreamConfig, UpstreamPool, UpstreamProtocol,
};
use crate::socket::SocketTimestamps;
use crate::tap::{Measurement, MeteredBody, PeekBody, RequestFault};
use arc_swap::Guard;
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::{request, response};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Version};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use streamgauge_core::meter::EndCause;
use streamgauge_core::wire::reject_reason::RejectReason;

/// The proxy as hyper's service. Each client connection has its own.
#[derive(Debug)]
pub(crate) struct ProxyService {
    pub upstream: Arc<UpstreamPool>,
    /// Timestamps of the client's socket.
    pub client: Arc<SocketTimestamps>,
    /// Through this, a response leaves hyper (see [`handover`](crate::proxy::handover)).
    pub handover: Arc<ResponseHandover>,
    /// Requests of the client's connection.
    pub requests: Arc<ClientRequests>,
    /// Maximum number of requests on the connection.
    pub max_requests: Option<usize>,
    /// There are too many connections, so each request gets an error.
    pub is_refused: bool,
}

impl Service<Request<Incoming>> for ProxyService {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.handover.on_request();
        let (head, body) = request.into_parts();
        let measurement = Measurement::start(self.upstream.tap(), &self.client, &head);
        let client = ClientExpectations::new(&head);
        let (upstream, handover) = (Arc::clone(&self.upstream), Arc::clone(&self.handover));
        let open_request = self.requests.start();
        let (max_requests, is_refused) = (self.max_requests, self.is_refused);
        if max_requests == Some(self.requests.started()) {
            self.handover.announce_close();
            if !is_refused {
                self.upstream.tap().upstream_series().count_limit(LimitKind::ConnectionRequests);
            }
        }
        Box::pin(async move {
            let mut measurement = measurement;
            let config = Guard::into_inner(upstream.config());
            let is_http2 = head.version == Version::HTTP_2;
            let mut deadline = RequestDeadline::new(
                &upstream,
                &config.limits,
                &open_request,
                &measurement,
                is_http2,
                is_http2 && is_grpc(&head.headers),
            );
            if is_refused {
                let error = ErrorResponse::TooManyConnections;
                let mut response =
                    respond_with_error(error, &handover, measurement, client.version);
                response.body_mut().keep_open(open_request);
                return Ok(response);
            }
            let forwarded = {
                let mut forward = pin!(forward_request(
                    &upstream,
                    &config,
                    &handover,
                    &mut measurement,
                    client.options,
                    head,
                    body
                ));
                poll_fn(|cx| match (forward.as_mut().poll(cx), &mut deadline) {
                    (Poll::Pending, Some(deadline)) => deadline.poll_exceeded(cx).map(Err),
                    (forwarded, _) => forwarded,
                })
                .await
            };
            let mut response = match forwarded {
                Ok(response) => {
                    let deadline = ResponseDeadline::new(&upstream, &config.limits, &measurement);
                    response.into_client_response(
                        upstream,
                        &handover,
                        measurement,
                        client,
                        deadline,
                    )
                }
                Err(error) => respond_with_error(error, &handover, measurement, client.version),
            };
            if handover.announces_close() && client.closes_with_header(response.status()) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            poll_fn(|cx| {
                response.body_mut().release_if_empty(cx);
                Poll::Ready(())
            })
            .await;
            response.body_mut().keep_open(open_request);
            Ok(response)
        })
    }
}

/// Properties of the response that the client expects, according to its request.
#[derive(Debug, Clone, Copy)]
struct ClientExpectations {
    version: Version,
    /// The method is HEAD.
    is_head: bool,
    options: RequestOptions,
}

impl ClientExpectations {
    fn new(head: &request::Parts) -> Self {
        Self {
            version: head.version,
            is_head: head.method == Method::HEAD,
            options: RequestOptions::read(&head.headers),
        }
    }

    /// Whether the header `Connection: close` can announce the end of the connection: HTTP/2 sends GOAWAY, and a
    /// connection that has switched to another protocol takes no further request.
    fn closes_with_header(&self, status: StatusCode) -> bool {
        self.version != Version::HTTP_2 && status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Response of the upstream, of which only the head was read.
struct UpstreamResponse {
    head: response::Parts,
    body: Incoming,
    source: BodySource,
    upgrade: UpgradeOutcome,
}

/// Forwards a request and waits for the response head.
async fn forward_request(
    upstream: &UpstreamPool,
    config: &UpstreamConfig,
    handover: &Arc<ResponseHandover>,
    measurement: &mut Measurement,
    options: RequestOptions,
    mut head: request::Parts,
    body: Incoming,
) -> Result<UpstreamResponse, ErrorResponse> {
    let has_too_many = head.headers.len() > config.limits.request_headers;
    let rejected = reject_reason(&head).or(has_too_many.then_some(RejectReason::HeaderCount));
    if let Some(reason) = rejected {
        if matches!(reason, RejectReason::HeadSize | RejectReason::HeaderCount) {
            upstream.tap().upstream_series().count_limit(LimitKind::RequestHeaderSize);
        }
        return Err(ErrorResponse::Rejected(reason));
    }
    let is_http2 = head.version == Version::HTTP_2;
    let accepts_interim = accepts_interim(&head);
    // Never `None`: the end of the request is not recorded yet.
    let body = measurement.request_body(body).ok_or(ErrorResponse::UpstreamClosed)?;
    let plan = prepare_head(&mut head, options, !body.is_end_stream(), config)?;
    let mut request = Request::from_parts(head, body);
    let mut expectation = None;
    if accepts_interim && plan.protocol != UpstreamProtocol::Http2 {
        let expects = options.expects_continue;
        expectation = forward_interim(&mut request, expects, handover, upstream.timers());
    }
    let (response, source) = send_with_retry(upstream, config, measurement, &plan, request).await?;
    if let Some(expectation) = expectation {
        expectation.on_response();
    }
    let (head, body) = response.into_parts();
    let upgrade = UpgradeOutcome::new(&head, plan.upgrade.as_ref());
    let switched_before_sent =
        upgrade != UpgradeOutcome::NotSwitched && !measurement.is_request_sent();
    if upgrade == UpgradeOutcome::Unrequested || switched_before_sent {
        return Err(ErrorResponse::InvalidResponse);
    }
    if is_http2 && !has_only_chunked_coding(&head) {
        return Err(ErrorResponse::InvalidResponse);
    }
    Ok(UpstreamResponse { head, body, source, upgrade })
}

/// Whether the body has no transfer coding but chunked. HTTP/2 cannot forward another one.
fn has_only_chunked_coding(head: &response::Parts) -> bool {
    let is_chunked =
        |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    head.headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked)
}

impl UpstreamResponse {
    /// Returns the response for hyper's server, and decides who carries the body (see
    /// [`handover`](crate::proxy::handover)).
    fn into_client_response(
        self,
        upstream: Arc<UpstreamPool>,
        handover: &ResponseHandover,
        mut measurement: Measurement,
        client: ClientExpectations,
        deadline: Option<Box<ResponseDeadline>>,
    ) -> Response<ProxyBody> {
        let Self { mut head, body, source, upgrade } = self;
        measurement.on_response_head(&head, source.timestamps());
        let has_length = body.size_hint().exact().is_some();
        // The coding overrides the length, which is not forwarded (RFC 9112, section 6.3).
        if !has_length && head.headers.contains_key(CONTENT_LENGTH) {
            upstream.tap().upstream_series().count_conflicting_response();
        }
        if client.version == Version::HTTP_10 && !has_length {
            // Over HTTP/1.0 the body ends when the connection closes. Only a reset tells the client that it is
            // incomplete. The reset is cancelled once the whole body is written.
            measurement.client_stamps().reset_on_close(true);
        }
        let is_http2 = client.version == Version::HTTP_2;
        let is_early = is_early(&measurement, client.version);
        let body = match (source, &upgrade) {
            (BodySource::Http1(exchange), UpgradeOutcome::SwitchedTo(_)) => {
                // A 101 has no body for hyper.
                drop(body);
                let Some((io, first)) = exchange.take_socket() else {
                    return ErrorResponse::UpstreamClosed.into_response(measurement);
                };
                let tunnel = DetachedResponse::Tunnel(UpgradedUpstream { io, first, measurement });
                BodyContent::Detached(handover.start(tunnel))
            }
            (BodySource::Http1(exchange), _)
                if !has_length && !is_http2 && can_take_socket(&measurement, &exchange) =>
            {
                // hyper has read no byte of it.
                drop(body);
                let (io, first) = exchange.take_socket().unzip();
                let body = StreamReader::new(&head, io, first.unwrap_or_default(), upstream);
                let framing = match client.version {
                    Version::HTTP_10 => ClientFraming::Close,
                    _ => ClientFraming::Chunked { trailers: client.options.trailers },
                };
                let keep_alive = !client.options.close;
                let stream = StreamResponse { body, measurement, framing, keep_alive, deadline };
                BodyContent::Detached(handover.start(DetachedResponse::Stream(stream)))
            }
            (source, _) => {
                let body = UpstreamBody::new(body, source, upstream, head.status, deadline);
                // In HTTP/2, hyper keeps the `Content-Length` of a response without a body.
                let declared = declared_length(&head, client.is_head || is_http2);
                BodyContent::Upstream(MeteredBody::new(body, measurement, declared))
            }
        };
        head.headers = headers::remove_hop_by_hop(std::mem::take(&mut head.headers));
        if is_http2 {
            head.headers = headers::remove_http1_framing(std::mem::take(&mut head.headers));
        }
        if let UpgradeOutcome::SwitchedTo(protocol) = upgrade {
            upgrade::set_upgrade_headers(&mut head.headers, protocol);
        }
        if is_early {
            close_after(handover, &mut head.headers);
        }
        // The response has Streamgauge's version, not the upstream's. HTTP/2 ignores it.
        head.version = Version::HTTP_11;
        Response::from_parts(head, ProxyBody::from(body))
    }
}

/// Whether the socket can be taken from hyper: the request is completely sent, and hyper has read no byte of the body.
fn can_take_socket(measurement: &Measurement, exchange: &UpstreamExchange) -> bool {
    measurement.is_request_sent() && !exchange.hyper_reads_body()
}

/// Whether a response of this version starts before the request is completely received. With HTTP/2, that concerns no
/// other request of the connection.
fn is_early(measurement: &Measurement, client: Version) -> bool {
    client != Version::HTTP_2 && !measurement.is_request_received()
}

/// Makes an early response the last of its connection. How much of the request will be left when it ends is not known now,
/// and the client must not send its next request behind that.
fn close_after(handover: &ResponseHandover, headers: &mut HeaderMap) {
    handover.respond_early();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Returns the proxy's own response.
fn respond_with_error(
    error: ErrorResponse,
    handover: &ResponseHandover,
    measurement: Measurement,
    client: Version,
) -> Response<ProxyBody> {
    let is_early = is_early(&measurement, client);
    let mut response = own_response(error, measurement);
    if is_early {
        close_after(handover, response.headers_mut());
    }
    response
}

fn own_response(error: ErrorResponse, mut measurement: Measurement) -> Response<ProxyBody> {
    // The rest of the request may stay unread. The next byte counts as the start of a new request.
    measurement.client_stamps().expect_head();
    match measurement.request_fault() {
        Some(RequestFault::Framing) => {
            ErrorResponse::Rejected(RejectReason::Chunk).into_response(measurement)
        }
        Some(RequestFault::ClientGone) => {
            // Record the disconnect first. The client can still read a response if it has closed only its sending side.
            measurement.finish(EndCause::Dropped);
            ErrorResponse::Incomplete.into_response(measurement)
        }
        None => error.into_response(measurement),
    }
}

/// Returns the `Content-Length` of a 304, which has no body. hyper would remove the header, unless it `keeps_header`
/// anyway.
fn declared_length(head: &response::Parts, keeps_header: bool) -> Option<u64> {
    if head.status != StatusCode::NOT_MODIFIED || keeps_header {
        return None;
    }
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether TLS ended the connection. With TLS 1.3, a server refuses the client's certificate after the handshake.
fn is_tls_failure(error: &hyper::Error) -> bool {
    error.source().and_then(|cause| cause.downcast_ref()).is_some_and(tls::is_tls_error)
}

/// Sends the request on a pooled or new connection.
///
/// Sends it again only if a pooled connection was closed before any byte was written.
async fn send_with_retry(
    upstream: &UpstreamPool,
    config: &UpstreamConfig,
    measurement: &mut Measurement,
    plan: &ForwardPlan,
    request: Request<PeekBody>,
) -> Result<(Response<Incoming>, BodySource), ErrorResponse> {
    let (head, body) = request.into_parts();
    // HTTP/1.1 returns an unsent request unchanged. HTTP/2 rewrites its head, so a retry needs a copy.
    let original = match plan.protocol {
        UpstreamProtocol::Http1 => None,
        _ => Some(head.clone()),
    };
    let mut request = Request::from_parts(head, body);
    loop {
        let checkout = upstream.check_out(plan.protocol, config.idle_timeout).await;
        let Checkout { connection, connect_time } = match checkout {
            Ok(checkout) => checkout,
            Err(error) => {
                let expects_continue = request.headers().contains_key(EXPECT);
                request.into_body().peek_without_forwarding(expects_continue).await;
                return Err(error.into());
            }
        };
        let is_new = connect_time.is_some();
        if let Some(time) = connect_time {
            measurement.on_connected(time);
        }
        let (error, unsent) = match connection {
            PooledConnection::Http1(connection) => {
                let may_switch = plan.upgrade.is_some();
                let max_interim = config.limits.interim_responses;
                match UpstreamExchange::send(connection, request, may_switch, max_interim).await {
                    Ok((response, exchange)) => return Ok((response, BodySource::Http1(exchange))),
                    Err(SendError { error, unsent }) => (error, unsent.map(|unsent| *unsent)),
                }
            }
            PooledConnection::Http2(mut slot) => {
                let (mut head, mut body) = request.into_parts();
                // No interim response of HTTP/2 arrives here.
                body.release();
                to_http2_head(&mut head, config)?;
                match slot.send(Request::from_parts(head, body)).await {
                    Ok(response) => return Ok((response, BodySource::Http2(slot))),
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
                request = Request::from_parts(original.clone().unwrap_or(head), body);
            }
            _ => {
                tracing::debug!(%error, "no response from the upstream");
                let is_interim_limit = SendError::has_too_many_interim_responses(&error);
                if is_interim_limit {
                    upstream.tap().upstream_series().count_limit(LimitKind::InterimResponses);
                }
                return Err(if error.is_parse() || is_interim_limit {
                    ErrorResponse::InvalidResponse
                } else if is_tls_failure(&error) {
                    ErrorResponse::Tls
                } else {
                    ErrorResponse::UpstreamClosed
                });
            }
        }
    }
}
