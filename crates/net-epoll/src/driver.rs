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
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread, ThreadId},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{BoxStream, Driven, Driver};
use httpcore_executor::{Runnable, TaskQueue, Timers};
use httpcore_net_common::socket;
use socket2::Socket;

use crate::{
    Handle, Resolve,
    blocking::DirectStream,
    reactor::Reactor,
    stream::{Nodelay, Stream},
};

/// How many polls may go by without the kernel being asked.
const POLLS_PER_QUESTION: usize = 61;

/// How long what is known about sockets may be trusted after the loop has stopped turning.
const READINESS_MAX_AGE: Duration = Duration::from_millis(1);

/// One loop, as its handles, streams and timers share it.
pub(crate) struct Shared {
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) timers: Timers,
    pub(crate) queue: TaskQueue,
    pub(crate) resolver: Arc<dyn Resolve>,
    /// Whether threads may wait in a socket instead of in the loop (see `blocking`).
    pub(crate) direct: bool,
    drivers: Mutex<Drivers>,
    /// Polls since the kernel was last asked. Written by the driver only.
    unasked: AtomicUsize,
}

/// Who drives, and who would if need be.
#[derive(Default)]
struct Drivers {
    driving: Option<ThreadId>,
    parked: VecDeque<Arc<BlockOnWaker>>,
    /// When the last driver left, if there were sockets that went on without one.
    left: Option<Instant>,
}

/// The future of one `block_on`, as its waker knows it.
pub(crate) struct BlockOnWaker {
    woken: AtomicBool,
    /// Whether this thread drives: then it sleeps in the kernel, if at all, and not parked.
    drives: AtomicBool,
    thread: Thread,
    /// Weak: a waker does not keep the loop, nor does a root which waits to be used again.
    reactor: Weak<Reactor>,
}

impl Wake for BlockOnWaker {
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
            if let Some(reactor) = self.reactor.upgrade() {
                reactor.ring();
            }
        } else {
            self.thread.unpark();
        }
    }
}

impl Shared {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, direct: bool) -> io::Result<Self> {
        let reactor = Arc::new(Reactor::new()?);
        let wakeup = reactor.clone();
        Ok(Shared {
            queue: TaskQueue::new(move || wakeup.ring()),
            reactor,
            timers: Timers::default(),
            resolver,
            direct,
            drivers: Mutex::default(),
            unasked: AtomicUsize::new(0),
        })
    }

    /// Ends the loop: tasks are dropped, and whoever waits is woken and told.
    pub(crate) fn end(&self) {
        let mut due = Vec::new();
        self.reactor.end(self.direct, &mut due);
        self.timers.end(&mut due);
        self.queue.clear();
        wake_all(&mut due);
    }

    /// A stream over `socket`, which is connected or connecting.
    pub(crate) fn stream(
        &self,
        mut socket: Socket,
        peer: Option<SocketAddr>,
        connected: bool,
        nodelay: Nodelay,
    ) -> io::Result<Box<Stream>> {
        if self.direct {
            socket = socket::let_wait(socket)?;
        }
        let stream = Stream::new(&self.reactor, socket, peer, connected, nodelay)?;
        Ok(Box::new(stream))
    }

    /// `stream`, which is connected, for everybody.
    pub(crate) fn established(self: &Arc<Self>, stream: Box<Stream>) -> BoxStream {
        if self.direct {
            Box::new(DirectStream::new(*stream, self.clone()))
        } else {
            stream
        }
    }

    /// Counts a wait that did not ask the kernel; whether it is time to ask.
    pub(crate) fn should_poll_events(&self) -> bool {
        let unasked = self.unasked.load(Ordering::Relaxed) + 1;
        self.unasked.store(unasked, Ordering::Relaxed);
        unasked >= POLLS_PER_QUESTION
    }

    /// Runs tasks until it is time to ask the kernel, and asks it; or until the future of `root` is
    /// to be polled, if that comes first.
    fn turn(&self, root: &BlockOnWaker) {
        let mut unasked = self.unasked.load(Ordering::Relaxed) + 1;
        let busy = loop {
            unasked += self.run_batch();
            let awake = root.is_woken();
            let busy = awake || self.queue.ready() > 0;
            if !busy || unasked >= POLLS_PER_QUESTION || self.reactor.must_ask() {
                break busy;
            }
            if awake {
                self.unasked.store(unasked, Ordering::Relaxed);
                return;
            }
        };
        self.poll_events(if busy { None } else { Some(root) });
    }

    /// Runs what is ready now, and nothing that becomes so meanwhile.
    fn run_batch(&self) -> usize {
        let ready = self.queue.ready();
        (0..ready).map_while(|_| self.queue.pop().map(run)).count()
    }

    /// Asks the kernel and the clock who is due, and wakes them. Sleeps, for as long as nothing is
    /// due, if there is a `sleeper` and it has not been woken.
    fn poll_events(&self, sleeper: Option<&BlockOnWaker>) {
        let sleeps = sleeper.is_some_and(|root| self.fall_asleep(root));
        // After the bell is armed: whoever sets an earlier deadline from now on rings it.
        let next = self.timers.next();
        let timeout = if sleeps {
            next.map(|at| at.saturating_duration_since(crate::now()))
        } else {
            Some(Duration::ZERO)
        };
        let (now, mut due) = self.reactor.poll_events(timeout);
        self.unasked.store(0, Ordering::Relaxed);
        if next.is_some_and(|at| at <= now) {
            self.timers.expire(now, &mut due);
        }
        wake_all(&mut due);
        self.reactor.keep(due);
    }

    /// Arms the bell, and sees whether there is anything left to do; if not, the driver may sleep.
    ///
    /// The order makes this certain: what is not found here after the bell has been armed rings it
    /// when it comes.
    fn fall_asleep(&self, root: &BlockOnWaker) -> bool {
        self.reactor.fall_asleep();
        let idle = !root.is_woken() && self.queue.ready() == 0;
        if !idle {
            self.reactor.stay_awake();
        }
        idle
    }
}

/// Polls a task. One that panics has ended, and the panic hook has said so; it is not the fault of
/// whoever drives, whose own future has nothing to do with it.
fn run(task: Runnable) {
    let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
}

/// Calls the wakers in `due`, and leaves it empty. One that panics does not keep the others from being
/// called: their edges and deadlines are used up, and nothing would wake them later. As with tasks, the
/// panic hook has reported it, and it is not the fault of the future which drives.
fn wake_all(due: &mut Vec<Waker>) {
    let mut rest = due.drain(..);
    let mut wake_rest = || rest.by_ref().for_each(Waker::wake);
    while catch_unwind(AssertUnwindSafe(&mut wake_rest)).is_err() {}
}

thread_local! {
    /// The root of this thread's last `block_on`: to make one for each call, which may be one for
    /// each request, is an allocation.
    static SPARE: Cell<Option<Arc<BlockOnWaker>>> = const { Cell::new(None) };
}

impl BlockOnWaker {
    /// A root for a future on this thread, to be polled at once.
    fn take(reactor: &Arc<Reactor>) -> Arc<Self> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        if let Some(root) = spare
            && root.is_of(reactor)
        {
            root.drives.store(false, Ordering::SeqCst);
            root.woken.store(true, Ordering::SeqCst);
            return root;
        }
        Arc::new(BlockOnWaker {
            woken: AtomicBool::new(true),
            drives: AtomicBool::new(false),
            thread: thread::current(),
            reactor: Arc::downgrade(reactor),
        })
    }

    /// Keeps a root for this thread's next future, unless somebody still has a waker of it.
    fn keep(root: &mut Arc<Self>) {
        if Arc::get_mut(root).is_some() {
            // While the thread ends, it is just dropped.
            let _ = SPARE.try_with(|spare| spare.set(Some(root.clone())));
        }
    }

    pub(crate) fn is_of(&self, reactor: &Arc<Reactor>) -> bool {
        std::ptr::eq(self.reactor.as_ptr(), Arc::as_ptr(reactor))
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    pub(crate) fn take_wake(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }
}

/// Runs `future` to its end on this thread, and drives the loop meanwhile unless another thread
/// does.
pub(crate) fn block_on<F: Future>(handle: &Handle, future: F) -> F::Output {
    let shared = &*handle.0;
    let _current = Current::enter(handle.clone());
    let mut seat = DriverSlot::take(shared);
    seat.refresh();
    let waker = Waker::from(seat.root.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if seat.root.take_wake()
            && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
        {
            return output;
        }
        seat.wait();
    }
}

/// One `block_on`'s place among those of the same loop.
pub(crate) struct DriverSlot<'a> {
    shared: &'a Shared,
    pub(crate) root: Arc<BlockOnWaker>,
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

impl<'a> DriverSlot<'a> {
    pub(crate) fn take(shared: &'a Shared) -> Self {
        shared.reactor.watch().enter();
        DriverSlot {
            shared,
            root: BlockOnWaker::take(&shared.reactor),
            role: Role::Waits,
        }
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
            && crate::now().saturating_duration_since(left) > READINESS_MAX_AGE
            && self.may_drive()
        {
            self.shared.poll_events(None);
        }
    }

    /// Does something useful, or nothing, until the future is worth a poll or the loop has turned.
    pub(crate) fn wait(&mut self) {
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

    /// Leaves the role to one of the parked, if it is this seat's. Whether this thread is free of
    /// it then: further up the stack, somebody may have it still.
    pub(crate) fn step_aside(&mut self) -> bool {
        let mut drivers = self.shared.drivers();
        if drivers.driving != Some(self.root.thread.id()) {
            return true;
        }
        // The role may have been handed to this thread while it polled its future, and then it is
        // handed on without ever having been taken up.
        if self.role == Role::DrivesWithin || !self.root.drives.swap(false, Ordering::SeqCst) {
            return false;
        }
        self.role = Role::Waits;
        let next = drivers.parked.pop_front();
        drivers.driving = next.as_ref().map(|next| next.thread.id());
        match &next {
            Some(next) => next.drives.store(true, Ordering::SeqCst),
            None if !self.shared.direct && self.shared.reactor.registered() > 0 => {
                drivers.left = Some(crate::now());
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
        self.step_aside();
        self.shared.reactor.watch().leave();
        BlockOnWaker::keep(&mut self.root);
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

/// Nothing of ours panics while it holds a lock; a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_root_is_used_again_unless_somebody_has_its_waker() {
        let epoll = EventLoop::new().unwrap();
        let address = || epoll.block_on(poll_fn(|cx| Poll::Ready(cx.waker().data() as usize)));
        assert_eq!(address(), address());
        let kept = waker_of(&epoll);
        assert_ne!(kept.data() as usize, address());
        let other = EventLoop::new().unwrap();
        assert!(!waker_of(&other).will_wake(&kept));
    }

    #[test]
    fn what_a_thread_keeps_of_a_loop_does_not_keep_the_loop() {
        let epoll = EventLoop::new().unwrap();
        let reactor = Arc::downgrade(&epoll.handle().0.reactor);
        let waker = waker_of(&epoll);
        drop(epoll);
        assert!(reactor.upgrade().is_none());
        waker.wake();
    }
}
