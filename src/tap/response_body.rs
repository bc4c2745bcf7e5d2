//! Response bodies that hyper carries: measured while they are forwarded.

use super::Measurement;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use streamgauge_core::meter::EndCause;

pin_project! {
    /// Forwards a response's body frame by frame and measures it.
    ///
    /// A body can end in these ways, and each is recorded once: complete with the headers; `None`; trailers; an error; a
    /// data frame after which `is_end_stream()` is true (also after the last byte of a declared length, before hyper drops
    /// the body); dropped early.
    #[derive(Debug)]
    pub struct MeteredBody<B: Body> {
        #[pin]
        body: B,
        measurement: Measurement,
        // An error is held back until the frames before it are written: hyper discards its buffer when a body
        // fails.
        error: Option<B::Error>,
        // Content-Length of a response whose body is not sent (304).
        declared: Option<u64>,
    }
}

impl<B: Body<Data = Bytes>> MeteredBody<B> {
    /// Wraps `body`. `declared` is the `Content-Length` to report if there is one without a body.
    pub fn new(body: B, mut measurement: Measurement, declared: Option<u64>) -> Self {
        measurement.on_buffered_body();
        if body.is_end_stream() {
            measurement.complete();
        }
        Self { body, measurement, error: None, declared }
    }

    /// The body that is measured.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.body
    }
}

/// An error of the body gives the [`EndCause`] of the request.
impl<B: Body<Data = Bytes>> Body for MeteredBody<B>
where
    for<'e> EndCause: From<&'e B::Error>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if this.error.is_none() {
            let polled = this.body.as_mut().poll_frame(cx);
            this.measurement.set_client_busy(polled.is_ready());
            match ready!(polled) {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        this.measurement.on_response_data(data);
                        this.measurement.set_client_busy(true);
                    }
                    if let Some(fields) = frame.trailers_ref() {
                        this.measurement.on_trailers(fields);
                    }
                    if frame.is_trailers() || this.body.is_end_stream() {
                        this.measurement.complete();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => {
                    this.measurement.finish(EndCause::from(&error));
                    *this.error = Some(error);
                }
                None => {
                    this.measurement.complete();
                    return Poll::Ready(None);
                }
            }
        }
        ready!(this.measurement.client_stamps().poll_all_written(cx));
        Poll::Ready(this.error.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.declared.is_none() && self.error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}
