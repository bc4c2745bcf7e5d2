//! Body of the proxy's responses, as hyper's server sees it.

use super::UpstreamBody;
use crate::proxy::handover::DetachedBody;
use crate::tap::MeteredBody;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Body of a response to a client.
#[derive(Debug)]
pub(crate) enum ProxyBody {
    /// Body of the upstream's response, measured and carried by hyper.
    Upstream(MeteredBody<UpstreamBody>),
    /// Placeholder of a body that is sent without hyper.
    Detached(DetachedBody),
    /// Body of a response that the proxy generates itself.
    Error(Full<Bytes>),
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Detached(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Error(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Detached(body) => body.is_end_stream(),
            Self::Error(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Detached(body) => body.size_hint(),
            Self::Error(body) => body.size_hint(),
        }
    }
}
