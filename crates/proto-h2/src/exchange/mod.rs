//! One exchange: a stream, driven by the task that polls the future and then the response's body.
//!
//! ```text
//!   ExchangeFuture ── head ──► ResponseBody ── end ──► Lease::close(Finished)
//!        │ owns                     │ owns
//!        └───────► Exchange ◄───────┘     dropped anywhere: stream (reset), then lease
//! ```
//!
//! Each poll first passes to h2 what it takes of the request and then looks for the response, so that
//! neither direction waits for the other.

mod body;
mod finish;
mod receive;
mod upload;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{RecvStream, client::ResponseFuture};
use http::{Method, request};
use httpcore_core_primitives::{
    Body, BodyLength, ExchangeContext, LazyTimer, Protocol, Request, Response, SendError,
    TraceEvent,
};
use httpcore_proto_common::{
    control::{ExchangeControl, StreamReader},
    failure::Failure,
    progress::SendStatus,
    request_body::{RequestBody, polled_after_end, send_error},
    response_body::ResponseBody,
};

use crate::{
    connection::Shared,
    error::StreamFailure,
    head::{self, RequestError},
};

use body::ReceivingResponse;
use upload::Upload;

/// An exchange until the head of its response.
pub(crate) struct ExchangeFuture {
    exchange: Option<Exchange>,
    /// Kept until the head has arrived, in case the request has to be sent once more.
    request: Option<request::Parts>,
    /// The body, until the stream has been opened.
    body: Option<Body>,
}

impl ExchangeFuture {
    pub(crate) fn new(
        shared: Arc<Shared>,
        request: Request,
        context: ExchangeContext,
        reused: bool,
    ) -> Pin<Box<Self>> {
        let (parts, body) = request.into_parts();
        Box::pin(ExchangeFuture {
            exchange: Some(Exchange::new(shared, context, reused)),
            request: Some(parts),
            body: Some(body),
        })
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<RecvStream>, StreamFailure>> {
        let (Some(exchange), Some(request)) = (&mut self.exchange, &self.request) else {
            return Poll::Pending; // It has ended.
        };
        loop {
            if self.body.is_some() {
                // RFC 8441 §3: the server must have said that it supports this.
                let is_extended = request.extensions.get::<Protocol>().is_some();
                if is_extended && exchange.poll_settings(cx).is_pending()
                    || exchange.poll_room(cx).is_pending()
                {
                    // Nothing is left for the caller to do: only the server can act.
                    ready!(exchange.poll_limits(cx, SendStatus::Over))?;
                    continue;
                }
                exchange.begin(request, &mut self.body, is_extended)?;
            }
            let sending = exchange.poll_send(cx)?;
            let waited = exchange.awaits_continue();
            match exchange.poll_response(cx, request) {
                Poll::Ready(response) => return Poll::Ready(response),
                // 100 (Continue) has arrived, and the body may be sent now.
                Poll::Pending if waited && !exchange.awaits_continue() => continue,
                Poll::Pending => {}
            }
            exchange.watch_opening(cx)?;
            ready!(exchange.poll_limits(cx, sending))?;
        }
    }

    fn fail(&mut self, failure: StreamFailure) -> Option<SendError> {
        let mut exchange = self.exchange.take()?;
        let error = exchange.fail(failure);
        let body = match self.body.take() {
            Some(body) => Some(body),
            None => (exchange.upload.as_mut()).and_then(|upload| upload.body.rewind()),
        };
        Some(send_error(error, self.request.take(), body))
    }

    /// Returns the response to which `head` belongs. A body that has arrived whole with the head needs
    /// no stream any more; otherwise the exchange goes on in the body.
    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        head: http::Response<RecvStream>,
    ) -> Result<Option<Response>, StreamFailure> {
        let Some(exchange) = &mut self.exchange else {
            return Ok(None);
        };
        let (mut parts, received) = head.into_parts();
        if let Some(upload) = &exchange.upload {
            let (status, extensions) = (parts.status, &mut parts.extensions);
            upload
                .body
                .keep_if_repeatable(status, extensions, &mut self.request);
        }
        let body = match exchange.begin_response(cx, &mut parts, received)? {
            // Dropped where it is: it is large.
            ResponseStart::Over(body) => {
                self.exchange = None;
                body
            }
            ResponseStart::More(first) => match self.exchange.take() {
                Some(exchange) => {
                    let exchange = ReceivingResponse::new(exchange, first);
                    Body::from_boxed(Box::pin(ResponseBody::new(exchange)))
                }
                None => return Ok(None),
            },
        };
        Ok(Some(http::Response::from_parts(parts, body)))
    }
}

impl Future for ExchangeFuture {
    type Output = Result<Response, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.exchange.is_none() {
            return Poll::Ready(Err(polled_after_end()));
        }
        let outcome = ready!(this.poll_head(cx)).and_then(|head| this.respond(cx, head));
        let output = match outcome {
            Ok(response) => response.map(Ok),
            Err(failure) => this.fail(failure).map(Err),
        };
        Poll::Ready(output.unwrap_or_else(|| Err(polled_after_end())))
    }
}

/// What follows the head of the final response.
enum ResponseStart {
    /// Nothing: this is all of the body.
    Over(Body),
    /// More, of which this arrived with the head.
    More(Option<Bytes>),
}

/// What the stream carries after the head of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A body, which may be empty.
    Body,
    /// Nothing, by the request's method or the response's status (RFC 9110 §6.4.1).
    None,
    /// Bytes in both directions, if the response is a 2xx (RFC 9113 §8.5).
    Tunnel,
}

/// Both directions of an exchange, with all it owns.
struct Exchange {
    upload: Option<Upload>,
    response: Option<ResponseFuture>,
    received: Option<RecvStream>,
    shared: Arc<Shared>,
    timer: LazyTimer,
    /// With the lease, which is ended after the stream has been dropped.
    control: ExchangeControl,
    content: Content,
    /// Number of bytes that Content-Length declares and that have not arrived.
    remaining: Option<u64>,
    /// Number of informational responses.
    informational: usize,
    /// Size of the fields of all informational responses, in bytes.
    informational_size: u64,
    /// The exchange's number among those that wait for SETTINGS, or 0.
    settings_waiter: u64,
    /// The stream is counted among the open ones.
    has_room: bool,
    /// The exchange's number among those that wait for room, or 0.
    room_waiter: u64,
    /// The stream's number, until its HEADERS are known to have left h2; otherwise 0.
    unopened: u32,
    /// The exchange's number among those whose stream has not been opened, or 0.
    opening_waiter: u64,
    /// Bytes read on the connection when the stream was begun, or when the last data arrived.
    read_before: usize,
    /// Bytes written on the connection when the stream was begun.
    written_before: usize,
}

impl Exchange {
    fn new(shared: Arc<Shared>, context: ExchangeContext, reused: bool) -> Self {
        let expect_continue_timeout = shared.config.expect_continue_timeout;
        Exchange {
            upload: None,
            response: None,
            received: None,
            timer: LazyTimer::new(shared.runtime.clone(), "exchange"),
            control: ExchangeControl::new(
                context,
                expect_continue_timeout,
                StreamReader::Driver,
                reused,
            ),
            shared,
            content: Content::Body,
            remaining: None,
            informational: 0,
            informational_size: 0,
            settings_waiter: 0,
            has_room: false,
            room_waiter: 0,
            unopened: 0,
            opening_waiter: 0,
            read_before: 0,
            written_before: 0,
        }
    }

    /// Ready once the server's SETTINGS have arrived, or never will.
    fn poll_settings(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let link = &self.shared.link;
        link.poll_settings(cx, &mut self.settings_waiter)
    }

    /// Ready once the windows allow one stream more.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.has_room {
            ready!(self.shared.link.poll_room(cx, &mut self.room_waiter));
            self.has_room = true;
        }
        Poll::Ready(())
    }

    /// Opens the stream, and takes the body, unless the request cannot be sent.
    fn begin(
        &mut self,
        request: &request::Parts,
        body: &mut Option<Body>,
        is_extended: bool,
    ) -> Result<(), StreamFailure> {
        let Some(content) = body else {
            return Ok(());
        };
        let is_tunnel = request.method == Method::CONNECT || is_extended;
        if is_tunnel {
            self.content = Content::Tunnel;
        }
        let is_empty = content.is_empty();
        let length = match (is_tunnel, is_empty) {
            (true, _) => BodyLength::Unknown,
            (false, true) => BodyLength::Known(0),
            (false, false) => content.length(),
        };
        let outgoing = head::outgoing(request, length)?;
        let mut requests = self.shared.requests();
        if is_extended && !requests.is_extended_connect_protocol_enabled() {
            // A connection that has ended never received a setting.
            let mut cx = Context::from_waker(Waker::noop());
            return Err(match requests.poll_ready(&mut cx) {
                Poll::Ready(Err(failure)) => failure.into(),
                Poll::Ready(Ok(())) | Poll::Pending => {
                    RequestError::ExtendedConnectUnsupported.into()
                }
            });
        }
        let traced = self.control.is_traced();
        let size = traced.then(|| head::request_size(&outgoing.head));
        // A tunnel stays open, and begins when the server has accepted it.
        let is_sent = is_empty && !is_tunnel;
        self.written_before = self.shared.link.written();
        self.read_before = self.shared.link.bytes_read();
        let (response, stream) = requests.send_request(outgoing.head, is_sent)?;
        if let Some(bytes) = size {
            self.control
                .emit(&self.timer, || TraceEvent::RequestHeadSent { bytes });
        }
        self.unopened = stream.stream_id().as_u32();
        self.shared.link.has_begun(self.unopened);
        let upload = Upload::new(
            stream,
            RequestBody::new(body.take().unwrap_or_default()),
            outgoing.length,
            outgoing.expects_continue || is_tunnel,
            is_sent,
        );
        if request.method == Method::HEAD {
            self.content = Content::None;
        }
        self.response = Some(response);
        self.upload = Some(upload);
        Ok(())
    }

    /// Registers the task to be woken if the stream will never be opened.
    fn watch_opening(&mut self, cx: &Context<'_>) -> Result<(), StreamFailure> {
        let link = &self.shared.link;
        if self.unopened == 0 {
            return Ok(());
        }
        if link.opened() >= self.unopened {
            self.unopened = 0;
            return Ok(());
        }
        // First the waker, then the check.
        link.waits_to_open(cx, &mut self.opening_waiter);
        if link.has_stranded() && link.opened() < self.unopened {
            return Err(StreamFailure::NotAdmitted);
        }
        Ok(())
    }

    /// Passes to h2 what it takes now.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<SendStatus, StreamFailure> {
        let Some(upload) = &mut self.upload else {
            return Ok(SendStatus::Over);
        };
        let (status, progress) = upload.poll(cx)?;
        if progress {
            self.control.wrote();
        }
        if let Some(bytes) = upload.take_completion() {
            self.control.upload_complete(&self.timer, bytes);
        }
        Ok(status)
    }

    fn awaits_continue(&self) -> bool {
        self.upload.as_ref().is_some_and(Upload::awaits_continue)
    }

    fn stop_awaiting_continue(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.stop_awaiting_continue();
        }
    }

    /// Ready with an error when a limit of time has been reached or the lease is revoked; ready without
    /// one when there is something to be sent now. To be called when neither direction can go on.
    fn poll_limits(
        &mut self,
        cx: &mut Context<'_>,
        sending: SendStatus,
    ) -> Poll<Result<(), Failure>> {
        let sending = match self.content {
            // It has nothing to send before the server has accepted it.
            Content::Tunnel => SendStatus::Over,
            Content::Body | Content::None => sending,
        };
        ready!(self.control.poll_limits(cx, &mut self.timer, sending))?;
        self.stop_awaiting_continue();
        Poll::Ready(Ok(()))
    }
}
