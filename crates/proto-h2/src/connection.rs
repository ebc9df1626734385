//! A connection as the pool uses it.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use h2::client::SendRequest;
use httpcore_core_primitives::{
    BoxFuture, BoxStream, ConnectionInfo, Error, ErrorPhase, ExchangeContext, Request, RequestSent,
    Response, Runtime, SendError, SharedConnection, StreamLimit,
};

use crate::{
    config::Http2Config,
    driver::Driver,
    error,
    exchange::ExchangeFuture,
    link::ConnShared,
    payload::Payload,
    tokio_io::{Io, SharedIo, WeakIo},
};

/// A handle to an HTTP/2 connection, which a task of the runtime drives.
///
/// When the handle and the last exchange and body have been dropped, GOAWAY is sent, and the
/// connection is closed.
///
/// ```
/// use httpcore_core_primitives::{Body, ExchangeContext, Lease, SharedConnection};
/// use httpcore_net_mock::MockNet;
/// use httpcore_proto_h2::{Http2Config, H2Connection};
/// use std::sync::Arc;
///
/// # async fn ask(stream: httpcore_core_primitives::BoxStream, net: MockNet)
/// #     -> Result<(), Box<dyn std::error::Error>> {
/// // `stream` leads to a server which is known to speak HTTP/2, by ALPN or otherwise.
/// let connection = H2Connection::open(stream, Arc::new(net), Arc::new(Http2Config::default())).await?;
/// let context = ExchangeContext::new(Lease::unowned());
/// let request = http::Request::get("http://localhost/").body(Body::empty())?;
/// let response = connection.exchange(request, context).await?;
/// println!("{}", response.status());
/// # Ok(())
/// # }
/// ```
pub struct H2Connection {
    shared: Arc<Shared>,
}

/// State shared by the handle and the exchanges. The connection lives as long as one of them does.
pub(crate) struct Shared {
    requests: SendRequest<Payload>,
    pub(crate) link: Arc<ConnShared>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) config: Arc<Http2Config>,
    pub(crate) info: ConnectionInfo,
    io: WeakIo,
    /// Number of exchanges that have begun on this connection.
    begun: AtomicU64,
}

impl H2Connection {
    /// Starts HTTP/2 over `stream`, of which nothing has been read, and spawns the task that drives
    /// it on `runtime`.
    ///
    /// Ready once the preface has been written (RFC 9113 §3.4): requests need not wait for the
    /// server's SETTINGS. Dropping the future closes the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream, in [`ErrorPhase::Connect`].
    pub async fn open(
        stream: BoxStream,
        runtime: Arc<dyn Runtime>,
        config: Arc<Http2Config>,
    ) -> Result<Self, Error> {
        let info = stream.info();
        let link = Arc::new(ConnShared::default());
        let io = SharedIo::new(Io::new(stream, info.tls.is_some(), link.clone()));
        let (requests, connection) = config
            .builder()
            .handshake::<_, Payload>(io.clone())
            .await
            .map_err(|failure| {
                error::of_connection(&failure, &link)
                    .into_error(ErrorPhase::Connect, RequestSent::None)
            })?;
        // If that fails, the driver still reads what the server has sent.
        poll_fn(|cx| io.poll_send(cx)).await;
        let shared = Arc::new(Shared {
            requests,
            link: link.clone(),
            runtime: runtime.clone(),
            config,
            info,
            io: io.downgrade(),
            begun: AtomicU64::new(0),
        });
        let driver = Driver::new(connection, io, &shared, link);
        runtime.spawn("HTTP/2 connection", Box::pin(driver));
        Ok(H2Connection { shared })
    }
}

impl Shared {
    /// Returns a handle to open a stream with. Each is used once: what one of them remembers of a
    /// stream that waits for room would hold up the next.
    pub(crate) fn requests(&self) -> SendRequest<Payload> {
        self.requests.clone()
    }

    /// Returns whether the connection takes no more requests: GOAWAY has arrived, it has failed, or
    /// its stream ids are used up. If so, the pool is notified.
    pub(crate) fn is_over(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let is_over = matches!(self.requests().poll_ready(&mut cx), Poll::Ready(Err(_)));
        if is_over {
            self.link.publish(StreamLimit::Closed);
        }
        is_over
    }

    /// Returns whether this is not the first exchange; to be called once by each.
    fn begin(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) > 0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.link.released();
    }
}

impl SharedConnection for H2Connection {
    /// Sends `request` on a stream of its own; yields the response as soon as its head has arrived.
    /// The rest of the request is then sent while the response's body is polled; the end of the
    /// response ends the request too (RFC 9113 §8.1).
    ///
    /// A [`Protocol`](httpcore_core_primitives::Protocol) in the extensions of a `CONNECT` requests
    /// that protocol on the stream (RFC 8441); a 2xx has an
    /// [`Upgraded`](httpcore_core_primitives::Upgraded) in its extensions. Such a request waits for
    /// the server's SETTINGS, for as long as it would wait for a response.
    ///
    /// # Errors
    ///
    /// A [`SendError`] with the request, if its body can be sent from its beginning. A request that
    /// the server has declared unprocessed counts as not sent.
    ///
    /// # Cancellation
    ///
    /// Dropping the future, or the body, resets the stream (CANCEL), and gives back its part of the
    /// connection's window. Other streams are not affected.
    fn exchange(
        &self,
        request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        let reused = self.shared.begin();
        ExchangeFuture::new(self.shared.clone(), request, context, reused)
    }

    fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit> {
        self.shared.link.poll_stream_limit(cx)
    }

    /// Checks the stream below, and reads ahead at most once, since the end may have arrived behind
    /// frames. Until the driver has been polled for the first time, the connection counts as open.
    fn check_open(&self) -> bool {
        let link = &self.shared.link;
        if link.is_gone() || link.end().is_some() {
            return false;
        }
        link.driver()
            .is_none_or(|driver| self.shared.io.is_open(&driver))
    }

    fn info(&self) -> ConnectionInfo {
        self.shared.info.clone()
    }

    fn version(&self) -> http::Version {
        http::Version::HTTP_2
    }
}

impl fmt::Debug for H2Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2Connection")
            .field("link", &self.shared.link)
            .field("info", &self.shared.info)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
