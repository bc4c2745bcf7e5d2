//! Interim responses (1xx), and `Expect: 100-continue` (RFC 9110, sections 10.1.1 and 15.2).
//!
//! The upstream decides whether a client that waits for `100 Continue` may send its body. So the body is read only after
//! the upstream's 100. hyper's server then sends the 100 to the client. All other interim responses are forwarded as they
//! arrive.

use super::headers;
use crate::proxy::handover::ResponseHandover;
use crate::proxy::timers::Timers;
use crate::tap::PeekBody;
use hyper::header::HeaderMap;
use hyper::http::request;
use hyper::{Request, StatusCode, Version};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

/// Maximum number of interim responses that are forwarded for a request.
const MAX_INTERIM: usize = 32;
/// Maximum time to wait for the upstream's `100 Continue`. Servers that ignore `Expect` send none; curl waits as long.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// The client's `Expect: 100-continue`.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectation(Arc<AtomicU8>);

impl Expectation {
    const WAITING: u8 = 0;
    /// The upstream wants the body.
    const CONTINUED: u8 = 1;
    /// The upstream has sent its final response.
    const ANSWERED: u8 = 2;

    /// The upstream has sent its final response: the body is not read any more, unless it already is.
    pub fn on_response(&self) {
        self.leave_waiting(Self::ANSWERED);
    }

    fn leave_waiting(&self, to: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, to, Relaxed, Relaxed).is_ok()
    }

    /// Waits until the body may be read.
    async fn wait(self, timers: Timers) {
        let mut timeout = pin!(timers.sleep(CONTINUE_TIMEOUT));
        poll_fn(|cx| match self.0.load(Relaxed) {
            Self::CONTINUED => Poll::Ready(()),
            // hyper has already chosen the response, and drops the body with the connection.
            Self::ANSWERED => Poll::Pending,
            _ => timeout.as_mut().poll(cx),
        })
        .await;
        self.leave_waiting(Self::CONTINUED);
    }
}

/// Whether the client can receive interim responses.
pub(super) fn accepts_interim(head: &request::Parts) -> bool {
    head.version == Version::HTTP_11
}

/// Forwards the interim responses to this request, and holds its body back while the client waits for `100 Continue`.
pub(super) fn forward_interim(
    request: &mut Request<PeekBody>,
    expects_continue: bool,
    handover: &Arc<ResponseHandover>,
    timers: &Timers,
) -> Option<Expectation> {
    let expectation = expects_continue.then(Expectation::default);
    if let Some(expectation) = &expectation {
        request.body_mut().hold_until(expectation.clone().wait(timers.clone()));
    }
    let (waiting, handover) = (expectation.clone(), Arc::clone(handover));
    let forwarded = AtomicUsize::new(0);
    hyper::ext::on_informational(request, move |response| {
        let is_expected = response.status() == StatusCode::CONTINUE
            && waiting
                .as_ref()
                .is_some_and(|waiting| waiting.leave_waiting(Expectation::CONTINUED));
        if !is_expected && forwarded.fetch_add(1, Relaxed) < MAX_INTERIM {
            handover.queue_interim(&interim_head(response.status(), response.headers()));
        }
    });
    expectation
}

/// Returns an interim response as it is sent to the client.
fn interim_head(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &headers::remove_hop_by_hop(fields.clone()) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
