//! One exchange: a stream, moved on by whoever polls the future, and then the response's body.
//!
//! ```text
//!   ExchangeFuture (future) ── head ──► ResponseBody ── end ──► Lease::close(Finished)
//!        │ owns                          │ owns
//!        └────────► Exchange ◄───────────┘     dropped anywhere: stream (reset), then lease
//! ```
//!
//! Every poll first gives h2 what it takes of the request and then looks for the response, so that
//! neither direction waits for the other.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::ResponseFuture};
use http::{Method, StatusCode, request};
use httpcore_core_primitives::{
    Body, BodyLength, CloseReason, ConnectionRevoked, EarlyResponse, Error, ErrorKind, ErrorPhase,
    ExchangeContext, LazyTimer, Lease, MisdirectedRequest, OnInformational, Protocol, Request,
    RequestSent, Response, SendError, StreamId, TimeoutKind, Trace, TraceEvent,
    deadlines::{Deadlines, Expired, WaitState},
    upgrade::ExtendedConnectUnsupported,
};

use crate::{
    body::ResponseBody,
    connection::Shared,
    error::{self, Progress},
    head::{self, RequestError},
    link::Unanswered,
    tunnel,
    upload::{Sending, Upload},
    validate::FrameViolation,
};

/// Why an exchange fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller's request.
    Misuse(RequestError),
    /// The caller's body.
    Body(Error),
    /// The server's response breaks a rule that h2 does not know.
    Violation(&'static str),
    /// There is more of something than is allowed.
    TooLarge(&'static str),
    /// The stream, or the connection.
    Stream(h2::Error),
    Timeout(TimeoutKind),
    RuntimeShutdown,
    /// The server admits no streams, and this one was never opened.
    NotAdmitted,
    /// The pool does not wait any longer.
    Revoked,
}

/// An exchange until the head of its response.
pub(crate) struct ExchangeFuture {
    exchange: Option<Exchange>,
    /// Kept until the head is there, in case the request has to be sent once more.
    request: Option<request::Parts>,
    /// The body, until the stream has been begun.
    body: Option<Body>,
}

impl ExchangeFuture {
    pub(crate) fn new(
        shared: Arc<Shared>,
        request: Request,
        terms: ExchangeContext,
        reused: bool,
    ) -> Pin<Box<Self>> {
        let (parts, body) = request.into_parts();
        Box::pin(ExchangeFuture {
            exchange: Some(Exchange::new(shared, terms, reused)),
            request: Some(parts),
            body: Some(body),
        })
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<RecvStream>, Failure>> {
        let (Some(exchange), Some(request)) = (&mut self.exchange, &self.request) else {
            return Poll::Pending; // It has ended.
        };
        loop {
            if self.body.is_some() {
                // RFC 8441 §3: the server must have said that it knows this.
                let must_know = request.extensions.get::<Protocol>().is_some();
                if must_know && exchange.poll_settings(cx).is_pending() {
                    // Nothing of ours is left to be waited for: it is the server's turn.
                    match ready!(exchange.poll_waits(cx, Sending::Over)) {
                        Ok(()) => continue,
                        Err(failure) => return Poll::Ready(Err(failure)),
                    }
                }
                if exchange.poll_room(cx).is_pending() {
                    match ready!(exchange.poll_waits(cx, Sending::Over)) {
                        Ok(()) => continue,
                        Err(failure) => return Poll::Ready(Err(failure)),
                    }
                }
                exchange.begin(request, &mut self.body, must_know)?;
            }
            let sending = exchange.poll_send(cx)?;
            let waited = exchange.waits_for_continue();
            match exchange.poll_response(cx, request) {
                Poll::Ready(response) => return Poll::Ready(response),
                // 100 (Continue) has come, and the body may be sent now.
                Poll::Pending if waited && !exchange.waits_for_continue() => continue,
                Poll::Pending => {}
            }
            exchange.watch_opening(cx)?;
            ready!(exchange.poll_waits(cx, sending))?;
        }
    }

    fn fail(&mut self, failure: Failure) -> Option<SendError> {
        let mut exchange = self.exchange.take()?;
        let error = exchange.fail(failure);
        let body = match self.body.take() {
            Some(body) => Some(body),
            None => exchange.upload.as_mut().and_then(Upload::body_again),
        };
        let request = self
            .request
            .take()
            .zip(body)
            .map(|(parts, body)| Box::new(Request::from_parts(parts, body)));
        Some(SendError::new(error, request))
    }

    /// The response to which `head` belongs. What has come with the head, and is all of it, needs
    /// no stream any more; otherwise the exchange goes on in the body.
    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        head: http::Response<RecvStream>,
    ) -> Result<Option<Response>, Failure> {
        let Some(exchange) = &mut self.exchange else {
            return Ok(None);
        };
        let (mut parts, received) = head.into_parts();
        if parts.status == StatusCode::MISDIRECTED_REQUEST
            && let Some(body) = exchange.upload.as_ref().and_then(Upload::clone_body)
            && let Some(request) = self.request.take()
        {
            let request = Request::from_parts(request, body);
            parts.extensions.insert(MisdirectedRequest::new(request));
        }
        let body = match exchange.begin_response(cx, &mut parts, received)? {
            // Dropped where it is: it is large.
            ResponseStart::Over(body) => {
                self.exchange = None;
                body
            }
            ResponseStart::More(first) => match self.exchange.take() {
                Some(exchange) => Body::from_boxed(Box::pin(ResponseBody::new(exchange, first))),
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
            return Poll::Pending; // It has ended.
        }
        let outcome = ready!(this.poll_head(cx)).and_then(|head| this.respond(cx, head));
        let output = match outcome {
            Ok(response) => response.map(Ok),
            Err(failure) => this.fail(failure).map(Err),
        };
        output.map_or(Poll::Pending, Poll::Ready)
    }
}

/// What follows the head of the final response.
enum ResponseStart {
    /// Nothing: this is all of the body.
    Over(Body),
    /// More, of which this came with the head.
    More(Option<Bytes>),
}

/// Both directions of an exchange, with all it owns. The stream stands before the lease, and so is
/// dropped first.
pub(crate) struct Exchange {
    pub(crate) upload: Option<Upload>,
    response: Option<ResponseFuture>,
    received: Option<RecvStream>,
    shared: Arc<Shared>,
    alarm: LazyTimer,
    waits: Deadlines,
    /// How many interim responses have come.
    interim: usize,
    /// How large their fields were, all together.
    interim_size: u64,
    /// The response has no content, whatever comes.
    no_content: bool,
    /// Its number among those who wait for SETTINGS, or 0.
    waits_as: u64,
    /// The stream counts among those that there are.
    has_room: bool,
    /// The exchange's number among those who wait for room, or 0.
    room_as: u64,
    /// The stream, until its HEADERS are known to have left h2; otherwise 0.
    unopened: u32,
    /// The exchange's number among those whose stream has not been opened, or 0.
    opens_as: u64,
    /// The method was `CONNECT`: what follows is a stream, and not a body.
    is_tunnel: bool,
    announced_sent: bool,
    /// What had been read on the connection when the stream was begun, or when the last piece of the
    /// response came.
    heard_before: usize,
    /// What had been written on the connection when the stream was begun.
    written_before: usize,
    started: bool,
    has_head: bool,
    /// The head came before all of the request had been sent.
    early: Option<EarlyResponse>,
    body_received: u64,
    /// What Content-Length promised, and is still to come.
    remaining: Option<u64>,
    reused: bool,
    attempt: u32,
    trace: Trace,
    lease: Option<Lease>,
}

impl Exchange {
    fn new(shared: Arc<Shared>, terms: ExchangeContext, reused: bool) -> Self {
        let expect_continue_timeout = shared.config.expect_continue_timeout;
        Exchange {
            upload: None,
            response: None,
            received: None,
            alarm: LazyTimer::new(shared.runtime.clone(), "exchange"),
            waits: Deadlines::new(&terms.timeouts, terms.deadline, expect_continue_timeout),
            shared,
            interim: 0,
            interim_size: 0,
            no_content: false,
            waits_as: 0,
            has_room: false,
            room_as: 0,
            unopened: 0,
            opens_as: 0,
            is_tunnel: false,
            announced_sent: false,
            heard_before: 0,
            written_before: 0,
            started: false,
            has_head: false,
            early: None,
            body_received: 0,
            remaining: None,
            reused,
            attempt: terms.attempt,
            trace: terms.trace,
            lease: Some(terms.lease),
        }
    }

    /// Ready once the server's SETTINGS have come, or never will.
    fn poll_settings(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.link.poll_settings(cx, &mut self.waits_as)
    }

    /// Ready once windows are such that there may be one stream more.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.has_room {
            ready!(self.shared.link.poll_room(cx, &mut self.room_as));
            self.has_room = true;
        }
        Poll::Ready(())
    }

    /// Opens the stream, and takes the body, unless the request cannot be sent.
    fn begin(
        &mut self,
        request: &request::Parts,
        body: &mut Option<Body>,
        must_know: bool,
    ) -> Result<(), Failure> {
        let Some(content) = body else {
            return Ok(());
        };
        self.is_tunnel = request.method == Method::CONNECT || must_know;
        let is_connect = self.is_tunnel;
        let is_empty = content.is_empty();
        let length = match (is_connect, is_empty) {
            (true, _) => BodyLength::Unknown,
            (false, true) => BodyLength::Known(0),
            (false, false) => content.length(),
        };
        let outgoing = head::outgoing(request, length).map_err(Failure::Misuse)?;
        let mut requests = self.shared.requests();
        if must_know && !requests.is_extended_connect_protocol_enabled() {
            // A connection that has ended never said either way.
            let mut cx = Context::from_waker(Waker::noop());
            return Err(match requests.poll_ready(&mut cx) {
                Poll::Ready(Err(failure)) => Failure::Stream(failure),
                Poll::Ready(Ok(())) | Poll::Pending => {
                    Failure::Misuse(RequestError::ExtendedConnectUnsupported)
                }
            });
        }
        let size = self
            .trace
            .is_on()
            .then(|| head::request_size(&outgoing.head));
        // A tunnel stays open, and begins when the server has agreed.
        let is_sent = is_empty && !is_connect;
        self.written_before = self.shared.link.written();
        self.heard_before = self.shared.link.bytes_read();
        let (response, stream) = requests
            .send_request(outgoing.head, is_sent)
            .map_err(Failure::Stream)?;
        if let Some(bytes) = size {
            self.emit(|| TraceEvent::RequestHeadSent { bytes });
        }
        self.unopened = stream.stream_id().as_u32();
        self.shared.link.has_begun(self.unopened);
        let upload = Upload::new(
            stream,
            body.take().unwrap_or_default(),
            outgoing.length,
            outgoing.expects_continue || is_connect,
            is_sent,
        );
        self.no_content = request.method == Method::HEAD;
        self.response = Some(response);
        self.upload = Some(upload);
        Ok(())
    }

    /// Sees to it that this exchange is woken if its stream is never to be opened.
    fn watch_opening(&mut self, cx: &Context<'_>) -> Result<(), Failure> {
        let link = &self.shared.link;
        if self.unopened == 0 {
            return Ok(());
        }
        if link.opened() >= self.unopened {
            self.unopened = 0;
            return Ok(());
        }
        // First the waker, then the look.
        link.waits_to_open(cx, &mut self.opens_as);
        if link.has_stranded() && link.opened() < self.unopened {
            return Err(Failure::NotAdmitted);
        }
        Ok(())
    }

    /// Ready with the head of the final response.
    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        request: &request::Parts,
    ) -> Poll<Result<http::Response<RecvStream>, Failure>> {
        loop {
            let Some(response) = &mut self.response else {
                return Poll::Pending;
            };
            match response.poll_informational(cx) {
                Poll::Ready(Some(Ok(mut interim))) => {
                    head::trim(interim.headers_mut());
                    self.take_informational(&interim, request)?;
                    continue;
                }
                Poll::Ready(Some(Err(failure))) => {
                    return Poll::Ready(Err(Failure::Stream(failure)));
                }
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
            let mut head = ready!(Pin::new(response).poll(cx)).map_err(Failure::Stream)?;
            self.started = true;
            self.waits.read_some = true;
            head::trim(head.headers_mut());
            if head::has_empty_length(head.headers()) {
                return Poll::Ready(Err(Failure::Violation("the length is no number")));
            }
            let stream = head.body().stream_id().as_u32();
            if self
                .shared
                .link
                .has_found(FrameViolation::RequestPseudo(stream))
            {
                return Poll::Ready(Err(Failure::Violation(REQUEST_PSEUDO)));
            }
            return Poll::Ready(Ok(head));
        }
    }

    fn take_informational(
        &mut self,
        response: &http::Response<()>,
        request: &request::Parts,
    ) -> Result<(), Failure> {
        self.started = true;
        self.waits.read_some = true;
        let status = response.status();
        // RFC 9113 §8.6: there is no 101.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::Violation("the server switches protocols"));
        }
        self.interim += 1;
        self.interim_size += head::list_size(response.headers());
        let config = &self.shared.config;
        if self.interim > config.max_informational {
            let most = "more interim (1xx) responses came than Config::max_interim allows";
            return Err(Failure::TooLarge(most));
        }
        if self.interim_size > u64::from(config.max_header_list_size) {
            let most = "the fields of the interim (1xx) responses are larger than \
                        Config::max_header_list_size allows";
            return Err(Failure::TooLarge(most));
        }
        self.emit(|| TraceEvent::Informational {
            status: status.as_u16(),
        });
        if let Some(listener) = request.extensions.get::<OnInformational>() {
            listener.tell(response);
        }
        if status == StatusCode::CONTINUE && !self.is_tunnel {
            self.stop_waiting_for_continue();
        }
        Ok(())
    }

    fn waits_for_continue(&self) -> bool {
        self.upload.as_ref().is_some_and(Upload::waits_for_continue)
    }

    fn stop_waiting_for_continue(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.go_on();
        }
    }

    fn begin_response(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut http::response::Parts,
        received: RecvStream,
    ) -> Result<ResponseStart, Failure> {
        self.has_head = true;
        // What is left of it has no use any more, and holds a reference to the stream.
        self.response = None;
        let status = head.status;
        self.emit(|| TraceEvent::ResponseHead {
            status: status.as_u16(),
            bytes: head::response_size(&head.headers),
        });
        head.extensions
            .insert(StreamId(received.stream_id().as_u32()));
        let mut received = received;
        // RFC 9113 §8.5, RFC 8441 §5: the stream is the server's and the caller's from here on.
        if self.is_tunnel && status.is_success() {
            if let (Some(upload), Some(lease)) = (self.upload.take(), self.lease.take()) {
                // The tunnel gives it back.
                self.has_room = false;
                tunnel::upgraded(upload.into_stream(), received, self.shared.clone(), lease)
                    .insert_into(&mut head.extensions);
            }
            return Ok(ResponseStart::Over(Body::empty()));
        }
        if let Some(upload) = &mut self.upload
            && upload.waits_for_continue()
        {
            // RFC 9110 §10.1.1: a final answer instead of 100. The body is not wanted.
            upload.abandon();
        }
        if let Some(upload) = &self.upload
            && !upload.is_sent()
        {
            let early = EarlyResponse::default();
            if upload.is_abandoned() {
                early.cut_short();
            }
            head.extensions.insert(early.clone());
            self.early = Some(early);
        }
        self.no_content |= status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        if received.is_end_stream() {
            self.received = Some(received);
            self.finish();
            return Ok(ResponseStart::Over(Body::empty()));
        }
        if !self.no_content {
            self.remaining = head
                .headers
                .get(http::header::CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok());
        }
        let first = match received.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => Some(data),
            // What went wrong is told again when the body is polled. Whether it came together with
            // the head makes no difference to whoever asked.
            Poll::Ready(Some(Err(_))) | Poll::Ready(None) | Poll::Pending => None,
        };
        let is_over = first.is_some() && received.is_end_stream();
        self.received = Some(received);
        match first {
            Some(data) if is_over && (!self.no_content || data.is_empty()) => {
                self.take_data(&data)?;
                self.finish();
                Ok(ResponseStart::Over(Body::from(data)))
            }
            first => Ok(ResponseStart::More(first)),
        }
    }

    /// Data has come, and goes to the caller: the server may send as much again.
    pub(crate) fn take_data(&mut self, data: &Bytes) -> Result<(), Failure> {
        let length = data.len();
        self.waits.read_some = true;
        self.heard_before = self.shared.link.bytes_read();
        self.body_received += length as u64;
        // h2 compares lengths itself.
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(length as u64);
        }
        if let Some(received) = &mut self.received {
            let _ = received.flow_control().release_capacity(length);
        }
        if self.no_content && length > 0 {
            // RFC 9110 §6.4.1
            return Err(Failure::Violation("a response without content has some"));
        }
        Ok(())
    }

    /// Gives h2 what it takes now.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Sending, Failure> {
        let Some(upload) = &mut self.upload else {
            return Ok(Sending::Over);
        };
        let (sending, progress) = upload.poll(cx)?;
        self.waits.wrote |= progress;
        if sending == Sending::Over && upload.is_sent() && !self.announced_sent {
            self.announced_sent = true;
            if let Some(early) = &self.early {
                early.complete();
            }
            let bytes = upload.taken;
            self.emit(|| TraceEvent::RequestBodySent { bytes });
        }
        Ok(sending)
    }

    /// Ready with the next piece of the response's body.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Failure>>> {
        let Some(received) = &mut self.received else {
            return Poll::Ready(None);
        };
        let Some(data) = ready!(received.poll_data(cx)) else {
            return Poll::Ready(None);
        };
        let data = data.map_err(Failure::Stream);
        Poll::Ready(Some(
            data.and_then(|data| self.take_data(&data).map(|()| data)),
        ))
    }

    /// Ready with the trailers, if there are any, once there is no more data.
    pub(crate) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<http::HeaderMap>, Failure>> {
        let Some(received) = &mut self.received else {
            return Poll::Ready(Ok(None));
        };
        let mut trailers = ready!(received.poll_trailers(cx)).map_err(Failure::Stream)?;
        self.waits.read_some = true;
        if let Some(trailers) = &mut trailers {
            head::trim(trailers);
            let (link, stream) = (&self.shared.link, received.stream_id().as_u32());
            // Those of requests are noted as such wherever they stand.
            if link.has_found(FrameViolation::LatePseudo(stream))
                || link.has_found(FrameViolation::RequestPseudo(stream))
            {
                return Poll::Ready(Err(Failure::Violation(LATE_PSEUDO)));
            }
        }
        Poll::Ready(Ok(trailers))
    }

    /// Ready with an error when something has lasted too long; ready without one when there is
    /// something to be sent now. To be called when neither direction can go on.
    pub(crate) fn poll_waits(
        &mut self,
        cx: &mut Context<'_>,
        sending: Sending,
    ) -> Poll<Result<(), Failure>> {
        let continues =
            self.waits_for_continue() && sending == Sending::BodyPending && !self.is_tunnel;
        let situation = WaitState {
            writing: sending == Sending::Blocked,
            sent: sending == Sending::Over || self.is_tunnel,
            head: self.has_head,
            started: self.started,
            awaiting_caller: sending == Sending::BodyPending && !self.is_tunnel,
            continuing: continues,
        };
        if let Some(lease) = &self.lease
            && lease.poll_revoked(cx).is_ready()
        {
            return Poll::Ready(Err(Failure::Revoked));
        }
        match ready!(self.waits.poll(cx, &mut self.alarm, situation)) {
            Expired::Continue => {
                self.stop_waiting_for_continue();
                Poll::Ready(Ok(()))
            }
            Expired::Timeout(kind) => Poll::Ready(Err(Failure::Timeout(kind))),
            Expired::RuntimeShutdown => Poll::Ready(Err(Failure::RuntimeShutdown)),
        }
    }

    /// Whether the whole exchange has lasted too long.
    pub(crate) fn is_late(&self) -> bool {
        self.waits.is_over(&self.alarm)
    }

    /// Whether the pool does not wait any longer.
    pub(crate) fn is_revoked(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_revoked)
    }

    /// Whether the response has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(RecvStream::is_end_stream)
    }

    pub(crate) fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// The response has come to its end: others may have the stream's place. A request that is not
    /// sent to its end by then is not wanted (RFC 9113 §8.1), and its stream is reset.
    pub(crate) fn finish(&mut self) {
        let bytes = self.body_received;
        self.emit(|| TraceEvent::ResponseEnded { bytes });
        self.close(CloseReason::Finished);
    }

    /// The exchange has failed; the other streams go on.
    pub(crate) fn fail(&mut self, failure: Failure) -> Error {
        let reason = match &failure {
            Failure::Violation(_) => Some(Reason::PROTOCOL_ERROR),
            Failure::TooLarge(_) => Some(Reason::ENHANCE_YOUR_CALM),
            Failure::Misuse(_)
            | Failure::Body(_)
            | Failure::Timeout(_)
            | Failure::RuntimeShutdown
            | Failure::NotAdmitted
            | Failure::Revoked => Some(Reason::CANCEL),
            Failure::Stream(_) => None,
        };
        let close = match &failure {
            Failure::Revoked => CloseReason::Revoked,
            // Not only this stream's end, but the connection's: the pool is told before this request
            // asks it for another.
            Failure::Stream(failure) if !failure.is_reset() => CloseReason::PeerSaidClose,
            Failure::NotAdmitted => CloseReason::PeerSaidClose,
            _ => CloseReason::Failed,
        };
        if matches!(failure, Failure::Timeout(_)) && self.is_begun() {
            self.shared
                .link
                .suspect(self.heard_before, Unanswered::TooLate);
        }
        let error = self.error_of(failure);
        if let (Some(reason), Some(upload)) = (reason, &mut self.upload) {
            upload.reset(reason);
        }
        if self.has_head {
            // Whoever asked has a response already, and will not tell.
            self.emit(|| TraceEvent::Failed { error: &error });
        }
        self.close_but_keep_body(close);
        error
    }

    fn error_of(&self, failure: Failure) -> Error {
        let gone = self.shared.link.is_gone();
        let is_sent = self.upload.as_ref().is_some_and(Upload::is_sent);
        let progress = Progress {
            phase: match (self.has_head, is_sent) {
                (true, _) => ErrorPhase::Body,
                (false, true) => ErrorPhase::Head,
                (false, false) => ErrorPhase::Send,
            },
            sent: match &self.upload {
                None if !self.has_head => RequestSent::None,
                // h2 had it, nothing has left since, and nothing will. (While there is a connection, it
                // may still write what it has, even for a stream that has failed.)
                Some(_) if gone && self.shared.link.written() == self.written_before => {
                    RequestSent::None
                }
                Some(_) if !is_sent => RequestSent::Partial,
                _ => RequestSent::Full,
            },
            started: self.started,
        };
        let phase = progress.phase;
        let error = match failure {
            Failure::Stream(failure) => error::of_stream(&failure, &self.shared.link, progress),
            Failure::Misuse(misuse) if misuse.is_body() => {
                Error::new(ErrorKind::RequestBody, ErrorPhase::Send, progress.sent)
                    .with_source(misuse)
            }
            Failure::Misuse(RequestError::ExtendedConnectUnsupported) => Error::new(
                ErrorKind::InvalidRequest,
                ErrorPhase::Request,
                RequestSent::None,
            )
            .with_source(ExtendedConnectUnsupported),
            Failure::Misuse(misuse) => Error::new(
                ErrorKind::InvalidRequest,
                ErrorPhase::Request,
                RequestSent::None,
            )
            .with_source(misuse),
            Failure::Body(error) => error.with_sent(progress.sent),
            Failure::Violation(rule) => {
                Error::new(ErrorKind::Protocol, phase, progress.sent).with_message(rule)
            }
            Failure::TooLarge(what) => {
                Error::new(ErrorKind::TooLarge, phase, progress.sent).with_message(what)
            }
            Failure::NotAdmitted => {
                Error::new(ErrorKind::ConnectionClosed, phase, RequestSent::None)
                    .with_message("the server admits no requests on this connection any more")
            }
            Failure::Revoked => Error::new(ErrorKind::PoolClosed, phase, progress.sent)
                .with_message("the pool was drained, and did not wait for the end of the exchange")
                .with_source(ConnectionRevoked),
            Failure::Timeout(limit) => Error::new(ErrorKind::Timeout(limit), phase, progress.sent),
            Failure::RuntimeShutdown => {
                Error::new(ErrorKind::RuntimeShutdown, phase, progress.sent)
            }
        };
        error
            .with_response_started(self.started)
            .with_reused(self.reused)
            .with_attempts(self.attempt)
    }

    fn is_begun(&self) -> bool {
        self.has_head || self.upload.is_some()
    }

    /// Ends the stream, which resets it if it has not come to its end, and then the lease.
    fn close(&mut self, reason: CloseReason) {
        self.upload = None;
        self.close_but_keep_body(reason);
    }

    /// As [`close`](Self::close), while the request's body may still be taken back.
    fn close_but_keep_body(&mut self, reason: CloseReason) {
        if let Some(early) = &self.early {
            early.cut_short();
        }
        self.response = None;
        self.received = None;
        self.alarm.disarm();
        if self.waits_as > 0 {
            self.shared.link.leave(self.waits_as);
        }
        // After what was unread has been given back.
        if std::mem::take(&mut self.has_room) {
            self.shared.link.give_room();
        }
        if self.room_as > 0 {
            self.shared.link.needs_no_room(self.room_as);
        }
        // Once it has been opened, the driver forgets the waker.
        if self.unopened > self.shared.link.opened() && self.opens_as > 0 {
            self.shared.link.is_not_opened(self.opens_as);
        }
        if let Some(lease) = self.lease.take() {
            lease.close(reason);
        }
    }

    pub(crate) fn emit<'a>(&self, event: impl FnOnce() -> TraceEvent<'a>) {
        self.trace.emit(|| (self.alarm.now(), event()));
    }
}

/// RFC 9113 §8.3.2
const REQUEST_PSEUDO: &str = "the response has a pseudo-header field of requests";
/// RFC 9113 §8.1
const LATE_PSEUDO: &str = "the trailers have a pseudo-header field";

impl Drop for Exchange {
    fn drop(&mut self) {
        // It has not ended otherwise. Who drops a body may have read enough of it.
        if self.lease.is_some() && self.is_begun() && !self.has_head {
            self.shared
                .link
                .suspect(self.heard_before, Unanswered::Dropped);
        }
        self.close(CloseReason::Abandoned);
    }
}
