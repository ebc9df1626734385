//! Connections, from the attempt to make one to its end, and the orders in which they end.

use super::*;

pub(super) struct Conn<X, S> {
    pub(super) route: Key,
    pub(super) stage: Stage<X, S>,
    /// When the attempt began, and then when it succeeded.
    pub(super) created: Instant,
    /// The same, in the order of arrivals.
    pub(super) created_sequence: u64,
    /// When its lifetime ends, once it is open.
    pub(super) expires: Option<Instant>,
    pub(super) idle_since: Instant,
    /// When it has been idle for too long, while it is idle.
    pub(super) idle_until: Option<Instant>,
    /// How long it may be idle.
    pub(super) idle_class: IdleClass,
    /// In which of the lists of claimed attempts it is, while it is in one.
    pub(super) backoff_level: u8,
    /// Why it is not used again, if its last user or its peer said so.
    pub(super) close_reason: Option<CloseReason>,
    /// How many requests it was granted to.
    pub(super) served: u64,
    /// It began for no request, and is kept beside others.
    pub(super) is_extra: bool,
    /// The waiter it was made for, which it could not serve at once. Shared ones only.
    pub(super) made_for: Option<Key>,
    pub(super) in_route: Links,
    pub(super) in_order: Links,
    pub(super) in_age: Links,
}

pub(super) enum Stage<X, S> {
    /// Being made.
    Connecting {
        /// The waiter that waits for it.
        waiter: Option<Key>,
        /// Whether the attempt began for that waiter, which then receives its error.
        own: bool,
        /// Whether it is overdue.
        stale: bool,
    },
    /// Idle, or being asked by the maintenance task whether it still is.
    Idle(Option<X>),
    Lent,
    Shared {
        handle: S,
        exchanges: usize,
        limit: usize,
        /// Whether the peer has said so.
        has_settings: bool,
        /// Why it takes no more exchanges.
        retired: Option<CloseReason>,
    },
}

/// All connections.
pub(super) struct Connections<X, S> {
    slots: Arena<Conn<X, S>>,
    /// Connections without exchanges.
    idle: Idle,
    /// Attempts to connect that no waiter waits for, in the order in which they lost theirs.
    unclaimed: List<InOrder>,
    /// Attempts that a waiter waits for, in the order in which they were claimed, by how often those before were
    /// preempted.
    claimed: [List<InOrder>; BACKOFF_LEVELS],
    /// Attempts that are not overdue, oldest first.
    young: List<InAge>,
    /// Open connections whose lifetime has not ended, oldest first.
    by_age: List<InAge>,
    /// Number of attempts to connect.
    connecting: usize,
    /// Number of attempts begun for one waiter that another one waits for.
    inherited: usize,
    shared: usize,
}

impl<X, S> Connections<X, S> {
    pub(super) const fn new() -> Self {
        Connections {
            slots: Arena::new(),
            idle: Idle::new(),
            unclaimed: List::new(),
            claimed: [const { List::new() }; BACKOFF_LEVELS],
            young: List::new(),
            by_age: List::new(),
            connecting: 0,
            inherited: 0,
            shared: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    pub(super) fn inherited(&self) -> usize {
        self.inherited
    }

    /// Number of connections that are open.
    pub(super) fn opened(&self) -> usize {
        self.slots.len() - self.connecting
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> usize {
        self.shared
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Conn<X, S>> {
        self.slots.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Conn<X, S>> {
        self.slots.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Conn<X, S>)> {
        self.slots.iter()
    }

    pub(super) fn in_list<C: Chain<Conn<X, S>>>(
        &self,
        list: &List<C>,
    ) -> impl Iterator<Item = Key> + '_ {
        list.iter(&self.slots)
    }

    /// The connection behind `key` in one of its lists.
    pub(super) fn next_in<C: Chain<Conn<X, S>>>(&self, key: Key) -> Option<Key> {
        C::links(&self.slots[key]).next()
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn shrink(&mut self) {
        self.slots.shrink();
    }

    /// An attempt to connect begins. `may_hang` says whether it may become overdue.
    pub(super) fn begin(
        &mut self,
        route_key: Key,
        route: &mut RouteState,
        sequence: u64,
        may_hang: bool,
        now: Instant,
    ) -> Key {
        let key = self.slots.insert(Conn {
            route: route_key,
            stage: Stage::Connecting {
                waiter: None,
                own: true,
                stale: false,
            },
            created: now,
            created_sequence: sequence,
            expires: None,
            idle_since: now,
            idle_until: None,
            idle_class: IdleClass::default(),
            backoff_level: 0,
            close_reason: None,
            served: 0,
            is_extra: false,
            made_for: None,
            in_route: Links::LOOSE,
            in_order: Links::LOOSE,
            in_age: Links::LOOSE,
        });
        if may_hang {
            self.young.push_back(&mut self.slots, key);
        }
        self.connecting += 1;
        route.conns += 1;
        route.connects += 1;
        key
    }

    /// An attempt that has just begun waits for no request.
    pub(super) fn leave_unclaimed(&mut self, route: &mut RouteState, key: Key) {
        self.slots[key].is_extra = true;
        route.unclaimed.push_back(&mut self.slots, key);
        self.unclaimed.push_back(&mut self.slots, key);
    }

    /// `waiter` waits for an attempt that no other waits for; it is in no list of these.
    pub(super) fn set_waiter(&mut self, key: Key, waiter: Key, own: bool, backoff_level: u8) {
        let conn = &mut self.slots[key];
        if let Stage::Connecting {
            waiter: slot,
            own: is_own,
            ..
        } = &mut conn.stage
        {
            (*slot, *is_own) = (Some(waiter), own);
        }
        conn.backoff_level = backoff_level;
        self.inherited += usize::from(!own);
        self.claimed[usize::from(backoff_level)].push_back(&mut self.slots, key);
    }

    /// The next unclaimed attempt of a route that may be waited for is taken out of its lists.
    pub(super) fn take_unclaimed(&mut self, route: &mut RouteState) -> Option<Key> {
        let key = route.unclaimed.pop_front(&mut self.slots)?;
        self.unclaimed.remove(&mut self.slots, key);
        Some(key)
    }

    /// The waiter of an attempt does not wait for it any more.
    pub(super) fn unclaim(&mut self, route: &mut RouteState, key: Key) {
        let conn = &mut self.slots[key];
        let Stage::Connecting {
            waiter, own, stale, ..
        } = &mut conn.stage
        else {
            return;
        };
        if waiter.take().is_none() {
            return;
        }
        let (stale, level) = (*stale, usize::from(conn.backoff_level));
        self.inherited -= usize::from(!*own);
        *own = false;
        self.claimed[level].remove(&mut self.slots, key);
        let list = if stale {
            &mut route.stale
        } else {
            &mut route.unclaimed
        };
        list.push_back(&mut self.slots, key);
        self.unclaimed.push_back(&mut self.slots, key);
    }

    /// An attempt is overdue from now on.
    pub(super) fn set_stale(&mut self, route: &mut RouteState, key: Key) {
        let Some(Conn {
            stage: Stage::Connecting { waiter, stale, .. },
            ..
        }) = self.slots.get_mut(key)
        else {
            return;
        };
        if std::mem::replace(stale, true) {
            return;
        }
        let unclaimed = waiter.is_none();
        route.stale_connects += 1;
        self.young.remove(&mut self.slots, key);
        if unclaimed {
            route.unclaimed.remove(&mut self.slots, key);
            route.stale.push_back(&mut self.slots, key);
        }
    }

    /// An attempt is over: takes it out of all lists. Returns the waiter that waited for it, and
    /// whether it began for that one. The connection is [`Lent`](Stage::Lent), for now.
    pub(super) fn finish(&mut self, route: &mut RouteState, key: Key) -> Option<(Key, bool)> {
        let conn = &mut self.slots[key];
        let level = usize::from(conn.backoff_level);
        let Stage::Connecting { waiter, own, stale } =
            std::mem::replace(&mut conn.stage, Stage::Lent)
        else {
            unreachable!("only attempts are finished")
        };
        self.connecting -= 1;
        route.connects -= 1;
        if stale {
            route.stale_connects -= 1;
        } else {
            self.young.remove(&mut self.slots, key);
        }
        let Some(waiter) = waiter else {
            self.unclaimed.remove(&mut self.slots, key);
            let list = if stale {
                &mut route.stale
            } else {
                &mut route.unclaimed
            };
            list.remove(&mut self.slots, key);
            return None;
        };
        self.inherited -= usize::from(!own);
        self.claimed[level].remove(&mut self.slots, key);
        Some((waiter, own))
    }

    /// An attempt that is [finished](Self::finish) has made a connection.
    pub(super) fn open(
        &mut self,
        key: Key,
        sequence: u64,
        max_lifetime: Option<Duration>,
        now: Instant,
    ) {
        let conn = &mut self.slots[key];
        conn.created = now;
        conn.created_sequence = sequence;
        conn.expires = max_lifetime.and_then(|lifetime| now.checked_add(lifetime));
        conn.idle_since = now;
        if conn.expires.is_some() {
            self.by_age.push_back(&mut self.slots, key);
        }
    }

    /// Puts an exclusive connection among the idle ones, until `idle_until` at most. Returns when it
    /// is closed if no request uses it.
    #[inline]
    pub(super) fn make_idle(
        &mut self,
        route: &mut RouteState,
        key: Key,
        connection: X,
        idle_until: Option<Instant>,
    ) -> Option<Instant> {
        let conn = &mut self.slots[key];
        let class = conn.idle_class;
        conn.stage = Stage::Idle(Some(connection));
        conn.idle_until = idle_until;
        let end = conn.idle_end();
        route.idle.push_front(&mut self.slots, key);
        self.idle.push(class, &mut self.slots, key);
        end
    }

    /// Takes an exclusive connection out from among the idle ones, and lends it to one request more.
    /// Returns it, and how many it had served; `None` if the maintenance task has the connection.
    #[inline(always)]
    pub(super) fn take_idle(&mut self, route: &mut RouteState, key: Key) -> (Option<X>, u64) {
        let conn = &mut self.slots[key];
        let (class, served) = (conn.idle_class, conn.served);
        conn.served += 1;
        let stage = std::mem::replace(&mut conn.stage, Stage::Lent);
        route.idle.remove(&mut self.slots, key);
        self.idle.remove(class, &mut self.slots, key);
        match stage {
            Stage::Idle(connection) => (connection, served),
            Stage::Connecting { .. } | Stage::Lent | Stage::Shared { .. } => {
                unreachable!("only idle connections are taken out")
            }
        }
    }

    /// Puts a shared connection among those without exchanges.
    pub(super) fn make_idle_shared(&mut self, key: Key) {
        let class = self.slots[key].idle_class;
        self.idle.push(class, &mut self.slots, key);
    }

    pub(super) fn take_idle_shared(&mut self, key: Key) {
        let class = self.slots[key].idle_class;
        self.idle.remove(class, &mut self.slots, key);
    }

    /// A connection which an attempt has made is shared.
    pub(super) fn make_shared(
        &mut self,
        route: &mut RouteState,
        key: Key,
        handle: S,
        limit: usize,
    ) {
        self.slots[key].stage = Stage::Shared {
            handle,
            exchanges: 0,
            limit,
            has_settings: false,
            retired: None,
        };
        self.shared += 1;
        route.shared += 1;
        route.awaiting_settings += 1;
    }

    /// Lists a shared connection among those of its route that admit another exchange, or not.
    pub(super) fn set_available(&mut self, route: &mut RouteState, key: Key, is_available: bool) {
        match (is_available, self.slots[key].in_route.is_linked()) {
            (true, false) => route.available.push_back(&mut self.slots, key),
            (false, true) => {
                route.available.remove(&mut self.slots, key);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Removes a connection that is in no list but that of ages.
    pub(super) fn remove(&mut self, route: &mut RouteState, key: Key) -> Option<Stage<X, S>> {
        self.by_age.remove(&mut self.slots, key);
        let conn = self.slots.remove(key)?;
        route.conns -= 1;
        self.shared -= usize::from(matches!(conn.stage, Stage::Shared { .. }));
        Some(conn.stage)
    }

    /// The connection without exchanges that has been so for longest.
    pub(super) fn longest_idle(&self) -> Option<Key> {
        self.idle.longest(&self.slots)
    }

    /// The connection which is idle for too long first, and when.
    pub(super) fn first_idle_end(&self) -> Option<(Instant, Key)> {
        self.idle.first_to_expire(&self.slots)
    }

    /// The open connection whose lifetime ends first, and when.
    pub(super) fn first_lifetime_end(&self) -> Option<(Instant, Key)> {
        let key = self.by_age.front()?;
        Some((self.slots[key].expires?, key))
    }

    /// A connection whose lifetime has ended is looked at when it is idle.
    pub(super) fn forget_age(&mut self, key: Key) {
        self.by_age.remove(&mut self.slots, key);
    }

    pub(super) fn first_unclaimed(&self) -> Option<Key> {
        self.unclaimed.front()
    }

    pub(super) fn first_claimed(&self, level: usize) -> Option<Key> {
        self.claimed[level].front()
    }

    /// The oldest attempt that is not overdue, and when it began.
    #[inline]
    pub(super) fn oldest_young(&self) -> Option<(Instant, Key)> {
        let key = self.young.front()?;
        Some((self.slots[key].created, key))
    }
}

#[cfg(test)]
impl<X, S> Connections<X, S> {
    pub(super) fn idle_lists(&self) -> Vec<Vec<Key>> {
        let lists = self.idle.lists();
        lists.map(|list| list.iter(&self.slots).collect()).collect()
    }

    /// Number of attempts in the lists of unclaimed and of claimed ones.
    pub(super) fn listed_connects(&self) -> (usize, usize) {
        let claimed = self.claimed.iter().map(List::len).sum();
        (self.unclaimed.len(), claimed)
    }

    pub(super) fn young(&self) -> usize {
        self.young.len()
    }
}

impl<X, S> std::ops::Index<Key> for Connections<X, S> {
    type Output = Conn<X, S>;

    #[inline]
    fn index(&self, key: Key) -> &Conn<X, S> {
        &self.slots[key]
    }
}

impl<X, S> std::ops::IndexMut<Key> for Connections<X, S> {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut Conn<X, S> {
        &mut self.slots[key]
    }
}

impl<X, S> Conn<X, S> {
    /// When it is closed if no request uses it. One in use is looked at when it comes back, and so
    /// its lifetime needs no timer before it is idle.
    pub(super) fn idle_end(&self) -> Option<Instant> {
        earlier(self.idle_until, self.expires)
    }
}

/// Runs through connections: by route and stage.
pub(super) struct InRoute;
/// Runs through connections: idle ones, unclaimed attempts, or claimed ones.
pub(super) struct InOrder;
/// Runs through connections: by age, and attempts by when they began.
pub(super) struct InAge;
chain!(InRoute, Conn<X, S>, in_route, X, S);
chain!(InOrder, Conn<X, S>, in_order, X, S);
chain!(InAge, Conn<X, S>, in_age, X, S);
