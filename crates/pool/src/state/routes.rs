//! Routes: which waiters and connections belong together, and which route connects next.

use super::*;

/// A route with waiters, connections, or something worth remembering.
pub(super) struct RouteState {
    pub(super) route: Route,
    pub(super) may_share: bool,
    pub(super) protocol: KnownProtocol,
    /// Waiters served by any connection, in the order of their arrival.
    pub(super) waiters: List<InQueue>,
    /// Waiters served by a new connection only, likewise.
    pub(super) waiters_new_conn: List<InQueue>,
    /// Of both, those that have no attempt to connect.
    pub(super) without_connect: List<InWithoutConnect>,
    /// Idle exclusive connections, most recently used first.
    pub(super) idle: List<InRoute>,
    /// Shared connections which admit another exchange.
    pub(super) available: List<InRoute>,
    /// Attempts to connect that no waiter waits for, and that the next waiter may wait for.
    pub(super) unclaimed: List<InRoute>,
    /// Attempts that no waiter waits for, and that are overdue.
    pub(super) stale: List<InRoute>,
    /// Number of connections, attempts to connect included.
    pub(super) conns: usize,
    /// Number of attempts to connect.
    pub(super) connects: usize,
    /// Of those, how many have lasted for longer than the patience, or are otherwise overdue.
    pub(super) stale_connects: usize,
    /// When another attempt may begin beside stale ones, if not yet.
    pub(super) next_extra: Option<Instant>,
    /// Until when its waiters wait, before an attempt begins: for connections in use, or since the last
    /// attempts failed.
    pub(super) delayed_until: Option<Instant>,
    /// Number of attempts that failed since the last success, if that is of interest.
    pub(super) failures: u32,
    /// When the next attempt may begin after a failure.
    pub(super) probe_at: Option<Instant>,
    /// Number of shared connections which are not retired.
    pub(super) shared: usize,
    /// Of those, how many have yet to say how many exchanges they admit.
    pub(super) awaiting_settings: usize,
    /// Number of requests that hold a connection.
    pub(super) active: usize,
    pub(super) in_connect_queue: Links,
    pub(super) in_held_back: Links,
    pub(super) in_empty: Links,
}

/// What is known of the protocol at the end of a route whose connections may be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownProtocol {
    /// Nothing: one attempt is made to find out, and the other waiters wait for its result.
    Unknown,
    /// That attempt failed, and so each waiter has an attempt of its own.
    ProbeFailed,
    /// Connections are exclusive.
    Http1,
    /// Connections are shared; the last one admitted `limit` exchanges.
    Http2 { limit: usize },
}

impl RouteState {
    fn new(route: &Route) -> Self {
        RouteState {
            route: route.clone(),
            may_share: route.may_be_shared(),
            protocol: KnownProtocol::Unknown,
            waiters: List::new(),
            waiters_new_conn: List::new(),
            without_connect: List::new(),
            idle: List::new(),
            available: List::new(),
            unclaimed: List::new(),
            stale: List::new(),
            conns: 0,
            connects: 0,
            stale_connects: 0,
            next_extra: None,
            delayed_until: None,
            failures: 0,
            probe_at: None,
            shared: 0,
            awaiting_settings: 0,
            active: 0,
            in_connect_queue: Links::LOOSE,
            in_held_back: Links::LOOSE,
            in_empty: Links::LOOSE,
        }
    }

    #[inline]
    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty() || !self.waiters_new_conn.is_empty()
    }

    /// Number of waiters that wait for an attempt to connect of their own.
    pub(super) fn claimed(&self) -> usize {
        self.waiters.len() + self.waiters_new_conn.len() - self.without_connect.len()
    }

    /// Number of attempts to connect that are not overdue.
    pub(super) fn young_connects(&self) -> usize {
        self.connects - self.stale_connects
    }

    /// Returns whether waiters wait for the result of the one attempt that finds out the protocol.
    pub(super) fn is_probing(&self) -> bool {
        self.may_share && self.protocol == KnownProtocol::Unknown && self.young_connects() > 0
    }

    pub(super) fn learn(&mut self, protocol: KnownProtocol) {
        if self.may_share {
            self.protocol = protocol;
        }
    }

    /// Returns whether it has neither waiters nor connections nor requests.
    pub(super) fn is_empty(&self) -> bool {
        self.conns == 0 && self.active == 0 && !self.has_waiters()
    }
}

/// All routes.
pub(super) struct Routes {
    index: RouteMap<Key>,
    slots: Arena<RouteState>,
    /// Routes that could begin an attempt to connect if there were a slot, round-robin.
    connect_queue: List<InConnectQueue>,
    /// Routes with a waiter that an attempt to connect in progress holds back.
    held_back: List<InHeldBack>,
    /// Empty routes, kept for what is known of their protocol, longest empty first.
    empty: List<InEmpty>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Routes {
            index: RouteMap::default(),
            slots: Arena::new(),
            connect_queue: List::new(),
            held_back: List::new(),
            empty: List::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&RouteState> {
        self.slots.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &RouteState)> {
        self.slots.iter()
    }

    pub(super) fn shrink(&mut self) {
        self.slots.shrink();
        if self.index.capacity() > 4 * self.index.len().max(KEPT_SLOTS) {
            self.index.shrink_to(self.index.len());
        }
    }

    #[cfg(test)]
    pub(super) fn find(&self, route: &Route) -> Option<Key> {
        self.index.get(route).copied()
    }

    /// The state of `route`, which is made if there is none.
    #[inline(always)]
    pub(super) fn enter(&mut self, route: &Route) -> Key {
        let Some(&key) = self.index.get(route) else {
            return self.insert(route);
        };
        if self.slots[key].in_empty.is_linked() {
            self.empty.remove(&mut self.slots, key);
        }
        key
    }

    #[cold]
    fn insert(&mut self, route: &Route) -> Key {
        let key = self.slots.insert(RouteState::new(route));
        self.index.insert(route.clone(), key);
        key
    }

    /// Keeps an empty route if what is known of its protocol is worth remembering, or if it cannot be shared
    /// and few are kept; otherwise, and if it holds objects of callers, removes it.
    pub(super) fn cache_empty(&mut self, key: Key) {
        let route = &self.slots[key];
        if route.in_empty.is_linked() {
            return;
        }
        let known = match route.protocol {
            KnownProtocol::Unknown | KnownProtocol::ProbeFailed => false,
            KnownProtocol::Http1 | KnownProtocol::Http2 { .. } => route.may_share,
        } || route.failures > 0;
        let is_among_few = !route.may_share && self.empty.len() < MAX_EMPTY_PLAIN_ROUTES;
        if route.route.holds_objects() || !known && !is_among_few {
            return self.remove(key);
        }
        self.empty.push_back(&mut self.slots, key);
        if self.empty.len() > MAX_EMPTY_ROUTES
            && let Some(oldest) = self.empty.pop_front(&mut self.slots)
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(route) = self.slots.get(key) {
            self.index.remove(&route.route);
            self.slots.remove(key);
        }
    }

    /// The route whose waiters have the next slot.
    #[inline]
    pub(super) fn next_to_connect(&self) -> Option<Key> {
        self.connect_queue.front()
    }

    pub(super) fn waiting_to_connect(&self) -> usize {
        self.connect_queue.len()
    }

    pub(super) fn set_in_connect_queue(&mut self, key: Key, is_in: bool) {
        let linked = self.slots[key].in_connect_queue.is_linked();
        match (is_in, linked) {
            (true, false) => self.connect_queue.push_back(&mut self.slots, key),
            (false, true) => {
                self.connect_queue.remove(&mut self.slots, key);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// The other routes come first.
    pub(super) fn move_to_back(&mut self, key: Key) {
        if self.connect_queue.remove(&mut self.slots, key) {
            self.connect_queue.push_back(&mut self.slots, key);
        }
    }

    pub(super) fn set_held_back(&mut self, key: Key, is_held: bool) {
        let linked = self.slots[key].in_held_back.is_linked();
        match (is_held, linked) {
            (true, false) => self.held_back.push_back(&mut self.slots, key),
            (false, true) => {
                self.held_back.remove(&mut self.slots, key);
            }
            (true, true) | (false, false) => {}
        }
    }

    pub(super) fn held_back(&self) -> impl Iterator<Item = Key> + '_ {
        self.held_back.iter(&self.slots)
    }

    pub(super) fn any_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }
}

#[cfg(test)]
impl Routes {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn indexed(&self) -> usize {
        self.index.len()
    }

    pub(super) fn is_cached(&self, key: Key) -> bool {
        self.empty.iter(&self.slots).any(|empty| empty == key)
    }

    pub(super) fn is_in_connect_queue(&self, key: Key) -> bool {
        self.connect_queue.iter(&self.slots).any(|next| next == key)
    }
}

impl std::ops::Index<Key> for Routes {
    type Output = RouteState;

    #[inline]
    fn index(&self, key: Key) -> &RouteState {
        &self.slots[key]
    }
}

impl std::ops::IndexMut<Key> for Routes {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut RouteState {
        &mut self.slots[key]
    }
}

/// Runs through routes: the connect queue.
pub(super) struct InConnectQueue;
/// Runs through routes: those held back by an attempt to connect.
pub(super) struct InHeldBack;
/// Runs through routes: the empty ones.
pub(super) struct InEmpty;
chain!(InConnectQueue, RouteState, in_connect_queue);
chain!(InHeldBack, RouteState, in_held_back);
chain!(InEmpty, RouteState, in_empty);
