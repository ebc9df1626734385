//! What the machine says: names, actions, reasons.

use std::{fmt, num::NonZeroU64};

use httpcore_core_primitives::{CloseReason, Error, LeaseId};

#[cfg(doc)]
use super::State;
use crate::{arena::Key, route::Route};

/// When a request came, in the order of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(pub(super) NonZeroU64);

/// Names a request, from the queue to the end of its exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(pub(super) Key);

impl TicketId {
    /// The small number by which whoever keeps something for each ticket finds it again. It is
    /// another's once the ticket is over.
    pub fn index(self) -> usize {
        self.0.index()
    }

    /// The same, as the name of its lease.
    pub fn lease(self) -> LeaseId {
        LeaseId::new(self.0.to_bits())
    }
}

impl From<LeaseId> for TicketId {
    fn from(lease: LeaseId) -> Self {
        TicketId(Key::from_bits(lease.get()))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticket {:?}", self.0)
    }
}

/// Names a connection, from the beginning of its dial to its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub(super) Key);

impl PlaceId {
    /// As [`TicketId::index`].
    pub fn index(self) -> usize {
        self.0.index()
    }
}

impl fmt::Debug for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "place {:?}", self.0)
    }
}

/// A connection made, lent or given up.
#[derive(Debug)]
pub enum Connection<X, S> {
    /// The connection itself.
    Exclusive(X),
    /// A handle.
    Shared(S),
}

/// What was lent without further ado.
#[derive(Debug)]
pub struct Lent<X, S> {
    /// For whom.
    pub ticket: TicketId,
    /// What.
    pub connection: Connection<X, S>,
    /// Which connection that is.
    pub place: PlaceId,
    /// Whether it has served another exchange.
    pub reused: bool,
}

/// Something to be done, after the lock around the state has been released.
#[derive(Debug)]
pub enum Action<X, S> {
    /// Begin to make a connection, and report with [`State::dialled`].
    Dial {
        /// Which connection this will be.
        place: PlaceId,
        /// Which way.
        route: Route,
        /// For whom: its time limits apply, and its failure will be this ticket's.
        ticket: TicketId,
    },
    /// A dial has lost its place, since nobody waits for it, or since it takes long and somebody
    /// else waits for its place: end it. Reporting it is harmless.
    Abandon {
        /// Which one.
        place: PlaceId,
    },
    /// A ticket gets a connection, and must end with [`State::reclaimed`] or [`State::decline`].
    Grant {
        /// Whose wait is over.
        ticket: TicketId,
        /// What it gets.
        connection: Connection<X, S>,
        /// Which connection that is.
        place: PlaceId,
        /// Whether it has served another exchange.
        reused: bool,
    },
    /// A ticket gets nothing. It is over once [`State::cancel`] has been called.
    Refuse {
        /// Whose wait is over.
        ticket: TicketId,
        /// Why.
        why: Refusal,
    },
    /// A ticket for which a connection was being made waits for a place again.
    Requeued {
        /// Whose.
        ticket: TicketId,
    },
    /// Drop a connection.
    Close {
        /// Which one this was.
        place: PlaceId,
        /// The connection.
        connection: Connection<X, S>,
        /// Why.
        reason: ConnectionCloseReason,
    },
}

/// Why a ticket gets nothing.
#[derive(Debug)]
pub enum Refusal {
    /// The connection that was being made for it could not be.
    Dial(Error),
    /// Too many wait already.
    QueueFull,
    /// The pool is closed.
    Closed,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionCloseReason {
    /// It was idle for too long, by our limit or by what its server said.
    IdleTimeout,
    /// It was too old.
    MaxAge,
    /// It had served as many exchanges as it may.
    MaxRequests,
    /// The server said that it would serve nothing more on it (`Keep-Alive: max=0`).
    PeerHinted,
    /// There were too many idle ones.
    IdleLimit,
    /// Another route needed its place.
    MadeRoom,
    /// It was no longer fit for use: as a rule, the peer had closed it.
    PeerEnded,
    /// The peer admits no more exchanges on it (shared connections only).
    Retired,
    /// Another shared connection on the same route has room.
    Superfluous,
    /// The pool was told to close what is idle.
    CloseIdle,
    /// The pool was closed.
    PoolClosed,
    /// Its exchange ended it.
    Exchange(CloseReason),
}

impl ConnectionCloseReason {
    /// A word or two for tables and metrics.
    pub fn label(self) -> &'static str {
        match self {
            ConnectionCloseReason::IdleTimeout => "idle timeout",
            ConnectionCloseReason::MaxAge => "max age",
            ConnectionCloseReason::MaxRequests => "max requests",
            ConnectionCloseReason::PeerHinted => "peer hinted",
            ConnectionCloseReason::IdleLimit => "idle limit",
            ConnectionCloseReason::MadeRoom => "made room",
            ConnectionCloseReason::PeerEnded => "peer ended",
            ConnectionCloseReason::Retired => "retired",
            ConnectionCloseReason::Superfluous => "superfluous",
            ConnectionCloseReason::CloseIdle => "close idle",
            ConnectionCloseReason::PoolClosed => "pool closed",
            ConnectionCloseReason::Exchange(reason) => reason.label(),
        }
    }
}
