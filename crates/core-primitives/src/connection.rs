//! What the pool asks of a connection, and what a connection owes to the pool.

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
    trace::Trace,
};

/// A request, with per-request settings ([`Timeouts`] and the like) in its extensions.
pub type Request = http::Request<Body>;

/// A response whose body, while it lasts, holds the lease.
pub type Response = http::Response<Body>;

/// A connection which has just been made, by how it may be used.
#[derive(Debug)]
pub enum Established {
    /// HTTP/1.1: one exchange at a time. The connection moves into the exchange.
    Exclusive(Box<dyn ExclusiveConnection>),
    /// HTTP/2: many at once. The pool keeps a handle; a spawned task drives the connection.
    Shared(Arc<dyn SharedConnection>),
}

/// What an exchange is given besides its request.
#[derive(Debug)]
pub struct ExchangeContext {
    /// The claim on the connection, to be settled when the exchange ends.
    pub lease: Lease,
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// When the whole exchange must have ended, the response's body included. The instant which
    /// `timeouts.total()` came to when the caller asked, so that waiting in a queue counts.
    pub deadline: Option<Instant>,
    /// Which attempt at the request this is, counted from 1. An error which the response's body
    /// ends with says so; nobody else is there to say it by then.
    pub attempt: u32,
    /// Who is told what happens.
    pub trace: Trace,
}

/// An idle connection for one exchange at a time. To hold it is to know that it is idle.
pub trait ExclusiveConnection: fmt::Debug + Send + 'static {
    /// Sends `request` and yields the response once its head is there.
    ///
    /// The exchange owns the connection. When the response has been read to its end, and may be
    /// followed by another, it gives the connection back through the lease in `terms`. In every
    /// other case, being dropped half-way included, connection and lease are dropped together, the
    /// connection first.
    fn exchange(
        self: Box<Self>,
        request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>>;

    /// See [`NetworkStream::poll_idle`](crate::net::NetworkStream::poll_idle). While it is
    /// pending, the connection holds no buffers.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent>;

    /// Facts about the stream below.
    fn info(&self) -> ConnectionInfo;

    /// Which version of HTTP is spoken, for those who print what there is.
    fn version(&self) -> http::Version;
}

/// How many exchanges a shared connection admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamLimit {
    /// So many at once. None, for now, is possible too (RFC 9113 §6.5.2).
    Max(usize),
    /// None any more: the peer is going away, the connection has ended, or its ids are used up.
    Closed,
}

/// Which stream of a shared connection carried a response (RFC 9113 §5.1.1). In the response's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// A handle to a connection which carries many exchanges at once.
pub trait SharedConnection: fmt::Debug + Send + Sync + 'static {
    /// Sends `request`, as [`ExclusiveConnection::exchange`] does; the lease lasts as long as the
    /// response's body.
    fn exchange(
        &self,
        request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>>;

    /// Ready with how many exchanges the peer admits, whenever that is news. Asked by one task.
    ///
    /// The first news must come, as soon as the peer has said how many it admits, or the connection
    /// has ended: a pool waits for it before it makes another connection for those whom this one
    /// does not serve yet.
    fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit>;

    /// Returns whether the connection is still open, by what has arrived so far: `false` means that
    /// its end or its failure is known, or is found by asking the stream below now.
    ///
    /// A pool calls this right before it lends the connection, outside its locks, and does not lend
    /// it if the answer is `false`. The answer does not depend on whether a task of the connection
    /// has run since the end arrived. The method never waits, may make a system call, and may run
    /// the code of the layers below and wake the connection's own tasks. Data that has arrived is no
    /// reason for `false`, and neither is a limit of no exchanges: [`poll_stream_limit`](Self::poll_stream_limit)
    /// says that.
    fn check_open(&self) -> bool;

    /// Facts about the stream below.
    fn info(&self) -> ConnectionInfo;

    /// Which version of HTTP is spoken, for those who print what there is.
    fn version(&self) -> http::Version;
}

/// A response which came instead of what was wanted, inside an error: that has to be `Sync`, and a
/// body is not.
pub struct RejectedResponse {
    status: http::StatusCode,
    response: Box<Mutex<Response>>,
}

impl RejectedResponse {
    /// `response`, to be given back.
    pub fn new(response: Response) -> Self {
        RejectedResponse {
            status: response.status(),
            response: Box::new(Mutex::new(response)),
        }
    }

    /// Its status.
    pub fn status(&self) -> http::StatusCode {
        self.status
    }

    /// The response. Its body goes on where it was.
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

/// In the extensions of a final response whose head came before all of the request had been sent: what
/// has become of the rest. A response without it came after the whole request.
///
/// What is left is sent while the response's body is read, as long as the server takes it. An end of the
/// response ends the request too.
#[derive(Clone, Debug, Default)]
pub struct EarlyResponse(Arc<AtomicU8>);

/// How far a request has been sent whose response came early. See [`EarlyResponse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UploadState {
    /// The rest is being sent, as long as the response's body is read.
    Sending,
    /// All of it has been sent after all.
    Complete,
    /// The rest has not been sent, and will not be: the server did not want it, writing failed, or the
    /// response came to its end before.
    CutShort,
}

impl EarlyResponse {
    /// How far the request has been sent by now.
    pub fn upload(&self) -> UploadState {
        match self.0.load(Ordering::Acquire) {
            0 => UploadState::Sending,
            1 => UploadState::Complete,
            _ => UploadState::CutShort,
        }
    }

    /// For protocols: all of the request has been sent. What was said first holds.
    pub fn complete(&self) {
        self.settle(1);
    }

    /// For protocols: the rest of the request will not be sent. What was said first holds.
    pub fn cut_short(&self) {
        self.settle(2);
    }

    fn settle(&self, state: u8) {
        let _ = (self.0).compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The request which a `421 (Misdirected Request)` responds to, in the response's extensions, if its
/// body can be sent from its beginning: the same request may be sent again on another connection,
/// whatever its method (RFC 9110 §15.5.20). A pool takes it out and does so.
#[derive(Clone)]
pub struct MisdirectedRequest(Arc<Mutex<Option<Box<Request>>>>);

impl MisdirectedRequest {
    /// `request`, to be taken once.
    pub fn new(request: Request) -> Self {
        MisdirectedRequest(Arc::new(Mutex::new(Some(Box::new(request)))))
    }

    /// The request, the first time.
    pub fn take(&self) -> Option<Box<Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for MisdirectedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MisdirectedRequest").finish_non_exhaustive()
    }
}

/// A failed exchange, with the request if it can be sent again.
#[derive(Debug)]
pub struct SendError {
    /// What went wrong; [`Error::sent`] says how much the peer may have seen.
    pub error: Error,
    /// The request, whole, unless its body has been used up. That it *can* be sent again does not
    /// mean that it *may*: RFC 9110 §9.2.2 allows it for idempotent methods, and for any request
    /// of which nothing was sent.
    pub request: Option<Box<Request>>,
}

impl SendError {
    /// A failure after which the request is gone.
    pub fn without_request(error: Error) -> Self {
        SendError {
            error,
            request: None,
        }
    }
}

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
