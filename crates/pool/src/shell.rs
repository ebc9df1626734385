//! The shell around the machine: one lock, one step, and what is carried out after it.
//!
//! Under the lock, the machine is told what happens, and says what it wants done; after the lock has
//! been released, that is done. Wakers are called and connections dropped out there, and so they may
//! come straight back. [`Shared::step`] is this in its plain form. A request, a new connection and the
//! end of a lease try the machine's short ways first, and most need no more.
//!
//! Four things have an owner whose `Drop` settles them: a wait in the queue (`Ticket`), the claim
//! on a connection (`Lease`, in the hands of the exchange and then of the response's body), the
//! place of a connection being made (`dialling::Guard`), and the watch over what is idle (`janitor::Janitor`).

use std::{
    fmt,
    mem::{replace, take},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    BoxFuture, CloseReason, ConnectionPolicy, Error, Established, ExclusiveConnection,
    KeepAliveHints, LeaseId, LeaseOwner, Request, Runtime, SharedConnection, Timeouts, Trace,
    lease::LeaseEnd, noop_waker,
};

use crate::{
    config::PoolConfig,
    dialling::Dialling,
    draining::Drain,
    errands::{Errand, Errands},
    janitor::{self, Bell, Watch},
    route::Route,
    sending::ResponseFuture,
    state::{Action, Arrival, Connection, PlaceId, PoolStats, Refusal, State, TicketId},
    status::PoolStatus,
};

/// Makes connections: whoever uses the pool implements it with a network, TLS, proxies and
/// protocols; tests implement it with a counter.
pub trait Connect: Send + Sync + 'static {
    /// Follows `route` to its end, and speaks whatever protocol was agreed on there.
    ///
    /// The future is polled in a task of the runtime's, and does not end with the request that
    /// caused it: `terms` bound it. It is dropped early when the pool is.
    ///
    /// # Errors
    ///
    /// Whatever went wrong, with the [phase](httpcore_core_primitives::ErrorPhase) in which it did. It
    /// becomes the error of the request that caused the dial, if that still waits.
    fn connect(
        &self,
        route: &Route,
        terms: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>>;
}

/// What a dial is given besides its route: the time limits and the listener of the request that
/// caused it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectContext {
    /// How long each phase may take. `resolve`, `connect` and `tls` concern a dial; `total` is the
    /// request's own, and does not end it.
    pub timeouts: Timeouts,
    /// Who is told what happens.
    pub trace: Trace,
}

/// Shares connections between requests. Cloning it yields another handle to the same pool.
///
/// Its connections belong to the pool, not to a request, and neither do the attempts to make them:
/// a request waits in a queue, and gets whatever comes first.
///
/// When the last handle and the last request that waits for its response's head are gone, what is
/// idle is closed and what is being made is given up; responses whose bodies are still being read
/// go on being read.
#[derive(Clone)]
pub struct Pool {
    pub(crate) shared: Arc<Shared>,
}

impl Pool {
    /// An empty pool. Connections are made by `dial`; time and background tasks (one for each
    /// connection being made, and one that watches what is idle) are `runtime`'s.
    pub fn new(config: PoolConfig, runtime: Arc<dyn Runtime>, dial: Arc<dyn Connect>) -> Self {
        let shared = Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            core: Mutex::new(Core {
                state: State::new(&config),
                seats: Vec::new(),
                wards: Vec::new(),
                watch: Watch::Off,
                granted_before: 0,
                drains: Vec::new(),
                kept: None,
            }),
            bell: Arc::default(),
            revoked: AtomicBool::new(false),
            config,
            runtime,
            dial,
        });
        Pool { shared }
    }

    /// Sends `request` along `route`, on an idle connection or on a new one, and yields the
    /// response once its head is there.
    ///
    /// Nothing happens before the first poll: that is when the request joins the queue and its
    /// time limits begin. They are those of its [`Timeouts`] extension, and the pool's where it sets
    /// none; who
    /// listens is its [`Trace`] extension.
    ///
    /// # Errors
    ///
    /// - [`Kind::Timeout`](httpcore_core_primitives::ErrorKind::Timeout) of the pool, if neither was a
    ///   connection granted nor began one to be made for this request in time; of the total, if
    ///   all of it took too long.
    /// - [`Kind::QueueFull`](httpcore_core_primitives::ErrorKind::QueueFull) and
    ///   [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed).
    /// - Whatever befell the connection that was being made for it, or the exchange.
    ///
    /// # Cancellation
    ///
    /// Dropping the future, or the body of the response, gives up the exchange and frees its
    /// place before `drop` returns. A connection that is being made for it goes on being made, for
    /// the next in the queue or to lie idle.
    pub fn send(&self, route: Route, request: Request) -> ResponseFuture {
        ResponseFuture::new(self.shared.clone(), route, request)
    }

    /// A snapshot to print: how much there is, and what each connection is doing.
    pub fn status(&self) -> PoolStatus {
        let now = self.shared.runtime.now();
        let core = self.shared.lock();
        PoolStatus::of(&core.state, now, |place| {
            let ward = core.wards.get(place.index());
            ward.and_then(|ward| ward.version)
        })
    }

    /// What has been counted since the pool was made.
    pub fn stats(&self) -> PoolStats {
        self.shared.lock().state.stats().clone()
    }

    /// Closes what is idle now.
    pub fn close_idle(&self) {
        self.shared.happens(|core, _| core.state.close_idle());
        self.shared.bell.ring();
    }

    /// Closes the pool, for all of its handles and for good: what is idle is closed now and what
    /// is in use when its exchange is over, attempts to connect are given up, and requests that
    /// wait, or come later, fail with
    /// [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed).
    pub fn close(&self) {
        self.shared.happens(|core, _| core.state.close());
        self.shared.bell.ring();
    }

    /// Closes the pool gently, for all of its handles and for good, and waits for it to be empty,
    /// for so long at most, counted from the first poll. From then on requests that come fail with
    /// [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed), and what is idle is
    /// closed; those which have been accepted, in the queue too, are served, and each connection
    /// is closed when nobody is left whom it could serve.
    ///
    /// When the time is over, the pool is [closed](Self::close): who still waits is refused, and
    /// attempts to connect are given up. Exchanges that have not ended are broken off, and so are
    /// streams of other protocols: whoever waits for one is woken, and finds the connection closed
    /// and [`Kind::PoolClosed`](httpcore_core_primitives::ErrorKind::PoolClosed), or
    /// [`ConnectionRevoked`](httpcore_core_primitives::ConnectionRevoked) in an `io::Error`. One that nobody
    /// asks hears of it when it is asked again, and keeps its socket until then. How many there are
    /// is what the future yields.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the waiting, and not the draining: who came is served, and who
    /// comes is refused.
    pub fn drain(&self, within: Duration) -> Drain {
        Drain::new(self.shared.clone(), within)
    }

    /// Whether [`close`](Self::close) was called, or [`drain`](Self::drain) begun.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().state.is_closed()
    }

    /// The runtime whose clock and tasks the pool uses.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.shared.runtime
    }
}

/// [`Pool::status`], on one line.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status().headline())
    }
}

pub(crate) type Held = Connection<Box<dyn ExclusiveConnection>, Arc<dyn SharedConnection>>;
pub(crate) type Machine = State<Box<dyn ExclusiveConnection>, Arc<dyn SharedConnection>>;

/// What all handles share.
pub(crate) struct Shared {
    pub(crate) me: Weak<Shared>,
    pub(crate) config: PoolConfig,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) dial: Arc<dyn Connect>,
    pub(crate) bell: Arc<Bell>,
    /// Whether all leases are; never unset. Written under the lock.
    revoked: AtomicBool,
    core: Mutex<Core>,
}

/// What is under the lock: the machine, and what the shell keeps for its tickets and places.
pub(crate) struct Core {
    pub(crate) state: Machine,
    /// By the index of a ticket.
    seats: Vec<Seat>,
    /// By the index of a place.
    wards: Vec<Ward>,
    pub(crate) watch: Watch,
    /// How many grants there had been when the janitor last looked.
    pub(crate) granted_before: u64,
    /// Whom to wake when nothing is left.
    pub(crate) drains: Vec<Waker>,
    /// The pool itself, once leases have been revoked and until the last of them has ended: those who
    /// hold them may hear of it after everybody else has dropped the pool.
    kept: Option<Arc<Shared>>,
}

/// Where a waiting request is found, and then its exchange.
#[derive(Default)]
struct Seat {
    terms: ConnectContext,
    /// Of whoever waits for a grant; later, of whoever waits for the network.
    waker: Option<Waker>,
    outcome: Option<Result<Granted, Refusal>>,
}

/// What was granted.
pub(crate) struct Granted {
    pub(crate) connection: Held,
    pub(crate) reused: bool,
}

/// What is kept for a connection as long as it lives, or begins to.
#[derive(Default)]
struct Ward {
    parking: Option<Parking>,
    dialler: Option<Waker>,
    version: Option<http::Version>,
}

/// The waker that an idle connection is left with. It is made once for each connection.
struct Parking {
    note: Arc<Note>,
    waker: Waker,
}

/// Notes that a connection may have ended, and wakes the janitor. Takes no lock of the pool's, for
/// it may be called while that is held.
pub(crate) struct Note {
    place: PlaceId,
    /// Whether there is anything to note: the connection is parked, and has not called yet.
    parked: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.parked.swap(false, Ordering::AcqRel) {
            self.bell.note(self.place);
        }
    }
}

impl Parking {
    fn new(place: PlaceId, bell: &Arc<Bell>) -> Self {
        let note = Arc::new(Note {
            place,
            parked: AtomicBool::new(false),
            bell: bell.clone(),
        });
        Parking {
            waker: note.clone().into(),
            note,
        }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        #[cfg(feature = "lock-count")]
        crate::lock_count::increment();
        // Nothing of ours panics under the lock but for a fault in the machine, and then the books
        // are as good as any.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happens, at this moment. See [`step`](Self::step).
    pub(crate) fn happens(&self, event: impl FnOnce(&mut Core, Instant)) {
        let now = self.runtime.now();
        self.step(now, |core| event(core, now), |_, ()| ());
    }

    /// Tells the machine what happened (`event`), lets it say what it wants done, takes what the
    /// caller came for (`result`), and carries everything out once the lock is released.
    pub(crate) fn step<A, B>(
        &self,
        now: Instant,
        event: impl FnOnce(&mut Core) -> A,
        result: impl FnOnce(&mut Core, A) -> B,
    ) -> B {
        let mut errands = Errands::default();
        let taken = {
            let mut core = self.lock();
            let told = event(&mut core);
            core.drain(now, self, &mut errands);
            result(&mut core, told)
        };
        errands.carry_out(self);
        taken
    }

    /// A request asks for a connection. It may be granted one, or refused, at once. When it `came`
    /// is noted for the next time, and heeded if it is known.
    pub(crate) fn ask(
        &self,
        route: &Route,
        wish: ConnectionPolicy,
        came: &mut Option<Arrival>,
        terms: impl FnOnce() -> ConnectContext,
        now: Instant,
    ) -> (TicketId, Option<Result<Granted, Refusal>>) {
        {
            let mut core = self.lock();
            if let Some((ticket, granted)) = core.lend(route, wish, now) {
                return (ticket, Some(Ok(granted)));
            }
        }
        self.ask_in_full(route, wish, came, terms(), now)
    }

    /// [`ask`](Self::ask), when there is more to it than lending.
    #[cold]
    fn ask_in_full(
        &self,
        route: &Route,
        wish: ConnectionPolicy,
        came: &mut Option<Arrival>,
        terms: ConnectContext,
        now: Instant,
    ) -> (TicketId, Option<Result<Granted, Refusal>>) {
        let mut errands = Errands::default();
        let asked = {
            let mut core = self.lock();
            if came.is_none()
                && let Some((ticket, place)) = core.state.dial_at_once(route, wish, now)
            {
                *came = core.state.arrival(ticket);
                core.seat(ticket);
                core.seats[ticket.index()].terms = terms.clone();
                drop(core);
                Box::new(Dialling::new(self.me.clone(), place, route.clone(), terms)).start(self);
                return (ticket, None);
            }
            let ticket = match *came {
                Some(arrival) => core.state.enqueue_again(route, wish, arrival, now),
                None => core.state.enqueue(route, wish, now),
            };
            *came = (*came).or_else(|| core.state.arrival(ticket));
            core.seat(ticket);
            // Whoever begins a dial for it will look for them here.
            core.seats[ticket.index()].terms = terms;
            core.drain(now, self, &mut errands);
            (ticket, core.take(ticket))
        };
        errands.carry_out(self);
        asked
    }

    /// Takes what a ticket has been granted or refused, or leaves `waker` with it; then says
    /// whether a connection is being made for it.
    pub(crate) fn look(
        &self,
        ticket: TicketId,
        waker: &Waker,
    ) -> Result<Result<Granted, Refusal>, bool> {
        // Somebody else's waker is neither cloned nor dropped under the lock.
        let waker = Some(waker.clone());
        let (answer, _old) = {
            let mut core = self.lock();
            match core.take(ticket) {
                Some(outcome) => (Ok(outcome), None),
                None => {
                    let old = replace(&mut core.seats[ticket.index()].waker, waker);
                    (Err(core.state.is_dialling(ticket)), old)
                }
            }
        };
        answer
    }

    /// A ticket is dropped before it has taken what it was granted, or been granted anything.
    pub(crate) fn leave(&self, ticket: TicketId) {
        let now = self.runtime.now();
        let _dropped_outside = self.step(
            now,
            |core| {
                let seat = take(&mut core.seats[ticket.index()]);
                let (refusal, waker, terms) = match seat {
                    Seat {
                        outcome: Some(Ok(granted)),
                        waker,
                        terms,
                    } => {
                        core.state.decline(ticket, granted.connection, now);
                        (None, waker, terms)
                    }
                    Seat {
                        outcome,
                        waker,
                        terms,
                    } => {
                        core.state.cancel(ticket);
                        (outcome, waker, terms)
                    }
                };
                (refusal, waker, terms)
            },
            |_, dropped| dropped,
        );
    }

    /// Whether the dial for `place` is still wanted; if so, its task will be woken with `waker`
    /// when it no longer is.
    pub(crate) fn attend(&self, place: PlaceId, waker: &Waker) -> bool {
        let waker = Some(waker.clone());
        let (wanted, _old) = {
            let mut core = self.lock();
            if core.state.is_wanted(place) {
                (true, replace(&mut core.ward(place).dialler, waker))
            } else {
                (false, None)
            }
        };
        wanted
    }

    /// A dial has ended.
    pub(crate) fn dialled(&self, place: PlaceId, outcome: Result<Established, Error>) {
        let now = self.runtime.now();
        let version = match &outcome {
            Ok(Established::Exclusive(connection)) => Some(connection.version()),
            Ok(Established::Shared(handle)) => Some(handle.version()),
            Err(_) => None,
        };
        let _dropped_outside = match outcome {
            Ok(Established::Shared(handle)) => {
                let parking = Parking::new(place, &self.bell);
                parking.note.parked.store(true, Ordering::Release);
                let limit = janitor::latest_limit(&*handle, &parking.waker);
                let note = parking.note.clone();
                let dropped = self.step(
                    now,
                    |core| {
                        let dialler = core.dial_over(place, version);
                        if core.state.is_wanted(place) {
                            core.ward(place).parking = Some(parking);
                        }
                        let connection = Connection::Shared(handle);
                        let unheard = core.state.dialled(place, Ok(connection), now);
                        if let Some(limit) = limit {
                            core.state.admits(place, limit);
                        }
                        (dialler, unheard)
                    },
                    |_, dropped| dropped,
                );
                // It may have called since it was asked, while its place did not lead to it yet: the
                // janitor, who found nobody there, is to look again.
                if !note.parked.load(Ordering::Acquire) {
                    self.bell.note(place);
                }
                dropped
            }
            Ok(Established::Exclusive(connection)) => {
                let mut errands = Errands::default();
                let dropped = {
                    let mut core = self.lock();
                    let dialler = core.dial_over(place, version);
                    let granted =
                        core.state
                            .grant_at_once(place, connection, now, &mut may_be_lent);
                    match granted {
                        Ok(grant) => {
                            core.act(grant, self, &mut errands);
                            (dialler, None)
                        }
                        Err(connection) => {
                            let connection = Connection::Exclusive(connection);
                            let unheard = core.state.dialled(place, Ok(connection), now);
                            core.drain(now, self, &mut errands);
                            (dialler, unheard)
                        }
                    }
                };
                errands.carry_out(self);
                dropped
            }
            Err(error) => self.step(
                now,
                |core| {
                    let dialler = core.dial_over(place, version);
                    (dialler, core.state.dialled(place, Err(error), now))
                },
                |_, dropped| dropped,
            ),
        };
    }

    /// The handles of those of `places` that are shared connections, with their wakers.
    pub(crate) fn shared_among(
        core: &mut Core,
        places: &[PlaceId],
    ) -> Vec<(PlaceId, Arc<dyn SharedConnection>, Waker)> {
        let mut shared = Vec::new();
        for &place in places {
            let Some(handle) = core.state.shared(place).cloned() else {
                continue;
            };
            if let Some(parking) = &core.ward(place).parking {
                parking.note.parked.store(true, Ordering::Release);
                shared.push((place, handle, parking.waker.clone()));
            }
        }
        shared
    }
}

impl Shared {
    /// A lease has ended, and there is more to it than parking.
    #[cold]
    fn reclaim_in_full(
        &self,
        mut core: MutexGuard<'_, Core>,
        ticket: TicketId,
        outcome: Result<Box<dyn ExclusiveConnection>, CloseReason>,
        hints: KeepAliveHints,
        now: Instant,
    ) {
        let mut errands = Errands::default();
        let gone = outcome.as_ref().err().copied();
        if hints == KeepAliveHints::default() && core.state.end_at_once(ticket, gone, now) {
            core.watch_over(now, &self.bell, &mut errands);
            drop(core);
            drop(outcome);
            return errands.carry_out(self);
        }
        let outcome = match outcome {
            Ok(connection) => {
                let state = &mut core.state;
                match state.hand_on_at_once(ticket, connection, hints, now, &mut may_be_lent) {
                    Ok(grant) => {
                        core.act(grant, self, &mut errands);
                        drop(core);
                        return errands.carry_out(self);
                    }
                    Err(connection) => Ok(connection),
                }
            }
            Err(reason) => Err(reason),
        };
        core.state.reclaimed_with(ticket, outcome, hints, now);
        core.drain(now, self, &mut errands);
        drop(core);
        errands.carry_out(self);
    }
}

impl Shared {
    /// Everybody who holds a lease is to let go of it; how many do.
    pub(crate) fn revoke(&self) -> usize {
        let (unfinished, wakers) = {
            let mut core = self.lock();
            self.revoked.store(true, Ordering::Release);
            let wakers = core.seats.iter_mut().filter_map(|seat| seat.waker.take());
            let wakers: Vec<_> = wakers.collect();
            core.kept = self.me.upgrade();
            (core.state.unfinished(), wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        unfinished
    }
}

impl LeaseOwner for Shared {
    fn reclaim(&self, lease: LeaseId, outcome: LeaseEnd) {
        let now = self.runtime.now();
        let ticket = lease.into();
        let mut core = self.lock();
        let _dropped_outside = core.forget_waker(ticket);
        let (outcome, hints) = match outcome {
            LeaseEnd::Returned(connection, hints) => {
                match core.park_at_once(self, ticket, connection, hints, now) {
                    Ok(()) => {
                        drop(core);
                        return;
                    }
                    Err(connection) => (Ok(connection), hints),
                }
            }
            LeaseEnd::Closed(reason) => {
                if core.finish_at_once(ticket, reason, now) {
                    drop(core);
                    return;
                }
                (Err(reason), KeepAliveHints::default())
            }
        };
        self.reclaim_in_full(core, ticket, outcome, hints, now);
    }

    fn is_revoked(&self, lease: LeaseId, waker: Option<&Waker>) -> bool {
        if self.revoked.load(Ordering::Acquire) {
            return true;
        }
        let Some(waker) = waker else { return false };
        let waker = waker.clone();
        let (revoked, _old) = {
            let mut core = self.lock();
            if self.revoked.load(Ordering::Acquire) {
                (true, Some(waker))
            } else {
                (false, core.remember_waker(lease.into(), waker))
            }
        };
        revoked
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The tasks of this pool find it gone when they are woken, and end.
        let core = self.core.get_mut().unwrap_or_else(PoisonError::into_inner);
        for ward in &mut core.wards {
            if let Some(waker) = ward.dialler.take() {
                waker.wake();
            }
        }
        self.bell.ring();
    }
}

impl Core {
    /// A seat for a ticket. Whoever sat there before has taken everything along.
    fn seat(&mut self, ticket: TicketId) {
        let index = ticket.index();
        if index >= self.seats.len() {
            self.seats.resize_with(index + 1, Seat::default);
        }
    }

    /// Keeps the waker of whoever holds a lease.
    fn remember_waker(&mut self, ticket: TicketId, waker: Waker) -> Option<Waker> {
        self.seat(ticket);
        self.seats[ticket.index()].waker.replace(waker)
    }

    fn forget_waker(&mut self, ticket: TicketId) -> Option<Waker> {
        self.seats.get_mut(ticket.index())?.waker.take()
    }

    /// What was granted to a ticket, or why it was refused. Either ends its wait.
    fn take(&mut self, ticket: TicketId) -> Option<Result<Granted, Refusal>> {
        let seat = &mut self.seats[ticket.index()];
        let outcome = seat.outcome.take()?;
        // Not the last handle to the listener: the request has one.
        seat.terms.trace = Trace::none();
        if outcome.is_err() {
            self.state.cancel(ticket);
        }
        Some(outcome)
    }

    fn ward(&mut self, place: PlaceId) -> &mut Ward {
        ward(&mut self.wards, place)
    }

    /// Lends what lies idle, if that is all there is to it.
    fn lend(
        &mut self,
        route: &Route,
        wish: ConnectionPolicy,
        now: Instant,
    ) -> Option<(TicketId, Granted)> {
        let lent = self.state.lend(route, wish, now, &mut may_be_lent)?;
        if let Connection::Exclusive(_) = lent.connection
            && let Some(parking) = &self.ward(lent.place).parking
        {
            parking.note.parked.store(false, Ordering::Release);
        }
        let granted = Granted {
            connection: lent.connection,
            reused: lent.reused,
        };
        Some((lent.ticket, granted))
    }

    /// Takes a connection back which can lie idle at once, under the eyes of a janitor who is
    /// awake in time; otherwise nothing has happened.
    fn park_at_once(
        &mut self,
        pool: &Shared,
        ticket: TicketId,
        connection: Box<dyn ExclusiveConnection>,
        hints: KeepAliveHints,
        now: Instant,
    ) -> Result<(), Box<dyn ExclusiveConnection>> {
        let Watch::Until(until) = self.watch else {
            return Err(connection);
        };
        let wards = &mut self.wards;
        let mut is_fit = |place: PlaceId, connection: &mut Box<dyn ExclusiveConnection>| {
            park(ward(wards, place), place, &pool.bell, connection)
        };
        let state = &mut self.state;
        state.park_at_once(ticket, connection, hints, now, until, &mut is_fit)
    }

    /// The end of an exchange on a shared connection, if that is all there is to it.
    fn finish_at_once(&mut self, ticket: TicketId, reason: CloseReason, now: Instant) -> bool {
        match self.watch {
            Watch::Until(until) => self.state.finish_at_once(ticket, reason, now, until),
            Watch::Off => false,
        }
    }

    /// The waker of a dial's task, which needs it no more.
    fn dial_over(&mut self, place: PlaceId, version: Option<http::Version>) -> Option<Waker> {
        if self.state.is_wanted(place) {
            let ward = self.ward(place);
            ward.version = version;
            ward.dialler.take()
        } else {
            None
        }
    }

    /// Asks the machine what it wants done until there is nothing more.
    fn drain(&mut self, now: Instant, pool: &Shared, errands: &mut Errands) {
        loop {
            let wards = &mut self.wards;
            let mut is_fit = |place: PlaceId, connection: &mut Box<dyn ExclusiveConnection>| {
                park(ward(wards, place), place, &pool.bell, connection)
            };
            match self.state.poll_action(now, &mut is_fit) {
                Some(action) => self.act(action, pool, errands),
                None => break,
            }
        }
        self.watch_over(now, &pool.bell, errands);
    }

    fn act(
        &mut self,
        action: Action<Box<dyn ExclusiveConnection>, Arc<dyn SharedConnection>>,
        pool: &Shared,
        errands: &mut Errands,
    ) {
        match action {
            Action::Grant {
                ticket,
                connection,
                place,
                reused,
            } => {
                if let Some(parking) = &self.ward(place).parking
                    && let Connection::Exclusive(_) = connection
                {
                    parking.note.parked.store(false, Ordering::Release);
                }
                let granted = Granted { connection, reused };
                self.answer(ticket, Ok(granted), errands);
            }
            Action::Refuse { ticket, why } => self.answer(ticket, Err(why), errands),
            Action::Requeued { ticket } => {
                errands.wake(self.seats[ticket.index()].waker.take());
            }
            Action::Dial {
                place,
                route,
                ticket,
            } => {
                let terms = self.seats[ticket.index()].terms.clone();
                let dialling = Dialling::new(pool.me.clone(), place, route, terms);
                errands.push(Errand::Dial(Box::new(dialling)));
            }
            Action::Abandon { place } => errands.wake(self.ward(place).dialler.take()),
            Action::Close { connection, .. } => errands.push(Errand::Drop(connection)),
        }
    }

    fn answer(
        &mut self,
        ticket: TicketId,
        outcome: Result<Granted, Refusal>,
        errands: &mut Errands,
    ) {
        let seat = &mut self.seats[ticket.index()];
        seat.outcome = Some(outcome);
        errands.wake(seat.waker.take());
    }

    /// Sees to it that a janitor is awake in time for what is idle.
    fn watch_over(&mut self, now: Instant, bell: &Bell, errands: &mut Errands) {
        if (!self.drains.is_empty() || self.kept.is_some()) && self.state.is_empty() {
            for waker in self.drains.drain(..) {
                errands.push(Errand::Wake(waker));
            }
            if let Some(pool) = self.kept.take() {
                errands.push(Errand::LetGo(pool));
            }
        }
        // Only what has begun anew can end sooner than what was there.
        let news = self.state.news();
        if !self.state.needs_watching() {
            // The janitor may go home.
            if let Watch::Until(_) = self.watch {
                errands.wake(bell.take_waker());
            }
            return;
        }
        if !news.any {
            return;
        }
        match self.watch {
            Watch::Off => {
                self.watch = Watch::Until(Some(now));
                errands.push(Errand::Watch);
            }
            Watch::Until(until) => {
                // As a rule what was parked last expires last, and the janitor sleeps on.
                if let Some(next) = news.soonest
                    && until.is_none_or(|until| next < until)
                {
                    self.watch = Watch::Until(Some(next));
                    errands.wake(bell.take_waker());
                }
            }
        }
    }
}

fn ward(wards: &mut Vec<Ward>, place: PlaceId) -> &mut Ward {
    let index = place.index();
    if index >= wards.len() {
        wards.resize_with(index + 1, Ward::default);
    }
    &mut wards[index]
}

/// Asks a connection whether it is fit for use. The waker that was left with it, if it still has that,
/// finds that it is not parked.
fn may_be_lent(_: PlaceId, connection: &mut Box<dyn ExclusiveConnection>) -> bool {
    let cx = &mut Context::from_waker(noop_waker());
    connection.poll_idle(cx).is_pending()
}

/// Asks a connection whether it is fit for use, and leaves a waker with it.
fn park(
    ward: &mut Ward,
    place: PlaceId,
    bell: &Arc<Bell>,
    connection: &mut Box<dyn ExclusiveConnection>,
) -> bool {
    let parking = match &mut ward.parking {
        Some(parking) if parking.note.place == place => parking,
        // The one before belonged to a connection that is gone.
        parking => parking.insert(Parking::new(place, bell)),
    };
    // Before asking: a wake-up that comes in between is noted, and finds whatever comes of it.
    parking.note.parked.store(true, Ordering::Release);
    connection
        .poll_idle(&mut Context::from_waker(&parking.waker))
        .is_pending()
}
