//! The types by which threads of this crate synchronise. All its modules name them through here, so that
//! a model checker's types can replace them.
//!
//! `Arc` and `Weak` are std's in any case, since `Waker` is made of a std `Arc`.

pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread,
};

/// Locks `mutex`, also if a thread has panicked while it held the lock: no code of this crate leaves a
/// protected value in an invalid state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
