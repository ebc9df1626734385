//! Counters, and snapshots of connections.

use std::time::{Duration, Instant};

#[cfg(doc)]
use super::State;
use httpcore_core_primitives::CloseReason;

use super::ConnId;
use crate::route::Route;

/// What has been counted since the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Requests for a connection; a request sent twice counts twice, and a reservation that no
    /// request used counts as one.
    pub requests: u64,
    /// Of those, how many were given one.
    pub granted: u64,
    /// Of those, how many were given one that had served before.
    pub reused: u64,
    /// How many were refused: the dial failed, the queue was full, the pool closed.
    pub refused: u64,
    /// How many left the queue by themselves, their time limits included.
    pub cancelled: u64,
    /// Time that requests spent in the queue, in all: each from its arrival until it was given a
    /// connection or an attempt to connect began for it, whichever came first. The time which
    /// that attempt took is not included.
    pub queue_time: Duration,
    /// Dials begun.
    pub dials: u64,
    /// Of those, how many failed.
    pub dials_failed: u64,
    /// Of those, how many were abandoned: no request waited for them and the slot was needed, or
    /// they took long and a request along another route needed the slot.
    pub dials_abandoned: u64,
    /// How often an attempt to connect failed and was made once more in the same dial.
    pub dials_retried: u64,
    /// Connections opened.
    pub opened: u64,
    /// Requests sent a second time after the first connection was found closed.
    pub retried: u64,
    /// Requests that were not sent a second time because the budget for that was used up.
    pub retries_refused: u64,
    pub(super) closed: Vec<(CloseReason, u64)>,
}

impl PoolStats {
    /// Returns the number of connections closed for `reason`.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed
            .iter()
            .find(|(known, _)| *known == reason)
            .map_or(0, |&(_, count)| count)
    }

    /// The reasons for which connections were closed, and how often.
    pub fn closed(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        self.closed.iter().copied()
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        match self.closed.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.closed.push((reason, 1)),
        }
    }
}

/// Number of waiters and connections, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Waiters in queues.
    pub waiting: usize,
    /// Waiters with a connection.
    pub holding: usize,
    /// Connections, attempts to connect included.
    pub conns: usize,
    /// Attempts to connect.
    pub connecting: usize,
    /// Exclusive connections, idle.
    pub idle: usize,
    /// Exclusive connections, in use.
    pub lent: usize,
    /// Shared connections.
    pub shared: usize,
    /// Of those, how many carry nothing.
    pub shared_idle: usize,
}

/// One connection, as [`State::connections`] shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionSnapshot<'a> {
    /// Id.
    pub conn: ConnId,
    /// Its route.
    pub route: &'a Route,
    /// Current activity.
    pub activity: Activity,
    /// Number of requests it was granted to.
    pub served: u64,
    /// When it was made, or the attempt to make it began.
    pub created: Instant,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It is being made.
    Connecting,
    /// Nothing, since this time.
    Idle(Instant),
    /// It serves its one exchange.
    Active,
    /// It is shared.
    Shared {
        /// How many exchanges it carries.
        exchanges: usize,
        /// How many the peer admits.
        limit: usize,
        /// Whether it takes no more exchanges.
        retired: bool,
        /// Since when it has carried none, if it carries none.
        idle_since: Option<Instant>,
    },
}
