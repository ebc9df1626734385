//! The pool: its public API.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use httpcore_core_primitives::{
    BoxFuture, Error, ErrorPhase, Established, Request, Runtime, Timeouts, Trace,
};

use crate::{
    config::PoolConfig,
    drain::Drain,
    inner::PoolInner,
    preconnect::Preconnect,
    record::ConnectRecord,
    response_future::{Reservation, ResponseFuture},
    route::Route,
    state::{Input, PoolStats},
    status::PoolStatus,
};

/// Makes connections. The user of the pool implements it with a network, TLS, proxies and protocols;
/// tests implement it with a counter.
pub trait Connect: Send + Sync + 'static {
    /// Follows `route` to its end, and speaks the protocol that was agreed on there.
    ///
    /// Called, and the future polled, in a task of the runtime. The attempt does not end with the
    /// request that caused it: the limits in `terms` bound it. It is dropped early when the pool is.
    ///
    /// # Errors
    ///
    /// The failure, with the [phase](httpcore_core_primitives::ErrorPhase) in which it occurred. It becomes
    /// the error of the request that caused the attempt, if that still waits.
    fn connect(
        &self,
        route: &Route,
        terms: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>>;
}

/// The time limits and the listener of the request that caused an attempt to connect.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectContext {
    /// Maximum time of each phase. `resolve`, `connect` and `tls` concern an attempt to connect;
    /// `total` is the request's own, and does not end it.
    pub timeouts: Timeouts,
    /// Receives the events of the attempt.
    pub trace: Trace,
    /// The step which the attempt has reached. An implementation sets it, so that a time limit that ends
    /// a request's wait reports the phase in which the attempt was.
    pub phase: ConnectPhase,
    /// Receives what the attempt finds out.
    pub record: ConnectRecord,
}

/// The step which an attempt to connect has reached. Its clones share the value.
///
/// ```
/// use httpcore_core_primitives::ErrorPhase;
/// use httpcore_pool::ConnectPhase;
///
/// let phase = ConnectPhase::new();
/// assert_eq!(phase.get(), ErrorPhase::Connect);
/// phase.clone().set(ErrorPhase::Tls);
/// assert_eq!(phase.get(), ErrorPhase::Tls);
/// ```
#[derive(Clone, Default)]
pub struct ConnectPhase(
    /// `None` while no attempt has begun, and then nothing is kept.
    Option<(Arc<PhaseChunk>, usize)>,
);

/// The phases of several attempts, so that an attempt costs no allocation of its own.
pub(crate) type PhaseChunk = [AtomicU8; PHASES_PER_CHUNK];

pub(crate) const PHASES_PER_CHUNK: usize = 64;

impl ConnectPhase {
    /// Returns the phase of an attempt that begins: [`ErrorPhase::Connect`].
    pub fn new() -> Self {
        let chunk = [const { AtomicU8::new(0) }; PHASES_PER_CHUNK];
        ConnectPhase::at(&Arc::new(chunk), 0)
    }

    /// Returns the phase at `index` of a chunk; an attempt begins there.
    pub(crate) fn at(chunk: &Arc<PhaseChunk>, index: usize) -> Self {
        let phase = ConnectPhase(Some((chunk.clone(), index % PHASES_PER_CHUNK)));
        phase.set(ErrorPhase::Connect);
        phase
    }

    fn cell(&self) -> Option<&AtomicU8> {
        let (chunk, index) = self.0.as_ref()?;
        chunk.get(*index)
    }

    /// Records that the attempt is in [`ErrorPhase::Resolve`], [`Connect`](ErrorPhase::Connect),
    /// [`Proxy`](ErrorPhase::Proxy) or [`Tls`](ErrorPhase::Tls); every other phase counts as `Connect`.
    pub fn set(&self, phase: ErrorPhase) {
        let number = match phase {
            ErrorPhase::Resolve => 1,
            ErrorPhase::Proxy => 2,
            ErrorPhase::Tls => 3,
            _ => 0,
        };
        if let Some(cell) = self.cell() {
            cell.store(number, Ordering::Relaxed);
        }
    }

    /// Returns the phase that was last recorded.
    pub fn get(&self) -> ErrorPhase {
        match self.cell().map_or(0, |cell| cell.load(Ordering::Relaxed)) {
            1 => ErrorPhase::Resolve,
            2 => ErrorPhase::Proxy,
            3 => ErrorPhase::Tls,
            _ => ErrorPhase::Connect,
        }
    }
}

impl fmt::Debug for ConnectPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectPhase").field(&self.get()).finish()
    }
}

/// Shares connections between requests. Cloning it yields another handle to the same pool.
///
/// Its connections belong to the pool, not to a request, and neither do the attempts to make them:
/// a request waits in a queue, and is served by the connection that is ready first.
///
/// When the last handle and the last request that waits for its response's head are dropped, idle
/// connections are closed and attempts to connect are abandoned; responses whose bodies are still
/// being read continue.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolInner>,
}

impl Pool {
    /// An empty pool. Connections are made by `connect`; time and background tasks (one for each
    /// connection being made, and one that watches what is idle) are `runtime`'s.
    pub fn new(config: PoolConfig, runtime: Arc<dyn Runtime>, connect: Arc<dyn Connect>) -> Self {
        Pool {
            inner: PoolInner::new(config, runtime, connect),
        }
    }

    /// Sends `request` along `route`, on an idle connection or on a new one, and yields the
    /// response once its head is there.
    ///
    /// Nothing happens before the first poll: that is when the request joins the queue and its
    /// time limits begin. They are those of its [`Timeouts`] extension, and the pool's where it sets
    /// none; events go to its [`Trace`] extension.
    ///
    /// A request that finds no connection causes an attempt to make one, with its own limits for name
    /// resolution, connecting and TLS, as soon as there is a slot. While it waits for an attempt that
    /// began for another request instead (see
    /// [`connect_patience`](crate::PoolConfig::connect_patience)), its limit for connecting, with those
    /// for resolution and TLS added, ends that wait.
    ///
    /// # Errors
    ///
    /// - [`Kind::Timeout`](httpcore_core_primitives::ErrorKind::Timeout) of the pool, if the request was
    ///   neither given a connection nor was one being made for it in time; of connecting, if an
    ///   attempt it waited for took too long; of the total, if all of it took too long. A total of
    ///   zero is over at once.
    /// - [`Kind::QueueFull`](httpcore_core_primitives::ErrorKind::QueueFull) and
    ///   [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed).
    /// - The failure of the attempt to connect that was made for it, or of the exchange.
    ///
    /// # Cancellation
    ///
    /// Dropping the future, or the body of the response, aborts the exchange and frees its slot before
    /// `drop` returns. An attempt to connect that was made for it goes on, for the next request in the
    /// queue or to become idle.
    #[inline] // The request is moved once less.
    pub fn send(&self, route: Route, request: Request) -> ResponseFuture {
        ResponseFuture::new(self.inner.clone(), route, request)
    }

    /// Makes connections along `route` before there are requests for them, until there are `connections`
    /// in use, idle or being made, and yields how many of those that were begun for this call were made.
    /// They are idle then, or serve the requests that came meanwhile.
    ///
    /// The limits of the pool hold, and nothing is closed to make room: fewer connections may be begun. An
    /// attempt is abandoned when a request along another route needs its slot. The attempts begin at the
    /// first poll, with the time limits of the pool. A connection that stays idle is closed after
    /// [`idle_timeout`](PoolConfig::idle_timeout).
    ///
    /// HTTP/2 needs one connection as a rule; further ones are of use with
    /// [`StreamPlacement::Spread`](crate::StreamPlacement::Spread).
    ///
    /// # Errors
    ///
    /// The error of the first attempt that failed, once all have ended. Its causes are kept as text only.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the waiting; the attempts go on.
    pub fn connect(&self, route: Route, connections: usize) -> Preconnect {
        Preconnect::new(self.inner.clone(), route, connections)
    }

    /// Prepares to reserve places for requests along `route`, one at a time. Nothing is reserved
    /// before [`Reservation::poll_ready`] is called.
    ///
    /// A place that is not used within `hold` (at least 1 ms) is given back by itself; `None` keeps it until the
    /// reservation is dropped or used.
    pub fn reserve(&self, route: Route, hold: Option<Duration>) -> Reservation {
        Reservation::new(self.inner.clone(), route, hold)
    }

    /// Like [`send`](Self::send), in the place that `reservation` has. Where it has none, or leads
    /// along another route, or the request demands more of its connection than any does
    /// ([`ConnectionPolicy`](httpcore_core_primitives::ConnectionPolicy)), the request is sent as
    /// if there were no reservation.
    ///
    /// The request's time limits begin with the first poll, and those for connecting bound its wait
    /// for an attempt that began for the reservation.
    pub fn send_reserved(
        &self,
        route: Route,
        request: Request,
        reservation: Reservation,
    ) -> ResponseFuture {
        ResponseFuture::reserved(self.inner.clone(), route, request, reservation)
    }

    /// Returns a snapshot to print: how many requests and connections there are, and what each
    /// connection is doing.
    pub fn status(&self) -> PoolStatus {
        let now = self.inner.runtime.now();
        let locked = self.inner.lock();
        PoolStatus::of(&locked.state, now, |conn| locked.version_of(conn))
    }

    /// Returns what has been counted since the pool was made.
    pub fn stats(&self) -> PoolStats {
        self.inner.lock().state.stats().clone()
    }

    /// Closes the connections that are idle now.
    pub fn close_idle(&self) {
        self.inner.handle(Input::CloseIdle);
        self.inner.notifier.notify();
    }

    /// Closes the pool, for all of its handles and for good: idle connections are closed now and those
    /// in use when their exchange is over, attempts to connect are abandoned, and requests that wait,
    /// or come later, fail with
    /// [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed).
    pub fn close(&self) {
        self.inner.handle(Input::Close);
        self.inner.notifier.notify();
    }

    /// Closes the pool gracefully, for all of its handles and for good, and waits for it to be empty,
    /// for at most `within`, counted from the first poll. From then on new requests fail with
    /// [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed), and idle connections are
    /// closed; requests that have been accepted, in the queue too, are served, and each connection is
    /// closed when no request is left that it could serve.
    ///
    /// When the time is over, the pool is [closed](Self::close): requests that still wait are refused,
    /// and attempts to connect are abandoned. Exchanges that have not ended are aborted, and so are
    /// streams of other protocols: a task that waits for one is woken, and finds the connection closed
    /// and [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed), or
    /// [`ConnectionRevoked`](httpcore_core_primitives::ConnectionRevoked) in an `io::Error`. One that no task
    /// waits for reports it when it is polled again, and keeps its socket until then. The future
    /// yields how many there are.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the waiting, and not the draining: accepted requests are served, and
    /// new ones are refused.
    pub fn drain(&self, within: Duration) -> Drain {
        Drain::new(self.inner.clone(), within)
    }

    /// Returns whether [`close`](Self::close) was called, or a [`drain`](Self::drain) has begun.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().state.is_closed()
    }

    /// Returns the number of slots which the tables of the pool take: for tests of its memory.
    #[doc(hidden)]
    pub fn table_slots(&self) -> usize {
        self.inner.lock().table_slots()
    }

    /// Returns the runtime whose clock and tasks the pool uses.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.inner.runtime
    }
}

/// [`Pool::status`], on one line.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status().headline())
    }
}
