//! Body of the proxy's responses, as hyper's server sees it.

use super::{UpstreamBody, UpstreamBodyError};
use crate::proxy::handover::{DetachedBody, OpenRequest};
use crate::tap::MeteredBody;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Body of a response to a client.
#[derive(Debug)]
pub(crate) struct ProxyBody {
    content: BodyContent,
    /// The request is open until hyper drops the body.
    request: Option<OpenRequest>,
}

/// Source of a response body.
#[derive(Debug)]
pub(crate) enum BodyContent {
    /// Body of the upstream's response, measured and carried by hyper.
    Upstream(MeteredBody<UpstreamBody>),
    /// Placeholder of a body that is sent without hyper.
    Detached(DetachedBody),
    /// Body of a response that the proxy generates itself.
    Error(Full<Bytes>),
}

impl From<BodyContent> for ProxyBody {
    fn from(content: BodyContent) -> Self {
        Self { content, request: None }
    }
}

impl ProxyBody {
    /// Puts the upstream's connection back into the pool, if there is no body. hyper does not poll such a body.
    pub fn release_if_empty(&mut self, cx: &mut Context<'_>) {
        if let BodyContent::Upstream(body) = &mut self.content {
            let body = body.get_mut();
            if body.is_end_stream() {
                body.release(cx);
            }
        }
    }

    /// Keeps the request open until the body is dropped.
    pub fn keep_open(&mut self, mut request: OpenRequest) {
        if self.is_end_stream() {
            request.complete();
        }
        self.request = Some(request);
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            BodyContent::Upstream(body) => Pin::new(body).poll_frame(cx),
            BodyContent::Detached(body) => {
                Pin::new(body).poll_frame(cx).map_err(|never| match never {})
            }
            BodyContent::Error(body) => {
                Pin::new(body).poll_frame(cx).map_err(|never| match never {})
            }
        };
        let has_ended = match &frame {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || this.is_end_stream(),
            Poll::Ready(None | Some(Err(_))) => true,
        };
        if has_ended && let Some(request) = &mut this.request {
            request.complete();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            BodyContent::Upstream(body) => body.is_end_stream(),
            BodyContent::Detached(body) => body.is_end_stream(),
            BodyContent::Error(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodyContent::Upstream(body) => body.size_hint(),
            BodyContent::Detached(body) => body.size_hint(),
            BodyContent::Error(body) => body.size_hint(),
        }
    }
}
