//! A queue of ready tasks, for whoever writes a backend. No thread, no clock and no I/O.
//!
//! Tasks are `Send`; a task's waker is the task itself, in an `Arc`. The backend pops and polls.
//! Order is first in, first out: with the latest woken first, an HTTP/2 connection is polled
//! before the streams that have something to say, and writes once for each of them.
//!
//! ```
//! use httpcore_executor::TaskQueue;
//!
//! let queue = TaskQueue::new(|| {});
//! queue.spawn("greeting", Box::pin(async { println!("hello") }));
//! while let Some(task) = queue.pop() {
//!     task.run();
//! }
//! assert_eq!(queue.live(), 0);
//! ```

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use httpcore_core_primitives::BoxFuture;

/// Tasks, ready or not. Cloning it yields another handle to the same queue.
///
/// [`clear`](Self::clear) drops every task; so does dropping the last handle.
#[derive(Clone)]
pub struct TaskQueue {
    owner: Arc<Owner>,
}

struct Owner(Arc<Shared>);

struct Shared {
    ready: Mutex<VecDeque<Arc<Task>>>,
    /// Every task that has not ended, so that they can be dropped and named.
    live: Mutex<Live>,
    len: AtomicUsize,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl TaskQueue {
    /// An empty queue. `notify` is called after a task has become ready, from whichever thread
    /// woke it, with no lock held.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        TaskQueue {
            owner: Arc::new(Owner(Arc::new(Shared {
                ready: Mutex::default(),
                live: Mutex::default(),
                len: AtomicUsize::new(0),
                notify: Box::new(notify),
            }))),
        }
    }

    /// Adds a task, ready to run. `name` is for [`names`](Self::names). Whoever may want to end
    /// the task early keeps what this returns; to others it is nothing.
    pub fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> AbortHandle {
        let shared = &self.owner.0;
        let task = lock(&shared.live).insert(|place| Task {
            place,
            name,
            queued: AtomicBool::new(true),
            slot: Mutex::new(Slot::Resting(future)),
            shared: Arc::downgrade(shared),
        });
        shared.push(task.clone());
        AbortHandle(task)
    }

    /// Takes the task that has been ready longest.
    pub fn pop(&self) -> Option<Runnable> {
        self.pop_at(0)
    }

    /// Takes the ready task at `index`, 0 being the one that has been ready longest; for those who
    /// test with another order than this one.
    pub fn pop_at(&self, index: usize) -> Option<Runnable> {
        let shared = &self.owner.0;
        let mut ready = lock(&shared.ready);
        let task = if index == 0 {
            ready.pop_front()
        } else {
            ready.remove(index)
        }?;
        if ready.capacity() > MAX_KEPT_CAPACITY && ready.len() < ready.capacity() / 4 {
            let room = ready.len() * 2;
            ready.shrink_to(room);
        }
        shared.len.store(ready.len(), Ordering::Release);
        Some(Runnable(task))
    }

    /// How many tasks are ready.
    ///
    /// A task is counted before `notify` is called for it, in an order which everybody agrees on
    /// (`SeqCst`). So whoever first says that it sleeps, in an atomic which `notify` reads, and then
    /// finds nothing here is notified of whatever comes.
    pub fn ready(&self) -> usize {
        self.owner.0.len.load(Ordering::SeqCst)
    }

    /// How many tasks have not ended.
    pub fn live(&self) -> usize {
        lock(&self.owner.0.live).len()
    }

    /// The names of the tasks that have not ended, oldest first.
    pub fn names(&self) -> Vec<&'static str> {
        let mut tasks: Vec<_> = lock(&self.owner.0.live)
            .tasks
            .iter()
            .map(|task| (task.place.born, task.name))
            .collect();
        tasks.sort_unstable();
        tasks.into_iter().map(|(_, name)| name).collect()
    }

    /// Drops every task, ready or not. What they drop may spawn again: this goes on until nothing
    /// is left.
    pub fn clear(&self) {
        self.owner.0.clear();
    }
}

impl fmt::Debug for TaskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQueue")
            .field("ready", &self.ready())
            .field("live", &self.names())
            .finish()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Shared {
    fn push(&self, task: Arc<Task>) {
        {
            let mut ready = lock(&self.ready);
            ready.push_back(task);
            self.len.store(ready.len(), Ordering::SeqCst);
        }
        (self.notify)();
    }

    fn clear(&self) {
        loop {
            let tasks = lock(&self.live).drain();
            let ready = {
                let mut ready = lock(&self.ready);
                self.len.store(0, Ordering::Release);
                std::mem::take(&mut *ready)
            };
            if tasks.is_empty() && ready.is_empty() {
                return;
            }
            // Each future is dropped outside the locks: its drop may wake and spawn.
            for task in tasks {
                task.end();
            }
        }
    }
}

/// Capacity, in tasks, that a table keeps however few tasks there are. Above it, a table which is less
/// than a quarter full gives half or more of its memory back.
const MAX_KEPT_CAPACITY: usize = 256;

/// The tasks that have not ended, in no order, each at an index it knows.
#[derive(Default)]
struct Live {
    tasks: Vec<Arc<Task>>,
    born: u64,
}

/// Where a task is kept among those which have not ended, and when it came.
struct Place {
    /// Changes when another task leaves. Read and written with [`Shared::live`] locked.
    index: AtomicUsize,
    born: u64,
}

impl Live {
    fn insert(&mut self, task: impl FnOnce(Place) -> Task) -> Arc<Task> {
        self.born += 1;
        let task = Arc::new(task(Place {
            index: AtomicUsize::new(self.tasks.len()),
            born: self.born,
        }));
        self.tasks.push(task.clone());
        task
    }

    /// Takes `task` out, unless it has been taken out before.
    fn remove(&mut self, task: &Task) -> Option<Arc<Task>> {
        let index = task.place.index.load(Ordering::Relaxed);
        let known = self.tasks.get(index)?;
        if !std::ptr::eq(Arc::as_ptr(known), task) {
            return None;
        }
        let removed = self.tasks.swap_remove(index);
        if let Some(moved) = self.tasks.get(index) {
            moved.place.index.store(index, Ordering::Relaxed);
        }
        if self.tasks.capacity() > MAX_KEPT_CAPACITY && self.tasks.len() < self.tasks.capacity() / 4
        {
            self.tasks.shrink_to(self.tasks.len() * 2);
        }
        Some(removed)
    }

    fn drain(&mut self) -> Vec<Arc<Task>> {
        std::mem::take(&mut self.tasks)
    }

    fn len(&self) -> usize {
        self.tasks.len()
    }
}

struct Task {
    place: Place,
    name: &'static str,
    /// Whether the task is in the ready queue, or is about to be polled. Cleared before the poll,
    /// so that a wake during it queues the task again. Always swapped: a wake that finds it set adds
    /// nothing, and then the poll which clears it must see what was written before that wake.
    queued: AtomicBool,
    slot: Mutex<Slot>,
    shared: Weak<Shared>,
}

/// Where a task's future is.
enum Slot {
    Resting(BoxFuture<'static, ()>),
    /// With whoever polls it.
    Polled,
    /// With whoever polls it, and somebody else has been told meanwhile to poll it once more.
    PolledAndDue,
    /// Nowhere: it ended, or it was cancelled.
    Over,
}

impl Task {
    /// Takes the future back after a poll, unless the task was cancelled meanwhile.
    fn rest(self: &Arc<Self>, future: BoxFuture<'static, ()>) {
        let mut slot = lock(&self.slot);
        match *slot {
            Slot::Polled => *slot = Slot::Resting(future),
            Slot::PolledAndDue => {
                *slot = Slot::Resting(future);
                drop(slot);
                self.wake_by_ref();
            }
            // Never stored again: another thread could poll what was cancelled.
            Slot::Over | Slot::Resting(_) => {
                drop(slot);
                drop(future);
            }
        }
    }

    /// Drops the future, now or when whoever polls it is done with that.
    fn end(&self) {
        let slot = std::mem::replace(&mut *lock(&self.slot), Slot::Over);
        drop(slot);
    }

    fn forget(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let entry = lock(&shared.live).remove(self);
            drop(entry);
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(shared) = self.shared.upgrade()
        {
            shared.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(shared) = self.shared.upgrade()
        {
            shared.push(self.clone());
        }
    }
}

/// A task, as seen by who spawned it. Dropping this changes nothing for the task.
#[derive(Clone)]
pub struct AbortHandle(Arc<Task>);

impl AbortHandle {
    /// Ends the task: its future is dropped before this returns or, if it is being polled right
    /// now, as soon as that poll is over. Does nothing to a task that has ended.
    pub fn cancel(&self) {
        self.0.forget();
        self.0.end();
    }

    /// What the task was called when it was spawned.
    pub fn name(&self) -> &'static str {
        self.0.name
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spawned({})", self.name())
    }
}

/// A task taken from the queue, to be polled once.
pub struct Runnable(Arc<Task>);

impl Runnable {
    /// What the task was called when it was spawned.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Polls the task once. If it ends, its future is dropped before this returns; if it panics,
    /// it has ended, and the panic goes on.
    pub fn run(self) {
        let Runnable(task) = self;
        task.queued.swap(false, Ordering::AcqRel);
        let taken = {
            let mut slot = lock(&task.slot);
            match *slot {
                Slot::Resting(_) => std::mem::replace(&mut *slot, Slot::Polled),
                Slot::Polled | Slot::PolledAndDue => {
                    *slot = Slot::PolledAndDue;
                    return;
                }
                Slot::Over => return,
            }
        };
        let Slot::Resting(mut future) = taken else {
            return;
        };
        let waker = Waker::from(task.clone());
        let ending = Ending(&task);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_pending() {
            std::mem::forget(ending);
            task.rest(future);
        } else {
            drop(future);
        }
    }
}

/// Ends a task that is not told otherwise: also when polling it panics.
struct Ending<'a>(&'a Task);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.0.forget();
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready({})", self.name())
    }
}

/// Nothing of ours panics while it holds a lock; a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, task::Poll};

    fn run_all(queue: &TaskQueue) {
        while let Some(task) = queue.pop() {
            task.run();
        }
    }

    #[test]
    fn tasks_run_in_the_order_in_which_they_became_ready() {
        let queue = TaskQueue::new(|| {});
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..4 {
            let order = order.clone();
            let mut polled = false;
            queue.spawn(
                "counter",
                Box::pin(poll_fn(move |cx| {
                    order.lock().unwrap().push(n);
                    if std::mem::replace(&mut polled, true) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })),
            );
        }
        run_all(&queue);
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(queue.live(), 0);
    }

    #[test]
    fn a_task_woken_many_times_is_queued_once() {
        let queue = TaskQueue::new(|| {});
        let seat: Arc<Mutex<Option<Waker>>> = Arc::default();
        let kept = seat.clone();
        queue.spawn(
            "sleeper",
            Box::pin(poll_fn(move |cx| {
                *kept.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })),
        );
        run_all(&queue);
        let waker = seat.lock().unwrap().clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(queue.ready(), 1);
        run_all(&queue);
        assert_eq!((queue.ready(), queue.names()), (0, vec!["sleeper"]));
    }

    /// Two threads, in rounds: one polls the task while the other writes a number, with no order but
    /// that, and wakes it. How soon each comes differs from round to round; some meet the moment which
    /// a plain load and store would lose: hundreds, since this crate is optimised for tests too.
    #[test]
    fn a_wake_during_a_poll_is_seen_by_that_poll_or_brings_another() {
        const ROUNDS: usize = 200_000;
        let spin = |times: usize| (0..times).for_each(|_| std::hint::spin_loop());
        let await_round = |round: &AtomicUsize, n: usize| {
            for waited in 0.. {
                if round.load(Ordering::Acquire) >= n {
                    return;
                }
                if waited > 1000 {
                    std::thread::yield_now();
                }
                spin(1);
            }
        };
        let (written, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begun, ended, mut missed) = (AtomicUsize::new(0), AtomicUsize::new(0), 0);
        let queue = TaskQueue::new(|| {});
        let seat: Arc<Mutex<Option<Waker>>> = Arc::default();
        let (kept, what, told) = (seat.clone(), written.clone(), seen.clone());
        queue.spawn(
            "reader",
            Box::pin(poll_fn(move |cx| {
                told.store(what.load(Ordering::Relaxed), Ordering::Relaxed);
                lock(&kept).get_or_insert_with(|| cx.waker().clone());
                Poll::Pending
            })),
        );
        run_all(&queue);
        let waker = lock(&seat).clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=ROUNDS {
                    await_round(&begun, n);
                    waker.wake_by_ref(); // the cache has its line at hand then, and not that of `written`
                    spin(n / 64 % 32);
                    written.store(n, Ordering::Relaxed);
                    waker.wake_by_ref();
                    ended.store(n, Ordering::Release);
                }
            });
            for n in 1..=ROUNDS {
                waker.wake_by_ref();
                let task = queue.pop().unwrap();
                begun.store(n, Ordering::Release);
                spin(n % 64);
                task.run();
                await_round(&ended, n);
                run_all(&queue);
                missed += usize::from(seen.load(Ordering::Relaxed) != n);
            }
        });
        assert_eq!(missed, 0);
    }

    #[test]
    fn clearing_drops_the_futures_although_their_wakers_live_on() {
        let queue = TaskQueue::new(|| {});
        let alive = Arc::new(());
        let held = alive.clone();
        let seat: Arc<Mutex<Option<Waker>>> = Arc::default();
        let kept = seat.clone();
        queue.spawn(
            "holder",
            Box::pin(poll_fn(move |cx| {
                let _hold = &held;
                *kept.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })),
        );
        run_all(&queue);
        queue.clear();
        assert_eq!(Arc::strong_count(&alive), 1);
        let waker = seat.lock().unwrap().take().unwrap();
        waker.wake();
        run_all(&queue);
        assert_eq!(queue.live(), 0);
    }

    #[test]
    fn a_queue_cleared_by_one_of_its_tasks_is_empty_afterwards() {
        let queue = TaskQueue::new(|| {});
        let handle = Arc::downgrade(&queue.owner.0);
        queue.spawn(
            "last",
            Box::pin(poll_fn(move |_| {
                if let Some(shared) = handle.upgrade() {
                    shared.clear();
                }
                Poll::Pending
            })),
        );
        run_all(&queue);
        assert_eq!((queue.live(), queue.ready()), (0, 0));
    }

    #[test]
    fn a_task_which_spawns_when_dropped_does_not_survive_clearing() {
        struct SpawnOnDrop(RunQueueHandle);
        type RunQueueHandle = Weak<Shared>;
        impl Drop for SpawnOnDrop {
            fn drop(&mut self) {
                if let Some(shared) = self.0.upgrade() {
                    let task = lock(&shared.live).insert(|place| Task {
                        place,
                        name: "afterthought",
                        queued: AtomicBool::new(true),
                        slot: Mutex::new(Slot::Resting(Box::pin(async {}))),
                        shared: Arc::downgrade(&shared),
                    });
                    shared.push(task);
                }
            }
        }
        let queue = TaskQueue::new(|| {});
        let guard = SpawnOnDrop(Arc::downgrade(&queue.owner.0));
        queue.spawn(
            "first",
            Box::pin(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            }),
        );
        run_all(&queue);
        queue.clear();
        assert_eq!((queue.live(), queue.ready()), (0, 0));
    }

    #[test]
    fn a_cancelled_task_drops_its_future_at_once_and_leaves_the_books() {
        let queue = TaskQueue::new(|| {});
        let alive = Arc::new(());
        let held = alive.clone();
        let task = queue.spawn(
            "holder",
            Box::pin(async move {
                let _hold = held;
                std::future::pending::<()>().await;
            }),
        );
        run_all(&queue);
        task.cancel();
        assert_eq!((Arc::strong_count(&alive), queue.live()), (1, 0));
        let next = queue.spawn("next", Box::pin(std::future::pending()));
        task.cancel();
        assert_eq!((queue.live(), next.name()), (1, "next"));
    }

    #[test]
    fn a_task_that_cancels_itself_is_gone_after_its_poll() {
        let queue = TaskQueue::new(|| {});
        let alive = Arc::new(());
        let seat: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
        let (held, own) = (alive.clone(), seat.clone());
        let task = queue.spawn(
            "quitter",
            Box::pin(poll_fn(move |_| {
                let _hold = &held;
                own.lock().unwrap().take().unwrap().cancel();
                Poll::Pending
            })),
        );
        *seat.lock().unwrap() = Some(task);
        run_all(&queue);
        assert_eq!((Arc::strong_count(&alive), queue.live()), (1, 0));
    }

    /// One thread polls a task, which cancels itself; another tries to run it all the while.
    #[test]
    fn a_task_cancelled_while_its_poll_ends_is_never_polled_again() {
        let mut polled_again = 0;
        for _ in 0..300 {
            let queue = TaskQueue::new(|| {});
            let (polls, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let own: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
            let (counted, other, kept) = (polls.clone(), ran.clone(), own.clone());
            let task = queue.spawn(
                "cancelled",
                Box::pin(poll_fn(move |_| {
                    if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                        let before = other.load(Ordering::SeqCst);
                        while other.load(Ordering::SeqCst) == before {
                            std::thread::yield_now();
                        }
                        let own = lock(&kept).take();
                        own.unwrap().cancel();
                    }
                    Poll::Pending
                })),
            );
            let inner = task.0.clone();
            *lock(&own) = Some(task);
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        if polls.load(Ordering::SeqCst) == 0 {
                            std::thread::yield_now();
                            continue;
                        }
                        Runnable(inner.clone()).run();
                        ran.fetch_add(1, Ordering::SeqCst);
                    }
                });
                queue.pop().unwrap().run();
                over.store(true, Ordering::SeqCst);
            });
            polled_again += usize::from(polls.load(Ordering::SeqCst) > 1);
        }
        assert_eq!(polled_again, 0);
    }

    #[test]
    fn the_memory_of_a_burst_of_tasks_is_given_back() {
        let queue = TaskQueue::new(|| {});
        let mut tasks: Vec<_> = (0..100_000)
            .map(|_| queue.spawn("burst", Box::pin(std::future::pending())))
            .collect();
        run_all(&queue);
        // The first and the last to come stay.
        let kept = [tasks.remove(0), tasks.pop().unwrap()];
        for task in tasks {
            task.cancel();
        }
        let shared = &queue.owner.0;
        assert!(lock(&shared.live).tasks.capacity() <= MAX_KEPT_CAPACITY);
        assert!(lock(&shared.ready).capacity() <= MAX_KEPT_CAPACITY);
        assert_eq!(queue.live(), 2);
        kept[0].cancel();
        kept[0].cancel();
        assert_eq!(queue.live(), 1);
        kept[1].cancel();
        assert_eq!(queue.live(), 0);
    }

    #[test]
    fn a_wake_taken_from_the_queue_during_a_poll_is_not_lost() {
        let queue = TaskQueue::new(|| {});
        let inner = Arc::downgrade(&queue.owner.0);
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        queue.spawn(
            "nested",
            Box::pin(poll_fn(move |cx| {
                if counted.fetch_add(1, Ordering::Relaxed) > 0 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                // Somebody runs the queue from within this poll, and meets this very task.
                let task = lock(&inner.upgrade().unwrap().ready).pop_front().unwrap();
                Runnable(task).run();
                Poll::Pending
            })),
        );
        run_all(&queue);
        assert_eq!((polls.load(Ordering::Relaxed), queue.live()), (2, 0));
    }

    #[test]
    fn a_task_that_panics_has_ended() {
        let queue = TaskQueue::new(|| {});
        queue.spawn("clumsy", Box::pin(async { panic!("on purpose") }));
        let task = queue.pop().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.run()));
        assert!(outcome.is_err());
        assert_eq!((queue.live(), queue.ready()), (0, 0));
    }
}
