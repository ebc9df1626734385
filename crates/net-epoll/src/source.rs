//! What is known of one socket: for each direction, whether it is worth trying, and who waits.
//!
//! The kernel tells edges only: that a socket *has become* readable is said once. So readiness is
//! remembered here until a call shows that it is used up, and two hazards have to be minded:
//!
//! - An edge may arrive between a call that found nothing and the note that there is nothing. Each
//!   direction counts its edges, and a note that was written for an older one is ignored.
//! - Data and the end of the stream may arrive as *one* edge. A read shorter than its buffer has
//!   emptied the socket, and saves the call that would say so; but once the end has been announced
//!   no other edge will come, and readiness must stay.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use mio::event::Event;
use socket2::Socket;

use httpcore_core_primitives::{RuntimeShutdown, noop_waker};

/// One registered socket. It is closed when nobody has it any more: its stream, above all.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) socket: Socket,
    sides: [Side; 2],
    /// The loop is gone, and nothing will ever be announced again.
    gone: AtomicBool,
}

/// One direction of a socket.
///
/// What is known of it is read without a lock, for it is asked several times in each exchange. The
/// lock is for whoever is about to wait: an edge is noted before the waker is taken, and who leaves a
/// waker has looked once more with the lock held, so that one of the two sees the other.
#[derive(Debug)]
struct Side {
    /// A [`Readiness`].
    known: AtomicU64,
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

/// What is known of a direction, in one word: whether a call is worth a try, whether the end of
/// this direction or an error has been announced (no edge may follow), whether the former was found
/// without an edge, and how many edges there have been.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness(u64);

impl Readiness {
    const READY: u64 = 1;
    const ENDED: u64 = 2;
    /// A question to the socket has shown that it is ready; the edge that will say so is still to come.
    const FOUND: u64 = 4;
    const EDGE: u64 = 8;

    fn is_ready(self) -> bool {
        self.0 & Readiness::READY != 0
    }

    /// Whether the end of this direction, or an error, has been announced.
    pub(crate) fn is_ended(self) -> bool {
        self.0 & Readiness::ENDED != 0
    }
}

impl Source {
    /// A socket of which nothing has been announced. `writable` says that it is connected: writing
    /// is worth a try, whereas reading would be in vain more often than not.
    pub(crate) fn new(socket: Socket, writable: bool) -> Self {
        let side = |ready: bool| Side {
            known: AtomicU64::new(u64::from(ready) * Readiness::READY),
            waker: Mutex::default(),
        };
        Source {
            socket,
            sides: [side(false), side(writable)],
            gone: AtomicBool::new(false),
        }
    }

    /// What is known of `direction`, if that makes a call worth its while.
    ///
    /// # Errors
    ///
    /// [`RuntimeShutdown`].
    #[inline]
    pub(crate) fn ready(&self, direction: Direction) -> io::Result<Option<Readiness>> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(RuntimeShutdown::error());
        }
        let seen = self.side(direction).seen();
        Ok(seen.is_ready().then_some(seen))
    }

    /// Ready when a call in `direction` is worth its while; otherwise keeps the waker.
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
        if let Some(seen) = self.ready(direction)? {
            return Poll::Ready(Ok(seen));
        }
        // Who asks without waiting does not take the place of who waits.
        if noop_waker().will_wake(cx.waker()) {
            return Poll::Pending;
        }
        self.wait(direction, cx)
    }

    /// Leaves the waker, unless an edge has come meanwhile.
    #[inline(never)] // or those who do not wait pay for its registers
    fn wait(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let mut waker = self.side(direction).waker();
        if let Some(seen) = self.ready(direction)? {
            return Poll::Ready(Ok(seen));
        }
        let former = match &*waker {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => waker.replace(cx.waker().clone()),
        };
        drop(waker);
        drop(former); // perhaps the last trace of a task, whose streams then end here
        Poll::Pending
    }

    /// Notes that a call found nothing to do, unless an edge has arrived since `seen`.
    pub(crate) fn clear_ready(&self, direction: Direction, seen: Readiness) {
        let _ = self.side(direction).known.compare_exchange(
            seen.0,
            seen.0 & !(Readiness::READY | Readiness::FOUND),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// Notes that a call did less than it was asked to, which means the same unless the end of
    /// this direction has been announced.
    pub(crate) fn clear_ready_if_short(&self, direction: Direction, seen: Readiness) {
        if !seen.is_ended() {
            self.clear_ready(direction, seen);
        }
    }

    /// Notes that a question to the socket has found something to read which no edge has announced: a
    /// read is worth a try from now on. A waker that waits stays where it is, and is called for the edge.
    pub(crate) fn found(&self, direction: Direction) {
        let learn = |known: u64| {
            let ready = Readiness(known).is_ready();
            (!ready).then_some(known | Readiness::READY | Readiness::FOUND)
        };
        let known = &self.side(direction).known;
        let _ = known.fetch_update(Ordering::AcqRel, Ordering::Relaxed, learn);
    }

    /// Takes note of an edge, and moves the wakers of those who waited for it to `due`.
    pub(crate) fn set_ready(&self, event: &Event, due: &mut Vec<Waker>) {
        let failed = event.is_error();
        let read_ended = failed || event.is_read_closed();
        let write_ended = failed || event.is_write_closed();
        if read_ended || event.is_readable() {
            due.extend(self.side(Direction::Read).set_ready(read_ended));
        }
        if write_ended || event.is_writable() {
            due.extend(self.side(Direction::Write).set_ready(write_ended));
        }
    }

    /// Takes note that the loop is gone.
    pub(crate) fn abandon(&self, due: &mut Vec<Waker>) {
        self.gone.store(true, Ordering::SeqCst);
        due.extend(self.sides.iter().filter_map(|side| side.waker().take()));
    }

    fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction as usize]
    }
}

impl Side {
    fn seen(&self) -> Readiness {
        Readiness(self.known.load(Ordering::Acquire))
    }

    fn set_ready(&self, ended: bool) -> Option<Waker> {
        let news = Readiness::READY | if ended { Readiness::ENDED } else { 0 };
        let learn =
            |known: u64| Some((known & !Readiness::FOUND).wrapping_add(Readiness::EDGE) | news);
        let was = (self.known).fetch_update(Ordering::AcqRel, Ordering::Relaxed, learn);
        // Nobody waits for what is ready: who leaves a waker has seen that it is not, and the edge
        // that made it so took that waker. An edge for one direction comes for both, as a rule.
        // What a question has found took no waker.
        let took = was
            .is_ok_and(|known| known & (Readiness::READY | Readiness::FOUND) == Readiness::READY);
        if took { None } else { self.waker().take() }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Wake,
    };

    use super::*;

    fn source() -> Source {
        let (socket, _) = Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        Source::new(socket, true)
    }

    fn ready(source: &Source) -> Option<Readiness> {
        source.ready(Direction::Read).unwrap()
    }

    fn edge(source: &Source, ended: bool) {
        let waker = source.sides[0].set_ready(ended);
        drop(waker);
    }

    #[test]
    fn an_edge_between_the_call_and_its_note_is_kept() {
        let source = source();
        edge(&source, false);
        let seen = ready(&source).unwrap();
        edge(&source, false);
        source.clear_ready(Direction::Read, seen);
        source.clear_ready_if_short(Direction::Read, seen);
        assert!(ready(&source).is_some());
    }

    #[test]
    fn who_waits_is_woken_by_the_next_edge_however_many_came_before() {
        let source = source();
        edge(&source, false);
        edge(&source, false);
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
    fn a_short_read_uses_readiness_up_unless_the_end_was_announced() {
        let source = source();
        edge(&source, false);
        source.clear_ready_if_short(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        edge(&source, true);
        source.clear_ready_if_short(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_some());
    }

    #[test]
    fn asking_without_waiting_does_not_displace_who_waits() {
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
    fn what_a_question_has_found_can_be_read_and_still_wakes_who_waits() {
        let source = source();
        let waker = Waker::from(Arc::new(Count::default()));
        let mut cx = Context::from_waker(&waker);
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        source.found(Direction::Read);
        assert!(ready(&source).is_some());
        assert!(source.sides[0].set_ready(false).is_some());
        // Found twice is found once, and what an edge has announced is not found anew.
        source.found(Direction::Read);
        source.clear_ready(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        source.found(Direction::Read);
        source.clear_ready(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        assert!(source.sides[0].set_ready(false).is_some());
    }

    #[test]
    fn a_fresh_connected_socket_is_tried_for_writing_and_not_for_reading() {
        let source = source();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(source.poll_ready(Direction::Write, &mut cx).is_ready());
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
    }
}
