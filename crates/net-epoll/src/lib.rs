//! An event loop for [httpcore](https://docs.rs/httpcore): sockets, timers, tasks and names, on
//! mio, without a runtime.
//!
//! [`EventLoop`] is a loop. It turns while somebody blocks on it, on the thread that does:
//!
//! ```
//! use httpcore_net_epoll::EventLoop;
//!
//! let epoll = EventLoop::new()?;
//! let sum = epoll.block_on(async {
//!     let two = epoll.spawn(async { 2 });
//!     two.await + 3
//! });
//! assert_eq!(sum, 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What others need of it is a [`Handle`], which is a [`Runtime`] and a [`NetworkBackend`].
//!
//! # How it works
//!
//! - `drive`: who turns the loop, and what a turn is. Several threads may block on one loop; one of
//!   them drives at a time, and hands the role on when it leaves.
//! - `reactor`: the registered sockets and the kernel. `source`: what is known of each socket.
//! - `stream`, `tcp`, `unix`: sockets as streams, opened and read by `httpcore-net-common`.
//! - [`task`](Task): tasks with an outcome. The queue they wait in, and the table of timers, are
//!   `httpcore-executor`'s.
//! - Names are looked up by [httpcore-resolver](https://docs.rs/httpcore-resolver), on worker threads.
//! - `watch`: in debug builds, says that something waits on a loop which no thread runs.
//! - [`blocking`]: the same loop for programs that block: a thread that waits for one answer waits
//!   in its socket.
//!
//! Nothing here knows HTTP or TLS.
//!
//! # Under another runtime
//!
//! Streams, timers and what is made of them, such as a connection pool, can be awaited under tokio,
//! async-std or smol, or on threads that block, if some thread runs the loop. [`EventLoop::spawn_thread`]
//! starts one, which sleeps in the kernel while nothing happens and ends when its handle is dropped:
//!
//! ```
//! use httpcore_net_epoll::EventLoop;
//!
//! let thread = EventLoop::spawn_thread("http")?;
//! let backend = thread.backend();
//! // `backend`, and pools over it, can be used from any runtime and any thread until `thread` is dropped.
//! # drop(backend);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Without it nothing moves, time limits included: whatever is awaited waits for ever. In debug builds a
//! line on stderr says so after a second, once for each loop. The same holds for what belongs to one loop
//! and is awaited in the `block_on` of another one.
//!
//! # On its own
//!
//! The loop does more than HTTP needs of it. [`AsyncFd`] waits for any descriptor that epoll supports: a pipe, a
//! timerfd, a signalfd, an inotify instance, the output of a child process. [`TcpListener`] and [`UdpSocket`] are made
//! of it. [`Handle::sleep`], [`Handle::interval`] and [`Handle::timeout`] are its timers, and a [`LocalSet`] runs
//! futures that are not `Send`. The loop is woken from other threads by the wakers of its futures, by
//! [`Handle::spawn`], and from a signal handler by a write to a registered eventfd or pipe.
//!
//! # After fork(2)
//!
//! A child process has a copy of the loop's descriptors and none of its threads. Both processes would share one epoll
//! instance, and each would take events from the other. So a child that was forked without `exec` must not use, and not
//! drop, a loop of its parent, a handle to it, a stream, or a pool: it may call `exec` or `_exit`, or
//! create a loop and a pool of its own. Dropping a [`LoopThread`] there would join a thread that does not exist.
//! This is not detected: to compare process ids takes a system call each time. [`std::process::Command`] is
//! safe to use: every descriptor is closed by `exec` (`CLOEXEC`).
//!
//! # Invariants
//!
//! - A loop turns only while somebody is in [`block_on`](EventLoop::block_on). Streams and timers may
//!   be polled anywhere, also by other executors, but nobody is woken while nobody blocks.
//! - Wakers are called, and tasks dropped, with no lock held.
//! - Dropping the [`EventLoop`] ends everything: tasks are dropped, streams fail, timers go off. So no
//!   task can keep its own loop alive.
//!
//! It works on Linux (and Android), and is tested there.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!("httpcore-net-epoll is for Linux; elsewhere, use another backend");

mod async_fd;
pub mod blocking;
mod driver;
mod listener;
mod local_set;
mod loop_thread;
mod reactor;
mod source;
mod stream;
mod task;
mod tcp;
mod time;
mod udp;
mod unix;
mod waiters;
mod watch;

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use httpcore_core_primitives::{BoxFuture, BoxStream, NetworkBackend, Runtime, TcpOptions, Timer};

pub use async_fd::{AsyncFd, ReadyFuture};
pub use blocking::Blocking;
pub use httpcore_resolver::{CachingResolver, Resolve, StaticHosts, SystemResolver};
pub use listener::TcpListener;
pub use local_set::{LocalSet, LocalTask};
pub use loop_thread::LoopThread;
pub use source::Direction;
pub use task::Task;
pub use time::{Elapsed, Interval, Sleep, Timeout};
pub use udp::UdpSocket;

use driver::Shared;

/// An event loop, and its owner: dropping it ends whatever runs on it.
///
/// It turns only while a thread is in [`block_on`](EventLoop::block_on). To use it under tokio or another
/// runtime, give it a thread of its own: see [the crate's documentation](crate#under-another-runtime).
///
/// See the [crate's documentation](crate).
#[doc(alias = "tokio")]
pub struct EventLoop {
    handle: Handle,
}

impl EventLoop {
    /// A loop with the system's own name lookup.
    ///
    /// # Errors
    ///
    /// When the process or the system has no file descriptors left: a loop takes three.
    pub fn new() -> io::Result<Self> {
        EventLoop::builder().build()
    }

    /// A loop that is not like every other.
    pub fn builder() -> Builder {
        Builder { resolver: None }
    }

    /// Runs `future` to its end on this thread, and yields what it yields.
    ///
    /// Meanwhile, the loop turns: on this thread, unless another one is blocked on the same loop
    /// and turns it already. Tasks run on the thread that turns the loop. `block_on` may be called
    /// from within itself, but whatever called it waits, and so does the future which that thread
    /// is blocked on: a task which blocks for something that one does waits for ever. For the same
    /// reason nothing else of the loop moves while a future, or a task, keeps the thread which
    /// turns it busy.
    ///
    /// # Panics
    ///
    /// When `future` does; not when a task does.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Runs `future` in the background. See [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// A handle to this loop, which does not keep it going.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// This loop as a backend: its handle, behind the trait.
    pub fn backend(&self) -> Arc<dyn NetworkBackend> {
        Arc::new(self.handle())
    }

    /// Returns the time by the clock of all loops. For what needs that clock before there is a loop,
    /// such as a [`CachingResolver`] for the loop that is about to be built; all else asks
    /// [`Runtime::now`].
    pub fn now() -> Instant {
        now()
    }

    /// The loop on which this thread is blocked, if any; the innermost of several. Tasks see the
    /// loop they run on.
    pub fn current() -> Option<Handle> {
        driver::current()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.handle.0.end();
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.describe("EventLoop", f)
    }
}

/// What may be different about a loop.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    resolver: Option<Arc<dyn Resolve>>,
}

impl Builder {
    /// Looks names up with `resolver` instead of [`SystemResolver`].
    ///
    /// ```
    /// use httpcore_net_epoll::{CachingResolver, EventLoop, SystemResolver, StaticHosts};
    /// use std::{net::Ipv4Addr, sync::Arc};
    ///
    /// let system = Arc::new(SystemResolver::default());
    /// let cached = Arc::new(CachingResolver::new(system, EventLoop::now));
    /// let resolver = StaticHosts::new(cached).host("api.test", [Ipv4Addr::LOCALHOST.into()]);
    /// let epoll = EventLoop::builder().resolver(Arc::new(resolver)).build()?;
    /// # use httpcore_core_primitives::NetworkBackend;
    /// # let found = epoll.block_on(epoll.handle().resolve("api.test", 80))?;
    /// # assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// The loop.
    ///
    /// # Errors
    ///
    /// See [`EventLoop::new`].
    pub fn build(self) -> io::Result<EventLoop> {
        Ok(EventLoop {
            handle: self.handle(false)?,
        })
    }

    /// A loop whose threads may wait in their sockets.
    ///
    /// # Errors
    ///
    /// See [`EventLoop::new`].
    pub fn build_blocking(self) -> io::Result<Blocking> {
        Ok(Blocking::over(self.handle(true)?))
    }

    fn handle(self, direct: bool) -> io::Result<Handle> {
        let resolver = self
            .resolver
            .unwrap_or_else(|| Arc::new(SystemResolver::default()));
        Ok(Handle(Arc::new(Shared::new(resolver, direct)?)))
    }
}

/// A loop, for those who use it and do not own it. Cloning it yields another handle to the same
/// loop.
///
/// Once the [`EventLoop`] is dropped, connecting fails with
/// [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown), streams fail likewise, timers
/// are ready, and tasks are dropped unrun.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Runs `future` to its end on this thread. See [`EventLoop::block_on`].
    ///
    /// When the [`EventLoop`] is dropped meanwhile, `future` goes on, and is told by whatever it
    /// waits for.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if self.0.direct {
            blocking::block_on(self, future)
        } else {
            driver::block_on(self, future)
        }
    }

    /// Runs `future` in the background, while somebody blocks on the loop. Dropping what this
    /// returns cancels it.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, running) = Task::new(future);
        let spawned = self.0.queue.spawn("task", Box::pin(running));
        self.0.reactor.watch().spawned("task");
        self.clear_if_gone();
        task.started(spawned)
    }

    /// Whether the [`EventLoop`] has been dropped.
    pub fn is_gone(&self) -> bool {
        self.0.reactor.is_gone()
    }

    /// How many tasks have not ended.
    pub fn tasks(&self) -> usize {
        self.0.queue.live()
    }

    /// How many streams there are, connecting ones included.
    pub fn streams(&self) -> usize {
        self.0.reactor.registered()
    }

    /// Drops a task that came too late: if the owner has already been through the queue, nobody
    /// else will.
    fn clear_if_gone(&self) {
        if self.is_gone() {
            self.0.queue.clear();
        }
    }

    fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("tasks", &self.tasks())
            .field("streams", &self.streams())
            .field("resolver", &self.0.resolver)
            .field("gone", &self.is_gone())
            .finish()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("Handle", f)
    }
}

impl Runtime for Handle {
    fn now(&self) -> Instant {
        now()
    }

    fn timer(&self, _purpose: &'static str) -> Box<dyn Timer> {
        Box::new(LoopTimer {
            shared: self.0.clone(),
            seat: None,
        })
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.queue.spawn(name, task);
        self.0.reactor.watch().spawned(name);
        self.clear_if_gone();
    }

    fn waits_in_sockets(&self) -> bool {
        self.0.direct
    }
}

impl NetworkBackend for Handle {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        match httpcore_resolver::literal(host, port) {
            Some(address) => Box::pin(std::future::ready(Ok(vec![address]))),
            None => self.0.resolver.resolve(host, port),
        }
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(tcp::Connecting::new(self.0.clone(), peer, options))
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(unix::connect(self.clone(), path.to_owned()))
    }
}

struct LoopTimer {
    shared: Arc<Shared>,
    seat: Option<httpcore_executor::TimerSlot>,
}

impl Timer for LoopTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let shared = &self.shared;
        let timers = &shared.timers;
        let polled = timers.poll_until(&mut self.seat, cx, now(), deadline, || {
            shared.reactor.ring();
        });
        if polled.is_pending() {
            shared.reactor.watch().waits();
        }
        polled
    }

    fn disarm(&mut self) {
        if let Some(seat) = &self.seat {
            self.shared.timers.disarm(seat);
        }
    }
}

impl Drop for LoopTimer {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.shared.timers.release(seat);
        }
    }
}

/// The clock: the one place where it is read.
#[allow(
    clippy::disallowed_methods,
    reason = "a backend is where the clock comes from; everybody else asks `Runtime::now`"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
