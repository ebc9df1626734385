//! What can be seen of the machine: counters, books, places.

use std::time::{Duration, Instant};

#[cfg(doc)]
use super::State;
use super::action::{ConnectionCloseReason, PlaceId};
use crate::route::Route;

/// What has been counted since the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Requests for a connection; a request sent twice counts twice.
    pub requests: u64,
    /// Of those, how many were given one.
    pub granted: u64,
    /// Of those, how many were given one that had served before.
    pub reused: u64,
    /// How many were refused: the dial failed, the queue was full, the pool closed.
    pub refused: u64,
    /// How many left the queue by themselves, their time limits included.
    pub cancelled: u64,
    /// How long those who were given one had waited for it, all together.
    pub queue_time: Duration,
    /// Dials begun.
    pub dials: u64,
    /// Of those, how many failed.
    pub dials_failed: u64,
    /// Of those, how many were given up because nobody waited for them, or because they took long
    /// and somebody else waited for their place.
    pub dials_abandoned: u64,
    /// How often an attempt to connect failed and was made once more in the same dial.
    pub dials_retried: u64,
    /// Of those, how many became connections.
    pub opened: u64,
    /// Requests sent a second time after the first connection turned out dead.
    pub retried: u64,
    pub(super) closed: Vec<(ConnectionCloseReason, u64)>,
}

impl PoolStats {
    /// How many connections were closed for `reason`.
    pub fn closed_for(&self, reason: ConnectionCloseReason) -> u64 {
        self.closed
            .iter()
            .find(|(known, _)| *known == reason)
            .map_or(0, |&(_, count)| count)
    }

    /// The reasons for which connections were closed, and how often.
    pub fn closed(&self) -> impl Iterator<Item = (ConnectionCloseReason, u64)> + '_ {
        self.closed.iter().copied()
    }

    pub(super) fn close(&mut self, reason: ConnectionCloseReason) {
        match self.closed.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.closed.push((reason, 1)),
        }
    }
}

/// What there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Books {
    /// Tickets in the queue.
    pub waiting: usize,
    /// Tickets with a connection.
    pub holding: usize,
    /// Places in use, by whatever.
    pub places: usize,
    /// Connections being made.
    pub dials: usize,
    /// Exclusive connections, idle.
    pub idle: usize,
    /// Exclusive connections, in use.
    pub lent: usize,
    /// Shared connections.
    pub shared: usize,
    /// Of those, how many carry nothing.
    pub shared_idle: usize,
}

/// One place, as [`State::look`] shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sight<'a> {
    /// Which one.
    pub place: PlaceId,
    /// Where it leads.
    pub route: &'a Route,
    /// What it is doing.
    pub activity: Activity,
    /// How many requests it was lent to.
    pub served: u64,
    /// When it was made, or began to be.
    pub born: Instant,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It is being made.
    Connecting,
    /// Nothing, since then.
    Idle(Instant),
    /// It serves its one exchange.
    Active,
    /// It is shared.
    Shared {
        /// How many exchanges it carries.
        exchanges: usize,
        /// How many the peer admits.
        limit: usize,
        /// Whether it takes no more.
        retired: bool,
        /// Since when it carries none, if it does.
        idle_since: Option<Instant>,
    },
}
