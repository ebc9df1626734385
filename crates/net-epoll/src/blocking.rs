//! The event loop for blocking programs: a thread that waits for one response blocks in its socket.
//!
//! One response on one socket takes three system calls with an event loop: send, wait, receive. A
//! blocking socket needs two. [`Blocking`] is a loop like [`EventLoop`], with tasks, timers and connects
//! that wait in epoll, whose streams work as follows:
//!
//! 1. A read without known readiness makes no system call. It records that this thread's future *wants to
//!    read* this stream, and is pending.
//! 2. When the future is pending, [`block_on`](Blocking::block_on) checks the record. If that read is the
//!    only event that can wake the future, apart from timers, the future is polled again with the
//!    permission to block, and the read blocks in recv(2) until the earliest deadline of the loop
//!    (`SO_RCVTIMEO`).
//! 3. Otherwise the thread waits as in any loop: as the driver, or parked.
//!
//! Other events that could wake the future are detected by counting the references to its waker. A body
//! from a channel, a response that is read while the request is written, a connection that another task
//! makes: whatever is more than one read waits in epoll, so full duplex works. A waker that is kept
//! without need costs a system call and nothing else.
//!
//! Differences to [`EventLoop`]:
//!
//! - Background tasks run while a thread waits in the loop, before a thread blocks in its socket, and
//!   after it. A thread never blocks while it depends on a task: the task then holds its waker.
//! - The loop polls for events seldom, so [`poll_idle`](NetworkStream::poll_idle) makes a system call more
//!   often. A connection that is reused within half a millisecond needs none here either.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxFuture, BoxStream, ConnectionInfo, Driven, Driver, IdleEvent, NetworkBackend, NetworkStream,
    Runtime, TcpOptions, Timer,
};

use httpcore_executor::WakerCount;
use httpcore_net_common::{socket, spare};

use crate::{
    EventLoop, Handle, Task,
    driver::{BlockOnWaker, Current, DriverSlot, Shared},
    source::{Direction, Source},
    stream::Stream,
    sync::{Arc, Ordering, Weak, fence},
};

/// An event loop for blocking programs, and its owner. See the [module](self).
///
/// ```
/// use httpcore_net_epoll::Blocking;
///
/// let blocking = Blocking::new()?;
/// assert_eq!(blocking.block_on(async { 5 }), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Blocking {
    handle: Handle,
}

impl Blocking {
    /// Creates a loop with the system's name resolution. For another one, see
    /// [`Builder::build_blocking`](crate::Builder::build_blocking).
    ///
    /// # Errors
    ///
    /// See [`EventLoop::new`].
    pub fn new() -> io::Result<Self> {
        EventLoop::builder().build_blocking()
    }

    pub(crate) fn over(handle: Handle) -> Self {
        Blocking { handle }
    }

    /// Runs `future` to completion on this thread and returns its output. Any number of threads
    /// may do so at once, and they do not wait for each other.
    ///
    /// # Panics
    ///
    /// If `future` panics. Panics of tasks do not propagate.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Runs `future` in the background, while a thread is in [`block_on`](Self::block_on). See
    /// [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Returns a handle to this loop, which does not keep it alive.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns a handle to this loop as a backend.
    pub fn backend(&self) -> Arc<dyn NetworkBackend> {
        Arc::new(self.handle())
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.handle.0.end();
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.describe("Blocking", f)
    }
}

impl Runtime for Blocking {
    fn now(&self) -> Instant {
        self.handle.now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        self.handle.timer(purpose)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        Runtime::spawn(&self.handle, name, task);
    }
}

impl NetworkBackend for Blocking {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.handle.resolve(host, port)
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.handle.connect_tcp(peer, options)
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.handle.connect_unix(path)
    }
}

/// The state of one `block_on` that the streams and timers polled within it use.
struct PollContext {
    root: Arc<BlockOnWaker>,
    waker: Waker,
    /// Number of references to `root` that `block_on` itself holds.
    own_refs: usize,
    /// The stream that may block in its socket in the current poll.
    may_block: Option<Weak<Source>>,
    /// The first stream with a pending read, and further ones. Weak: a stream is closed when it is dropped.
    wants_read: Option<Weak<Source>>,
    more_wants_read: Vec<Weak<Source>>,
}

/// The permission to block in a socket.
struct Permission {
    /// The earliest deadline of the loop.
    until: Option<Instant>,
}

thread_local! {
    /// The context of the root future that is polled on this thread; the innermost of several.
    static POLL_CONTEXT: RefCell<Option<PollContext>> = const { RefCell::new(None) };
}

impl PollContext {
    /// Returns whether `cx` is that of the root future, so that another poll of it polls `stream` again.
    fn is_for(&self, stream: &Stream, cx: &Context<'_>) -> bool {
        self.waker.will_wake(cx.waker()) && self.root.is_of(stream.reactor())
    }

    fn add_read(&mut self, source: &Arc<Source>) {
        let source = Arc::downgrade(source);
        if self.wants_read.is_none() {
            self.wants_read = Some(source);
        } else if !self.all_reads().any(|known| known.ptr_eq(&source)) {
            self.more_wants_read.push(source);
        }
    }

    fn all_reads(&self) -> impl Iterator<Item = &Weak<Source>> {
        self.wants_read.iter().chain(&self.more_wants_read)
    }

    /// Takes the permission to block in `source`, if it has that and nothing else can wake the future.
    fn take_permission(&mut self, source: &Arc<Source>, shared: &Shared) -> Option<Permission> {
        let is_permitted = self
            .may_block
            .as_ref()
            .is_some_and(|may_block| std::ptr::eq(may_block.as_ptr(), Arc::as_ptr(source)));
        if !is_permitted || self.wants_read.is_some() {
            return None;
        }
        // Read before the check: a timer of this future that another driver expires later is in it, and one
        // that was expired earlier has woken the future, or is about to.
        let until = shared.timers.next();
        if !self.nothing_else_wakes(shared) {
            return None;
        }
        self.may_block = None;
        Some(Permission { until })
    }

    /// Returns whether nothing but timers and the recorded reads can wake the future.
    fn nothing_else_wakes(&self, shared: &Shared) -> bool {
        let others = Arc::strong_count(&self.root).saturating_sub(self.own_refs);
        // In this order. Only this thread increments the count of timers, which is never larger than the
        // number of references. A reference that is missing from both numbers has been dropped, possibly
        // after a wake, which is observed then.
        fence(Ordering::SeqCst);
        others == self.root.timers.get() && !self.root.is_woken() && shared.queue.ready() == 0
    }

    /// Returns whether the future may be polled with the permission to block; otherwise the thread waits in
    /// the loop.
    fn may_block_in_socket(&self, shared: &Shared) -> bool {
        self.wants_read.is_some()
            && self.more_wants_read.is_empty()
            && self.may_block.is_none()
            && self.nothing_else_wakes(shared)
            && !(shared.should_poll_events() && shared.queue.live() > 0)
            && shared.timers.next().is_none_or(|at| at > crate::now())
    }
}

/// Installs a context for the streams of this thread, and restores the former one on drop, also if the
/// future panics.
struct Installed(Option<PollContext>);

impl Installed {
    fn install(context: PollContext) -> Self {
        Installed(POLL_CONTEXT.with(|cell| cell.replace(Some(context))))
    }

    fn take(mut self) -> PollContext {
        let former = self.0.take();
        let context = POLL_CONTEXT.with(|cell| cell.replace(former));
        std::mem::forget(self);
        context.expect("nested polls restore the context that they replaced")
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let former = self.0.take();
        let context = POLL_CONTEXT.with(|cell| cell.replace(former));
        drop(context);
    }
}

/// Calls `f` with the context of the poll in progress; without one, returns `false`.
fn with_poll_context(f: impl FnOnce(&mut PollContext) -> bool) -> bool {
    POLL_CONTEXT.with_borrow_mut(|context| context.as_mut().is_some_and(f))
}

/// Returns the count for timers that are armed with `cx`'s waker, if that is the waker of the root future
/// that is polled on this thread.
pub(crate) fn timer_count(cx: &Context<'_>) -> Option<WakerCount> {
    POLL_CONTEXT.with_borrow(|context| {
        let context = context.as_ref()?;
        (context.waker.will_wake(cx.waker())).then(|| context.root.timers.clone())
    })
}

pub(crate) fn block_on<F: Future>(handle: &Handle, future: F) -> F::Output {
    let shared = &*handle.0;
    let _current = Current::enter(handle.clone());
    let mut slot = DriverSlot::take(shared);
    let waker = Waker::from(slot.root.clone());
    let mut context = PollContext {
        root: slot.root.clone(),
        waker: waker.clone(),
        own_refs: 0,
        may_block: None,
        wants_read: None,
        more_wants_read: Vec::new(),
    };
    context.own_refs = Arc::strong_count(&slot.root);
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if context.may_block.is_some() || slot.root.is_woken() {
            slot.root.take_wake();
            let installed = Installed::install(context);
            let poll = {
                let _driven = Driven::by(Driver::BlockingThread);
                future.as_mut().poll(&mut cx)
            };
            context = installed.take();
            if let Poll::Ready(output) = poll {
                return output;
            }
            if context.may_block_in_socket(shared) && slot.hand_over() {
                context.may_block = context.wants_read.take();
                continue;
            }
            // An unused permission, and reads that are not the only ones, wait in the loop.
            let reads = context.more_wants_read.drain(..);
            let reads = reads
                .chain(context.wants_read.take())
                .chain(context.may_block.take());
            for source in reads.filter_map(|source| source.upgrade()) {
                if source.poll_ready(Direction::Read, &mut cx).is_ready() {
                    waker.wake_by_ref();
                }
            }
        }
        slot.wait();
    }
}

/// A stream in whose socket a thread may block.
pub(crate) struct DirectStream {
    stream: Stream,
    shared: Arc<Shared>,
    /// Whether the last read filled its buffer, so that another call may find more.
    may_have_more: bool,
    /// The current receive timeout of the socket (`SO_RCVTIMEO`).
    recv_timeout: Option<Duration>,
}

/// Time to the deadline below which the receive timeout is set to exactly that time.
///
/// An early wake-up is cheap, and setting the timeout before every read is not. Therefore the timeout is set
/// to three quarters of the time to the deadline, and is kept until it is longer than that time, or shorter
/// than a quarter of it.
const EXACT_WAIT_BELOW: Duration = Duration::from_millis(20);

/// A receive timeout of at least this time is kept although there is no deadline any more.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl DirectStream {
    /// Wraps `stream`, whose socket is in blocking mode.
    pub(crate) fn new(stream: Stream, shared: Arc<Shared>) -> Self {
        DirectStream {
            stream,
            shared,
            may_have_more: false,
            recv_timeout: None,
        }
    }

    /// Reads without blocking. Registers no waker when pending.
    fn try_read(&mut self, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let wanted = spare::read_size(buf);
        let source = self.stream.source();
        loop {
            let readiness = source.ready(Direction::Read)?;
            if readiness.is_none() && !self.may_have_more {
                return Poll::Pending;
            }
            self.may_have_more = false;
            match spare::recv_without_waiting(&source.socket, buf) {
                Ok(read) => {
                    self.may_have_more = read == wanted;
                    if 0 < read && read < wanted {
                        self.stream.note_empty();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(error) => match (error.kind(), readiness) {
                    (io::ErrorKind::WouldBlock, None) => return Poll::Pending,
                    (io::ErrorKind::WouldBlock, Some(readiness)) => {
                        source.clear_ready(Direction::Read, readiness);
                    }
                    (io::ErrorKind::Interrupted, _) => self.may_have_more = true,
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    /// Reads, and blocks until the permission ends.
    fn blocking_read(
        &mut self,
        Permission { until }: Permission,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        #[cfg(test)]
        tests::before_blocking();
        let left = until.map(|at| at.saturating_duration_since(crate::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Poll::Pending;
        }
        self.set_recv_timeout(left)?;
        let wanted = spare::read_size(buf);
        let source = self.stream.source();
        match spare::recv(&source.socket, buf) {
            // The shutdown of the loop shuts the socket down, which is not an end sent by the peer.
            Ok(0) => Poll::Ready(source.ready(Direction::Read).map(|_| 0)),
            Ok(read) => {
                self.may_have_more = read == wanted;
                if read < wanted {
                    self.stream.note_empty();
                }
                Poll::Ready(Ok(read))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Poll::Pending,
                _ => Poll::Ready(Err(error)),
            },
        }
    }

    fn set_recv_timeout(&mut self, left: Option<Duration>) -> io::Result<()> {
        let timeout = match (self.recv_timeout, left) {
            (None, None) => return Ok(()),
            (Some(set), None) if set >= MIN_CHECK_INTERVAL => return Ok(()),
            (Some(set), Some(left)) if set <= left && set * 4 >= left => return Ok(()),
            (_, None) => None,
            (_, Some(left)) if left > EXACT_WAIT_BELOW => Some(left / 4 * 3),
            // 0 means no timeout to the kernel.
            (_, Some(left)) => Some(left.max(Duration::from_millis(1))),
        };
        self.stream.source().socket.set_read_timeout(timeout)?;
        self.recv_timeout = timeout;
        Ok(())
    }
}

impl NetworkStream for DirectStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if spare::read_size(buf) == 0 {
            return Poll::Ready(Err(socket::no_capacity()));
        }
        // A task, a part of the future with its own waker, and another executor are woken by the loop.
        if !with_poll_context(|context| context.is_for(&self.stream, cx)) {
            return self.stream.poll_read(cx, buf);
        }
        if !self.stream.try_proceed(cx) {
            return Poll::Pending;
        }
        let mut read = self.try_read(buf)?;
        if read.is_pending()
            && let Some(permission) = POLL_CONTEXT.with_borrow_mut(|context| {
                let context = context.as_mut()?;
                context.take_permission(self.stream.source(), &self.shared)
            })
        {
            read = self.blocking_read(permission, buf)?;
        }
        if let Poll::Ready(read) = read {
            self.stream.consume_budget(read);
            return Poll::Ready(Ok(read));
        }
        with_poll_context(|context| {
            context.add_read(self.stream.source());
            true
        });
        Poll::Pending
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }

    /// The waker is called only while a thread waits in the loop.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.stream.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}

impl fmt::Debug for DirectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.stream).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::poll_fn,
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    /// Makes `rounds` requests, each with a deadline if there is a `limit`, and returns the number of polls
    /// for events meanwhile.
    fn polls_during(rounds: usize, limit: Option<Duration>) -> u64 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4];
            while socket.read_exact(&mut request).is_ok() {
                socket.write_all(&request).unwrap();
            }
        });
        let blocking = Blocking::new().unwrap();
        let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
        let connect = blocking.connect_tcp(address, &TcpOptions::default());
        let mut stream = blocking.block_on(connect).unwrap();
        let before = blocking.handle.0.reactor.poll_count();
        for _ in 0..rounds {
            blocking.block_on(async {
                let mut response = BytesMut::with_capacity(64);
                let exchange = async {
                    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(b"ping")])).await?;
                    poll_fn(|cx| stream.poll_read(cx, &mut response)).await
                };
                let deadline = limit.map(|limit| runtime.now() + limit);
                let limited =
                    httpcore_core_primitives::with_deadline(&runtime, "test", deadline, exchange);
                assert_eq!(limited.await.unwrap().unwrap(), 4);
            });
        }
        let polls = blocking.handle.0.reactor.poll_count() - before;
        drop(stream);
        server.join().unwrap();
        polls
    }

    #[test]
    fn sequential_requests_do_not_poll_for_events() {
        assert_eq!(polls_during(200, None), 0);
    }

    #[test]
    fn requests_with_a_deadline_do_not_poll_for_events() {
        assert_eq!(polls_during(200, Some(Duration::from_secs(3600))), 0);
    }

    thread_local! {
        static BEFORE_BLOCKING: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }

    /// Runs a test's code between the decision to block in the socket and recv(2).
    pub(super) fn before_blocking() {
        if let Some(hook) = BEFORE_BLOCKING.take() {
            hook();
        }
    }

    #[test]
    fn timer_expired_by_another_driver_does_not_leave_a_thread_in_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let blocking = Arc::new(Blocking::new().unwrap());
        let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
        let connect = blocking.connect_tcp(listener.local_addr().unwrap(), &TcpOptions::default());
        let mut stream = blocking.block_on(connect).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // Ends the read if its deadline is missed.
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            if is_done.recv_timeout(Duration::from_secs(10)).is_err() {
                server.write_all(b"missed").unwrap();
            }
        });
        let deadline = runtime.now() + Duration::from_millis(100);
        let (driver, clock) = (blocking.clone(), runtime.clone());
        let hook = move || {
            while clock.now() < deadline {
                thread::yield_now();
            }
            let mut polls = 0;
            let drive = move || {
                driver.block_on(poll_fn(|cx| {
                    polls += 1;
                    cx.waker().wake_by_ref();
                    if polls < 200 {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                }));
            };
            thread::spawn(drive).join().unwrap();
        };
        BEFORE_BLOCKING.set(Some(Box::new(hook)));
        let read = blocking.block_on(async {
            let mut buf = BytesMut::with_capacity(8);
            let read = poll_fn(|cx| stream.poll_read(cx, &mut buf));
            httpcore_core_primitives::with_deadline(&runtime, "test", Some(deadline), read).await
        });
        let _ = done.send(());
        watchdog.join().unwrap();
        assert!(BEFORE_BLOCKING.take().is_none(), "the read did not block");
        assert!(read.is_none(), "the deadline was missed");
    }
}
