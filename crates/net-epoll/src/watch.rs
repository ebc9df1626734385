//! In debug builds, a warning on stderr if an operation waits on a loop that no thread runs.
//!
//! A pool that is awaited under another runtime, with a loop that no thread runs, would wait for ever, its
//! own time limits included, without a message. Therefore, when an operation first waits while no thread
//! is in `block_on`, a thread is started. It ends when a thread enters `block_on`; otherwise it prints a
//! warning after a second, once for each loop. Release builds have none of this.
//!
//! Operations are: a timer, a pending read or write, and a spawned task. An idle connection is none, nor
//! is the pool's maintenance task: they may wait for any time.

use std::{io::Write, time::Duration};

use crate::sync::{
    Arc, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError, lock, thread,
};

/// Time for which an operation waits before the warning.
const WARN_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of threads that one loop starts for this in its lifetime.
const MAX_WATCH_THREADS: u8 = 16;

/// The name of the pool's maintenance task, for which no caller waits.
const MAINTENANCE_TASK: &str = "pool maintenance";

const WARNING: &str = "httpcore: an operation waits on an event loop that no thread runs, and will never complete. \
     Run the loop on a thread: `std::thread::spawn(move || epoll.block_on(std::future::pending::<()>()))`; \
     or await the operation inside this loop's `block_on`.";

/// The check that a thread runs the loop.
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    /// Number of threads in `block_on`.
    running: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    watches: u8,
    warn: fn(&str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No operation waits without a thread in the loop.
    Quiet,
    /// A watching thread is running.
    Watching,
    /// The warning was printed, or the loop has been shut down.
    Over,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Watch(Arc::new(Inner {
            running: AtomicUsize::new(0),
            state: Mutex::new(State {
                phase: Phase::Quiet,
                watches: 0,
                warn: warn_on_stderr,
            }),
            changed: Condvar::new(),
        }))
    }

    /// Records that a thread enters `block_on`.
    pub(crate) fn enter(&self) {
        if cfg!(debug_assertions) {
            self.0.running.fetch_add(1, Ordering::SeqCst);
            self.end_watching(Phase::Quiet);
        }
    }

    /// Records that a thread leaves `block_on`.
    pub(crate) fn leave(&self) {
        if cfg!(debug_assertions) {
            self.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Records that the loop has been shut down.
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

    /// Records that a task was spawned.
    pub(crate) fn spawned(&self, name: &str) {
        if name != MAINTENANCE_TASK {
            self.waits();
        }
    }

    /// Records that an operation waits.
    pub(crate) fn waits(&self) {
        if cfg!(debug_assertions) && self.0.running.load(Ordering::SeqCst) == 0 {
            self.start();
        }
    }

    fn start(&self) {
        let mut state = self.0.state();
        if state.phase != Phase::Quiet || state.watches == MAX_WATCH_THREADS {
            return;
        }
        state.watches += 1;
        let inner = self.0.clone();
        // If no thread can be started, there is no warning.
        let watching = thread::Builder::new()
            .name("httpcore-watch".into())
            .spawn(move || inner.watch());
        if watching.is_ok() {
            state.phase = Phase::Watching;
        }
    }

    /// Replaces the output of the warning.
    #[cfg(test)]
    pub(crate) fn warn_with(&self, warn: fn(&str)) {
        self.0.state().warn = warn;
    }
}

impl Inner {
    fn watch(&self) {
        let state = self.state();
        // The starting thread holds the lock until it has set the phase.
        let (mut state, waited) = self
            .changed
            .wait_timeout_while(state, WARN_AFTER, |state| state.phase == Phase::Watching)
            .unwrap_or_else(PoisonError::into_inner);
        if !waited.timed_out() || self.running.load(Ordering::SeqCst) > 0 {
            return;
        }
        state.phase = Phase::Over;
        let warn = state.warn;
        drop(state);
        warn(WARNING);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn warn_on_stderr(line: &str) {
    // Without stderr there is no output.
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

    /// The number of warnings, and a condition to wait for one.
    struct Warnings(Mutex<usize>, Condvar);

    impl Warnings {
        const fn new() -> Self {
            Warnings(Mutex::new(0), Condvar::new())
        }

        fn add(&self, line: &str) {
            assert!(line.contains("block_on"), "{line}");
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
        }

        fn wait(&self) {
            let count = self.0.lock().unwrap();
            let count = self.1.wait_while(count, |count| *count == 0).unwrap();
            assert_eq!(*count, 1);
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
    fn timer_on_a_loop_that_no_thread_runs_causes_one_warning() {
        static WARNINGS: Warnings = Warnings::new();
        let (epoll, other) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
        epoll
            .handle
            .0
            .reactor
            .watch()
            .warn_with(|line| WARNINGS.add(line));
        // A thread in another loop makes no difference.
        other.block_on(async { arm(&epoll) });
        WARNINGS.wait();
        assert!(phase(&epoll) == Phase::Over && phase(&other) == Phase::Quiet);
        arm(&epoll);
        assert!(phase(&epoll) == Phase::Over);
    }

    #[test]
    fn task_on_a_loop_that_no_thread_runs_causes_a_warning_and_maintenance_does_not() {
        static WARNINGS: Warnings = Warnings::new();
        let epoll = EventLoop::new().unwrap();
        epoll
            .handle
            .0
            .reactor
            .watch()
            .warn_with(|line| WARNINGS.add(line));
        Runtime::spawn(&epoll.handle, MAINTENANCE_TASK, Box::pin(pending()));
        assert!(phase(&epoll) == Phase::Quiet);
        Runtime::spawn(&epoll.handle, "connect", Box::pin(pending()));
        WARNINGS.wait();
    }

    #[test]
    fn block_on_and_shutdown_end_the_watch() {
        let epoll = EventLoop::new().unwrap();
        arm(&epoll);
        assert!(phase(&epoll) == Phase::Watching);
        epoll.block_on(async { arm(&epoll) });
        assert!(phase(&epoll) == Phase::Quiet);
        arm(&epoll);
        let inner = epoll.handle.0.reactor.watch().0.clone();
        drop(epoll);
        assert!(inner.state().phase == Phase::Over);
        // The thread, if it still exists, finds that there is nothing to warn of.
        assert_eq!(inner.running.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn loop_starts_a_bounded_number_of_watching_threads() {
        let epoll = EventLoop::new().unwrap();
        for _ in 0..u32::from(MAX_WATCH_THREADS) + 5 {
            arm(&epoll);
            epoll.block_on(async {});
        }
        arm(&epoll);
        assert!(phase(&epoll) == Phase::Quiet);
    }
}
