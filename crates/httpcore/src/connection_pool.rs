//! The pool and its builder.

#[cfg(all(feature = "epoll", unix))]
use std::io;
#[cfg(feature = "rustls")]
use std::sync::OnceLock;
use std::{
    any::Any,
    fmt,
    future::poll_fn,
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    AddressFilter, Body, Error, LazyTimer, NetworkBackend, Origin, Request, Response, Runtime,
    ServerName, TcpOptions, Timeouts, TlsConnector, options, with_deadline,
};
#[cfg(feature = "ws")]
use httpcore_core_primitives::{ConnectionPolicy, upgrade::ExtendedConnectUnsupported};
#[cfg(feature = "tower")]
use httpcore_pool::Reservation;
use httpcore_pool::{
    Drain as PoolDrain, DrainSummary, Pool, PoolConfig, PoolStats, PoolStatus, Preconnect,
    ResponseFuture as PoolResponseFuture, Retry, Route,
};
use httpcore_proto_h1::Http1Config;
#[cfg(feature = "http2")]
use httpcore_proto_h2::Http2Config;
use httpcore_resolver::Resolve;

use crate::{
    IntoUrl,
    connect::{ConnectDeps, Connector},
    names::NameConfig,
    proxy::{self, Proxy, ProxyChoice, ProxyHeader, ProxyRules},
    recent::RecentFailures,
    routes::{Routes, Versions},
};

/// A pool of connections, which sends requests.
///
/// Cloning it yields another handle to the same pool. It may be used from any number of tasks and
/// threads.
///
/// ```no_run
/// # #[cfg(feature = "epoll")] {
/// use httpcore::{ConnectionPool, EventLoop, http};
///
/// let event_loop = EventLoop::new()?;
/// let pool = ConnectionPool::builder()
///     .max_connections(4)
///     .build(event_loop.backend());
/// event_loop.block_on(async {
///     let request = http::Request::post("http://example.com/").body("hello")?;
///     let mut response = pool.request(request).await?;
///     while let Some(piece) = response.body_mut().chunk().await {
///         println!("{} bytes", piece?.len());
///     }
///     Ok::<(), httpcore::Error>(())
/// })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ConnectionPool {
    pool: Pool,
    routes: Arc<Routes>,
    timeouts: Timeouts,
    /// Has the connections to proxies that carry many tunnels.
    connector: Connector,
}

impl ConnectionPool {
    /// Creates a pool with default settings on `backend`.
    pub fn new(backend: impl NetworkBackend) -> Self {
        Self::builder().build(backend)
    }

    /// Returns a builder with default settings.
    pub fn builder() -> ConnectionPoolBuilder {
        ConnectionPoolBuilder::default()
    }

    /// Sends `request` and yields the response once its head has arrived.
    ///
    /// The URI must be absolute (`http://host/path`). The response's body streams, and uses the
    /// connection until it has ended or is dropped. The request's body is a [`Body`] or what
    /// converts into one: `()`, a `&'static str`, a `String`, a `Vec<u8>`, [`Bytes`](crate::Bytes).
    /// User information in the URI (`http://user:password@host/`) is not sent.
    ///
    /// Options are taken from the request's extensions; [`RequestExt`](crate::RequestExt) has a
    /// table of them.
    ///
    /// Dropping the future or the body aborts the exchange and releases its connection before
    /// `drop` returns.
    ///
    /// # Errors
    ///
    /// See [`Error`]: kind, phase, and how much of the request was sent.
    pub fn request<B: Into<Body>>(&self, request: http::Request<B>) -> ResponseFuture {
        let mut request = request.map(Into::into);
        match self.prepare(&mut request) {
            Ok(route) => ResponseFuture(Progress::Sending(self.pool.send(route, request))),
            Err(error) => ResponseFuture(Progress::refused(error)),
        }
    }

    /// Returns the route of `request`, which is made ready for its proxies.
    #[inline]
    fn prepare(&self, request: &mut Request) -> Result<Route, Error> {
        let route = self.routes.of_request(request)?;
        proxy::prepare(&route, request)?;
        Ok(route)
    }

    /// Sends a GET.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl) if `url` cannot be parsed, with
    /// the place in its message.
    pub fn get(&self, url: impl IntoUrl) -> ResponseFuture {
        match url.into_url() {
            Ok(url) => {
                let mut request = Request::default();
                *request.uri_mut() = url;
                self.request(request)
            }
            Err(error) => ResponseFuture(Progress::refused(error)),
        }
    }

    /// Makes connections to the origin of `url` before there are requests for them, until there are
    /// `connections` in use, idle or being made. Yields how many of those that were begun for this call
    /// were made.
    ///
    /// The limits of the pool hold, and nothing is closed to make room. Requests with options that separate
    /// connections (a partition, TLS, a proxy of their own) do not use these connections. One that stays idle
    /// is closed after [`idle_timeout`](ConnectionPoolBuilder::idle_timeout). See
    /// [`Pool::connect`](httpcore_pool::Pool::connect).
    ///
    /// Dropping the future ends the waiting; the attempts go on.
    ///
    /// # Errors
    ///
    /// Those of an invalid URL, and the error of the first attempt that failed, once all have ended.
    ///
    /// ```
    /// # use httpcore::ConnectionPool;
    /// use httpcore_net_mock::MockNet;
    ///
    /// let net = MockNet::new();
    /// net.serve("api.test", 80, async |stream| stream.stall().await);
    /// let pool = ConnectionPool::new(net.clone());
    /// assert_eq!(net.run(pool.connect("http://api.test/", 3))?, 3);
    /// assert_eq!(pool.status().idle_connections, 3);
    /// # Ok::<(), httpcore::Error>(())
    /// ```
    pub fn connect(&self, url: impl IntoUrl, connections: usize) -> Preconnect {
        let route = url.into_url().and_then(|url| {
            let mut request = Request::default();
            *request.uri_mut() = url;
            self.routes.of_request(&request)
        });
        match route {
            Ok(route) => self.pool.connect(route, connections),
            Err(error) => Preconnect::refused(error),
        }
    }

    /// Returns this pool as a [`tower_service::Service`].
    #[cfg(feature = "tower")]
    pub fn service(&self) -> crate::service::PoolService {
        crate::service::PoolService::new(self.clone())
    }

    /// Returns this pool as a [`tower_service::Service`] for requests to one origin, which is ready
    /// when the pool has a place for a request. Of `origin`, scheme, host and port are used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl), and
    /// [`ErrorKind::UnsupportedScheme`](crate::ErrorKind::UnsupportedScheme), also for `https` in a
    /// pool without TLS.
    #[cfg(feature = "tower")]
    pub fn service_for(
        &self,
        origin: impl IntoUrl,
    ) -> Result<crate::service::OriginService, Error> {
        crate::service::OriginService::new(self.clone(), origin)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn route_of(&self, request: &Request) -> Result<Route, Error> {
        self.routes.of_request(request)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn reserve(&self, route: Route, hold: Option<Duration>) -> Reservation {
        self.pool.reserve(route, hold)
    }

    /// Like [`request`](Self::request), in a place that is reserved.
    #[cfg(feature = "tower")]
    pub(crate) fn request_reserved(
        &self,
        mut request: Request,
        reservation: Reservation,
    ) -> ResponseFuture {
        match self.prepare(&mut request) {
            Ok(route) => {
                let sending = self.pool.send_reserved(route, request, reservation);
                ResponseFuture(Progress::Sending(sending))
            }
            Err(error) => ResponseFuture::refused(error),
        }
    }

    /// Opens a WebSocket: by RFC 6455 over HTTP/1.1, by RFC 8441 over HTTP/2, and over an HTTP/1.1
    /// connection of its own if an HTTP/2 server does not support the latter.
    ///
    /// The stream comes with the agreed subprotocol and extensions. It counts as a connection of
    /// this pool until it is dropped.
    ///
    /// # Errors
    ///
    /// See [`OpenError`](crate::ws::OpenError), which has the response of a server that refused.
    #[cfg(feature = "ws")]
    pub fn websocket(
        &self,
        handshake: crate::ws::Handshake,
    ) -> impl Future<Output = Result<crate::ws::WebSocketStream, crate::ws::OpenError>> + Send + use<>
    {
        let pool = self.clone();
        handshake.open(move |request| async move {
            let (parts, body) = request.into_parts();
            let mut again = Request::from_parts(parts.clone(), Body::empty());
            let began = pool.pool.runtime().now();
            match pool.request(Request::from_parts(parts, body)).await {
                Err(error)
                    if ExtendedConnectUnsupported::is_source_of(&error)
                        && pool.routes.speaks_http1() =>
                {
                    let wish = again.extensions().get::<ConnectionPolicy>();
                    let wish = wish.copied().unwrap_or_default().with_http1_only();
                    again.extensions_mut().insert(wish);
                    // Both attempts are one request to the caller, under one total limit.
                    let own = again.extensions().get::<Timeouts>();
                    let limits = options::effective(&pool.timeouts, own);
                    if let Some(total) = limits.total() {
                        let spent = pool.pool.runtime().now().saturating_duration_since(began);
                        let rest = limits.with_total(total.saturating_sub(spent));
                        again.extensions_mut().insert(rest);
                    }
                    pool.request(again).await
                }
                other => other,
            }
        })
    }

    /// Subscribes to Server-Sent Events, and reconnects with the ID of the last event when the
    /// stream ends. To read the events of a single response, use
    /// [`sse::Events`](crate::sse::Events).
    #[cfg(feature = "sse")]
    pub fn events(&self, subscription: crate::sse::Subscription) -> crate::sse::EventSource {
        let pool = self.clone();
        let runtime = self.pool.runtime().clone();
        crate::sse::EventSource::new(subscription, runtime, move |request| pool.request(request))
    }

    /// Returns the time limits of requests, where a request's own [`Timeouts`] set none.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Returns the runtime of the pool's backend: its clock, timers and tasks. In a test on the
    /// mock backend these are in virtual time.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.pool.runtime()
    }

    /// Returns the current time by the clock of the pool's backend.
    pub fn now(&self) -> Instant {
        self.runtime().now()
    }

    /// Waits for `duration` by the clock of the pool's backend.
    ///
    /// ```
    /// # use httpcore::{ConnectionPool, EventLoop, Error, Response};
    /// # use std::time::Duration;
    /// async fn get_patiently(pool: &ConnectionPool, url: &str) -> Result<Response, Error> {
    ///     for pause in [1, 2, 4].map(Duration::from_millis) {
    ///         match pool.get(url).await {
    ///             Err(error) if error.is_retryable() => pool.sleep(pause).await,
    ///             outcome => return outcome,
    ///         }
    ///     }
    ///     pool.get(url).await
    /// }
    /// # let event_loop = EventLoop::new()?;
    /// # let pool = ConnectionPool::new(event_loop.backend());
    /// # let outcome = event_loop.block_on(get_patiently(&pool, "http://127.0.0.1:1/"));
    /// # assert!(outcome.unwrap_err().is_connect());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        let runtime = self.runtime().clone();
        let deadline = options::deadline(runtime.now(), Some(duration));
        let mut timer = LazyTimer::new(runtime, "sleep");
        poll_fn(move |cx| timer.poll_until(cx, deadline))
    }

    /// Runs `future` for at most `limit` by the clock of the pool's backend, and yields `None` if it
    /// has not ended by then; the future is dropped before that is returned. A future that is ready
    /// at the deadline wins.
    ///
    /// The time starts with this call. To limit a single request, use
    /// [`Timeouts::total`](Timeouts::total), which is part of its error.
    pub fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let deadline = options::deadline(self.now(), Some(limit));
        with_deadline(self.runtime(), "timeout", deadline, future)
    }

    /// Returns a snapshot: the numbers of requests and connections, and what each connection is
    /// doing. `{}` prints it in a line, `{:#}` with a line for each connection.
    pub fn status(&self) -> PoolStatus {
        self.pool.status()
    }

    /// Returns counters since the pool was created.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Returns a snapshot of the HTTP/2 connections to proxies that carry tunnels, whose exchanges are the
    /// tunnels; `None` before the first of them. They are not in [`status`](Self::status), which has the
    /// tunnels, nor in [`stats`](Self::stats).
    pub fn proxy_status(&self) -> Option<PoolStatus> {
        self.connector.known_proxies().map(Pool::status)
    }

    /// Closes the connections that are idle now.
    pub fn close_idle(&self) {
        self.pool.close_idle();
        self.connector.each_proxy_pool(&Pool::close_idle);
    }

    /// Closes the pool: idle connections are closed, waiting and later requests fail with
    /// [`ErrorKind::PoolClosed`](crate::ErrorKind::PoolClosed), and connections in use are closed when their exchanges end.
    pub fn close(&self) {
        self.pool.close();
        self.connector.each_proxy_pool(&Pool::close);
    }

    /// Refuses new requests from the first poll on, closes idle connections, waits at most `within`
    /// until running and waiting requests have ended, and then closes the pool and aborts the rest,
    /// including [`Upgraded`](crate::Upgraded) streams. Yields the number of aborted ones. See
    /// [`Pool::drain`](httpcore_pool::Pool::drain).
    ///
    /// ```
    /// # use httpcore::{ConnectionPool, EventLoop};
    /// # use std::time::Duration;
    /// # let event_loop = EventLoop::new()?;
    /// # let pool = ConnectionPool::new(event_loop.backend());
    /// event_loop.block_on(async {
    ///     let drained = pool.drain(Duration::from_secs(10)).await;
    ///     println!("{} requests did not end in time", drained.aborted);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(&self, within: Duration) -> Drain {
        Drain {
            origins: self.pool.drain(within),
            connector: self.connector.clone(),
        }
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.status(), f)
    }
}

/// The future of [`ConnectionPool::drain`]. Dropping it ends the waiting, and not the draining.
#[derive(Debug)]
#[must_use = "draining begins with the first poll"]
pub struct Drain {
    origins: PoolDrain,
    connector: Connector,
}

impl Future for Drain {
    type Output = DrainSummary;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DrainSummary> {
        let summary = ready!(Pin::new(&mut self.origins).poll(cx));
        // Their tunnels are closed, and so they are idle.
        self.connector.each_proxy_pool(&Pool::close);
        Poll::Ready(summary)
    }
}

/// The future of [`ConnectionPool::request`], which yields the response once its head has arrived.
/// Dropping it aborts the request.
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Progress);

#[cfg(feature = "tower")]
impl ResponseFuture {
    pub(crate) fn refused(error: Error) -> Self {
        ResponseFuture(Progress::refused(error))
    }
}

/// Not an `async` block around the pool's future, which would be moved once more for that.
#[expect(
    clippy::large_enum_variant,
    reason = "the small one is the rare one; a box for the other costs every request"
)]
enum Progress {
    Sending(PoolResponseFuture),
    /// Failed before the pool received it. `None` once the error has been returned.
    Refused(Option<Error>),
}

impl Progress {
    fn refused(error: Error) -> Self {
        Progress::Refused(Some(error))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Progress::Sending(sending) => Pin::new(sending).poll(cx),
            Progress::Refused(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => panic!("polled after it was ready"),
            },
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Progress::Sending(sending) => fmt::Debug::fmt(sending, f),
            Progress::Refused(error) => f.debug_tuple("Refused").field(error).finish(),
        }
    }
}

/// Configures a [`ConnectionPool`].
///
/// Every setting has a default; no method overwrites what another has set.
///
/// ```
/// use httpcore::{ConnectionPool, Timeouts, config::Retry};
/// use std::time::Duration;
///
/// let builder = ConnectionPool::builder()
///     .max_connections(50)
///     .max_connections_per_origin(8)
///     .max_lifetime(None)
///     .max_pending_requests(1000)
///     .retry(Retry::Unsent)
///     .tcp_keepalive(Duration::from_secs(60))
///     .timeouts(Timeouts::default().with_total(Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectionPoolBuilder {
    pool: PoolConfig,
    versions: Versions,
    http1: Http1Config,
    #[cfg(feature = "http2")]
    http2: Http2Config,
    tcp: TcpOptions,
    unix_socket: Option<PathBuf>,
    tls: Option<Arc<dyn TlsConnector>>,
    server_name: Option<ServerName>,
    proxies: ProxyChoice,
    proxy_header: Option<ProxyHeader>,
    filter: Option<AddressFilter>,
    names: NameConfig,
    race_delay: Duration,
}

impl Default for ConnectionPoolBuilder {
    fn default() -> Self {
        ConnectionPoolBuilder {
            pool: PoolConfig::default(),
            versions: Versions::default(),
            http1: Http1Config::default(),
            #[cfg(feature = "http2")]
            http2: Http2Config::default(),
            tcp: TcpOptions::default(),
            unix_socket: None,
            tls: None,
            server_name: None,
            proxies: ProxyChoice::default(),
            proxy_header: None,
            filter: None,
            names: NameConfig::default(),
            // RFC 8305 §5 recommends it.
            race_delay: Duration::from_millis(250),
        }
    }
}

impl ConnectionPoolBuilder {
    /// Sets the maximum number of connections to all origins together: in use, idle or being made.
    /// 100 by default; `None` is unlimited. Requests beyond it wait.
    pub fn max_connections(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.pool.max_connections = limit.into();
        self
    }

    /// Sets the maximum number of connections to one origin. Unlimited by default. Requests beyond
    /// it wait.
    pub fn max_connections_per_origin(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.pool.max_connections_per_origin = limit.into();
        self
    }

    /// Sets the maximum number of requests to one origin that hold a connection at the same time, also
    /// over HTTP/2, where one connection carries many. Unlimited by default. Requests beyond it wait.
    pub fn max_requests_per_origin(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.pool.max_requests_per_origin = limit.into();
        self
    }

    /// Sets the maximum number of idle connections. Unlimited by default, but for
    /// [`max_connections`](Self::max_connections). The one that has been idle longest is closed for
    /// the next.
    pub fn max_idle(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.pool.max_idle = limit.into();
        self
    }

    /// Sets how long a connection may be idle before it is closed. 4 s by default; `None` keeps it
    /// until the server closes it.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.pool.idle_timeout = limit.into();
        self
    }

    /// Sets the age at which a connection is not used again: it is closed when it is idle or its
    /// exchange has ended. 10 min by default; `None` is unlimited.
    pub fn max_lifetime(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.pool.max_lifetime = limit.into();
        self
    }

    /// Sets the maximum number of requests that wait without a connection being made for them. One
    /// more fails at once with [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull). Unlimited by default.
    pub fn max_pending_requests(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.pool.max_pending_requests = limit.into();
        self
    }

    /// Sets how often a failed attempt to connect is repeated: at once, then after 0.5, 1, 2 … s. 0 by
    /// default. See [`PoolConfig::connect_retries`](PoolConfig::connect_retries).
    pub fn connect_retries(mut self, retries: u32) -> Self {
        self.pool.connect_retries = retries;
        self
    }

    /// Sets which requests are sent a second time when their connection turns out to be closed.
    /// [`Retry::Idempotent`] by default.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.pool.retry = retry;
        self
    }

    /// Sets the time limits of requests, where a request's own [`Timeouts`] set none.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.pool.timeouts = timeouts;
        self
    }

    /// Changes any setting of the pool, and leaves the others as they are.
    ///
    /// ```
    /// # use httpcore::ConnectionPool;
    /// let builder = ConnectionPool::builder()
    ///     .max_connections(20)
    ///     .configure_pool(|pool| pool.max_requests_per_connection = Some(1000));
    /// ```
    pub fn configure_pool(mut self, change: impl FnOnce(&mut PoolConfig)) -> Self {
        change(&mut self.pool);
        self
    }

    /// Sets whether HTTP/1.1 is used. True by default. With neither version, HTTP/1.1 is.
    pub fn http1(mut self, enabled: bool) -> Self {
        self.versions.http1 = enabled;
        self
    }

    /// Sets whether HTTP/2 is used where the server chooses it in the TLS handshake (ALPN, RFC 9113
    /// §3.2). True by default.
    ///
    /// With [`http1(false)`](Self::http1) besides, servers are assumed to support it: `http` URLs use
    /// HTTP/2 as well (RFC 9113 §3.3), and a server that chooses anything else in its handshake is
    /// refused.
    ///
    /// ```
    /// # use httpcore::ConnectionPool;
    /// let only_http2 = ConnectionPool::builder().http1(false).http2(true);
    /// ```
    #[cfg(feature = "http2")]
    pub fn http2(mut self, enabled: bool) -> Self {
        self.versions.http2 = enabled;
        self
    }

    /// Changes settings of HTTP/2, such as windows, limits and keep-alive, and leaves the others as
    /// they are.
    #[cfg(feature = "http2")]
    pub fn configure_http2(mut self, change: impl FnOnce(&mut Http2Config)) -> Self {
        change(&mut self.http2);
        self
    }

    /// Changes settings of HTTP/1.1, such as its limits, and leaves the others as they are.
    pub fn configure_http1(mut self, change: impl FnOnce(&mut Http1Config)) -> Self {
        change(&mut self.http1);
        self
    }

    /// Sets how long a TCP connection may be silent before the kernel probes it (`TCP_KEEPIDLE`).
    /// `None`, the default, sends no probes.
    pub fn tcp_keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.tcp.keepalive = idle.into();
        self
    }

    /// Sets the local address to connect from when the peer's address is of the same family. One of
    /// each family can be set, by two calls.
    pub fn local_address(mut self, address: impl Into<IpAddr>) -> Self {
        match address.into() {
            IpAddr::V4(address) => self.tcp.local_v4 = Some(address),
            IpAddr::V6(address) => self.tcp.local_v6 = Some(address),
        }
        self
    }

    /// Changes options of TCP connections, and leaves the others as they are.
    pub fn configure_tcp(mut self, change: impl FnOnce(&mut TcpOptions)) -> Self {
        change(&mut self.tcp);
        self
    }

    /// Connects to this Unix domain socket, whichever host a URL names; the `Host` field still has
    /// the URL's host.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// Sets the TLS of `https` URLs.
    ///
    /// Without it, pools use one connector of the feature `rustls`, which all pools of the process
    /// share together with its cached sessions. Without the feature, such URLs fail with
    /// [`ErrorKind::UnsupportedScheme`](crate::ErrorKind::UnsupportedScheme).
    pub fn tls(mut self, connector: impl TlsConnector) -> Self {
        self.tls = Some(shared_tls(connector));
        self
    }

    /// Sets the name that every TLS handshake sends (SNI) and that certificates are checked against,
    /// whichever host a URL names. A request's own [`ServerName`] overrides it.
    pub fn server_name(mut self, name: ServerName) -> Self {
        self.server_name = Some(name);
        self
    }

    /// Sends all requests through `proxy`. Like the other two methods that choose proxies, it replaces
    /// what the others have set; a request's own [`UseProxy`](crate::proxy::UseProxy) goes before all.
    /// Without any, no proxy is used.
    ///
    /// A proxy goes before [`unix_socket`](Self::unix_socket). [`configure_tcp`](Self::configure_tcp) and
    /// the limits on connecting apply to the connection to the proxy. For what limits on connections
    /// count, see [`crate::proxy`].
    pub fn proxy(self, proxy: Proxy) -> Self {
        self.proxy_rules(ProxyRules::all(proxy))
    }

    /// Chooses the proxy of a request by `rules`.
    pub fn proxy_rules(mut self, rules: ProxyRules) -> Self {
        self.proxies = ProxyChoice::Rules(Arc::new(rules));
        self
    }

    /// Chooses the proxy of a request by a function of its origin; `None` is none. The function is called
    /// for each request that brings no [`UseProxy`](crate::proxy::UseProxy).
    pub fn proxy_with(
        mut self,
        choose: impl Fn(&Origin) -> Option<Proxy> + Send + Sync + 'static,
    ) -> Self {
        self.proxies = ProxyChoice::Function(Arc::new(choose));
        self
    }

    /// Begins every connection with this header of the PROXY protocol, by which a proxy or balancer before the
    /// server learns the client's addresses. A request may bring another one in its extensions; connections
    /// with different headers are not shared.
    ///
    /// It is for the origin's server: it comes before TLS, and inside a tunnel if there is one. Only a proxy
    /// that requests are forwarded through gets it itself.
    pub fn proxy_header(mut self, header: impl Into<Option<ProxyHeader>>) -> Self {
        self.proxy_header = header.into();
        self
    }

    /// Sets the resolver of host names, in place of the backend's. It is not called for IP literals.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.names.resolver = Some(Arc::new(resolver));
        self
    }

    /// Sets the addresses of `host`, which is then not looked up: in the order in which they should be
    /// tried, without regard to case and a final dot. Without addresses, the name does not exist. A request
    /// may have [overrides of its own](crate::RequestExt::resolve).
    ///
    /// ```
    /// # use httpcore::ConnectionPool;
    /// let staging = "192.0.2.7".parse()?;
    /// let builder = ConnectionPool::builder().resolve("www.example.com", [staging]);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn resolve(
        mut self,
        host: impl Into<String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let addresses = addresses.into_iter().collect();
        self.names.hosts.push((host.into(), addresses));
        self
    }

    /// Caches addresses for `positive`, unless they come with a TTL of their own, and for `negative`
    /// that a name does not exist. There is no cache by default. See
    /// [`CachingResolver`](crate::net::CachingResolver).
    pub fn dns_cache(mut self, positive: Duration, negative: Duration) -> Self {
        self.names.cache = Some((positive, negative));
        self
    }

    /// Sets the filter that must allow each address before it is connected to, for example
    /// [`PublicAddresses`](crate::net::PublicAddresses). A request's own filter is asked besides, and
    /// cannot allow what this one refuses. A refused request fails with
    /// [`ErrorKind::AddressRefused`](crate::ErrorKind::AddressRefused).
    ///
    /// Unix domain sockets have no address, and are not subject to filters.
    pub fn address_filter(mut self, filter: impl Into<AddressFilter>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// Sets how long the attempt to connect to one address of a host runs alone before the next
    /// address is tried as well. 250 ms by default (RFC 8305 §5).
    pub fn happy_eyeballs_delay(mut self, delay: Duration) -> Self {
        self.race_delay = delay;
        self
    }

    /// Builds the pool on `backend`, for example [`EventLoop::backend`](crate::EventLoop::backend).
    pub fn build(self, backend: impl NetworkBackend) -> ConnectionPool {
        let backend = shared_backend(backend);
        let tls = self.tls.or_else(default_tls);
        let routes = Routes::new(
            self.tcp,
            self.unix_socket,
            tls.is_some(),
            self.server_name,
            self.versions,
        )
        .with_proxies(self.proxies)
        .with_proxy_header(self.proxy_header)
        .with_filter(self.filter);
        let runtime: Arc<dyn Runtime> = backend.clone();
        let connector = Connector::new(ConnectDeps {
            names: self.names.build(&backend),
            backend,
            pool: self.pool.clone(),
            tls,
            race_delay: self.race_delay,
            recent: RecentFailures::default(),
            http1: Arc::new(self.http1),
            #[cfg(feature = "http2")]
            http2: Arc::new(self.http2),
        });
        ConnectionPool {
            timeouts: self.pool.timeouts,
            pool: Pool::new(self.pool, runtime, Arc::new(connector.clone())),
            routes: Arc::new(routes),
            connector,
        }
    }

    /// Builds the pool on the tokio runtime that this thread is in.
    ///
    /// ```
    /// use httpcore::ConnectionPool;
    ///
    /// # let origin = httpcore_origin::Origin::start()?;
    /// # let url = origin.url("/hello");
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let pool = ConnectionPool::builder().max_idle(10).build_tokio()?;
    /// let response = pool.get(url).await?;
    /// assert_eq!(response.status(), 200);
    /// # Ok::<(), httpcore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RuntimeShutdown`](crate::ErrorKind::RuntimeShutdown) if the thread is in no runtime.
    #[cfg(feature = "tokio")]
    pub fn build_tokio(self) -> Result<ConnectionPool, Error> {
        let backend = httpcore_net_tokio::TokioBackend::current().map_err(|error| {
            Error::new(
                crate::ErrorKind::RuntimeShutdown,
                crate::error::ErrorPhase::Request,
                crate::error::RequestSent::None,
            )
            .with_message("build_tokio was called outside of a tokio runtime")
            .with_source(error)
        })?;
        Ok(self.build(backend))
    }

    /// Builds a pool whose requests block the calling thread.
    ///
    /// # Errors
    ///
    /// If the operating system cannot create an event loop.
    #[cfg(all(feature = "epoll", unix))]
    pub fn build_blocking(self) -> io::Result<crate::blocking::ConnectionPool> {
        Ok(self.build_blocking_on(httpcore_net_epoll::Blocking::new()?))
    }

    /// Builds a pool whose requests block the calling thread, on `blocking`, which may have a
    /// resolver of its own.
    #[cfg(all(feature = "epoll", unix))]
    pub fn build_blocking_on(
        self,
        blocking: httpcore_net_epoll::Blocking,
    ) -> crate::blocking::ConnectionPool {
        crate::blocking::ConnectionPool::on(blocking, self)
    }
}

/// Returns the TLS of pools that are given none. It is made once in a process, by the first pool.
/// `None` without the feature `rustls`, without a provider and without roots.
fn default_tls() -> Option<Arc<dyn TlsConnector>> {
    #[cfg(feature = "rustls")]
    {
        static DEFAULT: OnceLock<Option<Arc<dyn TlsConnector>>> = OnceLock::new();
        let made = DEFAULT.get_or_init(|| {
            let builder = httpcore_net_tls::RustlsConnector::builder();
            #[cfg(all(feature = "platform-verifier", not(feature = "webpki-roots")))]
            let builder = builder.platform_roots();
            Some(Arc::new(builder.build().ok()?))
        });
        made.clone()
    }
    #[cfg(not(feature = "rustls"))]
    None
}

/// Returns `backend` in an [`Arc`]; an `Arc<dyn NetworkBackend>` stays what it is, so that calls go
/// through one pointer.
fn shared_backend(backend: impl NetworkBackend) -> Arc<dyn NetworkBackend> {
    match as_shared(&backend) {
        Some(shared) => shared,
        None => Arc::new(backend),
    }
}

/// Like [`shared_backend`], for TLS.
fn shared_tls(connector: impl TlsConnector) -> Arc<dyn TlsConnector> {
    match as_shared(&connector) {
        Some(shared) => shared,
        None => Arc::new(connector),
    }
}

/// Returns a clone of `value` if it is an `Arc<T>`.
fn as_shared<T: ?Sized + 'static>(value: &dyn Any) -> Option<Arc<T>> {
    value.downcast_ref::<Arc<T>>().cloned()
}
