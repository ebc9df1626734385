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

use crate::{
    buffers::LARGE_BUFFER,
    codec::{Limits, ParserOptions},
    exchange::ExchangeFuture,
};

/// What may be set for the connections of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http1Config {
    /// How much a server may send of what is not a body.
    pub limits: Limits,
    /// What is read although it is not in order. Nothing by default.
    pub leniency: ParserOptions,
    /// How long a body waits for the `100 (Continue)` which its request expects, before it is sent
    /// all the same (RFC 9110 §10.1.1: the server may never answer). One second by default: longer
    /// than most round trips, and short enough for those servers which do not know the question.
    pub expect_continue_timeout: Duration,
    /// How many bytes of a response that is dropped before its end are read away, if they are all
    /// that is missing, so that the connection can be kept. Only what is there already: dropping
    /// never waits, and so there is no limit of time to this. 64 KiB by default, which is one large
    /// read, and costs less than a new connection; 0 closes each connection whose response is not
    /// read to its end.
    pub max_drain_on_drop: usize,
}

impl Default for Http1Config {
    fn default() -> Self {
        Http1Config {
            limits: Limits::default(),
            leniency: ParserOptions::default(),
            expect_continue_timeout: Duration::from_secs(1),
            max_drain_on_drop: LARGE_BUFFER,
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
    /// Lives as long as the connection, so that an exchange need not ask for the runtime; armed
    /// during exchanges only.
    pub(crate) alarm: LazyTimer,
    pub(crate) config: Arc<Http1Config>,
    /// How many exchanges have come to their end here.
    pub(crate) served: u64,
}

impl H1Connection {
    /// HTTP/1.1 over `stream`, of which nothing has been read, with the clock of `runtime`.
    pub fn new(stream: BoxStream, runtime: Arc<dyn Runtime>, config: Arc<Http1Config>) -> Self {
        H1Connection {
            stream,
            alarm: LazyTimer::new(runtime, "exchange"),
            config,
            served: 0,
        }
    }

    /// How many exchanges have come to their end on this connection.
    pub fn served(&self) -> u64 {
        self.served
    }
}

impl ExclusiveConnection for H1Connection {
    /// Sends `request`; yields the response as soon as its head is there, though the request may
    /// not have been sent to its end. What is left of it is sent while the response's body is
    /// polled, since nothing runs by itself here; a response without more to read gives it up, and
    /// closes the connection.
    ///
    /// # Errors
    ///
    /// A [`SendError`] with the request, if its body can be sent from its beginning.
    fn exchange(
        self: Box<Self>,
        request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        ExchangeFuture::new(self, request, terms)
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
