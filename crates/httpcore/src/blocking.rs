//! The same engine for threads that block, without an event loop in the background.
//!
//! A call drives its own request on the calling thread, and returns when the response's head has
//! arrived; reading the body works in the same way. A pool may be used from any number of threads.
//!
//! Threads share connections of HTTP/2. Such a connection is read, and its server's PINGs are
//! answered, while any thread waits in the pool. Between calls it is not: what has arrived in the
//! meantime is processed by the next call.
//!
//! ```
//! # let origin = httpcore_origin::Origin::start()?;
//! # let url = origin.url("/hello");
//! let response = httpcore::blocking::get(url)?;
//! let data = response.into_body().bytes(1 << 20)?;
//! # assert!(!data.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Settings are those of [`ConnectionPoolBuilder`]:
//!
//! ```no_run
//! let pool = httpcore::ConnectionPool::builder()
//!     .max_connections(10)
//!     .build_blocking()?;
//! let response = pool.get("http://example.com/")?;
//! std::io::copy(&mut response.into_body(), &mut std::io::stdout())?;
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

/// A pool whose requests block the calling thread. Cloning it yields another handle to it.
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

    /// Sends `request` and blocks until the head of the response has arrived. See
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
            blocking: self.blocking.clone(),
        }))
    }

    /// Sends a GET.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); [`ErrorKind::InvalidUrl`] if `url` cannot be parsed.
    pub fn get(&self, url: impl IntoUrl) -> Result<Response, Error> {
        let mut request = Request::default();
        *request.uri_mut() = url.into_url()?;
        self.request(request)
    }

    /// Opens a WebSocket; see [`ConnectionPool::websocket`](crate::ConnectionPool::websocket). Its
    /// stream becomes a blocking one by [`stream`](Self::stream).
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

    /// Returns an upgraded stream of this pool as one that is read and written on the calling thread.
    pub fn stream(&self, upgraded: Upgraded) -> Stream {
        Stream {
            upgraded,
            unread: BytesMut::new(),
            blocking: self.blocking.clone(),
        }
    }

    /// Returns a snapshot of requests and connections.
    pub fn status(&self) -> PoolStatus {
        self.pool.status()
    }

    /// Returns counters since the pool was created.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Refuses new requests and blocks, at most for `within`, until running and waiting ones have
    /// ended; see [`ConnectionPool::drain`](crate::ConnectionPool::drain). A response whose body this
    /// thread has not read does not end meanwhile. Another thread that is blocked in a socket is not
    /// woken after `within`: its exchange is aborted when the server next sends something, or by its
    /// own time limits.
    pub fn drain(&self, within: Duration) -> DrainSummary {
        self.blocking.block_on(self.pool.drain(within))
    }

    /// Closes the connections that are idle now.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Closes the pool: idle connections are closed, later requests are refused; see
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

/// Sends a GET over a connection of its own, and blocks until the head of the response has
/// arrived.
///
/// # Errors
///
/// As for [`ConnectionPool::get`].
pub fn get(url: impl IntoUrl) -> Result<Response, Error> {
    pool_for_one()?.get(url)
}

/// Sends a request over a connection of its own, and blocks until the head of the response has
/// arrived.
///
/// ```no_run
/// use httpcore::{blocking, http};
///
/// let request = http::Request::post("http://example.com/items").body("seven")?;
/// println!("{}", blocking::request(request)?.status());
/// # Ok::<(), httpcore::Error>(())
/// ```
///
/// # Errors
///
/// As for [`ConnectionPool::request`].
pub fn request<B: Into<crate::Body>>(request: http::Request<B>) -> Result<Response, Error> {
    pool_for_one()?.request(request)
}

fn pool_for_one() -> Result<ConnectionPool, Error> {
    ConnectionPool::new().map_err(|error| {
        Error::new(
            ErrorKind::RuntimeShutdown,
            ErrorPhase::Request,
            RequestSent::None,
        )
        .with_message("cannot create an event loop")
        .with_source(error)
    })
}

/// A response's body, read on the calling thread.
///
/// Implements [`Read`]: an error is the [`io::Error`] that an [`Error`] converts to, such as
/// `TimedOut`, `UnexpectedEof` or `ConnectionReset`, with the [`Error`] inside, and is returned
/// again by each further read.
pub struct Body {
    body: crate::Body,
    /// Data that has been received and not read.
    unread: Bytes,
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

    /// Receives the next piece.
    fn receive(&mut self) -> Option<Result<Bytes, Error>> {
        // Received bytes, as of most small responses, need no loop, which costs 500 instructions.
        if self.body.is_empty() {
            return None;
        }
        if let Some(bytes) = self.body.as_bytes() {
            let bytes = bytes.clone();
            self.body = crate::Body::empty();
            return (!bytes.is_empty()).then_some(Ok(bytes));
        }
        self.blocking.block_on(self.body.chunk())
    }

    /// Receives the whole body, if it is at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if it is larger; otherwise the error that ends the body, also if an
    /// earlier read has returned it.
    pub fn bytes(self, limit: usize) -> Result<Bytes, Error> {
        if self.unread.is_empty() {
            return self.blocking.block_on(self.body.bytes(limit));
        }
        let head = self.unread;
        let rest = limit.checked_sub(head.len()).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, ErrorPhase::Body, RequestSent::Full)
                .with_message(format!("body larger than the limit of {limit} bytes"))
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
    /// Data that has been received and not read.
    unread: BytesMut,
    blocking: Arc<Blocking>,
}

impl Stream {
    /// Flushes and closes the writing side; with TLS, sends `close_notify`. Reading goes on.
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
