//! The driver: the thread that runs the loop, and one iteration of it.
//!
//! Any number of threads may block on one loop. One of them is the *driver*: it runs tasks and polls for
//! events. The others are parked, and are unparked by the wakers of their own futures. When the driver's
//! future is ready, the driver hands the role to one of the parked threads, so there is a driver whenever
//! a thread blocks on the loop.
//!
//! An iteration is one batch of ready tasks (those that were ready when it began, so that tasks which
//! wake each other do not delay events) and then a poll for events (`epoll_wait`). The poll sleeps if
//! nothing is ready. Otherwise it is deferred for a number of task polls, since a system call costs more
//! than most polls of tasks.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{BoxStream, Driven, Driver};
use httpcore_executor::{Runnable, TaskQueue, Timers, WakerCount};
use httpcore_net_common::socket;
use socket2::Socket;

use crate::{
    Handle, Resolve,
    blocking::DirectStream,
    reactor::Reactor,
    stream::{Nodelay, Stream},
    sync::{
        Arc, AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering, Weak, lock,
        thread::{self, Thread, ThreadId},
    },
};

/// Maximum number of polls of tasks between two polls for events.
const EVENT_INTERVAL_POLLS: usize = 61;

/// Maximum age of the readiness of sockets after the last driver has left the loop.
const READINESS_MAX_AGE: Duration = Duration::from_millis(1);

/// The state of one loop, shared by its handles, streams and timers.
pub(crate) struct Shared {
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) timers: Timers,
    pub(crate) queue: TaskQueue,
    pub(crate) resolver: Arc<dyn Resolve>,
    /// Whether threads may block in a socket instead of in the loop (see `blocking`).
    pub(crate) direct: bool,
    drivers: Mutex<Drivers>,
    /// Number of polls of tasks since the last poll for events. Written by the driver only.
    polls_since_events: AtomicUsize,
}

/// The driver, and the threads that can become the driver.
#[derive(Default)]
struct Drivers {
    current: Option<ThreadId>,
    parked: VecDeque<Arc<BlockOnWaker>>,
    /// The time at which the last driver left, if sockets were registered then.
    last_left: Option<Instant>,
}

/// The waker of the root future of one `block_on`.
pub(crate) struct BlockOnWaker {
    is_woken: AtomicBool,
    /// Whether this thread is the driver: then it sleeps in the poller and is not parked.
    is_driver: AtomicBool,
    thread: Thread,
    /// Weak: neither a waker nor a cached instance keeps the loop alive.
    reactor: Weak<Reactor>,
    /// Number of clones of the waker that timers of the loop hold.
    pub(crate) timers: WakerCount,
}

impl Wake for BlockOnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // `SeqCst` here and on the thread's side: either this observes that the thread is the driver, or
        // sleeps, or the thread observes the wake before it sleeps.
        if self.is_woken.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.is_driver.load(Ordering::SeqCst) {
            if let Some(reactor) = self.reactor.upgrade() {
                reactor.wake_driver();
            }
        } else {
            self.thread.unpark();
        }
    }
}

impl Shared {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, direct: bool) -> io::Result<Self> {
        let reactor = Arc::new(Reactor::new()?);
        let notified = reactor.clone();
        Ok(Shared {
            queue: TaskQueue::new(move || notified.wake_driver()),
            reactor,
            timers: Timers::default(),
            resolver,
            direct,
            drivers: Mutex::default(),
            polls_since_events: AtomicUsize::new(0),
        })
    }

    /// Shuts the loop down: drops its tasks, and wakes all that wait, which then fail.
    pub(crate) fn end(&self) {
        let mut ready_wakers = Vec::new();
        self.reactor.end(self.direct, &mut ready_wakers);
        self.timers.end(&mut ready_wakers);
        self.queue.clear();
        wake_all(&mut ready_wakers);
    }

    /// Creates a stream over `socket`, which is connected or connecting.
    pub(crate) fn stream(
        &self,
        mut socket: Socket,
        peer: Option<SocketAddr>,
        connected: bool,
        nodelay: Nodelay,
    ) -> io::Result<Box<Stream>> {
        if self.direct {
            socket = socket::set_blocking(socket)?;
        }
        let stream = Stream::new(&self.reactor, socket, peer, connected, nodelay)?;
        Ok(Box::new(stream))
    }

    /// Boxes `stream`, which is connected, for the caller of the backend.
    pub(crate) fn established(self: &Arc<Self>, stream: Box<Stream>) -> BoxStream {
        if self.direct {
            Box::new(DirectStream::new(*stream, self.clone()))
        } else {
            stream
        }
    }

    /// Counts a wait without a poll for events. Returns whether it is time for one.
    pub(crate) fn should_poll_events(&self) -> bool {
        let polls_since_events = self.polls_since_events.load(Ordering::Relaxed) + 1;
        self.polls_since_events
            .store(polls_since_events, Ordering::Relaxed);
        polls_since_events >= EVENT_INTERVAL_POLLS
    }

    /// Runs tasks until it is time to poll for events, and does so; or until the future of `root` has been
    /// woken, if that is first.
    fn run_iteration(&self, root: &BlockOnWaker) {
        let mut polls_since_events = self.polls_since_events.load(Ordering::Relaxed) + 1;
        let busy = loop {
            polls_since_events += self.run_batch();
            let is_woken = root.is_woken();
            let busy = is_woken || self.queue.ready() > 0;
            if !busy
                || polls_since_events >= EVENT_INTERVAL_POLLS
                || self.reactor.are_events_requested()
            {
                break busy;
            }
            if is_woken {
                self.polls_since_events
                    .store(polls_since_events, Ordering::Relaxed);
                return;
            }
        };
        self.poll_events(if busy { None } else { Some(root) });
    }

    /// Runs the tasks that are ready now, and none that become ready meanwhile.
    fn run_batch(&self) -> usize {
        let ready = self.queue.ready();
        (0..ready).map_while(|_| self.queue.pop().map(run)).count()
    }

    /// Polls for events and expired timers, and calls their wakers. Sleeps until there are any, if there
    /// is a `sleeper` and it has not been woken.
    fn poll_events(&self, sleeper: Option<&BlockOnWaker>) {
        let sleeps = sleeper.is_some_and(|root| self.prepare_sleep(root));
        // After the sleep has been announced: a thread that arms an earlier timer from now on wakes the
        // driver.
        let next = self.timers.next().map(|at| (at, crate::now()));
        let left = next.map(|(at, now)| at.saturating_duration_since(now));
        let timeout = if sleeps { left } else { Some(Duration::ZERO) };
        let before = next.map(|(_, now)| now);
        let (had_events, mut ready_wakers) = self.reactor.poll_events(timeout, before);
        self.polls_since_events.store(0, Ordering::Relaxed);
        // After events, a deadline that has passed meanwhile is found by the next poll, and the clock is
        // read once for this one.
        if left.is_some_and(|left| !had_events || left.is_zero()) {
            self.timers.expire(crate::now(), &mut ready_wakers);
        }
        wake_all(&mut ready_wakers);
        self.reactor.reuse(ready_wakers);
    }

    /// Announces that the driver sleeps, and returns whether it may: whether nothing is ready.
    ///
    /// The order matters: a wake that is not observed here, after the announcement, wakes the driver
    /// through the wakeup fd.
    fn prepare_sleep(&self, root: &BlockOnWaker) -> bool {
        self.reactor.prepare_sleep();
        let idle = !root.is_woken() && self.queue.ready() == 0;
        if !idle {
            self.reactor.cancel_sleep();
        }
        idle
    }
}

/// Polls a task. A panic has been reported by the panic hook and ends the task; it must not reach the
/// driver's own future, which has nothing to do with it.
fn run(task: Runnable) {
    let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
}

/// Calls the wakers in `ready_wakers` and empties it. After a panic of one, the others are still called:
/// their events and deadlines are consumed, and nothing would wake them later. As with tasks, the panic
/// hook has reported it, and it must not reach the driver's future.
fn wake_all(ready_wakers: &mut Vec<Waker>) {
    let mut rest = ready_wakers.drain(..);
    let mut wake_rest = || rest.by_ref().for_each(Waker::wake);
    while catch_unwind(AssertUnwindSafe(&mut wake_rest)).is_err() {}
}

thread_local! {
    /// The waker of this thread's last `block_on`, which saves an allocation for each call.
    static CACHED: Cell<Option<Arc<BlockOnWaker>>> = const { Cell::new(None) };
}

impl BlockOnWaker {
    /// Returns a waker for a root future on this thread, in the woken state.
    fn take(reactor: &Arc<Reactor>) -> Arc<Self> {
        let cached = CACHED.try_with(Cell::take).ok().flatten();
        if let Some(root) = cached
            && root.is_of(reactor)
        {
            root.is_driver.store(false, Ordering::SeqCst);
            root.is_woken.store(true, Ordering::SeqCst);
            return root;
        }
        Arc::new(BlockOnWaker {
            is_woken: AtomicBool::new(true),
            is_driver: AtomicBool::new(false),
            thread: thread::current(),
            reactor: Arc::downgrade(reactor),
            timers: WakerCount::default(),
        })
    }

    /// Caches the waker for this thread's next `block_on`, unless a clone of it exists.
    fn cache(root: &mut Arc<Self>) {
        if Arc::get_mut(root).is_some() {
            // While the thread's locals are being destroyed, it is dropped.
            let _ = CACHED.try_with(|cached| cached.set(Some(root.clone())));
        }
    }

    pub(crate) fn is_of(&self, reactor: &Arc<Reactor>) -> bool {
        std::ptr::eq(self.reactor.as_ptr(), Arc::as_ptr(reactor))
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::SeqCst)
    }

    pub(crate) fn take_wake(&self) -> bool {
        self.is_woken.swap(false, Ordering::SeqCst)
    }
}

/// Runs `future` to its end on this thread, which is the driver meanwhile unless another thread is.
pub(crate) fn block_on<F: Future>(handle: &Handle, future: F) -> F::Output {
    let shared = &*handle.0;
    let _current = Current::enter(handle.clone());
    let mut slot = DriverSlot::take(shared);
    slot.refresh_readiness();
    let waker = Waker::from(slot.root.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if slot.root.take_wake()
            && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
        {
            return output;
        }
        slot.wait();
    }
}

/// The part of one `block_on` in driving the loop.
pub(crate) struct DriverSlot<'a> {
    shared: &'a Shared,
    pub(crate) root: Arc<BlockOnWaker>,
    role: Role,
}

#[derive(PartialEq, Eq)]
enum Role {
    /// Another thread is the driver.
    Parked,
    /// This `block_on` is the driver.
    Driver,
    /// An outer `block_on` of this thread is the driver; this one runs the loop for both.
    NestedDriver,
}

impl<'a> DriverSlot<'a> {
    pub(crate) fn take(shared: &'a Shared) -> Self {
        shared.reactor.watch().enter();
        DriverSlot {
            shared,
            root: BlockOnWaker::take(&shared.reactor),
            role: Role::Parked,
        }
    }

    /// Polls for events if the loop had no driver for a while. Otherwise a future that checks a connection
    /// and then uses it would not know that the connection was closed meanwhile.
    fn refresh_readiness(&mut self) {
        let last_left = {
            let mut drivers = self.shared.drivers();
            if drivers.current.is_some() {
                return;
            }
            drivers.last_left.take()
        };
        if let Some(last_left) = last_left
            && crate::now().saturating_duration_since(last_left) > READINESS_MAX_AGE
            && self.try_drive()
        {
            self.shared.poll_events(None);
        }
    }

    /// Runs one iteration of the loop as the driver; or parks the thread until its future is woken or it
    /// becomes the driver.
    pub(crate) fn wait(&mut self) {
        if self.try_drive() {
            self.shared.run_iteration(&self.root);
        } else {
            while !self.root.is_woken() && !self.root.is_driver.load(Ordering::SeqCst) {
                thread::park();
            }
            self.remove_from_parked();
        }
    }

    /// Returns whether this thread is the driver, and makes it the driver if there is none. Otherwise it is
    /// added to the parked threads.
    fn try_drive(&mut self) -> bool {
        if self.role != Role::Parked {
            return true;
        }
        let mut drivers = self.shared.drivers();
        match drivers.current {
            None => {
                drivers.current = Some(self.root.thread.id());
                self.role = Role::Driver;
            }
            Some(_) if self.root.is_driver.load(Ordering::SeqCst) => self.role = Role::Driver,
            Some(driver) if driver == self.root.thread.id() => self.role = Role::NestedDriver,
            Some(_) => {
                drivers.parked.push_back(self.root.clone());
                return false;
            }
        }
        self.root.is_driver.store(true, Ordering::SeqCst);
        true
    }

    fn remove_from_parked(&mut self) {
        let mut drivers = self.shared.drivers();
        let parked = &mut drivers.parked;
        let own = parked.iter().position(|root| Arc::ptr_eq(root, &self.root));
        let own = own.and_then(|at| parked.remove(at));
        drop(drivers);
        drop(own);
    }

    /// Hands the role of the driver to a parked thread, if this `block_on` has it. Returns whether this
    /// thread is not the driver then: an outer `block_on` may still be.
    pub(crate) fn hand_over(&mut self) -> bool {
        let mut drivers = self.shared.drivers();
        if drivers.current != Some(self.root.thread.id()) {
            return true;
        }
        // The role may have been handed to this thread while it polled its future; it is then handed on
        // without having been used.
        if self.role == Role::NestedDriver || !self.root.is_driver.swap(false, Ordering::SeqCst) {
            return false;
        }
        self.role = Role::Parked;
        let next = drivers.parked.pop_front();
        drivers.current = next.as_ref().map(|next| next.thread.id());
        match &next {
            Some(next) => next.is_driver.store(true, Ordering::SeqCst),
            None if !self.shared.direct && self.shared.reactor.registered() > 0 => {
                drivers.last_left = Some(crate::now());
            }
            None => {}
        }
        drop(drivers);
        if let Some(next) = next {
            next.thread.unpark();
        }
        true
    }
}

impl Drop for DriverSlot<'_> {
    fn drop(&mut self) {
        self.hand_over();
        self.shared.reactor.watch().leave();
        BlockOnWaker::cache(&mut self.root);
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

/// Returns the loop that this thread blocks on, the innermost of several.
pub(crate) fn current() -> Option<Handle> {
    // While the thread's locals are being destroyed, it blocks on no loop.
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// A guard that sets the current loop, and restores the former one on drop.
pub(crate) struct Current {
    former: Option<Handle>,
    _driven: Driven,
}

impl Current {
    pub(crate) fn enter(handle: Handle) -> Self {
        let former = CURRENT.with(|current| current.replace(Some(handle)));
        Current {
            former,
            _driven: Driven::by(Driver::EventLoop),
        }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let former = self.former.take();
        let own = CURRENT.with(|current| current.replace(former));
        drop(own);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::EventLoop;

    fn waker_of(epoll: &EventLoop) -> Waker {
        epoll.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())))
    }

    #[test]
    fn waker_is_reused_unless_a_clone_of_it_exists() {
        let epoll = EventLoop::new().unwrap();
        let address = || epoll.block_on(poll_fn(|cx| Poll::Ready(cx.waker().data() as usize)));
        assert_eq!(address(), address());
        let kept = waker_of(&epoll);
        assert_ne!(kept.data() as usize, address());
        let other = EventLoop::new().unwrap();
        assert!(!waker_of(&other).will_wake(&kept));
    }

    #[test]
    fn cached_waker_does_not_keep_its_loop_alive() {
        let epoll = EventLoop::new().unwrap();
        let reactor = Arc::downgrade(&epoll.handle().0.reactor);
        let waker = waker_of(&epoll);
        drop(epoll);
        assert!(reactor.upgrade().is_none());
        waker.wake();
    }
}
