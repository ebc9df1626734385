//! One exchange's claim on a connection of a pool.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
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
#[must_use = "dropping a lease closes the connection"]
pub struct Lease {
    id: LeaseId,
    owner: Option<Arc<dyn LeaseOwner>>,
    registration: Registration,
}

impl Lease {
    /// The claim which `owner` calls `id`.
    pub fn new(id: LeaseId, owner: Arc<dyn LeaseOwner>) -> Self {
        Lease {
            id,
            owner: Some(owner),
            registration: Registration::none(),
        }
    }

    /// A claim on a connection which belongs to no pool: settling it drops the connection.
    pub fn unowned() -> Self {
        Lease {
            id: LeaseId::new(0),
            owner: None,
            registration: Registration::none(),
        }
    }

    /// Returns the lease's id.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Ends the claim on an exclusive connection, and leaves the connection to others.
    pub fn give_back(self, connection: Box<dyn ExclusiveConnection>) {
        self.give_back_with(connection, KeepAliveHints::default());
    }

    /// Like [`give_back`](Self::give_back), with the peer's hints on keeping the connection alive.
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

    /// Ready once the claim has been revoked: its holder aborts the exchange, and ends the claim with
    /// [`CloseReason::Revoked`]. Until then, the waker of the latest call is woken when that happens.
    ///
    /// A lease is revoked when a pool that is being drained has waited for as long as it was told
    /// to. An exchange asks this whenever it would otherwise wait for the network alone. Calls with
    /// the waker of the call before cost two comparisons, and no call takes a lock of the pool.
    pub fn poll_revoked(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_revoked_or_wakes(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Like [`poll_revoked`](Self::poll_revoked), without leaving a waker.
    pub fn is_revoked(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.lease_state().is_revoked())
    }

    pub(crate) fn is_revoked_or_wakes(&self, waker: &Waker) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.lease_state().register(&self.registration, waker))
    }

    /// Takes the claim apart without settling it; there is no owner if it is [unowned](Self::unowned). The
    /// caller must call [`LeaseOwner::reclaim`] once, with this id.
    ///
    /// For a layer that carries out one exchange as several: each has a lease of the layer's, and the layer
    /// settles this claim at the end.
    pub fn into_parts(mut self) -> (LeaseId, Option<Arc<dyn LeaseOwner>>) {
        let owner = self.owner.take();
        if let Some(owner) = &owner {
            owner.lease_state().deregister(&self.registration);
        }
        (self.id, owner)
    }

    fn settle(&mut self, outcome: LeaseEnd) {
        if let Some(owner) = self.owner.take() {
            owner.lease_state().deregister(&self.registration);
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

/// Whether the leases on one connection are revoked, and the tasks to be woken when they are. Its
/// owner makes one for each connection, and all leases on that connection use it.
#[derive(Debug, Default)]
pub struct LeaseState {
    /// Written while `wakers` is locked, and never unset.
    revoked: AtomicBool,
    wakers: Mutex<Wakers>,
}

#[derive(Debug, Default)]
struct Wakers {
    /// Slot 0: an exclusive connection has one lease at a time, and allocates nothing for it.
    first: Option<Waker>,
    /// The slots from 1.
    others: Vec<Option<Waker>>,
    /// Of the others, those without a waker.
    free: Vec<usize>,
}

impl Wakers {
    /// Returns a slot without a waker.
    fn vacant(&mut self) -> usize {
        if self.first.is_none() {
            return 0;
        }
        self.free.pop().unwrap_or_else(|| {
            self.others.push(None);
            self.others.len()
        })
    }

    fn slot(&mut self, slot: usize) -> &mut Option<Waker> {
        match slot {
            0 => &mut self.first,
            slot => &mut self.others[slot - 1],
        }
    }
}

/// Which waker a lease has left with the state of its connection.
///
/// The two addresses name that waker: it is not dropped, and so its addresses are not used again, for
/// as long as it is registered. Only the holder of the lease reads and writes them.
struct Registration {
    slot: AtomicUsize,
    data: AtomicUsize,
    vtable: AtomicUsize,
}

impl Registration {
    /// No waker is registered.
    const fn none() -> Self {
        Registration {
            slot: AtomicUsize::new(usize::MAX),
            data: AtomicUsize::new(0),
            vtable: AtomicUsize::new(0),
        }
    }

    fn slot(&self) -> Option<usize> {
        let slot = self.slot.load(Ordering::Relaxed);
        (slot != usize::MAX).then_some(slot)
    }

    fn is_of(&self, waker: &Waker) -> bool {
        self.data.load(Ordering::Relaxed) == waker.data().addr()
            && self.vtable.load(Ordering::Relaxed) == std::ptr::from_ref(waker.vtable()).addr()
            && self.slot().is_some()
    }

    fn set(&self, slot: usize, waker: &Waker) {
        let vtable = std::ptr::from_ref(waker.vtable()).addr();
        self.data.store(waker.data().addr(), Ordering::Relaxed);
        self.vtable.store(vtable, Ordering::Relaxed);
        self.slot.store(slot, Ordering::Relaxed);
    }
}

impl LeaseState {
    /// Revokes all leases, and wakes the tasks that hold them. Must not be called under a lock.
    pub fn revoke(&self) {
        let wakers = {
            let mut wakers = self.lock();
            self.revoked.store(true, Ordering::Release);
            std::mem::take(&mut *wakers)
        };
        let others = wakers.others.into_iter().flatten();
        wakers.first.into_iter().chain(others).for_each(Waker::wake);
    }

    /// Returns whether the leases are revoked.
    #[inline]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// Returns whether the leases are revoked; if not, `waker` is called when they are.
    #[inline]
    fn register(&self, registration: &Registration, waker: &Waker) -> bool {
        self.is_revoked() || !registration.is_of(waker) && self.replace(registration, waker)
    }

    fn replace(&self, registration: &Registration, waker: &Waker) -> bool {
        // A waker is neither cloned nor dropped under the lock.
        let new = waker.clone();
        let mut wakers = self.lock();
        if self.is_revoked() {
            return true;
        }
        let slot = registration.slot().unwrap_or_else(|| wakers.vacant());
        let _old = wakers.slot(slot).replace(new);
        drop(wakers);
        registration.set(slot, waker);
        false
    }

    #[inline]
    fn deregister(&self, registration: &Registration) {
        if let Some(slot) = registration.slot() {
            self.remove(slot);
        }
    }

    fn remove(&self, slot: usize) {
        let mut wakers = self.lock();
        // After a revocation there are no slots.
        let waker = if self.is_revoked() {
            None
        } else {
            if slot > 0 {
                wakers.free.push(slot);
            }
            wakers.slot(slot).take()
        };
        drop(wakers);
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Limits on reuse that the peer announced, such as the parameters of the old `Keep-Alive` field.
/// They are no promises; they let a connection be retired before the peer closes it under a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAliveHints {
    /// The peer closes it after so much idleness.
    pub timeout: Option<Duration>,
    /// The peer serves so many more exchanges on it.
    pub max_requests: Option<u64>,
}

impl KeepAliveHints {
    /// Sets [`timeout`](Self::timeout).
    pub const fn with_timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Sets [`max_requests`](Self::max_requests).
    pub const fn with_max_requests(mut self, exchanges: u64) -> Self {
        self.max_requests = Some(exchanges);
        self
    }
}

/// Id of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(u64);

impl LeaseId {
    /// Creates an id. No two leases that exist at once may share one.
    pub fn new(id: u64) -> Self {
        LeaseId(id)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The pool, as a lease sees it: the connection which the lease is on.
pub trait LeaseOwner: Send + Sync + 'static {
    /// Called once for each lease, wherever that ends. Must not block, and neither wakes nor drops
    /// any value of others under a lock.
    fn reclaim(self: Arc<Self>, lease: LeaseId, outcome: LeaseEnd);

    /// Returns the state that the leases on this connection share.
    fn lease_state(&self) -> &LeaseState;
}

/// Source of the [`io::Error`] of a stream that its pool has ended, which distinguishes it from a
/// failure of the network: see [`Lease::poll_revoked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection revoked: the pool was drained and its deadline has passed")]
pub struct ConnectionRevoked;

impl ConnectionRevoked {
    /// Returns an [`io::Error`] with this as its source.
    pub fn error() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, ConnectionRevoked)
    }

    /// Returns whether this is the source of `error`.
    pub fn is_source_of(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|source| source.is::<ConnectionRevoked>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::Wake,
    };

    #[derive(Default)]
    struct Book {
        ends: Mutex<Vec<(u64, String)>>,
        state: LeaseState,
    }
    impl LeaseOwner for Book {
        fn reclaim(self: Arc<Self>, lease: LeaseId, outcome: LeaseEnd) {
            let outcome = format!("{outcome:?}");
            self.ends.lock().unwrap().push((lease.get(), outcome));
        }
        fn lease_state(&self) -> &LeaseState {
            &self.state
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn lease_of(book: &Arc<Book>, id: u64) -> Lease {
        Lease::new(LeaseId::new(id), book.clone())
    }

    #[test]
    fn a_lease_is_settled_exactly_once_however_it_ends() {
        let book = Arc::new(Book::default());
        drop(lease_of(&book, 1));
        lease_of(&book, 2).close(CloseReason::EndedByClose);
        assert_eq!(
            *book.ends.lock().unwrap(),
            [
                (1, "Closed(Abandoned)".to_owned()),
                (2, "Closed(EndedByClose)".to_owned())
            ]
        );
        drop(Lease::unowned());
        let (id, owner) = lease_of(&book, 3).into_parts();
        assert_eq!(book.ends.lock().unwrap().len(), 2, "not settled");
        owner
            .unwrap()
            .reclaim(id, LeaseEnd::Closed(CloseReason::EndedByClose));
        assert_eq!(book.ends.lock().unwrap().len(), 3);
    }

    #[test]
    fn revocation_wakes_the_latest_waker_of_each_lease_once() {
        let book = Arc::new(Book::default());
        let counts: [Arc<Count>; 3] = Default::default();
        let wakers = counts.clone().map(Waker::from);
        let (one, other) = (lease_of(&book, 1), lease_of(&book, 2));
        for (lease, waker) in [(&one, 0), (&one, 1), (&one, 1), (&other, 2)] {
            let mut cx = Context::from_waker(&wakers[waker]);
            assert!(lease.poll_revoked(&mut cx).is_pending());
        }
        assert!(!one.is_revoked());
        let held = Arc::strong_count(&counts[1]);
        assert!(
            one.poll_revoked(&mut Context::from_waker(&wakers[1]))
                .is_pending()
        );
        assert_eq!(Arc::strong_count(&counts[1]), held, "registered once");
        book.state.revoke();
        assert_eq!(
            counts.each_ref().map(|count| count.0.load(SeqCst)),
            [0, 1, 1]
        );
        assert!(one.is_revoked() && other.is_revoked());
        let mut cx = Context::from_waker(&wakers[0]);
        assert!(one.poll_revoked(&mut cx).is_ready());
        drop((one, other, wakers));
        assert!(counts.iter().all(|count| Arc::strong_count(count) == 1));
    }

    #[test]
    fn a_lease_that_ends_leaves_no_waker_and_its_slot_to_the_next() {
        let book = Arc::new(Book::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        for id in 0..10 {
            let lease = lease_of(&book, id);
            assert!(
                lease
                    .poll_revoked(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            assert_eq!(Arc::strong_count(&count), 3);
            drop(lease);
            assert_eq!(Arc::strong_count(&count), 2);
        }
        assert!(book.state.lock().others.is_empty());
    }
}
