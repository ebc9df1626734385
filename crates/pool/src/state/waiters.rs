//! Waiters: requests, from their arrival to the end of their exchange, and the queues they wait in.

use super::*;

pub(super) struct Waiter {
    pub(super) route: Key,
    /// Order of arrival.
    pub(super) sequence: u64,
    pub(super) new_connection: bool,
    pub(super) close_after: bool,
    /// Whether it waits for a request to come.
    pub(super) is_reservation: bool,
    /// How often an attempt to connect for it was preempted, at most `BACKOFF_LEVELS - 1`.
    pub(super) preemptions: u8,
    /// How many connections made for it ended before they could serve anything.
    pub(super) fruitless: u8,
    pub(super) arrived: Instant,
    /// When the first attempt to connect for this waiter began.
    pub(super) connect_began: Option<Instant>,
    /// A shared connection made for it, which could not serve it at once.
    pub(super) made_for_it: Option<Key>,
    pub(super) stage: WaiterStage,
    pub(super) in_queue: Links,
    pub(super) in_without_connect: Links,
}

pub(super) enum WaiterStage {
    Waiting {
        /// The attempt it waits for, if there is one.
        connect: Option<Key>,
    },
    Holding {
        conn: Key,
    },
    /// Until the rejection is acknowledged.
    Rejected,
}

/// All waiters.
pub(super) struct Waiters {
    slots: Arena<Waiter>,
    /// Number of waiters in queues.
    queued: usize,
    /// Of those, how many have no attempt to connect.
    without_connect: usize,
}

impl Waiters {
    pub(super) const fn new() -> Self {
        Waiters {
            slots: Arena::new(),
            queued: 0,
            without_connect: 0,
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn without_connect(&self) -> usize {
        self.without_connect
    }

    #[inline]
    pub(super) fn insert(
        &mut self,
        route: Key,
        sequence: u64,
        policy: ConnectionPolicy,
        stage: WaiterStage,
        now: Instant,
    ) -> Key {
        self.slots.insert(Waiter {
            route,
            sequence,
            new_connection: policy.new_connection,
            close_after: policy.close_after,
            is_reservation: false,
            preemptions: 0,
            fruitless: 0,
            arrived: now,
            connect_began: None,
            made_for_it: None,
            stage,
            in_queue: Links::LOOSE,
            in_without_connect: Links::LOOSE,
        })
    }

    /// Removes a waiter that is in no queue.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) {
        self.slots.remove(key);
    }

    pub(super) fn get(&self, key: Key) -> Option<&Waiter> {
        self.slots.get(key)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Waiter)> {
        self.slots.iter()
    }

    pub(super) fn shrink(&mut self) {
        self.slots.shrink();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn is_without_connect(&self, key: Key) -> bool {
        let waiter = self.slots.get(key);
        waiter.is_some_and(|waiter| waiter.in_without_connect.is_linked())
    }

    /// Puts a waiter into the queue of its route: at the end, unless it arrived before others.
    pub(super) fn join(&mut self, route: &mut RouteState, key: Key) {
        let waiter = &self.slots[key];
        let sequence = waiter.sequence;
        let queue = if waiter.new_connection {
            &mut route.waiters_new_conn
        } else {
            &mut route.waiters
        };
        let slots = &mut self.slots;
        let arrived_later = |&other: &Key, slots: &Arena<Waiter>| slots[other].sequence > sequence;
        // One that returns is among the first, and so the search begins at the front.
        let next = match queue.back() {
            Some(last) if arrived_later(&last, slots) => {
                queue.iter(slots).find(|other| arrived_later(other, slots))
            }
            _ => None,
        };
        match next {
            Some(next) => queue.insert_before(slots, key, next),
            None => queue.push_back(slots, key),
        }
        route.without_connect.push_back(slots, key);
        self.without_connect += 1;
        self.queued += 1;
    }

    /// Takes a waiter out of the queue of its route. Returns the attempt to connect it waited for.
    pub(super) fn leave(&mut self, route: &mut RouteState, key: Key) -> Option<Key> {
        let waiter = &self.slots[key];
        let connect = match waiter.stage {
            WaiterStage::Waiting { connect } => connect,
            WaiterStage::Holding { .. } | WaiterStage::Rejected => None,
        };
        let queue = if waiter.new_connection {
            &mut route.waiters_new_conn
        } else {
            &mut route.waiters
        };
        queue.remove(&mut self.slots, key);
        if route.without_connect.remove(&mut self.slots, key) {
            self.without_connect -= 1;
        }
        self.queued -= 1;
        connect
    }

    /// A waiter has an attempt to connect.
    pub(super) fn set_connect(&mut self, route: &mut RouteState, key: Key, conn: Key) {
        if route.without_connect.remove(&mut self.slots, key) {
            self.without_connect -= 1;
        }
        self.slots[key].stage = WaiterStage::Waiting {
            connect: Some(conn),
        };
    }

    /// A waiter has no attempt to connect any more; it is the first to have another one.
    pub(super) fn clear_connect(&mut self, route: &mut RouteState, key: Key) {
        self.slots[key].stage = WaiterStage::Waiting { connect: None };
        route.without_connect.push_front(&mut self.slots, key);
        self.without_connect += 1;
    }

    /// Lets the other waiters of the route have the next attempts to connect.
    pub(super) fn move_back(&mut self, route: &mut RouteState, key: Key) {
        if route.without_connect.remove(&mut self.slots, key) {
            route.without_connect.push_back(&mut self.slots, key);
        }
    }

    /// The waiters in queues, in the order of their arrival.
    pub(super) fn in_order(&self) -> Vec<Key> {
        let mut waiting: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, waiter)| matches!(waiter.stage, WaiterStage::Waiting { .. }))
            .map(|(key, waiter)| (waiter.sequence, key))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, key)| key).collect()
    }

    /// The heads of the two queues of a route, in the order of their arrival.
    pub(super) fn heads(&self, route: &RouteState) -> [Option<Key>; 2] {
        match (route.waiters.front(), route.waiters_new_conn.front()) {
            (Some(any), Some(new)) if self.slots[new].sequence < self.slots[any].sequence => {
                [Some(new), Some(any)]
            }
            (any, new) => [any, new],
        }
    }

    pub(super) fn list<C: Chain<Waiter>>(&self, list: &List<C>) -> impl Iterator<Item = Key> + '_ {
        list.iter(&self.slots)
    }
}

impl std::ops::Index<Key> for Waiters {
    type Output = Waiter;

    #[inline]
    fn index(&self, key: Key) -> &Waiter {
        &self.slots[key]
    }
}

impl std::ops::IndexMut<Key> for Waiters {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut Waiter {
        &mut self.slots[key]
    }
}

/// Runs through waiters: the two queues of a route.
pub(super) struct InQueue;
/// Runs through waiters: those of a route that have no attempt to connect.
pub(super) struct InWithoutConnect;
chain!(InQueue, Waiter, in_queue);
chain!(InWithoutConnect, Waiter, in_without_connect);
