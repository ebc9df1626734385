//! Reservations: waiters ahead of their request.
//!
//! A reservation queues like a request, and is *ready* once it has a connection, or an attempt to make
//! one which goes on for it: either counts within every limit. A request that takes it over is the same
//! waiter from then on, and keeps its place.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Shortest hold. With none at all, a tick would begin what the same tick has to end.
const MIN_HOLD: Duration = Duration::from_millis(1);

/// All reservations. Empty in a pool whose requests arrive by themselves.
#[derive(Default)]
pub(super) struct Reservations {
    held: BTreeMap<Key, Reservation>,
    /// Those that end by themselves, by when.
    ends: BTreeSet<(Instant, Key)>,
}

struct Reservation {
    /// For how long it may be ready without being used.
    hold: Option<Duration>,
    until: Option<Instant>,
    /// Whether it has been told to end.
    expired: bool,
}

impl Reservations {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn first_end(&self) -> Option<Instant> {
        self.ends.first().map(|&(end, _)| end)
    }

    /// A reservation is ready. Returns when it ends by itself, if that was not known before.
    fn begin(&mut self, key: Key, now: Instant) -> Option<Instant> {
        let reservation = self.held.get_mut(&key)?;
        if reservation.until.is_some() || reservation.expired {
            return None;
        }
        let end = now.checked_add(reservation.hold?)?;
        reservation.until = Some(end);
        self.ends.insert((end, key));
        Some(end)
    }

    /// Takes out the end of a reservation that is due.
    fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let &(end, key) = self.ends.first().filter(|(end, _)| *end <= now)?;
        self.ends.remove(&(end, key));
        if let Some(reservation) = self.held.get_mut(&key) {
            reservation.until = None;
        }
        Some(key)
    }

    fn remove(&mut self, key: Key) {
        if let Some(Reservation {
            until: Some(end), ..
        }) = self.held.remove(&key)
        {
            self.ends.remove(&(end, key));
        }
    }

    #[cfg(test)]
    pub(super) fn audit(&self, mut is_ready: impl FnMut(Key) -> Option<bool>) -> usize {
        let mut ends = 0;
        for (&key, reservation) in &self.held {
            let is_ready = is_ready(key).expect("a reservation is a waiter");
            if let Some(end) = reservation.until {
                ends += 1;
                assert!(self.ends.contains(&(end, key)));
            } else {
                assert!(
                    !is_ready || reservation.expired || reservation.hold.is_none(),
                    "what is ready ends by itself"
                );
            }
        }
        assert_eq!(ends, self.ends.len());
        self.held.len()
    }
}

impl<X, S: Clone> State<X, S> {
    /// A waiter without a request arrives.
    pub(super) fn reserve(
        &mut self,
        route: &Route,
        hold: Option<Duration>,
        now: Instant,
        effects: &mut Effects<X, S>,
    ) -> (Key, Option<Key>) {
        let (key, route) = self.request(route, ConnectionPolicy::default(), None, now, effects);
        self.waiters[key].is_reservation = true;
        let reservation = Reservation {
            hold: hold.map(|hold| hold.max(MIN_HOLD)),
            until: None,
            expired: false,
        };
        self.reservations.held.insert(key, reservation);
        if let WaiterStage::Holding { .. } = self.waiters[key].stage {
            self.reservation_ready(key, now);
        }
        (key, route)
    }

    /// A reservation becomes an ordinary waiter. Returns whether it was still one.
    pub(super) fn unreserve(&mut self, WaiterId(key): WaiterId) -> bool {
        if !self.is_reservation(WaiterId(key)) {
            return false;
        }
        self.waiters[key].is_reservation = false;
        self.reservations.remove(key);
        true
    }

    /// A reservation has a connection, or an attempt to make one.
    #[cold]
    pub(super) fn reservation_ready(&mut self, key: Key, now: Instant) {
        let end = self.reservations.begin(key, now);
        if end.is_some() {
            self.timers.note(end);
        }
    }

    /// Tells reservations to end which have been ready for too long.
    pub(super) fn expire_reservations(&mut self, now: Instant, effects: &mut Effects<X, S>) {
        while let Some(key) = self.reservations.pop_due(now) {
            // One that has lost its attempt to connect has its full time once it has another.
            if self.is_ready(WaiterId(key)) {
                self.end_reservation(key, effects);
            }
        }
    }

    /// Tells all reservations to end: a pool that is closed has no requests for them.
    pub(super) fn end_reservations(&mut self, effects: &mut Effects<X, S>) {
        let keys: Vec<Key> = self.reservations.held.keys().copied().collect();
        for key in keys {
            self.end_reservation(key, effects);
        }
    }

    fn end_reservation(&mut self, key: Key, effects: &mut Effects<X, S>) {
        if let Some(reservation) = self.reservations.held.get_mut(&key)
            && !std::mem::replace(&mut reservation.expired, true)
        {
            if let Some(end) = reservation.until.take() {
                self.reservations.ends.remove(&(end, key));
            }
            effects.push(Effect::ReservationExpired {
                waiter: WaiterId(key),
            });
        }
    }

    /// Returns whether `waiter` is a reservation that no request has taken over.
    pub fn is_reservation(&self, WaiterId(key): WaiterId) -> bool {
        let waiter = self.waiters.get(key);
        waiter.is_some_and(|waiter| waiter.is_reservation)
    }

    /// Returns whether `waiter` has a connection, or an attempt to make one which goes on for it.
    pub fn is_ready(&self, WaiterId(key): WaiterId) -> bool {
        let waiter = self.waiters.get(key);
        waiter.is_some_and(|waiter| match waiter.stage {
            WaiterStage::Waiting { connect } => connect.is_some(),
            WaiterStage::Holding { .. } => true,
            WaiterStage::Rejected => false,
        })
    }
}
