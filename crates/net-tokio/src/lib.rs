//! A backend of [httpcore](https://docs.rs/httpcore) on a tokio runtime, with its sockets, timers and
//! tasks.
//!
//! ```
//! use std::sync::Arc;
//!
//! use httpcore_core_primitives::{NetworkBackend, Runtime};
//! use httpcore_net_tokio::TokioBackend;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend: Arc<dyn NetworkBackend> = Arc::new(TokioBackend::current()?);
//! let addresses = backend.resolve("127.0.0.1", 80).await?;
//! assert_eq!(addresses.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! - A backend belongs to one runtime, whose handle it captures. Sockets are registered there and
//!   background tasks run there, wherever a request is polled: on a worker of that runtime, on another
//!   runtime, or on a thread that blocks.
//! - An HTTP/1.1 connection has no task: its bytes are moved where the request is polled. A busy runtime
//!   delays it only by the time that its I/O driver takes to report readiness.
//! - All timers of a backend are one table and one task with one [`tokio::time::Sleep`]. Setting a deadline
//!   does not touch tokio's own timers, and the clock is tokio's: in a runtime with a paused clock, time limits are
//!   virtual as well.
//! - Names are looked up by [`SystemResolver`] on a bounded number of worker threads, not on tokio's
//!   blocking pool, where a look-up cannot be cancelled.
//!
//! # When the runtime ends
//!
//! Streams, connection attempts and timers of a runtime that has been shut down fail at once with
//! [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown), and its idle connections are not used again.
//!
//! # Requirements
//!
//! The runtime must have been built with I/O and time (`enable_all`, or `enable_io` and `enable_time`);
//! otherwise tokio panics where they are first used. `current_thread` and `multi_thread` both do.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod stream;
mod timers;

use std::{fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Instant};

use httpcore_core_primitives::{BoxFuture, BoxStream, NetworkBackend, Runtime, TcpOptions, Timer};
use httpcore_executor::SharedTimers;
use httpcore_net_common::socket;
use httpcore_resolver::literal;
use tokio::runtime::{Handle, TryCurrentError};

pub use httpcore_resolver::{CachingResolver, Resolve, StaticHosts, SystemResolver};

use timers::TokioSleep;

/// A backend on one tokio runtime. Cloning it yields another handle to the same backend.
#[derive(Clone)]
pub struct TokioBackend(Arc<Shared>);

struct Shared {
    handle: Handle,
    resolver: Arc<dyn Resolve>,
    timers: SharedTimers,
}

impl TokioBackend {
    /// Creates a backend on the runtime that this thread is in.
    ///
    /// # Errors
    ///
    /// If the thread is in no runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Ok(TokioBackend::on(&Handle::try_current()?))
    }

    /// Creates a backend on the runtime of `handle`.
    pub fn on(handle: &Handle) -> Self {
        TokioBackend::with_resolver(handle, Arc::new(SystemResolver::default()))
    }

    /// Creates a backend on the runtime of `handle` that resolves names with `resolver`.
    pub fn with_resolver(handle: &Handle, resolver: Arc<dyn Resolve>) -> Self {
        let (timers, driver) = SharedTimers::new(now, TokioSleep::default());
        // It is dropped with the runtime, before tokio's own timers are shut down, and records that.
        drop(handle.spawn(driver));
        TokioBackend(Arc::new(Shared {
            handle: handle.clone(),
            resolver,
            timers,
        }))
    }

    /// Returns whether the runtime has been shut down.
    pub fn has_ended(&self) -> bool {
        self.0.timers.has_ended()
    }
}

impl Runtime for TokioBackend {
    fn now(&self) -> Instant {
        now()
    }

    fn timer(&self, _purpose: &'static str) -> Box<dyn Timer> {
        self.0.timers.timer()
    }

    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        drop(self.0.handle.spawn(task));
    }
}

impl NetworkBackend for TokioBackend {
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
        // Opened at once, so that the options need not be stored.
        let socket = socket::open_tcp(peer, options);
        Box::pin(async move {
            let socket = socket?;
            if nodelay {
                socket.set_tcp_nodelay(true)?;
            }
            let connected = socket::connect(&socket, &peer.into())?;
            stream::tcp(&backend.0, socket, peer, connected).await
        })
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        let backend = self.clone();
        let path = path.to_owned();
        Box::pin(async move {
            let runtime: Arc<dyn Runtime> = Arc::new(backend.clone());
            let (socket, connected) = socket::connect_unix(&runtime, &path).await?;
            stream::unix(&backend.0, socket, connected).await
        })
    }
}

impl fmt::Debug for TokioBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioBackend")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

/// Returns the time by tokio's clock: the system's, unless the runtime of this thread has paused it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The examples of the README, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
