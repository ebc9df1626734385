//! One exchange: the request is sent and the response received by the task that polls.
//!
//! ```text
//!   ExchangeFuture ── head ──► ResponseBody ── end ──► Lease::give_back, or close
//!        │ owns                     │ owns
//!        └───────► Exchange ◄───────┘     dropped anywhere: connection, then lease
//!                     │
//!           sender, reader, codec, control
//! ```
//!
//! (A body of which little is missing drains that when it is dropped, if it has arrived already, and
//! gives the connection back.)
//!
//! Each poll first sends what can be sent and then receives what has arrived, so that neither direction
//! waits for the other: a server may respond before it has read the request, or instead of reading it. A
//! failed write does not end the exchange, since the response may have arrived already; only reading
//! ends it.

mod body;
mod finish;
mod reader;
mod sender;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{StatusCode, request};
use httpcore_core_primitives::{
    Body, CloseReason, ErrorKind, ExchangeContext, Request, RequestSent, Response, SendError,
    TraceEvent, Upgraded,
};
use httpcore_proto_common::{
    buffers,
    control::{ExchangeControl, StreamReader},
    failure::{Failure, PeerFailure},
    progress::SendStatus,
    request_body::{RequestBody, polled_after_end, send_error},
    response_body::ResponseBody,
    write_buf::WriteBuf,
};

use crate::{
    codec::{Codec, Event, Framing, ProtocolError, RequestError},
    connection::H1Connection,
};

use body::ReceivingResponse;
use reader::ResponseReader;
use sender::RequestSender;

/// An exchange until the head of its response.
pub(crate) struct ExchangeFuture {
    exchange: Option<Exchange>,
    /// Kept until the head has arrived, in case the request has to be sent once more.
    request: Option<request::Parts>,
    /// Present if the request cannot be sent.
    invalid: Option<RequestError>,
}

impl ExchangeFuture {
    /// Creates the future in its box: it is large, and is not moved until the head has arrived.
    pub(crate) fn new(
        connection: Box<H1Connection>,
        request: Request,
        context: ExchangeContext,
    ) -> Pin<Box<Self>> {
        // What may fail comes first: the rest is then moved once, and not kept for unwinding.
        let (place, out) = (Box::new_uninit(), WriteBuf::new(buffers::take_small()));
        let (parts, body) = request.into_parts();
        let mut future = Box::write(
            place,
            ExchangeFuture {
                exchange: Some(Exchange::new(connection, body, context, out)),
                request: Some(parts),
                invalid: None,
            },
        );
        let this = &mut *future;
        if let (Some(exchange), Some(request)) = (&mut this.exchange, &this.request) {
            let started = exchange.sender.start(&mut exchange.codec, request);
            this.invalid = started.err();
        }
        Pin::from(future)
    }

    fn fail(&mut self, failure: Failure) -> Poll<Result<Response, SendError>> {
        let Some(mut exchange) = self.exchange.take() else {
            return Poll::Ready(Err(polled_after_end()));
        };
        let error = exchange.fail(failure);
        let body = exchange.sender.body.rewind();
        Poll::Ready(Err(send_error(error, self.request.take(), body)))
    }
}

impl Future for ExchangeFuture {
    type Output = Result<Response, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(invalid) = this.invalid.take() {
            return this.fail(invalid.into());
        }
        let exchange = this.exchange.as_mut();
        let Some(exchange) = exchange.filter(|exchange| exchange.connection.is_some()) else {
            return Poll::Ready(Err(polled_after_end()));
        };
        let mut head = match ready!(exchange.poll_head(cx, this.request.as_ref())) {
            Ok(head) => head,
            Err(failure) => return this.fail(failure),
        };
        let (status, body) = (head.status(), &exchange.sender.body);
        body.keep_if_repeatable(status, head.extensions_mut(), &mut this.request);
        // A body that has arrived whole with the head needs no connection; otherwise the exchange
        // goes on in the body.
        let body = match exchange.begin_response(&mut head) {
            ResponseStart::Over(body) => body,
            ResponseStart::More(first) => {
                let Some(exchange) = this.exchange.take() else {
                    return Poll::Ready(Err(polled_after_end())); // It has just begun a response.
                };
                let exchange = ReceivingResponse::new(exchange, first);
                Body::from_boxed(Box::pin(ResponseBody::new(exchange)))
            }
        };
        Poll::Ready(Ok(head.map(|()| body)))
    }
}

/// What follows the head of the final response.
enum ResponseStart {
    /// Nothing: this is all of the body.
    Over(Body),
    /// More, of which this arrived with the head.
    More(Option<Event>),
}

/// Both directions of an exchange, with all it owns.
struct Exchange {
    /// Until the exchange has ended. Dropped before the lease, which is in `control`.
    connection: Option<Box<H1Connection>>,
    codec: Codec,
    sender: RequestSender,
    reader: ResponseReader,
    control: ExchangeControl,
}

/// What sender and reader of an exchange both work on.
struct Shared<'a> {
    connection: &'a mut H1Connection,
    codec: &'a mut Codec,
    control: &'a mut ExchangeControl,
}

impl Exchange {
    /// Creates an exchange on `connection`; `out` is empty.
    fn new(
        connection: Box<H1Connection>,
        request_body: Body,
        context: ExchangeContext,
        out: WriteBuf,
    ) -> Self {
        let config = &connection.config;
        let mut options = config.parser_options;
        options.http09 &= connection.served == 0;
        Exchange {
            codec: Codec::new(config.limits).with_options(options),
            sender: RequestSender::new(RequestBody::new(request_body), out),
            reader: ResponseReader::new(),
            control: ExchangeControl::new(
                context,
                config.expect_continue_timeout,
                StreamReader::Caller,
                connection.served > 0,
            ),
            connection: Some(connection),
        }
    }

    /// Ready with the head of the final response.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        request: Option<&request::Parts>,
    ) -> Poll<Result<http::Response<()>, Failure>> {
        loop {
            let sending = self.poll_send(cx)?;
            match self.poll_receive(cx) {
                Poll::Ready(Ok(Event::Informational(response))) => {
                    self.take_informational(&response, request);
                    continue;
                }
                Poll::Ready(Ok(Event::Head(head))) => {
                    self.check_switch()?;
                    return Poll::Ready(Ok(head));
                }
                Poll::Ready(Ok(Event::Data(_) | Event::Trailers(_) | Event::End)) => {
                    unreachable!("a codec yields the head first")
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
            ready!(self.poll_limits(cx, sending))?;
        }
    }

    fn take_informational(
        &mut self,
        response: &http::Response<()>,
        request: Option<&request::Parts>,
    ) {
        if let Some(connection) = &self.connection {
            let extensions = request.map(|request| &request.extensions);
            self.control
                .informational(&connection.timer, response, extensions);
        }
        if response.status() == StatusCode::CONTINUE {
            self.sender.stop_awaiting_continue();
        }
    }

    fn begin_response(&mut self, head: &mut http::Response<()>) -> ResponseStart {
        let status = head.status();
        if let Some(connection) = &self.connection {
            let bytes = self.codec.head_bytes();
            self.control
                .head_received(&connection.timer, status.as_u16(), || bytes as u64);
        }
        if self.codec.framing() == Some(Framing::Switch) {
            self.switch(head);
            return ResponseStart::Over(Body::empty());
        }
        if self.sender.sent() != RequestSent::Full {
            self.control.response_is_early(head.extensions_mut());
        }
        let refused = (status.is_client_error() || status.is_server_error())
            && self.codec.closing() == Some(CloseReason::PeerSaidClose);
        self.sender
            .response_began(&mut self.codec, &self.control, refused);
        if let Some(all) = self.codec.try_take_full_body(&mut self.reader.input) {
            self.control.received(all.len());
            self.finish();
            return ResponseStart::Over(Body::from(all));
        }
        if self.try_read_end() {
            self.finish();
            return ResponseStart::Over(Body::empty());
        }
        match self.reader.decode_first(&mut self.codec) {
            Some(Event::Data(data)) if self.try_read_end() => {
                self.control.received(data.len());
                self.finish();
                ResponseStart::Over(Body::from(data))
            }
            first => ResponseStart::More(first),
        }
    }

    /// RFC 9110 §7.8: the protocol does not change in the middle of a request.
    fn check_switch(&self) -> Result<(), Failure> {
        if self.codec.framing() == Some(Framing::Switch) && self.sender.sent() != RequestSent::Full
        {
            return Err(ProtocolError::UnaskedSwitch.into());
        }
        Ok(())
    }

    /// RFC 9110 §7.8, §9.3.6: the connection carries another protocol from here on.
    fn switch(&mut self, head: &mut http::Response<()>) {
        let (Some(connection), Some(lease)) = (self.connection.take(), self.control.take_lease())
        else {
            return;
        };
        let reason = CloseReason::Upgraded;
        self.control
            .emit(&connection.timer, || TraceEvent::ConnectionClosed {
                reason,
            });
        let leading = BytesMut::from(&self.reader.input[..]);
        Upgraded::new(connection.stream, leading, lease).insert_into(head.extensions_mut());
    }

    /// Sends what can be sent now.
    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<SendStatus, Failure> {
        if self.sender.is_over() {
            return Ok(SendStatus::Over);
        }
        self.poll_upload(cx)
    }

    #[inline(never)] // Nearly every second poll has nothing to send, and should not set up for it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<SendStatus, Failure> {
        let Some(connection) = &mut self.connection else {
            return Ok(SendStatus::Over);
        };
        let mut shared = Shared {
            connection,
            codec: &mut self.codec,
            control: &mut self.control,
        };
        let status = self.sender.poll(cx, &mut shared)?;
        if self.sender.is_sent() {
            self.reader.adopt(self.sender.take_buffer());
        }
        Ok(status)
    }

    /// Ready with the next event of the response.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        let mut shared = Shared {
            connection,
            codec: &mut self.codec,
            control: &mut self.control,
        };
        self.reader.poll_event(cx, &mut shared, &mut self.sender)
    }

    /// Ready with an error when a limit of time has been reached or the lease is revoked; ready without
    /// one when there is something to be sent now. To be called when neither direction can go on.
    fn poll_limits(
        &mut self,
        cx: &mut Context<'_>,
        sending: SendStatus,
    ) -> Poll<Result<(), Failure>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        ready!(self.control.poll_limits(cx, &mut connection.timer, sending))?;
        self.sender.stop_awaiting_continue();
        Poll::Ready(Ok(()))
    }

    /// Reads framing that is not for the caller; returns whether the response has ended with it.
    fn try_read_end(&mut self) -> bool {
        self.codec.try_read_end(&mut self.reader.input)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        if error.is_body() {
            Failure::InvalidBody(error.into())
        } else {
            Failure::InvalidRequest(error.into())
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        if error.is_truncation() {
            PeerFailure::new(ErrorKind::ConnectionClosed).with_message(error.text())
        } else if error.is_limit() {
            PeerFailure::new(ErrorKind::TooLarge).with_source(error)
        } else {
            PeerFailure::new(ErrorKind::Protocol).with_source(error)
        }
        .into()
    }
}
