//! One exchange's claim on a connection of a pool.

use std::{
    fmt, io,
    sync::Weak,
    task::{Context, Poll, Waker},
    time::Duration,
};

pub use crate::close_reason::CloseReason;
use crate::connection::ExclusiveConnection;

/// One exchange's claim on a connection, for as long as this value lives.
///
/// It is settled exactly once, whatever happens: by [`give_back`](Self::give_back), by
/// [`close`](Self::close), or by being dropped, which means the same as
/// `close(CloseReason::Abandoned)`. If the pool is gone, settling does nothing.
///
/// For a shared connection there is nothing to give back: its lease ends, and the connection
/// carries one exchange less.
#[must_use = "dropping a lease gives up the connection"]
pub struct Lease {
    id: LeaseId,
    owner: Option<Weak<dyn LeaseOwner>>,
}

impl Lease {
    /// The claim which `owner` calls `id`.
    pub fn new(id: LeaseId, owner: Weak<dyn LeaseOwner>) -> Self {
        Lease {
            id,
            owner: Some(owner),
        }
    }

    /// A claim on a connection which belongs to no pool: settling it drops the connection.
    pub fn unowned() -> Self {
        Lease {
            id: LeaseId::new(0),
            owner: None,
        }
    }

    /// Which claim this is.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Ends the claim on an exclusive connection, and leaves the connection to others.
    pub fn give_back(self, connection: Box<dyn ExclusiveConnection>) {
        self.give_back_with(connection, KeepAliveHints::default());
    }

    /// As [`give_back`](Self::give_back), with what the peer said of the connection's future.
    pub fn give_back_with(
        mut self,
        connection: Box<dyn ExclusiveConnection>,
        hints: KeepAliveHints,
    ) {
        self.settle(LeaseEnd::Returned(connection, hints));
    }

    /// Ends the claim, and says why the connection (which the caller has dropped, or will) cannot
    /// serve another exchange.
    pub fn close(mut self, reason: CloseReason) {
        self.settle(LeaseEnd::Closed(reason));
    }

    /// Ready once the claim has been revoked: whoever holds it breaks off what it does, and ends it
    /// with [`CloseReason::Revoked`]. Until then, the waker of the latest call will be woken.
    ///
    /// A lease is revoked when a pool that is being drained has waited for as long as it was told
    /// to. An exchange asks this whenever it would otherwise wait for the network alone.
    pub fn poll_revoked(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_revoked_or_wakes(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// As [`poll_revoked`](Self::poll_revoked), for whoever never waits.
    pub fn is_revoked(&self) -> bool {
        self.owner()
            .is_some_and(|owner| owner.is_revoked(self.id, None))
    }

    pub(crate) fn is_revoked_or_wakes(&self, waker: &Waker) -> bool {
        self.owner()
            .is_some_and(|owner| owner.is_revoked(self.id, Some(waker)))
    }

    fn owner(&self) -> Option<std::sync::Arc<dyn LeaseOwner>> {
        self.owner.as_ref()?.upgrade()
    }

    fn settle(&mut self, outcome: LeaseEnd) {
        if let Some(owner) = self.owner.take().and_then(|owner| owner.upgrade()) {
            owner.reclaim(self.id, outcome);
        }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        // Most have been settled by now.
        if self.owner.is_some() {
            self.settle(LeaseEnd::Closed(CloseReason::Abandoned));
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.id.get())
    }
}

/// How a lease ended.
#[derive(Debug)]
pub enum LeaseEnd {
    /// With an exclusive connection fit for another exchange, and what the peer said of it.
    Returned(Box<dyn ExclusiveConnection>, KeepAliveHints),
    /// Without; for a shared connection, just with the end of one exchange.
    Closed(CloseReason),
}

/// How long the peer means to keep a connection, as far as it said: the parameters of the old
/// `Keep-Alive` field, for one. Nothing is promised by them; they let a connection be retired
/// before the peer closes it under a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAliveHints {
    /// The peer closes it after so much idleness.
    pub timeout: Option<Duration>,
    /// The peer serves so many more exchanges on it.
    pub max_requests: Option<u64>,
}

impl KeepAliveHints {
    /// These, with [`timeout`](Self::timeout) set.
    pub const fn with_timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// These, with [`more`](Self::more) set.
    pub const fn with_max_requests(mut self, exchanges: u64) -> Self {
        self.max_requests = Some(exchanges);
        self
    }
}

/// Names one lease for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(u64);

impl LeaseId {
    /// A name; its owner sees to it that no two living leases share one.
    pub fn new(id: u64) -> Self {
        LeaseId(id)
    }

    /// The number inside.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The pool, as a lease sees it.
pub trait LeaseOwner: Send + Sync + 'static {
    /// Called once for each lease, from wherever it ends. Must not block, and neither wakes nor
    /// drops anything of somebody else's under a lock.
    fn reclaim(&self, lease: LeaseId, outcome: LeaseEnd);

    /// Whether the holder of `lease` is to break off what it does. If not, and there is a `waker`,
    /// it is called when that changes; one at a time is kept for each lease, until it ends.
    ///
    /// Must not block, and neither calls nor drops a waker under a lock.
    fn is_revoked(&self, lease: LeaseId, waker: Option<&Waker>) -> bool;
}

/// What an [`io::Error`] holds when a stream has been ended by its pool, so that this can be told
/// from a failure of the network: see [`Lease::poll_revoked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection revoked: the pool was drained and its deadline has passed")]
pub struct ConnectionRevoked;

impl ConnectionRevoked {
    /// An error which says so.
    pub fn error() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, ConnectionRevoked)
    }

    /// Whether this is what `error` says.
    pub fn is_source_of(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|source| source.is::<ConnectionRevoked>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Book(Mutex<Vec<(u64, String)>>);
    impl LeaseOwner for Book {
        fn reclaim(&self, lease: LeaseId, outcome: LeaseEnd) {
            let outcome = format!("{outcome:?}");
            self.0.lock().unwrap().push((lease.get(), outcome));
        }
        fn is_revoked(&self, _: LeaseId, _: Option<&Waker>) -> bool {
            false
        }
    }

    fn lease_of(book: &Arc<Book>, id: u64) -> Lease {
        let weak: Weak<Book> = Arc::downgrade(book);
        Lease::new(LeaseId::new(id), weak)
    }

    #[test]
    fn a_lease_is_settled_exactly_once_however_it_ends() {
        let book = Arc::new(Book::default());
        drop(lease_of(&book, 1));
        lease_of(&book, 2).close(CloseReason::EndedByClose);
        assert_eq!(
            *book.0.lock().unwrap(),
            [
                (1, "Closed(Abandoned)".to_owned()),
                (2, "Closed(EndedByClose)".to_owned())
            ]
        );
    }

    #[test]
    fn a_lease_outlives_its_pool_quietly() {
        let book = Arc::new(Book::default());
        let lease = lease_of(&book, 1);
        drop(book);
        drop(lease);
        drop(Lease::unowned());
    }
}
