//! In debug builds, says that something waits on a loop which no thread runs.
//!
//! A pool that is awaited under another runtime, with a loop that no thread runs, would wait for ever, its
//! own time limits included, and say nothing. So when something first waits while no thread is in
//! `block_on`, a thread is started which ends when one comes, and otherwise says so on stderr after a
//! second, once for each loop. In release builds there is none of this.
//!
//! What waits is: a timer, a read or a write that is pending, and a task that was spawned. A connection
//! that is parked does not, nor does the task which looks after it: they may wait for as long as the
//! program computes.

use std::{
    io::Write,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How long something may wait before that is said.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many watching threads one loop may start in its life, most of which end by a thread that comes.
const MOST_WATCHES: u8 = 16;

/// A task that no caller waits for.
const UPKEEP: &str = "pool janitor";

const ADVICE: &str = "httpcore: something waits on an event loop which no thread runs, and will wait for ever. \
     Keep a thread in it: `std::thread::spawn(move || epoll.block_on(std::future::pending::<()>()))`; \
     or await it inside this loop's own `block_on`.";

/// Whether a thread runs the loop, and what waits if none does.
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    /// How many threads are in `block_on`.
    running: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    watches: u8,
    tell: fn(&str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has waited without a thread.
    Quiet,
    /// A thread watches.
    Watching,
    /// It has been said, or the loop is gone.
    Over,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Watch(Arc::new(Inner {
            running: AtomicUsize::new(0),
            state: Mutex::new(State {
                phase: Phase::Quiet,
                watches: 0,
                tell: tell_stderr,
            }),
            changed: Condvar::new(),
        }))
    }

    /// A thread is in `block_on` from now on.
    pub(crate) fn enter(&self) {
        if cfg!(debug_assertions) {
            self.0.running.fetch_add(1, Ordering::SeqCst);
            self.end_watching(Phase::Quiet);
        }
    }

    /// It is no longer.
    pub(crate) fn leave(&self) {
        if cfg!(debug_assertions) {
            self.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The loop is gone.
    pub(crate) fn end(&self) {
        if cfg!(debug_assertions) {
            self.end_watching(Phase::Over);
            self.0.state().phase = Phase::Over;
        }
    }

    fn end_watching(&self, next: Phase) {
        let mut state = self.0.state();
        if state.phase == Phase::Watching {
            state.phase = next;
            drop(state);
            self.0.changed.notify_all();
        }
    }

    /// A task was spawned.
    pub(crate) fn spawned(&self, name: &str) {
        if name != UPKEEP {
            self.waits();
        }
    }

    /// Something waits.
    pub(crate) fn waits(&self) {
        if cfg!(debug_assertions) && self.0.running.load(Ordering::SeqCst) == 0 {
            self.start();
        }
    }

    fn start(&self) {
        let mut state = self.0.state();
        if state.phase != Phase::Quiet || state.watches == MOST_WATCHES {
            return;
        }
        state.watches += 1;
        let inner = self.0.clone();
        // Without a thread it is not said.
        let watching = thread::Builder::new()
            .name("httpcore-watch".into())
            .spawn(move || inner.watch());
        if watching.is_ok() {
            state.phase = Phase::Watching;
        }
    }

    /// Has another way to tell.
    #[cfg(test)]
    pub(crate) fn tell_to(&self, tell: fn(&str)) {
        self.0.state().tell = tell;
    }
}

impl Inner {
    fn watch(&self) {
        let state = self.state();
        // Whoever starts this thread has the state locked until it says so.
        let (mut state, waited) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.phase == Phase::Watching)
            .unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() || self.running.load(Ordering::SeqCst) > 0 {
            return;
        }
        state.phase = Phase::Over;
        let tell = state.tell;
        drop(state);
        tell(ADVICE);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_stderr(line: &str) {
    // Without a stderr there is nowhere to say it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
#[cfg(debug_assertions)]
mod tests {
    use std::{
        future::pending,
        task::{Context, Poll, Waker},
    };

    use httpcore_core_primitives::Runtime;

    use super::*;
    use crate::EventLoop;

    /// Lines that were told, and a place to wait for one.
    struct Told(Mutex<usize>, Condvar);

    impl Told {
        const fn new() -> Self {
            Told(Mutex::new(0), Condvar::new())
        }

        fn add(&self, line: &str) {
            assert!(line.contains("block_on"), "{line}");
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
        }

        fn wait(&self) {
            let told = self.0.lock().unwrap();
            let told = self.1.wait_while(told, |told| *told == 0).unwrap();
            assert_eq!(*told, 1);
        }
    }

    fn phase(epoll: &EventLoop) -> Phase {
        epoll.handle.0.reactor.watch().0.state().phase
    }

    fn arm(epoll: &EventLoop) {
        let hour = epoll.handle.now() + Duration::from_secs(3600);
        let mut timer = epoll.handle.timer("test");
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(timer.poll_until(&mut cx, hour), Poll::Pending);
    }

    #[test]
    fn a_timer_of_a_loop_that_no_thread_runs_is_told_of_once() {
        static TOLD: Told = Told::new();
        let (epoll, other) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
        epoll
            .handle
            .0
            .reactor
            .watch()
            .tell_to(|line| TOLD.add(line));
        // That another loop is run does not help.
        other.block_on(async { arm(&epoll) });
        TOLD.wait();
        assert!(phase(&epoll) == Phase::Over && phase(&other) == Phase::Quiet);
        arm(&epoll);
        assert!(phase(&epoll) == Phase::Over);
    }

    #[test]
    fn a_task_of_a_loop_that_no_thread_runs_is_told_of_and_upkeep_is_not() {
        static TOLD: Told = Told::new();
        let epoll = EventLoop::new().unwrap();
        epoll
            .handle
            .0
            .reactor
            .watch()
            .tell_to(|line| TOLD.add(line));
        Runtime::spawn(&epoll.handle, UPKEEP, Box::pin(pending()));
        assert!(phase(&epoll) == Phase::Quiet);
        Runtime::spawn(&epoll.handle, "dial", Box::pin(pending()));
        TOLD.wait();
    }

    #[test]
    fn a_thread_that_comes_or_the_end_of_the_loop_ends_the_watch() {
        let epoll = EventLoop::new().unwrap();
        arm(&epoll);
        assert!(phase(&epoll) == Phase::Watching);
        epoll.block_on(async { arm(&epoll) });
        assert!(phase(&epoll) == Phase::Quiet);
        arm(&epoll);
        let inner = epoll.handle.0.reactor.watch().0.clone();
        drop(epoll);
        assert!(inner.state().phase == Phase::Over);
        // Nothing is left that could tell of it: the thread, if it is still there, finds that.
        assert_eq!(inner.running.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_loop_starts_a_bounded_number_of_watches() {
        let epoll = EventLoop::new().unwrap();
        for _ in 0..u32::from(MOST_WATCHES) + 5 {
            arm(&epoll);
            epoll.block_on(async {});
        }
        arm(&epoll);
        assert!(phase(&epoll) == Phase::Quiet);
    }
}
