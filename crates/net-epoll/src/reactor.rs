//! mio's `Poll`, the registered sockets, and the wakeup fd.
//!
//! Sockets are registered, and their readiness is read, from any thread; events are polled by one thread
//! at a time, the driver (see `driver`). The wakeup fd (an eventfd) is written only if the driver sleeps in
//! the poller; otherwise the driver checks for ready tasks anyway.

use std::{
    io,
    net::Shutdown,
    os::fd::AsRawFd,
    task::Waker,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, unix::SourceFd};
use slab::Slab;
use socket2::Socket;

use httpcore_core_primitives::{RuntimeShutdown, Watch};

use crate::{
    source::Source,
    sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, lock},
};

/// Maximum number of events that one poll returns; the next poll returns the rest.
const MAX_EVENTS: usize = 256;

/// Maximum time of one sleep, since the kernel counts milliseconds in 31 bits. Longer ones are divided.
const MAX_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The warning where a pool is awaited outside of the loop, and no thread runs it.
const NO_THREAD_RUNS_IT: &str = "httpcore: an operation waits on an event loop that no thread runs, and will never \
     complete. Run the loop on a thread: \
     `std::thread::spawn(move || epoll.block_on(std::future::pending::<()>()))`; or await the operation inside \
     this loop's `block_on`.";

const WAKEUP: Token = Token(usize::MAX);

/// The sockets of one loop.
pub(crate) struct Reactor {
    /// Locked only by the driver, while it polls.
    poller: Mutex<Poller>,
    registry: Registry,
    wakeup: mio::Waker,
    sources: Mutex<Sources>,
    /// Whether the driver sleeps in the poller, or is about to.
    is_asleep: AtomicBool,
    /// The time up to which all events have been dispatched.
    observed: Mutex<Instant>,
    /// Number of polls for events. Streams reset their budget by it (see `stream`).
    poll_count: AtomicU64,
    /// Whether a stream has used up its budget, so that events must be polled before tasks run on.
    events_requested: AtomicBool,
    is_shut_down: AtomicBool,
    watch: Watch,
}

struct Poller {
    poll: Poll,
    events: Events,
    /// An empty vector whose capacity is reused.
    ready_wakers: Vec<Waker>,
}

#[derive(Default)]
struct Sources {
    slab: Slab<Registered>,
    generation: u32,
    /// Number of sources that were removed since memory was last freed.
    removed: usize,
}

struct Registered {
    generation: u32,
    source: Arc<Source>,
    /// Whether the descriptor is a caller's: it is not shut down with the loop.
    is_foreign: bool,
}

/// The id of a registered source.
///
/// An index in the slab is reused, and events may have been fetched before a socket was closed and be
/// dispatched after another one got its index; the generation distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceId {
    index: usize,
    generation: u32,
}

const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

impl SourceId {
    fn token(self) -> Token {
        Token((self.generation as usize) << INDEX_BITS | self.index)
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let wakeup = mio::Waker::new(&registry, WAKEUP)?;
        Ok(Reactor {
            poller: Mutex::new(Poller {
                poll,
                events: Events::with_capacity(MAX_EVENTS),
                ready_wakers: Vec::new(),
            }),
            registry,
            wakeup,
            sources: Mutex::default(),
            is_asleep: AtomicBool::new(false),
            observed: Mutex::new(crate::now()),
            poll_count: AtomicU64::new(0),
            events_requested: AtomicBool::new(false),
            is_shut_down: AtomicBool::new(false),
            watch: Watch::new(NO_THREAD_RUNS_IT),
        })
    }

    /// Registers `socket` once, for both directions. It must be connected or connecting: for any other,
    /// the kernel reports that it has ended.
    pub(crate) fn register(
        &self,
        socket: Socket,
        connected: bool,
    ) -> io::Result<(SourceId, Arc<Source>)> {
        self.register_source(Source::new(socket, connected), false)
    }

    /// Registers a duplicate of a caller's descriptor, which must be removed by
    /// [`deregister_foreign`](Self::deregister_foreign).
    pub(crate) fn register_foreign(&self, fd: Socket) -> io::Result<(SourceId, Arc<Source>)> {
        self.register_source(Source::new(fd, false), true)
    }

    fn register_source(
        &self,
        source: Source,
        is_foreign: bool,
    ) -> io::Result<(SourceId, Arc<Source>)> {
        let source = Arc::new(source);
        let id = {
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
            SourceId { index, generation }
        };
        // `end` sets the flag before it iterates over the sources: it finds this source, or the flag is
        // observed here.
        let outcome = if self.is_shut_down() {
            Err(RuntimeShutdown::error())
        } else {
            self.registry.register(
                &mut SourceFd(&source.socket.as_raw_fd()),
                id.token(),
                Interest::READABLE | Interest::WRITABLE,
            )
        };
        match outcome {
            Ok(()) => Ok((id, source)),
            Err(error) => {
                self.deregister(id);
                Err(error)
            }
        }
    }

    /// Removes a source whose socket is about to be closed, which removes it from the epoll set without a
    /// system call of its own.
    pub(crate) fn deregister(&self, id: SourceId) {
        let mut sources = self.sources();
        let registered = match sources.slab.get(id.index) {
            Some(registered) if registered.generation == id.generation => {
                let registered = sources.slab.remove(id.index);
                sources.shrink();
                Some(registered)
            }
            _ => None,
        };
        drop(sources);
        drop(registered);
    }

    /// Removes a caller's descriptor. Closing the duplicate is not enough: the kernel's entry belongs to the open
    /// file, which the caller's descriptor keeps open.
    pub(crate) fn deregister_foreign(&self, source: &Source, id: SourceId) {
        // Fails only if it is not registered.
        let _ = self
            .registry
            .deregister(&mut SourceFd(&source.socket.as_raw_fd()));
        self.deregister(id);
    }

    /// Returns the number of registered sockets.
    pub(crate) fn registered(&self) -> usize {
        self.sources().slab.len()
    }

    /// Returns the number of polls for events.
    pub(crate) fn poll_count(&self) -> u64 {
        self.poll_count.load(Ordering::Relaxed)
    }

    /// Returns the time up to which all events of the registered sockets have been dispatched.
    pub(crate) fn observed(&self) -> Instant {
        *lock(&self.observed)
    }

    /// Makes the driver poll for events after the current batch of tasks.
    pub(crate) fn request_events(&self) {
        self.events_requested.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`request_events`](Self::request_events) was called since the last poll.
    pub(crate) fn are_events_requested(&self) -> bool {
        self.events_requested.load(Ordering::Relaxed)
    }

    /// Announces that the driver is going to sleep. A wake that the driver does not observe in a check
    /// after this call wakes it through the wakeup fd.
    pub(crate) fn prepare_sleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
    }

    /// Withdraws the announcement.
    pub(crate) fn cancel_sleep(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Wakes the driver if it sleeps. Without a sleeping driver, this is one load.
    pub(crate) fn wake_driver(&self) {
        if self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::SeqCst) {
            // The write fails only if the descriptor is closed, and it is open as long as `self`.
            let _ = self.wakeup.wake();
        }
    }

    /// Polls for events, and waits for at most `timeout` if there are none. `before` is the time, if it has
    /// just been read. Returns whether there were events, and the wakers that the caller must call; their
    /// vector goes to [`reuse`](Self::reuse). For the driver only.
    pub(crate) fn poll_events(
        &self,
        timeout: Option<Duration>,
        before: Option<Instant>,
    ) -> (bool, Vec<Waker>) {
        let timeout = timeout.map(|timeout| timeout.min(MAX_SLEEP));
        let mut poller = self.poller();
        let Poller {
            poll,
            events,
            ready_wakers,
        } = &mut *poller;
        let mut ready_wakers = std::mem::take(ready_wakers);
        let outcome = poll.poll(events, timeout);
        self.cancel_sleep();
        self.poll_count.fetch_add(1, Ordering::Relaxed);
        self.events_requested.store(false, Ordering::Relaxed);
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return (false, ready_wakers);
            }
            // epoll_wait(2) fails only if the descriptor is no epoll instance; the loop cannot continue
            // without one.
            Err(error) => panic!("the event loop's epoll instance is broken: {error}"),
        }
        let mut count = 0;
        if !events.is_empty() {
            let sources = self.sources();
            for event in events.iter() {
                count += 1;
                sources.set_ready(event, &mut ready_wakers);
            }
        }
        // After the events have been dispatched. A full batch may have left some for the next poll.
        if count < MAX_EVENTS {
            let now = before.unwrap_or_else(crate::now);
            *lock(&self.observed) = now;
        }
        (count > 0, ready_wakers)
    }

    /// Keeps the capacity of an emptied vector, unless timers have made it large.
    pub(crate) fn reuse(&self, ready_wakers: Vec<Waker>) {
        if ready_wakers.capacity() <= 4 * MAX_EVENTS {
            self.poller().ready_wakers = ready_wakers;
        }
    }

    /// Shuts all sources down: operations that wait, and later ones, fail. Shuts the sockets down as well
    /// if threads may block in them.
    pub(crate) fn end(&self, direct: bool, ready_wakers: &mut Vec<Waker>) {
        self.is_shut_down.store(true, Ordering::SeqCst);
        self.watch.end();
        for (_, registered) in &self.sources().slab {
            let source = &registered.source;
            source.shut_down(ready_wakers);
            if direct && !registered.is_foreign {
                // Fails for a socket that is not connected yet, in which no thread blocks.
                let _ = source.socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Returns the check that some thread runs the loop.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Returns whether the loop's owner has been dropped.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::SeqCst)
    }

    fn poller(&self) -> MutexGuard<'_, Poller> {
        lock(&self.poller)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        lock(&self.sources)
    }
}

impl Sources {
    /// Counts a removed source, and frees the memory after the last used index if little of it is in use.
    /// That takes time proportional to the capacity, so it is done after a sixteenth of it was removed.
    fn shrink(&mut self) {
        self.removed += 1;
        let capacity = self.slab.capacity();
        if capacity > MAX_EVENTS && self.removed >= capacity / 16 && self.slab.len() < capacity / 4
        {
            self.removed = 0;
            self.slab.shrink_to_fit();
        }
    }

    fn set_ready(&self, event: &mio::event::Event, ready_wakers: &mut Vec<Waker>) {
        if let Some(source) = self.at(event.token()) {
            source.set_ready(event, ready_wakers);
        }
    }

    /// Returns the source that was registered with `token`; `None` if it has been removed, and for the
    /// wakeup fd.
    fn at(&self, token: Token) -> Option<&Source> {
        let registered = self.slab.get(token.0 & INDEX_MASK)?;
        (registered.generation as usize == token.0 >> INDEX_BITS).then_some(&registered.source)
    }
}

/// Returns the bits of a generation that fit into a token beside the index: all on 64-bit machines.
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
    fn stale_token_does_not_match_the_source_with_its_index() {
        let reactor = Reactor::new().unwrap();
        let (old, _) = reactor.register(socket(), true).unwrap();
        reactor.deregister(old);
        let (new, source) = reactor.register(socket(), true).unwrap();
        assert_eq!(old.index, new.index);
        let sources = reactor.sources();
        assert!(sources.at(old.token()).is_none());
        assert!(std::ptr::eq(sources.at(new.token()).unwrap(), &*source));
        drop(sources);
        reactor.deregister(old);
        assert_eq!(reactor.registered(), 1);
    }

    #[test]
    fn memory_of_a_burst_of_sources_is_freed() {
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
        let capacity = sources.slab.capacity();
        assert!(capacity <= 4 * MAX_EVENTS, "{capacity}");
        assert_eq!(sources.slab.len(), 1);
    }

    #[test]
    fn no_source_has_the_wakeup_token() {
        let last = SourceId {
            index: INDEX_MASK - 1,
            generation: generation_mask(),
        };
        assert_ne!(last.token(), WAKEUP);
        let reactor = Reactor::new().unwrap();
        assert!(reactor.sources().at(WAKEUP).is_none());
    }

    #[test]
    fn shut_down_loop_registers_no_socket() {
        let reactor = Reactor::new().unwrap();
        reactor.end(false, &mut Vec::new());
        let error = reactor.register(socket(), true).unwrap_err();
        assert!(RuntimeShutdown::is_source_of(&error));
        assert_eq!(reactor.registered(), 0);
    }
}
