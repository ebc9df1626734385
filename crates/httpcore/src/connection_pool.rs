//! The pool as its users meet it.

#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::{
    fmt,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use httpcore_core_primitives::{
    Body, BoxError, Error, ErrorKind, ErrorPhase, NetworkBackend, Origin, Request, RequestSent,
    Response, Runtime, ServerName, TcpOptions, Timeouts, TlsConnector,
};
#[cfg(feature = "ws")]
use httpcore_core_primitives::{ConnectionPolicy, options, upgrade::ExtendedConnectUnsupported};
use httpcore_pool::{Drain, Pool, PoolConfig, PoolStatus, ResponseFuture as PoolResponseFuture};

use crate::{
    connect::{ConnectDeps, Connector},
    proxy::{self, Proxy, ProxyChoice, ProxyRules},
    routes::{Routes, Versions},
};

/// Sends requests, and shares connections between them. Cloning it yields another handle to the
/// same pool; it may be used from any number of tasks and threads.
///
/// ```
/// use httpcore::{Body, ConnectionPool, EventLoop};
///
/// # let origin = httpcore_origin::Origin::start()?;
/// # let url = origin.url("/hello");
/// let epoll = EventLoop::new()?;
/// let pool = ConnectionPool::builder()
///     .max_connections(4)
///     .build(epoll.backend());
/// epoll.block_on(async {
///     let request = http::Request::get(url).body(Body::empty())?;
///     let mut response = pool.request(request).await?;
///     while let Some(piece) = response.body_mut().chunk().await {
///         println!("{} bytes", piece?.len());
///     }
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ConnectionPool {
    pool: Pool,
    routes: Arc<Routes>,
    timeouts: Timeouts,
}

impl ConnectionPool {
    /// A pool with the defaults, on `backend`.
    pub fn new(backend: Arc<dyn NetworkBackend>) -> Self {
        Self::builder().build(backend)
    }

    /// What may be set before a pool is made.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends `request`, whose URI must be absolute (`http://host/path`), and yields the response
    /// once its head is there. The body streams; while it lasts, it holds its connection. The
    /// request's body is a [`Body`], or what becomes one: `()`, a `&'static str`, a `String`, a
    /// `Vec<u8>`, [`Bytes`](crate::Bytes) and the like.
    ///
    /// [`Timeouts`], [`Trace`](crate::Trace), [`ConnectionPolicy`],
    /// [`Partition`](crate::Partition), [`ServerName`],
    /// [`TlsOverride`](crate::TlsOverride), [`UseProxy`](crate::proxy::UseProxy) and [`IncludeConnectionInfo`](crate::IncludeConnectionInfo) are taken from the request's extensions. Dropping the future, or the body, gives up the exchange and frees its place before `drop` returns.
    ///
    /// # Errors
    ///
    /// See [`Error`]: it says what failed, in which phase, and how much of the request was sent.
    pub fn request<B: Into<Body>>(&self, request: http::Request<B>) -> ResponseFuture {
        let mut request = request.map(Into::into);
        match self.routes.of_request(&request) {
            Ok(route) => {
                proxy::prepare(&route, &mut request);
                ResponseFuture(Progress::Sending(self.pool.send(route, request)))
            }
            Err(error) => ResponseFuture(Progress::refused(error)),
        }
    }

    /// Sends a GET.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request); [`ErrorKind::InvalidUrl`] if `url` is not one.
    pub fn get<U>(&self, url: U) -> ResponseFuture
    where
        U: TryInto<Uri>,
        U::Error: Into<BoxError>,
    {
        match parse_url(url) {
            Ok(url) => {
                let mut request = Request::default();
                *request.uri_mut() = url;
                self.request(request)
            }
            Err(error) => ResponseFuture(Progress::refused(error)),
        }
    }

    /// Opens a WebSocket, over whatever protocol the connection speaks: RFC 6455 over HTTP/1.1,
    /// RFC 8441 over HTTP/2, and over a connection of HTTP/1.1 of its own, if the server speaks HTTP/2
    /// and does not know the latter. What has been agreed on comes with the stream, which begins
    /// right behind the response and has its place in this pool until it is dropped.
    ///
    /// # Errors
    ///
    /// See [`OpenError`](crate::ws::OpenError): a server which refuses has its response given back.
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
                    // To the caller both are one, and what the first took is gone.
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

    /// Listens to Server-Sent Events, and asks again when the stream breaks, for what comes behind
    /// the last event. Whoever does not want that makes
    /// [`sse::Events`](crate::sse::Events) of a response.
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

    /// Returns the clock and the tasks that the pool runs on: the real ones, or virtual time in a
    /// test.
    ///
    /// ```
    /// # use httpcore::{ConnectionPool, sleep_until};
    /// # use std::time::Duration;
    /// async fn pause(pool: &ConnectionPool, duration: Duration) {
    ///     let runtime = pool.runtime();
    ///     sleep_until(runtime, runtime.now() + duration).await;
    /// }
    /// # let epoll = httpcore::EventLoop::new()?;
    /// # let pool = ConnectionPool::new(epoll.backend());
    /// # epoll.block_on(pause(&pool, Duration::from_millis(1)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.pool.runtime()
    }

    /// A snapshot to print: how many requests and connections there are, and what each connection
    /// is doing.
    pub fn status(&self) -> PoolStatus {
        self.pool.status()
    }

    /// What has happened since the pool was made, counted.
    pub fn stats(&self) -> httpcore_pool::PoolStats {
        self.pool.stats()
    }

    /// Closes the connections that are idle now.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Closes what is idle and refuses what waits and what comes; what is in use is closed when
    /// its exchange ends.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Refuses what comes from the first poll on, closes what is idle, and waits, for so long at
    /// most, until what has come is done; then closes the pool, and breaks off what has not ended,
    /// [`Upgraded`](crate::Upgraded) streams too. Yields how many those were. See
    /// [`Pool::drain`](httpcore_pool::Pool::drain).
    ///
    /// ```
    /// # use httpcore::{ConnectionPool, EventLoop};
    /// # use std::time::Duration;
    /// # let epoll = EventLoop::new()?;
    /// # let pool = ConnectionPool::new(epoll.backend());
    /// epoll.block_on(async {
    ///     let drained = pool.drain(Duration::from_secs(10)).await;
    ///     println!("{} requests did not end in time", drained.unfinished);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(&self, within: Duration) -> Drain {
        self.pool.drain(within)
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.status(), f)
    }
}

/// A request on its way: the future of [`ConnectionPool::request`].
///
/// # Panics
///
/// When it is polled after it was ready, as the futures of the standard library may.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Progress);

/// Not an `async` block around the pool's future, which would be moved once more for that.
#[expect(
    clippy::large_enum_variant,
    reason = "the small one is the rare one; a box for the other costs every request"
)]
enum Progress {
    Sending(PoolResponseFuture),
    /// It never came as far as the pool. `None` once that has been told.
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

/// What may be set before a [`ConnectionPool`] is made. Every setting has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    pool: PoolConfig,
    versions: Versions,
    http1: httpcore_proto_h1::Http1Config,
    #[cfg(feature = "http2")]
    http2: httpcore_proto_h2::Http2Config,
    tcp: TcpOptions,
    unix_socket: Option<PathBuf>,
    tls: Option<Arc<dyn TlsConnector>>,
    server_name: Option<ServerName>,
    proxies: ProxyChoice,
    race_delay: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            pool: PoolConfig::default(),
            versions: Versions::default(),
            http1: httpcore_proto_h1::Http1Config::default(),
            #[cfg(feature = "http2")]
            http2: httpcore_proto_h2::Http2Config::default(),
            tcp: TcpOptions::default(),
            unix_socket: None,
            tls: None,
            server_name: None,
            proxies: ProxyChoice::default(),
            // RFC 8305 §5 recommends it.
            race_delay: Duration::from_millis(250),
        }
    }
}

impl Builder {
    /// At most this many connections, in use, idle or being made, to all origins together.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.pool.max_connections = Some(limit);
        self
    }

    /// At most this many connections to each origin.
    pub fn max_connections_per_origin(mut self, limit: usize) -> Self {
        self.pool.max_connections_per_origin = Some(limit);
        self
    }

    /// How often an attempt to connect that failed is repeated: at once, then after 0.5, 1, 2 … s.
    /// Not at all by default. See [`PoolConfig::connect_retries`](PoolConfig::connect_retries).
    pub fn connect_retries(mut self, retries: u32) -> Self {
        self.pool.connect_retries = retries;
        self
    }

    /// How long a connection may be idle before it is closed; `None` is for ever, or until the
    /// server closes it.
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.pool.idle_timeout = limit;
        self
    }

    /// Sets the time limits of requests, where a request's own [`Timeouts`] set none.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.pool.timeouts = timeouts;
        self
    }

    /// Every other setting of the pool.
    pub fn pool_config(mut self, config: PoolConfig) -> Self {
        self.pool = config;
        self
    }

    /// Whether HTTP/1.1 is spoken; it is, unless told otherwise. With neither version, HTTP/1.1 is.
    pub fn http1(mut self, spoken: bool) -> Self {
        self.versions.http1 = spoken;
        self
    }

    /// Whether HTTP/2 is spoken; it is, unless told otherwise, where the server chooses it in the TLS
    /// handshake (ALPN, RFC 9113 §3.2).
    ///
    /// With [`http1(false)`](Self::http1) besides, servers are taken to know it: `http` URLs too are
    /// asked for by HTTP/2 then (RFC 9113 §3.3), and a server which chooses anything else in its
    /// handshake is refused.
    ///
    /// ```
    /// # use httpcore::ConnectionPool;
    /// let only_http2 = ConnectionPool::builder().http1(false).http2(true);
    /// ```
    #[cfg(feature = "http2")]
    pub fn http2(mut self, spoken: bool) -> Self {
        self.versions.http2 = spoken;
        self
    }

    /// The settings of HTTP/2: windows, limits, keep-alive.
    #[cfg(feature = "http2")]
    pub fn http2_config(mut self, config: httpcore_proto_h2::Http2Config) -> Self {
        self.http2 = config;
        self
    }

    /// The settings of HTTP/1.1: its limits above all.
    pub fn http1_config(mut self, config: httpcore_proto_h1::Http1Config) -> Self {
        self.http1 = config;
        self
    }

    /// The options of TCP connections.
    pub fn tcp_options(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// Connects to this Unix domain socket, whatever host a URL names; the host is what the server
    /// is told in the `Host` field.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// Puts this TLS under `https`. Without it, it is the one of the feature `tls`, which is shared
    /// by all pools of the process with the sessions it remembers; without that too, such URLs are
    /// refused.
    pub fn tls(mut self, connector: Arc<dyn TlsConnector>) -> Self {
        self.tls = Some(connector);
        self
    }

    /// Asks for this name in every TLS handshake, and checks certificates against it, whatever host
    /// a URL names. A request may ask for yet another; see [`ServerName`].
    pub fn server_name(mut self, name: ServerName) -> Self {
        self.server_name = Some(name);
        self
    }

    /// Sends all requests through `proxy`. Like the other two methods that choose proxies, it replaces
    /// what the others have set; a request's own [`UseProxy`](crate::proxy::UseProxy) goes before all.
    /// Without any, no proxy is used.
    ///
    /// A proxy goes before [`unix_socket`](Self::unix_socket). [`tcp_options`](Self::tcp_options) and
    /// the limits on connecting apply to the connection to the proxy. For what limits on connections
    /// count, see [`proxy`](crate::proxy).
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

    /// How long one address of a host may take before the next is tried beside it (RFC 8305 §5:
    /// 250 ms, the default).
    pub fn happy_eyeballs_delay(mut self, delay: Duration) -> Self {
        self.race_delay = delay;
        self
    }

    /// The pool, on `backend`.
    pub fn build(self, backend: Arc<dyn NetworkBackend>) -> ConnectionPool {
        let tls = self.tls.or_else(default_tls);
        let routes = Routes::new(
            self.tcp,
            self.unix_socket,
            tls.is_some(),
            self.server_name,
            self.versions,
        )
        .with_proxies(self.proxies);
        let runtime: Arc<dyn Runtime> = backend.clone();
        let dialler = Connector(Arc::new(ConnectDeps {
            backend,
            tls,
            race_delay: self.race_delay,
            http1: Arc::new(self.http1),
            #[cfg(feature = "http2")]
            http2: Arc::new(self.http2),
        }));
        ConnectionPool {
            timeouts: self.pool.timeouts,
            pool: Pool::new(self.pool, runtime, Arc::new(dialler)),
            routes: Arc::new(routes),
        }
    }
}

/// What is under `https` when nobody says otherwise. It is made once, by the first pool: the roots
/// are compiled in, and so that takes microseconds and no file.
fn default_tls() -> Option<Arc<dyn TlsConnector>> {
    #[cfg(feature = "tls")]
    {
        static DEFAULT: OnceLock<Option<Arc<dyn TlsConnector>>> = OnceLock::new();
        let made = DEFAULT.get_or_init(|| {
            let connector = httpcore_net_tls::RustlsConnector::builder().build().ok()?;
            Some(Arc::new(connector))
        });
        made.clone()
    }
    #[cfg(not(feature = "tls"))]
    None
}

pub(crate) fn parse_url<U>(url: U) -> Result<Uri, Error>
where
    U: TryInto<Uri>,
    U::Error: Into<BoxError>,
{
    url.try_into().map_err(|error| {
        let error: BoxError = error.into();
        // `http` does not say which character, nor where.
        let message = match error.to_string().as_str() {
            "invalid uri character" => {
                "the URL has a character which no URL has: write an internationalized host in its ASCII \
                 form (xn--…), and percent-encode the rest"
            }
            "invalid authority" => {
                "the URL's host or port cannot be read: an internationalized host is written in its \
                 ASCII form (xn--…)"
            }
            _ => "the URL cannot be read",
        };
        Error::new(ErrorKind::InvalidUrl, ErrorPhase::Request, RequestSent::None)
            .with_message(message)
            .with_source(error)
    })
}
