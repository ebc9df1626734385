//! One connection of the pool, as its leases and its stream see it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use http::Version;
use httpcore_core_primitives::{
    CloseReason, Established, ExclusiveConnection, IdleEvent, LeaseId, LeaseOwner, LeaseState,
    SharedConnection, StreamLimit, lease::LeaseEnd,
};

use crate::{
    inner::PoolInner,
    maintenance::Notifier,
    record::{ConnectRecord, Target},
    route::Route,
    state::{ConnId, Input},
};

/// How often a connection is asked at once for changes of its limit. One that always has some would
/// otherwise occupy the task that asks.
const MAX_LIMIT_POLLS: usize = 16;

/// A wake-up means nothing: the connection is in use.
const DISARMED: u8 = 0;
/// A wake-up is noted for the maintenance task.
const ARMED: u8 = 1;
/// A wake-up was noted.
const FIRED: u8 = 2;

/// What is kept for a connection for as long as it lives: the waker which it is left with while it
/// is idle, and the state of its leases. One allocation for each connection.
pub(crate) struct ConnHandle {
    conn: ConnId,
    version: Version,
    /// `DISARMED`, `ARMED` or `FIRED`. Atomic and not locked, since a connection may call its waker
    /// at any time.
    idle_waker: AtomicU8,
    notifier: Arc<Notifier>,
    pool: Weak<PoolInner>,
    leases: LeaseState,
    /// What it leads to, if its route has filters.
    targets: Vec<Target>,
}

impl ConnHandle {
    pub(crate) fn new(
        conn: ConnId,
        connection: &Established,
        record: ConnectRecord,
        pool: &PoolInner,
    ) -> Arc<Self> {
        Arc::new(ConnHandle {
            conn,
            version: match connection {
                Established::Exclusive(connection) => connection.version(),
                Established::Shared(connection) => connection.version(),
            },
            idle_waker: AtomicU8::new(DISARMED),
            notifier: pool.notifier.clone(),
            pool: pool.me.clone(),
            leases: LeaseState::default(),
            targets: record.into_targets(),
        })
    }

    pub(crate) fn is_of(&self, conn: ConnId) -> bool {
        self.conn == conn
    }

    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Returns whether the filters of `route`, which is that of this connection, allow what it leads to.
    /// Foreign code, as [`ask`](Self::ask).
    pub(crate) fn is_allowed(&self, route: &Route) -> bool {
        self.targets
            .iter()
            .all(|target| target.check(route).is_ok())
    }

    pub(crate) fn leases(&self) -> &LeaseState {
        &self.leases
    }

    /// Asks an exclusive connection whether it can serve another exchange, and leaves the idle waker
    /// with it. Foreign code: must not be called under the lock.
    pub(crate) fn ask(
        self: &Arc<Self>,
        connection: &mut dyn ExclusiveConnection,
    ) -> Poll<IdleEvent> {
        // Before asking: a wake-up that comes meanwhile is noted.
        self.idle_waker.store(ARMED, Ordering::Release);
        let waker = Waker::from(self.clone());
        connection.poll_idle(&mut Context::from_waker(&waker))
    }

    /// Asks a shared connection for the latest number of exchanges that it admits, and leaves the
    /// idle waker with it. Foreign code, as [`ask`](Self::ask).
    pub(crate) fn ask_limit(
        self: &Arc<Self>,
        connection: &dyn SharedConnection,
    ) -> Option<StreamLimit> {
        self.idle_waker.store(ARMED, Ordering::Release);
        let waker = Waker::from(self.clone());
        let mut latest = None;
        for _ in 0..MAX_LIMIT_POLLS {
            match connection.poll_stream_limit(&mut Context::from_waker(&waker)) {
                Poll::Ready(StreamLimit::Closed) => return Some(StreamLimit::Closed),
                Poll::Ready(limit) => latest = Some(limit),
                Poll::Pending => return latest,
            }
        }
        // It has more changes: the maintenance task comes back for it.
        waker.wake();
        latest
    }

    /// The connection is in use: its idle waker, if the stream still has it, does nothing.
    pub(crate) fn disarm(&self) {
        self.idle_waker.store(DISARMED, Ordering::Release);
    }

    /// Notes once more a wake-up that came after the connection was asked and before the pool had it:
    /// the maintenance task may have looked in between, and found nothing to ask.
    pub(crate) fn note_early_wake(&self) {
        if self.idle_waker.load(Ordering::Acquire) == FIRED {
            self.notifier.note(self.conn);
        }
    }
}

/// The idle waker.
impl Wake for ConnHandle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let fired =
            self.idle_waker
                .compare_exchange(ARMED, FIRED, Ordering::AcqRel, Ordering::Acquire);
        if fired.is_ok() {
            self.notifier.note(self.conn);
        }
    }
}

impl LeaseOwner for ConnHandle {
    fn reclaim(self: Arc<Self>, lease: LeaseId, outcome: LeaseEnd) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let waiter = lease.into();
        match outcome {
            LeaseEnd::Returned(mut connection, hints) => {
                if pool.keeps_idle && self.ask(&mut *connection).is_ready() {
                    drop(connection);
                    let reason = CloseReason::PeerClosed;
                    return pool.handle(Input::Ended { waiter, reason });
                }
                pool.handle(Input::Returned {
                    waiter,
                    connection,
                    hints,
                });
                self.note_early_wake();
            }
            LeaseEnd::Closed(reason) => {
                pool.handle(Input::Ended { waiter, reason });
            }
        }
    }

    fn lease_state(&self) -> &LeaseState {
        &self.leases
    }
}
