//! Connections without exchanges, in the order in which they expire.
//!
//! All connections may be idle for equally long, except those whose servers said that they would
//! close them sooner. One list in the order of becoming idle would not be in the order of expiry then,
//! and a heap would make the cost of a request depend on the number of idle connections. So there is
//! a list for each of a few lengths of time, and each list is in the order of expiry.

use super::*;

/// The lengths, in milliseconds: what the usual settings of servers (1, 2, 5, 10, 15, 20, 30, 60,
/// 75, 120, 300, 600 s) leave when a second, or half of the first, has been taken off. Others are
/// rounded down to one of these.
const LENGTHS: [u64; 14] = [
    500, 1_000, 2_000, 3_000, 4_000, 6_000, 9_000, 14_000, 19_000, 29_000, 59_000, 74_000, 119_000,
    299_000,
];

/// How much sooner than its server the pool closes a connection: a request which is under way when
/// the server closes is lost, and so this is longer than a request is under way.
const MARGIN: Duration = Duration::from_secs(1);

/// Which of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IdleClass(u8);

/// How long a connection may be idle which the server said it would close after `idle_for`.
pub(super) fn before(idle_for: Duration) -> Duration {
    idle_for - MARGIN.min(idle_for / 2)
}

impl IdleClass {
    /// The class of what may be idle so long at most, if the pool's own limit is `ours`; `None` if
    /// that is too short for any.
    pub(super) fn within(limit: Duration, ours: Option<Duration>) -> Option<IdleClass> {
        if ours.is_some_and(|ours| ours <= limit) {
            return Some(IdleClass::default());
        }
        let fitting = LENGTHS.partition_point(|&length| Duration::from_millis(length) <= limit);
        // The first class is the pool's own.
        u8::try_from(fitting)
            .ok()
            .filter(|&class| class > 0)
            .map(IdleClass)
    }

    /// How long it may be idle.
    pub(super) fn length(self, ours: Option<Duration>) -> Option<Duration> {
        match self.0 {
            0 => ours,
            class => Some(Duration::from_millis(LENGTHS[usize::from(class) - 1])),
        }
    }
}

/// The connections without exchanges.
pub(super) struct Idle {
    lists: [List<InOrder>; 1 + LENGTHS.len()],
    len: usize,
}

impl Idle {
    pub(super) const fn new() -> Self {
        Idle {
            lists: [const { List::new() }; 1 + LENGTHS.len()],
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push<X, S>(&mut self, class: IdleClass, slots: &mut Arena<Conn<X, S>>, key: Key) {
        self.lists[usize::from(class.0)].push_back(slots, key);
        self.len += 1;
    }

    #[inline]
    pub(super) fn remove<X, S>(
        &mut self,
        class: IdleClass,
        slots: &mut Arena<Conn<X, S>>,
        key: Key,
    ) {
        if self.lists[usize::from(class.0)].remove(slots, key) {
            self.len -= 1;
        }
    }

    /// The one which has been idle longest.
    pub(super) fn longest<X, S>(&self, slots: &Arena<Conn<X, S>>) -> Option<Key> {
        self.fronts().min_by_key(|&key| slots[key].idle_since)
    }

    /// The one which expires first, if any does, and when.
    pub(super) fn first_to_expire<X, S>(
        &self,
        slots: &Arena<Conn<X, S>>,
    ) -> Option<(Instant, Key)> {
        self.fronts()
            .filter_map(|key| Some((slots[key].idle_until?, key)))
            .min_by_key(|&(at, _)| at)
    }

    fn fronts(&self) -> impl Iterator<Item = Key> + '_ {
        // In a pool with a queue nothing is idle, and each request would look at all lists.
        let lists = if self.len == 0 { &[] } else { &self.lists[..] };
        lists.iter().filter_map(List::front)
    }

    #[cfg(test)]
    pub(super) fn lists(&self) -> impl Iterator<Item = &List<InOrder>> {
        self.lists.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn idle_time_ends_before_the_servers_and_at_the_pools_limit_at_the_latest() {
        let hour = Some(3600 * SECOND);
        for (says, ours, milliseconds) in [
            (1, hour, Some(500)),
            (2, hour, Some(1_000)),
            (5, hour, Some(4_000)),
            (5, Some(4 * SECOND), Some(4_000)),
            (5, Some(3 * SECOND), Some(3_000)),
            (6, hour, Some(4_000)),
            (75, hour, Some(74_000)),
            (100_000, None, Some(299_000)),
            (0, hour, None),
        ] {
            let limit = before(says * SECOND);
            let length = IdleClass::within(limit, ours).and_then(|class| class.length(ours));
            assert_eq!(
                length,
                milliseconds.map(Duration::from_millis),
                "{says} s, {ours:?}"
            );
        }
    }
}
