//! The exchange as the response's body drives it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use httpcore_core_primitives::Error;
use httpcore_proto_common::{failure::Failure, response_body::ReceivingExchange};

use crate::codec::Event;

use super::Exchange;

/// An exchange whose response has a head.
pub(super) struct ReceivingResponse {
    /// What arrived with the head, until it is polled for.
    first: Option<Event>,
    exchange: Exchange,
}

impl ReceivingResponse {
    pub(super) fn new(exchange: Exchange, first: Option<Event>) -> Self {
        ReceivingResponse { first, exchange }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        let exchange = &mut self.exchange;
        if let Some(connection) = &exchange.connection {
            exchange.control.check_limits(&connection.timer)?;
        }
        if let Some(event) = self.first.take() {
            return Poll::Ready(Ok(event));
        }
        loop {
            let sending = exchange.poll_send(cx)?;
            if let Poll::Ready(event) = exchange.poll_receive(cx) {
                return Poll::Ready(event);
            }
            ready!(exchange.poll_limits(cx, sending))?;
        }
    }
}

impl ReceivingExchange for ReceivingResponse {
    type Failure = Failure;

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Failure>> {
        Poll::Ready(Ok(match ready!(self.poll_event(cx))? {
            Event::Data(data) => {
                self.exchange.control.received(data.len());
                Some(Frame::data(data))
            }
            Event::Trailers(trailers) => Some(Frame::trailers(trailers)),
            Event::End | Event::Head(_) | Event::Informational(_) => None,
        }))
    }

    fn ends_with(&mut self, _: &Frame<Bytes>) -> bool {
        self.exchange.try_read_end()
    }

    fn remaining(&self) -> Option<u64> {
        let first = match &self.first {
            Some(Event::Data(data)) => data.len() as u64,
            _ => 0,
        };
        Some(first + self.exchange.codec.remaining()?)
    }

    fn finish(&mut self) {
        self.exchange.finish();
    }

    fn fail(&mut self, failure: Failure) -> Error {
        self.exchange.fail(failure)
    }

    /// The caller does not want the rest of the response, and may still want the connection.
    fn abandon(&mut self) {
        if matches!(self.first, Some(Event::End)) || self.exchange.drain() {
            self.exchange.finish();
        }
    }
}
