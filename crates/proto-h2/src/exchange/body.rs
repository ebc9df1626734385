//! The exchange as the response's body drives it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use httpcore_core_primitives::Error;
use httpcore_proto_common::response_body::ReceivingExchange;

use crate::error::StreamFailure;

use super::Exchange;

/// What comes next in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Data,
    /// Trailers, if there are any.
    Trailers,
}

/// An exchange whose response has a head.
pub(super) struct ReceivingResponse {
    /// What arrived with the head, until it is polled for.
    first: Option<Bytes>,
    next: Next,
    exchange: Exchange,
}

impl ReceivingResponse {
    pub(super) fn new(exchange: Exchange, first: Option<Bytes>) -> Self {
        ReceivingResponse {
            first,
            next: Next::Data,
            exchange,
        }
    }
}

impl ReceivingExchange for ReceivingResponse {
    type Failure = StreamFailure;

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, StreamFailure>> {
        let exchange = &mut self.exchange;
        exchange.control.check_limits(&exchange.timer)?;
        if let Some(data) = self.first.take() {
            exchange.take_data(&data)?;
            return Poll::Ready(Ok(Some(Frame::data(data))));
        }
        loop {
            let sending = exchange.poll_send(cx)?;
            if self.next == Next::Data
                && let Poll::Ready(data) = exchange.poll_data(cx)?
            {
                match data {
                    Some(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                    None => self.next = Next::Trailers,
                }
            }
            if self.next == Next::Trailers
                && let Poll::Ready(trailers) = exchange.poll_trailers(cx)?
            {
                return Poll::Ready(Ok(trailers.map(Frame::trailers)));
            }
            ready!(exchange.poll_limits(cx, sending))?;
        }
    }

    fn ends_with(&mut self, frame: &Frame<Bytes>) -> bool {
        frame.is_trailers() || self.exchange.has_ended()
    }

    fn remaining(&self) -> Option<u64> {
        self.exchange.remaining
    }

    fn finish(&mut self) {
        self.exchange.finish();
    }

    fn fail(&mut self, failure: StreamFailure) -> Error {
        self.exchange.fail(failure)
    }
}
