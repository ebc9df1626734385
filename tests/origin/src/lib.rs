//! An HTTP origin server, small enough to be read in one sitting.
//!
//! One thread accepts, one thread serves each connection, and everything blocks. The engine under
//! test is asynchronous and shares no line with it. It speaks HTTP/1.1; with the feature `http2` also
//! HTTP/2 (the h2 crate's) to who opens with its preface, and with `tls` both over TLS.
//!
//! ```
//! use httpcore_origin::Origin;
//! use std::{io::{Read, Write}, net::TcpStream};
//!
//! let origin = Origin::start()?;
//! let mut stream = TcpStream::connect(origin.addr())?;
//! stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert!(answer.ends_with("\r\n\r\nHello, world!\n"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What it answers is listed in [`routes`]. Bulk data follows [`pattern`], so that a byte in the
//! wrong place is noticed.

#![forbid(unsafe_code)]

mod connection;
#[cfg(feature = "http2")]
mod http2;
pub mod pattern;
pub mod routes;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod websocket;

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

pub use pattern::matches as is_pattern;
use stream::{Listener, Stream};
#[cfg(feature = "tls")]
pub use tls::TlsDoor;

/// The stack of a connection's thread, in bytes. Cryptography and HTTP/2 want more than we do.
const STACK: usize = if cfg!(any(feature = "http2", feature = "tls")) {
    1 << 20
} else {
    128 << 10
};

/// A running server. Dropping it closes what it has open and joins its threads.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    addr: SocketAddr,
    doors: Vec<Door>,
}

/// What a server has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// The most connections that were open at once.
    pub most_open: usize,
    /// Request heads read, whatever came of them.
    pub requests: u64,
}

/// A listening socket, and the thread which accepts from it.
#[derive(Debug)]
struct Door {
    listener: Arc<Listener>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads of one server share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Notified of every change of `state` that a thread may wait for: a stop, or the end of a connection.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stats: Stats,
    stopping: bool,
    open: HashMap<u64, Arc<Stream>>,
}

impl Origin {
    /// Serves on an ephemeral TCP port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If no port or no thread is to be had.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let mut origin = Origin {
            shared: Arc::default(),
            addr,
            doors: Vec::new(),
        };
        origin.open(Listener::Tcp(listener))?;
        Ok(origin)
    }

    /// Serves on a Unix socket at `path` too. The path must be free, and is removed in the end.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound, or no thread is to be had.
    pub fn listen_unix(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref().to_owned();
        let listener = UnixListener::bind(&path)?;
        self.open(Listener::Unix(listener, path))
    }

    /// Serves over TLS too, on a port of its own, with a certificate made now. Once is enough:
    /// connections of a second such port would not be told from those of the first.
    ///
    /// # Errors
    ///
    /// If there is such a port already, or no port, no key or no thread is to be had.
    #[cfg(feature = "tls")]
    pub fn listen_tls(&mut self) -> io::Result<TlsDoor> {
        let is_tls = |door: &Door| matches!(*door.listener, Listener::Tls(..));
        if self.doors.iter().any(is_tls) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let (acceptor, certificate) = tls::Acceptor::new()?;
        self.open(Listener::Tls(listener, acceptor))?;
        Ok(TlsDoor { addr, certificate })
    }

    /// The TCP address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// What has been seen so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats
    }

    /// Closes every connection that is open, without a word: what a client with idle connections
    /// must notice. Their threads end soon after; see [`wait_for_open`](Self::wait_for_open).
    pub fn hang_up(&self) {
        for stream in self.shared.lock().open.values() {
            stream.shutdown();
        }
    }

    /// Waits until at most `count` connections are open; `false` if `limit` passes first.
    pub fn wait_for_open(&self, count: usize, limit: Duration) -> bool {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| state.stats.open > count)
            .unwrap_or_else(PoisonError::into_inner);
        state.stats.open <= count
    }

    fn open(&mut self, listener: Listener) -> io::Result<()> {
        let listener = Arc::new(listener);
        let (shared, door) = (self.shared.clone(), listener.clone());
        let thread = thread::Builder::new()
            .name("origin".into())
            .spawn(move || accept(&shared, &door))?;
        self.doors.push(Door {
            listener,
            thread: Some(thread),
        });
        Ok(())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        self.hang_up();
        for door in &mut self.doors {
            door.listener.stop();
            if let Some(thread) = door.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Accepts until told to stop. The scope's end joins the threads of all connections.
fn accept(shared: &Shared, listener: &Listener) {
    thread::scope(|scope| {
        for id in 0.. {
            let stream = match listener.accept() {
                Ok(stream) => Arc::new(stream),
                // A client may be gone before it is accepted, or no descriptor be left for it; a
                // stopped listener fails for good.
                Err(_) if shared.pause(Duration::from_millis(10)) => continue,
                Err(_) => return,
            };
            if !shared.admit(id, listener, &stream) {
                return;
            }
            let spawned = thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, move || {
                    let served = connection::serve(shared, &stream);
                    drop(served); // whatever went wrong, the client has noticed
                    stream.shutdown();
                    drop(stream);
                    shared.forget(id, listener);
                });
            if spawned.is_err() {
                shared.forget(id, listener);
            }
        }
    });
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked leaves counters behind, which are no worse for it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new connection, unless the server is stopping.
    fn admit(&self, id: u64, listener: &Listener, stream: &Arc<Stream>) -> bool {
        let mut state = self.lock();
        if state.stopping {
            return false;
        }
        state.open.insert(listener.key(id), stream.clone());
        let stats = &mut state.stats;
        stats.accepted += 1;
        stats.open += 1;
        stats.most_open = stats.most_open.max(stats.open);
        true
    }

    fn forget(&self, id: u64, listener: &Listener) {
        let mut state = self.lock();
        let stream = state.open.remove(&listener.key(id));
        state.stats.open -= 1;
        drop(state);
        drop(stream);
        self.changed.notify_all();
    }

    fn count_request(&self) {
        self.lock().stats.requests += 1;
    }

    /// Lets `time` pass; `false` if the server stops meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, time, |state| !state.stopping)
            .unwrap_or_else(PoisonError::into_inner);
        !state.stopping
    }
}
