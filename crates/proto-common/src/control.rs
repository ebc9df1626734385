//! What surrounds the bytes of an exchange: its lease, its time limits, its trace.

use std::task::{Context, Poll, ready};

use http::{Extensions, Response};
use httpcore_core_primitives::{
    CloseReason, Driver, EarlyResponse, Error, ExchangeContext, LazyTimer, Lease, OnInformational,
    Runtime, RuntimeShutdown, TimeoutKind, Trace, TraceEvent,
};

use crate::{
    deadlines::{Deadlines, Expired, WaitState},
    failure::Failure,
    progress::{Progress, ResponseProgress, SendStatus},
};

/// Which task reads the stream that an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamReader {
    /// The task that polls the exchange.
    Caller,
    /// A task of the connection.
    Driver,
}

/// The lease, the time limits, the trace and the received part of one exchange, which both directions
/// and both protocols treat alike.
///
/// The timer is the connection's, where a connection carries one exchange at a time, and is therefore
/// an argument of each method that needs it.
#[derive(Debug)]
pub struct ExchangeControl {
    response: ResponseProgress,
    bytes_received: u64,
    deadlines: Deadlines,
    /// Present if the head arrived before all of the request had been sent.
    early: Option<EarlyResponse>,
    reader: StreamReader,
    reused: bool,
    attempt: u32,
    trace: Trace,
    lease: Option<Lease>,
}

impl ExchangeControl {
    /// Creates the control of an exchange with the lease, the time limits and the trace of `context`.
    ///
    /// `reused` says whether the connection has carried another exchange before.
    #[inline]
    pub fn new(
        context: ExchangeContext,
        expect_continue_timeout: std::time::Duration,
        reader: StreamReader,
        reused: bool,
    ) -> Self {
        ExchangeControl {
            response: ResponseProgress::None,
            bytes_received: 0,
            deadlines: Deadlines::new(&context.timeouts, context.deadline, expect_continue_timeout),
            early: None,
            reader,
            reused,
            attempt: context.attempt,
            trace: context.trace,
            lease: Some(context.lease),
        }
    }

    /// Returns how much of the response has arrived.
    #[inline]
    pub fn response(&self) -> ResponseProgress {
        self.response
    }

    /// Returns whether the head of the final response has arrived.
    #[inline]
    pub fn has_head(&self) -> bool {
        self.response == ResponseProgress::Head
    }

    /// Returns whether the exchange is still on its connection: the lease has neither ended nor been
    /// taken.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.lease.is_some()
    }

    /// Returns whether events are received by a listener.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.trace.is_on()
    }

    /// Emits `event` with the time of `timer`, if there is a listener.
    #[inline]
    pub fn emit<'a>(&self, timer: &LazyTimer, event: impl FnOnce() -> TraceEvent<'a>) {
        self.trace.emit(|| (timer.now(), event()));
    }

    /// Like [`emit`](Self::emit), once the timer is gone with its connection.
    pub fn emit_at_end<'a>(&self, runtime: &dyn Runtime, event: impl FnOnce() -> TraceEvent<'a>) {
        self.trace.emit(|| (runtime.now(), event()));
    }

    /// Records that some of the request was written.
    #[inline]
    pub fn wrote(&mut self) {
        self.deadlines.wrote = true;
    }

    /// Records that the peer sent something of this exchange.
    #[inline]
    pub fn read_some(&mut self) {
        self.deadlines.read_some = true;
        if self.response == ResponseProgress::None {
            self.response = ResponseProgress::Started;
        }
    }

    /// Records that `bytes` of the response's body go to the caller.
    #[inline]
    pub fn received(&mut self, bytes: usize) {
        self.bytes_received += bytes as u64;
    }

    /// Passes an informational response on to the trace and to the listener in `request`, the
    /// extensions of the request (RFC 9110 §15.2).
    pub fn informational(
        &mut self,
        timer: &LazyTimer,
        response: &Response<()>,
        request: Option<&Extensions>,
    ) {
        let status = response.status().as_u16();
        self.emit(timer, || TraceEvent::Informational { status });
        if let Some(listener) = request.and_then(Extensions::get::<OnInformational>) {
            listener.tell(response);
        }
    }

    /// Records that the head of the final response has arrived, in `bytes`.
    #[inline]
    pub fn head_received(&mut self, timer: &LazyTimer, status: u16, bytes: impl FnOnce() -> u64) {
        self.response = ResponseProgress::Head;
        self.emit(timer, || TraceEvent::ResponseHead {
            status,
            bytes: bytes(),
        });
    }

    /// Adds an [`EarlyResponse`] to the `extensions` of a response whose request has not been sent to
    /// its end.
    pub fn response_is_early(&mut self, extensions: &mut Extensions) {
        let early = EarlyResponse::default();
        extensions.insert(early.clone());
        self.early = Some(early);
    }

    /// Records that all of the request has been sent, with `bytes` of body.
    #[inline]
    pub fn upload_complete(&mut self, timer: &LazyTimer, bytes: u64) {
        if let Some(early) = &self.early {
            early.complete();
        }
        self.emit(timer, || TraceEvent::RequestBodySent { bytes });
    }

    /// Records that no more of the request will be sent. After
    /// [`upload_complete`](Self::upload_complete) this has no effect.
    #[inline]
    pub fn upload_cut_short(&self) {
        if let Some(early) = &self.early {
            early.cut_short();
        }
    }

    /// Ready with an error when a limit of time has been reached or the lease is revoked; ready without
    /// an error when the wait for `100 (Continue)` has lasted long enough.
    ///
    /// To be called when neither direction of the exchange can go on. `sending` says what the request
    /// waits for.
    #[inline]
    pub fn poll_limits(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut LazyTimer,
        sending: SendStatus,
    ) -> Poll<Result<(), Failure>> {
        if self.poll_revoked(cx) {
            return Poll::Ready(Err(Failure::Revoked));
        }
        let state = WaitState {
            sending,
            response: self.response,
        };
        Poll::Ready(match ready!(self.deadlines.poll(cx, timer, state)) {
            Expired::Continue => Ok(()),
            Expired::Timeout(limit) => Err(Failure::Timeout(limit)),
            Expired::RuntimeShutdown => Err(Failure::Io(RuntimeShutdown::error())),
        })
    }

    /// Returns whether the lease is revoked. Otherwise the task of `cx` is woken when it is.
    fn poll_revoked(&self, cx: &mut Context<'_>) -> bool {
        let Some(lease) = &self.lease else {
            return false;
        };
        // A waker left with the lease would make the thread wait in its event loop.
        if self.reader == StreamReader::Caller && Driver::current() == Driver::BlockingThread {
            lease.is_revoked()
        } else {
            lease.poll_revoked(cx).is_ready()
        }
    }

    /// Returns an error if the exchange has lasted too long or its lease is revoked, for a response
    /// body that always has something to read and therefore never waits.
    ///
    /// # Errors
    ///
    /// [`Failure::Timeout`] and [`Failure::Revoked`].
    #[inline]
    pub fn check_limits(&self, timer: &LazyTimer) -> Result<(), Failure> {
        if self.deadlines.is_over(timer) {
            return Err(Failure::Timeout(TimeoutKind::Total));
        }
        if self.lease.as_ref().is_some_and(Lease::is_revoked) {
            return Err(Failure::Revoked);
        }
        Ok(())
    }

    /// Returns the error of `failure`, for an exchange that has come as far as `progress` says.
    pub fn error(&self, failure: Failure, progress: Progress) -> Error {
        failure.into_error(progress, self.reused, self.attempt)
    }

    /// Emits `error` if the caller has a response already. Before that, the caller receives the error
    /// and emits it.
    pub fn emit_failed(&self, timer: &LazyTimer, error: &Error) {
        if self.has_head() {
            self.emit(timer, || TraceEvent::Failed { error });
        }
    }

    /// Emits that the response has ended.
    #[inline]
    pub fn response_ended(&self, timer: &LazyTimer) {
        let bytes = self.bytes_received;
        self.emit(timer, || TraceEvent::ResponseEnded { bytes });
    }

    /// Takes the lease, once.
    #[inline]
    pub fn take_lease(&mut self) -> Option<Lease> {
        self.lease.take()
    }

    /// Ends the lease for `reason`, once. The connection or its stream must have been dropped.
    #[inline]
    pub fn close(&mut self, reason: CloseReason) {
        if let Some(lease) = self.lease.take() {
            lease.close(reason);
        }
    }
}
