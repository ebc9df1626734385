//! The body of a response which is still arriving: it owns the exchange, and so the stream and its
//! lease.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use httpcore_core_primitives::{Error, TimeoutKind};

use crate::exchange::{Exchange, Failure};

pub(crate) struct ResponseBody {
    /// What came with the head, and has not been asked for.
    first: Option<Bytes>,
    /// There is no more data; perhaps there are trailers.
    data_ended: bool,
    /// Until the response has ended, or failed.
    exchange: Option<Exchange>,
}

impl ResponseBody {
    pub(crate) fn new(exchange: Exchange, first: Option<Bytes>) -> Self {
        ResponseBody {
            first,
            data_ended: false,
            exchange: Some(exchange),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Failure>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(Ok(None));
        };
        // A body which always has something to read never waits for its deadline.
        if exchange.is_late() {
            return Poll::Ready(Err(Failure::Timeout(TimeoutKind::Total)));
        }
        if exchange.is_revoked() {
            return Poll::Ready(Err(Failure::Revoked));
        }
        if let Some(data) = self.first.take() {
            let taken = exchange.take_data(&data);
            return Poll::Ready(taken.map(|()| Some(Frame::data(data))));
        }
        loop {
            let sending = exchange.poll_send(cx)?;
            if !self.data_ended {
                match exchange.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) => {
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                    Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(failure)),
                    Poll::Ready(None) => self.data_ended = true,
                    Poll::Pending => {}
                }
            }
            if self.data_ended
                && let Poll::Ready(trailers) = exchange.poll_trailers(cx)
            {
                return Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)));
            }
            ready!(exchange.poll_waits(cx, sending))?;
        }
    }

    fn finish(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.finish();
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
        match ready!(self.poll_next(cx)) {
            Ok(Some(frame)) => {
                // The stream's place goes to others as soon as nothing more will come, and not only
                // when somebody asks whether there is more.
                let ended = self.exchange.as_ref().is_some_and(Exchange::has_ended);
                if ended || frame.is_trailers() {
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
                Some(left) => SizeHint::with_exact(left),
                None => SizeHint::default(),
            },
        }
    }
}
