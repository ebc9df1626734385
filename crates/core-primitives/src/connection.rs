//! The traits between a pool and its connections, and the types that cross them.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    body::Body,
    error::Error,
    lease::Lease,
    net::{BoxFuture, ConnectionInfo, IdleEvent},
    options::Timeouts,
    sync::lock,
    trace::Trace,
};

/// A request, with per-request settings such as [`Timeouts`] in its extensions.
pub type Request = http::Request<Body>;

/// A response, whose body holds the lease until it ends.
pub type Response = http::Response<Body>;

/// A new connection, by how it may be used.
///
/// Exhaustive on purpose: a connection carries one exchange at a time or several, whatever its protocol,
/// and a pool must handle both.
#[derive(Debug)]
pub enum Established {
    /// One exchange at a time (HTTP/1.1). The connection moves into the exchange.
    Exclusive(Box<dyn ExclusiveConnection>),
    /// Several exchanges at once (HTTP/2). The pool keeps a handle; a spawned task drives the connection.
    Shared(Arc<dyn SharedConnection>),
}

/// The context of an exchange: its lease, time limits and trace.
///
/// ```
/// use httpcore_core_primitives::{ExchangeContext, Lease, Timeouts};
/// use std::time::Duration;
///
/// let context = ExchangeContext::new(Lease::unowned())
///     .with_timeouts(Timeouts::default().with_read(Duration::from_secs(5)));
/// assert_eq!(context.attempt, 1);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ExchangeContext {
    /// The claim on the connection, settled when the exchange ends.
    pub lease: Lease,
    /// The time limits of the phases.
    pub timeouts: Timeouts,
    /// The instant at which the whole exchange must have ended, its response body included:
    /// `timeouts.total()` after the request's first poll, so that waiting in a queue counts. `None` is no
    /// limit.
    pub deadline: Option<Instant>,
    /// The number of this attempt at the request, counted from 1. It is reported in errors of the
    /// response body, which the pool does not see.
    pub attempt: u32,
    /// The receiver of the exchange's events.
    pub trace: Trace,
}

impl ExchangeContext {
    /// Creates the context of a first attempt with `lease`, the default time limits, no deadline and no
    /// trace.
    pub fn new(lease: Lease) -> Self {
        ExchangeContext {
            lease,
            timeouts: Timeouts::default(),
            deadline: None,
            attempt: 1,
            trace: Trace::none(),
        }
    }

    /// Sets the time limits of the phases.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the instant at which the whole exchange must have ended; `None` is no limit.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the number of the attempt, counted from 1.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sets the receiver of events.
    #[must_use]
    pub fn with_trace(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }
}

/// An idle connection for one exchange at a time. A value of this type is always idle: an exchange
/// consumes it.
pub trait ExclusiveConnection: fmt::Debug + Send + 'static {
    /// Sends `request` and yields the response once its head has arrived.
    ///
    /// The exchange owns the connection. When the response has been read to its end and the connection
    /// can be reused, the exchange returns it through the lease in `context`. In every other case,
    /// including a drop before the end, connection and lease are dropped together, the connection first.
    ///
    /// A future that is polled after it was ready yields an error of
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest): it neither panics nor waits.
    fn exchange(
        self: Box<Self>,
        request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>>;

    /// See [`NetworkStream::poll_idle`](crate::net::NetworkStream::poll_idle). While it is
    /// pending, the connection holds no buffers.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent>;

    /// Returns the addresses and TLS parameters of the underlying stream.
    fn info(&self) -> ConnectionInfo;

    /// Returns the version of HTTP that the connection speaks, for snapshots and logs.
    fn version(&self) -> http::Version;
}

/// The number of exchanges that a shared connection admits.
///
/// Exhaustive on purpose: a pool must know each state in which a connection takes no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamLimit {
    /// At most this number at once. 0 is possible, and may be raised later (RFC 9113 §6.5.2).
    Max(usize),
    /// No further exchange, ever: the peer has sent GOAWAY, the connection has ended, or its stream ids
    /// are used up.
    Closed,
}

/// The id of the stream that carried a response on a shared connection (RFC 9113 §5.1.1). In the
/// response's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// A handle to a connection that carries several exchanges at once.
pub trait SharedConnection: fmt::Debug + Send + Sync + 'static {
    /// Sends `request`, as [`ExclusiveConnection::exchange`] does; the lease lasts as long as the
    /// response's body.
    fn exchange(
        &self,
        request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>>;

    /// Ready with the number of exchanges that the peer admits, each time it changes. Polled by one task
    /// at a time.
    ///
    /// The first value must be reported as soon as the peer has announced its limit or the connection
    /// has ended: a pool waits for it before it makes another connection for the requests that this one
    /// does not serve yet.
    fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit>;

    /// Returns whether the connection is still open, by what has arrived so far: `false` means that
    /// its end or its failure is known, or was found by checking the underlying stream now.
    ///
    /// A pool calls this immediately before it leases the connection, outside its locks, and does not
    /// lease it if the result is `false`. The result does not depend on whether a task of the connection
    /// has run since the end arrived. The method does not block; it may make a system call, run the
    /// code of the layers below, and wake the connection's own tasks. Data that has arrived is no
    /// reason for `false`, and neither is a limit of 0 exchanges, which
    /// [`poll_stream_limit`](Self::poll_stream_limit) reports.
    fn check_open(&self) -> bool;

    /// Returns the addresses and TLS parameters of the underlying stream.
    fn info(&self) -> ConnectionInfo;

    /// Returns the version of HTTP that the connection speaks, for snapshots and logs.
    fn version(&self) -> http::Version;
}

/// The response of a server that refused an upgrade or an event stream, as part of an error. It wraps
/// the response in a mutex because errors must be `Sync` and bodies are not.
pub struct RejectedResponse {
    status: http::StatusCode,
    response: Box<Mutex<Response>>,
}

impl RejectedResponse {
    /// Wraps `response`.
    pub fn new(response: Response) -> Self {
        RejectedResponse {
            status: response.status(),
            response: Box::new(Mutex::new(response)),
        }
    }

    /// Returns the status.
    pub fn status(&self) -> http::StatusCode {
        self.status
    }

    /// Returns the response. Its body has not been read.
    pub fn into_response(self) -> Response {
        let response = self.response.into_inner();
        response.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RejectedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RejectedResponse")
            .field(&self.status)
            .finish()
    }
}

/// State of the upload, in the extensions of a final response whose head arrived before the whole
/// request had been sent. A response without it arrived after the whole request.
///
/// The rest of the request is sent while the response body is read, as long as the server accepts it.
/// The end of the response ends the request as well.
#[derive(Clone, Debug, Default)]
pub struct EarlyResponse(Arc<AtomicU8>);

/// The progress of a request whose response arrived early. See [`EarlyResponse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UploadState {
    /// The rest is sent while the response body is read.
    Sending,
    /// The whole request has been sent.
    Complete,
    /// The rest was not sent and will not be: the server refused it, writing failed, or the response
    /// ended first.
    CutShort,
}

impl EarlyResponse {
    /// Returns the current progress.
    pub fn upload(&self) -> UploadState {
        match self.0.load(Ordering::Acquire) {
            0 => UploadState::Sending,
            1 => UploadState::Complete,
            _ => UploadState::CutShort,
        }
    }

    /// Records that the whole request has been sent. For protocols; the first record counts.
    pub fn complete(&self) {
        self.settle(1);
    }

    /// Records that the rest of the request will not be sent. For protocols; the first record counts.
    pub fn cut_short(&self) {
        self.settle(2);
    }

    fn settle(&self, state: u8) {
        let _ = (self.0).compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The request that was answered with `421 (Misdirected Request)` or `408 (Request Timeout)`, in the
/// response's extensions, if its body can be sent from its beginning: the same request may be sent
/// again on another connection (RFC 9110 §15.5.20, §15.5.9). A pool removes it, and sends it again
/// where it may: after a 421 whatever the method, after a 408 only an idempotent one that met the end
/// of a reused connection, and after a 407 always, since the request then answers the proxy's challenge.
#[derive(Clone)]
pub struct MisdirectedRequest(Arc<Mutex<Option<Box<Request>>>>);

impl MisdirectedRequest {
    /// Wraps `request`, which can be taken once.
    pub fn new(request: Request) -> Self {
        MisdirectedRequest(Arc::new(Mutex::new(Some(Box::new(request)))))
    }

    /// Returns the request at the first call, and `None` later.
    pub fn take(&self) -> Option<Box<Request>> {
        lock(&self.0).take()
    }
}

impl fmt::Debug for MisdirectedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MisdirectedRequest").finish_non_exhaustive()
    }
}

/// The error of a failed exchange, with the request if it can be sent again.
#[derive(Debug)]
#[non_exhaustive]
pub struct SendError {
    /// The error; [`Error::sent`] says how much the peer may have received.
    pub error: Error,
    /// The complete request, unless its body has been consumed. That it *can* be sent again does not
    /// mean that it *may*: RFC 9110 §9.2.2 allows it for idempotent methods, and for any request
    /// of which nothing was sent.
    pub request: Option<Box<Request>>,
}

impl SendError {
    /// Creates an error with the request, if that is complete.
    pub fn new(error: Error, request: Option<Box<Request>>) -> Self {
        SendError { error, request }
    }

    /// Creates an error without the request.
    pub fn without_request(error: Error) -> Self {
        SendError {
            error,
            request: None,
        }
    }
}

// Transparent: it prints, and has a source, as `error` does. `thiserror` has this only for types with one
// field.
impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
