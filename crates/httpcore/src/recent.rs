//! Addresses that could not be connected to lately.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time after which a failure is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Maximum number of addresses that are remembered.
const MAX_ADDRESSES: usize = 1024;

/// When addresses failed. Of the addresses of a host, those that failed lately are tried last.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures(Mutex<HashMap<SocketAddr, Instant>>);

impl RecentFailures {
    pub(crate) fn failed(&self, address: SocketAddr, now: Instant) {
        let mut failures = self.lock();
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, at| is_recent(*at, now));
            if failures.len() >= MAX_ADDRESSES {
                failures.clear();
            }
        }
        failures.insert(address, now);
    }

    pub(crate) fn succeeded(&self, address: SocketAddr) {
        let mut failures = self.lock();
        if !failures.is_empty() {
            failures.remove(&address);
        }
    }

    /// Moves the addresses that failed lately behind the others, and changes the order no further.
    pub(crate) fn order(&self, addresses: &mut [SocketAddr], now: Instant) {
        let failures = self.lock();
        if failures.is_empty() {
            return;
        }
        addresses.sort_by_key(|address| {
            let failed = failures.get(address);
            failed.is_some_and(|at| is_recent(*at, now))
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < FORGOTTEN_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods)] // the only way to create an `Instant`
        Instant::now()
    }

    fn address(last: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], last))
    }

    #[test]
    fn recent_failures_come_last_until_they_are_forgotten_or_succeed() {
        let recent = RecentFailures::default();
        let now = start();
        let all = [1, 2, 3, 4].map(address);
        recent.failed(address(1), now);
        recent.failed(address(3), now + Duration::from_secs(1));
        let ordered = |after: Duration| {
            let mut list = all;
            recent.order(&mut list, now + after);
            list.map(|address| address.port())
        };
        assert_eq!(ordered(Duration::from_secs(2)), [2, 4, 1, 3]);
        assert_eq!(ordered(FORGOTTEN_AFTER), [1, 2, 4, 3]);
        recent.succeeded(address(3));
        assert_eq!(ordered(Duration::from_secs(2)), [2, 3, 4, 1]);
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let recent = RecentFailures::default();
        let now = start();
        for last in 0..3000 {
            recent.failed(address(last), now);
            assert!(recent.lock().len() <= MAX_ADDRESSES);
        }
    }
}
