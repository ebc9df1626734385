//! A backend of [httpcore](https://docs.rs/httpcore) on smol's reactor, [async-io](async_io), and on any executor.
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_executor::Executor;
//! use httpcore_core_primitives::NetworkBackend;
//! use httpcore_net_smol::SmolBackend;
//!
//! let executor = Arc::new(Executor::new());
//! let tasks = executor.clone();
//! let backend: Arc<dyn NetworkBackend> = Arc::new(SmolBackend::new(move |task| {
//!     tasks.spawn(task).detach();
//! }));
//! async_io::block_on(executor.run(async {
//!     let addresses = backend.resolve("127.0.0.1", 80).await?;
//!     assert_eq!(addresses.len(), 1);
//!     Ok::<(), std::io::Error>(())
//! }))?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! With smol, `SmolBackend::new(|task| smol::spawn(task).detach())`.
//!
//! # How it works
//!
//! - Sockets are registered with async-io's reactor, of which a process has one. It is run by threads in
//!   [`async_io::block_on`] and otherwise by a thread of its own, and never ends.
//! - Background tasks are handed to the executor. A connection of HTTP/1.1 has none.
//! - All timers of a backend are one table and one task with one [`async_io::Timer`].
//! - Names are looked up by [`SystemResolver`] on bounded worker threads, not on the pool of the `blocking` crate.
//!
//! # When the executor ends
//!
//! An executor that is dropped drops the task that drives the timers. From then on streams, connection attempts and
//! timers fail with [`RuntimeShutdown`]. An executor that is not run, and not dropped, lets time limits pass
//! unnoticed: run it for as long as the backend is used.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use async_io::Async;
use httpcore_core_primitives::{
    BoxFuture, BoxStream, NetworkBackend, Runtime, RuntimeShutdown, TcpOptions, Timer,
};
use httpcore_executor::SharedTimers;
use httpcore_net_common::{
    ready_stream::{Direction, Readiness, ReadyStream},
    socket,
};
use httpcore_resolver::{Resolve, SystemResolver, literal};
use socket2::{SockRef, Socket};

/// A backend on async-io's reactor and one executor. Cloning it yields another handle to the same backend.
#[derive(Clone)]
pub struct SmolBackend(Arc<Shared>);

struct Shared {
    spawn: Box<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
    resolver: Arc<dyn Resolve>,
    timers: SharedTimers,
}

impl SmolBackend {
    /// Creates a backend whose background tasks are run by `spawn`: it must hand each task to an executor, and return.
    pub fn new(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        SmolBackend::with_resolver(spawn, Arc::new(SystemResolver::default()))
    }

    /// Like [`new`](Self::new), and looks names up with `resolver`.
    pub fn with_resolver(
        spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let (timers, driver) = SharedTimers::new(now, SmolTimer(async_io::Timer::never()));
        spawn(Box::pin(driver));
        SmolBackend(Arc::new(Shared {
            spawn: Box::new(spawn),
            resolver,
            timers,
        }))
    }

    /// Returns whether the executor has dropped the backend's task, which it does when it ends.
    pub fn has_ended(&self) -> bool {
        self.0.timers.has_ended()
    }

    async fn stream(
        self,
        socket: Socket,
        peer: Option<SocketAddr>,
        is_connected: bool,
    ) -> io::Result<BoxStream> {
        if self.has_ended() {
            return Err(RuntimeShutdown::error());
        }
        let source = SmolSocket {
            io: Async::new_nonblocking(socket)?,
            is_ready: [AtomicBool::new(false), AtomicBool::new(is_connected)],
            timers: self.0.timers.clone(),
        };
        ReadyStream::connect(source, peer, is_connected).await
    }
}

impl Runtime for SmolBackend {
    fn now(&self) -> Instant {
        now()
    }

    fn timer(&self, _purpose: &'static str) -> Box<dyn Timer> {
        self.0.timers.timer()
    }

    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        (self.0.spawn)(task);
    }
}

impl NetworkBackend for SmolBackend {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        match literal(host, port) {
            Some(address) => Box::pin(std::future::ready(Ok(vec![address]))),
            None => self.0.resolver.resolve(host, port),
        }
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let backend = self.clone();
        let nodelay = options.nodelay;
        // Opened at once, so that the options need not be kept.
        let socket = socket::open_tcp(peer, options);
        Box::pin(async move {
            let socket = socket?;
            if nodelay {
                socket.set_tcp_nodelay(true)?;
            }
            let is_connected = socket::connect(&socket, &peer.into())?;
            backend.stream(socket, Some(peer), is_connected).await
        })
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        let backend = self.clone();
        let path = path.to_owned();
        Box::pin(async move {
            let runtime: Arc<dyn Runtime> = Arc::new(backend.clone());
            let (socket, is_connected) = socket::connect_unix(&runtime, &path).await?;
            backend.stream(socket, None, is_connected).await
        })
    }
}

impl fmt::Debug for SmolBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmolBackend")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

/// A registered socket. async-io reports each event once, and so what it reported is remembered here.
struct SmolSocket {
    io: Async<Socket>,
    is_ready: [AtomicBool; 2],
    timers: SharedTimers,
}

impl Readiness for SmolSocket {
    const NAME: &'static str = "smol::Stream";

    fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_ready = &self.is_ready[direction as usize];
        if self.has_ended() {
            return Poll::Ready(Err(RuntimeShutdown::error()));
        }
        if !is_ready.load(Ordering::Relaxed) {
            ready!(match direction {
                Direction::Read => self.io.poll_readable(cx),
                Direction::Write => self.io.poll_writable(cx),
            })?;
            is_ready.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn try_io<R>(
        &self,
        direction: Direction,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let outcome = call();
        if let Err(error) = &outcome
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.is_ready[direction as usize].store(false, Ordering::Relaxed);
        }
        outcome
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.io.get_ref())
    }

    fn now(&self) -> Instant {
        now()
    }

    fn has_ended(&self) -> bool {
        self.timers.has_ended()
    }
}

/// The one timer of async-io's that a backend has.
struct SmolTimer(async_io::Timer);

impl Timer for SmolTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.0.set_at(deadline);
        Pin::new(&mut self.0).poll(cx).map(drop)
    }

    fn disarm(&mut self) {
        self.0.clear();
    }
}

/// The clock.
#[allow(
    clippy::disallowed_methods,
    reason = "a backend is where the clock comes from"
)]
fn now() -> Instant {
    Instant::now()
}

/// The examples of the README, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
