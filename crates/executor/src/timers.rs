//! A table of deadlines, most of which are never reached.
//!
//! Each timer has a *slot* with its deadline and its waker. A heap holds at most one valid *entry* for
//! each slot: the time at which to look at the slot. Moving a deadline later and disarming a timer
//! change only the slot; when the entry's time comes and the deadline has moved, the entry is inserted
//! again. A released slot keeps its entry, and the next timer that gets the slot with the same or a later
//! deadline needs no new one. A deadline per request therefore costs a few words of writing, and the
//! number of entries is bounded by the maximum number of timers at one time, plus stale entries, which
//! were replaced by earlier ones; these are removed when they outnumber the slots.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    task::{Context, Poll, Waker},
    time::Instant,
};

use crate::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// Number of stale entries up to which they are not removed.
const SMALL_STALE_ENTRIES: usize = 64;

/// Number of slots that are kept however few timers there are. Above it, a table with less than a quarter
/// of its slots in use frees memory.
const MAX_KEPT_SLOTS: usize = 256;

/// A table of timers.
#[derive(Default)]
pub struct Timers(Mutex<Table>);

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    /// Indices of free slots. Some may be in use again, or be no longer in the table.
    free: Vec<usize>,
    /// Number of slots in use.
    used: usize,
    entries: BinaryHeap<Reverse<Entry>>,
    /// Number of entries that no slot refers to.
    stale: usize,
    /// The number of the latest entry.
    serial: u64,
    has_ended: bool,
}

#[derive(Default)]
struct Slot {
    is_used: bool,
    deadline: Option<Instant>,
    waker: Option<SlotWaker>,
    /// Time and serial number of the slot's valid entry.
    entry: Option<(Instant, u64)>,
}

/// A waker in a slot, and the count in which it is included.
struct SlotWaker {
    waker: Waker,
    count: Option<WakerCount>,
}

/// The time at which to look at a slot. Equal times are ordered by serial number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    serial: u64,
    slot: usize,
}

/// The slot of one timer, to be returned with [`Timers::release`].
#[derive(Debug)]
pub struct TimerSlot(usize);

/// The number of wakers in slots that were armed with this count. Cloning it yields another handle to the
/// same count.
///
/// An event loop uses it to tell references to a waker that only a timer holds from all others. It is
/// incremented by the thread that arms, after the waker has been cloned, and decremented before the
/// waker is dropped or called: it is never larger than the number of clones.
#[derive(Clone, Default)]
pub struct WakerCount(Arc<AtomicUsize>);

impl WakerCount {
    /// Returns the number of wakers.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for WakerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WakerCount").field(&self.get()).finish()
    }
}

/// The result of arming a timer.
pub enum Armed {
    /// The table has [ended](Timers::end): no waker will be called.
    Ended,
    /// The deadline is in the table.
    Waiting {
        /// Whether it is earlier than every other: a thread that sleeps until the former
        /// [`Timers::next`] must be woken.
        is_earliest: bool,
    },
}

impl Timers {
    /// Arms a timer: `cx`'s waker will be passed to the caller of [`expire`](Self::expire) once
    /// `deadline`, which has not passed yet, has passed. Takes a slot if `slot` is `None`. The waker is
    /// included in `count` while the table holds it.
    pub fn arm(
        &self,
        slot: &mut Option<TimerSlot>,
        cx: &mut Context<'_>,
        deadline: Instant,
        count: Option<&WakerCount>,
    ) -> Armed {
        let mut table = self.table();
        if table.has_ended {
            return Armed::Ended;
        }
        let index = slot.get_or_insert_with(|| TimerSlot(table.take_slot())).0;
        let (former, is_earliest) = table.arm(index, cx.waker(), deadline, count);
        drop(table);
        drop(former);
        Armed::Waiting { is_earliest }
    }

    /// Ready if `deadline` is not after `now`, or if the table has [ended](Self::end). Otherwise
    /// [arms](Self::arm) the timer, and calls `on_earlier`, with no lock held, if the caller of
    /// [`next`](Self::next) may be waiting for a later deadline.
    pub fn poll_until(
        &self,
        slot: &mut Option<TimerSlot>,
        cx: &mut Context<'_>,
        now: Instant,
        deadline: Instant,
        count: Option<&WakerCount>,
        on_earlier: impl FnOnce(),
    ) -> Poll<()> {
        if now >= deadline {
            if let Some(slot) = slot {
                self.disarm(slot);
            }
            return Poll::Ready(());
        }
        match self.arm(slot, cx, deadline, count) {
            Armed::Ended => Poll::Ready(()),
            Armed::Waiting { is_earliest } => {
                if is_earliest {
                    on_earlier();
                }
                Poll::Pending
            }
        }
    }

    /// Drops the deadline and the waker, and keeps the slot.
    pub fn disarm(&self, slot: &TimerSlot) {
        let former = self.table().slots[slot.0].disarm();
        drop(former);
    }

    /// Drops the deadline and the waker, and returns the slot.
    pub fn release(&self, TimerSlot(index): TimerSlot) {
        let mut table = self.table();
        let former = table.slots[index].disarm();
        table.return_slot(index);
        drop(table);
        drop(former);
    }

    /// Returns the time at which [`expire`](Self::expire) is to be called next. It may be earlier than the
    /// next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.table().entries.peek().map(|Reverse(entry)| entry.at)
    }

    /// Moves the wakers whose deadline is not after `now` to `ready`, earliest first. The caller calls
    /// them, with no lock held.
    pub fn expire(&self, now: Instant, ready: &mut Vec<Waker>) {
        self.table().expire(now, ready);
    }

    /// Ends the table: moves all wakers to `ready`. Timers cannot be armed any more.
    pub fn end(&self, ready: &mut Vec<Waker>) {
        let mut table = self.table();
        table.has_ended = true;
        table.entries.clear();
        ready.extend(table.slots.iter_mut().filter_map(Slot::disarm));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

impl Table {
    fn take_slot(&mut self) -> usize {
        self.used += 1;
        while let Some(index) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(index)
                && !slot.is_used
            {
                slot.is_used = true;
                return index;
            }
        }
        self.slots.push(Slot {
            is_used: true,
            ..Slot::default()
        });
        self.slots.len() - 1
    }

    fn return_slot(&mut self, index: usize) {
        self.used -= 1;
        self.slots[index].is_used = false;
        self.free.push(index);
        if self.slots.len() > MAX_KEPT_SLOTS && self.used < self.slots.len() / 4 {
            self.shrink();
        }
    }

    /// Removes unused slots from the end of the table, up to the last one that is in use, and frees
    /// memory. Takes time proportional to the number of removed slots and of entries.
    fn shrink(&mut self) {
        let target = (2 * self.used).max(MAX_KEPT_SLOTS);
        while self.slots.len() > target
            && let Some(last) = self.slots.pop_if(|last| !last.is_used)
        {
            self.stale += usize::from(last.entry.is_some());
        }
        let slots = self.slots.len();
        if slots < self.slots.capacity() / 4 {
            self.slots.shrink_to(2 * slots);
            self.free.retain(|index| *index < slots);
            self.free.shrink_to(2 * slots);
            self.remove_stale();
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    fn arm(
        &mut self,
        index: usize,
        waker: &Waker,
        deadline: Instant,
        count: Option<&WakerCount>,
    ) -> (Option<Waker>, bool) {
        let slot = &mut self.slots[index];
        slot.deadline = Some(deadline);
        let former = match &slot.waker {
            Some(known) if known.is(waker, count) => None,
            _ => slot.take_waker(),
        };
        if slot.waker.is_none() {
            slot.waker = Some(SlotWaker::new(waker, count));
        }
        if slot.entry.is_some_and(|(at, _)| at <= deadline) {
            return (former, false);
        }
        if slot.entry.is_some() {
            self.stale += 1;
        }
        self.insert_entry(index, deadline);
        self.remove_stale();
        let first = self.entries.peek().map(|Reverse(entry)| entry.serial);
        (former, first == Some(self.serial))
    }

    fn insert_entry(&mut self, slot: usize, at: Instant) {
        self.serial += 1;
        self.slots[slot].entry = Some((at, self.serial));
        self.entries.push(Reverse(Entry {
            at,
            serial: self.serial,
            slot,
        }));
    }

    fn remove_stale(&mut self) {
        if self.stale > self.slots.len() + SMALL_STALE_ENTRIES {
            let slots = &self.slots;
            self.entries.retain(|Reverse(entry)| {
                let slot = slots.get(entry.slot);
                slot.is_some_and(|slot| slot.refers_to(entry))
            });
            self.stale = 0;
        }
    }

    fn expire(&mut self, now: Instant, ready: &mut Vec<Waker>) {
        while let Some(Reverse(entry)) = self.entries.peek().copied()
            && entry.at <= now
        {
            self.entries.pop();
            let slot = self.slots.get_mut(entry.slot);
            let Some(slot) = slot.filter(|slot| slot.refers_to(&entry)) else {
                self.stale -= 1;
                continue;
            };
            slot.entry = None;
            match slot.deadline {
                Some(deadline) if deadline > now => self.insert_entry(entry.slot, deadline),
                Some(_) => ready.extend(slot.disarm()),
                None => {}
            }
        }
    }
}

impl Slot {
    fn refers_to(&self, entry: &Entry) -> bool {
        self.entry.is_some_and(|(_, serial)| serial == entry.serial)
    }

    fn disarm(&mut self) -> Option<Waker> {
        self.deadline = None;
        self.take_waker()
    }

    /// Takes the waker out, which the caller drops or calls after the lock is released.
    fn take_waker(&mut self) -> Option<Waker> {
        let SlotWaker { waker, count } = self.waker.take()?;
        if let Some(WakerCount(count)) = count {
            count.fetch_sub(1, Ordering::SeqCst);
        }
        Some(waker)
    }
}

impl SlotWaker {
    fn new(waker: &Waker, count: Option<&WakerCount>) -> Self {
        let waker = waker.clone();
        if let Some(WakerCount(count)) = count {
            count.fetch_add(1, Ordering::SeqCst);
        }
        SlotWaker {
            waker,
            count: count.cloned(),
        }
    }

    fn is(&self, waker: &Waker, count: Option<&WakerCount>) -> bool {
        let same_count = match (&self.count, count) {
            (Some(known), Some(count)) => Arc::ptr_eq(&known.0, &count.0),
            (None, None) => true,
            _ => false,
        };
        same_count && self.waker.will_wake(waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{task::Wake, time::Duration};

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

    fn arm(timers: &Timers, slot: &mut Option<TimerSlot>, at: Instant) -> bool {
        let armed = timers.arm(slot, &mut Context::from_waker(Waker::noop()), at, None);
        matches!(armed, Armed::Waiting { is_earliest: true })
    }

    fn expired(timers: &Timers, now: Instant) -> usize {
        let mut ready = Vec::new();
        timers.expire(now, &mut ready);
        ready.len()
    }

    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn deadline_moved_later_is_met_at_the_later_time() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        assert!(arm(&timers, &mut slot, start + SECOND));
        assert!(!arm(&timers, &mut slot, start + HOUR));
        assert_eq!(timers.next(), Some(start + SECOND));
        assert_eq!(expired(&timers, start + SECOND), 0);
        assert_eq!(timers.next(), Some(start + HOUR));
        assert_eq!(expired(&timers, start + HOUR), 1);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn deadline_moved_earlier_is_met_once() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        arm(&timers, &mut slot, start + HOUR);
        assert!(arm(&timers, &mut slot, start + SECOND));
        assert_eq!(expired(&timers, start + SECOND), 1);
        assert_eq!(expired(&timers, start + HOUR), 0);
        assert_eq!(timers.table().stale, 0);
    }

    #[test]
    fn timers_expire_in_order_of_deadline_and_then_of_arming() {
        let (timers, start) = (Timers::default(), now());
        let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
        for (count, seconds) in counts.iter().zip([3, 1, 2, 1]) {
            let waker = Waker::from(count.clone());
            let mut cx = Context::from_waker(&waker);
            timers.arm(&mut None, &mut cx, start + SECOND * seconds, None);
        }
        let mut ready = Vec::new();
        timers.expire(start + HOUR, &mut ready);
        let order: Vec<usize> = ready
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
    fn a_million_armed_and_released_timers_leave_one_entry() {
        let (timers, start) = (Timers::default(), now());
        for _ in 0..1_000_000 {
            let mut slot = None;
            arm(&timers, &mut slot, start + HOUR);
            timers.release(slot.unwrap());
        }
        let table = timers.table();
        assert_eq!((table.slots.len(), table.entries.len()), (1, 1));
    }

    #[test]
    fn memory_of_a_burst_of_timers_is_freed_and_other_timers_are_kept() {
        let (timers, start) = (Timers::default(), now());
        let mut kept = None;
        arm(&timers, &mut kept, start + SECOND);
        let mut burst: Vec<_> = (0..100_000).map(|_| None).collect();
        for slot in &mut burst {
            arm(&timers, slot, start + HOUR);
        }
        // In another order than that of arming, and than its reverse.
        let (even, odd): (Vec<_>, Vec<_>) = burst
            .into_iter()
            .flatten()
            .partition(|slot| slot.0 % 2 == 0);
        even.into_iter()
            .chain(odd)
            .for_each(|slot| timers.release(slot));
        {
            let table = timers.table();
            let capacity =
                table.slots.capacity() + table.free.capacity() + table.entries.capacity();
            assert!(capacity <= 8 * MAX_KEPT_SLOTS, "{capacity}");
        }
        let mut later = None;
        arm(&timers, &mut later, start + SECOND);
        assert_eq!(expired(&timers, start + SECOND), 2);
        assert_eq!(expired(&timers, start + HOUR), 0);
    }

    #[test]
    fn timer_in_the_last_slot_outlives_a_burst() {
        let (timers, start) = (Timers::default(), now());
        let mut burst: Vec<_> = (0..1000).map(|_| None).collect();
        for slot in &mut burst {
            arm(&timers, slot, start + HOUR);
        }
        let last = burst.pop().flatten().unwrap();
        burst
            .into_iter()
            .flatten()
            .for_each(|slot| timers.release(slot));
        assert_eq!(timers.table().slots.len(), 1000);
        timers.release(last);
        assert_eq!(timers.table().slots.len(), MAX_KEPT_SLOTS);
        // Each free slot is given to one timer only.
        let mut others: Vec<_> = (0..2000).map(|_| None).collect();
        for slot in &mut others {
            arm(&timers, slot, start + SECOND);
        }
        assert_eq!(expired(&timers, start + SECOND), 2000);
        assert_eq!(expired(&timers, start + HOUR), 0);
        assert_eq!(timers.table().stale, 0);
    }

    #[test]
    fn stale_entries_of_ever_earlier_deadlines_are_bounded() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        for n in 0..100_000 {
            arm(&timers, &mut slot, start + HOUR - Duration::from_micros(n));
        }
        assert!(timers.table().entries.len() <= SMALL_STALE_ENTRIES + 3);
    }

    #[test]
    fn released_timer_calls_no_waker() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        arm(&timers, &mut slot, start + SECOND);
        timers.release(slot.unwrap());
        assert_eq!(expired(&timers, start + HOUR), 0);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn disarmed_timer_calls_no_waker_until_it_is_armed_again() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        arm(&timers, &mut slot, start + SECOND);
        timers.disarm(slot.as_ref().unwrap());
        assert_eq!(expired(&timers, start + SECOND), 0);
        assert!(arm(&timers, &mut slot, start + HOUR));
        assert_eq!(expired(&timers, start + HOUR), 1);
        assert_eq!(timers.table().slots.len(), 1);
    }

    #[test]
    fn shorter_deadline_in_a_reused_slot_is_met_in_time() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        arm(&timers, &mut slot, start + HOUR);
        timers.release(slot.unwrap());
        let mut next = None;
        assert!(arm(&timers, &mut next, start + SECOND));
        assert_eq!(expired(&timers, start + SECOND), 1);
    }

    #[test]
    fn end_returns_all_wakers_and_refuses_new_timers() {
        let (timers, start) = (Timers::default(), now());
        let mut slot = None;
        arm(&timers, &mut slot, start + HOUR);
        let mut ready = Vec::new();
        timers.end(&mut ready);
        assert_eq!(ready.len(), 1);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            timers.arm(&mut slot, &mut cx, start + HOUR, None),
            Armed::Ended
        ));
    }

    #[test]
    fn wakers_are_counted_while_a_slot_holds_them() {
        let (timers, start) = (Timers::default(), now());
        let (count, other) = (WakerCount::default(), WakerCount::default());
        let waker = Waker::from(Arc::<Count>::default());
        let arm = |slot: &mut Option<TimerSlot>, after, count| {
            let mut cx = Context::from_waker(&waker);
            timers.arm(slot, &mut cx, start + after, count);
        };
        let mut slots = [None, None, None, None];
        for slot in &mut slots {
            arm(slot, HOUR, Some(&count));
            arm(slot, SECOND, Some(&count));
        }
        assert_eq!(count.get(), 4);
        let [first, second, third, fourth] = &mut slots;
        timers.disarm(first.as_ref().unwrap());
        assert_eq!(count.get(), 3);
        timers.release(second.take().unwrap());
        assert_eq!(count.get(), 2);
        arm(third, SECOND, None);
        assert_eq!(count.get(), 1);
        arm(fourth, SECOND, Some(&other));
        assert_eq!((count.get(), other.get()), (0, 1));
        arm(first, HOUR, Some(&count));
        assert_eq!(expired(&timers, start + SECOND), 2);
        assert_eq!((count.get(), other.get()), (1, 0));
        timers.end(&mut Vec::new());
        assert_eq!(count.get(), 0);
    }
}
