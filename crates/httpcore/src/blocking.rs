//! The same engine for threads that wait: no event loop in the background, no extra thread.
//!
//! A call drives its own request on the calling thread, over sockets of its own, and returns when
//! the response's head is there; reading the body goes on in the same way. The pool may be used
//! from any number of threads.
//!
//! Over HTTP/2, threads share connections. Such a connection is read, and its server's PINGs are
//! answered, while any thread waits in the pool; in between nobody does, and what has happened
//! meanwhile is found out by the next one.
//!
//! ```
//! # let origin = httpcore_origin::Origin::start()?;
//! # let url = origin.url("/hello");
//! let response = httpcore::blocking::get(url)?;
//! let text = response.into_body().bytes(1 << 20)?;
//! # assert!(!text.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use httpcore_core_primitives::{
    Error, ErrorKind, ErrorPhase, NetworkStream, Request, RequestSent, Upgraded,
};
pub use httpcore_net_epoll::Blocking;
use httpcore_pool::{DrainSummary, PoolStats, PoolStatus};

use crate::{ConnectionPoolBuilder, IntoUrl, connection_pool};

/// A response whose body is read on the calling thread.
pub type Response = http::Response<Body>;

/// Sends requests from threads that wait for the answer. Cloning it yields another handle.
#[derive(Clone)]
pub struct ConnectionPool {
    pool: connection_pool::ConnectionPool,
    blocking: Arc<Blocking>,
}

impl ConnectionPool {
    /// Creates a pool with default settings. For others, see
    /// [`ConnectionPoolBuilder::build_blocking`].
    ///
    /// # Errors
    ///
    /// If the operating system cannot create an event loop.
    pub fn new() -> io::Result<Self> {
        ConnectionPoolBuilder::default().build_blocking()
    }

    /// The pool that `builder` configures, on `blocking`.
    pub(crate) fn on(blocking: Blocking, builder: ConnectionPoolBuilder) -> Self {
        let blocking = Arc::new(blocking);
        ConnectionPool {
            pool: builder.build(blocking.backend()),
            blocking,
        }
    }

    /// Sends `request` and waits for the head of the response. See
    /// [`ConnectionPool::request`](crate::ConnectionPool::request).
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn request<B: Into<crate::Body>>(
        &self,
        request: http::Request<B>,
    ) -> Result<Response, Error> {
        let response = self.blocking.block_on(self.pool.request(request))?;
        Ok(response.map(|body| Body {
            body,
            unread: Bytes::new(),
            failure: None,
            blocking: self.blocking.clone(),
        }))
    }

    /// Sends a GET.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); [`ErrorKind::InvalidUrl`] if `url` is not one.
    pub fn get(&self, url: impl IntoUrl) -> Result<Response, Error> {
        let mut request = Request::default();
        *request.uri_mut() = url.into_url()?;
        self.request(request)
    }

    /// Opens a WebSocket; see [`ConnectionPool::websocket`](crate::ConnectionPool::websocket). Its
    /// stream becomes one that waits by [`stream`](Self::stream).
    ///
    /// # Errors
    ///
    /// See [`OpenError`](crate::ws::OpenError).
    #[cfg(feature = "ws")]
    pub fn websocket(
        &self,
        handshake: crate::ws::Handshake,
    ) -> Result<crate::ws::WebSocketStream, crate::ws::OpenError> {
        self.blocking.block_on(self.pool.websocket(handshake))
    }

    /// What a response of this pool has left behind, read and written on the calling thread.
    pub fn stream(&self, upgraded: Upgraded) -> Stream {
        Stream {
            upgraded,
            unread: BytesMut::new(),
            blocking: self.blocking.clone(),
        }
    }

    /// A snapshot to print.
    pub fn status(&self) -> PoolStatus {
        self.pool.status()
    }

    /// What has happened since the pool was made, counted.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Refuses what comes, and waits, for so long at most, until what has come is done; see
    /// [`ConnectionPool::drain`](crate::ConnectionPool::drain). A response whose body this very
    /// thread holds unread does not end meanwhile. A thread that waits in a socket is not woken when
    /// the time is over: its exchange is broken off when the server next says something, or by its
    /// own time limits.
    pub fn drain(&self, within: Duration) -> DrainSummary {
        self.blocking.block_on(self.pool.drain(within))
    }

    /// Closes the connections that are idle now.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Closes what is idle and refuses what comes; see
    /// [`ConnectionPool::close`](crate::ConnectionPool::close).
    pub fn close(&self) {
        self.pool.close();
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.pool, f)
    }
}

/// Sends a GET over a connection of its own, and waits for the head of the response.
///
/// # Errors
///
/// As for [`ConnectionPool::get`].
pub fn get(url: impl IntoUrl) -> Result<Response, Error> {
    let pool = ConnectionPool::new().map_err(|error| {
        Error::new(
            ErrorKind::RuntimeShutdown,
            ErrorPhase::Request,
            RequestSent::None,
        )
        .with_message("the system gave no means of waiting")
        .with_source(error)
    })?;
    pool.get(url)
}

/// A response's body, read on the calling thread.
///
/// Implements [`Read`]: an error is the [`io::Error`] that an [`Error`] converts to, as
/// `TimedOut`, `UnexpectedEof` or `ConnectionReset`, with the [`Error`] inside, and is reported
/// again by each further read.
pub struct Body {
    body: crate::Body,
    /// What was received and not yet read.
    unread: Bytes,
    /// What ended the body early. It is reported by every later read, which would otherwise take
    /// what it has for the whole.
    failure: Option<Error>,
    blocking: Arc<Blocking>,
}

impl Body {
    /// Returns the next piece, and `None` at the end. After an error it returns an
    /// [equal one](Error::repeated) each time.
    pub fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        if !self.unread.is_empty() {
            return Some(Ok(std::mem::take(&mut self.unread)));
        }
        self.receive()
    }

    /// The next piece of what has not been received yet.
    fn receive(&mut self) -> Option<Result<Bytes, Error>> {
        if let Some(failure) = &self.failure {
            return Some(Err(failure.repeated()));
        }
        // What is at hand, as most small responses are, needs no loop: that costs 500 instructions.
        if self.body.is_empty() {
            return None;
        }
        if let Some(bytes) = self.body.as_bytes() {
            let bytes = bytes.clone();
            self.body = crate::Body::empty();
            return (!bytes.is_empty()).then_some(Ok(bytes));
        }
        let piece = self.blocking.block_on(self.body.chunk());
        if let Some(Err(error)) = &piece {
            self.failure = Some(error.repeated());
        }
        piece
    }

    /// All of it, if that is at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if there is more; otherwise whatever ends the body early, also if an
    /// earlier read has reported it.
    pub fn bytes(self, limit: usize) -> Result<Bytes, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.unread.is_empty() {
            return self.blocking.block_on(self.body.bytes(limit));
        }
        let head = self.unread;
        let rest = limit.checked_sub(head.len()).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, ErrorPhase::Body, RequestSent::Full)
                .with_message(format!("the body is larger than the {limit} bytes allowed"))
                .with_response_started(true)
        })?;
        let tail = self.blocking.block_on(self.body.bytes(rest))?;
        Ok([head, tail].concat().into())
    }
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.unread.is_empty() {
            match self.receive() {
                None => return Ok(0),
                Some(piece) => self.unread = piece.map_err(io::Error::from)?,
            }
        }
        let size = buf.len().min(self.unread.len());
        self.unread.copy_to_slice(&mut buf[..size]);
        Ok(size)
    }
}

/// An [`Upgraded`] stream that is read and written on the calling thread. Dropping it closes it.
pub struct Stream {
    upgraded: Upgraded,
    /// What was received and not yet read.
    unread: BytesMut,
    blocking: Arc<Blocking>,
}

impl Stream {
    /// Says goodbye and closes the writing side; reading goes on.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn close_write(&mut self) -> io::Result<()> {
        self.blocking.block_on(self.upgraded.close_write())
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.unread.is_empty() {
            self.blocking
                .block_on(self.upgraded.read(&mut self.unread))?;
        }
        let size = buf.len().min(self.unread.len());
        self.unread.copy_to_slice(&mut buf[..size]);
        Ok(size)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let bufs = [IoSlice::new(buf)];
        let write = poll_fn(|cx| self.upgraded.poll_write(cx, &bufs));
        self.blocking.block_on(write)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flush = poll_fn(|cx| self.upgraded.poll_flush(cx));
        self.blocking.block_on(flush)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.upgraded, f)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.body, f)
    }
}
