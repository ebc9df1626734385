//! Between the kernel and those who wait: mio's `Poll`, the registered sockets, and the bell.
//!
//! Registering and asking about readiness is done from any thread; the kernel is asked by one
//! thread at a time, the driver (see `drive`). Only a driver which sleeps in the kernel is woken
//! through the bell (an eventfd); one which is awake will look anyway.

use std::{
    io,
    net::Shutdown,
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, unix::SourceFd};
use slab::Slab;
use socket2::Socket;

use httpcore_core_primitives::RuntimeShutdown;

use crate::{source::Source, watch::Watch};

/// How many edges one call to the kernel can bring; the rest is brought by the next.
const EDGES: usize = 256;

/// Longer sleeps are cut into pieces of this: the kernel counts milliseconds in 31 bits.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

const BELL: Token = Token(usize::MAX);

/// The sockets of one loop.
pub(crate) struct Reactor {
    /// Locked by the driver, for as long as it asks, and by nobody else.
    poller: Mutex<Kernel>,
    registry: Registry,
    wakeup: mio::Waker,
    sources: Mutex<Sources>,
    /// Whether the driver sleeps in the kernel, or is about to.
    asleep: AtomicBool,
    /// Where the loop's own clock begins; see [`Moment`].
    start: Instant,
    /// Up to when the kernel has told everything, as a [`Moment`].
    observed: AtomicU64,
    /// How many times the kernel has been asked: what bounds a stream's greed (see `stream`).
    turn: AtomicU64,
    /// Whether a stream has stood back for others, for whom the kernel must be asked.
    stood_back: AtomicBool,
    gone: AtomicBool,
    watch: Watch,
}

/// A time, in nanoseconds since the loop was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Whether `now` is at most `duration` later.
    pub(crate) fn is_within(self, duration: Duration, now: Moment) -> bool {
        u128::from(now.0.saturating_sub(self.0)) <= duration.as_nanos()
    }
}

struct Kernel {
    poll: Poll,
    events: Events,
    /// Room for wakers that are due, kept from one turn to the next.
    due: Vec<Waker>,
}

#[derive(Default)]
struct Sources {
    slab: Slab<Registered>,
    generation: u32,
    /// How many sources have been forgotten since memory was last given back, or that was last tried.
    forgotten: usize,
}

struct Registered {
    generation: u32,
    source: Arc<Source>,
    /// The descriptor of a caller: it is not shut down with the loop.
    is_foreign: bool,
}

/// Where a source is registered, for as long as it is.
///
/// The index in the slab is used again, and a batch of edges may have been fetched before a socket
/// was closed and dispatched after another one took its place; the generation tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    index: usize,
    generation: u32,
}

const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

impl Address {
    fn token(self) -> Token {
        Token((self.generation as usize) << INDEX_BITS | self.index)
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let wakeup = mio::Waker::new(&registry, BELL)?;
        Ok(Reactor {
            poller: Mutex::new(Kernel {
                poll,
                events: Events::with_capacity(EDGES),
                due: Vec::new(),
            }),
            registry,
            wakeup,
            sources: Mutex::default(),
            asleep: AtomicBool::new(false),
            start: crate::now(),
            observed: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            stood_back: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            watch: Watch::new(),
        })
    }

    /// Registers `socket` once, for both directions. Register only what is connected or
    /// connecting: the kernel announces the end of anything else.
    pub(crate) fn register(
        &self,
        socket: Socket,
        connected: bool,
    ) -> io::Result<(Address, Arc<Source>)> {
        self.register_source(Source::new(socket, connected), false)
    }

    /// Registers a duplicate of a caller's descriptor, which [`deregister`](Self::deregister) must be called for.
    pub(crate) fn register_foreign(&self, fd: Socket) -> io::Result<(Address, Arc<Source>)> {
        self.register_source(Source::new(fd, false), true)
    }

    fn register_source(
        &self,
        source: Source,
        is_foreign: bool,
    ) -> io::Result<(Address, Arc<Source>)> {
        let source = Arc::new(source);
        let address = {
            let mut sources = self.sources();
            sources.generation = sources.generation.wrapping_add(1);
            let generation = sources.generation & generation_mask();
            let index = sources.slab.vacant_key();
            if index >= INDEX_MASK {
                return Err(io::Error::other("too many sockets in one event loop"));
            }
            sources.slab.insert(Registered {
                generation,
                source: source.clone(),
                is_foreign,
            });
            Address { index, generation }
        };
        // Whoever ends the loop sets the flag before it goes through the sources, and so either
        // finds this one there, or is seen here.
        let outcome = if self.is_gone() {
            Err(RuntimeShutdown::error())
        } else {
            self.registry.register(
                &mut SourceFd(&source.socket.as_raw_fd()),
                address.token(),
                Interest::READABLE | Interest::WRITABLE,
            )
        };
        match outcome {
            Ok(()) => Ok((address, source)),
            Err(error) => {
                self.forget(address);
                Err(error)
            }
        }
    }

    /// Forgets a source, whose socket is about to be closed: that is what takes it out of the
    /// kernel's set, and saves a call.
    pub(crate) fn forget(&self, address: Address) {
        let mut sources = self.sources();
        let registered = match sources.slab.get(address.index) {
            Some(registered) if registered.generation == address.generation => {
                let registered = sources.slab.remove(address.index);
                sources.shrink();
                Some(registered)
            }
            _ => None,
        };
        drop(sources);
        drop(registered);
    }

    /// Takes a foreign descriptor out of the kernel's set, which its drop may not do.
    pub(crate) fn deregister(&self, source: &Source) {
        // Fails only if it is not registered.
        let _ = self
            .registry
            .deregister(&mut SourceFd(&source.socket.as_raw_fd()));
    }

    /// How many sockets are registered.
    pub(crate) fn registered(&self) -> usize {
        self.sources().slab.len()
    }

    /// How many times the kernel has been asked.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// The current time.
    pub(crate) fn moment(&self) -> Moment {
        self.moment_of(crate::now())
    }

    fn moment_of(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.start).as_nanos();
        Moment(u64::try_from(since).unwrap_or(u64::MAX)) // after 584 years
    }

    /// Up to when everything that had reached the registered sockets has been announced.
    pub(crate) fn observed(&self) -> Moment {
        Moment(self.observed.load(Ordering::Acquire))
    }

    /// Sees to it that the kernel is asked before the driver runs anything again.
    pub(crate) fn yield_driver(&self) {
        self.stood_back.store(true, Ordering::Relaxed);
    }

    /// Whether somebody stands back for what the kernel may have to say.
    pub(crate) fn must_ask(&self) -> bool {
        self.stood_back.load(Ordering::Relaxed)
    }

    /// Announces that the driver is going to sleep. Whatever it checks after this and finds absent
    /// rings the bell when it comes.
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// The driver has found something to do after all.
    pub(crate) fn stay_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Wakes the driver if it sleeps.
    pub(crate) fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            // Fails only for want of a file descriptor that is open as long as `self`.
            let _ = self.wakeup.wake();
        }
    }

    /// Asks the kernel, waiting for at most `timeout` if it has nothing to say. Yields when it answered,
    /// and the wakers of those who waited for what it said, which are to be called and whose room to be
    /// [kept](Self::keep). For the driver only.
    pub(crate) fn poll_events(&self, timeout: Option<Duration>) -> (Instant, Vec<Waker>) {
        let timeout = timeout.map(|timeout| timeout.min(LONGEST_SLEEP));
        let mut poller = self.poller();
        let Kernel { poll, events, due } = &mut *poller;
        let mut due = std::mem::take(due);
        let outcome = poll.poll(events, timeout);
        let now = crate::now();
        self.stay_awake();
        self.turn.fetch_add(1, Ordering::Relaxed);
        self.stood_back.store(false, Ordering::Relaxed);
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return (now, due),
            // The kernel refuses only what is not an epoll instance, and nobody can go on with a
            // loop that has lost its own.
            Err(error) => panic!("the event loop's epoll instance is broken: {error}"),
        }
        let mut edges = 0;
        if !events.is_empty() {
            let sources = self.sources();
            for event in events.iter() {
                edges += 1;
                sources.set_ready(event, &mut due);
            }
        }
        // After it has been announced. A full batch may have left something for the next question.
        if edges < EDGES {
            self.observed
                .store(self.moment_of(now).0, Ordering::Release);
        }
        (now, due)
    }

    /// Keeps the room of wakers that have been called, unless timers have made it large.
    pub(crate) fn keep(&self, due: Vec<Waker>) {
        if due.capacity() <= 4 * EDGES {
            self.poller().due = due;
        }
    }

    /// Ends everything: whoever waits is woken to be told so, and so is whoever asks later. Shuts
    /// the sockets down if there may be threads that wait in them.
    pub(crate) fn end(&self, direct: bool, due: &mut Vec<Waker>) {
        self.gone.store(true, Ordering::SeqCst);
        self.watch.end();
        for (_, registered) in &self.sources().slab {
            let source = &registered.source;
            source.abandon(due);
            if direct && !registered.is_foreign {
                // One that is not connected yet has nobody waiting in it.
                let _ = source.socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// What says that no thread runs the loop.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether the loop's owner has dropped it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    fn poller(&self) -> MutexGuard<'_, Kernel> {
        self.poller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    /// Counts a source that is gone, and gives memory back if little of it is in use, up to the last
    /// place that is. That takes time for each place, and so it is done seldom.
    fn shrink(&mut self) {
        self.forgotten += 1;
        let room = self.slab.capacity();
        if room > EDGES && self.forgotten >= room / 16 && self.slab.len() < room / 4 {
            self.forgotten = 0;
            self.slab.shrink_to_fit();
        }
    }

    fn set_ready(&self, event: &mio::event::Event, due: &mut Vec<Waker>) {
        if let Some(source) = self.at(event.token()) {
            source.set_ready(event, due);
        }
    }

    /// The source at `token`, if it is the one that was registered there. The bell is nobody's.
    fn at(&self, token: Token) -> Option<&Source> {
        let registered = self.slab.get(token.0 & INDEX_MASK)?;
        (registered.generation as usize == token.0 >> INDEX_BITS).then_some(&registered.source)
    }
}

/// The bits of a generation that fit into a token beside the index: all, on 64-bit machines.
fn generation_mask() -> u32 {
    (usize::MAX >> INDEX_BITS).min(u32::MAX as usize) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};

    fn socket() -> Socket {
        let (socket, _) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        socket
    }

    #[test]
    fn a_stale_token_does_not_hit_the_source_that_took_its_place() {
        let reactor = Reactor::new().unwrap();
        let (old, _) = reactor.register(socket(), true).unwrap();
        reactor.forget(old);
        let (new, source) = reactor.register(socket(), true).unwrap();
        assert_eq!(old.index, new.index);
        let sources = reactor.sources();
        assert!(sources.at(old.token()).is_none());
        assert!(std::ptr::eq(sources.at(new.token()).unwrap(), &*source));
        drop(sources);
        reactor.forget(old);
        assert_eq!(reactor.registered(), 1);
    }

    #[test]
    fn the_memory_of_a_burst_of_sources_is_given_back() {
        let mut sources = Sources::default();
        let source = Arc::new(Source::new(socket(), true));
        for generation in 0..100_000 {
            let source = source.clone();
            sources.slab.insert(Registered {
                generation,
                source,
                is_foreign: false,
            });
        }
        for index in (1..100_000).step_by(2).chain((2..100_000).step_by(2)) {
            sources.slab.remove(index);
            sources.shrink();
        }
        for generation in 0..10_000 {
            let source = source.clone();
            let index = sources.slab.insert(Registered {
                generation,
                source,
                is_foreign: false,
            });
            sources.slab.remove(index);
            sources.shrink();
        }
        let room = sources.slab.capacity();
        assert!(room <= 4 * EDGES, "{room}");
        assert_eq!(sources.slab.len(), 1);
    }

    #[test]
    fn no_source_has_the_bells_token() {
        let last = Address {
            index: INDEX_MASK - 1,
            generation: generation_mask(),
        };
        assert_ne!(last.token(), BELL);
        let reactor = Reactor::new().unwrap();
        assert!(reactor.sources().at(BELL).is_none());
    }

    #[test]
    fn nothing_is_registered_with_a_loop_that_is_gone() {
        let reactor = Reactor::new().unwrap();
        reactor.end(false, &mut Vec::new());
        let error = reactor.register(socket(), true).unwrap_err();
        assert!(RuntimeShutdown::is_source_of(&error));
        assert_eq!(reactor.registered(), 0);
    }
}
