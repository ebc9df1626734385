//! The types by which threads of this crate synchronise. All its modules name them through here, so that
//! a model checker's types can replace them.

pub(crate) use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

/// Locks `mutex`, also if a thread has panicked while it held the lock: no code of this crate leaves a
/// protected value in an invalid state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
