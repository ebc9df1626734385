//! Deadlines, most of which are never reached.
//!
//! Whatever waits has a *place*: its deadline and its waker. A queue holds at most one valid
//! *entry* for each place: when to look at it. Moving a deadline later, and giving it up, touch
//! only the place; when an entry's time comes and the deadline has moved, the entry is put back.
//! A place that is given up keeps its entry, and the next timer that takes the place and is to
//! wait at least as long finds itself queued already. So a deadline per request costs a few words
//! of writing, and there are never more entries than there have been timers at one time, save for
//! those outrun by an earlier deadline; these are swept out when they outnumber the places.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

/// Sweeping fewer stale entries than this is not worth it.
const SMALL_TABLE_TIMERS: usize = 64;

/// How many places are kept however few timers there are. Above it, a table of which less than a quarter
/// is in use gives memory back.
const MAX_KEPT_CAPACITY: usize = 256;

/// Everything that waits for a time.
#[derive(Default)]
pub struct Timers(Mutex<Table>);

#[derive(Default)]
struct Table {
    places: Vec<Place>,
    /// Places that nobody has; and some that are in use again, or are no more.
    vacant: Vec<usize>,
    /// How many places are in use.
    live: usize,
    queue: BinaryHeap<Reverse<Entry>>,
    /// How many entries of the queue are no place's any more.
    stale: usize,
    serial: u64,
    over: bool,
}

#[derive(Default)]
struct Place {
    taken: bool,
    deadline: Option<Instant>,
    waker: Option<Waker>,
    /// When the queue will look here, and the entry by which it will.
    queued: Option<(Instant, u64)>,
}

/// When to look at a place. Entries of one instant are met in the order in which they were queued.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    serial: u64,
    place: usize,
}

/// The seat of one timer; [`Timers::release`] gives it up.
#[derive(Debug)]
pub struct TimerSlot(usize);

/// What came of waiting for a deadline.
pub enum Armed {
    /// The table has ended: nothing will be woken any more.
    Over,
    /// The deadline is in the table.
    Waiting {
        /// Whether it is earlier than any other: a thread that sleeps until [`Timers::next`] sleeps for
        /// too long.
        sooner: bool,
    },
}

impl Timers {
    /// Waits for `deadline`, which has not come yet.
    pub fn arm(
        &self,
        seat: &mut Option<TimerSlot>,
        cx: &mut Context<'_>,
        deadline: Instant,
    ) -> Armed {
        let mut table = self.table();
        if table.over {
            return Armed::Over;
        }
        let place = seat.get_or_insert_with(|| TimerSlot(table.claim())).0;
        let (former, sooner) = table.arm(place, cx.waker(), deadline);
        drop(table);
        drop(former);
        Armed::Waiting { sooner }
    }

    /// Ready if `deadline` is not after `now`, or if the table has [ended](Self::end). Otherwise leaves
    /// the waker, and calls `hasten` (with no lock held) if the caller of [`next`](Self::next) may be
    /// waiting for a later deadline.
    pub fn poll_until(
        &self,
        seat: &mut Option<TimerSlot>,
        cx: &mut Context<'_>,
        now: Instant,
        deadline: Instant,
        hasten: impl FnOnce(),
    ) -> Poll<()> {
        if now >= deadline {
            if let Some(seat) = seat {
                self.disarm(seat);
            }
            return Poll::Ready(());
        }
        match self.arm(seat, cx, deadline) {
            Armed::Over => Poll::Ready(()),
            Armed::Waiting { sooner } => {
                if sooner {
                    hasten();
                }
                Poll::Pending
            }
        }
    }

    /// Stops waiting, and keeps the seat.
    pub fn disarm(&self, seat: &TimerSlot) {
        let former = self.table().places[seat.0].disarm();
        drop(former);
    }

    /// Stops waiting, and leaves the seat to others.
    pub fn release(&self, TimerSlot(place): TimerSlot) {
        let mut table = self.table();
        let former = table.places[place].disarm();
        table.vacate(place);
        drop(table);
        drop(former);
    }

    /// When something has to be looked at next.
    pub fn next(&self) -> Option<Instant> {
        self.table().queue.peek().map(|Reverse(entry)| entry.at)
    }

    /// How many seats hold a waker that wakes what `waker` does.
    pub fn held(&self, waker: &Waker) -> usize {
        let table = self.table();
        let held = table.places.iter().filter_map(|place| place.waker.as_ref());
        held.filter(|held| held.will_wake(waker)).count()
    }

    /// Moves the wakers of those whose deadline has come by `now` to `due`, earliest first.
    pub fn expire(&self, now: Instant, due: &mut Vec<Waker>) {
        self.table().expire(now, due);
    }

    /// Ends all waiting, now and later.
    pub fn end(&self, due: &mut Vec<Waker>) {
        let mut table = self.table();
        table.over = true;
        table.queue.clear();
        due.extend(table.places.iter_mut().filter_map(Place::disarm));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn claim(&mut self) -> usize {
        self.live += 1;
        while let Some(index) = self.vacant.pop() {
            if let Some(place) = self.places.get_mut(index)
                && !place.taken
            {
                place.taken = true;
                return index;
            }
        }
        self.places.push(Place {
            taken: true,
            ..Place::default()
        });
        self.places.len() - 1
    }

    fn vacate(&mut self, index: usize) {
        self.live -= 1;
        self.places[index].taken = false;
        self.vacant.push(index);
        if self.places.len() > MAX_KEPT_CAPACITY && self.live < self.places.len() / 4 {
            self.shrink();
        }
    }

    /// Gives the memory of places back, from the last one on, until it meets one that is in use. Takes a
    /// step for each of them, and for each entry of theirs.
    fn shrink(&mut self) {
        let enough = (2 * self.live).max(MAX_KEPT_CAPACITY);
        while self.places.len() > enough
            && let Some(last) = self.places.pop_if(|last| !last.taken)
        {
            self.stale += usize::from(last.queued.is_some());
        }
        let places = self.places.len();
        if places < self.places.capacity() / 4 {
            self.places.shrink_to(2 * places);
            self.vacant.retain(|index| *index < places);
            self.vacant.shrink_to(2 * places);
            self.sweep();
            self.queue.shrink_to(2 * self.queue.len());
        }
    }

    fn arm(&mut self, index: usize, waker: &Waker, deadline: Instant) -> (Option<Waker>, bool) {
        let place = &mut self.places[index];
        place.deadline = Some(deadline);
        let former = match &place.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => place.waker.replace(waker.clone()),
        };
        if place.queued.is_some_and(|(at, _)| at <= deadline) {
            return (former, false);
        }
        if place.queued.is_some() {
            self.stale += 1;
        }
        self.enqueue(index, deadline);
        self.sweep();
        let first = self.queue.peek().map(|Reverse(entry)| entry.serial);
        (former, first == Some(self.serial))
    }

    fn enqueue(&mut self, place: usize, at: Instant) {
        self.serial += 1;
        self.places[place].queued = Some((at, self.serial));
        self.queue.push(Reverse(Entry {
            at,
            serial: self.serial,
            place,
        }));
    }

    fn sweep(&mut self) {
        if self.stale > self.places.len() + SMALL_TABLE_TIMERS {
            let places = &self.places;
            self.queue.retain(|Reverse(entry)| {
                let place = places.get(entry.place);
                place.is_some_and(|place| place.awaits(entry))
            });
            self.stale = 0;
        }
    }

    fn expire(&mut self, now: Instant, due: &mut Vec<Waker>) {
        while let Some(Reverse(entry)) = self.queue.peek().copied()
            && entry.at <= now
        {
            self.queue.pop();
            let place = self.places.get_mut(entry.place);
            let Some(place) = place.filter(|place| place.awaits(&entry)) else {
                self.stale -= 1;
                continue;
            };
            place.queued = None;
            match place.deadline {
                Some(deadline) if deadline > now => self.enqueue(entry.place, deadline),
                Some(_) => due.extend(place.disarm()),
                None => {}
            }
        }
    }
}

impl Place {
    fn awaits(&self, entry: &Entry) -> bool {
        self.queued
            .is_some_and(|(_, serial)| serial == entry.serial)
    }

    fn disarm(&mut self) -> Option<Waker> {
        self.deadline = None;
        self.waker.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
        time::Duration,
    };

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn arm(timers: &Timers, seat: &mut Option<TimerSlot>, at: Instant) -> bool {
        let armed = timers.arm(seat, &mut Context::from_waker(Waker::noop()), at);
        matches!(armed, Armed::Waiting { sooner: true })
    }

    fn expired(timers: &Timers, now: Instant) -> usize {
        let mut due = Vec::new();
        timers.expire(now, &mut due);
        due.len()
    }

    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_that_moved_later_is_put_back_when_its_entry_comes_up() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        assert!(arm(&timers, &mut seat, start + SECOND));
        assert!(!arm(&timers, &mut seat, start + HOUR));
        assert_eq!(timers.next(), Some(start + SECOND));
        assert_eq!(expired(&timers, start + SECOND), 0);
        assert_eq!(timers.next(), Some(start + HOUR));
        assert_eq!(expired(&timers, start + HOUR), 1);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_that_moved_earlier_is_met_once() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        arm(&timers, &mut seat, start + HOUR);
        assert!(arm(&timers, &mut seat, start + SECOND));
        assert_eq!(expired(&timers, start + SECOND), 1);
        assert_eq!(expired(&timers, start + HOUR), 0);
        assert_eq!(timers.table().stale, 0);
    }

    #[test]
    fn deadlines_come_in_order_and_equal_ones_in_the_order_of_arming() {
        let (timers, start) = (Timers::default(), now());
        let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
        for (count, seconds) in counts.iter().zip([3, 1, 2, 1]) {
            let waker = Waker::from(count.clone());
            let mut cx = Context::from_waker(&waker);
            timers.arm(&mut None, &mut cx, start + SECOND * seconds);
        }
        let mut due = Vec::new();
        timers.expire(start + HOUR, &mut due);
        let order: Vec<usize> = due
            .into_iter()
            .map(|waker| {
                waker.wake();
                counts
                    .iter()
                    .position(|count| count.0.swap(0, Ordering::Relaxed) == 1)
                    .unwrap()
            })
            .collect();
        assert_eq!(order, [1, 3, 2, 0]);
    }

    #[test]
    fn a_million_timers_armed_and_dropped_leave_one_entry() {
        let (timers, start) = (Timers::default(), now());
        for _ in 0..1_000_000 {
            let mut seat = None;
            arm(&timers, &mut seat, start + HOUR);
            timers.release(seat.unwrap());
        }
        let table = timers.table();
        assert_eq!((table.places.len(), table.queue.len()), (1, 1));
    }

    #[test]
    fn the_memory_of_a_burst_of_timers_is_given_back_and_the_others_are_kept() {
        let (timers, start) = (Timers::default(), now());
        let mut kept = None;
        arm(&timers, &mut kept, start + SECOND);
        let mut burst: Vec<_> = (0..100_000).map(|_| None).collect();
        for seat in &mut burst {
            arm(&timers, seat, start + HOUR);
        }
        // In some order that is neither theirs nor the other way round.
        let (even, odd): (Vec<_>, Vec<_>) = burst
            .into_iter()
            .flatten()
            .partition(|seat| seat.0 % 2 == 0);
        even.into_iter()
            .chain(odd)
            .for_each(|seat| timers.release(seat));
        {
            let table = timers.table();
            let held = table.places.capacity() + table.vacant.capacity() + table.queue.capacity();
            assert!(held <= 8 * MAX_KEPT_CAPACITY, "{held}");
        }
        let mut later = None;
        arm(&timers, &mut later, start + SECOND);
        assert_eq!(expired(&timers, start + SECOND), 2);
        assert_eq!(expired(&timers, start + HOUR), 0);
    }

    #[test]
    fn a_timer_at_the_last_place_outlives_a_burst() {
        let (timers, start) = (Timers::default(), now());
        let mut burst: Vec<_> = (0..1000).map(|_| None).collect();
        for seat in &mut burst {
            arm(&timers, seat, start + HOUR);
        }
        let last = burst.pop().flatten().unwrap();
        burst
            .into_iter()
            .flatten()
            .for_each(|seat| timers.release(seat));
        assert_eq!(timers.table().places.len(), 1000);
        timers.release(last);
        assert_eq!(timers.table().places.len(), MAX_KEPT_CAPACITY);
        // Places come and go, and each is given to one timer at a time.
        let mut others: Vec<_> = (0..2000).map(|_| None).collect();
        for seat in &mut others {
            arm(&timers, seat, start + SECOND);
        }
        assert_eq!(expired(&timers, start + SECOND), 2000);
        assert_eq!(expired(&timers, start + HOUR), 0);
        assert_eq!(timers.table().stale, 0);
    }

    #[test]
    fn deadlines_ever_earlier_do_not_pile_up() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        for n in 0..100_000 {
            arm(&timers, &mut seat, start + HOUR - Duration::from_micros(n));
        }
        assert!(timers.table().queue.len() <= SMALL_TABLE_TIMERS + 3);
    }

    #[test]
    fn a_dropped_timer_wakes_nobody() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        arm(&timers, &mut seat, start + SECOND);
        timers.release(seat.unwrap());
        assert_eq!(expired(&timers, start + HOUR), 0);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_disarmed_timer_wakes_nobody_until_it_is_armed_again() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        arm(&timers, &mut seat, start + SECOND);
        timers.disarm(seat.as_ref().unwrap());
        assert_eq!(timers.held(Waker::noop()), 0);
        assert_eq!(expired(&timers, start + SECOND), 0);
        assert!(arm(&timers, &mut seat, start + HOUR));
        assert_eq!(expired(&timers, start + HOUR), 1);
        assert_eq!(timers.table().places.len(), 1);
    }

    #[test]
    fn a_seat_taken_over_with_a_shorter_deadline_is_met_in_time() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        arm(&timers, &mut seat, start + HOUR);
        timers.release(seat.unwrap());
        let mut next = None;
        assert!(arm(&timers, &mut next, start + SECOND));
        assert_eq!(expired(&timers, start + SECOND), 1);
    }

    #[test]
    fn the_end_wakes_everybody_and_lets_nobody_wait_again() {
        let (timers, start) = (Timers::default(), now());
        let mut seat = None;
        arm(&timers, &mut seat, start + HOUR);
        let mut due = Vec::new();
        timers.end(&mut due);
        assert_eq!(due.len(), 1);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            timers.arm(&mut seat, &mut cx, start + HOUR),
            Armed::Over
        ));
    }
}
