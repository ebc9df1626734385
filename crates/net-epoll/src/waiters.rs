//! Several wakers behind one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

use slab::Slab;

/// The wakers of tasks that wait for the same event. It is a waker itself, and wakes all of them, each once.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<Slab<Option<Waker>>>);

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Slab<Option<Waker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `waker` at `place`, or at a place of its own, which is returned.
    pub(crate) fn register(&self, place: Option<usize>, waker: &Waker) -> usize {
        let waker = waker.clone();
        let mut waiters = self.lock();
        let Some(place) = place else {
            return waiters.insert(Some(waker));
        };
        let former = waiters
            .get_mut(place)
            .and_then(|waiter| waiter.replace(waker));
        drop(waiters);
        drop(former);
        place
    }

    /// Removes the waker at `place`.
    pub(crate) fn remove(&self, place: usize) {
        let former = self.lock().try_remove(place);
        drop(former);
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers: Vec<_> = (self.lock().iter_mut())
            .filter_map(|(_, waiter)| waiter.take())
            .collect();
        // One that panics does not keep the others from being called; the panic hook has reported it.
        for waker in wakers {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
