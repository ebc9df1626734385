//! What is known of one socket: for each direction, whether it is worth trying, and who waits.
//!
//! The kernel tells edges only: that a socket *has become* readable is said once. So readiness is
//! remembered here until a call shows that it is used up, and two hazards have to be minded:
//!
//! - An edge may arrive between a call that found nothing and the note that there is nothing. Each
//!   direction counts its edges (`tick`), and a note that was written for an older edge is ignored.
//! - Data and the end of the stream may arrive as *one* edge. A read shorter than its buffer has
//!   emptied the socket, and saves the call that would say so; but once the end has been announced
//!   no other edge will come, and readiness must stay.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use mio::event::Event;
use socket2::Socket;

use httpcore_core_primitives::RuntimeGone;

/// One registered socket. It is closed when nobody has it any more: its stream, above all.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) socket: Socket,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sides: [Side; 2],
    /// The loop is gone, and nothing will ever be announced again.
    gone: bool,
}

/// One direction of a socket.
#[derive(Debug, Default)]
struct Side {
    ready: bool,
    /// The end of this direction, or an error, has been announced: no edge may follow.
    ended: bool,
    tick: u32,
    waker: Option<Waker>,
}

/// Names a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

/// What was known when a direction was found ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    tick: u32,
}

impl Source {
    /// A socket of which nothing has been announced. `writable` says that it is connected: writing
    /// is worth a try, whereas reading would be in vain more often than not.
    pub(crate) fn new(socket: Socket, writable: bool) -> Self {
        let write = Side {
            ready: writable,
            ..Side::default()
        };
        Source {
            socket,
            state: Mutex::new(State {
                sides: [Side::default(), write],
                gone: false,
            }),
        }
    }

    /// What is known of `direction`, if that makes a call worth its while.
    ///
    /// # Errors
    ///
    /// [`RuntimeGone`].
    pub(crate) fn ready(&self, direction: Direction) -> io::Result<Option<Seen>> {
        self.state().ready(direction)
    }

    /// Ready when a call in `direction` is worth its while; otherwise keeps the waker.
    ///
    /// # Errors
    ///
    /// [`RuntimeGone`].
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Seen>> {
        let mut state = self.state();
        if let Some(seen) = state.ready(direction)? {
            return Poll::Ready(Ok(seen));
        }
        let side = &mut state.sides[direction as usize];
        let former = match &side.waker {
            // Who asks without waiting does not take the place of who waits.
            Some(_) if Waker::noop().will_wake(cx.waker()) => None,
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => side.waker.replace(cx.waker().clone()),
        };
        drop(state);
        drop(former); // perhaps the last trace of a task, whose streams then end here
        Poll::Pending
    }

    /// Notes that a call found nothing to do, unless an edge has arrived since `seen`.
    pub(crate) fn used_up(&self, direction: Direction, seen: Seen) {
        let side = &mut self.state().sides[direction as usize];
        if side.tick == seen.tick {
            side.ready = false;
        }
    }

    /// Notes that a call did less than it was asked to, which means the same unless the end of
    /// this direction has been announced.
    pub(crate) fn cut_short(&self, direction: Direction, seen: Seen) {
        let side = &mut self.state().sides[direction as usize];
        if side.tick == seen.tick && !side.ended {
            side.ready = false;
        }
    }

    /// Takes note of an edge, and moves the wakers of those who waited for it to `due`.
    pub(crate) fn announce(&self, event: &Event, due: &mut Vec<Waker>) {
        let failed = event.is_error();
        let read_ended = failed || event.is_read_closed();
        let write_ended = failed || event.is_write_closed();
        let mut state = self.state();
        if read_ended || event.is_readable() {
            due.extend(state.sides[Direction::Read as usize].announce(read_ended));
        }
        if write_ended || event.is_writable() {
            due.extend(state.sides[Direction::Write as usize].announce(write_ended));
        }
    }

    /// Takes note that the loop is gone.
    pub(crate) fn abandon(&self, due: &mut Vec<Waker>) {
        let mut state = self.state();
        state.gone = true;
        due.extend(state.sides.iter_mut().filter_map(|side| side.waker.take()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ready(&self, direction: Direction) -> io::Result<Option<Seen>> {
        if self.gone {
            return Err(RuntimeGone::error());
        }
        let side = &self.sides[direction as usize];
        Ok(side.ready.then_some(Seen { tick: side.tick }))
    }
}

impl Side {
    fn announce(&mut self, ended: bool) -> Option<Waker> {
        self.ready = true;
        self.ended |= ended;
        self.tick = self.tick.wrapping_add(1);
        self.waker.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        let (socket, _) = Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        Source::new(socket, true)
    }

    fn ready(source: &Source) -> Option<Seen> {
        source.ready(Direction::Read).unwrap()
    }

    fn edge(source: &Source, ended: bool) {
        let waker = source.state().sides[0].announce(ended);
        drop(waker);
    }

    #[test]
    fn an_edge_between_the_call_and_its_note_is_kept() {
        let source = source();
        edge(&source, false);
        let seen = ready(&source).unwrap();
        edge(&source, false);
        source.used_up(Direction::Read, seen);
        source.cut_short(Direction::Read, seen);
        assert!(ready(&source).is_some());
    }

    #[test]
    fn a_short_read_uses_readiness_up_unless_the_end_was_announced() {
        let source = source();
        edge(&source, false);
        source.cut_short(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_none());
        edge(&source, true);
        source.cut_short(Direction::Read, ready(&source).unwrap());
        assert!(ready(&source).is_some());
    }

    #[test]
    fn asking_without_waiting_does_not_displace_who_waits() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let source = source();
        let count = std::sync::Arc::new(Count(Default::default()));
        let waker = Waker::from(count.clone());
        for waker in [&waker, Waker::noop()] {
            let mut cx = Context::from_waker(waker);
            assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
        }
        let woken = source.state().sides[0].announce(false);
        woken.unwrap().wake();
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn a_fresh_connected_socket_is_tried_for_writing_and_not_for_reading() {
        let source = source();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(source.poll_ready(Direction::Write, &mut cx).is_ready());
        assert!(source.poll_ready(Direction::Read, &mut cx).is_pending());
    }
}
