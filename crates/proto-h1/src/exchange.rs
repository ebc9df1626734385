//! One exchange: the request goes out and the response comes in, both driven by whoever polls.
//!
//! ```text
//!   ExchangeFuture (future) ── head ──► ResponseBody ── end ──► Lease::give_back, or close
//!        │ owns                          │ owns
//!        └────────► Exchange ◄───────────┘     dropped anywhere: connection, then lease
//! ```
//!
//! (A body whose rest is small and already here drains it first, and gives the connection back.)
//!
//! Every poll first sends what can be sent and then receives what there is, so that neither
//! direction waits for the other: a server may answer before it has read the request, or instead
//! of reading it. A write that fails does not end the exchange, since the answer may be there
//! already; only reading tells.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use http::{StatusCode, request};
use http_body::{Body as _, Frame};
use httpcore_core_primitives::{
    Body, BodyLength, BoxError, CloseReason, ConnectionRevoked, EarlyResponse, Error, ErrorKind,
    ErrorPhase, ExchangeContext, Lease, MisdirectedRequest, OnInformational, Request, RequestSent,
    Response, RuntimeShutdown, SendError, TimeoutKind, Trace, TraceEvent, Upgraded,
    deadlines::{Deadlines, Expired, WaitState},
    write_buf::WriteBuf,
};

use crate::{
    body::ResponseBody,
    buffers::{self, LARGE_BUFFER, SMALL_BUFFER},
    codec::{Codec, Event, Framing, MustClose, ProtocolError, RequestError},
    connection::H1Connection,
};

/// How often is written in one poll before others get their turn, and before it is looked whether
/// the server has answered.
const WRITES_AT_ONCE: usize = 8;

/// How many bytes may wait to be written before a body is asked for no more of them: an upload holds
/// so much, and one piece. With one system call for each 64 KiB, 256 MiB took five times as many;
/// from here on, larger writes are no longer taken as a whole.
const MAX_HELD_BYTES: usize = 512 * 1024;

/// How many pieces a body is asked for before what it gave is written.
const PIECES_AT_ONCE: usize = 32;

/// An exchange until the head of its response.
pub(crate) struct ExchangeFuture {
    exchange: Option<Exchange>,
    /// Kept until the head is there, in case the request has to be sent once more.
    request: Option<request::Parts>,
    /// The request cannot be sent.
    misuse: Option<RequestError>,
}

impl ExchangeFuture {
    /// Boxed here, since it is large, and nothing of it moves until the head is there.
    pub(crate) fn new(
        connection: Box<H1Connection>,
        request: Request,
        terms: ExchangeContext,
    ) -> Pin<Box<Self>> {
        // First what may fail: then the rest is moved once, and not kept for unwinding.
        let (place, outgoing) = (Box::new_uninit(), WriteBuf::new(buffers::take()));
        let (parts, body) = request.into_parts();
        let mut exchanging = Box::write(
            place,
            ExchangeFuture {
                exchange: Some(Exchange::new(connection, body, terms, outgoing)),
                request: Some(parts),
                misuse: None,
            },
        );
        let this = &mut *exchanging;
        if let (Some(exchange), Some(request)) = (&mut this.exchange, &this.request) {
            this.misuse = exchange.start(request).err();
        }
        Pin::from(exchanging)
    }

    fn fail(&mut self, failure: Failure) -> Poll<Result<Response, SendError>> {
        let Some(mut exchange) = self.exchange.take() else {
            return Poll::Pending;
        };
        let error = exchange.fail(failure);
        let body = exchange.body_again();
        let request = self
            .request
            .take()
            .zip(body)
            .map(|(parts, body)| Box::new(Request::from_parts(parts, body)));
        Poll::Ready(Err(SendError::new(error, request)))
    }
}

impl Future for ExchangeFuture {
    type Output = Result<Response, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(misuse) = this.misuse.take() {
            return this.fail(Failure::Misuse(misuse));
        }
        let Some(exchange) = &mut this.exchange else {
            return Poll::Pending; // It has ended.
        };
        let mut head = match ready!(exchange.poll_head(cx, this.request.as_ref())) {
            Ok(head) => head,
            Err(failure) => return this.fail(failure),
        };
        if head.status() == StatusCode::MISDIRECTED_REQUEST
            && let Some(body) = exchange.request_body.try_clone()
            && let Some(parts) = this.request.take()
        {
            let request = Request::from_parts(parts, body);
            let misdirected = MisdirectedRequest::new(request);
            head.extensions_mut().insert(misdirected);
        }
        // What has come with the head, and is all of it, needs no connection; otherwise the
        // exchange goes on in the body.
        let body = match exchange.begin_response(&mut head) {
            ResponseStart::Over(body) => body,
            ResponseStart::More(first) => {
                let Some(exchange) = this.exchange.take() else {
                    return Poll::Pending; // It has just begun a response.
                };
                Body::from_boxed(Box::pin(ResponseBody::new(exchange, first)))
            }
        };
        Poll::Ready(Ok(head.map(|()| body)))
    }
}

/// What follows the head of the final response.
enum ResponseStart {
    /// Nothing: this is all of the body.
    Over(Body),
    /// More, of which this came with the head.
    More(Option<Event>),
}

/// Why an exchange fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller's request.
    Misuse(RequestError),
    /// The caller's body.
    Body(Error),
    /// The server's response.
    Violation(ProtocolError),
    Read(io::Error),
    Timeout(TimeoutKind),
    /// The pool does not wait any longer.
    Revoked,
}

/// How far the request has been sent.
#[derive(Debug)]
enum Upload {
    /// The head has been framed; the body waits for `100 (Continue)`.
    Continue,
    /// The body is asked for pieces.
    Body,
    /// All of it is framed, and some of that not written or flushed.
    Rest,
    Sent,
    /// Writing failed.
    Failed(io::Error),
    /// The server does not want the rest.
    Abandoned,
}

/// Who has something to wait for after a poll of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    Over,
    /// The stream takes nothing now.
    Blocked,
    /// The body has nothing now, or waits for 100.
    BodyPending,
}

/// Both directions of an exchange, with all it owns.
pub(crate) struct Exchange {
    /// First among the fields, and so dropped before the lease.
    connection: Option<Box<H1Connection>>,
    codec: Codec,
    upload: Upload,
    outgoing: WriteBuf,
    request_body: Body,
    request_body_begun: bool,
    /// Bytes of the request's head not yet written.
    head_left: usize,
    head_length: usize,
    wrote_some: bool,
    unflushed: bool,
    body_sent: u64,
    input: BytesMut,
    eof: bool,
    /// How much is read at once of a body of unknown length.
    read_size: usize,
    started: bool,
    has_head: bool,
    /// The head came before all of the request had been sent.
    early: Option<EarlyResponse>,
    body_received: u64,
    waits: Deadlines,
    reused: bool,
    attempt: u32,
    trace: Trace,
    lease: Option<Lease>,
}

impl Exchange {
    /// `outgoing` is a new one.
    fn new(
        connection: Box<H1Connection>,
        request_body: Body,
        terms: ExchangeContext,
        outgoing: WriteBuf,
    ) -> Self {
        let config = &connection.config;
        let waits = Deadlines::new(
            &terms.timeouts,
            terms.deadline,
            config.expect_continue_timeout,
        );
        let mut leniency = config.leniency;
        leniency.http09 &= connection.served == 0;
        Exchange {
            codec: Codec::new(config.limits).with_options(leniency),
            upload: Upload::Body,
            outgoing,
            request_body,
            request_body_begun: false,
            head_left: 0,
            head_length: 0,
            wrote_some: false,
            unflushed: false,
            body_sent: 0,
            input: BytesMut::new(),
            eof: false,
            read_size: SMALL_BUFFER,
            started: false,
            has_head: false,
            early: None,
            body_received: 0,
            waits,
            reused: connection.served > 0,
            attempt: terms.attempt,
            trace: terms.trace,
            lease: Some(terms.lease),
            connection: Some(connection),
        }
    }

    fn start(&mut self, request: &request::Parts) -> Result<(), RequestError> {
        let before = self.outgoing.buf_mut();
        let length = if self.request_body.is_empty() {
            BodyLength::Known(0)
        } else {
            self.request_body.length()
        };
        self.codec.encode_head(request, length, before)?;
        self.head_length = before.len();
        self.head_left = before.len();
        // A body that was said to be of no length is asked all the same: it may have lied.
        if self.codec.is_sent() && self.request_body.is_empty() {
            self.upload = Upload::Rest;
        } else if self.codec.expects_continue() {
            self.upload = Upload::Continue;
        }
        Ok(())
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
                    unreachable!("a codec tells the head first")
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
            ready!(self.poll_waits(cx, sending))?;
        }
    }

    fn take_informational(
        &mut self,
        response: &http::Response<()>,
        request: Option<&request::Parts>,
    ) {
        let status = response.status();
        self.emit(|| TraceEvent::Informational {
            status: status.as_u16(),
        });
        let listener = request.and_then(|request| request.extensions.get::<OnInformational>());
        if let Some(listener) = listener {
            listener.tell(response);
        }
        if status == StatusCode::CONTINUE {
            self.stop_waiting_for_continue();
        }
    }

    fn stop_waiting_for_continue(&mut self) {
        if let Upload::Continue = self.upload {
            self.upload = Upload::Body;
        }
    }

    fn begin_response(&mut self, head: &mut http::Response<()>) -> ResponseStart {
        self.has_head = true;
        let (status, bytes) = (head.status(), self.codec.head_bytes());
        self.emit(|| TraceEvent::ResponseHead {
            status: status.as_u16(),
            bytes: bytes as u64,
        });
        if self.codec.framing() == Some(Framing::Switch) {
            self.switch(head);
            return ResponseStart::Over(Body::empty());
        }
        if self.sent() != RequestSent::Full {
            let early = EarlyResponse::default();
            if matches!(self.upload, Upload::Failed(_)) {
                early.cut_short();
            }
            head.extensions_mut().insert(early.clone());
            self.early = Some(early);
        }
        match self.upload {
            // RFC 9110 §10.1.1: a final answer instead of 100. The body is not wanted.
            Upload::Continue => self.abandon_upload(),
            // RFC 9112 §9.5: who refuses a request and closes does not want the rest of it.
            Upload::Body | Upload::Rest
                if (status.is_client_error() || status.is_server_error())
                    && self.codec.closing() == Some(MustClose::PeerSaidClose) =>
            {
                self.abandon_upload();
            }
            _ => {}
        }
        if let Some(all) = self.codec.try_take_full_body(&mut self.input) {
            self.received(all.len());
            self.finish();
            return ResponseStart::Over(Body::from(all));
        }
        if self.try_read_end() {
            self.finish();
            return ResponseStart::Over(Body::empty());
        }
        if self.input.is_empty() {
            return ResponseStart::More(None);
        }
        match self.codec.decode(&mut self.input, self.eof) {
            Ok(Some(Event::Data(data))) if self.try_read_end() => {
                self.received(data.len());
                self.finish();
                ResponseStart::Over(Body::from(data))
            }
            Ok(first) => ResponseStart::More(first),
            // It will be refused again when the body is polled.
            Err(_) => ResponseStart::More(None),
        }
    }

    /// RFC 9110 §7.8: no protocol is switched in the middle of a request.
    fn check_switch(&self) -> Result<(), Failure> {
        let switches = self.codec.framing() == Some(Framing::Switch);
        let sent = match self.upload {
            Upload::Sent => true,
            Upload::Rest => self.outgoing.is_empty(),
            _ => false,
        };
        if switches && !sent {
            return Err(Failure::Violation(ProtocolError::UnaskedSwitch));
        }
        Ok(())
    }

    /// RFC 9110 §7.8, §9.3.6: the connection is not HTTP's any more.
    fn switch(&mut self, head: &mut http::Response<()>) {
        let (reason, detail) = (CloseReason::Upgraded, MustClose::Switched.text());
        self.emit(|| TraceEvent::ConnectionClosed { reason, detail });
        if let (Some(connection), Some(lease)) = (self.connection.take(), self.lease.take()) {
            let leading = BytesMut::from(&self.input[..]);
            Upgraded::new(connection.stream, leading, lease).insert_into(head.extensions_mut());
        }
    }

    /// Sends what can be sent now.
    #[inline]
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Sending, Failure> {
        match self.upload {
            Upload::Sent | Upload::Failed(_) | Upload::Abandoned => Ok(Sending::Over),
            Upload::Continue | Upload::Body | Upload::Rest => self.poll_upload(cx),
        }
    }

    #[inline(never)] // Nearly every second poll has nothing to send, and should not set up for it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<Sending, Failure> {
        for _ in 0..WRITES_AT_ONCE {
            let starved = match self.upload {
                Upload::Sent | Upload::Failed(_) | Upload::Abandoned => return Ok(Sending::Over),
                Upload::Continue => true,
                Upload::Rest => false,
                Upload::Body => self.fill_write_buf(cx)?.is_pending(),
            };
            let progress = if self.outgoing.is_empty() {
                self.poll_flush(cx)
            } else {
                self.poll_write(cx)
            };
            match progress {
                Poll::Pending => return Ok(Sending::Blocked),
                Poll::Ready(Err(error)) => {
                    buffers::give(&mut self.outgoing.into_buf());
                    self.codec.abort_request();
                    self.upload = Upload::Failed(error);
                    return Ok(Sending::Over);
                }
                Poll::Ready(Ok(())) => {}
            }
            if self.outgoing.is_empty() && !self.unflushed {
                match self.upload {
                    Upload::Rest => {
                        self.finish_upload();
                        return Ok(Sending::Over);
                    }
                    _ if starved => return Ok(Sending::BodyPending),
                    _ => {}
                }
            }
        }
        // More could be sent. The others first.
        cx.waker().wake_by_ref();
        Ok(Sending::BodyPending)
    }

    /// Takes what pieces the request's body has, until there is enough to write. Pending when the
    /// body has nothing now: what has been taken is written all the same.
    fn fill_write_buf(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        self.outgoing.make_room(SMALL_BUFFER);
        for _ in 0..PIECES_AT_ONCE {
            if !matches!(self.upload, Upload::Body) || self.outgoing.is_full(MAX_HELD_BYTES) {
                break;
            }
            if self.poll_piece(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Asks the request's body for its next piece, and frames it.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let before = self.outgoing.buf_mut();
        if let Some(all) = self.request_body.as_bytes() {
            // All at hand: it goes out with the head, and stays whole in case of another attempt.
            let after = self
                .codec
                .encode_last_data(all.len(), before)
                .map_err(Failure::Misuse)?;
            if !self.outgoing.copy(all, after) {
                self.outgoing.push(all.clone(), after);
            }
            self.body_sent = all.len() as u64;
            self.upload = Upload::Rest;
            return Ok(Poll::Ready(()));
        }
        self.request_body_begun = true;
        let frame = match self.request_body.poll_next(cx) {
            // With all its bytes framed, a body which will not say that it has ended has ended.
            Poll::Pending if self.codec.is_framed() => None,
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(frame) => frame.transpose().map_err(Failure::Body)?,
        };
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                let last = self.request_body.is_end_stream();
                let framed = if last {
                    self.codec.encode_last_data(data.len(), before)
                } else {
                    self.codec.encode_data(data.len(), before)
                };
                let after = framed.map_err(Failure::Misuse)?;
                self.body_sent += data.len() as u64;
                self.outgoing.push(data, after);
                if last {
                    self.upload = Upload::Rest;
                }
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.codec
                    .encode_end(Some(&trailers), before)
                    .map_err(Failure::Misuse)?;
                self.upload = Upload::Rest;
            }
            None => {
                self.codec
                    .encode_end(None, before)
                    .map_err(Failure::Misuse)?;
                self.upload = Upload::Rest;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        let written = ready!(self.outgoing.poll_write(cx, &mut *connection.stream))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.wrote_some = true;
        self.unflushed = true;
        self.waits.wrote = true;
        if self.head_left > 0 {
            self.head_left = self.head_left.saturating_sub(written);
            if self.head_left == 0 {
                let bytes = self.head_length as u64;
                self.emit(|| TraceEvent::RequestHeadSent { bytes });
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(connection) = &mut self.connection
            && self.unflushed
        {
            ready!(connection.stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn finish_upload(&mut self) {
        self.upload = Upload::Sent;
        if let Some(early) = &self.early {
            early.complete();
        }
        debug_assert!(self.outgoing.is_empty());
        let mut buffer = self.outgoing.into_buf();
        // Whoever has written reads next; but not into what has grown for a large head, since a piece
        // of a body that is kept would keep all of that.
        if self.input.capacity() == 0 && self.head_length <= SMALL_BUFFER {
            self.input = buffer;
        } else {
            buffers::give(&mut buffer);
        }
        let bytes = self.body_sent;
        self.emit(|| TraceEvent::RequestBodySent { bytes });
    }

    fn abandon_upload(&mut self) {
        buffers::give(&mut self.outgoing.into_buf());
        self.codec.abort_request();
        self.upload = Upload::Abandoned;
        if let Some(early) = &self.early {
            early.cut_short();
        }
    }

    /// Ready with the next event of the response.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        loop {
            match self.codec.decode(&mut self.input, self.eof) {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Err(Failure::Violation(violation))),
            }
            self.make_room();
            let Some(connection) = &mut self.connection else {
                return Poll::Pending;
            };
            let room = self.input.capacity() - self.input.len();
            match connection.stream.poll_read(cx, &mut self.input) {
                Poll::Ready(Ok(0)) => {
                    self.eof = true;
                    self.check_eof_after_write_error()?;
                }
                Poll::Ready(Ok(read)) => {
                    self.started = true;
                    self.waits.read_some = true;
                    if read == room && self.has_head {
                        self.read_size = LARGE_BUFFER;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Read(error))),
                Poll::Pending => {
                    // Whoever waits long holds no buffer meanwhile.
                    if self.input.is_empty() {
                        buffers::give(&mut self.input);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// A reset is told once: by the write that met it, and then reading says that the stream has
    /// ended. A body which lasts until the end of the stream must not take that for its own.
    fn check_eof_after_write_error(&mut self) -> Result<(), Failure> {
        let until_close = self.codec.framing() == Some(Framing::Close);
        match std::mem::replace(&mut self.upload, Upload::Abandoned) {
            Upload::Failed(error) if until_close => Err(Failure::Read(error)),
            other => {
                self.upload = other;
                Ok(())
            }
        }
    }

    /// Sees to it that the input has room for a read, and for a large one if there is much to come.
    fn make_room(&mut self) {
        let wanted = match self.codec.remaining() {
            // A promise of the server's: never a reason for more than one large buffer.
            Some(left) => usize::try_from(left)
                .unwrap_or(LARGE_BUFFER)
                .clamp(SMALL_BUFFER, LARGE_BUFFER),
            None => self.read_size,
        };
        if self.input.capacity() == 0 {
            if wanted == SMALL_BUFFER {
                self.input = buffers::take();
            } else if !self.input.try_reclaim(wanted) {
                // All of the last one was given away, and somebody has it still.
                self.input = buffers::take_large(wanted);
            }
            return;
        }
        // The whole buffer again, if nobody has kept a piece of it; else what is left of it, if
        // that is much; else another one.
        let room = self.input.capacity() - self.input.len();
        if !buffers::is_enough(room, wanted) && !self.input.try_reclaim(wanted) && room < wanted / 2
        {
            self.input.reserve(wanted);
        }
    }

    /// Ready with an error when something has lasted too long; ready without one when there is
    /// something to be sent now. To be called when neither direction can go on.
    pub(crate) fn poll_waits(
        &mut self,
        cx: &mut Context<'_>,
        sending: Sending,
    ) -> Poll<Result<(), Failure>> {
        let situation = WaitState {
            writing: sending == Sending::Blocked,
            sent: sending == Sending::Over,
            head: self.has_head,
            started: self.started,
            awaiting_caller: sending == Sending::BodyPending,
            continuing: matches!(self.upload, Upload::Continue) && sending == Sending::BodyPending,
        };
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        if let Some(lease) = &self.lease {
            // Where a thread waits in the socket, a waker left with the pool would keep it out.
            let revoked = if connection.alarm.runtime().waits_in_sockets() {
                lease.is_revoked()
            } else {
                lease.poll_revoked(cx).is_ready()
            };
            if revoked {
                return Poll::Ready(Err(Failure::Revoked));
            }
        }
        match ready!(self.waits.poll(cx, &mut connection.alarm, situation)) {
            Expired::Continue => {
                self.stop_waiting_for_continue();
                Poll::Ready(Ok(()))
            }
            Expired::Timeout(kind) => Poll::Ready(Err(Failure::Timeout(kind))),
            Expired::RuntimeShutdown => Poll::Ready(Err(Failure::Read(RuntimeShutdown::error()))),
        }
    }

    /// Whether the whole exchange has lasted too long.
    pub(crate) fn is_late(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| self.waits.is_over(&connection.alarm))
    }

    /// Whether the pool does not wait any longer.
    pub(crate) fn is_revoked(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_revoked)
    }

    /// Reads framing that needs nobody's attention; whether that was the end of the response.
    pub(crate) fn try_read_end(&mut self) -> bool {
        self.codec.try_read_end(&mut self.input)
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.body_received += bytes as u64;
    }

    pub(crate) fn remaining(&self) -> Option<u64> {
        self.codec.remaining()
    }

    /// Reads away what is left of a response which nobody wants, if that is little and here
    /// already; whether that was all of it. Nothing waits, and nothing is told when more comes:
    /// then the connection is closed.
    pub(crate) fn drain(&mut self) -> bool {
        let Some(limit) = self.drain_limit() else {
            return false;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = self.input.len();
        while taken <= limit {
            match self.codec.decode(&mut self.input, self.eof) {
                Ok(Some(Event::End)) => return true,
                Ok(Some(Event::Data(data))) => {
                    self.received(data.len());
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(_) => return false,
            }
            self.make_room();
            let Some(connection) = &mut self.connection else {
                return false;
            };
            match connection.stream.poll_read(&mut cx, &mut self.input) {
                Poll::Ready(Ok(0)) => self.eof = true,
                Poll::Ready(Ok(read)) => taken += read,
                Poll::Ready(Err(_)) | Poll::Pending => return false,
            }
        }
        false
    }

    /// How much may be drained, where that could save the connection.
    fn drain_limit(&self) -> Option<usize> {
        let limit = self.connection.as_ref()?.config.max_drain_on_drop;
        let could_be_kept = matches!(self.upload, Upload::Sent)
            && self.codec.closing().is_none()
            && matches!(
                self.codec.framing(),
                Some(Framing::Length(_) | Framing::Chunked)
            );
        let is_little = self
            .codec
            .remaining()
            .is_none_or(|left| left <= limit as u64);
        (limit > 0 && could_be_kept && is_little).then_some(limit)
    }

    /// The response has come to its end: the connection goes back, or the reason is told why not.
    pub(crate) fn finish(&mut self) {
        let bytes = self.body_received;
        self.emit(|| TraceEvent::ResponseEnded { bytes });
        let verdict = match self.upload {
            Upload::Sent => self.codec.can_reuse(&self.input),
            // What has been framed has not all been written.
            _ => self
                .codec
                .can_reuse(&self.input)
                .and(Err(MustClose::UnfinishedRequest)),
        };
        match verdict {
            Ok(()) => self.keep(),
            Err(cause) => self.close(cause.reason(), cause.text()),
        }
    }

    /// The exchange has failed: everything is closed.
    pub(crate) fn fail(&mut self, failure: Failure) -> Error {
        let callers = matches!(failure, Failure::Misuse(_) | Failure::Body(_));
        let revoked = matches!(failure, Failure::Revoked);
        let error = self.error_of(failure);
        if self.has_head {
            // Whoever asked has a response already, and will not tell.
            self.emit(|| TraceEvent::Failed { error: &error });
        }
        if callers && !self.wrote_some && !self.started {
            // The server has not heard of it.
            self.keep();
        } else if revoked {
            self.close(CloseReason::Revoked, "the pool was drained");
        } else {
            self.close(CloseReason::Failed, "the exchange failed");
        }
        error
    }

    /// Gives the connection back.
    fn keep(&mut self) {
        let (Some(mut connection), Some(lease)) = (self.connection.take(), self.lease.take())
        else {
            return;
        };
        self.trace
            .emit(|| (connection.alarm.now(), TraceEvent::ConnectionReleased));
        connection.alarm.disarm();
        connection.served += 1;
        lease.give_back_with(connection, self.codec.hints());
    }

    /// Drops the connection, and then the lease.
    fn close(&mut self, reason: CloseReason, detail: &'static str) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if let Some(early) = &self.early {
            early.cut_short();
        }
        let runtime = self
            .trace
            .is_on()
            .then(|| connection.alarm.runtime().clone());
        drop(connection);
        if let Some(lease) = self.lease.take() {
            lease.close(reason);
        }
        if let Some(runtime) = runtime {
            self.trace.emit(|| {
                let event = TraceEvent::ConnectionClosed { reason, detail };
                (runtime.now(), event)
            });
        }
    }

    fn error_of(&mut self, failure: Failure) -> Error {
        let phase = match self.upload {
            _ if self.has_head => ErrorPhase::Body,
            Upload::Sent | Upload::Failed(_) | Upload::Abandoned => ErrorPhase::Head,
            Upload::Continue | Upload::Body | Upload::Rest => ErrorPhase::Send,
        };
        let write_error = match std::mem::replace(&mut self.upload, Upload::Abandoned) {
            Upload::Failed(error) => Some(error),
            other => {
                self.upload = other;
                None
            }
        };
        let sent = self.sent();
        let failed = |kind, source: BoxError| Error::new(kind, phase, sent).with_source(source);
        let error = match failure {
            Failure::Misuse(misuse) if misuse.is_body() => {
                Error::new(ErrorKind::RequestBody, ErrorPhase::Send, sent).with_source(misuse)
            }
            Failure::Misuse(misuse) => {
                Error::new(ErrorKind::InvalidRequest, ErrorPhase::Request, sent).with_source(misuse)
            }
            Failure::Body(error) => error,
            Failure::Timeout(limit) => Error::new(ErrorKind::Timeout(limit), phase, sent),
            Failure::Revoked => Error::new(ErrorKind::PoolClosed, phase, sent)
                .with_message("the pool was drained, and did not wait for the end of the exchange")
                .with_source(ConnectionRevoked),
            Failure::Violation(violation) if violation.is_truncation() => {
                let closed = Error::new(ErrorKind::ConnectionClosed, phase, sent)
                    .with_message(violation.text());
                match write_error {
                    Some(error) => closed.with_source(error),
                    None => closed,
                }
            }
            Failure::Violation(violation) if violation.is_limit() => {
                failed(ErrorKind::TooLarge, violation.into())
            }
            Failure::Violation(violation) => failed(ErrorKind::Protocol, violation.into()),
            Failure::Read(error) => {
                // What broke first is the better explanation, unless reading says more: a server which
                // refuses in TLS may close at once, so that writing fails before the alert is read.
                let error = match (ErrorKind::of_stream_error(&error), write_error) {
                    (ErrorKind::Network, Some(earlier)) => earlier,
                    _ => error,
                };
                failed(ErrorKind::of_stream_error(&error), error.into())
            }
        };
        error
            .with_sent(sent)
            .with_response_started(self.started)
            .with_reused(self.reused)
            .with_attempts(self.attempt)
    }

    fn sent(&self) -> RequestSent {
        match self.upload {
            Upload::Sent => RequestSent::Full,
            Upload::Rest if self.outgoing.is_empty() => RequestSent::Full,
            _ if self.wrote_some => RequestSent::Partial,
            _ => RequestSent::None,
        }
    }

    /// The request's body from its beginning, if there is a way to that.
    fn body_again(&mut self) -> Option<Body> {
        if self.request_body_begun {
            self.request_body.try_clone()
        } else {
            Some(std::mem::take(&mut self.request_body))
        }
    }

    pub(crate) fn emit<'a>(&self, event: impl FnOnce() -> TraceEvent<'a>) {
        if let Some(connection) = &self.connection {
            self.trace.emit(|| (connection.alarm.now(), event()));
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        buffers::give(&mut self.input);
        buffers::give(&mut self.outgoing.into_buf());
        if self.connection.is_some() {
            self.close(
                CloseReason::Abandoned,
                "the exchange was dropped before its end",
            );
        }
    }
}
