//! Who turns the loop, and what a turn is.
//!
//! Any number of threads may block on one loop. One of them *drives*: it runs tasks and asks the
//! kernel. The others are parked, and are woken by the wakers of their own futures. When the
//! driver's future is ready it hands the role to one of those who are parked, and so whenever
//! somebody blocks, somebody drives.
//!
//! A turn is one batch of ready tasks (those that were ready when it began: tasks which wake each
//! other do not keep the kernel waiting) and then a question to the kernel. It waits if nothing is
//! ready. If something is, the question is put off for a few polls, since asking costs more than
//! most polls do.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread, ThreadId},
    time::{Duration, Instant},
};

use httpcore_core_primitives::RunQueue;

use crate::{Handle, Resolve, reactor::Reactor, timers::Timers};

/// How many polls may go by without the kernel being asked.
const POLLS_PER_QUESTION: usize = 61;

/// How long what is known about sockets may be trusted after the loop has stopped turning.
const FRESH: Duration = Duration::from_millis(1);

/// One loop, as its handles, streams and timers share it.
pub(crate) struct Shared {
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) timers: Timers,
    pub(crate) queue: RunQueue,
    pub(crate) resolver: Arc<dyn Resolve>,
    drivers: Mutex<Drivers>,
    /// Polls since the kernel was last asked. Written by the driver only.
    unasked: AtomicUsize,
    /// Room for wakers that are due, kept from one turn to the next.
    due: Mutex<Vec<Waker>>,
}

/// Who drives, and who would if need be.
#[derive(Default)]
struct Drivers {
    driving: Option<ThreadId>,
    parked: VecDeque<Arc<Root>>,
    /// When the last driver left, if there were sockets that went on without one.
    left: Option<Instant>,
}

/// The future of one `block_on`, as its waker knows it.
struct Root {
    woken: AtomicBool,
    /// Whether this thread drives: then it sleeps in the kernel, if at all, and not parked.
    drives: AtomicBool,
    thread: Thread,
    reactor: Arc<Reactor>,
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Both sides use `SeqCst`: either this sees that the thread drives, or sleeps, or the
        // thread sees that it was woken before it does so.
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.drives.load(Ordering::SeqCst) {
            self.reactor.ring();
        } else {
            self.thread.unpark();
        }
    }
}

impl Shared {
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> io::Result<Self> {
        let reactor = Arc::new(Reactor::new()?);
        let bell = reactor.clone();
        Ok(Shared {
            queue: RunQueue::new(move || bell.ring()),
            reactor,
            timers: Timers::default(),
            resolver,
            drivers: Mutex::default(),
            unasked: AtomicUsize::new(0),
            due: Mutex::default(),
        })
    }

    /// Ends the loop: tasks are dropped, and whoever waits is woken and told.
    pub(crate) fn end(&self) {
        let mut due = Vec::new();
        self.reactor.end(&mut due);
        self.timers.end(&mut due);
        self.queue.clear();
        for waker in due {
            waker.wake();
        }
    }

    /// One batch of tasks, and a question to the kernel.
    fn turn(&self, root: &Root) {
        let polls = self.run_batch();
        let unasked = self.unasked.load(Ordering::Relaxed) + polls + 1;
        self.unasked.store(unasked, Ordering::Relaxed);
        let busy = root.is_woken() || self.queue.ready() > 0;
        if busy && unasked < POLLS_PER_QUESTION && !self.reactor.must_ask() {
            return;
        }
        self.ask(if busy { None } else { Some(root) });
    }

    /// Runs what is ready now, and nothing that becomes so meanwhile.
    fn run_batch(&self) -> usize {
        let ready = self.queue.ready();
        (0..ready).map_while(|_| self.run_one()).count()
    }

    fn run_one(&self) -> Option<()> {
        let task = self.queue.pop()?;
        // A task that panics has ended, and the panic hook has said so. It is not the fault of
        // whoever drives, whose own future has nothing to do with it.
        let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
        Some(())
    }

    /// Asks the kernel and the clock who is due, and wakes them. Sleeps, for as long as nothing is
    /// due, if there is a `sleeper` and it has not been woken.
    fn ask(&self, sleeper: Option<&Root>) {
        let mut timeout = Some(Duration::ZERO);
        if let Some(root) = sleeper {
            self.reactor.fall_asleep();
            if root.is_woken() {
                self.reactor.stay_awake();
            } else if let Some(()) = self.run_straggler() {
                // It may have made others ready, so there is no sleeping now.
            } else {
                timeout = self
                    .timers
                    .next()
                    .map(|at| at.saturating_duration_since(crate::now()));
            }
        }
        let mut due = std::mem::take(&mut *lock(&self.due));
        self.reactor.ask(timeout, &mut due);
        self.unasked.store(0, Ordering::Relaxed);
        if self.timers.next().is_some() {
            self.timers.expire(crate::now(), &mut due);
        }
        for waker in due.drain(..) {
            waker.wake();
        }
        *lock(&self.due) = due;
    }

    /// Runs a task that became ready just before the bell was armed.
    ///
    /// Taking it out of the queue is what makes this certain: the queue's lock is passed from
    /// whoever put it there to us, or from us to whoever then sees that the bell is armed.
    fn run_straggler(&self) -> Option<()> {
        let task = self.queue.pop()?;
        self.reactor.stay_awake();
        let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
        Some(())
    }
}

impl Root {
    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }
}

/// Runs `future` to its end on this thread, and drives the loop meanwhile unless another thread
/// does.
pub(crate) fn block_on<F: Future>(handle: &Handle, future: F) -> F::Output {
    let shared = &*handle.0;
    let _current = Current::enter(handle.clone());
    let mut seat = Seat::take(shared);
    let waker = Waker::from(seat.root.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if seat.root.woken.swap(false, Ordering::SeqCst)
            && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
        {
            return output;
        }
        seat.wait();
    }
}

/// One `block_on`'s place among those of the same loop.
struct Seat<'a> {
    shared: &'a Shared,
    root: Arc<Root>,
    role: Role,
}

#[derive(PartialEq, Eq)]
enum Role {
    /// Another thread drives.
    Waits,
    /// This one does.
    Drives,
    /// This thread does already, further up its stack: it drives for both.
    DrivesWithin,
}

impl<'a> Seat<'a> {
    fn take(shared: &'a Shared) -> Self {
        let root = Arc::new(Root {
            woken: AtomicBool::new(true),
            drives: AtomicBool::new(false),
            thread: thread::current(),
            reactor: shared.reactor.clone(),
        });
        let mut seat = Seat {
            shared,
            root,
            role: Role::Waits,
        };
        seat.refresh();
        seat
    }

    /// Catches up with the kernel if nobody has turned the loop for a while. Otherwise a future
    /// that looks at a connection, finds nothing said against it and uses it would not know that
    /// it was closed hours ago.
    fn refresh(&mut self) {
        let left = {
            let mut drivers = self.shared.drivers();
            if drivers.driving.is_some() {
                return;
            }
            drivers.left.take()
        };
        if let Some(left) = left
            && crate::now().saturating_duration_since(left) > FRESH
            && self.may_drive()
        {
            self.shared.ask(None);
        }
    }

    /// Does something useful, or nothing, until the future is worth a poll or the loop has turned.
    fn wait(&mut self) {
        if self.may_drive() {
            self.shared.turn(&self.root);
        } else {
            while !self.root.is_woken() && !self.root.drives.load(Ordering::SeqCst) {
                thread::park();
            }
            self.leave_the_parked();
        }
    }

    /// Whether this thread drives, or does from now on. If it does not, it is among the parked.
    fn may_drive(&mut self) -> bool {
        if self.role != Role::Waits {
            return true;
        }
        let mut drivers = self.shared.drivers();
        match drivers.driving {
            None => {
                drivers.driving = Some(self.root.thread.id());
                self.role = Role::Drives;
            }
            Some(_) if self.root.drives.load(Ordering::SeqCst) => self.role = Role::Drives,
            Some(driver) if driver == self.root.thread.id() => self.role = Role::DrivesWithin,
            Some(_) => {
                drivers.parked.push_back(self.root.clone());
                return false;
            }
        }
        self.root.drives.store(true, Ordering::SeqCst);
        true
    }

    fn leave_the_parked(&mut self) {
        let mut drivers = self.shared.drivers();
        let parked = &mut drivers.parked;
        let own = parked.iter().position(|root| Arc::ptr_eq(root, &self.root));
        let own = own.and_then(|at| parked.remove(at));
        drop(drivers);
        drop(own);
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // The role may have been handed to this thread while it polled its future, and then it is
        // handed on without ever having been taken up.
        if self.role == Role::DrivesWithin {
            return;
        }
        let mut drivers = self.shared.drivers();
        if !self.root.drives.load(Ordering::SeqCst) {
            return;
        }
        let next = drivers.parked.pop_front();
        drivers.driving = next.as_ref().map(|next| next.thread.id());
        match &next {
            Some(next) => next.drives.store(true, Ordering::SeqCst),
            None if self.shared.reactor.registered() > 0 => drivers.left = Some(crate::now()),
            None => {}
        }
        drop(drivers);
        if let Some(next) = next {
            next.thread.unpark();
        }
    }
}

impl Shared {
    fn drivers(&self) -> MutexGuard<'_, Drivers> {
        lock(&self.drivers)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The loop this thread blocks on, innermost first.
pub(crate) fn current() -> Option<Handle> {
    // Nobody blocks on anything while the thread's locals are being destroyed.
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Sets the current loop, and on drop the one before it.
struct Current(Option<Handle>);

impl Current {
    fn enter(handle: Handle) -> Self {
        Current(CURRENT.with(|current| current.replace(Some(handle))))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let former = self.0.take();
        let own = CURRENT.with(|current| current.replace(former));
        drop(own);
    }
}

/// Nothing of ours panics while it holds a lock; a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
