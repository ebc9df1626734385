//! The pool without I/O.
//!
//! A [`State`] takes one [`Input`] at a time, and answers with [`Effect`]s, which the
//! caller carries out after it has released its lock. It has no lock, no clock and no `async`, and does
//! not know what a connection is: tests use numbers.
//!
//! A request is a *waiter*, from its arrival to the end of its exchange. A connection has a *slot*,
//! from the moment in which an attempt to make it begins until it is closed:
//!
//! ```text
//!              Request                     Grant
//!   waiter:  ─────────► waiting ──────────────────────► holding ──► over
//!                          │  ▲      Stale                │  Returned, Ended, Declined
//!                  Cancel, │  └─────────────────────────┤
//!                  Reject  └─────────► over
//!
//!   A reservation is a waiter that no request has taken over yet: `reservations.rs`.
//!
//!              Connect             Connected
//!   slot:    ─────────► connecting ──────────┬──► lent ◄──► idle ──► Close     exclusive
//!                          │                 └──► shared ───────────► Close    shared
//!                          └─► gone (failed, abandoned)
//! ```
//!
//! # How an input is handled
//!
//! 1. The input changes one thing, and names the route it concerns.
//! 2. [`assign`](State::assign) grants connections of that route to its waiters, and then updates the
//!    route: attempts to connect that lost their waiter go to waiters without one, and the route joins
//!    or leaves the *connect queue*.
//! 3. [`rebalance`](State::rebalance) gives slots to the routes in the connect queue, round-robin: it
//!    evicts what is idle, abandons attempts that no waiter needs, preempts one that takes long, and
//!    begins new ones.
//!
//! A request that finds no connection passes through `request`, `Waiters::join`, `assign` and
//! `update_route`, and `rebalance` begins an attempt for it ([`Effect::Connect`]). When that has
//! succeeded, `connected` opens the connection, `assign` grants it ([`Effect::Grant`]), and the pool wakes
//! the request.
//!
//! With no waiters, both return after a few comparisons. Neither takes longer because there are more
//! connections, routes or waiters.
//!
//! # What holds after every input
//!
//! - `connecting + idle + lent + shared` is the number of slots in use, and at most `max_connections`.
//! - No request waits while a slot is free and may be used for it, nor while a connection on its own
//!   route could serve it.
//! - An attempt to connect begins only for a waiter that has none, or by [`Input::Preconnect`]. An
//!   attempt whose waiter has left goes on, for the next waiter of its route, or until its slot is
//!   needed.
//! - Along one route, waiters are served in the order of their arrival, by whichever connection is
//!   ready first. Between routes, slots are given round-robin.
//!
//! # Three waits
//!
//! - `connect_preempt_after` preempts an attempt to connect in a full pool, for another route.
//! - `connect_patience` ends the time for which an attempt holds back or stands in for an attempt
//!   of another waiter of the same route. The old attempt goes on beside the new one.
//! - `connect_delay` is how long a request waits for a connection in use, before an attempt begins for
//!   it. It is zero by default: an attempt begins at once, if there is a slot.
//!
//! ```
//! use httpcore_core_primitives::{ConnectionPolicy, Origin, Scheme};
//! use httpcore_pool::{PoolConfig, Route, state::{Connection, Effect, Effects, Input, State}};
//!
//! let mut state = State::<&str, ()>::new(&PoolConfig::default());
//! let route = Route::to(Origin::new(Scheme::Http, "localhost", 80));
//! # #[allow(clippy::disallowed_methods)]
//! let now = std::time::Instant::now();
//! let request = Input::Request { route: &route, policy: ConnectionPolicy::default(), arrival: None };
//!
//! let mut effects = Effects::new();
//! let first = state.handle(request, now, &mut effects);
//! let Some(Effect::Connect { conn, .. }) = effects.into_iter().next() else { panic!() };
//!
//! let mut effects = Effects::new();
//! let result = Ok(Connection::Exclusive("the first"));
//! let connected = Input::Connected { conn, result, limit: None, copy: None };
//! state.handle(connected, now, &mut effects);
//! let Some(Effect::Grant { waiter, connection, .. }) = effects.into_iter().next() else { panic!() };
//! assert_eq!(Some(waiter), first);
//! assert!(matches!(connection, Connection::Exclusive("the first")));
//! ```

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    CloseReason, ConnectionPolicy, Error, ErrorKind, ErrorPhase, KeepAliveHints, PooledInfo,
    RequestSent, StreamLimit, options::earlier,
};

use crate::{
    arena::{Arena, Chain, KEPT_SLOTS, Key, Links, List},
    config::{PoolConfig, StreamPlacement},
    retry_budget::Bucket,
    route::{Route, RouteMap},
};

/// Which of the links of an item a list runs through.
macro_rules! chain {
    ($chain:ty, $item:ty, $field:ident $(, $generic:ident)*) => {
        impl<$($generic),*> Chain<$item> for $chain {
            fn links(item: &$item) -> &Links {
                &item.$field
            }
            fn links_mut(item: &mut $item) -> &mut Links {
                &mut item.$field
            }
        }
    };
}

mod assign;
mod connect;
mod connections;
mod idle;
mod messages;
mod reservations;
mod routes;
mod snapshot;
mod waiters;

use connections::{Conn, Connections, InOrder, InRoute, Stage};
use idle::{Idle, IdleClass};
use reservations::Reservations;
use routes::{KnownProtocol, RouteState, Routes};
use waiters::{InQueue, InWithoutConnect, Waiter, WaiterStage, Waiters};

pub use messages::{Arrival, ConnId, Connection, Effect, Effects, Input, Rejection, WaiterId};
pub use snapshot::{Activity, ConnectionSnapshot, Counts, PoolStats};

/// Number of requests that may be served on connections of other routes while a route waits for a
/// slot in a full pool, before one of those connections is closed for it. A new connection costs
/// about as much as that many small exchanges.
const MAX_REUSES_BEFORE_YIELD: u32 = 16;

/// How often the attempts to connect for one request may be preempted and have more time the next
/// time. The last time is 32 times as long as the first.
const BACKOFF_LEVELS: usize = 6;

/// Shortest time after which an attempt to connect is preempted. With less, two routes that wait
/// for one slot would take it from each other without end.
const MIN_PREEMPT_AFTER: Duration = Duration::from_millis(10);

/// Longest time between two attempts to connect along a route whose attempts fail.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Number of routes without connections whose protocol is remembered.
const MAX_EMPTY_ROUTES: usize = 1024;

/// Number of routes without connections up to which one that cannot be shared is kept as well: with a new
/// connection for each request to few origins, the route is not built and removed each time.
const MAX_EMPTY_PLAIN_ROUTES: usize = 16;

/// Number of connections made for one request that may end before they serve anything.
const MAX_FRUITLESS_CONNECTS: u8 = 10;

/// The pool without I/O. `X` is an exclusive connection, `S` a handle to a shared one. See the
/// [module](self).
///
/// Its methods are of three kinds. [`handle`](Self::handle) says what happened, and is the only one
/// that decides anything. [`take_to_check`](Self::take_to_check), [`timer_change`](Self::timer_change)
/// and the `count_` methods are for the caller's own work beside it. All others are getters.
pub struct State<X, S> {
    limits: Limits,
    routes: Routes,
    waiters: Waiters,
    conns: Connections<X, S>,
    reservations: Reservations,
    /// The latest waiter: the one to be rejected if the queue is too long.
    newest: Option<Key>,
    /// How many requests were served while the front of the connect queue waited for a slot.
    passed_over: u32,
    /// A shared connection which finishes its exchanges so that another route can have its slot.
    yielding: Option<Key>,
    timers: TimerChange,
    closed: bool,
    draining: bool,
    sequence: u64,
    retry_bucket: Bucket,
    counters: PoolStats,
}

/// Change of the earliest expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerChange {
    /// Whether an expiry was added.
    pub any: bool,
    /// When the first of them ends, if ever.
    pub soonest: Option<Instant>,
}

impl TimerChange {
    #[inline]
    fn note(&mut self, end: Option<Instant>) {
        self.any = true;
        self.soonest = earlier(self.soonest, end);
    }
}

struct Limits {
    conns: usize,
    conns_per_route: usize,
    shared_per_route: usize,
    requests_per_route: usize,
    idle: usize,
    idle_per_route: usize,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
    max_requests: u64,
    queue: usize,
    preempt_after: Option<Duration>,
    connect_patience: Option<Duration>,
    connecting: usize,
    connecting_per_route: usize,
    connect_delay: Duration,
    connect_backoff: Option<Duration>,
    spreads: bool,
}

impl<X, S: Clone> State<X, S> {
    /// An empty pool.
    pub fn new(config: &PoolConfig) -> Self {
        let limit = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
        State {
            limits: Limits {
                conns: limit(config.max_connections).max(1),
                conns_per_route: limit(config.max_connections_per_origin).max(1),
                shared_per_route: limit(config.max_http2_connections_per_origin).max(1),
                requests_per_route: limit(config.max_requests_per_origin).max(1),
                idle: limit(config.max_idle),
                idle_per_route: limit(config.max_idle_per_origin),
                idle_timeout: config.idle_timeout,
                max_lifetime: config.max_lifetime,
                max_requests: config
                    .max_requests_per_connection
                    .unwrap_or(u64::MAX)
                    .max(1),
                queue: limit(config.max_pending_requests),
                preempt_after: config
                    .connect_preempt_after
                    .map(|time| time.max(MIN_PREEMPT_AFTER)),
                connect_patience: config.connect_patience,
                connecting: limit(config.max_connecting).max(1),
                connecting_per_route: limit(config.max_connecting_per_origin).max(1),
                connect_delay: config.connect_delay,
                connect_backoff: config.connect_backoff.filter(|pause| !pause.is_zero()),
                spreads: config.http2_placement == StreamPlacement::Spread,
            },
            routes: Routes::new(),
            waiters: Waiters::new(),
            conns: Connections::new(),
            reservations: Reservations::default(),
            newest: None,
            passed_over: 0,
            yielding: None,
            timers: TimerChange::default(),
            closed: false,
            draining: false,
            sequence: 0,
            retry_bucket: Bucket::new(config.retry_budget),
            counters: PoolStats::default(),
        }
    }

    /// Takes in what happened at `now`, and appends to `effects` what is to be done for it. Returns
    /// the waiter which a [request](Input::Request) or a [reservation](Input::Reserve) has become, or
    /// which is [no reservation](Input::Unreserve) any more.
    // Inlined: each caller passes a constant variant, and the other arms of the match are removed.
    #[inline(always)]
    pub fn handle(
        &mut self,
        input: Input<'_, X, S>,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<WaiterId> {
        self.age_connects(now, effects);
        let mut waiter = None;
        let route = match input {
            Input::Request {
                route,
                policy,
                arrival,
            } => {
                let (key, route) = self.request(route, policy, arrival, now, effects);
                waiter = Some(WaiterId(key));
                route
            }
            Input::Reserve { route, hold } => {
                let (key, route) = self.reserve(route, hold, now, effects);
                waiter = Some(WaiterId(key));
                route
            }
            Input::Unreserve {
                waiter: reservation,
            } => {
                waiter = self.unreserve(reservation).then_some(reservation);
                None
            }
            Input::Returned {
                waiter,
                connection,
                hints,
            } => self.returned(waiter, connection, hints, now, effects),
            Input::Ended { waiter, reason } => self.ended(waiter, reason, now, effects),
            Input::Cancel { waiter, timed_out } => self.cancel(waiter, timed_out),
            Input::Connected {
                conn,
                result,
                limit,
                copy,
            } => self.connected(conn, result, limit, copy, now, effects),
            Input::Declined { waiter, connection } => {
                self.declined(waiter, connection, now, effects)
            }
            Input::Stale { waiter } => self.stale(waiter, now, effects),
            Input::Checked {
                conn,
                connection,
                is_idle,
            } => self.checked(conn, connection, is_idle, effects),
            Input::StreamLimit { conn, limit } => {
                let route = self.conns.get(conn.0).map(|conn| conn.route);
                self.set_stream_limit(conn.0, limit, effects);
                route
            }
            Input::Tick => {
                self.expire(now, effects);
                None
            }
            Input::CloseIdle => {
                while let Some(key) = self.conns.longest_idle() {
                    let route = self.close_idle_conn(key, CloseReason::IdleClosedByCaller, effects);
                    self.update_route(route, now, effects);
                }
                None
            }
            Input::Preconnect { route, connections } => {
                Some(self.preconnect(route, connections, now, effects))
            }
            Input::Drain => {
                self.draining = true;
                self.end_reservations(effects);
                None
            }
            Input::Close => {
                self.close(now, effects);
                None
            }
        };
        if let Some(route) = route {
            self.assign(route, now, effects);
        }
        self.rebalance(now, effects);
        waiter
    }

    /// A request arrives. Most find a connection, and never join a queue.
    #[inline(always)]
    fn request(
        &mut self,
        route: &Route,
        policy: ConnectionPolicy,
        arrival: Option<Arrival>,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> (Key, Option<Key>) {
        self.counters.requests += 1;
        let route = self.routes.enter(route);
        let sequence = match arrival {
            Some(arrival) if !policy.new_connection => arrival.0.get(),
            _ => self.next_sequence(),
        };
        let state = &self.routes[route];
        let may_be_served = !policy.new_connection
            && !state.has_waiters()
            && self.admits_request(state)
            && !self.is_closed();
        if may_be_served && let Some(conn) = self.find_available(route, now, effects) {
            let stage = WaiterStage::Holding { conn };
            let waiter = self.waiters.insert(route, sequence, policy, stage, now);
            self.lend_available(waiter, conn, now, effects);
            return (waiter, None);
        }
        let stage = WaiterStage::Waiting { connect: None };
        let waiter = self.waiters.insert(route, sequence, policy, stage, now);
        if self.is_closed() {
            self.waiters[waiter].stage = WaiterStage::Rejected;
            self.counters.refused += 1;
            effects.push(Effect::Reject {
                waiter: WaiterId(waiter),
                why: Rejection::PoolClosed,
            });
        } else {
            self.waiters.join(&mut self.routes[route], waiter);
            self.newest = Some(waiter);
        }
        (waiter, Some(route))
    }

    fn cancel(&mut self, WaiterId(key): WaiterId, timed_out: bool) -> Option<Key> {
        let waiter = self.waiters.get(key)?;
        debug_assert!(!waiter.is_reservation, "it was to be unreserved first");
        let route = waiter.route;
        match waiter.stage {
            WaiterStage::Waiting { .. } => {
                self.leave(key, timed_out);
                self.waiters.remove(key);
                self.counters.cancelled += 1;
                Some(route)
            }
            WaiterStage::Rejected => {
                self.waiters.remove(key);
                None
            }
            WaiterStage::Holding { .. } => None,
        }
    }

    /// A lease ends: its waiter is over. Returns the connection, and whether the waiter was to be
    /// its last user.
    #[inline]
    fn release(&mut self, WaiterId(key): WaiterId) -> Option<(Key, bool)> {
        let waiter = self.waiters.get(key)?;
        let WaiterStage::Holding { conn } = waiter.stage else {
            return None;
        };
        let (route, close_after) = (waiter.route, waiter.close_after);
        debug_assert!(!waiter.is_reservation, "it was to be unreserved first");
        self.waiters.remove(key);
        self.routes[route].active -= 1;
        Some((conn, close_after))
    }

    #[inline(always)]
    fn returned(
        &mut self,
        waiter: WaiterId,
        connection: X,
        hints: KeepAliveHints,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        let Some((key, close_after)) = self.release(waiter) else {
            // No waiter holds this: the connection is dropped, and that is all.
            effects.push(close_stray(connection));
            return None;
        };
        let pool_limit = self.limits.idle_timeout;
        let conn = &mut self.conns[key];
        let route = conn.route;
        if matches!(conn.stage, Stage::Shared { .. }) {
            effects.push(close_stray(connection));
            self.end_exchange(key, now, effects);
            return Some(route);
        }
        conn.idle_since = now;
        let class = match hints.timeout {
            None => Some(IdleClass::default()),
            Some(idle_for) => IdleClass::within(idle::before(idle_for), pool_limit),
        };
        conn.idle_class = class.unwrap_or_default();
        if close_after {
            conn.close_reason = Some(CloseReason::CallerSaidClose);
        } else if class.is_none() {
            conn.close_reason = Some(CloseReason::IdleTimeout);
        } else if hints.max_requests == Some(0) {
            conn.close_reason = Some(CloseReason::KeepAliveExhausted);
        }
        self.settle(key, connection, now, effects)
    }

    fn ended(
        &mut self,
        waiter: WaiterId,
        reason: CloseReason,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        let (key, _) = self.release(waiter)?;
        let conn = &self.conns[key];
        let route = conn.route;
        if matches!(conn.stage, Stage::Shared { .. }) {
            // The next request must not use this connection.
            if reason == CloseReason::StreamsClosed {
                // The next connection has to say that it admits exchanges before it has one.
                self.routes[route].protocol = KnownProtocol::Http2 { limit: 0 };
            }
            if matches!(
                reason,
                CloseReason::PeerSaidClose | CloseReason::StreamsClosed
            ) {
                self.retire(key, CloseReason::StreamsClosed, effects);
            }
            self.end_exchange(key, now, effects);
        } else {
            self.counters.close(reason);
            self.conns.remove(&mut self.routes[route], key);
        }
        Some(route)
    }

    fn declined(
        &mut self,
        waiter: WaiterId,
        connection: Connection<X, S>,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        self.count_as_unused(waiter);
        match connection {
            Connection::Exclusive(connection) => {
                self.returned(waiter, connection, KeepAliveHints::default(), now, effects)
            }
            Connection::Shared(_) => {
                let reason = CloseReason::Finished;
                self.ended(waiter, reason, now, effects)
            }
        }
    }

    /// A waiter has not used the connection it was granted. Returns that connection.
    fn count_as_unused(&mut self, WaiterId(key): WaiterId) -> Option<Key> {
        let WaiterStage::Holding { conn } = self.waiters.get(key)?.stage else {
            return None;
        };
        self.conns[conn].served -= 1;
        Some(conn)
    }

    fn stale(
        &mut self,
        waiter: WaiterId,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        let key = waiter.0;
        let conn = self.count_as_unused(waiter)?;
        let was_new = self.conns[conn].served == 0;
        self.counters.granted -= 1;
        self.counters.reused -= u64::from(!was_new);
        let route = self.waiters[key].route;
        self.routes[route].active -= 1;
        self.waiters[key].stage = WaiterStage::Waiting { connect: None };
        self.waiters.join(&mut self.routes[route], key);
        if matches!(self.conns[conn].stage, Stage::Shared { .. }) {
            self.retire(conn, CloseReason::PeerClosed, effects);
            self.end_exchange(conn, now, effects);
        } else {
            self.counters.close(CloseReason::PeerClosed);
            self.conns.remove(&mut self.routes[route], conn);
        }
        if was_new {
            self.count_fruitless(key, effects);
        }
        if self.closed && self.waiters[key].in_queue.is_linked() {
            self.reject(key, Rejection::PoolClosed, effects);
        }
        Some(route)
    }

    fn checked(
        &mut self,
        ConnId(key): ConnId,
        connection: X,
        is_idle: bool,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        let Some(Conn {
            stage: Stage::Idle(slot @ None),
            route,
            ..
        }) = self.conns.get_mut(key)
        else {
            // It was closed in the meantime.
            effects.push(close_stray(connection));
            return None;
        };
        let route = *route;
        *slot = Some(connection);
        if !is_idle {
            self.close_idle_conn(key, CloseReason::PeerClosed, effects);
        }
        Some(route)
    }

    fn expire(&mut self, now: Instant, effects: &mut Effects<X, S>) {
        while let Some((end, key)) = self.conns.first_idle_end()
            && end <= now
        {
            let route = self.close_idle_conn(key, CloseReason::IdleTimeout, effects);
            self.update_route(route, now, effects);
        }
        while let Some((end, key)) = self.conns.first_lifetime_end()
            && end <= now
        {
            self.conns.forget_age(key);
            let route = self.conns[key].route;
            match self.conns[key].stage {
                Stage::Idle(_) => {
                    self.close_idle_conn(key, CloseReason::MaxLifetime, effects);
                }
                Stage::Shared { .. } => self.retire(key, CloseReason::MaxLifetime, effects),
                // One that is lent is looked at when it comes back.
                Stage::Lent | Stage::Connecting { .. } => {}
            }
            self.update_route(route, now, effects);
        }
        self.expire_reservations(now, effects);
        for route in self.routes.held_back().collect::<Vec<_>>() {
            self.update_route(route, now, effects);
        }
        self.routes.shrink();
        self.waiters.shrink();
        self.conns.shrink();
    }

    fn close(&mut self, now: Instant, effects: &mut Effects<X, S>) {
        self.closed = true;
        self.end_reservations(effects);
        while let Some(key) = self.conns.longest_idle() {
            let route = self.close_idle_conn(key, CloseReason::PoolClosed, effects);
            self.update_route(route, now, effects);
        }
        for waiter in self.waiters.in_order() {
            let route = self.waiters[waiter].route;
            self.reject(waiter, Rejection::PoolClosed, effects);
            self.update_route(route, now, effects);
        }
        // No request waits any more, and so no attempt is claimed.
        while let Some(key) = self.conns.first_unclaimed() {
            self.abandon_connect(key, now, effects);
        }
        let is_shared = |conn: &Conn<X, S>| matches!(conn.stage, Stage::Shared { .. });
        let shared: Vec<Key> = self
            .conns
            .iter()
            .filter(|(_, conn)| is_shared(conn))
            .map(|(key, _)| key)
            .collect();
        for key in shared {
            let route = self.conns[key].route;
            self.retire(key, CloseReason::PoolClosed, effects);
            self.update_route(route, now, effects);
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Removes a waiter that was rejected. Like [`Input::Cancel`], which concerns others
    /// as well.
    pub fn acknowledge(&mut self, WaiterId(key): WaiterId) {
        if let Some(Waiter {
            stage: WaiterStage::Rejected,
            ..
        }) = self.waiters.get(key)
        {
            self.waiters.remove(key);
        }
    }

    /// Returns the number of slots that tables by the index of a waiter need.
    pub fn waiter_slots(&self) -> usize {
        self.waiters.capacity()
    }

    /// Returns the number of slots that tables by the index of a connection need.
    pub fn conn_slots(&self) -> usize {
        self.conns.capacity()
    }

    /// Takes an idle exclusive connection out, to ask it, without the lock, whether it is still open
    /// and idle. Nothing else uses it until [`Input::Checked`] brings it back; it may be closed in the
    /// meantime.
    pub fn take_to_check(&mut self, ConnId(key): ConnId) -> Option<X> {
        match &mut self.conns.get_mut(key)?.stage {
            Stage::Idle(connection) => connection.take(),
            Stage::Connecting { .. } | Stage::Lent | Stage::Shared { .. } => None,
        }
    }

    /// Returns what has begun that expires, since this was last called.
    #[inline]
    pub fn timer_change(&mut self) -> TimerChange {
        std::mem::take(&mut self.timers)
    }

    /// Returns the same as [`timer_change`](Self::timer_change), and keeps it.
    #[inline]
    pub fn pending_timer_change(&self) -> TimerChange {
        self.timers
    }

    /// Returns whether any connection is open.
    #[inline]
    pub fn has_open_connections(&self) -> bool {
        self.conns.opened() > 0
    }

    /// Returns whether a request may be sent a second time, by the budget for that, and counts it. One
    /// that is free needs no budget.
    pub fn take_retry(&mut self, is_free: bool, now: Instant) -> bool {
        let may = is_free || self.retry_bucket.take(self.counters.requests, now);
        if may {
            self.counters.retried += 1;
        } else {
            self.counters.retries_refused += 1;
        }
        may
    }

    /// Counts an attempt to connect that failed and is made once more in the same slot.
    pub fn count_connect_retry(&mut self) {
        self.counters.dials_retried += 1;
    }

    /// Returns the position of a request in the order of arrivals.
    pub fn arrival(&self, WaiterId(key): WaiterId) -> Option<Arrival> {
        let sequence = self.waiters.get(key)?.sequence;
        NonZeroU64::new(sequence).map(Arrival)
    }

    /// Returns whether a connection is being made which `waiter` waits for: its own, or the one that
    /// shows which protocol is spoken along its route.
    pub fn is_connecting(&self, WaiterId(key): WaiterId) -> bool {
        match self.waiters.get(key) {
            Some(Waiter {
                stage: WaiterStage::Waiting { connect },
                route,
                ..
            }) => connect.is_some() || self.routes[*route].is_probing(),
            _ => false,
        }
    }

    /// Returns whether an attempt to connect that `waiter` waits for began for that waiter.
    pub fn has_own_connect(&self, WaiterId(key): WaiterId) -> bool {
        let Some(Waiter {
            stage: WaiterStage::Waiting {
                connect: Some(conn),
            },
            ..
        }) = self.waiters.get(key)
        else {
            return false;
        };
        matches!(self.conns[*conn].stage, Stage::Connecting { own: true, .. })
    }

    /// Returns the attempt to connect that `waiter` waits for: its own, one that it has taken over, or
    /// the one that shows which protocol is spoken along its route.
    pub fn awaited_connect(&self, WaiterId(key): WaiterId) -> Option<ConnId> {
        let waiter = self.waiters.get(key)?;
        let WaiterStage::Waiting { connect } = waiter.stage else {
            return None;
        };
        let probe = || {
            let is_probe = |conn: &Conn<X, S>| {
                conn.route == waiter.route && matches!(conn.stage, Stage::Connecting { .. })
            };
            let mut conns = self.conns.iter();
            conns.find_map(|(key, conn)| is_probe(conn).then_some(key))
        };
        connect.or_else(probe).map(ConnId)
    }

    /// Returns whether an attempt to connect is still wanted: it has neither been
    /// [abandoned](Effect::AbandonConnect) nor reported.
    pub fn is_wanted(&self, ConnId(key): ConnId) -> bool {
        let conn = self.conns.get(key);
        conn.is_some_and(|conn| matches!(conn.stage, Stage::Connecting { .. }))
    }

    /// Returns whether a waiter waits for this attempt to connect.
    pub fn is_claimed(&self, ConnId(key): ConnId) -> bool {
        let conn = self.conns.get(key);
        conn.is_some_and(|conn| {
            matches!(
                conn.stage,
                Stage::Connecting {
                    waiter: Some(_),
                    ..
                }
            )
        })
    }

    /// Returns whether this is an exclusive connection which is idle.
    pub fn is_idle(&self, ConnId(key): ConnId) -> bool {
        let conn = self.conns.get(key);
        conn.is_some_and(|conn| matches!(conn.stage, Stage::Idle(_)))
    }

    /// Fills in what is known of a connection that was granted just now, if it is still there.
    pub fn pooled_info(
        &self,
        ConnId(key): ConnId,
        mut info: PooledInfo,
        now: Instant,
    ) -> Option<PooledInfo> {
        let conn = self.conns.get(key)?;
        info.id = conn.created_sequence;
        info.requests_before = conn.served.saturating_sub(1);
        info.age = now.saturating_duration_since(conn.created);
        let was_unused = match conn.stage {
            Stage::Shared { exchanges, .. } => exchanges <= 1,
            Stage::Connecting { .. } | Stage::Idle(_) | Stage::Lent => true,
        };
        if was_unused && info.requests_before > 0 {
            info.idle_for = now.saturating_duration_since(conn.idle_since);
        }
        Some(info)
    }

    /// Returns the handle of a shared connection.
    pub fn shared(&self, ConnId(key): ConnId) -> Option<&S> {
        match &self.conns.get(key)?.stage {
            Stage::Shared { handle, .. } => Some(handle),
            Stage::Connecting { .. } | Stage::Idle(_) | Stage::Lent => None,
        }
    }

    /// Returns when [`Input::Tick`] will next have something to do, if ever.
    pub fn next_tick(&self) -> Option<Instant> {
        let idle = self.conns.first_idle_end().map(|(end, _)| end);
        let oldest = self.conns.first_lifetime_end().map(|(end, _)| end);
        let connects = earlier(self.next_preemption(), self.next_stale());
        let reserved = earlier(self.reservations.first_end(), self.next_delayed());
        earlier(earlier(idle, oldest), earlier(connects, reserved))
    }

    /// Returns whether anything is there that may end by itself, now or as soon as it is idle: a
    /// connection, or an attempt to connect that others wait behind.
    ///
    /// Connections in use count, since as a rule they are idle again in a moment: the maintenance
    /// task should not start and end with each request.
    #[inline]
    pub fn needs_maintenance(&self) -> bool {
        self.conns.opened() > 0
            || !self.reservations.is_empty()
            || self.next_preemption().is_some()
            || self.next_stale().is_some()
            || self.next_delayed().is_some()
    }

    /// Returns how many requests wait or hold a connection. Takes time in proportion to their number.
    pub fn unfinished(&self) -> usize {
        let counts = self.counts();
        counts.waiting + counts.holding
    }

    /// Returns whether no request waits, and there is no connection and no attempt to make one.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiters.queued() == 0 && self.conns.len() == 0
    }

    /// Returns whether new requests are refused, after [`Input::Close`] or [`Input::Drain`].
    pub fn is_closed(&self) -> bool {
        self.closed || self.draining
    }

    /// Returns what has been counted since the beginning.
    pub fn stats(&self) -> &PoolStats {
        &self.counters
    }

    /// Returns the number of waiters and connections, by stage. Takes time in proportion to it.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            waiting: self.waiters.queued(),
            holding: self.routes.iter().map(|(_, route)| route.active).sum(),
            conns: self.conns.len(),
            connecting: self.conns.connecting(),
            ..Counts::default()
        };
        for (_, conn) in self.conns.iter() {
            match &conn.stage {
                Stage::Connecting { .. } => {}
                Stage::Idle(_) => counts.idle += 1,
                Stage::Lent => counts.lent += 1,
                Stage::Shared { exchanges, .. } => {
                    counts.shared += 1;
                    counts.shared_idle += usize::from(*exchanges == 0);
                }
            }
        }
        counts
    }

    /// Returns every connection, in no particular order.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionSnapshot<'_>> {
        self.conns.iter().map(|(key, conn)| ConnectionSnapshot {
            conn: ConnId(key),
            route: &self.routes[conn.route].route,
            activity: match &conn.stage {
                Stage::Connecting { .. } => Activity::Connecting,
                Stage::Idle(_) => Activity::Idle(conn.idle_since),
                Stage::Lent => Activity::Active,
                Stage::Shared {
                    exchanges,
                    limit,
                    retired,
                    ..
                } => Activity::Shared {
                    exchanges: *exchanges,
                    limit: *limit,
                    retired: retired.is_some(),
                    idle_since: (*exchanges == 0).then_some(conn.idle_since),
                },
            },
            served: conn.served,
            created: conn.created,
        })
    }
}

/// Gets rid of an exclusive connection that belongs to no slot.
fn close_stray<X, S>(connection: X) -> Effect<X, S> {
    Effect::Close {
        connection: Connection::Exclusive(connection),
        reason: CloseReason::Redundant,
    }
}

#[cfg(test)]
mod tests;
