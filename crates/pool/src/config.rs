//! What may be set.

use std::time::Duration;

use httpcore_core_primitives::Timeouts;

/// Limits, lifetimes and defaults of a pool. `None` means unlimited everywhere.
///
/// ```
/// use httpcore_pool::PoolConfig;
///
/// let config = PoolConfig::default()
///     .with_max_connections(4)
///     .with_max_lifetime(None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Places for connections: in use, idle, or being made. A limit of 0 counts as 1.
    ///
    /// A connection that is closed counts no more, although its socket lives until the thread which
    /// closed it has dropped it. With several threads there may so be a few sockets more
    /// than this for a moment.
    ///
    /// 100 by default: well under the 1,024 file descriptors that many systems allow, and more
    /// than most servers accept from one client.
    pub max_connections: Option<usize>,
    /// Number of them may lead along one route. A limit of 0 counts as 1.
    ///
    /// None by default, since most pools ask one origin. A program that asks many may want it, so that
    /// one which answers slowly cannot fill the pool; against one which cannot be connected to, there is
    /// [`connect_preempt_after`](Self::connect_preempt_after).
    pub max_connections_per_origin: Option<usize>,
    /// Maximum number of requests along one route that hold a connection at the same time, responses
    /// that are being read included; further ones wait in the queue. A limit of 0 counts as 1.
    ///
    /// Beside the limits of connections, it bounds the load on one origin whatever the protocol: one
    /// HTTP/2 connection may carry 100 requests at once. None by default.
    pub max_requests_per_origin: Option<usize>,
    /// How many connections may carry many exchanges at once (HTTP/2) along one route.
    ///
    /// 4 by default: RFC 9113 §9.1 would have one, and a server that admits a hundred exchanges on
    /// each rarely gains throughput from a fifth.
    pub max_http2_connections_per_origin: Option<usize>,
    /// How many connections may be idle. None by default: the idle timeout and
    /// `max_connections` bound them already, and the connections of one burst serve the next.
    pub max_idle: Option<usize>,
    /// How many connections may be idle along one route. None by default, likewise.
    pub max_idle_per_origin: Option<usize>,
    /// How long a connection may be idle.
    ///
    /// 4 s by default: Node and uvicorn close after 5 s, and a request that is sent while the server closes
    /// on the wire fails. A connection that a server closes earlier is noticed all the same.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may live, so that a change in the DNS is seen in the end. One in use
    /// is closed when its exchange is over. 10 min by default: one handshake more
    /// in ten minutes costs little.
    pub max_lifetime: Option<Duration>,
    /// How many exchanges a connection may serve. None by default: a server that has such a limit
    /// says when it is reached.
    pub max_requests_per_connection: Option<u64>,
    /// How many requests may wait without a connection being made for them; one more fails at
    /// once with [`Kind::QueueFull`](httpcore_core_primitives::ErrorKind::QueueFull). None by default:
    /// only the owner knows when waiting is worse than failing.
    pub max_pending_requests: Option<usize>,
    /// How long a connection may take to be made while the pool is full and requests on other
    /// routes wait for a place. After that the attempt is abandoned: its place goes to them, and its
    /// own request waits for a place again, whose next attempt may take twice as long, up to 32
    /// times. `None` lets it go on until its own time limits end it.
    ///
    /// 5 s by default: long enough for two lost packets (RFC 6298 has a connect repeated after 1
    /// and 3 s), and short enough that origins which do not answer cannot hold the whole pool.
    ///
    /// Less than 10 ms counts as 10 ms: two routes that wait for one slot would otherwise take it from
    /// each other without end.
    pub connect_preempt_after: Option<Duration>,
    /// How long an attempt to connect may keep other requests of its route from an attempt of their
    /// own. While it is younger, they wait for its result where one attempt is to find out the
    /// protocol, and a request takes over one whose request has left. An attempt that is older, or
    /// whose request ran into a time limit, goes on, but another one may begin beside it, within the
    /// limits: at most one more for each such time. Whichever connection is ready first serves.
    ///
    /// `None` lets every attempt hold others back until its own time limits end it; zero lets none
    /// do so, and each request has its own. 500 ms by default: most handshakes take less, and one
    /// that lost its first packet takes more.
    pub connect_patience: Option<Duration>,
    /// How many connections may be in the making at the same time. None by default, but for
    /// [`max_connections`](Self::max_connections): a burst of requests begins one for each. A limit of 0
    /// counts as 1.
    pub max_connecting: Option<usize>,
    /// How many connections along one route may be in the making at the same time. None by default. A
    /// limit of 0 counts as 1.
    pub max_connecting_per_origin: Option<usize>,
    /// How long a request waits for a connection that is in use, before a new one is made for it. It
    /// receives the first that is free. Zero by default: another connection is made at once.
    ///
    /// Requests that take less time than a handshake are served sooner by waiting, and with fewer
    /// connections. The time begins with the request, and requests for new connections do not wait.
    pub connect_delay: Duration,
    /// What follows a failed attempt to connect: the next one along the same route begins no sooner than
    /// this time after it, and alone. The time doubles with each further failure, up to 5 s, and a
    /// success ends it. Meanwhile the requests of that route wait, within their limits; if the attempt
    /// fails, all that wait then fail with a copy of its error, unless a connection is in use that may
    /// still serve them. None by default: each request has an
    /// attempt of its own.
    ///
    /// Only failures to look up a name, to connect, to negotiate with a proxy and of TLS count. An attempt
    /// that hangs does not: see [`connect_patience`](Self::connect_patience).
    pub connect_backoff: Option<Duration>,
    /// Which of several HTTP/2 connections along one route takes the next request.
    pub http2_placement: StreamPlacement,
    /// How often an attempt to connect that failed is repeated, while its request still waits: at
    /// once, then after 0.5, 1, 2 … s (at most 30 s). Each attempt has the time limits of a whole
    /// one. None by default: only the caller knows whether a refusal may be passing.
    ///
    /// Only failures to look up a name or to connect are repeated; a handshake or a proxy that
    /// refuses will do so again.
    pub connect_retries: u32,
    /// The time limits of requests, where a request's own [`Timeouts`] set none.
    pub timeouts: Timeouts,
    /// Which requests are sent a second time without the caller's asking.
    pub retry: Retry,
    /// How many requests may be sent again. `None` is unlimited.
    pub retry_budget: Option<RetryBudget>,
}

/// Which of several HTTP/2 connections along one route takes the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamPlacement {
    /// The one that has been available for longest, until it is full. The others become idle, and are
    /// closed in the end.
    #[default]
    Fill,
    /// The one with the fewest requests. A lost packet then delays fewer of them. It does not make more
    /// connections: see [`Pool::connect`](crate::Pool::connect).
    Spread,
}

/// How many requests a pool may send again, so that a service in which many connections fail does not
/// receive twice the load.
///
/// What has accumulated is kept for ten seconds. A request that may not be sent again fails with its error.
/// Requests that an HTTP/2 server declared as not processed (RFC 9113 §8.7) are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudget {
    /// The part of all requests that may be sent again, in percent.
    pub percent: u32,
    /// How many more may be sent again in a second, so that a pool with few requests has some.
    pub per_second: u32,
}

impl RetryBudget {
    /// Allows `percent` of all requests, and `per_second` more in a second.
    pub const fn new(percent: u32, per_second: u32) -> Self {
        RetryBudget {
            percent,
            per_second,
        }
    }
}

/// 10 % of all requests, and 10 a second.
impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget::new(10, 10)
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            max_connections: Some(100),
            max_connections_per_origin: None,
            max_requests_per_origin: None,
            max_http2_connections_per_origin: Some(4),
            max_idle: None,
            max_idle_per_origin: None,
            idle_timeout: Some(Duration::from_secs(4)),
            max_lifetime: Some(Duration::from_secs(600)),
            max_requests_per_connection: None,
            max_pending_requests: None,
            connect_preempt_after: Some(Duration::from_secs(5)),
            connect_patience: Some(Duration::from_millis(500)),
            max_connecting: None,
            max_connecting_per_origin: None,
            connect_delay: Duration::ZERO,
            connect_backoff: None,
            http2_placement: StreamPlacement::default(),
            connect_retries: 0,
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            retry_budget: Some(RetryBudget::default()),
        }
    }
}

/// Which requests are sent a second time when the connection they were sent on turns out to be closed.
///
/// A server may close an idle connection in the very moment in which it is chosen; no client can
/// tell in advance. The second attempt is the last, and is made on a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Nothing.
    Never,
    /// A request of which nothing was handed to the network.
    Unsent,
    /// That, and one which may be sent twice without harm: its method is idempotent (RFC 9110
    /// §9.2.2), its body can be had again, and no part of a response came. The default, since
    /// without it every request to a server with a short idle timeout may fail.
    #[default]
    Idempotent,
}
