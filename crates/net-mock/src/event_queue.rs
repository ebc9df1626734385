//! The virtual clock, and scheduled events.

use std::{collections::BTreeMap, fmt, task::Waker, time::Duration};

use crate::ends::Direction;

/// Key of an event: its instant, from the creation of the world, and its number, so that events of one
/// instant happen in the order in which they were scheduled.
pub(crate) type Key = (Duration, u64);

/// A scheduled event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScheduledEvent {
    /// A timer or an attempt expires.
    TimerExpired(u64),
    /// Bytes, or the end, reach the reader of one direction of a link.
    Arrival(u64, Direction),
}

#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    now: Duration,
    next: u64,
    due: BTreeMap<Key, ScheduledEvent>,
}

impl EventQueue {
    /// The virtual time since the creation of the world.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Returns a new unique number.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn add(&mut self, at: Duration, what: ScheduledEvent) -> Key {
        let key = (at, self.number());
        self.due.insert(key, what);
        key
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.due.remove(&key);
    }

    /// The instant of the next event.
    pub(crate) fn next_instant(&self) -> Option<Duration> {
        self.due.first_key_value().map(|(key, _)| key.0)
    }

    /// Advances the clock; an earlier instant has no effect.
    pub(crate) fn advance_to(&mut self, instant: Duration) {
        self.now = self.now.max(instant);
    }

    /// Takes the next event that is due.
    pub(crate) fn take_due(&mut self) -> Option<ScheduledEvent> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= self.now).then(|| entry.remove())
    }
}

/// Wakers to be called, and wakers to be dropped, once the lock has been released.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    call: Vec<Waker>,
    discard: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn call(&mut self, waker: Option<Waker>) {
        self.call.extend(waker);
    }

    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.discard.extend(waker);
    }

    /// Stores `waker` in `slot`, in place of an earlier one.
    pub(crate) fn register(&mut self, slot: &mut Option<Waker>, waker: Waker) {
        self.discard(slot.replace(waker));
    }

    /// Drops and calls the wakers. Must not be called under a lock.
    pub(crate) fn run(self) {
        drop(self.discard);
        for waker in self.call {
            waker.wake();
        }
    }
}

/// Formats an instant for reports: `+1.250000s`.
pub(crate) struct At(pub(crate) Duration);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}.{:06}s", self.0.as_secs(), self.0.subsec_micros())
    }
}
