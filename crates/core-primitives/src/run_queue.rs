//! A queue of ready tasks, for whoever writes a backend. No thread, no clock and no I/O.
//!
//! Tasks are `Send`; a task's waker is the task itself, in an `Arc`. The backend pops and polls.
//! Order is first in, first out: with the latest woken first, an HTTP/2 connection is polled
//! before the streams that have something to say, and writes once for each of them.
//!
//! ```
//! use httpcore_core_primitives::RunQueue;
//!
//! let queue = RunQueue::new(|| {});
//! queue.spawn("greeting", Box::pin(async { println!("hello") }));
//! while let Some(task) = queue.pop() {
//!     task.run();
//! }
//! assert_eq!(queue.live(), 0);
//! ```

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use crate::net::BoxFuture;

/// Tasks, ready or not. Cloning it yields another handle to the same queue.
///
/// [`clear`](Self::clear) drops every task; so does dropping the last handle.
#[derive(Clone)]
pub struct RunQueue {
    owner: Arc<Owner>,
}

struct Owner(Arc<Shared>);

struct Shared {
    ready: Mutex<VecDeque<Arc<Task>>>,
    /// Every task that has not ended, so that they can be dropped and named.
    live: Mutex<HashMap<u64, Arc<Task>>>,
    next: AtomicU64,
    len: AtomicUsize,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl RunQueue {
    /// An empty queue. `notify` is called after a task has become ready, from whichever thread
    /// woke it, with no lock held.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        RunQueue {
            owner: Arc::new(Owner(Arc::new(Shared {
                ready: Mutex::default(),
                live: Mutex::default(),
                next: AtomicU64::new(1),
                len: AtomicUsize::new(0),
                notify: Box::new(notify),
            }))),
        }
    }

    /// Adds a task, ready to run. `name` is for [`names`](Self::names).
    pub fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let shared = &self.owner.0;
        let task = Arc::new(Task {
            id: shared.next.fetch_add(1, Ordering::Relaxed),
            name,
            queued: AtomicBool::new(true),
            slot: Mutex::new(Slot::Resting(future)),
            shared: Arc::downgrade(shared),
        });
        lock(&shared.live).insert(task.id, task.clone());
        shared.push(task);
    }

    /// Takes the task that has been ready longest.
    pub fn pop(&self) -> Option<Ready> {
        self.pop_at(0)
    }

    /// Takes the ready task at `index`, 0 being the one that has been ready longest; for those who
    /// test with another order than this one.
    pub fn pop_at(&self, index: usize) -> Option<Ready> {
        let shared = &self.owner.0;
        let mut ready = lock(&shared.ready);
        let task = if index == 0 {
            ready.pop_front()
        } else {
            ready.remove(index)
        }?;
        shared.len.store(ready.len(), Ordering::Release);
        Some(Ready(task))
    }

    /// How many tasks are ready.
    pub fn ready(&self) -> usize {
        self.owner.0.len.load(Ordering::Acquire)
    }

    /// How many tasks have not ended.
    pub fn live(&self) -> usize {
        lock(&self.owner.0.live).len()
    }

    /// The names of the tasks that have not ended, oldest first.
    pub fn names(&self) -> Vec<&'static str> {
        let mut tasks: Vec<_> = lock(&self.owner.0.live)
            .values()
            .map(|task| (task.id, task.name))
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

impl fmt::Debug for RunQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunQueue")
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
            self.len.store(ready.len(), Ordering::Release);
        }
        (self.notify)();
    }

    fn clear(&self) {
        loop {
            let tasks: Vec<_> = lock(&self.live).drain().map(|(_, task)| task).collect();
            let ready = std::mem::take(&mut *lock(&self.ready));
            self.len.store(0, Ordering::Release);
            if tasks.is_empty() && ready.is_empty() {
                return;
            }
            // Each future is dropped outside the locks: its drop may wake and spawn.
            for task in tasks {
                let slot = std::mem::replace(&mut *lock(&task.slot), Slot::Over);
                drop(slot);
            }
        }
    }
}

struct Task {
    id: u64,
    name: &'static str,
    /// Whether the task is in the ready queue, or is about to be polled. Cleared before the poll,
    /// so that a wake during it queues the task again.
    queued: AtomicBool,
    slot: Mutex<Slot>,
    shared: Weak<Shared>,
}

/// Where a task's future is.
enum Slot {
    Resting(BoxFuture<'static, ()>),
    /// With whoever polls it.
    Polled,
    /// Nowhere: it ended, or the queue was cleared.
    Over,
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
        if !self.queued.load(Ordering::Acquire) {
            self.clone().wake();
        }
    }
}

/// A task taken from the queue, to be polled once.
pub struct Ready(Arc<Task>);

impl Ready {
    /// What the task was called when it was spawned.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Polls the task once. If it ends, its future is dropped before this returns.
    pub fn run(self) {
        let Ready(task) = self;
        task.queued.store(false, Ordering::Release);
        let taken = {
            let mut slot = lock(&task.slot);
            match *slot {
                Slot::Resting(_) => std::mem::replace(&mut *slot, Slot::Polled),
                Slot::Polled | Slot::Over => return,
            }
        };
        let Slot::Resting(mut future) = taken else {
            return;
        };
        let waker = Waker::from(task.clone());
        if future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            let mut slot = lock(&task.slot);
            // Unless the queue was cleared from within the poll.
            if let Slot::Polled = *slot {
                *slot = Slot::Resting(future);
            }
            return;
        }
        drop(future);
        *lock(&task.slot) = Slot::Over;
        if let Some(shared) = task.shared.upgrade() {
            let entry = lock(&shared.live).remove(&task.id);
            drop(entry);
        }
    }
}

impl fmt::Debug for Ready {
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

    fn run_all(queue: &RunQueue) {
        while let Some(task) = queue.pop() {
            task.run();
        }
    }

    #[test]
    fn tasks_run_in_the_order_in_which_they_became_ready() {
        let queue = RunQueue::new(|| {});
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
        let queue = RunQueue::new(|| {});
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

    #[test]
    fn clearing_drops_the_futures_although_their_wakers_live_on() {
        let queue = RunQueue::new(|| {});
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
        let queue = RunQueue::new(|| {});
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
                    let task = Arc::new(Task {
                        id: 1000,
                        name: "afterthought",
                        queued: AtomicBool::new(true),
                        slot: Mutex::new(Slot::Resting(Box::pin(async {}))),
                        shared: Arc::downgrade(&shared),
                    });
                    lock(&shared.live).insert(1000, task.clone());
                    shared.push(task);
                }
            }
        }
        let queue = RunQueue::new(|| {});
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
}
