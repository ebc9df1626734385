//! What goes into the machine and what comes out of it: names, inputs, effects, reasons.

use std::{fmt, num::NonZeroU64, sync::Arc, time::Duration};

use httpcore_core_primitives::{
    CloseReason, ConnectionPolicy, Error, KeepAliveHints, LeaseId, StreamLimit,
};

#[cfg(doc)]
use super::State;
use crate::{arena::Key, effects::Few, route::Route};

/// Position of a request in the order in which all requests of a pool arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(pub(super) NonZeroU64);

/// Names a request, from its arrival to the end of its exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub(super) Key);

impl WaiterId {
    /// Returns a small number for tables kept beside the machine. Another waiter has it once this
    /// one is over.
    pub fn index(self) -> usize {
        self.0.index()
    }

    /// Returns the same name as the name of a lease.
    pub fn lease(self) -> LeaseId {
        LeaseId::new(self.0.to_bits())
    }
}

impl From<LeaseId> for WaiterId {
    fn from(lease: LeaseId) -> Self {
        WaiterId(Key::from_bits(lease.get()))
    }
}

impl fmt::Debug for WaiterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiter {:?}", self.0)
    }
}

/// Names a connection, from the beginning of the attempt to make it to its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub(super) Key);

impl ConnId {
    /// Like [`WaiterId::index`].
    pub fn index(self) -> usize {
        self.0.index()
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {:?}", self.0)
    }
}

/// A connection, by how it may be used.
#[derive(Debug)]
pub enum Connection<X, S> {
    /// The connection itself: one exchange at a time.
    Exclusive(X),
    /// A handle: many exchanges at once.
    Shared(S),
}

/// Something that happened.
///
/// Each input is about one waiter, one connection, or the whole pool.
#[derive(Debug)]
pub enum Input<'a, X, S> {
    /// A request needs a connection along `route`.
    Request {
        /// Where the connection has to lead.
        route: &'a Route,
        /// How it will be used.
        policy: ConnectionPolicy,
        /// For a request which had a connection that did not serve it: when it first arrived. It
        /// waits before those which arrived later, unless it needs a new connection.
        arrival: Option<Arrival>,
    },
    /// A place along `route` is reserved for a request to come. The reservation waits as a request
    /// does, and is ready once [`State::is_ready`] says so; then it
    /// [ends by itself](Effect::ReservationExpired) after `hold`.
    Reserve {
        /// Where the connection has to lead.
        route: &'a Route,
        /// For how long it may be ready without being used.
        hold: Option<Duration>,
    },
    /// A reservation becomes an ordinary waiter: of the request that uses it, or to be cancelled, or
    /// declined, by the inputs of that name. No other input concerns a waiter before this one.
    Unreserve {
        /// Which waiter. The answer is none if it is no reservation any more.
        waiter: WaiterId,
    },
    /// A waiter leaves the queue, or acknowledges that it was rejected. Does nothing to one that
    /// holds a connection.
    Cancel {
        /// Which waiter.
        waiter: WaiterId,
        /// Whether a time limit ended the wait: an attempt to connect that was made for it is then
        /// overdue.
        timed_out: bool,
    },
    /// An attempt to connect ended.
    Connected {
        /// Which attempt.
        conn: ConnId,
        /// The new connection, or why there is none.
        result: Result<Connection<X, S>, Error>,
        /// How many exchanges a shared one admits, if the peer has said so already.
        limit: Option<StreamLimit>,
        /// A copy of the error, for other waiters that fail with it: needed with `connect_backoff`.
        copy: Option<Arc<Error>>,
    },
    /// A lease ended, and its exclusive connection can serve another exchange: it was asked, and
    /// found idle.
    Returned {
        /// Which waiter held the lease.
        waiter: WaiterId,
        /// The connection.
        connection: X,
        /// What the peer said of the future of the connection.
        hints: KeepAliveHints,
    },
    /// A lease ended without a connection to be returned. For a shared connection this is the end of
    /// one exchange.
    Ended {
        /// Which waiter held the lease.
        waiter: WaiterId,
        /// Why.
        reason: CloseReason,
    },
    /// A waiter gives back, unused, what it was granted.
    Declined {
        /// Which waiter.
        waiter: WaiterId,
        /// What it was granted: an exclusive connection was asked, and found idle.
        connection: Connection<X, S>,
    },
    /// The connection which a waiter was granted turned out to be closed before it was used. An
    /// exclusive one has been dropped. The waiter waits again, at the place of its arrival.
    Stale {
        /// Which waiter.
        waiter: WaiterId,
    },
    /// An idle connection that was [taken out](State::take_to_check) comes back.
    Checked {
        /// Which connection.
        conn: ConnId,
        /// The connection.
        connection: X,
        /// Whether it is still open and idle.
        is_idle: bool,
    },
    /// A shared connection admits another number of exchanges at once, or no more at all.
    StreamLimit {
        /// Which connection.
        conn: ConnId,
        /// How many.
        limit: StreamLimit,
    },
    /// Time passed.
    Tick,
    /// Idle connections are to be closed.
    CloseIdle,
    /// Attempts to connect are to begin for no request, until `route` has so many connections, within the
    /// limits.
    Preconnect {
        /// Where the connections have to lead.
        route: &'a Route,
        /// How many connections the route is to have, in use, idle or being made.
        connections: usize,
    },
    /// From now on new requests are refused, and connections that no request waits for are closed.
    Drain,
    /// Like [`Drain`](Self::Drain), and requests that wait are refused and attempts to connect
    /// ended.
    Close,
}

/// Something to be done, after the lock around the machine has been released.
#[derive(Debug)]
pub enum Effect<X, S> {
    /// Begin an attempt to connect, and report its end with [`Input::Connected`].
    Connect {
        /// Which connection this will be.
        conn: ConnId,
        /// Where it has to lead.
        route: Route,
        /// For which waiter: its time limits apply, and it receives the error. `None` if for none.
        waiter: Option<WaiterId>,
    },
    /// End an attempt to connect, which has lost its slot: no waiter needs it, or it takes long
    /// while another route needs a slot. Reporting its end is harmless.
    AbandonConnect {
        /// Which attempt.
        conn: ConnId,
    },
    /// A waiter receives a connection. It ends with [`Input::Returned`], [`Input::Ended`],
    /// [`Input::Declined`] or [`Input::Stale`].
    Grant {
        /// Which waiter.
        waiter: WaiterId,
        /// The connection.
        connection: Connection<X, S>,
        /// Its name.
        conn: ConnId,
        /// Whether it has served another exchange.
        reused: bool,
    },
    /// A waiter receives no connection. It is over after [`Input::Cancel`].
    Reject {
        /// Which waiter.
        waiter: WaiterId,
        /// Why.
        why: Rejection,
    },
    /// An attempt to connect goes on for a reservation, which is ready by that.
    ReservationReady {
        /// Which waiter.
        waiter: WaiterId,
    },
    /// A reservation was not used in time, or the pool is closed: it is to be given back.
    ReservationExpired {
        /// Which waiter.
        waiter: WaiterId,
    },
    /// A waiter no longer waits for an attempt to connect, but for a slot: see
    /// [`State::is_connecting`].
    ConnectLost {
        /// Which waiter.
        waiter: WaiterId,
    },
    /// Drop a connection.
    Close {
        /// The connection.
        connection: Connection<X, S>,
        /// Why.
        reason: CloseReason,
    },
    /// Drop an error which no waiter receives: the one that caused the attempt has left.
    DropError(Error),
}

impl<X, S> Effect<X, S> {
    #[inline]
    pub(crate) fn is_grant_to(&self, id: WaiterId) -> bool {
        matches!(self, Effect::Grant { waiter, .. } if *waiter == id)
    }
}

/// The effects of one step, in the order in which they were decided.
pub type Effects<X, S> = Few<Effect<X, S>>;

/// Why a waiter receives no connection.
#[derive(Debug)]
pub enum Rejection {
    /// The attempt to connect that was made for it failed.
    Connect(Error),
    /// The attempt to connect that it waited for failed, which was made for another.
    OtherConnect(Arc<Error>),
    /// Too many requests wait already.
    QueueFull,
    /// The pool is closed.
    PoolClosed,
}
