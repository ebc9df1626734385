//! Tasks that stay on one thread, and need not be `Send`.

use std::{
    any::Any,
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    rc::{Rc, Weak},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::waiters::Waiters;

/// A set of tasks that never leave the thread they were spawned on, for futures that are not `Send`.
///
/// They run while that thread is in [`run_until`](Self::run_until), which may be awaited in
/// [`EventLoop::block_on`](crate::EventLoop::block_on) or in any other executor that polls it on the same thread.
/// Streams, timers and pools of a loop may be used in them. Dropping the set drops its tasks.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// use httpcore_net_epoll::{EventLoop, LocalSet};
///
/// let epoll = EventLoop::new()?;
/// let local = LocalSet::new();
/// let count = Rc::new(Cell::new(0));
/// epoll.block_on(local.run_until(async {
///     let tasks = [1, 2, 3].map(|n| {
///         let count = count.clone();
///         local.spawn_local(async move { count.set(count.get() + n) })
///     });
///     for task in tasks {
///         task.await;
///     }
/// }));
/// assert_eq!(count.get(), 6);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It cannot be sent to another thread:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// is_send(httpcore_net_epoll::LocalSet::new());
/// ```
#[derive(Default)]
pub struct LocalSet {
    tasks: Rc<Tasks>,
    queue: Arc<Queue>,
}

/// The tasks that have not ended, by number. A task is taken out while it is polled.
#[derive(Default)]
struct Tasks(RefCell<Numbered>);

#[derive(Default)]
struct Numbered {
    slots: std::collections::HashMap<u64, Slot>,
    next: u64,
}

struct Slot {
    /// `None` while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

/// The tasks to be polled, and the wakers of each `run_until` that polls them.
#[derive(Default)]
struct Queue {
    woken: Mutex<VecDeque<u64>>,
    waiters: Arc<Waiters>,
}

struct TaskWaker {
    number: u64,
    is_queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        self.queue.woken().push_back(self.number);
        self.queue.waiters.wake_by_ref();
    }
}

impl Queue {
    fn woken(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalSet {
    /// Creates an empty set.
    pub fn new() -> Self {
        LocalSet::default()
    }

    /// Adds a task, to be polled by [`run_until`](Self::run_until). Dropping what this returns cancels it.
    ///
    /// It may be called inside and outside of `run_until`, and by a task of the set.
    pub fn spawn_local<F>(&self, future: F) -> LocalTask<F::Output>
    where
        F: Future + 'static,
    {
        let outcome = Rc::new(RefCell::new(Outcome::Due(None)));
        let settled = Settle(outcome.clone());
        let task = async move {
            let outcome = CatchUnwind(Box::pin(future)).await;
            settled.set(outcome);
        };
        let number = {
            let mut tasks = self.tasks.0.borrow_mut();
            let number = tasks.next;
            tasks.next += 1;
            let waker = Arc::new(TaskWaker {
                number,
                is_queued: AtomicBool::new(false),
                queue: self.queue.clone(),
            });
            let slot = Slot {
                future: Some(Box::pin(task)),
                waker: waker.clone(),
            };
            tasks.slots.insert(number, slot);
            drop(tasks);
            waker.wake();
            number
        };
        LocalTask {
            number: Some(number),
            tasks: Rc::downgrade(&self.tasks),
            outcome,
        }
    }

    /// Runs `future` and the tasks of this set, until `future` ends. Tasks that have not ended by then stay in
    /// the set.
    ///
    /// A task that panics does not end the others; its panic is resumed where its [`LocalTask`] is awaited.
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut waiter = Waiter {
            waiters: &self.queue.waiters,
            place: None,
        };
        std::future::poll_fn(|cx| {
            // Before any task is polled: one that is woken from now on wakes this future.
            waiter.register(cx.waker());
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.run_batch();
            Poll::Pending
        })
        .await
    }

    /// Returns the number of tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.tasks.0.borrow().slots.len()
    }

    /// Polls the tasks that are ready now, and none that becomes so meanwhile.
    fn run_batch(&self) {
        let ready = self.queue.woken().len();
        for _ in 0..ready {
            let Some(number) = self.queue.woken().pop_front() else {
                return;
            };
            self.run(number);
        }
    }

    fn run(&self, number: u64) {
        let taken = {
            let mut tasks = self.tasks.0.borrow_mut();
            let slot = tasks.slots.get_mut(&number);
            slot.and_then(|slot| Some((slot.future.take()?, slot.waker.clone())))
        };
        let Some((mut future, task)) = taken else {
            return; // cancelled after it was woken
        };
        // Before the poll: a wake during it queues the task again.
        task.is_queued.store(false, Ordering::Release);
        let waker = Waker::from(task);
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.0.borrow_mut();
        let ended = match (polled, tasks.slots.get_mut(&number)) {
            (Poll::Pending, Some(slot)) => {
                slot.future = Some(future);
                return;
            }
            // It has ended, or was cancelled by itself.
            (_, slot) => slot
                .is_some()
                .then(|| tasks.slots.remove(&number))
                .flatten(),
        };
        drop(tasks);
        drop((future, ended));
    }
}

/// The waker of one `run_until`, for as long as that lasts.
struct Waiter<'a> {
    waiters: &'a Waiters,
    place: Option<usize>,
}

impl Waiter<'_> {
    fn register(&mut self, waker: &Waker) {
        self.place = Some(self.waiters.register(self.place, waker));
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.waiters.remove(place);
        }
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        self.tasks.clear();
    }
}

impl Tasks {
    /// Drops every task. What they drop may cancel others; nothing can be spawned, since the set is gone.
    fn clear(&self) {
        let slots = std::mem::take(&mut self.0.borrow_mut().slots);
        drop(slots);
    }

    fn cancel(&self, number: u64) {
        let slot = self.0.borrow_mut().slots.remove(&number);
        drop(slot);
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet")
            .field("tasks", &self.tasks())
            .finish()
    }
}

/// A task of a [`LocalSet`], and a future that yields what it yields.
///
/// Dropping it cancels the task: its future is dropped before `drop` returns or, if it is being polled right now,
/// as soon as that poll is over. [`detach`](Self::detach) lets it run.
///
/// # Panics
///
/// Awaiting it panics with the task's own panic, if there was one, and if the task was dropped with its set.
#[must_use = "dropping a task cancels it: await it, or detach it"]
pub struct LocalTask<T> {
    number: Option<u64>,
    tasks: Weak<Tasks>,
    outcome: Rc<RefCell<Outcome<T>>>,
}

enum Outcome<T> {
    Due(Option<Waker>),
    Done(T),
    Panicked(Box<dyn Any + Send>),
    Dropped,
    Taken,
}

impl<T> LocalTask<T> {
    /// Lets the task run until it ends, or until its set is dropped. Its output is dropped.
    pub fn detach(mut self) {
        self.number = None;
    }

    /// Returns whether the task has ended, by returning, by a panic or by being dropped.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.borrow(), Outcome::Due(_))
    }
}

impl<T> Future for LocalTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let outcome = {
            let mut outcome = self.outcome.borrow_mut();
            if let Outcome::Due(waker) = &mut *outcome {
                let former = waker.replace(cx.waker().clone());
                drop(outcome);
                drop(former);
                return Poll::Pending;
            }
            std::mem::replace(&mut *outcome, Outcome::Taken)
        };
        self.number = None; // nothing is left to cancel
        match outcome {
            Outcome::Done(value) => Poll::Ready(value),
            Outcome::Panicked(panic) => resume_unwind(panic),
            Outcome::Dropped => panic!("the task was dropped before it ended: its set is gone"),
            Outcome::Due(_) | Outcome::Taken => panic!("a task was polled after it had ended"),
        }
    }
}

impl<T> Drop for LocalTask<T> {
    fn drop(&mut self) {
        if let Some(number) = self.number
            && let Some(tasks) = self.tasks.upgrade()
        {
            tasks.cancel(number);
        }
    }
}

impl<T> fmt::Debug for LocalTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTask")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Sets the outcome of a task, also if its future is dropped before it ends.
struct Settle<T>(Rc<RefCell<Outcome<T>>>);

impl<T> Settle<T> {
    fn set(&self, outcome: Result<T, Box<dyn Any + Send>>) {
        self.replace(outcome.map_or_else(Outcome::Panicked, Outcome::Done));
    }

    /// The first outcome stays.
    fn replace(&self, outcome: Outcome<T>) {
        let waker = {
            let mut current = self.0.borrow_mut();
            let Outcome::Due(waker) = &mut *current else {
                drop(current);
                return; // with `outcome`, outside of the borrow
            };
            let waker = waker.take();
            *current = outcome;
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Settle<T> {
    fn drop(&mut self) {
        self.replace(Outcome::Dropped);
    }
}

/// A future whose panic is its output.
struct CatchUnwind<F>(Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
