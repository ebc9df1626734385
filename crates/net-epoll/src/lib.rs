//! An event loop for [httpcore](https://docs.rs/httpcore) on mio: sockets, timers, tasks and name
//! resolution, without another runtime.
//!
//! An [`EventLoop`] runs while a thread is in its `block_on`, on that thread:
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
//! A [`Handle`] to it implements [`Runtime`] and [`NetworkBackend`].
//!
//! # How it works
//!
//! - `driver`: the thread that runs the loop, and one iteration of it. Several threads may block on one
//!   loop; one of them is the driver, and hands the role on when it leaves.
//! - `reactor`: the registered sockets and the poller. `source`: the readiness of each socket.
//! - `stream`, `tcp`, `unix`: sockets as streams, opened and read by `httpcore-net-common`.
//! - [`task`](Task): tasks with an output. The task queue and the table of timers are
//!   `httpcore-executor`'s.
//! - Names are resolved by [httpcore-resolver](https://docs.rs/httpcore-resolver), on worker threads.
//! - [`blocking`]: the same loop for blocking programs: a thread that waits for one response blocks in
//!   its socket.
//! - `sync`: the types by which threads synchronise.
//!
//! Nothing here knows HTTP or TLS.
//!
//! # Under another runtime
//!
//! Streams, timers and everything built on them, such as a connection pool, can be awaited under tokio,
//! async-std or smol, or on threads that block, if a thread runs the loop. [`EventLoop::spawn_thread`] starts
//! one, which sleeps while there are no events, and ends when its [`LoopThread`] is dropped:
//!
//! ```
//! use httpcore_net_epoll::EventLoop;
//!
//! let thread = EventLoop::spawn_thread("http")?;
//! let backend = thread.backend();
//! // `backend`, and pools on it, can be used from any runtime and any thread until `thread` is dropped.
//! # drop(backend);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Without such a thread no operation completes, time limits included. Debug builds print a warning on
//! stderr after a second, once for each loop. The same holds for operations of one loop that are awaited in
//! the `block_on` of another one.
//!
//! # On its own
//!
//! [`AsyncFd`] waits for any descriptor that epoll supports: a pipe, a timerfd, a signalfd, an inotify instance, the
//! output of a child process. [`TcpListener`] and [`UdpSocket`] are made of it. [`Handle::sleep`], [`Handle::interval`]
//! and [`Handle::timeout`] are timers, and a [`LocalSet`] runs futures that are not `Send`. Other threads wake the loop
//! by the wakers of its futures and by [`Handle::spawn`], a signal handler by a write to a registered
//! eventfd or pipe.
//!
//! # After fork(2)
//!
//! A child process has a copy of the loop's descriptors and none of its threads. Both processes would share one epoll
//! instance, and each would take events from the other. A child that was forked without `exec` must therefore not use,
//! and not drop, a loop of its parent, a handle to it, a stream, or a pool: it may call `exec` or `_exit`, or create a
//! loop and a pool of its own. Dropping a [`LoopThread`] there would join a thread that does not exist. This is not
//! detected: comparing process ids takes a system call each time. [`std::process::Command`] is safe to use, since
//! `exec` closes every descriptor of the loop (`CLOEXEC`).
//!
//! # Invariants
//!
//! - A loop runs only while a thread is in [`block_on`](EventLoop::block_on). Streams and timers may
//!   be polled anywhere, also by other executors, but are woken only while a thread runs the loop.
//! - Wakers are called, and tasks dropped, with no lock held.
//! - Dropping the [`EventLoop`] shuts everything down: tasks are dropped, streams fail, timers are ready.
//!   A task therefore cannot keep its own loop alive.
//!
//! # Platforms
//!
//! It is tested on Linux. On macOS and the BSDs it is built on mio's selector for them (kqueue), and no test has run
//! there; what Linux alone has (`TCP_USER_TIMEOUT`, `SO_BINDTODEVICE`, abstract Unix names) is an error of kind
//! `Unsupported`. Windows has no descriptors to register.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("httpcore-net-epoll needs the file descriptors of Unix");

mod async_fd;
pub mod blocking;
mod driver;
mod listener;
mod local_set;
mod loop_thread;
mod reactor;
mod source;
mod stream;
mod sync;
mod task;
mod tcp;
mod time;
mod udp;
mod unix;
mod waiters;
#[cfg(all(test, debug_assertions))]
mod watch_tests;

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
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
use sync::Arc;

/// An event loop, and its owner: dropping it shuts the loop down.
///
/// It runs only while a thread is in [`block_on`](EventLoop::block_on). To use it under tokio or another
/// runtime, give it a thread of its own: see [the crate's documentation](crate#under-another-runtime).
///
/// See the [crate's documentation](crate).
#[doc(alias = "tokio")]
pub struct EventLoop {
    handle: Handle,
}

impl EventLoop {
    /// Creates a loop with the system's name resolution.
    ///
    /// # Errors
    ///
    /// If the process or the system has no file descriptors left; a loop takes three.
    pub fn new() -> io::Result<Self> {
        EventLoop::builder().build()
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> Builder {
        Builder { resolver: None }
    }

    /// Runs `future` to completion on this thread and returns its output.
    ///
    /// Meanwhile the loop runs: on this thread, unless another one is blocked on the same loop and runs
    /// it already. Tasks run on the thread that runs the loop. `block_on` may be called from within
    /// itself, but the caller, and the outer future of that thread, make no progress meanwhile: a task
    /// that blocks on something that the outer future does waits for ever. For the same reason the
    /// whole loop waits while a future or a task computes on its thread.
    ///
    /// # Panics
    ///
    /// If `future` panics. Panics of tasks do not propagate.
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

    /// Returns a handle to this loop, which does not keep it alive.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns a handle to this loop as a backend.
    pub fn backend(&self) -> Arc<dyn NetworkBackend> {
        Arc::new(self.handle())
    }

    /// Returns the time by the clock of all loops. For code that needs that clock before there is a loop,
    /// such as a [`CachingResolver`] for the loop that is about to be built; other code calls
    /// [`Runtime::now`].
    pub fn now() -> Instant {
        now()
    }

    /// Returns the loop on which this thread is blocked, the innermost of several; `None` if there is none.
    /// In a task, it is the loop that runs the task.
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

/// Settings of a loop.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    resolver: Option<Arc<dyn Resolve>>,
}

impl Builder {
    /// Sets the resolver; [`SystemResolver`] by default.
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

    /// Creates the loop.
    ///
    /// # Errors
    ///
    /// See [`EventLoop::new`].
    pub fn build(self) -> io::Result<EventLoop> {
        Ok(EventLoop {
            handle: self.handle(false)?,
        })
    }

    /// Creates a loop whose threads may block in their sockets.
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

/// A handle to a loop. Cloning it yields another handle to the same loop.
///
/// After the [`EventLoop`] has been dropped, connecting and streams fail with
/// [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown), timers are ready, and spawned tasks are
/// dropped without being polled.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Runs `future` to completion on this thread. See [`EventLoop::block_on`].
    ///
    /// If the [`EventLoop`] is dropped meanwhile, `future` is still polled, and the operations it waits for
    /// fail.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if self.0.direct {
            blocking::block_on(self, future)
        } else {
            driver::block_on(self, future)
        }
    }

    /// Runs `future` in the background, while a thread runs the loop. Dropping the returned [`Task`]
    /// aborts it.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, running) = Task::new(future);
        let spawned = self.0.queue.spawn("task", Box::pin(running));
        self.0.reactor.watch().spawned("task");
        self.clear_if_shut_down();
        task.started(spawned)
    }

    /// Returns whether the [`EventLoop`] has been dropped.
    pub fn is_shut_down(&self) -> bool {
        self.0.reactor.is_shut_down()
    }

    /// Returns the number of tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.0.queue.live()
    }

    /// Returns the number of streams, connecting ones included.
    pub fn streams(&self) -> usize {
        self.0.reactor.registered()
    }

    /// Drops a task that was spawned after the owner had cleared the queue.
    fn clear_if_shut_down(&self) {
        if self.is_shut_down() {
            self.0.queue.clear();
        }
    }

    fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("tasks", &self.tasks())
            .field("streams", &self.streams())
            .field("resolver", &self.0.resolver)
            .field("shut_down", &self.is_shut_down())
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
            slot: None,
        })
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.queue.spawn(name, task);
        self.0.reactor.watch().spawned(name);
        self.clear_if_shut_down();
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
    slot: Option<httpcore_executor::TimerSlot>,
}

impl Timer for LoopTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let shared = &self.shared;
        let timers = &shared.timers;
        // Only threads that may block in a socket need to know which wakers timers hold.
        let count = shared.direct.then(|| blocking::timer_count(cx)).flatten();
        let polled = timers.poll_until(&mut self.slot, cx, now(), deadline, count.as_ref(), || {
            shared.reactor.wake_driver()
        });
        if polled.is_pending() {
            shared.reactor.watch().waits();
        }
        polled
    }

    fn disarm(&mut self) {
        if let Some(slot) = &self.slot {
            self.shared.timers.disarm(slot);
        }
    }
}

impl Drop for LoopTimer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.timers.release(slot);
        }
    }
}

/// Returns the time. The only place that reads the clock.
#[allow(
    clippy::disallowed_methods,
    reason = "a backend provides the clock; other code calls `Runtime::now`"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
