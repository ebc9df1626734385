//! What all handles of a pool share: the machine behind one lock, and what is done for it after the
//! lock has been released.
//!
//! Under the lock the machine receives what happened ([`PoolInner::with_state`]), and its effects are
//! turned into [`Actions`]. Those are carried out afterwards: wakers are called, connections dropped
//! and attempts to connect begun without the lock, and each may come back to the pool. Connections are
//! asked whether they are idle before they are returned and after they are granted, without the lock
//! as well. No code that is not the pool's own runs under it.
//!
//! Four things have an owner whose `Drop` settles them: a wait in the queue (`Wait`), the claim on a
//! connection (`Lease`, held by the exchange and then by the response's body), the slot of an attempt
//! to connect (`connect::SlotGuard`), and the maintenance task.

use std::{
    any::Any,
    mem::{replace, take},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicU8},
    task::Waker,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    CloseReason, ConnectionPolicy, Error, ErrorKind, ErrorPhase, Established, ExclusiveConnection,
    PooledInfo, RequestSent, Runtime, SharedConnection, Trace,
};
use slab::Slab;

use crate::{
    arena::KEPT_SLOTS,
    config::PoolConfig,
    connect::Connecting,
    effects::Few,
    lease::ConnHandle,
    maintenance::{self, NextWake, Notifier},
    pool::{Connect, ConnectContext, ConnectPhase, PHASES_PER_CHUNK, PhaseChunk},
    preconnect::{Begun, Progress},
    record::ConnectRecord,
    route::Route,
    state::{Arrival, ConnId, Connection, Effect, Effects, Input, Rejection, State, WaiterId},
};

type Exclusive = Box<dyn ExclusiveConnection>;
type Shared = Arc<dyn SharedConnection>;
pub(crate) type Held = Connection<Exclusive, Shared>;
pub(crate) type Machine = State<Exclusive, Shared>;

/// What all handles of a pool share.
pub(crate) struct PoolInner {
    pub(crate) me: Weak<PoolInner>,
    pub(crate) config: PoolConfig,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) notifier: Arc<Notifier>,
    /// Whether any connection may be idle. If not, none is asked whether it could be.
    pub(crate) keeps_idle: bool,
    lost: Mutex<LostConnects>,
    locked: Mutex<Locked>,
}

/// What is under the lock: the machine, and what is kept for its waiters and connections.
pub(crate) struct Locked {
    pub(crate) state: Machine,
    /// By the index of a waiter.
    waiters: Vec<WaiterSlot>,
    /// By the index of a connection.
    conns: Vec<ConnSlot>,
    /// How far attempts are, by the index of a connection. Chunks are used again.
    phases: Vec<Arc<PhaseChunk>>,
    pub(crate) maintenance: NextWake,
    /// Number of grants when the maintenance task last ran.
    pub(crate) granted_before: u64,
    /// What the attempts belong to that begin in this step for no request.
    preconnect: Option<Arc<Progress>>,
    /// Wakers of drains, which wait for the pool to be empty.
    pub(crate) drains: Slab<Waker>,
}

/// What is kept for a request that waits.
#[derive(Default)]
struct WaiterSlot {
    context: ConnectContext,
    waker: Option<Waker>,
    outcome: Option<Result<Granted, Rejection>>,
}

/// What is kept for a connection, from the attempt to make it.
#[derive(Default)]
struct ConnSlot {
    /// Once it is made. Of the connection that had the slot before, until then.
    handle: Option<Arc<ConnHandle>>,
    connect_waker: Option<Waker>,
    /// How far the attempt is.
    phase: ConnectPhase,
}

/// A connection that was granted.
pub(crate) struct Granted {
    pub(crate) connection: Held,
    pub(crate) handle: Arc<ConnHandle>,
    pub(crate) reused: bool,
}

/// State of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    Waiting,
    /// It has a connection, or an attempt to make one.
    Ready,
    /// The attempt to connect failed, or the queue was full.
    Refused,
    Closed,
    /// It was given back.
    Over,
}

/// What a request in the queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// A connection or a slot.
    Slot,
    /// The attempt to connect that began for it.
    OwnConnect,
    /// An attempt to connect that began for another request.
    OtherConnect,
}

impl PoolInner {
    pub(crate) fn new(
        config: PoolConfig,
        runtime: Arc<dyn Runtime>,
        connect: Arc<dyn Connect>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| PoolInner {
            me: me.clone(),
            locked: Mutex::new(Locked {
                state: State::new(&config),
                waiters: Vec::new(),
                conns: Vec::new(),
                phases: Vec::new(),
                maintenance: NextWake::NotRunning,
                granted_before: 0,
                preconnect: None,
                drains: Slab::new(),
            }),
            notifier: Arc::default(),
            keeps_idle: config.max_idle != Some(0) && config.max_idle_per_origin != Some(0),
            lost: Mutex::default(),
            config,
            runtime,
            connect,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Locked> {
        #[cfg(feature = "lock-count")]
        crate::lock_count::increment();
        // Only a fault in the machine panics under the lock, and then its state may still be used.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the machine what happened, and carries out what it wants done. Inputs are given in
    /// `step`, which must run no code of others.
    #[inline]
    pub(crate) fn with_state<R>(
        &self,
        now: Instant,
        step: impl FnOnce(&mut Locked, &mut Effects<Exclusive, Shared>) -> R,
    ) -> R {
        let mut locked = self.lock();
        let mut effects = Effects::new();
        let result = step(&mut locked, &mut effects);
        if effects.is_empty() && locked.is_settled() {
            drop(locked);
        } else {
            self.apply(locked, effects, now);
        }
        result
    }

    /// Turns effects into actions, and carries these out without the lock.
    #[inline(never)]
    fn apply(
        &self,
        mut locked: MutexGuard<'_, Locked>,
        effects: Effects<Exclusive, Shared>,
        now: Instant,
    ) {
        let mut actions = Actions::default();
        locked.apply(effects, now, self, &mut actions);
        drop(locked);
        actions.carry_out(self);
    }

    /// Like [`with_state`](Self::with_state), for one input, at this moment.
    #[inline]
    pub(crate) fn handle(&self, input: Input<'_, Exclusive, Shared>) {
        let now = self.runtime.now();
        self.with_state(now, |locked, effects| {
            locked.state.handle(input, now, effects);
        });
    }

    /// A request needs a connection. It is granted one at once if there is one; otherwise it waits,
    /// and `arrival` becomes its place in the order of arrivals.
    #[inline]
    pub(crate) fn acquire(
        &self,
        route: &Route,
        policy: ConnectionPolicy,
        arrival: &mut Option<Arrival>,
        context: impl FnOnce() -> ConnectContext,
        now: Instant,
    ) -> (WaiterId, Option<Result<Granted, Rejection>>) {
        let mut locked = self.lock();
        let mut effects = Effects::new();
        let request = Input::Request {
            route,
            policy,
            arrival: *arrival,
        };
        let waiter = locked.state.handle(request, now, &mut effects);
        let waiter = waiter.expect("a request becomes a waiter");
        if let Some(Effect::Grant {
            connection,
            conn,
            reused,
            ..
        }) = effects.take_only(|effect| effect.is_grant_to(waiter))
        {
            let granted = locked.granted(conn, connection, reused);
            return (waiter, Some(Ok(granted)));
        }
        *arrival = (*arrival).or_else(|| locked.state.arrival(waiter));
        locked.waiter(waiter).context = context();
        let outcome = self.apply_for(locked, effects, waiter, now);
        (waiter, outcome)
    }

    /// Like [`apply`](Self::apply), for the effects of a request. Takes what it was granted at
    /// once, if it was.
    #[inline(never)]
    fn apply_for(
        &self,
        mut locked: MutexGuard<'_, Locked>,
        effects: Effects<Exclusive, Shared>,
        waiter: WaiterId,
        now: Instant,
    ) -> Option<Result<Granted, Rejection>> {
        let mut actions = Actions::default();
        locked.apply(effects, now, self, &mut actions);
        let outcome = locked.take_outcome(waiter);
        drop(locked);
        actions.carry_out(self);
        outcome
    }

    /// Returns what is known of a connection that was granted just now.
    pub(crate) fn pooled_info(&self, conn: ConnId, version: http::Version) -> Option<PooledInfo> {
        let now = self.runtime.now();
        let info = PooledInfo::new(0, version);
        self.lock().state.pooled_info(conn, info, now)
    }

    /// Begins attempts to connect along `route` for no request.
    pub(crate) fn preconnect(&self, route: &Route, connections: usize) -> Arc<Progress> {
        let progress = Arc::<Progress>::default();
        let now = self.runtime.now();
        let mut locked = self.lock();
        let mut effects = Effects::new();
        let input = Input::Preconnect { route, connections };
        locked.state.handle(input, now, &mut effects);
        let mut actions = Actions::default();
        locked.preconnect = Some(progress.clone());
        locked.apply(effects, now, self, &mut actions);
        locked.preconnect = None;
        drop(locked);
        actions.carry_out(self);
        progress
    }

    /// Takes what a waiter has been granted, or why it was rejected, or leaves `waker` with it; then
    /// returns what it waits for.
    pub(crate) fn poll_acquired(
        &self,
        waiter: WaiterId,
        waker: &Waker,
    ) -> Result<Result<Granted, Rejection>, WaitsFor> {
        // A waker is neither cloned nor dropped under the lock.
        let waker = Some(waker.clone());
        let (answer, _old) = {
            let mut locked = self.lock();
            match locked.take_outcome(waiter) {
                Some(outcome) => (Ok(outcome), None),
                None => {
                    let old = replace(&mut locked.waiter(waiter).waker, waker);
                    let waits_for = if locked.state.has_own_connect(waiter) {
                        WaitsFor::OwnConnect
                    } else if locked.state.is_connecting(waiter) {
                        WaitsFor::OtherConnect
                    } else {
                        WaitsFor::Slot
                    };
                    (Err(waits_for), old)
                }
            }
        };
        answer
    }

    /// Returns how far the attempt to connect is that `waiter` waits for.
    pub(crate) fn connect_phase(&self, waiter: WaiterId) -> ErrorPhase {
        let mut locked = self.lock();
        match locked.state.awaited_connect(waiter) {
            Some(conn) => locked.conn(conn).phase.get(),
            None => ErrorPhase::Connect,
        }
    }

    /// A wait ends before it has taken what it was granted, or been granted anything.
    pub(crate) fn cancel_wait(&self, waiter: WaiterId, timed_out: bool) {
        let now = self.runtime.now();
        // In one step: what is granted after the slot was read would be leaked.
        let slot = self.with_state(now, |locked, effects| {
            locked.cancel(waiter, timed_out, now, effects)
        });
        self.decline(waiter, slot);
    }

    /// A request which is to come needs a connection along `route`: a place is reserved for it.
    pub(crate) fn reserve(&self, route: &Route, hold: Option<Duration>) -> WaiterId {
        let now = self.runtime.now();
        self.with_state(now, |locked, effects| {
            let reserve = Input::Reserve { route, hold };
            let waiter = locked.state.handle(reserve, now, effects);
            let waiter = waiter.expect("a reservation becomes a waiter");
            locked.waiter(waiter).context = ConnectContext {
                timeouts: self.config.timeouts,
                trace: Trace::none(),
                record: ConnectRecord::default(),
                phase: ConnectPhase::default(),
            };
            waiter
        })
    }

    /// Returns how a reservation stands, and leaves `waker` with one that is not ready.
    pub(crate) fn poll_reserved(&self, waiter: WaiterId, waker: &Waker) -> Reserved {
        let waker = Some(waker.clone());
        let (reserved, _old) = {
            let mut locked = self.lock();
            if !locked.state.is_reservation(waiter) {
                (Reserved::Over, None)
            } else if let Some(Err(why)) = &locked.waiter(waiter).outcome {
                let closed = matches!(why, Rejection::PoolClosed);
                (
                    if closed {
                        Reserved::Closed
                    } else {
                        Reserved::Refused
                    },
                    None,
                )
            } else if locked.state.is_ready(waiter) {
                (Reserved::Ready, None)
            } else {
                let old = replace(&mut locked.waiter(waiter).waker, waker);
                (Reserved::Waiting, old)
            }
        };
        reserved
    }

    /// A request takes a reservation over, with what that was granted, if it was. Returns none if
    /// the reservation is over.
    pub(crate) fn use_reservation(
        &self,
        waiter: WaiterId,
        arrival: &mut Option<Arrival>,
        context: ConnectContext,
    ) -> Option<Option<Granted>> {
        let now = self.runtime.now();
        let (used, _dropped_outside) = self.with_state(now, |locked, effects| {
            let unreserve = Input::Unreserve { waiter };
            if locked.state.handle(unreserve, now, effects).is_none() {
                return (None, None);
            }
            let slot = take(locked.waiter(waiter));
            match slot.outcome {
                Some(Ok(granted)) => (Some(Some(granted)), None),
                // What failed before the request was there is not its error.
                Some(Err(why)) => {
                    locked.state.acknowledge(waiter);
                    (None, Some((slot.waker, Some(why))))
                }
                None => {
                    *arrival = locked.state.arrival(waiter);
                    locked.waiter(waiter).context = context;
                    (Some(None), Some((slot.waker, None)))
                }
            }
        });
        used
    }

    /// A reservation is given back, unless it is over.
    pub(crate) fn end_reservation(&self, waiter: WaiterId) {
        let now = self.runtime.now();
        let slot = self.with_state(now, |locked, effects| {
            let unreserve = Input::Unreserve { waiter };
            locked.state.handle(unreserve, now, effects)?;
            Some(locked.cancel(waiter, false, now, effects))
        });
        if let Some(slot) = slot {
            self.decline(waiter, slot);
        }
    }

    /// Gives back what a waiter was granted, if it was.
    fn decline(&self, waiter: WaiterId, slot: WaiterSlot) {
        let Some(Ok(granted)) = slot.outcome else {
            return;
        };
        let mut connection = granted.connection;
        if let Connection::Exclusive(exclusive) = &mut connection
            && self.keeps_idle
            && granted.handle.ask(&mut **exclusive).is_ready()
        {
            drop(connection);
            let reason = CloseReason::PeerClosed;
            return self.handle(Input::Ended { waiter, reason });
        }
        self.handle(Input::Declined { waiter, connection });
        granted.handle.note_early_wake();
    }

    /// What a waiter was granted was closed before it was used, and has been dropped. The waiter may
    /// have been granted something else at once.
    pub(crate) fn return_stale(
        &self,
        waiter: WaiterId,
        arrival: &mut Option<Arrival>,
        context: ConnectContext,
    ) -> Option<Result<Granted, Rejection>> {
        let now = self.runtime.now();
        self.with_state(now, |locked, effects| {
            *arrival = (*arrival).or_else(|| locked.state.arrival(waiter));
            locked.waiter(waiter).context = context;
            locked.state.handle(Input::Stale { waiter }, now, effects);
        });
        self.lock().take_outcome(waiter)
    }

    /// Returns whether an attempt to connect is still wanted; if so, `waker` is called when it no
    /// longer is.
    pub(crate) fn register_connect_waker(&self, conn: ConnId, waker: &Waker) -> bool {
        let waker = Some(waker.clone());
        let (wanted, _old) = {
            let mut locked = self.lock();
            if locked.state.is_wanted(conn) {
                (true, replace(&mut locked.conn(conn).connect_waker, waker))
            } else {
                (false, None)
            }
        };
        wanted
    }

    /// An attempt to connect has ended.
    pub(crate) fn connected(
        &self,
        conn: ConnId,
        result: Result<Established, Error>,
        record: ConnectRecord,
    ) {
        let now = self.runtime.now();
        let handle = result
            .as_ref()
            .ok()
            .map(|connection| ConnHandle::new(conn, connection, record, self));
        let copy = result
            .as_ref()
            .err()
            .and_then(|error| self.copy_for_others(error));
        let mut limit = None;
        let result = match (result, &handle) {
            (Ok(Established::Shared(connection)), Some(handle)) => {
                limit = handle.ask_limit(&*connection);
                Ok(Connection::Shared(connection))
            }
            (Ok(Established::Exclusive(connection)), _) => Ok(Connection::Exclusive(connection)),
            (Ok(_), None) => unreachable!("each new connection has a handle"),
            (Err(error), _) => Err(error),
        };
        let (_dropped_outside, is_idle) = self.with_state(now, |locked, effects| {
            let mut waker = None;
            if locked.state.is_wanted(conn) {
                let slot = locked.conn(conn);
                waker = slot.connect_waker.take();
                slot.phase = ConnectPhase::default();
                if handle.is_some() {
                    slot.handle = handle.clone();
                }
            }
            let connected = Input::Connected {
                conn,
                result,
                limit,
                copy,
            };
            locked.state.handle(connected, now, effects);
            (waker, locked.state.is_idle(conn))
        });
        if is_idle {
            // No request waits for it: the maintenance task leaves the idle waker with it.
            self.notifier.note(conn);
        } else if let Some(handle) = handle {
            handle.note_early_wake();
        }
    }

    /// Returns a copy of the error of an attempt, if other requests are to fail with it. Causes are printed
    /// for that, which is foreign code: not under the lock.
    fn copy_for_others(&self, error: &Error) -> Option<Arc<Error>> {
        let pause = self.config.connect_backoff?;
        (!pause.is_zero()).then(|| Arc::new(error.repeated()))
    }

    /// The runtime dropped an attempt to connect. A runtime that drops each attempt as soon as it is
    /// spawned would recurse once for each queued request, if each were reported by the one
    /// that took its slot: so the first one reports for all.
    pub(crate) fn connect_lost(&self, conn: ConnId) {
        {
            let mut lost = self.lost_connects();
            lost.conns.push(conn);
            if replace(&mut lost.reporting, true) {
                return;
            }
        }
        let reporting = Reporting(self);
        loop {
            let conns = take(&mut self.lost_connects().conns);
            if conns.is_empty() && reporting.end() {
                return;
            }
            for conn in conns {
                let error = Error::new(
                    ErrorKind::RuntimeShutdown,
                    ErrorPhase::Connect,
                    RequestSent::None,
                )
                .with_message("the runtime dropped the attempt to connect");
                self.connected(conn, Err(error), ConnectRecord::default());
            }
        }
    }

    fn lost_connects(&self) -> MutexGuard<'_, LostConnects> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the pool, and revokes all leases. Returns how many requests had not ended.
    pub(crate) fn revoke(&self) -> usize {
        let now = self.runtime.now();
        let (unfinished, handles) = self.with_state(now, |locked, effects| {
            let unfinished = locked.state.unfinished();
            let conns: Vec<_> = locked.state.connections().map(|found| found.conn).collect();
            let handles: Vec<_> = conns
                .into_iter()
                .filter_map(|conn| locked.handle_of(conn))
                .collect();
            locked.state.handle(Input::Close, now, effects);
            (unfinished, handles)
        });
        for handle in handles {
            handle.leases().revoke();
        }
        unfinished
    }
}

impl Drop for PoolInner {
    fn drop(&mut self) {
        // The tasks of this pool find it gone when they are woken, and end.
        let locked = self
            .locked
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut actions = Actions::default();
        for slot in &mut locked.conns {
            if let Some(waker) = slot.connect_waker.take() {
                actions.wakers.push(waker);
            }
        }
        if let Some(waker) = self.notifier.take_waker() {
            actions.wakers.push(waker);
        }
        actions.carry_out(self);
    }
}

/// Attempts to connect that the runtime has dropped.
#[derive(Default)]
struct LostConnects {
    conns: Vec<ConnId>,
    /// Whether a thread reports them.
    reporting: bool,
}

/// This thread reports lost attempts. Whatever happens, another can after it.
struct Reporting<'a>(&'a PoolInner);

impl Reporting<'_> {
    /// Ends, unless more attempts have been lost; whether it did.
    fn end(&self) -> bool {
        let mut lost = self.0.lost_connects();
        lost.reporting = !lost.conns.is_empty();
        !lost.reporting
    }
}

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lost_connects().reporting = false;
        }
    }
}

impl Locked {
    #[inline]
    fn waiter(&mut self, waiter: WaiterId) -> &mut WaiterSlot {
        let index = waiter.index();
        if index >= self.waiters.len() {
            self.waiters.resize_with(index + 1, WaiterSlot::default);
        }
        &mut self.waiters[index]
    }

    fn conn(&mut self, conn: ConnId) -> &mut ConnSlot {
        let index = conn.index();
        if index >= self.conns.len() {
            self.conns.resize_with(index + 1, ConnSlot::default);
        }
        &mut self.conns[index]
    }

    /// The handle of a connection that has been made.
    pub(crate) fn handle_of(&self, conn: ConnId) -> Option<Arc<ConnHandle>> {
        let handle = self.conns.get(conn.index())?.handle.as_ref()?;
        handle.is_of(conn).then(|| handle.clone())
    }

    pub(crate) fn version_of(&self, conn: ConnId) -> Option<http::Version> {
        let handle = self.conns.get(conn.index())?.handle.as_ref()?;
        handle.is_of(conn).then(|| handle.version())
    }

    #[inline]
    fn granted(&self, conn: ConnId, connection: Held, reused: bool) -> Granted {
        let handle = self.conns[conn.index()].handle.clone();
        let handle = handle.expect("a connection that is granted has been made");
        if let Connection::Exclusive(_) = connection {
            handle.disarm();
        }
        Granted {
            connection,
            handle,
            reused,
        }
    }

    /// A waiter leaves the queue, unless it was granted something.
    fn cancel(
        &mut self,
        waiter: WaiterId,
        timed_out: bool,
        now: Instant,
        effects: &mut Effects<Exclusive, Shared>,
    ) -> WaiterSlot {
        let slot = take(self.waiter(waiter));
        if !matches!(slot.outcome, Some(Ok(_))) {
            let cancel = Input::Cancel { waiter, timed_out };
            self.state.handle(cancel, now, effects);
        }
        slot
    }

    /// Takes what a waiter was granted, or why it was rejected. Either ends its wait.
    fn take_outcome(&mut self, waiter: WaiterId) -> Option<Result<Granted, Rejection>> {
        let slot = self.waiter(waiter);
        let outcome = slot.outcome.take()?;
        // Not the last handle to the listener: the request has one.
        slot.context.trace = Trace::none();
        if outcome.is_err() {
            self.state.acknowledge(waiter);
        }
        Some(outcome)
    }

    /// Turns the effects of a step into actions.
    fn apply(
        &mut self,
        effects: Effects<Exclusive, Shared>,
        now: Instant,
        pool: &PoolInner,
        actions: &mut Actions,
    ) {
        effects.for_each(|effect| self.apply_effect(effect, pool, actions));
        self.update_maintenance(now, pool, actions);
    }

    fn apply_effect(
        &mut self,
        effect: Effect<Exclusive, Shared>,
        pool: &PoolInner,
        actions: &mut Actions,
    ) {
        match effect {
            Effect::Grant {
                waiter,
                connection,
                conn,
                reused,
            } => {
                let granted = self.granted(conn, connection, reused);
                self.answer(waiter, Ok(granted), actions);
            }
            Effect::Reject { waiter, why } => self.answer(waiter, Err(why), actions),
            Effect::ConnectLost { waiter } | Effect::ReservationReady { waiter } => {
                actions.wake(self.waiter(waiter).waker.take());
            }
            Effect::ReservationExpired { waiter } => {
                actions.wake(self.waiter(waiter).waker.take());
                actions.expired.push(waiter);
            }
            Effect::Connect {
                conn,
                route,
                waiter,
            } => {
                let mut context = match waiter {
                    Some(waiter) => self.waiter(waiter).context.clone(),
                    None => ConnectContext {
                        timeouts: pool.config.timeouts,
                        ..ConnectContext::default()
                    },
                };
                let begun = match waiter {
                    Some(_) => None,
                    None => self.preconnect.as_ref().map(Begun::new),
                };
                context.phase = self.begin_phase(conn);
                let connecting = Connecting::new(pool.me.clone(), conn, route, context, begun);
                actions.connects.push(Box::new(connecting));
            }
            Effect::AbandonConnect { conn } => actions.wake(self.conn(conn).connect_waker.take()),
            Effect::Close { connection, .. } => {
                actions.drops.push(Dropped::Connection(connection));
            }
            Effect::DropError(error) => actions.drops.push(Dropped::Error(error)),
        }
    }

    /// Returns the phase of an attempt that begins.
    fn begin_phase(&mut self, conn: ConnId) -> ConnectPhase {
        let chunk = conn.index() / PHASES_PER_CHUNK;
        while self.phases.len() <= chunk {
            let phases = [const { AtomicU8::new(0) }; PHASES_PER_CHUNK];
            self.phases.push(Arc::new(phases));
        }
        let phase = ConnectPhase::at(&self.phases[chunk], conn.index());
        self.conn(conn).phase = phase.clone();
        phase
    }

    fn answer(
        &mut self,
        waiter: WaiterId,
        outcome: Result<Granted, Rejection>,
        actions: &mut Actions,
    ) {
        let slot = self.waiter(waiter);
        slot.outcome = Some(outcome);
        actions.wake(slot.waker.take());
    }

    /// Returns whether there is nothing for [`update_maintenance`](Self::update_maintenance) to do: as
    /// a rule, what became idle last expires last.
    #[inline]
    fn is_settled(&self) -> bool {
        let NextWake::At(until) = self.maintenance else {
            return false;
        };
        let change = self.state.pending_timer_change();
        let in_time = match (change.soonest, until) {
            (Some(next), Some(until)) => until <= next,
            (Some(_), None) => false,
            (None, _) => true,
        };
        in_time
            && self.drains.is_empty()
            && self.waiters.len() <= KEPT_SLOTS
            && self.state.has_open_connections()
    }

    /// Sees to it that the maintenance task runs in time for what is idle, and that a drain ends.
    fn update_maintenance(&mut self, now: Instant, pool: &PoolInner, actions: &mut Actions) {
        if !self.drains.is_empty() && self.state.is_empty() {
            for waker in self.drains.drain() {
                actions.wakers.push(waker);
            }
        }
        if self.waiters.len() > KEPT_SLOTS && self.state.waiter_slots() < KEPT_SLOTS {
            self.shrink();
        }
        // Only what has begun anew can end sooner than what was there.
        let change = self.state.timer_change();
        match self.maintenance {
            NextWake::NotRunning => {
                if change.any && self.state.needs_maintenance() {
                    self.maintenance = NextWake::At(Some(now));
                    actions.start_maintenance = true;
                }
            }
            NextWake::At(_) if !self.state.needs_maintenance() => {
                // The task may end.
                actions.wake(pool.notifier.take_waker());
            }
            NextWake::At(until) => {
                // As a rule what became idle last expires last, and the task is not woken.
                if let Some(next) = change.soonest
                    && until.is_none_or(|until| next < until)
                {
                    self.maintenance = NextWake::At(Some(next));
                    actions.wake(pool.notifier.take_waker());
                }
            }
        }
    }

    pub(crate) fn table_slots(&self) -> usize {
        let machine = self.state.waiter_slots() + self.state.conn_slots();
        machine + self.waiters.capacity() + self.conns.capacity()
    }

    /// Gives back the memory of a burst.
    pub(crate) fn shrink(&mut self) {
        let (waiters, conns) = (self.state.waiter_slots(), self.state.conn_slots());
        if self.waiters.len() > waiters.max(KEPT_SLOTS) {
            self.waiters.truncate(waiters);
            self.waiters.shrink_to_fit();
        }
        if self.conns.len() > conns.max(KEPT_SLOTS) {
            self.conns.truncate(conns);
            self.conns.shrink_to_fit();
            self.phases.truncate(conns.div_ceil(PHASES_PER_CHUNK));
        }
    }
}

/// What a step leaves to be done without the lock.
#[derive(Default)]
struct Actions {
    wakers: Few<Waker>,
    drops: Few<Dropped>,
    connects: Few<Box<Connecting>>,
    expired: Vec<WaiterId>,
    start_maintenance: bool,
}

/// A value of others, to be dropped.
#[expect(dead_code, reason = "the values are dropped")]
enum Dropped {
    Connection(Held),
    Error(Error),
}

impl Actions {
    fn wake(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.wakers.push(waker);
        }
    }

    #[inline]
    fn carry_out(self, pool: &PoolInner) {
        let is_empty = self.wakers.is_empty() && self.drops.is_empty() && self.connects.is_empty();
        if !is_empty || !self.expired.is_empty() || self.start_maintenance {
            self.carry_out_all(pool);
        }
    }

    /// Carries everything out: first reservations that are over, then wake-ups, which others wait for, then
    /// what is dropped, which frees sockets, then attempts to connect, which may need those. If one of them
    /// panics, the others are carried out all the same, and then the panic goes on.
    fn carry_out_all(self, pool: &PoolInner) {
        let mut panics = Panics::default();
        for waiter in self.expired {
            panics.guard(|| pool.end_reservation(waiter));
        }
        self.wakers.for_each(|waker| panics.guard(|| waker.wake()));
        self.drops.for_each(|value| panics.guard(|| drop(value)));
        self.connects
            .for_each(|connecting| panics.guard(|| connecting.start(pool)));
        if self.start_maintenance {
            panics.guard(|| maintenance::start(pool));
        }
        panics.resume();
    }
}

/// The first panic of several actions.
#[derive(Default)]
struct Panics(Option<Box<dyn Any + Send>>);

impl Panics {
    fn guard(&mut self, action: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(action)) {
            self.0.get_or_insert(payload);
        }
    }

    /// Lets the panic go on, unless the thread panics already: a second panic would end the process.
    fn resume(self) {
        if let Some(payload) = self.0
            && !std::thread::panicking()
        {
            resume_unwind(payload);
        }
    }
}
