//! Granting connections to waiters, and what becomes of a connection between two exchanges.
//!
//! Nothing here updates a route's place in the connect queue: [`State::update_route`] does, once the
//! input has been dealt with.

use super::*;

impl<X, S: Clone> State<X, S> {
    /// Grants connections of a route to its waiters, and updates the route.
    #[inline]
    pub(super) fn assign(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let Some(route) = self.routes.get(key) else {
            return;
        };
        if route.has_waiters() {
            self.serve_waiters(key, now, effects);
        }
        self.update_route(key, now, effects);
    }

    fn serve_waiters(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        loop {
            let route = &self.routes[key];
            let is_bare = route.available.is_empty() && route.idle.is_empty();
            if is_bare || !self.admits_request(route) {
                return;
            }
            let [first, second] = self.waiters.heads(route);
            let served = first.is_some_and(|waiter| self.serve(key, waiter, now, effects))
                || second.is_some_and(|waiter| self.serve(key, waiter, now, effects));
            if !served {
                return;
            }
        }
    }

    /// Grants an available connection to a waiter at the head of a queue.
    fn serve(
        &mut self,
        route: Key,
        waiter: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> bool {
        let Waiter {
            new_connection,
            sequence,
            ..
        } = self.waiters[waiter];
        if !new_connection {
            return self.grant_available(route, waiter, now, effects);
        }
        // A shared connection which was made after this request arrived is new to it.
        let conn = self.next_available(route, Some(sequence), now, effects);
        conn.is_some_and(|conn| {
            self.grant_to_waiter(waiter, conn, now, effects);
            true
        })
    }

    /// Grants an available connection to a waiter, if there is one.
    fn grant_available(
        &mut self,
        route: Key,
        waiter: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> bool {
        let conn = self.find_available(route, now, effects);
        conn.is_some_and(|conn| {
            self.grant_to_waiter(waiter, conn, now, effects);
            true
        })
    }

    /// A shared connection that admits another exchange, or an idle one. Closes those found to have
    /// expired.
    #[inline(always)]
    pub(super) fn find_available(
        &mut self,
        route: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        let state = &self.routes[route];
        if !state.available.is_empty()
            && let Some(conn) = self.next_available(route, None, now, effects)
        {
            return Some(conn);
        }
        let key = self.routes[route].idle.front()?;
        let conn = &self.conns[key];
        if matches!(conn.stage, Stage::Idle(Some(_))) && self.expired(conn, now).is_none() {
            return Some(key);
        }
        self.find_idle(route, now, effects)
    }

    /// The idle connection most recently used. Those that the maintenance task asks at this moment
    /// are passed by, and those that have expired are closed.
    fn find_idle(&mut self, route: Key, now: Instant, effects: &mut Effects<X, S>) -> Option<Key> {
        let mut next = self.routes[route].idle.front();
        while let Some(key) = next {
            next = self.conns.next_in::<InRoute>(key);
            let conn = &self.conns[key];
            if matches!(conn.stage, Stage::Idle(None)) {
                continue;
            }
            let Some(reason) = self.expired(conn, now) else {
                return Some(key);
            };
            self.close_idle_conn(key, reason, effects);
        }
        None
    }

    /// The connection with the fewest exchanges, of a list of shared ones. There are few of them.
    fn least_used(&self, available: &List<InRoute>) -> Option<Key> {
        let exchanges = |key: &Key| match self.conns[*key].stage {
            Stage::Shared { exchanges, .. } => exchanges,
            Stage::Connecting { .. } | Stage::Idle(_) | Stage::Lent => 0,
        };
        self.conns.in_list(available).min_by_key(exchanges)
    }

    /// The shared connection of a route that takes the next exchange; for a waiter that needs a new
    /// connection, one created later than `created_after`.
    fn next_available(
        &mut self,
        route: Key,
        created_after: Option<u64>,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        loop {
            let available = &self.routes[route].available;
            let key = match created_after {
                None if self.limits.spreads => self.least_used(available)?,
                None => available.front()?,
                Some(sequence) => self
                    .conns
                    .in_list(available)
                    .find(|&key| self.conns[key].created_sequence > sequence)?,
            };
            let conn = &self.conns[key];
            // Between two runs of the maintenance task, nothing else notices that its time is over.
            if let Stage::Shared { exchanges: 0, .. } = conn.stage
                && let Some(reason) = self.expired(conn, now)
            {
                self.retire(key, reason, effects);
                continue;
            }
            if self.yielding.is_none() && self.must_yield(route) {
                self.yielding = Some(key);
                self.retire(key, CloseReason::SlotNeeded, effects);
                continue;
            }
            return Some(key);
        }
    }

    /// Decides what becomes of an exclusive connection that has just come: from an attempt to connect,
    /// or from an exchange. Returns its route, if that has something to be done.
    #[inline]
    pub(super) fn settle(
        &mut self,
        key: Key,
        connection: X,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        let conn = &self.conns[key];
        let (route_key, is_new) = (conn.route, conn.served == 0);
        let idle_until = self.limits.idle_end(conn.idle_class, conn.idle_since);
        let mut reason = self.reason_to_close(conn, now);
        let route = &self.routes[route_key];
        let has_waiters = route.has_waiters();
        let waiter = if has_waiters && self.admits_request(route) {
            let heads = self.waiters.heads(route).into_iter().flatten();
            let mut suited = heads.filter(|&key| is_new || !self.waiters[key].new_connection);
            suited.next()
        } else {
            None
        };
        if waiter.is_none() {
            reason = reason.or_else(|| self.limits.reason_not_to_idle(idle_until, now));
        } else if is_new && reason == Some(CloseReason::MaxLifetime) {
            // However short its lifetime, a connection serves one exchange.
            reason = None;
        } else if reason.is_none() && !is_new && self.must_yield(route_key) {
            reason = Some(CloseReason::SlotNeeded);
        }
        if let Some(reason) = reason {
            self.counters.close(reason);
            self.conns.remove(&mut self.routes[route_key], key);
            effects.push(Effect::Close {
                connection: Connection::Exclusive(connection),
                reason,
            });
            return Some(route_key);
        }
        if let Some(waiter) = waiter {
            self.accept(waiter, key, now);
            let connection = Connection::Exclusive(connection);
            self.lend(waiter, key, connection, effects);
            return Some(route_key);
        }
        let route = &mut self.routes[route_key];
        let end = self.conns.make_idle(route, key, connection, idle_until);
        self.timers.note(end);
        if route.idle.len() > self.limits.idle_per_route
            && let Some(oldest) = route.idle.back()
        {
            self.close_idle_conn(oldest, CloseReason::IdleLimit, effects);
        }
        // With no waiters, and a connection more, there is nothing to be updated.
        has_waiters.then_some(route_key)
    }

    /// Grants a connection that is idle, or shared and available, to a waiter in a queue.
    fn grant_to_waiter(
        &mut self,
        waiter: Key,
        conn: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) {
        self.accept(waiter, conn, now);
        self.lend_available(waiter, conn, now, effects);
    }

    /// A waiter leaves its queue, and holds a connection.
    fn accept(&mut self, waiter: Key, conn: Key, now: Instant) {
        self.leave(waiter, false);
        let state = &mut self.waiters[waiter];
        state.stage = WaiterStage::Holding { conn };
        let until = state.connect_began.unwrap_or(now);
        if state.arrived < until {
            self.counters.queue_time += until.duration_since(state.arrived);
        }
        if state.is_reservation {
            self.reservation_ready(waiter, now);
        }
    }

    /// Lends a connection that is idle, or shared and available, to a waiter that holds it.
    #[inline(always)]
    pub(super) fn lend_available(
        &mut self,
        waiter: Key,
        key: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) {
        let conn = &self.conns[key];
        match conn.stage {
            Stage::Idle(_) => {
                let route = &mut self.routes[conn.route];
                if let (Some(connection), served) = self.conns.take_idle(route, key) {
                    route.active += 1;
                    let connection = Connection::Exclusive(connection);
                    self.lent(waiter, key, connection, served > 0, effects);
                }
            }
            _ => self.lend_shared(waiter, key, now, effects),
        }
    }

    #[inline]
    fn lend(
        &mut self,
        waiter: Key,
        key: Key,
        connection: Connection<X, S>,
        effects: &mut Effects<X, S>,
    ) {
        let conn = &mut self.conns[key];
        let reused = conn.served > 0;
        conn.served += 1;
        self.routes[conn.route].active += 1;
        self.lent(waiter, key, connection, reused, effects);
    }

    #[inline]
    fn lent(
        &mut self,
        waiter: Key,
        key: Key,
        connection: Connection<X, S>,
        reused: bool,
        effects: &mut Effects<X, S>,
    ) {
        self.counters.granted += 1;
        self.counters.reused += u64::from(reused);
        effects.push(Effect::Grant {
            waiter: WaiterId(waiter),
            connection,
            conn: ConnId(key),
            reused,
        });
    }

    fn lend_shared(&mut self, waiter: Key, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let conn = &mut self.conns[key];
        let served = conn.served + 1;
        let (route, expires) = (conn.route, conn.expires);
        let Stage::Shared {
            handle,
            exchanges,
            limit,
            ..
        } = &mut conn.stage
        else {
            unreachable!("only shared connections are available")
        };
        let handle = handle.clone();
        *exchanges += 1;
        let (first, full) = (*exchanges == 1, *exchanges >= *limit);
        if first {
            self.conns.take_idle_shared(key);
        }
        if full {
            self.conns
                .set_available(&mut self.routes[route], key, false);
        }
        let close_after = self.waiters[waiter].close_after;
        self.lend(waiter, key, Connection::Shared(handle), effects);
        if served >= self.limits.max_requests {
            self.retire(key, CloseReason::MaxRequests, effects);
        } else if close_after {
            let reason = CloseReason::CallerSaidClose;
            self.retire(key, reason, effects);
        } else if expires.is_some_and(|end| end <= now) {
            self.retire(key, CloseReason::MaxLifetime, effects);
        }
    }

    /// Returns whether a connection which comes back to `route` must be closed for another route: the
    /// pool is full, another route waits for a slot, and has been passed over often enough.
    fn must_yield(&mut self, route: Key) -> bool {
        let Some(next) = self.routes.next_to_connect() else {
            self.passed_over = 0;
            return false;
        };
        if next == route && self.routes.waiting_to_connect() == 1 {
            self.passed_over = 0;
            return false;
        }
        // With as many attempts as may go on, the slot would not be used.
        if self.conns.len() < self.limits.conns || !self.may_begin_connect() {
            return false;
        }
        self.passed_over += 1;
        if self.passed_over <= MAX_REUSES_BEFORE_YIELD {
            return false;
        }
        self.passed_over = 0;
        if next == route {
            self.routes.move_to_back(route);
        }
        true
    }

    /// A new connection is shared.
    pub(super) fn open_shared(&mut self, key: Key, handle: S, effects: &mut Effects<X, S>) {
        let route_key = self.conns[key].route;
        let route = &mut self.routes[route_key];
        let limit = match route.protocol {
            KnownProtocol::Http2 { limit } => limit,
            KnownProtocol::Unknown | KnownProtocol::ProbeFailed | KnownProtocol::Http1 => 1,
        };
        route.protocol = KnownProtocol::Http2 { limit };
        // Another connection has room, and no request waits: one is enough.
        let is_extra = self.conns[key].is_extra;
        let superfluous = !is_extra && !route.available.is_empty() && !route.has_waiters();
        self.conns.make_shared(route, key, handle, limit);
        // Where the last one admitted nothing, this one has to say that it does.
        self.conns.set_available(route, key, limit > 0);
        let conn = &mut self.conns[key];
        conn.idle_until = self.limits.idle_end(conn.idle_class, conn.idle_since);
        self.timers.note(conn.idle_end());
        self.conns.make_idle_shared(key);
        if superfluous {
            self.retire(key, CloseReason::Redundant, effects);
        } else if self.closed {
            self.retire(key, CloseReason::PoolClosed, effects);
        }
    }

    pub(super) fn set_stream_limit(
        &mut self,
        key: Key,
        new: StreamLimit,
        effects: &mut Effects<X, S>,
    ) {
        let StreamLimit::Max(new) = new else {
            return self.retire(key, CloseReason::StreamsClosed, effects);
        };
        let Some(Conn {
            stage:
                Stage::Shared {
                    exchanges,
                    limit,
                    has_settings,
                    retired: None,
                    ..
                },
            route,
            ..
        }) = self.conns.get_mut(key)
        else {
            return;
        };
        *limit = new;
        let (has_room, is_first) = (*exchanges < new, !std::mem::replace(has_settings, true));
        let route = &mut self.routes[*route];
        route.awaiting_settings -= usize::from(is_first);
        route.protocol = KnownProtocol::Http2 { limit: new };
        self.conns.set_available(route, key, has_room);
    }

    /// A shared connection carries one exchange less.
    pub(super) fn end_exchange(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let conn = &mut self.conns[key];
        let route = conn.route;
        let Stage::Shared {
            exchanges,
            limit,
            retired,
            ..
        } = &mut conn.stage
        else {
            return;
        };
        *exchanges -= 1;
        let (unused, has_room) = (*exchanges == 0, *exchanges < *limit);
        if retired.is_some() {
            if unused {
                self.close_shared(key, effects);
            }
            return;
        }
        if unused {
            conn.idle_since = now;
            conn.idle_until = self.limits.idle_end(conn.idle_class, now);
            self.timers.note(conn.idle_end());
            self.conns.make_idle_shared(key);
        }
        if has_room {
            self.conns.set_available(&mut self.routes[route], key, true);
        }
        if unused {
            self.close_if_idle_limit_is_zero(key, now, effects);
        }
    }

    /// A shared connection without exchanges that may not be idle at all is closed. Returns whether it
    /// was.
    pub(super) fn close_if_idle_limit_is_zero(
        &mut self,
        key: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> bool {
        let Some(conn) = self.conns.get(key) else {
            return false;
        };
        if let Stage::Shared { exchanges: 0, .. } = conn.stage
            && let Some(reason) = self.limits.reason_not_to_idle(conn.idle_until, now)
        {
            self.retire(key, reason, effects);
            return true;
        }
        false
    }

    /// A shared connection takes no more exchanges, and is closed after the last of those it has.
    pub(super) fn retire(&mut self, key: Key, reason: CloseReason, effects: &mut Effects<X, S>) {
        let Some(Conn {
            stage:
                Stage::Shared {
                    exchanges,
                    has_settings,
                    retired: retired @ None,
                    ..
                },
            route,
            served,
            made_for,
            ..
        }) = self.conns.get_mut(key)
        else {
            return;
        };
        *retired = Some(reason);
        let (unused, never_used, made_for) = (*exchanges == 0, *served == 0, made_for.take());
        let route = &mut self.routes[*route];
        route.shared -= 1;
        route.awaiting_settings -= usize::from(!*has_settings);
        self.conns.set_available(route, key, false);
        if unused {
            self.conns.take_idle_shared(key);
            self.close_shared(key, effects);
        }
        if never_used && let Some(waiter) = made_for {
            self.count_fruitless(waiter, effects);
        }
    }

    fn close_shared(&mut self, key: Key, effects: &mut Effects<X, S>) {
        let route = self.conns[key].route;
        if self.yielding == Some(key) {
            self.yielding = None;
        }
        if let Some(Stage::Shared {
            handle,
            retired: Some(reason),
            ..
        }) = self.conns.remove(&mut self.routes[route], key)
        {
            self.counters.close(reason);
            effects.push(Effect::Close {
                connection: Connection::Shared(handle),
                reason,
            });
        }
    }

    /// Closes a connection without exchanges, of either kind. Returns its route.
    pub(super) fn close_idle_conn(
        &mut self,
        key: Key,
        reason: CloseReason,
        effects: &mut Effects<X, S>,
    ) -> Key {
        let conn = &self.conns[key];
        let route = conn.route;
        match conn.stage {
            Stage::Idle(_) => {
                let state = &mut self.routes[route];
                let (connection, _) = self.conns.take_idle(state, key);
                self.conns.remove(state, key);
                self.counters.close(reason);
                // Otherwise the maintenance task has it, and drops it.
                if let Some(connection) = connection {
                    effects.push(Effect::Close {
                        connection: Connection::Exclusive(connection),
                        reason,
                    });
                }
            }
            Stage::Shared { .. } => self.retire(key, reason, effects),
            Stage::Connecting { .. } | Stage::Lent => {
                unreachable!("only idle connections are closed so")
            }
        }
        route
    }

    /// Returns whether another request of the route may have a connection.
    #[inline]
    pub(super) fn admits_request(&self, route: &RouteState) -> bool {
        route.active < self.limits.requests_per_route
    }

    /// Returns why an idle connection must not be granted, as far as the machine knows.
    #[inline]
    fn expired(&self, conn: &Conn<X, S>, now: Instant) -> Option<CloseReason> {
        // One that has just been made is not idle yet, however short it may be.
        let is_over = |end: Instant| end < now || end == now && conn.served > 0;
        if !self.closed && conn.idle_until.is_some_and(is_over) {
            return Some(CloseReason::IdleTimeout);
        }
        match self.reason_to_close(conn, now) {
            Some(CloseReason::MaxLifetime) if !conn.expires.is_some_and(is_over) => None,
            reason => reason,
        }
    }

    /// Returns why a connection serves no more exchanges, however fit it is.
    #[inline]
    fn reason_to_close(&self, conn: &Conn<X, S>, now: Instant) -> Option<CloseReason> {
        if self.closed {
            Some(CloseReason::PoolClosed)
        } else if conn.served >= self.limits.max_requests {
            Some(CloseReason::MaxRequests)
        } else if conn.close_reason.is_some() {
            conn.close_reason
        } else if conn.expires.is_some_and(|end| end <= now) {
            Some(CloseReason::MaxLifetime)
        } else {
            None
        }
    }
}

impl Limits {
    /// Returns why a connection that no request waits for, and that may be idle until `idle_until`, is
    /// not kept.
    #[inline]
    fn reason_not_to_idle(&self, idle_until: Option<Instant>, now: Instant) -> Option<CloseReason> {
        if self.idle == 0 || self.idle_per_route == 0 {
            Some(CloseReason::IdleLimit)
        } else if idle_until.is_some_and(|end| end <= now) {
            Some(CloseReason::IdleTimeout)
        } else {
            None
        }
    }

    /// When a connection of such a class, idle since `since`, has been idle for too long.
    #[inline]
    pub(super) fn idle_end(&self, class: IdleClass, since: Instant) -> Option<Instant> {
        since.checked_add(class.length(self.idle_timeout)?)
    }
}
