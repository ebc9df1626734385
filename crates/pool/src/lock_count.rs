//! A count of how often the lock of any pool in this process was acquired, for the benchmarks.

use std::sync::atomic::{AtomicU64, Ordering};

static ACQUISITIONS: AtomicU64 = AtomicU64::new(0);

/// Adds one. Called right before the lock is acquired.
pub(crate) fn increment() {
    ACQUISITIONS.fetch_add(1, Ordering::Relaxed);
}

/// Returns how often the lock of any pool in this process was acquired.
pub fn lock_count() -> u64 {
    ACQUISITIONS.load(Ordering::Relaxed)
}
