//! The clock, and what is due when.

use std::{collections::BTreeMap, fmt, task::Waker, time::Duration};

use crate::ends::Direction;

/// Where an entry stands: its instant, counted from the beginning of the world, and its number, so
/// that what is due at the same instant happens in the order in which it was arranged.
pub(crate) type Key = (Duration, u64);

/// What happens when an entry's instant has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScheduledEvent {
    /// A wait (timer or attempt) is over.
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
    /// How long the world has existed, by its own clock.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// A number never given before.
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

    /// The next instant at which something happens.
    pub(crate) fn next_instant(&self) -> Option<Duration> {
        self.due.first_key_value().map(|(key, _)| key.0)
    }

    /// Moves the clock forward, never back.
    pub(crate) fn advance_to(&mut self, instant: Duration) {
        self.now = self.now.max(instant);
    }

    /// Takes one thing which is due now, the one arranged first among those of the same instant.
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

    /// Puts `waker` in `seat`, instead of whichever sat there.
    pub(crate) fn register(&mut self, seat: &mut Option<Waker>, waker: Waker) {
        self.discard(seat.replace(waker));
    }

    /// Does what was asked. Not under a lock.
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
