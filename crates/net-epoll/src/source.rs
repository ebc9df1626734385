//! The readiness of one socket, and the waker, for each direction.
//!
//! The poller is edge-triggered: that a socket *has become* readable is reported once. Readiness is kept
//! here until a call shows that the socket is exhausted. Two cases need care:
//!
//! - An event may arrive between a call that found nothing and the clearing of the readiness. Each
//!   direction counts its events, and clearing has no effect if a newer event has arrived.
//! - Data and the end of the stream may arrive in *one* event. A read shorter than its buffer has
//!   emptied the socket, which saves the call that would return `EAGAIN`; but after the end was reported
//!   no further event arrives, and the readiness must stay set.

use std::{
    io,
    task::{Context, Poll, Waker},
};

use mio::event::Event;
use socket2::Socket;

use httpcore_core_primitives::{RuntimeShutdown, noop_waker};

use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// One registered socket, closed when the last reference is dropped.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) socket: Socket,
    sides: [Side; 2],
    /// Whether the loop has been shut down: no event will arrive any more.
    is_shut_down: AtomicBool,
}

/// One direction of a socket.
///
/// The readiness is read without a lock, since it is read several times in each exchange. The lock is taken
/// to register a waker: an event is recorded before the waker is taken, and a waker is registered after the
/// readiness has been read again with the lock held, so one of the two observes the other.
#[derive(Debug)]
struct Side {
    /// A [`Readiness`].
    readiness: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the descriptor to the caller.
    Read = 0,
    /// From the caller to the descriptor.
    Write = 1,
}

/// The readiness of a direction, in one word: whether a call may succeed, whether the end of this
/// direction or an error has been reported (no event may follow), whether the readiness was found by a
/// probe without an event, and the number of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness(u64);

impl Readiness {
    const READY: u64 = 1;
    const ENDED: u64 = 2;
    /// A probe of the socket has found it ready; its event is still to arrive.
    const PROBED: u64 = 4;
    const EVENT: u64 = 8;

    fn is_ready(self) -> bool {
        self.0 & Readiness::READY != 0
    }

    /// Returns whether the end of this direction, or an error, has been reported.
    pub(crate) fn is_ended(self) -> bool {
        self.0 & Readiness::ENDED != 0
    }
}

impl Source {
    /// Creates a source without an event. `writable` is set for a connected socket: a write probably
    /// succeeds, whereas a read probably finds nothing.
    pub(crate) fn new(socket: Socket, writable: bool) -> Self {
        let side = |ready: bool| Side {
            readiness: AtomicU64::new(u64::from(ready) * Readiness::READY),
            waker: Mutex::default(),
        };
        Source {
            socket,
            sides: [side(false), side(writable)],
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// Returns the readiness of `direction`, or `None` if a call would find nothing.
    ///
    /// # Errors
    ///
    /// [`RuntimeShutdown`].
    #[inline]
    pub(crate) fn ready(&self, direction: Direction) -> io::Result<Option<Readiness>> {
        if self.is_shut_down.load(Ordering::SeqCst) {
            return Err(RuntimeShutdown::error());
        }
        let readiness = self.side(direction).load();
        Ok(readiness.is_ready().then_some(readiness))
    }

    /// Polls until a call in `direction` may succeed; otherwise registers the waker.
    ///
    /// # Errors
    ///
    /// [`RuntimeShutdown`].
    #[inline]
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Readiness>> {
        if let Some(readiness) = self.ready(direction)? {
            return Poll::Ready(Ok(readiness));
        }
        // A no-op waker does not replace the waker of a task that waits.
        if noop_waker().will_wake(cx.waker()) {
            return Poll::Pending;
        }
        self.register(direction, cx)
    }

    /// Registers the waker, unless an event has arrived meanwhile.
    #[inline(never)] // keeps the registers it needs out of the path that does not wait
    fn register(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let mut waker = self.side(direction).waker();
        if let Some(readiness) = self.ready(direction)? {
            return Poll::Ready(Ok(readiness));
        }
        let former = match &*waker {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => waker.replace(cx.waker().clone()),
        };
        drop(waker);
        drop(former); // possibly the last reference to a task, which then drops its streams
        Poll::Pending
    }

    /// Clears the readiness after a call that found nothing, unless an event has arrived since `readiness`
    /// was read.
    pub(crate) fn clear_ready(&self, direction: Direction, readiness: Readiness) {
        let _ = self.side(direction).readiness.compare_exchange(
            readiness.0,
            readiness.0 & !(Readiness::READY | Readiness::PROBED),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// Clears the readiness after a call that moved fewer bytes than it could, unless the end of this
    /// direction has been reported.
    pub(crate) fn clear_ready_if_short(&self, direction: Direction, readiness: Readiness) {
        if !readiness.is_ended() {
            self.clear_ready(direction, readiness);
        }
    }

    /// Sets the readiness after a probe of the socket that found data or the end before their event has
    /// arrived. A registered waker stays registered, and is called for the event.
    pub(crate) fn set_ready_by_probe(&self, direction: Direction) {
        let update = |current: u64| {
            let ready = Readiness(current).is_ready();
            (!ready).then_some(current | Readiness::READY | Readiness::PROBED)
        };
        let state = &self.side(direction).readiness;
        let _ = state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, update);
    }

    /// Records an event, and moves the wakers that were registered for it to `ready_wakers`.
    pub(crate) fn set_ready(&self, event: &Event, ready_wakers: &mut Vec<Waker>) {
        let failed = event.is_error();
        let read_ended = failed || event.is_read_closed();
        let write_ended = failed || event.is_write_closed();
        if read_ended || event.is_readable() {
            ready_wakers.extend(self.side(Direction::Read).set_ready(read_ended));
        }
        if write_ended || event.is_writable() {
            ready_wakers.extend(self.side(Direction::Write).set_ready(write_ended));
        }
    }

    /// Records that the loop has been shut down, and moves all wakers to `ready_wakers`.
    pub(crate) fn shut_down(&self, ready_wakers: &mut Vec<Waker>) {
        self.is_shut_down.store(true, Ordering::SeqCst);
        ready_wakers.extend(self.sides.iter().filter_map(|side| side.waker().take()));
    }

    fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction as usize]
    }
}

impl Side {
    fn load(&self) -> Readiness {
        Readiness(self.readiness.load(Ordering::Acquire))
    }

    fn set_ready(&self, ended: bool) -> Option<Waker> {
        let set = Readiness::READY | if ended { Readiness::ENDED } else { 0 };
        let update = |current: u64| {
            Some((current & !Readiness::PROBED).wrapping_add(Readiness::EVENT) | set)
        };
        let former = (self.readiness).fetch_update(Ordering::AcqRel, Ordering::Relaxed, update);
        // A direction that was ready has no waker: a waker is registered only if it is not ready, and the
        // event that made it ready took the waker. Most events are reported for both directions. A probe
        // takes no waker.
        let had_event = former.is_ok_and(|former| {
            former & (Readiness::READY | Readiness::PROBED) == Readiness::READY
        });
        if had_event { None } else { self.waker().take() }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        lock(&self.waker)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::sync::{Arc, AtomicUsize};

    fn source() -> Source {
        let (socket, _) = Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        Source::new(socket, true)
    }

    fn ready(source: &Source) -> Option<Readiness> {
        source.ready(Direction::Read).unwrap()
    }

    fn event(source: &Source, ended: bool) {
        let waker = source.sides[0].set_ready(ended);
        drop(waker);
    }

    #[test]
    fn event_between_a_call_and_the_clearing_is_kept() {
        let source = source();
        event(&source, false);
        let readiness = ready(&source).unwrap();
        event(&source, false);
        source.clear_ready(Direction::Read, readiness);
        source.clear_ready_if_short(Direction::Read, readiness);
        assert!(ready(&source).is_some());
    }

    #[test]
    fn waker_is_called_for_the_next_event_after_several() {
        let source = source();
        event(&source, false);
        event(&source, false);
        source.clear_ready(Direction::Read, ready(&source).unwrap());
        let waker = Waker::from(Arc::new(Count::default()));
        let mut cx = Context::from_waker(&waker);
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        assert!(source.sides[0].set_ready(false).is_some());
        assert!(source.sides[0].set_ready(false).is_none());
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn short_read_clears_readiness_unless_the_end_was_reported() {
        let source = source();
        event(&source, false);
        source.clear_ready_if_short(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        event(&source, true);
        source.clear_ready_if_short(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_some());
    }

    #[test]
    fn noop_waker_does_not_replace_a_registered_waker() {
        let source = source();
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        for waker in [&waker, noop_waker()] {
            let mut cx = Context::from_waker(waker);
            assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        }
        let woken = source.sides[0].set_ready(false);
        woken.unwrap().wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn probed_readiness_can_be_read_and_its_event_still_calls_the_waker() {
        let source = source();
        let waker = Waker::from(Arc::new(Count::default()));
        let mut cx = Context::from_waker(&waker);
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        source.set_ready_by_probe(Direction::Read);
        assert!(ready(&source).is_some());
        assert!(source.sides[0].set_ready(false).is_some());
        // A second probe changes nothing, nor does one after an event.
        source.set_ready_by_probe(Direction::Read);
        source.clear_ready(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        source.set_ready_by_probe(Direction::Read);
        source.clear_ready(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        assert!(source.sides[0].set_ready(false).is_some());
    }

    #[test]
    fn new_connected_socket_is_writable_and_not_readable() {
        let source = source();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(source.poll_ready(Direction::Write, &mut cx).is_ready());
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
    }
}
