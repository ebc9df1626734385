//! The body of a response that is still arriving: it owns the exchange, and so the connection or
//! stream and its lease.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use httpcore_core_primitives::Error;

/// An exchange whose response has a head, as its body drives it.
pub trait ReceivingExchange: Unpin + Send + 'static {
    /// Why the exchange fails.
    type Failure;

    /// Ready with the next frame of the response's body, with `None` after the last.
    ///
    /// Sends what is left of the request meanwhile.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Self::Failure>>;

    /// Returns whether the response ended with `frame`, so that the connection is released with the
    /// last frame and not only when the caller polls for another.
    fn ends_with(&mut self, frame: &Frame<Bytes>) -> bool;

    /// Returns the number of bytes of body that are still to come, if the response declares it.
    fn remaining(&self) -> Option<u64>;

    /// Ends the exchange: the response has ended.
    fn finish(&mut self);

    /// Ends the exchange with an error.
    fn fail(&mut self, failure: Self::Failure) -> Error;

    /// Prepares for being dropped before the response has ended.
    fn abandon(&mut self) {}
}

/// The body of a response that is still arriving.
///
/// When it is dropped, its exchange is; then the connection is closed or the stream reset, unless the
/// exchange does otherwise in [`abandon`](ReceivingExchange::abandon).
#[derive(Debug)]
pub struct ResponseBody<X: ReceivingExchange> {
    /// Until the response has ended, or failed.
    exchange: Option<X>,
}

impl<X: ReceivingExchange> ResponseBody<X> {
    /// Returns the body that `exchange` receives.
    pub fn new(exchange: X) -> Self {
        ResponseBody {
            exchange: Some(exchange),
        }
    }

    fn finish(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.finish();
        }
    }
}

impl<X: ReceivingExchange> Drop for ResponseBody<X> {
    fn drop(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.abandon();
        }
    }
}

impl<X: ReceivingExchange> Body for ResponseBody<X> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(None);
        };
        match ready!(exchange.poll_frame(cx)) {
            Ok(Some(frame)) => {
                if exchange.ends_with(&frame) {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Err(failure) => {
                let exchange = self.exchange.take();
                Poll::Ready(exchange.map(|mut exchange| Err(exchange.fail(failure))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.exchange {
            None => SizeHint::with_exact(0),
            Some(exchange) => match exchange.remaining() {
                Some(remaining) => SizeHint::with_exact(remaining),
                None => SizeHint::default(),
            },
        }
    }
}
