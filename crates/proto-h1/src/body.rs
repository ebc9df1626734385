//! The body of a response which is still arriving: it owns the exchange, and so the connection and
//! its lease.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use httpcore_core_primitives::{Error, TimeoutKind};

use crate::{
    codec::Event,
    exchange::{Exchange, Failure},
};

pub(crate) struct ResponseBody {
    /// What came with the head, and has not been asked for.
    first: Option<Event>,
    /// Until the response has ended, or failed.
    exchange: Option<Exchange>,
}

impl ResponseBody {
    pub(crate) fn new(exchange: Exchange, first: Option<Event>) -> Self {
        ResponseBody {
            first,
            exchange: Some(exchange),
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(Ok(Event::End));
        };
        // A body which always has something to read never waits for its deadline.
        if exchange.is_late() {
            return Poll::Ready(Err(Failure::Timeout(TimeoutKind::Total)));
        }
        if exchange.is_revoked() {
            return Poll::Ready(Err(Failure::Revoked));
        }
        if let Some(event) = self.first.take() {
            return Poll::Ready(Ok(event));
        }
        loop {
            let sending = exchange.poll_send(cx)?;
            if let Poll::Ready(event) = exchange.poll_receive(cx) {
                return Poll::Ready(event);
            }
            ready!(exchange.poll_waits(cx, sending))?;
        }
    }

    /// Lets the connection go as soon as nothing more will come, and not only when somebody asks
    /// whether there is more.
    fn finish_if_ended(&mut self) {
        if self.exchange.as_mut().is_some_and(Exchange::try_read_end) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.finish();
        }
    }

    fn fail(&mut self, failure: Failure) -> Option<Error> {
        let mut exchange = self.exchange.take()?;
        Some(exchange.fail(failure))
    }
}

/// Whoever drops a body does not want the rest of it, and may still want the connection.
impl Drop for ResponseBody {
    fn drop(&mut self) {
        let told_its_end = matches!(self.first, Some(Event::End));
        let exchange = self.exchange.as_mut();
        if exchange.is_some_and(|exchange| told_its_end || exchange.drain()) {
            self.finish();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match ready!(self.poll_event(cx)) {
            Ok(Event::Data(data)) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.received(data.len());
                }
                Frame::data(data)
            }
            Ok(Event::Trailers(trailers)) => Frame::trailers(trailers),
            Ok(Event::End | Event::Head(_) | Event::Informational(_)) => {
                self.finish();
                return Poll::Ready(None);
            }
            Err(failure) => return Poll::Ready(self.fail(failure).map(Err)),
        };
        self.finish_if_ended();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = match &self.first {
            Some(Event::Data(data)) => data.len() as u64,
            _ => 0,
        };
        match &self.exchange {
            None => SizeHint::with_exact(0),
            Some(exchange) => match exchange.remaining() {
                Some(left) => SizeHint::with_exact(first + left),
                None => SizeHint::default(),
            },
        }
    }
}
