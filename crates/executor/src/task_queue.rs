//! A queue of tasks that are ready to be polled, for backends. No thread, no clock and no I/O.
//!
//! Tasks are `Send`; a task's waker is the task itself, in an `Arc`. The backend pops and polls.
//! The order is first in, first out: in the reverse order, an HTTP/2 connection would be polled before
//! the streams that have data to send, and would write once for each of them.
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
    task::{Context, Wake, Waker},
};

use httpcore_core_primitives::BoxFuture;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, Weak, lock};

/// A set of tasks, ready or not. Cloning it yields another handle to the same set.
///
/// [`clear`](Self::clear) drops every task; so does dropping the last handle.
#[derive(Clone)]
pub struct TaskQueue {
    owner: Arc<Owner>,
}

struct Owner(Arc<Shared>);

struct Shared {
    ready: Mutex<VecDeque<Arc<Task>>>,
    /// All tasks that have not ended, so that they can be dropped and listed.
    live: Mutex<Live>,
    /// The length of `ready`, readable without the lock.
    len: AtomicUsize,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl TaskQueue {
    /// Creates an empty queue. `notify` is called after a task has become ready, on the thread that woke
    /// it, with no lock held.
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

    /// Adds a task, which is ready to be polled. `name` is listed by [`names`](Self::names). Dropping the
    /// returned handle does not affect the task.
    pub fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> AbortHandle {
        let shared = &self.owner.0;
        let task = lock(&shared.live).insert(|position| Task {
            position,
            name,
            is_queued: AtomicBool::new(true),
            state: Mutex::new(TaskState::Idle(future)),
            shared: Arc::downgrade(shared),
        });
        shared.push(task.clone());
        AbortHandle(task)
    }

    /// Removes and returns the task that has been ready longest.
    pub fn pop(&self) -> Option<Runnable> {
        self.pop_at(0)
    }

    /// Removes and returns the ready task at `index`; 0 is the one that has been ready longest. For tests
    /// in another order.
    pub fn pop_at(&self, index: usize) -> Option<Runnable> {
        let shared = &self.owner.0;
        let mut ready = lock(&shared.ready);
        let task = if index == 0 {
            ready.pop_front()
        } else {
            ready.remove(index)
        }?;
        if ready.capacity() > MAX_KEPT_TASKS && ready.len() < ready.capacity() / 4 {
            let capacity = ready.len() * 2;
            ready.shrink_to(capacity);
        }
        shared.len.store(ready.len(), Ordering::Release);
        Some(Runnable(task))
    }

    /// Returns the number of ready tasks.
    ///
    /// A task is counted before `notify` is called for it, in the single total order of `SeqCst`
    /// operations. A thread that first stores, with `SeqCst`, in an atomic that `notify` loads with
    /// `SeqCst`, that it sleeps, and then finds 0 here, is therefore notified of every later task.
    pub fn ready(&self) -> usize {
        self.owner.0.len.load(Ordering::SeqCst)
    }

    /// Returns the number of tasks that have not ended.
    pub fn live(&self) -> usize {
        lock(&self.owner.0.live).len()
    }

    /// Returns the names of the tasks that have not ended, oldest first.
    pub fn names(&self) -> Vec<&'static str> {
        let mut tasks: Vec<_> = lock(&self.owner.0.live)
            .tasks
            .iter()
            .map(|task| (task.position.serial, task.name))
            .collect();
        tasks.sort_unstable();
        tasks.into_iter().map(|(_, name)| name).collect()
    }

    /// Drops every task, ready or not. Drops of their values may spawn further tasks, which are dropped as
    /// well: it returns when no task is left.
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
                task.drop_future();
            }
        }
    }
}

/// Capacity, in tasks, that a collection keeps however few tasks there are. Above it, a collection that is
/// less than a quarter full frees half or more of its memory.
const MAX_KEPT_TASKS: usize = 256;

/// The tasks that have not ended, in no order; each knows its index.
#[derive(Default)]
struct Live {
    tasks: Vec<Arc<Task>>,
    /// The number of the latest task.
    serial: u64,
}

/// A task's position among those that have not ended.
struct Position {
    /// Changes when another task is removed. Read and written only with [`Shared::live`] locked, and
    /// atomic only to be `Sync`.
    index: AtomicUsize,
    /// The order of spawning.
    serial: u64,
}

impl Live {
    fn insert(&mut self, task: impl FnOnce(Position) -> Task) -> Arc<Task> {
        self.serial += 1;
        let task = Arc::new(task(Position {
            index: AtomicUsize::new(self.tasks.len()),
            serial: self.serial,
        }));
        self.tasks.push(task.clone());
        task
    }

    /// Removes `task`, unless it has been removed before.
    fn remove(&mut self, task: &Task) -> Option<Arc<Task>> {
        let index = task.position.index.load(Ordering::Relaxed);
        let known = self.tasks.get(index)?;
        if !std::ptr::eq(Arc::as_ptr(known), task) {
            return None;
        }
        let removed = self.tasks.swap_remove(index);
        if let Some(moved) = self.tasks.get(index) {
            moved.position.index.store(index, Ordering::Relaxed);
        }
        if self.tasks.capacity() > MAX_KEPT_TASKS && self.tasks.len() < self.tasks.capacity() / 4 {
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
    position: Position,
    name: &'static str,
    /// Whether the task is in the ready queue, or is about to be polled. Cleared before the poll,
    /// so that a wake during the poll queues the task again. Cleared and set by `swap` with `AcqRel`: a
    /// wake that finds it set queues nothing, and the poll that clears it must then observe everything
    /// that was written before that wake. A plain load and store would lose wakes.
    is_queued: AtomicBool,
    state: Mutex<TaskState>,
    shared: Weak<Shared>,
}

/// The state of a task, and its future unless it is being polled.
enum TaskState {
    /// Not being polled.
    Idle(BoxFuture<'static, ()>),
    /// Being polled; the polling thread has the future.
    Running,
    /// Being polled, and another thread has taken the task from the queue meanwhile: it is to be queued
    /// again after the poll.
    RunningAndWoken,
    /// Completed or aborted.
    Done,
}

impl Task {
    /// Stores the future after a poll, unless the task was aborted meanwhile.
    fn store(self: &Arc<Self>, future: BoxFuture<'static, ()>) {
        let mut state = lock(&self.state);
        match *state {
            TaskState::Running => *state = TaskState::Idle(future),
            TaskState::RunningAndWoken => {
                *state = TaskState::Idle(future);
                drop(state);
                self.wake_by_ref();
            }
            // Not stored: another thread could poll an aborted task.
            TaskState::Done | TaskState::Idle(_) => {
                drop(state);
                drop(future);
            }
        }
    }

    /// Drops the future, now or, if it is being polled, after that poll.
    fn drop_future(&self) {
        let state = std::mem::replace(&mut *lock(&self.state), TaskState::Done);
        drop(state);
    }

    /// Removes the task from those that have not ended.
    fn remove(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let entry = lock(&shared.live).remove(self);
            drop(entry);
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel)
            && let Some(shared) = self.shared.upgrade()
        {
            shared.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel)
            && let Some(shared) = self.shared.upgrade()
        {
            shared.push(self.clone());
        }
    }
}

/// A handle that can abort a task. Dropping it does not affect the task.
#[derive(Clone)]
pub struct AbortHandle(Arc<Task>);

impl AbortHandle {
    /// Aborts the task: its future is dropped before this returns or, if it is being polled, after
    /// that poll. Does nothing if the task has ended.
    pub fn abort(&self) {
        self.0.remove();
        self.0.drop_future();
    }

    /// Returns the name with which the task was spawned.
    pub fn name(&self) -> &'static str {
        self.0.name
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AbortHandle({})", self.name())
    }
}

/// A task taken from the queue, to be polled once.
pub struct Runnable(Arc<Task>);

impl Runnable {
    /// Returns the name with which the task was spawned.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Polls the task once. If it completes, its future is dropped before this returns.
    ///
    /// # Panics
    ///
    /// If the task panics. It has ended then.
    pub fn run(self) {
        let Runnable(task) = self;
        task.is_queued.swap(false, Ordering::AcqRel);
        let taken = {
            let mut state = lock(&task.state);
            match *state {
                TaskState::Idle(_) => std::mem::replace(&mut *state, TaskState::Running),
                TaskState::Running | TaskState::RunningAndWoken => {
                    *state = TaskState::RunningAndWoken;
                    return;
                }
                TaskState::Done => return,
            }
        };
        let TaskState::Idle(mut future) = taken else {
            return;
        };
        let waker = Waker::from(task.clone());
        let end = EndOnDrop(&task);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_pending() {
            std::mem::forget(end);
            task.store(future);
        } else {
            drop(future);
        }
    }
}

/// Ends a task on drop, also if polling it panics.
struct EndOnDrop<'a>(&'a Task);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.drop_future();
        self.0.remove();
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runnable({})", self.name())
    }
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
    fn task_woken_twice_is_queued_once() {
        let queue = TaskQueue::new(|| {});
        let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
        let kept = slot.clone();
        queue.spawn(
            "sleeper",
            Box::pin(poll_fn(move |cx| {
                *kept.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })),
        );
        run_all(&queue);
        let waker = slot.lock().unwrap().clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(queue.ready(), 1);
        run_all(&queue);
        assert_eq!((queue.ready(), queue.names()), (0, vec!["sleeper"]));
    }

    /// Two threads, in rounds: one polls the task while the other writes a number with relaxed ordering
    /// and wakes it. The delays differ from round to round; hundreds of rounds hit the window in which a
    /// plain load and store would lose the wake, since this crate is optimised for tests as well.
    #[test]
    fn wake_during_a_poll_is_seen_by_that_poll_or_causes_another() {
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
        let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
        let (kept, source, target) = (slot.clone(), written.clone(), seen.clone());
        queue.spawn(
            "reader",
            Box::pin(poll_fn(move |cx| {
                target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
                lock(&kept).get_or_insert_with(|| cx.waker().clone());
                Poll::Pending
            })),
        );
        run_all(&queue);
        let waker = lock(&slot).clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=ROUNDS {
                    await_round(&begun, n);
                    waker.wake_by_ref(); // loads the flag's cache line, but not that of `written`
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
    fn clear_drops_futures_whose_wakers_still_exist() {
        let queue = TaskQueue::new(|| {});
        let alive = Arc::new(());
        let held = alive.clone();
        let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
        let kept = slot.clone();
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
        let waker = slot.lock().unwrap().take().unwrap();
        waker.wake();
        run_all(&queue);
        assert_eq!(queue.live(), 0);
    }

    #[test]
    fn queue_cleared_by_one_of_its_tasks_is_empty_afterwards() {
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
    fn clear_drops_tasks_spawned_by_drops() {
        struct SpawnOnDrop(Weak<Shared>);
        impl Drop for SpawnOnDrop {
            fn drop(&mut self) {
                if let Some(shared) = self.0.upgrade() {
                    let task = lock(&shared.live).insert(|position| Task {
                        position,
                        name: "late",
                        is_queued: AtomicBool::new(true),
                        state: Mutex::new(TaskState::Idle(Box::pin(async {}))),
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
    fn aborted_task_drops_its_future_and_is_no_longer_counted() {
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
        task.abort();
        assert_eq!((Arc::strong_count(&alive), queue.live()), (1, 0));
        let next = queue.spawn("next", Box::pin(std::future::pending()));
        task.abort();
        assert_eq!((queue.live(), next.name()), (1, "next"));
    }

    #[test]
    fn task_that_aborts_itself_is_dropped_after_its_poll() {
        let queue = TaskQueue::new(|| {});
        let alive = Arc::new(());
        let slot: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
        let (held, own) = (alive.clone(), slot.clone());
        let task = queue.spawn(
            "self-aborting",
            Box::pin(poll_fn(move |_| {
                let _hold = &held;
                own.lock().unwrap().take().unwrap().abort();
                Poll::Pending
            })),
        );
        *slot.lock().unwrap() = Some(task);
        run_all(&queue);
        assert_eq!((Arc::strong_count(&alive), queue.live()), (1, 0));
    }

    /// One thread polls a task that aborts itself; another thread tries to run it meanwhile.
    #[test]
    fn task_aborted_while_its_poll_ends_is_never_polled_again() {
        let mut polled_again = 0;
        for _ in 0..300 {
            let queue = TaskQueue::new(|| {});
            let (polls, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let own: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
            let (counted, other, kept) = (polls.clone(), ran.clone(), own.clone());
            let task = queue.spawn(
                "aborted",
                Box::pin(poll_fn(move |_| {
                    if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                        let before = other.load(Ordering::SeqCst);
                        while other.load(Ordering::SeqCst) == before {
                            std::thread::yield_now();
                        }
                        let own = lock(&kept).take();
                        own.unwrap().abort();
                    }
                    Poll::Pending
                })),
            );
            let inner = task.0.clone();
            *lock(&own) = Some(task);
            let finished = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !finished.load(Ordering::SeqCst) {
                        if polls.load(Ordering::SeqCst) == 0 {
                            std::thread::yield_now();
                            continue;
                        }
                        Runnable(inner.clone()).run();
                        ran.fetch_add(1, Ordering::SeqCst);
                    }
                });
                queue.pop().unwrap().run();
                finished.store(true, Ordering::SeqCst);
            });
            polled_again += usize::from(polls.load(Ordering::SeqCst) > 1);
        }
        assert_eq!(polled_again, 0);
    }

    #[test]
    fn memory_of_a_burst_of_tasks_is_freed() {
        let queue = TaskQueue::new(|| {});
        let mut tasks: Vec<_> = (0..100_000)
            .map(|_| queue.spawn("burst", Box::pin(std::future::pending())))
            .collect();
        run_all(&queue);
        // The first and the last one are kept.
        let kept = [tasks.remove(0), tasks.pop().unwrap()];
        for task in tasks {
            task.abort();
        }
        let shared = &queue.owner.0;
        assert!(lock(&shared.live).tasks.capacity() <= MAX_KEPT_TASKS);
        assert!(lock(&shared.ready).capacity() <= MAX_KEPT_TASKS);
        assert_eq!(queue.live(), 2);
        kept[0].abort();
        kept[0].abort();
        assert_eq!(queue.live(), 1);
        kept[1].abort();
        assert_eq!(queue.live(), 0);
    }

    #[test]
    fn wake_popped_from_the_queue_during_a_poll_is_not_lost() {
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
                // The queue is run from within this poll, and yields this task.
                let task = lock(&inner.upgrade().unwrap().ready).pop_front().unwrap();
                Runnable(task).run();
                Poll::Pending
            })),
        );
        run_all(&queue);
        assert_eq!((polls.load(Ordering::Relaxed), queue.live()), (2, 0));
    }

    #[test]
    fn task_that_panics_has_ended() {
        let queue = TaskQueue::new(|| {});
        queue.spawn("panicking", Box::pin(async { panic!("on purpose") }));
        let task = queue.pop().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.run()));
        assert!(outcome.is_err());
        assert_eq!((queue.live(), queue.ready()), (0, 0));
    }
}
