//! The system's look-up on worker threads.
//!
//! One mutex protects all mutable state. Wakers are called and dropped, threads are started, and the
//! look-up function runs with no lock held.
//!
//! A look-up is *queued* until a worker takes it, then *begun*, then it has an *outcome*. It is in
//! [`State::lookups`] until it has an outcome, and in [`State::queue`] while it is queued. The last
//! caller that drops a queued look-up takes it out of both; a begun one stays, because getaddrinfo
//! cannot be cancelled, and callers that come later share it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use httpcore_core_primitives::BoxFuture;

use crate::{
    Resolve,
    failure::Failure,
    host::{check, key, literal},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, lock, thread},
    system,
};

/// Maximum number of worker threads, unless [`Builder::max_workers`] is called.
const MAX_WORKERS: usize = 32;

/// Maximum number of names that wait for a worker, unless [`Builder::max_queued`] is called.
const MAX_QUEUED: usize = 1024;

/// Time after which an idle worker ends, unless [`Builder::idle_timeout`] is called.
const WORKER_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The system's own look-up (`getaddrinfo`), on worker threads. The default of the backends.
///
/// The order of the addresses is the system's (RFC 6724, `/etc/gai.conf`).
///
/// # Limits
///
/// `getaddrinfo` blocks, cannot be cancelled, and may take half a minute for a name whose servers do
/// not answer. Therefore:
///
/// - Look-ups of one name (compared without case) that overlap are one look-up, on one worker: both
///   address families are asked for in one call. This holds also after all callers have dropped
///   their futures: a call that has begun goes on, and later callers share it.
/// - Workers are started when a name waits and no worker is idle, up to 32
///   ([`Builder::max_workers`]), and end after 10 seconds without work.
/// - When all workers are blocked, other names wait in a queue of up to 1,024
///   ([`Builder::max_queued`]). The futures have no deadline: the caller's time limit ends the wait
///   (`Timeouts::resolve`). A full queue is an error of [`io::ErrorKind::ResourceBusy`] at once.
/// - A queued look-up is removed when all of its callers have been dropped.
/// - IP literals are returned at once, without a worker.
///
/// # Errors
///
/// - [`io::ErrorKind::NotFound`]: the system reports that the name does not exist or has no addresses.
///   The C library reports it by a number that `std` does not pass on, so it is inferred from the
///   text of glibc, musl or bionic, in English. Any other text, for example a translated one, leaves
///   the error without this kind. If the process or the system has no file descriptors left, the
///   C library may report for any name that it does not exist. This is checked: the error is then
///   the shortage (`EMFILE`, `ENFILE`).
/// - [`io::ErrorKind::InvalidInput`]: the name is empty, longer than a domain name can be, or has a
///   zero byte.
/// - [`io::ErrorKind::ResourceBusy`]: the queue is full.
/// - The system's error if no thread can be started and there is no other worker.
/// - Errors with a system number (`raw_os_error`) keep it. Others keep their kind and the first 256
///   bytes of their text.
pub struct SystemResolver {
    shared: Arc<Shared>,
}

impl SystemResolver {
    /// Returns a resolver with at most `max_workers` threads, and at least one.
    pub fn new(max_workers: usize) -> Self {
        SystemResolver::builder().max_workers(max_workers).build()
    }

    /// Returns a builder with the default limits.
    pub fn builder() -> Builder {
        Builder {
            max_workers: MAX_WORKERS,
            max_queued: MAX_QUEUED,
            idle_timeout: WORKER_IDLE_TIMEOUT,
            lookup: Box::new(system::lookup),
            spawn: Box::new(spawn),
        }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver::builder().build()
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let submitted = match literal(host, port) {
            Some(address) => Err(Ok(vec![address])),
            None => match check(host) {
                Ok(()) => self.shared.submit(host, port).map_err(Err),
                Err(error) => Err(Err(error)),
            },
        };
        match submitted {
            Ok(call) => Box::pin(call),
            Err(known) => Box::pin(std::future::ready(known)),
        }
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workers, idle, lookups, queued) = {
            let state = self.shared.state();
            let (lookups, queued) = (state.lookups.len(), state.queue.len());
            (state.workers, state.idle, lookups, queued)
        };
        f.debug_struct("SystemResolver")
            .field("max_workers", &self.shared.limits.max_workers)
            .field("workers", &workers)
            .field("idle", &idle)
            .field("lookups", &lookups)
            .field("queued", &queued)
            .finish()
    }
}

/// Workers inside `getaddrinfo` cannot be interrupted: they end after it, and their callers receive the
/// result. Queued look-ups fail.
impl Drop for SystemResolver {
    fn drop(&mut self) {
        let refused = {
            let mut state = self.shared.state();
            state.closed = true;
            state.settle_queued(&Failure::new(
                io::ErrorKind::Other,
                "resolver dropped before the look-up began",
            ))
        };
        self.shared.work.notify_all();
        wake_all(refused);
    }
}

/// Limits of a [`SystemResolver`], and the function that its workers call.
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    max_workers: usize,
    max_queued: usize,
    idle_timeout: Duration,
    lookup: Box<Lookup>,
    spawn: Box<Spawn>,
}

impl Builder {
    /// Sets the maximum number of worker threads, and so of names that are looked up at the same
    /// time. At least one; 32 by default.
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = max_workers.max(1);
        self
    }

    /// Sets the maximum number of names that wait for a worker. At least one; 1,024 by default.
    pub fn max_queued(mut self, max_queued: usize) -> Self {
        self.max_queued = max_queued.max(1);
        self
    }

    /// Sets the time after which an idle worker's thread ends. 10 seconds by default.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Calls `lookup` on the workers instead of the system's look-up: another blocking resolver, or
    /// a fake in a test.
    ///
    /// It is called with the host in the spelling of the first caller. The ports of the returned addresses
    /// are replaced by each caller's. It may block; a panic is caught, and is an error of the look-up.
    /// An empty list is an error of [`io::ErrorKind::NotFound`].
    pub fn lookup(
        mut self,
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        self.lookup = Box::new(lookup);
        self
    }

    /// Starts workers by `spawn`.
    #[cfg(test)]
    fn spawn(mut self, spawn: impl Fn(Work) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.spawn = Box::new(spawn);
        self
    }

    /// Returns the resolver. No thread is started before the first look-up.
    pub fn build(self) -> SystemResolver {
        SystemResolver {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                work: Condvar::new(),
                limits: Limits {
                    max_workers: self.max_workers,
                    max_queued: self.max_queued,
                    idle_timeout: self.idle_timeout,
                },
                lookup: self.lookup,
                spawn: self.spawn,
            }),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_workers", &self.max_workers)
            .field("max_queued", &self.max_queued)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What a worker's thread does.
type Work = Box<dyn FnOnce() + Send>;

type Spawn = dyn Fn(Work) -> io::Result<()> + Send + Sync;

fn spawn(work: Work) -> io::Result<()> {
    let thread = thread::Builder::new().name("httpcore-resolve".into());
    thread.spawn(work).map(drop)
}

type Outcome = Result<Vec<SocketAddr>, Failure>;

struct Limits {
    max_workers: usize,
    max_queued: usize,
    idle_timeout: Duration,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when a look-up is queued, and when the resolver is dropped.
    work: Condvar,
    limits: Limits,
    lookup: Box<Lookup>,
    spawn: Box<Spawn>,
}

#[derive(Default)]
struct State {
    /// Look-ups that are queued or have begun, by key.
    lookups: HashMap<Arc<str>, InFlight>,
    /// Keys of the queued look-ups by ticket, and so in order of arrival.
    queue: BTreeMap<u64, Arc<str>>,
    /// The last ticket that was given to a look-up or a caller.
    next: u64,
    /// Threads that run or are being started.
    workers: usize,
    /// Workers that wait for work.
    idle: usize,
    closed: bool,
}

/// A look-up without an outcome.
struct InFlight {
    ticket: u64,
    /// In the spelling of the first caller.
    host: Box<str>,
    /// The wakers of the callers that have not been dropped, by their tickets.
    callers: BTreeMap<u64, Option<Waker>>,
    outcome: Arc<OnceLock<Outcome>>,
}

impl State {
    fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Removes the oldest look-up from the queue, which begins.
    fn begin(&mut self) -> Option<(Arc<str>, Box<str>)> {
        let (_, key) = self.queue.pop_first()?;
        let host = self.lookups.get(&key)?.host.clone();
        Some((key, host))
    }

    /// Sets the outcome of a look-up, and returns the wakers to be called.
    fn settle(&mut self, key: &str, outcome: Outcome) -> Vec<Waker> {
        let Some(lookup) = self.lookups.remove(key) else {
            return Vec::new();
        };
        // The only place that sets it, and the look-up has just been removed.
        let _ = lookup.outcome.set(outcome);
        lookup.callers.into_values().flatten().collect()
    }

    /// Sets the outcome of all queued look-ups to `failure`.
    fn settle_queued(&mut self, failure: &Failure) -> Vec<Waker> {
        let queue = std::mem::take(&mut self.queue);
        let mut wakers = Vec::new();
        for key in queue.into_values() {
            wakers.extend(self.settle(&key, Err(failure.clone())));
        }
        wakers
    }
}

impl Shared {
    fn submit(self: &Arc<Self>, host: &str, port: u16) -> io::Result<Call> {
        let key = key(host);
        let mut state = self.state();
        let caller = state.ticket();
        if let Some(lookup) = state.lookups.get_mut(&*key) {
            lookup.callers.insert(caller, None);
            return Ok(Call {
                shared: self.clone(),
                key,
                ticket: lookup.ticket,
                caller,
                outcome: lookup.outcome.clone(),
                port,
            });
        }
        let max_queued = self.limits.max_queued;
        if state.queue.len() >= max_queued {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("too many pending look-ups: the limit is {max_queued} names"),
            ));
        }
        let ticket = state.ticket();
        let outcome = Arc::new(OnceLock::new());
        let lookup = InFlight {
            ticket,
            host: host.into(),
            callers: BTreeMap::from([(caller, None)]),
            outcome: outcome.clone(),
        };
        state.lookups.insert(key.clone(), lookup);
        state.queue.insert(ticket, key.clone());
        // A notified worker counts as idle until it runs, and its look-up stays in the queue until then.
        let grows = state.queue.len() > state.idle && state.workers < self.limits.max_workers;
        if grows {
            state.workers += 1;
        }
        drop(state);
        // From here on, dropping the call removes the caller, also if starting a thread panics.
        let call = Call {
            shared: self.clone(),
            key,
            ticket,
            caller,
            outcome,
            port,
        };
        if grows {
            self.start_worker();
        } else {
            self.work.notify_one();
        }
        Ok(call)
    }

    /// Starts a thread for a worker that has been counted already.
    fn start_worker(self: &Arc<Self>) {
        let worker = Worker {
            shared: self.clone(),
            is_counted: true,
        };
        let started = (self.spawn)(Box::new(move || worker.run()));
        // The closure was dropped, and with it the worker, which is no longer counted.
        if let Err(error) = started {
            let refused = {
                let mut state = self.state();
                if state.workers > 0 {
                    // Another worker takes the look-up after its current one.
                    return;
                }
                let text = format!("cannot start a thread for name resolution: {error}");
                state.settle_queued(&Failure::new(error.kind(), &text))
            };
            wake_all(refused);
        }
    }

    /// Calls the look-up function.
    fn look_up(&self, host: &str) -> Outcome {
        let found = match catch_unwind(AssertUnwindSafe(|| (self.lookup)(host))) {
            Ok(found) => found,
            Err(payload) => {
                discard(payload);
                let text = "look-up function panicked";
                return Err(Failure::new(io::ErrorKind::Other, text));
            }
        };
        // An error is foreign: its `Display` and its drop may panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| match found {
            Ok(found) if found.is_empty() => Err(Failure::new(
                io::ErrorKind::NotFound,
                "name has no addresses",
            )),
            Ok(found) => Ok(found),
            Err(error) => Err(Failure::from(error)),
        }));
        outcome.unwrap_or_else(|payload| {
            discard(payload);
            let text = "error of the look-up function panicked";
            Err(Failure::new(io::ErrorKind::Other, text))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A counted worker. Dropping it decrements the count, whether or not it ever ran.
struct Worker {
    shared: Arc<Shared>,
    is_counted: bool,
}

impl Worker {
    fn run(mut self) {
        let shared = &*self.shared;
        let mut state = shared.state();
        loop {
            if let Some((key, host)) = state.begin() {
                drop(state);
                let outcome = shared.look_up(&host);
                let wakers = shared.state().settle(&key, outcome);
                wake_all(wakers);
                state = shared.state();
                continue;
            }
            if state.closed {
                return;
            }
            state.idle += 1;
            let (woken, waited) = shared
                .work
                .wait_timeout(state, shared.limits.idle_timeout)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                // Under the same lock: a later caller starts another worker.
                state.workers -= 1;
                self.is_counted = false;
                return;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_counted {
            self.shared.state().workers -= 1;
        }
    }
}

/// Calls all wakers, also after a panic of one.
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            discard(payload);
        }
    }
}

/// Drops the payload of a panic, whose drop may panic in turn.
fn discard(payload: Box<dyn std::any::Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

/// One caller of a look-up.
struct Call {
    shared: Arc<Shared>,
    key: Arc<str>,
    /// The ticket of the look-up, since a later one may have the same name.
    ticket: u64,
    caller: u64,
    outcome: Arc<OnceLock<Outcome>>,
    port: u16,
}

impl Call {
    fn outcome(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        Some(match self.outcome.get()? {
            Ok(found) => Ok(with_port(found, self.port)),
            Err(failure) => Err(failure.error()),
        })
    }

    /// Registers a waker, and returns the former one.
    fn register(&self, state: &mut State, waker: Waker) -> Option<Waker> {
        let lookup = state.lookups.get_mut(&*self.key)?;
        lookup.callers.insert(self.caller, Some(waker)).flatten()
    }
}

impl Future for Call {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        // Cloned before the lock is taken, and the former one dropped after it is released.
        let waker = cx.waker().clone();
        let mut state = self.shared.state();
        if self.outcome.get().is_none() {
            let former = self.register(&mut state, waker);
            drop(state);
            drop(former);
            return Poll::Pending;
        }
        drop(state);
        drop(waker);
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.outcome.get().is_some() {
            return;
        }
        let mut state = self.shared.state();
        let Some(lookup) = state.lookups.get_mut(&*self.key) else {
            return;
        };
        if lookup.ticket != self.ticket {
            return;
        }
        let waker = lookup.callers.remove(&self.caller);
        let is_unwanted = lookup.callers.is_empty();
        let mut removed = None;
        if is_unwanted && state.queue.remove(&self.ticket).is_some() {
            removed = state.lookups.remove(&*self.key);
        }
        drop(state);
        drop(waker);
        drop(removed);
    }
}

/// Returns the addresses of `found` with `port`.
pub(crate) fn with_port(found: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut found = found.to_vec();
    for address in &mut found {
        address.set_port(port);
    }
    found
}

#[cfg(test)]
mod tests;
