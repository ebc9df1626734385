//! An HTTP/1.1 connection between its exchanges.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use httpcore_core_primitives::{
    BoxFuture, BoxStream, ConnectionInfo, ExchangeContext, ExclusiveConnection, IdleEvent,
    LazyTimer, Request, Response, Runtime, SendError,
};
use httpcore_proto_common::buffers::LARGE_BYTES;

use crate::{
    codec::{Limits, ParserOptions},
    exchange::ExchangeFuture,
};

/// Configuration of HTTP/1.1 connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http1Config {
    /// Limits on what a server may send besides bodies. Beyond one, the exchange fails.
    pub limits: Limits,
    /// Deviations from RFC 9112 that the parser accepts. None by default.
    pub parser_options: ParserOptions,
    /// Maximum time for which a body waits for the `100 (Continue)` that its request expects, before it
    /// is sent without it (RFC 9110 §10.1.1: the server may never send it). One second by default: longer
    /// than most round trips, and short enough for servers that ignore the expectation.
    pub expect_continue_timeout: Duration,
    /// Maximum number of bytes to drain, without waiting, when a response body is dropped early, so that
    /// the connection can be reused. If more is missing, or has not arrived, the connection is closed.
    /// 64 KiB by default, which is one large read, and costs less than a new connection; with 0, each
    /// connection whose response is not read to its end is closed.
    pub max_drain_on_drop: usize,
}

impl Default for Http1Config {
    fn default() -> Self {
        Http1Config {
            limits: Limits::default(),
            parser_options: ParserOptions::default(),
            expect_continue_timeout: Duration::from_secs(1),
            max_drain_on_drop: LARGE_BYTES,
        }
    }
}

/// An idle HTTP/1.1 connection: a stream and a few words, without buffers.
///
/// ```
/// use httpcore_core_primitives::{Body, ExchangeContext, ExclusiveConnection, Lease};
/// use httpcore_net_mock::MockNet;
/// use httpcore_proto_h1::H1Connection;
/// use std::sync::Arc;
///
/// let net = MockNet::new();
/// let (stream, mut server) = net.pair();
/// net.spawn("server", async move {
///     server.read_head().await.unwrap();
///     server.write_all("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
/// });
/// let connection = H1Connection::new(stream, Arc::new(net.clone()), Arc::default());
/// let context = ExchangeContext::new(Lease::unowned());
/// let text = net.run(async {
///     let request = http::Request::get("http://localhost/").body(Body::empty()).unwrap();
///     let response = Box::new(connection).exchange(request, context).await.unwrap();
///     response.into_body().bytes(100).await.unwrap()
/// });
/// assert_eq!(text, "hello");
/// # net.clear();
/// ```
pub struct H1Connection {
    pub(crate) stream: BoxStream,
    /// Lives as long as the connection, so that an exchange need not allocate one; armed during
    /// exchanges only.
    pub(crate) timer: LazyTimer,
    pub(crate) config: Arc<Http1Config>,
    /// Number of exchanges that have ended with the connection reusable.
    pub(crate) served: u64,
}

impl H1Connection {
    /// Creates an idle connection over `stream`, of which nothing has been read, with the clock of
    /// `runtime`.
    pub fn new(stream: BoxStream, runtime: Arc<dyn Runtime>, config: Arc<Http1Config>) -> Self {
        H1Connection {
            stream,
            timer: LazyTimer::new(runtime, "exchange"),
            config,
            served: 0,
        }
    }

    /// Returns the number of exchanges that have ended on this connection.
    pub fn served(&self) -> u64 {
        self.served
    }
}

impl ExclusiveConnection for H1Connection {
    /// Sends `request`; yields the response as soon as its head has arrived, even if the request has not
    /// been sent to its end. The rest is sent while the response's body is polled, since no task runs
    /// for the connection; at the end of the response it is given up, and the connection is closed.
    ///
    /// # Errors
    ///
    /// A [`SendError`] with the request, if its body can be sent from its beginning.
    fn exchange(
        self: Box<Self>,
        request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        ExchangeFuture::new(self, request, context)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.stream.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }

    fn version(&self) -> http::Version {
        http::Version::HTTP_11
    }
}

impl fmt::Debug for H1Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Connection")
            .field("stream", &self.stream)
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}
