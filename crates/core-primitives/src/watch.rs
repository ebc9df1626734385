//! For backends, in debug builds: a warning on stderr if an operation waits on a loop that no thread
//! runs.
//!
//! A pool that is awaited under another runtime, with a loop that no thread runs, would wait for ever, its
//! own time limits included, without a message. Therefore, when an operation first waits while no thread
//! is in the loop, a thread is started. It ends when a thread enters the loop; otherwise it prints a
//! warning after a second, once for each loop. Release builds have none of this.
//!
//! Operations are: a timer, a pending read or write, and a spawned task. An idle connection is none, nor
//! is the pool's maintenance task: they may wait for any time.

use std::{
    fmt,
    io::Write,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::sync::lock;

/// Time for which an operation waits before the warning.
const WARN_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of threads that one loop starts for this in its lifetime.
const MAX_WATCH_THREADS: u8 = 16;

/// The name of the pool's maintenance task, for which no caller waits.
const MAINTENANCE_TASK: &str = "pool maintenance";

/// The check that a thread runs a loop.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    /// Number of threads in the loop.
    running: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    watches: u8,
    warning: &'static str,
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
    /// Creates the check of one loop. `warning` says what is wrong and what to do instead.
    pub fn new(warning: &'static str) -> Self {
        Watch(Arc::new(Inner {
            running: AtomicUsize::new(0),
            state: Mutex::new(State {
                phase: Phase::Quiet,
                watches: 0,
                warning,
                warn: warn_on_stderr,
            }),
            changed: Condvar::new(),
        }))
    }

    /// Records that a thread begins to run the loop.
    pub fn enter(&self) {
        if cfg!(debug_assertions) {
            self.0.running.fetch_add(1, Ordering::SeqCst);
            self.end_watching(Phase::Quiet);
        }
    }

    /// Records that a thread leaves the loop.
    pub fn leave(&self) {
        if cfg!(debug_assertions) {
            self.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Records that the loop has been shut down.
    pub fn end(&self) {
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
    pub fn spawned(&self, name: &str) {
        if name != MAINTENANCE_TASK {
            self.waits();
        }
    }

    /// Records that an operation waits.
    pub fn waits(&self) {
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

    /// Returns whether a thread is about to print the warning, for tests of backends.
    #[doc(hidden)]
    pub fn is_watching(&self) -> bool {
        self.0.state().phase == Phase::Watching
    }

    /// Replaces the output of the warning, for tests of backends.
    #[doc(hidden)]
    pub fn warn_with(&self, warn: fn(&str)) {
        self.0.state().warn = warn;
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
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
        let (warn, warning) = (state.warn, state.warning);
        drop(state);
        warn(warning);
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
    use super::*;

    fn phase(watch: &Watch) -> Phase {
        watch.0.state().phase
    }

    #[test]
    fn a_thread_in_the_loop_and_its_end_end_the_watch() {
        let watch = Watch::new("unused");
        watch.spawned(MAINTENANCE_TASK);
        assert!(phase(&watch) == Phase::Quiet);
        watch.waits();
        assert!(phase(&watch) == Phase::Watching);
        watch.enter();
        assert!(phase(&watch) == Phase::Quiet);
        watch.waits();
        assert!(phase(&watch) == Phase::Quiet);
        watch.leave();
        watch.spawned("connect");
        assert!(phase(&watch) == Phase::Watching);
        watch.end();
        assert!(phase(&watch) == Phase::Over);
        watch.waits();
        assert!(phase(&watch) == Phase::Over);
    }

    #[test]
    fn one_loop_starts_a_bounded_number_of_watching_threads() {
        let watch = Watch::new("unused");
        for _ in 0..u32::from(MAX_WATCH_THREADS) + 5 {
            watch.waits();
            watch.enter();
            watch.leave();
        }
        watch.waits();
        assert!(phase(&watch) == Phase::Quiet);
    }
}
