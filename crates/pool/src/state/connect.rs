//! Attempts to connect: for which waiter one begins, which waits for it, and how slots are given to
//! routes, round-robin.

use super::*;

impl<X, S: Clone> State<X, S> {
    /// An attempt to connect has ended. A shared connection is taken to admit as many exchanges as the
    /// last one along its route did, or one, until the peer says how many.
    pub(super) fn connected(
        &mut self,
        conn: ConnId,
        result: Result<Connection<X, S>, Error>,
        limit: Option<StreamLimit>,
        copy: Option<Arc<Error>>,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Option<Key> {
        if !self.is_wanted(conn) {
            effects.push(match result {
                Ok(connection) => Effect::Close {
                    connection,
                    reason: CloseReason::Redundant,
                },
                Err(error) => Effect::DropError(error),
            });
            return None;
        }
        let key = conn.0;
        let route_key = self.conns[key].route;
        let was_probing = self.routes[route_key].is_probing();
        let former = self.finish_connect(key);
        match result {
            Ok(connection) => {
                self.counters.opened += 1;
                let route = &mut self.routes[route_key];
                (route.failures, route.probe_at) = (0, None);
                let sequence = self.next_sequence();
                let max_lifetime = self.limits.max_lifetime;
                self.conns.open(key, sequence, max_lifetime, now);
                match connection {
                    Connection::Exclusive(connection) => {
                        self.routes[route_key].learn(KnownProtocol::Http1);
                        self.settle(key, connection, now, effects);
                    }
                    Connection::Shared(handle) => {
                        if let Some((waiter, _)) = former {
                            self.conns[key].made_for = Some(waiter);
                            self.waiters[waiter].made_for_it = Some(key);
                            let route = &mut self.routes[route_key];
                            self.waiters.move_back(route, waiter);
                        }
                        self.open_shared(key, handle, effects);
                        if let Some(limit) = limit {
                            self.set_stream_limit(key, limit, effects);
                        }
                    }
                }
            }
            Err(error) => {
                self.counters.dials_failed += 1;
                self.count_failure(route_key, &error, now);
                let route = &mut self.routes[route_key];
                self.conns.remove(route, key);
                if route.protocol == KnownProtocol::Unknown && route.connects == 0 {
                    route.learn(KnownProtocol::ProbeFailed);
                }
                match former {
                    Some((waiter, true)) => {
                        self.reject(waiter, Rejection::Connect(error), effects);
                    }
                    // The request that caused the attempt has left. The one that waited for it
                    // instead does not receive its error, and has an attempt of its own.
                    Some((_, false)) | None => effects.push(Effect::DropError(error)),
                }
                if let Some(copy) = copy {
                    self.reject_all(route_key, &copy, effects);
                }
            }
        }
        self.assign(route_key, now, effects);
        let was_closed = self.close_if_idle_limit_is_zero(key, now, effects);
        match self.routes.get(route_key) {
            Some(route) if was_probing && !route.is_probing() => {
                self.tell_connect_lost(route_key, effects);
            }
            Some(_) => {
                if let Some((waiter, _)) = former
                    && self.waiters.is_without_connect(waiter)
                {
                    effects.push(Effect::ConnectLost {
                        waiter: WaiterId(waiter),
                    });
                }
            }
            None => {}
        }
        was_closed.then_some(route_key)
    }

    /// An attempt failed: the next one along its route begins later, and alone.
    fn count_failure(&mut self, key: Key, error: &Error, now: Instant) {
        let Some(first) = self.limits.connect_backoff else {
            return;
        };
        if error.kind() == ErrorKind::RuntimeShutdown {
            return;
        }
        let route = &mut self.routes[key];
        let doublings = route.failures.min(16);
        let pause = first.saturating_mul(1 << doublings).min(MAX_BACKOFF);
        route.failures = route.failures.saturating_add(1);
        route.probe_at = now.checked_add(pause);
    }

    /// Rejects the waiters of a route that wait for no attempt, since an attempt failed. While connections
    /// are in use, one of those may still serve them.
    fn reject_all(&mut self, key: Key, error: &Arc<Error>, effects: &mut Effects<X, S>) {
        let route = &self.routes[key];
        if route.failures == 0 || route.connects > 0 || route.active > 0 {
            return;
        }
        while let Some(waiter) = self.routes[key].without_connect.front() {
            self.reject(waiter, Rejection::OtherConnect(error.clone()), effects);
        }
    }

    /// All waiters of a route that waited for one attempt wait for a slot.
    fn tell_connect_lost(&self, route: Key, effects: &mut Effects<X, S>) {
        for waiter in self.waiters.list(&self.routes[route].without_connect) {
            effects.push(Effect::ConnectLost {
                waiter: WaiterId(waiter),
            });
        }
    }

    /// A waiter leaves the queue. The attempt it waited for goes on for another.
    pub(super) fn leave(&mut self, waiter: Key, timed_out: bool) {
        let route = &mut self.routes[self.waiters[waiter].route];
        let Some(conn) = self.waiters.leave(route, waiter) else {
            return;
        };
        if timed_out && self.limits.connect_patience.is_some() {
            self.conns.set_stale(route, conn);
        }
        self.conns.unclaim(route, conn);
    }

    pub(super) fn reject(&mut self, waiter: Key, why: Rejection, effects: &mut Effects<X, S>) {
        self.leave(waiter, false);
        self.waiters[waiter].stage = WaiterStage::Rejected;
        self.counters.refused += 1;
        effects.push(Effect::Reject {
            waiter: WaiterId(waiter),
            why,
        });
    }

    /// A connection that was made for a waiter ended before it served anything. After a few of them
    /// the waiter is rejected: a peer that accepts connections and closes them at once would
    /// otherwise be connected to without end.
    pub(super) fn count_fruitless(&mut self, waiter: Key, effects: &mut Effects<X, S>) {
        let Some(state) = self.waiters.get(waiter) else {
            return;
        };
        if !state.in_queue.is_linked() {
            return;
        }
        let state = &mut self.waiters[waiter];
        state.fruitless += 1;
        if state.fruitless >= MAX_FRUITLESS_CONNECTS {
            let error = Error::new(
                ErrorKind::ConnectionClosed,
                ErrorPhase::Connect,
                RequestSent::None,
            )
            .with_message("each new connection ended before the server admitted a request on it");
            self.reject(waiter, Rejection::Connect(error), effects);
        }
    }

    /// Updates what a route waits for, once its waiters have been served: attempts that lost their
    /// waiter go to waiters without one, the route joins or leaves the connect queue, and an empty
    /// route is removed.
    #[inline]
    pub(super) fn update_route(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let Some(route) = self.routes.get(key) else {
            return;
        };
        let is_settled = route.without_connect.is_empty()
            && !route.in_connect_queue.is_linked()
            && !route.in_held_back.is_linked();
        if is_settled && route.conns > 0 {
            return;
        }
        self.update_waiting_route(key, now, effects);
    }

    fn update_waiting_route(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let next_extra = &mut self.routes[key].next_extra;
        if next_extra.is_some_and(|at| at <= now) {
            *next_extra = None;
        }
        loop {
            let route = &mut self.routes[key];
            let Some(waiter) = route.without_connect.front() else {
                break;
            };
            if route.active + route.claimed() >= self.limits.requests_per_route {
                break;
            }
            let Some(conn) = self.conns.take_unclaimed(route) else {
                break;
            };
            self.claim(conn, waiter, false, now, effects);
        }
        self.set_delay(key, now);
        let mut could = self.could_connect(key);
        if !could && self.retire_for_new_connection_request(key, effects) {
            could = self.could_connect(key);
        }
        self.routes.set_in_connect_queue(key, could);
        let route = &self.routes[key];
        let delayed_until = route.delayed_until;
        let is_held = !could && !route.without_connect.is_empty() && route.connects > 0;
        let ends = is_held && self.limits.connect_patience.is_some();
        self.routes
            .set_held_back(key, ends || delayed_until.is_some());
        if is_held {
            self.note_stale();
        }
        if delayed_until.is_some() {
            self.timers.note(delayed_until);
        }
        if self.routes[key].is_empty() {
            self.routes.cache_empty(key);
        }
    }

    /// Sets until when the waiters of a route wait before an attempt begins.
    fn set_delay(&mut self, key: Key, now: Instant) {
        let delay = self.limits.connect_delay;
        if delay.is_zero() && self.limits.connect_backoff.is_none() {
            return;
        }
        let route = &self.routes[key];
        let first = route.without_connect.front().map(|key| &self.waiters[key]);
        let in_use = first
            .filter(|waiter| route.active > 0 && !waiter.new_connection && !delay.is_zero())
            .and_then(|waiter| waiter.arrived.checked_add(delay));
        let failed = first.and(route.probe_at);
        // The later of the two.
        let until = in_use.max(failed).filter(|until| *until > now);
        self.routes[key].delayed_until = until;
    }

    /// When the first route has waited long enough.
    pub(super) fn next_delayed(&self) -> Option<Instant> {
        if self.limits.connect_delay.is_zero() && self.limits.connect_backoff.is_none() {
            return None;
        }
        let held_back = self.routes.held_back();
        held_back
            .filter_map(|key| self.routes[key].delayed_until)
            .min()
    }

    /// Returns whether one attempt more may go on, by the limit of all.
    pub(super) fn may_begin_connect(&self) -> bool {
        self.conns.connecting() < self.limits.connecting
    }

    /// Returns whether one connection more, and one attempt more, may be on a route.
    fn has_room(&self, route: &RouteState) -> bool {
        route.conns < self.limits.conns_per_route
            && route.connects < self.limits.connecting_per_route
    }

    /// Begins attempts for no waiter, until a route has so many connections, within the limits. Returns the
    /// route.
    pub(super) fn preconnect(
        &mut self,
        route: &Route,
        connections: usize,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> Key {
        let key = self.routes.enter(route);
        while !self.is_closed()
            && self.routes[key].conns < connections
            && self.has_room(&self.routes[key])
            && self.conns.len() < self.limits.conns
            && self.may_begin_connect()
        {
            let conn = self.begin_attempt(key, now);
            let route = &mut self.routes[key];
            self.conns.leave_unclaimed(route, conn);
            if self.limits.connect_patience == Some(Duration::ZERO) {
                self.conns.set_stale(&mut self.routes[key], conn);
            }
            self.counters.dials += 1;
            effects.push(Effect::Connect {
                conn: ConnId(conn),
                route: self.routes[key].route.clone(),
                waiter: None,
            });
        }
        key
    }

    /// Returns whether a route could begin an attempt to connect if there were a slot.
    pub(super) fn could_connect(&self, key: Key) -> bool {
        let route = &self.routes[key];
        let Some(first) = route.without_connect.front() else {
            return false;
        };
        let waiter = &self.waiters[first];
        // A connection which was made for it, and has not admitted anything yet, may serve it.
        let has_connection = waiter.made_for_it.is_some_and(|conn| {
            self.conns.get(conn).is_some_and(|conn| {
                conn.served == 0 && matches!(conn.stage, Stage::Shared { retired: None, .. })
            })
        });
        let within_limit = self.has_room(route)
            || !route.stale.is_empty()
            || (waiter.new_connection
                && !route.idle.is_empty()
                && route.connects < self.limits.connecting_per_route);
        !has_connection
            && within_limit
            && route.delayed_until.is_none()
            && (route.failures == 0 || route.connects == 0)
            && route.active + route.claimed() < self.limits.requests_per_route
            && self.protocol_allows(route, waiter.new_connection)
            && Self::pace_allows(route)
    }

    /// Returns whether what is known of the protocol lets another attempt begin.
    fn protocol_allows(&self, route: &RouteState, new_connection: bool) -> bool {
        match route.protocol {
            KnownProtocol::Unknown => !route.is_probing(),
            // One that has just been made, and has yet to say how many exchanges it admits, may
            // serve all waiters.
            KnownProtocol::Http2 { .. } => {
                let has_need =
                    route.awaiting_settings == 0 && route.shared < self.limits.shared_per_route;
                route.young_connects() == 0 && (new_connection || has_need)
            }
            KnownProtocol::ProbeFailed | KnownProtocol::Http1 => true,
        }
    }

    /// Returns whether another attempt may begin beside those overdue: at most one for each
    /// patience.
    fn pace_allows(route: &RouteState) -> bool {
        let is_extra = match route.protocol {
            KnownProtocol::Unknown if !route.may_share => {
                route.without_connect.len() <= route.stale.len()
            }
            KnownProtocol::Unknown | KnownProtocol::Http2 { .. } => route.stale_connects > 0,
            KnownProtocol::ProbeFailed | KnownProtocol::Http1 => {
                route.without_connect.len() <= route.stale.len()
            }
        };
        !is_extra || route.next_extra.is_none()
    }

    /// For a waiter that needs a new connection, on a route whose slots are all taken by shared ones:
    /// retires the first of them that is available. Returns whether there was one.
    fn retire_for_new_connection_request(&mut self, key: Key, effects: &mut Effects<X, S>) -> bool {
        let route = &self.routes[key];
        if route.conns < self.limits.conns_per_route || route.shared < route.conns {
            return false;
        }
        if let Some(first) = route.without_connect.front()
            && self.waiters[first].new_connection
            && let Some(conn) = route.available.front()
        {
            self.retire(conn, CloseReason::SlotNeeded, effects);
            return true;
        }
        false
    }

    /// Gives slots to the routes that wait for one, and rejects the newest request if too many wait.
    #[inline]
    pub(super) fn rebalance(&mut self, now: Instant, effects: &mut Effects<X, S>) {
        let is_balanced = self.routes.next_to_connect().is_none()
            && self.newest.is_none()
            && self.conns.idle() <= self.limits.idle
            && !self.draining;
        if !is_balanced {
            self.rebalance_all(now, effects);
        }
    }

    #[inline(never)] // keeps the registers it needs out of the path with nothing to do
    fn rebalance_all(&mut self, now: Instant, effects: &mut Effects<X, S>) {
        while self.evict(effects, now) || self.connect_next(now, effects) {}
        if let Some(newest) = self.newest.take() {
            self.reject_newest(newest, now, effects);
        }
    }

    /// Ends one thing that may not stay, or whose slot is needed. Returns whether there was one.
    fn evict(&mut self, effects: &mut Effects<X, S>, now: Instant) -> bool {
        if self.conns.idle() > self.limits.idle
            && let Some(oldest) = self.conns.longest_idle()
        {
            self.evict_idle(oldest, CloseReason::IdleLimit, now, effects);
            true
        } else if self.draining && self.close_one_unneeded(now, effects) {
            true
        } else {
            self.make_room(now, effects)
        }
    }

    fn evict_idle(
        &mut self,
        key: Key,
        reason: CloseReason,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) {
        let route = self.close_idle_conn(key, reason, effects);
        self.update_route(route, now, effects);
    }

    /// In a pool that is drained, ends one thing that no request waits for.
    fn close_one_unneeded(&mut self, now: Instant, effects: &mut Effects<X, S>) -> bool {
        if let Some(key) = self.conns.longest_idle() {
            self.evict_idle(key, CloseReason::PoolClosed, now, effects);
        } else if let Some(key) = self.conns.first_unclaimed() {
            self.abandon_connect(key, now, effects);
        } else {
            return false;
        }
        true
    }

    /// Ends one thing so that the first route of the connect queue has a slot. Returns whether
    /// there was anything to end.
    fn make_room(&mut self, now: Instant, effects: &mut Effects<X, S>) -> bool {
        let Some(route) = self.routes.next_to_connect() else {
            return false;
        };
        let route = &self.routes[route];
        if !self.has_room(route) {
            // An attempt that hangs makes way for another, and an idle connection for a request
            // that needs a new one.
            if let Some(conn) = route.stale.front() {
                self.abandon_connect(conn, now, effects);
            } else if route.connects < self.limits.connecting_per_route
                && let Some(oldest) = route.idle.back()
            {
                self.evict_idle(oldest, CloseReason::SlotNeeded, now, effects);
            } else {
                return false;
            }
            true
        } else if self.conns.len() < self.limits.conns && self.may_begin_connect() {
            false
        } else if let Some(conn) = self.conns.first_unclaimed() {
            self.abandon_connect(conn, now, effects);
            true
        } else if self.may_begin_connect()
            && let Some(oldest) = self.conns.longest_idle()
        {
            self.evict_idle(oldest, CloseReason::SlotNeeded, now, effects);
            true
        } else {
            self.preempt_connect(now, effects)
        }
    }

    /// Begins an attempt for the first route of the connect queue, if there is a slot.
    fn connect_next(&mut self, now: Instant, effects: &mut Effects<X, S>) -> bool {
        let Some(route) = self.routes.next_to_connect() else {
            return false;
        };
        let state = &self.routes[route];
        if self.conns.len() >= self.limits.conns
            || !self.may_begin_connect()
            || !self.has_room(state)
        {
            let next = self.next_preemption();
            if next.is_some() {
                self.timers.note(next);
            }
            return false;
        }
        self.routes.set_in_connect_queue(route, false);
        self.passed_over = 0;
        if let Some(waiter) = self.routes[route].without_connect.front() {
            self.begin_connect(route, waiter, now, effects);
        }
        self.update_route(route, now, effects);
        true
    }

    fn begin_connect(
        &mut self,
        route_key: Key,
        waiter: Key,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) {
        let patience = self.limits.connect_patience;
        let key = self.begin_attempt(route_key, now);
        self.claim(key, waiter, true, now, effects);
        if patience == Some(Duration::ZERO) {
            self.conns.set_stale(&mut self.routes[route_key], key);
        }
        self.waiters[waiter].connect_began.get_or_insert(now);
        self.counters.dials += 1;
        effects.push(Effect::Connect {
            conn: ConnId(key),
            route: self.routes[route_key].route.clone(),
            waiter: Some(WaiterId(waiter)),
        });
    }

    /// Takes a slot for an attempt.
    fn begin_attempt(&mut self, route_key: Key, now: Instant) -> Key {
        let sequence = self.next_sequence();
        let patience = self.limits.connect_patience;
        let route = &mut self.routes[route_key];
        if route.stale_connects > 0 {
            route.next_extra = patience.and_then(|patience| now.checked_add(patience));
        }
        let may_hang = patience.is_some();
        self.conns.begin(route_key, route, sequence, may_hang, now)
    }

    /// `waiter`, which has no attempt, waits for one that no other waits for.
    fn claim(
        &mut self,
        conn: Key,
        waiter: Key,
        own: bool,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) {
        let level = self.waiters[waiter].preemptions;
        self.conns.set_waiter(conn, waiter, own, level);
        let route = &mut self.routes[self.waiters[waiter].route];
        self.waiters.set_connect(route, waiter, conn);
        if self.waiters[waiter].is_reservation {
            self.reservation_ready(waiter, now);
            effects.push(Effect::ReservationReady {
                waiter: WaiterId(waiter),
            });
        }
        if !own {
            self.note_stale();
        }
    }

    /// An attempt is over. Returns the waiter that waited for it, which has none now, and whether it
    /// began for that one.
    fn finish_connect(&mut self, key: Key) -> Option<(Key, bool)> {
        let route = &mut self.routes[self.conns[key].route];
        let former = self.conns.finish(route, key);
        if let Some((waiter, _)) = former {
            self.waiters.clear_connect(route, waiter);
        }
        former
    }

    /// Ends an attempt that no waiter waits for.
    pub(super) fn abandon_connect(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        self.finish_connect(key);
        self.lose_slot(key, now, effects);
    }

    /// An attempt that is finished has no slot any more.
    fn lose_slot(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let route = self.conns[key].route;
        self.conns.remove(&mut self.routes[route], key);
        self.counters.dials_abandoned += 1;
        effects.push(Effect::AbandonConnect { conn: ConnId(key) });
        self.update_route(route, now, effects);
    }

    /// Ends an attempt that has reached its preemption time, for another route that waits for a slot. Its waiter
    /// waits for a slot again, and its next attempt has twice as long. So an origin whose connects
    /// hang holds no slot for ever, and one whose connects are merely slow is reached.
    fn preempt_connect(&mut self, now: Instant, effects: &mut Effects<X, S>) -> bool {
        let Some(after) = self.limits.preempt_after else {
            return false;
        };
        let due = (0..BACKOFF_LEVELS).find_map(|level| {
            let conn = self.preemptible(level)?;
            (self.preempt_at(level, after)? <= now).then_some(conn)
        });
        let Some(key) = due else { return false };
        let route = self.conns[key].route;
        if self.routes.next_to_connect() == Some(route) {
            self.routes.move_to_back(route);
        }
        if let Some((waiter, _)) = self.finish_connect(key) {
            let state = &mut self.waiters[waiter];
            state.preemptions = (state.preemptions + 1).min(BACKOFF_LEVELS as u8 - 1);
            effects.push(Effect::ConnectLost {
                waiter: WaiterId(waiter),
            });
        }
        self.lose_slot(key, now, effects);
        true
    }

    /// When the next attempt has lasted so long that it is preempted; `None` if no other route waits
    /// for its slot.
    pub(super) fn next_preemption(&self) -> Option<Instant> {
        let after = self.limits.preempt_after?;
        if self.routes.next_to_connect().is_none()
            || (self.conns.len() < self.limits.conns && self.may_begin_connect())
            || self.conns.connecting() == 0
        {
            return None;
        }
        (0..BACKOFF_LEVELS)
            .filter(|&level| self.preemptible(level).is_some())
            .filter_map(|level| self.preempt_at(level, after))
            .min()
    }

    /// When the first attempt of a level reaches its preemption time.
    fn preempt_at(&self, level: usize, after: Duration) -> Option<Instant> {
        let first = self.conns.first_claimed(level)?;
        self.conns[first]
            .created
            .checked_add(after.checked_mul(1 << level)?)
    }

    /// The first attempt of a level, if any other route than its own waits for a slot.
    fn preemptible(&self, level: usize) -> Option<Key> {
        let first = self.conns.first_claimed(level)?;
        let only_its_own = self.routes.waiting_to_connect() == 1
            && self.routes.next_to_connect() == Some(self.conns[first].route);
        (!only_its_own).then_some(first)
    }

    /// Attempts that are older than the patience are overdue: they hold back no other attempt of
    /// their route any more, and a waiter that has taken one over has one of its own.
    #[inline]
    pub(super) fn age_connects(&mut self, now: Instant, effects: &mut Effects<X, S>) {
        while let Some((began, key)) = self.conns.oldest_young()
            && self
                .limits
                .connect_patience
                .and_then(|patience| began.checked_add(patience))
                .is_some_and(|end| end <= now)
        {
            self.set_stale(key, now, effects);
        }
    }

    #[cold]
    fn set_stale(&mut self, key: Key, now: Instant, effects: &mut Effects<X, S>) {
        let conn = &self.conns[key];
        let route_key = conn.route;
        let inherited = match conn.stage {
            Stage::Connecting {
                waiter: Some(waiter),
                own: false,
                ..
            } => Some(waiter),
            _ => None,
        };
        let route = &mut self.routes[route_key];
        let was_probing = route.is_probing();
        self.conns.set_stale(route, key);
        if let Some(waiter) = inherited {
            self.conns.unclaim(route, key);
            self.waiters.clear_connect(route, waiter);
            effects.push(Effect::ConnectLost {
                waiter: WaiterId(waiter),
            });
        }
        if was_probing && !self.routes[route_key].is_probing() {
            self.tell_connect_lost(route_key, effects);
        }
        self.update_route(route_key, now, effects);
    }

    /// When an attempt that others wait behind is next overdue, or another one may begin beside
    /// it.
    pub(super) fn next_stale(&self) -> Option<Instant> {
        let patience = self.limits.connect_patience?;
        if !self.routes.any_held_back() && self.conns.inherited() == 0 {
            return None;
        }
        let oldest = self.conns.oldest_young();
        let oldest = oldest.and_then(|(began, _)| began.checked_add(patience));
        let extra = self.routes.held_back().filter_map(|key| {
            let route = &self.routes[key];
            route
                .next_extra
                .filter(|_| route.stale_connects > 0 && route.young_connects() == 0)
        });
        earlier(oldest, extra.min())
    }

    fn note_stale(&mut self) {
        let next = self.next_stale();
        if next.is_some() {
            self.timers.note(next);
        }
    }

    /// Rejects the newest request, if it found no connection and too many wait already.
    fn reject_newest(&mut self, newest: Key, now: Instant, effects: &mut Effects<X, S>) {
        if self.waiters.without_connect() <= self.limits.queue
            || !self.waiters.is_without_connect(newest)
        {
            return;
        }
        let route = self.waiters[newest].route;
        self.reject(newest, Rejection::QueueFull, effects);
        self.update_route(route, now, effects);
    }
}
