//! Descriptors of any kind in the loop.

use std::{
    fmt,
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use socket2::Socket;

use crate::{
    Handle,
    reactor::{Reactor, SourceId},
    source::{Direction, Source},
    waiters::Waiters,
};

/// Number of times that one descriptor may be reported as ready in one turn of the loop. Then its task
/// yields once, so that a descriptor that is always ready does not keep the others waiting.
const MAX_READY_PER_TURN: u32 = 64;

/// A descriptor registered with a loop: a pipe, a socket, a timerfd, a signalfd, an eventfd, an inotify instance.
///
/// The caller makes the system calls; this says when they are worth making. Dropping it removes the
/// descriptor from the loop. `T` decides what becomes of the descriptor itself: an
/// [`OwnedFd`](std::os::fd::OwnedFd) is closed when it is dropped, a [`BorrowedFd`] is not.
///
/// Both directions are independent, and any number of tasks may wait for each. They may wait under any
/// executor, as long as a thread runs the loop.
///
/// ```
/// use std::io::{Read, Write};
///
/// use httpcore_net_epoll::{AsyncFd, Direction, EventLoop};
///
/// let epoll = EventLoop::new()?;
/// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
/// reader.set_nonblocking(true)?;
/// let reader = AsyncFd::new(&epoll.handle(), reader)?;
/// writer.write_all(b"hello")?;
/// let mut buf = [0; 16];
/// let read = epoll.block_on(reader.async_io(Direction::Read, |mut fd| fd.read(&mut buf)))?;
/// assert_eq!(&buf[..read], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Requirements
///
/// - The descriptor must be in non-blocking mode (`O_NONBLOCK`); otherwise a call that finds nothing to do blocks
///   the thread, and the loop with it.
/// - Readiness is edge-triggered: it counts as present until a call in
///   [`try_io`](Self::try_io) or [`async_io`](Self::async_io) returns [`WouldBlock`](io::ErrorKind::WouldBlock).
///   Make the calls there.
/// - epoll refuses regular files and directories with `EPERM`.
///
/// # Cost
///
/// Registering takes a second descriptor (`F_DUPFD_CLOEXEC`) for as long as this exists, which makes the
/// registration independent of what becomes of the first one: closing it, or moving it into another `AsyncFd`,
/// removes no other registration.
pub struct AsyncFd<T: AsFd> {
    // Dropped before the descriptor itself.
    registration: Registration,
    inner: T,
}

/// What a descriptor has in the loop. Dropping it takes that out.
struct Registration {
    reactor: Arc<Reactor>,
    /// Holds the duplicate.
    source: Arc<Source>,
    id: SourceId,
    waiters: [Arc<Waiters>; 2],
    turn: AtomicU64,
    ready_in_turn: AtomicU32,
}

impl<T: AsFd> AsyncFd<T> {
    /// Registers the descriptor of `inner` with the loop of `handle`.
    ///
    /// # Errors
    ///
    /// If no descriptor is left for the duplicate, if epoll does not support the descriptor (`EPERM`), and
    /// [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown) if the loop has ended. `inner` is dropped
    /// then.
    pub fn new(handle: &Handle, inner: T) -> io::Result<Self> {
        let duplicate = inner.as_fd().try_clone_to_owned()?;
        let reactor = handle.0.reactor.clone();
        let (id, source) = reactor.register_foreign(Socket::from(duplicate))?;
        Ok(AsyncFd {
            registration: Registration {
                reactor,
                source,
                id,
                waiters: [Arc::default(), Arc::default()],
                turn: AtomicU64::new(0),
                ready_in_turn: AtomicU32::new(0),
            },
            inner,
        })
    }

    /// Returns a reference to what was registered.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Returns a mutable reference to what was registered. The registration stays with the descriptor that it
    /// was made for.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Removes the descriptor from the loop, and returns what was registered.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Waits until reading is worth a try: there are bytes, the end, or an error.
    ///
    /// # Errors
    ///
    /// [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown) once the loop has ended.
    pub fn readable(&self) -> ReadyFuture<'_> {
        self.ready(Direction::Read)
    }

    /// Waits until writing is worth a try: there is room, the peer has closed, or an error.
    ///
    /// # Errors
    ///
    /// [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown) once the loop has ended.
    pub fn writable(&self) -> ReadyFuture<'_> {
        self.ready(Direction::Write)
    }

    /// Waits until `direction` is worth a try. See [`readable`](Self::readable) and
    /// [`writable`](Self::writable).
    ///
    /// # Errors
    ///
    /// [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown) once the loop has ended.
    pub fn ready(&self, direction: Direction) -> ReadyFuture<'_> {
        ReadyFuture {
            registration: &self.registration,
            direction,
            waiter: None,
        }
    }

    /// Calls `call` once, and notes that `direction` is not ready if it returns
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). `call` must be a system call in that direction on this
    /// descriptor.
    ///
    /// # Errors
    ///
    /// Those of `call`; [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown) once the loop has ended,
    /// without a call.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let source = &self.registration.source;
        // Before the call: an edge that arrives during it is newer, and is kept.
        let seen = source.ready(direction)?;
        let outcome = call(&self.inner);
        if let Some(seen) = seen
            && let Err(error) = &outcome
            && error.kind() == io::ErrorKind::WouldBlock
        {
            source.clear_ready(direction, seen);
        }
        outcome
    }

    /// Waits for `direction` and calls `call`, again and again until it returns something other than
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) or [`Interrupted`](io::ErrorKind::Interrupted).
    ///
    /// Dropping the future between two polls loses nothing: what a call has moved is returned by the same poll.
    ///
    /// # Errors
    ///
    /// As for [`try_io`](Self::try_io).
    pub async fn async_io<R>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            self.ready(direction).await?;
            match self.try_io(direction, &mut call) {
                Err(error) if is_retryable(&error) => {}
                outcome => return outcome,
            }
        }
    }
}

fn is_retryable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Registration {
    fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.source.poll_ready(direction, cx);
        if polled.is_pending() {
            self.reactor.watch().waits();
            return Poll::Pending;
        }
        if self.must_yield() {
            self.reactor.request_events();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled.map_ok(|_| ())
    }

    /// Counts one report of readiness, and returns whether it was the last of this turn.
    fn must_yield(&self) -> bool {
        let turn = self.reactor.poll_count();
        if self.turn.swap(turn, Ordering::Relaxed) != turn {
            self.ready_in_turn.store(0, Ordering::Relaxed);
        }
        let ready = self.ready_in_turn.fetch_add(1, Ordering::Relaxed);
        let is_last = ready >= MAX_READY_PER_TURN;
        if is_last {
            self.ready_in_turn.store(0, Ordering::Relaxed);
        }
        is_last
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.reactor.deregister_foreign(&self.source, self.id);
    }
}

/// Waits until a direction of an [`AsyncFd`] is worth a try.
#[must_use = "futures do nothing unless polled"]
pub struct ReadyFuture<'a> {
    registration: &'a Registration,
    direction: Direction,
    waiter: Option<usize>,
}

impl ReadyFuture<'_> {
    fn waiters(&self) -> &Arc<Waiters> {
        &self.registration.waiters[self.direction as usize]
    }
}

impl Future for ReadyFuture<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Ready without a wait is the common case, and leaves no waker.
        if self.registration.source.ready(self.direction)?.is_some() {
            return self.registration.poll_ready(self.direction, cx);
        }
        let place = self.waiters().register(self.waiter, cx.waker());
        self.waiter = Some(place);
        let waker = Waker::from(self.waiters().clone());
        let waiting = &mut Context::from_waker(&waker);
        let polled = ready!(self.registration.poll_ready(self.direction, waiting));
        Poll::Ready(polled)
    }
}

impl Drop for ReadyFuture<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.waiter.take() {
            self.waiters().remove(place);
        }
    }
}

impl fmt::Debug for ReadyFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyFuture")
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFd").field(&self.inner).finish()
    }
}
